//! The container: times, then all columns compressed together, then a checksum.
//!
//! Columns that lie side by side should be alike (one metric's series): what one teaches zstd, the
//! next one uses.

use super::CodecError;
use super::column;
use super::times;
use super::varint::{read_unsigned, write_unsigned};
use crate::model::Timestamp;

/// Decimal-scaled integers, differences, varints, zstd.
const FORMAT_VARINT: u8 = 1;
/// How the body is packed.
const BODY_PLAIN: u8 = 0;
const BODY_ZSTD: u8 = 1;
/// Below this a zstd frame costs more than it saves.
const COMPRESS_BYTES_MIN: usize = 48;
/// zstd's level: 3 is within 2 % of 9 on these streams at a fifth of the time.
const COMPRESS_LEVEL: i32 = 3;
/// Bounds on what a reader allocates for bytes it does not trust.
const ROWS_MAX: u64 = 1 << 20;
const COLUMNS_MAX: u64 = 1 << 20;
const BODY_BYTES_MAX: u64 = 1 << 28;

const CHECKSUM_LEN: usize = 4;

/// Appends one segment: `timestamps`, and for each series a column with one value per time, or the
/// absent value where the series has no sample then.
pub fn encode_segment(timestamps: &[Timestamp], columns: &[&[f64]], out: &mut Vec<u8>) {
    let start = out.len();
    out.push(FORMAT_VARINT);
    write_unsigned(out, timestamps.len() as u64);
    write_unsigned(out, columns.len() as u64);
    let mut scratch = Vec::with_capacity(timestamps.len() * 2);
    times::encode(timestamps, &mut scratch);
    let mut packed_times = Vec::new();
    push_body(&scratch, &mut packed_times);
    write_unsigned(out, packed_times.len() as u64);
    out.extend_from_slice(&packed_times);
    scratch.clear();

    let mut lengths = Vec::with_capacity(columns.len());
    for values in columns {
        debug_assert_eq!(values.len(), timestamps.len(), "one value per time");
        let before = scratch.len();
        column::encode(values, &mut scratch);
        write_unsigned(&mut lengths, (scratch.len() - before) as u64);
    }
    lengths.extend_from_slice(&scratch);
    push_body(&lengths, out);
    let checksum = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&checksum.to_le_bytes());
}

fn push_body(body: &[u8], out: &mut Vec<u8>) {
    if body.len() >= COMPRESS_BYTES_MIN
        && let Ok(packed) = zstd::bulk::compress(body, COMPRESS_LEVEL)
        && packed.len() < body.len()
    {
        out.push(BODY_ZSTD);
        write_unsigned(out, body.len() as u64);
        out.extend_from_slice(&packed);
        return;
    }
    out.push(BODY_PLAIN);
    write_unsigned(out, body.len() as u64);
    out.extend_from_slice(body);
}

/// A segment whose checksum is right, unpacked, ready to give its columns.
#[derive(Debug)]
pub struct Segment {
    rows: usize,
    times: Vec<u8>,
    body: Vec<u8>,
    /// Where each column begins in `body`, and where the last one ends.
    offsets: Vec<u32>,
}

impl Segment {
    /// Verifies and unpacks a segment.
    pub fn open(bytes: &[u8]) -> Result<Self, CodecError> {
        let (content, checksum) = bytes.split_last_chunk::<CHECKSUM_LEN>().ok_or(CodecError::Truncated)?;
        if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
            return Err(CodecError::Checksum);
        }
        let (&format, mut rest) = content.split_first().ok_or(CodecError::Truncated)?;
        if format != FORMAT_VARINT {
            return Err(CodecError::UnknownFormat(format));
        }
        let rows = bounded(read_unsigned(&mut rest)?, ROWS_MAX, "too many rows")?;
        let columns = bounded(read_unsigned(&mut rest)?, COLUMNS_MAX, "too many columns")?;
        let times_len = bounded(read_unsigned(&mut rest)?, BODY_BYTES_MAX, "too long a time column")?;
        let times = unpack_body(rest.get(..times_len).ok_or(CodecError::Truncated)?)?;
        let body = unpack_body(&rest[times_len..])?;
        let offsets = column_offsets(&body, columns)?;
        Ok(Self { rows, times, body, offsets })
    }

    /// How many columns there are.
    pub fn column_count(&self) -> usize {
        self.offsets.len() - 1
    }

    /// How many times each column spans.
    pub fn row_count(&self) -> usize {
        self.rows
    }

    /// Bytes of memory that this holds, for caches with a bound.
    pub fn memory(&self) -> usize {
        self.body.capacity() + self.times.capacity() + self.offsets.capacity() * size_of::<u32>() + size_of::<Self>()
    }

    /// Appends the times to `timestamps`.
    pub fn timestamps(&self, timestamps: &mut Vec<Timestamp>) -> Result<(), CodecError> {
        times::decode(&self.times, self.rows, timestamps)
    }

    /// Appends one column's values to `values`, absent ones included.
    pub fn column(&self, index: usize, values: &mut Vec<f64>) -> Result<(), CodecError> {
        let ends = self.offsets.get(index..index + 2).ok_or(CodecError::NoSuchColumn(index))?;
        column::decode(&self.body[ends[0] as usize..ends[1] as usize], self.rows, values)
    }
}

fn unpack_body(mut input: &[u8]) -> Result<Vec<u8>, CodecError> {
    let (&packing, rest) = input.split_first().ok_or(CodecError::Truncated)?;
    input = rest;
    let len = bounded(read_unsigned(&mut input)?, BODY_BYTES_MAX, "too long a body")?;
    let body = match packing {
        BODY_PLAIN => input.to_vec(),
        BODY_ZSTD => {
            zstd::bulk::decompress(input, len).map_err(|_| CodecError::Malformed("the body does not unpack"))?
        }
        _ => return Err(CodecError::Malformed("unknown packing of the body")),
    };
    if body.len() == len { Ok(body) } else { Err(CodecError::Malformed("the body has another length")) }
}

fn column_offsets(body: &[u8], columns: usize) -> Result<Vec<u32>, CodecError> {
    // Each length takes a byte at least, so a lying count cannot make this allocate much.
    let mut rest = body;
    let mut offsets = Vec::with_capacity(columns.min(body.len()) + 1);
    let mut end = 0u64;
    for _ in 0..columns {
        offsets.push(end as u32);
        end = end.saturating_add(read_unsigned(&mut rest)?);
        if end > rest.len() as u64 {
            return Err(CodecError::Truncated);
        }
    }
    if end != rest.len() as u64 {
        return Err(CodecError::Malformed("the columns do not fill the body"));
    }
    offsets.push(end as u32);
    let base = (body.len() - rest.len()) as u32;
    offsets.iter_mut().for_each(|offset| *offset += base);
    Ok(offsets)
}

fn bounded(value: u64, max: u64, what: &'static str) -> Result<usize, CodecError> {
    if value > max { Err(CodecError::Malformed(what)) } else { Ok(value as usize) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{ABSENT_BITS, absent};
    use crate::model::{STALE_NAN_BITS, stale_marker};
    use proptest::prelude::*;

    fn check(columns: &[Vec<f64>]) -> usize {
        let rows = columns.first().map_or(0, Vec::len);
        let timestamps: Vec<Timestamp> = (0..rows as i64).map(|row| Timestamp(1_000_000 + row * 15_000)).collect();
        let slices: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        let mut bytes = Vec::new();
        encode_segment(&timestamps, &slices, &mut bytes);
        let segment = Segment::open(&bytes).expect("just encoded");
        assert_eq!((segment.column_count(), segment.row_count()), (columns.len(), rows));
        let mut times = Vec::new();
        segment.timestamps(&mut times).expect("just encoded");
        assert_eq!(times, timestamps);
        for (index, expected) in columns.iter().enumerate() {
            let mut values = Vec::new();
            segment.column(index, &mut values).expect("just encoded");
            let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&values), bits(expected), "column {index}: {expected:?}");
        }
        bytes.len()
    }

    #[test]
    fn awkward_values_round_trip() {
        let nan = f64::from_bits(0x7ff8_0000_0000_0001);
        let odd = f64::from_bits(0xfff4_dead_beef_0001);
        check(&[]);
        check(&[vec![]]);
        check(&[vec![0.0], vec![-0.0], vec![absent()], vec![stale_marker()]]);
        check(&[vec![1.0, stale_marker(), absent(), 2.0], vec![absent(), nan, odd, f64::INFINITY]]);
        check(&[vec![f64::MAX, f64::MIN_POSITIVE, 5e-324, f64::NEG_INFINITY]]);
        check(&[vec![i64::MAX as f64, i64::MIN as f64, 9.007_199_254_740_992e15, -9.007_199_254_740_993e15]]);
        check(&[vec![0.1, 0.2, 0.30000000000000004, 1e22, 1e-7], vec![0.1; 5], vec![1.5, -1.5, 0.0, -0.0, 3.25]]);
    }

    #[test]
    fn usual_columns_are_small() {
        let rows = 480;
        let column = |of: &dyn Fn(usize) -> f64| (0..rows).map(of).collect::<Vec<f64>>();
        let sizes: [(&str, usize, Vec<f64>); 6] = [
            ("constant", 48, column(&|_| 1.0)),
            ("counter", 80, column(&|row| (row * 150) as f64)),
            ("seconds", 100, column(&|row| (row as f64 * 25.0).round() / 100.0)),
            ("memory", 700, column(&|row| (((row * 7919) % 61) * 4096) as f64)),
            (
                "ends",
                60,
                column(&|row| {
                    if row < 300 {
                        7.0
                    } else if row == 300 {
                        stale_marker()
                    } else {
                        absent()
                    }
                }),
            ),
            ("absent", 48, column(&|_| absent())),
        ];
        for (name, bytes_max, values) in sizes {
            let bytes = check(&[values]);
            assert!(bytes <= bytes_max, "{name} took {bytes} bytes");
        }
    }

    #[test]
    fn damage_is_noticed_everywhere() {
        let values: Vec<f64> = (0..64).map(|row| f64::from(row * row)).collect();
        let timestamps: Vec<Timestamp> = (0..64).map(Timestamp).collect();
        let mut bytes = Vec::new();
        encode_segment(&timestamps, &[&values], &mut bytes);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(Segment::open(&damaged).is_err(), "byte {at}");
            assert!(Segment::open(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    /// Seals arbitrary bytes, so that what lies behind the checksum is exercised too.
    fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn any_value() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => (-1000i32..1000).prop_map(f64::from),
            4 => (-100_000i64..100_000).prop_map(|value| value as f64 / 100.0),
            2 => any::<u64>().prop_map(f64::from_bits),
            2 => Just(absent()),
            1 => Just(stale_marker()),
            1 => Just(-0.0),
            1 => Just(f64::INFINITY),
            1 => any::<i64>().prop_map(|value| value as f64),
        ]
    }

    proptest! {
        #[test]
        fn any_columns_round_trip(columns in (0usize..40, 0usize..6).prop_flat_map(|(rows, columns)| {
            proptest::collection::vec(proptest::collection::vec(any_value(), rows), columns)
        })) {
            check(&columns);
        }

        #[test]
        fn any_single_column_round_trips(values in proptest::collection::vec(any_value(), 0..200)) {
            check(&[values]);
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut framed = vec![FORMAT_VARINT];
            framed.extend_from_slice(&bytes);
            if let Ok(segment) = Segment::open(&sealed(framed)) {
                let mut times = Vec::new();
                let _ = segment.timestamps(&mut times);
                for index in 0..segment.column_count() {
                    let _ = segment.column(index, &mut Vec::new());
                }
            }
        }

        #[test]
        fn hostile_columns_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), rows in 0usize..50) {
            let _ = column::decode(&bytes, rows, &mut Vec::new());
        }
    }

    #[test]
    fn sentinels_are_distinct() {
        assert_ne!(ABSENT_BITS, STALE_NAN_BITS);
        assert!(absent().is_nan());
    }
}
