//! The container: times, then all columns compressed together, then a checksum.
//!
//! Columns that lie side by side should be alike (one metric's series): what one teaches zstd, the
//! next one uses.

use std::ops::Range;
use std::sync::Arc;

use super::presence::{Presences, PresencesWriter};
use super::times;
use super::varint::{read_unsigned, write_unsigned};
use super::{CodecError, is_absent};
use super::{columns, format1};
use crate::model::Timestamp;

/// Decimal-scaled integers, differences, varints, zstd; each column for itself.
const FORMAT_VARINT: u8 = 1;
/// Columns that refer to earlier ones, zstd.
const FORMAT_REFERENCES: u8 = 2;
/// The same with the presences outside, shared by several segments.
const FORMAT_SHARED: u8 = 3;
/// How the body is packed.
const BODY_PLAIN: u8 = 0;
const BODY_ZSTD: u8 = 1;
/// Below this a zstd frame costs more than it saves.
const COMPRESS_BYTES_MIN: usize = 48;
/// Bounds on what a reader allocates for bytes it does not trust.
const ROWS_MAX: u64 = 1 << 20;
const COLUMNS_MAX: u64 = 1 << 20;
const BODY_BYTES_MAX: u64 = 1 << 28;

const CHECKSUM_LEN: usize = 4;

/// How much time a segment's size is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// It is packed again soon.
    Quick,
    /// It is kept for hours.
    Usual,
    /// It is kept for good.
    Thorough,
}

impl Effort {
    /// zstd's level. Recorded scrapes of a host, of containers, and of a Prometheus, six hours in a segment, by
    /// level: bytes a sample, and processor time in ns to encode one.
    ///
    /// | | 6 | 9 | 12 | 15 |
    /// |---|---|---|---|---|
    /// | host | 0.3643, 25 | 0.3640, 28 | 0.3629, 47 | 0.3592, 70 |
    /// | containers | 0.2285, 45 | 0.2276, 51 | 0.2273, 62 | 0.2238, 127 |
    /// | Prometheus | 0.1020, 14 | 0.1011, 16 | 0.1009, 24 | 0.0982, 36 |
    ///
    /// What is kept for good is encoded once: 15 costs a second a day at 2,500 series, for a fiftieth of the disk.
    fn level(self) -> i32 {
        match self {
            Self::Quick => 1,
            Self::Usual => 9,
            Self::Thorough => 15,
        }
    }

    /// Among how many earlier columns references are looked for: 16 rows are not worth it, and 40 win no more than 24.
    fn candidates_max(self) -> usize {
        match self {
            Self::Quick => 0,
            Self::Usual | Self::Thorough => 24,
        }
    }
}

/// Appends one segment: `timestamps`, and for each series a column with one value per time, or the
/// absent value where the series has no sample then.
pub fn encode_segment(timestamps: &[Timestamp], columns: &[&[f64]], effort: Effort, out: &mut Vec<u8>) {
    Packer::new(effort).encode(timestamps, columns, None, out);
}

/// Encodes one segment after the other with the same working memory: making zstd's anew costs about as much as packing
/// a small segment does.
pub struct Packer {
    effort: Effort,
    context: Option<zstd::bulk::Compressor<'static>>,
    body: Vec<u8>,
    packed: Vec<u8>,
}

impl Packer {
    /// For segments that are worth this much time.
    pub fn new(effort: Effort) -> Self {
        Self { effort, context: None, body: Vec::new(), packed: Vec::new() }
    }

    /// As [`encode_segment`]; where there are `presences`, as one of several segments with as many rows, which share that list:
    /// it is needed to open the segment.
    pub fn encode(
        &mut self,
        timestamps: &[Timestamp],
        columns: &[&[f64]],
        presences: Option<&mut PresencesWriter>,
        out: &mut Vec<u8>,
    ) {
        debug_assert!(columns.iter().all(|values| values.len() == timestamps.len()), "one value per time");
        let start = out.len();
        out.push(if presences.is_some() { FORMAT_SHARED } else { FORMAT_REFERENCES });
        write_unsigned(out, timestamps.len() as u64);
        write_unsigned(out, columns.len() as u64);
        self.body.clear();
        times::encode(timestamps, &mut self.body);
        let mut packed_times = Vec::new();
        self.push_body(&mut packed_times);
        write_unsigned(out, packed_times.len() as u64);
        out.extend_from_slice(&packed_times);
        self.body.clear();
        columns::encode(columns, presences, self.effort.candidates_max(), &mut self.body);
        self.push_body(out);
        let checksum = crc32fast::hash(&out[start..]);
        out.extend_from_slice(&checksum.to_le_bytes());
    }

    fn push_body(&mut self, out: &mut Vec<u8>) {
        let is_packed = self.body.len() >= COMPRESS_BYTES_MIN && self.pack().is_ok();
        let (packing, bytes) = match is_packed && self.packed.len() < self.body.len() {
            true => (BODY_ZSTD, &self.packed),
            false => (BODY_PLAIN, &self.body),
        };
        out.push(packing);
        write_unsigned(out, self.body.len() as u64);
        out.extend_from_slice(bytes);
    }

    fn pack(&mut self) -> std::io::Result<()> {
        let context = match &mut self.context {
            Some(context) => context,
            none => none.insert(zstd::bulk::Compressor::new(self.effort.level())?),
        };
        self.packed.clear();
        self.packed.reserve(zstd::zstd_safe::compress_bound(self.body.len()));
        context.compress_to_buffer(&self.body, &mut self.packed).map(drop)
    }
}

/// A segment whose checksum is right, unpacked, ready to give its columns.
#[derive(Debug)]
pub struct Segment {
    rows: usize,
    times: Vec<u8>,
    columns: Columns,
}

#[derive(Debug)]
enum Columns {
    Format1(format1::Columns),
    Format2(columns::Columns),
}

impl Segment {
    /// Verifies and unpacks a segment that stands alone.
    pub fn open(bytes: &[u8]) -> Result<Self, CodecError> {
        Self::open_with(bytes, None, &mut Unpacker::default())
    }

    /// Verifies and unpacks a segment that may need presences from outside.
    pub fn open_sharing(bytes: &[u8], presences: &Arc<Presences>) -> Result<Self, CodecError> {
        Self::open_with(bytes, Some(presences), &mut Unpacker::default())
    }

    /// The same with working memory from the segment before.
    pub fn open_with(
        bytes: &[u8],
        presences: Option<&Arc<Presences>>,
        unpacker: &mut Unpacker,
    ) -> Result<Self, CodecError> {
        let (content, checksum) = bytes.split_last_chunk::<CHECKSUM_LEN>().ok_or(CodecError::Truncated)?;
        if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
            return Err(CodecError::Checksum);
        }
        let (&format, mut rest) = content.split_first().ok_or(CodecError::Truncated)?;
        if !(FORMAT_VARINT..=FORMAT_SHARED).contains(&format) {
            return Err(CodecError::UnknownFormat(format));
        }
        let rows = bounded(read_unsigned(&mut rest)?, ROWS_MAX, "too many rows")?;
        let count = bounded(read_unsigned(&mut rest)?, COLUMNS_MAX, "too many columns")?;
        let times_len = bounded(read_unsigned(&mut rest)?, BODY_BYTES_MAX, "too long a time column")?;
        let times = unpacker.unpack(rest.get(..times_len).ok_or(CodecError::Truncated)?, Vec::new())?;
        let spare = std::mem::take(&mut unpacker.spare);
        let body = unpacker.unpack(&rest[times_len..], spare)?;
        let columns = match format {
            FORMAT_VARINT => Columns::Format1(format1::Columns::open(body, count)?),
            FORMAT_REFERENCES => Columns::Format2(columns::Columns::open(body, count, rows, None)?),
            _ => {
                let presences = presences.ok_or(CodecError::Malformed("its presences are not at hand"))?;
                Columns::Format2(columns::Columns::open(body, count, rows, Some(presences))?)
            }
        };
        Ok(Self { rows, times, columns })
    }

    /// How many columns there are.
    pub fn column_count(&self) -> usize {
        match &self.columns {
            Columns::Format1(columns) => columns.len(),
            Columns::Format2(columns) => columns.len(),
        }
    }

    /// How many times each column spans.
    pub fn row_count(&self) -> usize {
        self.rows
    }

    /// Bytes of memory that this holds, for caches with a bound.
    pub fn memory(&self) -> usize {
        let columns = match &self.columns {
            Columns::Format1(columns) => columns.memory(),
            Columns::Format2(columns) => columns.memory(),
        };
        columns + self.times.capacity() + size_of::<Self>()
    }

    /// Appends the times to `timestamps`.
    pub fn timestamps(&self, timestamps: &mut Vec<Timestamp>) -> Result<(), CodecError> {
        times::decode(&self.times, self.rows, timestamps)
    }

    /// Appends one column's values to `values`, absent ones included.
    pub fn column(&self, index: usize, values: &mut Vec<f64>) -> Result<(), CodecError> {
        match &self.columns {
            Columns::Format1(columns) => columns.decode(index, self.rows, values),
            Columns::Format2(columns) => columns.decode(index, values),
        }
    }

    /// Appends one column's values from the first row that has one to the last, absent ones between them included;
    /// gives these rows. A series that lived for a moment costs that moment, and not all rows.
    pub fn column_span(&self, index: usize, values: &mut Vec<f64>) -> Result<Range<usize>, CodecError> {
        self.reader().column_span(index, values)
    }

    /// For reading several columns: what they have in common is decoded once.
    pub fn reader(&self) -> SegmentReader<'_> {
        SegmentReader { segment: self, decoded: columns::Decoded::default(), own: Vec::new() }
    }
}

/// Reads columns of one segment, best in their order.
#[derive(Debug)]
pub struct SegmentReader<'s> {
    segment: &'s Segment,
    decoded: columns::Decoded,
    own: Vec<i64>,
}

/// A column as integers: `first`, and one more per difference, each to be divided by `scale`.
#[derive(Debug)]
pub struct Integers<'r> {
    /// A power of ten.
    pub scale: f64,
    /// The first row's.
    pub first: i64,
    /// One less than there are rows.
    pub differences: &'r [i64],
}

impl SegmentReader<'_> {
    /// As [`Segment::column_span`].
    pub fn column_span(&mut self, index: usize, values: &mut Vec<f64>) -> Result<Range<usize>, CodecError> {
        match &self.segment.columns {
            Columns::Format1(columns) => {
                let start = values.len();
                columns.decode(index, self.segment.rows, values)?;
                let is_there = |value: &f64| !is_absent(*value);
                let Some(first) = values[start..].iter().position(is_there) else {
                    values.truncate(start);
                    return Ok(0..0);
                };
                let end = values.iter().rposition(is_there).map_or(0, |last| last + 1 - start);
                values.truncate(start + end);
                values.drain(start..start + first);
                Ok(first..end)
            }
            Columns::Format2(columns) => columns.decode_span(index, &mut self.decoded, values),
        }
    }

    /// The column as integers, if it is one of decimals without holes: for keeping it in another form.
    pub fn integers(&mut self, index: usize) -> Result<Option<Integers<'_>>, CodecError> {
        match &self.segment.columns {
            Columns::Format1(_) => Ok(None),
            Columns::Format2(columns) => columns.integers(index, &mut self.decoded, &mut self.own),
        }
    }
}

/// Working memory for opening one segment after the other: what zstd needs, and the last one's body.
#[derive(Default)]
pub struct Unpacker {
    context: Option<zstd::bulk::Decompressor<'static>>,
    spare: Vec<u8>,
}

impl Unpacker {
    /// Takes back the memory of a segment that is done with.
    pub fn recycle(&mut self, segment: Segment) {
        if let Columns::Format2(columns) = segment.columns {
            self.spare = columns.into_body();
        }
    }

    fn unpack(&mut self, mut input: &[u8], mut body: Vec<u8>) -> Result<Vec<u8>, CodecError> {
        let (&packing, rest) = input.split_first().ok_or(CodecError::Truncated)?;
        input = rest;
        let len = bounded(read_unsigned(&mut input)?, BODY_BYTES_MAX, "too long a body")?;
        body.clear();
        match packing {
            BODY_PLAIN => body.extend_from_slice(input),
            BODY_ZSTD => {
                body.reserve_exact(len);
                let failed = |_| CodecError::Malformed("the body does not unpack");
                let context = match &mut self.context {
                    Some(context) => context,
                    none => none.insert(zstd::bulk::Decompressor::new().map_err(failed)?),
                };
                context.decompress_to_buffer(input, &mut body).map_err(failed)?;
            }
            _ => return Err(CodecError::Malformed("unknown packing of the body")),
        }
        if body.len() == len { Ok(body) } else { Err(CodecError::Malformed("the body has another length")) }
    }
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

    fn bits(values: &[f64]) -> Vec<u64> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    fn check_open(segment: &Segment, timestamps: &[Timestamp], columns: &[Vec<f64>]) {
        assert_eq!((segment.column_count(), segment.row_count()), (columns.len(), timestamps.len()));
        let mut times = Vec::new();
        segment.timestamps(&mut times).expect("just encoded");
        assert_eq!(times, timestamps);
        let mut reader = segment.reader();
        for (index, expected) in columns.iter().enumerate() {
            let mut values = Vec::new();
            segment.column(index, &mut values).expect("just encoded");
            assert_eq!(bits(&values), bits(expected), "column {index}: {expected:?}");
            let mut span_values = vec![1.0];
            let span = segment.column_span(index, &mut span_values).expect("just encoded");
            let first = expected.iter().position(|value| !is_absent(*value)).unwrap_or(0);
            let end = expected.iter().rposition(|value| !is_absent(*value)).map_or(0, |last| last + 1);
            assert_eq!((span.clone(), bits(&span_values[1..])), (first..end, bits(&expected[first..end])), "{index}");
            if let Some(Integers { scale, first, differences }) = reader.integers(index).expect("just encoded") {
                let integers = differences.iter().scan(first, |last, difference| {
                    *last += difference;
                    Some(*last)
                });
                let values = std::iter::once(first).chain(integers).map(|integer| integer as f64 / scale);
                assert_eq!(bits(&values.collect::<Vec<_>>()), bits(expected), "{index}");
            }
            let mut read = Vec::new();
            assert_eq!(reader.column_span(index, &mut read), Ok(span), "{index}");
            assert_eq!(bits(&read), bits(&span_values[1..]), "{index}");
        }
    }

    fn check(columns: &[Vec<f64>]) -> usize {
        let rows = columns.first().map_or(0, Vec::len);
        let timestamps: Vec<Timestamp> = (0..rows as i64).map(|row| Timestamp(1_000_000 + row * 15_000)).collect();
        let slices: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        check_sharing(&timestamps, columns);
        let lens = [Effort::Quick, Effort::Usual].map(|effort| {
            let mut bytes = Vec::new();
            encode_segment(&timestamps, &slices, effort, &mut bytes);
            check_open(&Segment::open(&bytes).expect("just encoded"), &timestamps, columns);
            bytes.len()
        });
        lens[1]
    }

    /// The columns in two segments that share their presences.
    fn check_sharing(timestamps: &[Timestamp], columns: &[Vec<f64>]) {
        let mut writer = PresencesWriter::default();
        let halves = columns.split_at(columns.len() / 2);
        let segments = [halves.0, halves.1].map(|half| {
            let slices: Vec<&[f64]> = half.iter().map(Vec::as_slice).collect();
            let mut bytes = Vec::new();
            Packer::new(Effort::Usual).encode(timestamps, &slices, Some(&mut writer), &mut bytes);
            bytes
        });
        let mut list = Vec::new();
        writer.write(&mut list);
        let presences = Presences::read(&mut list.as_slice(), timestamps.len()).expect("just written");
        let presences = Arc::new(presences);
        for (bytes, half) in segments.iter().zip([halves.0, halves.1]) {
            assert!(Segment::open(bytes).is_err(), "it needs the presences");
            check_open(&Segment::open_sharing(bytes, &presences).expect("just encoded"), timestamps, half);
        }
    }

    /// A segment that the first format's writer made.
    #[test]
    fn format_1_is_read() {
        let stored = include_bytes!("../../tests/fixtures/codec/segment-1.bin");
        let timestamps: Vec<Timestamp> =
            (0..100i64).map(|row| Timestamp(1_800_000_000_000 + row * 15_000 + row % 3)).collect();
        let column = |of: &dyn Fn(i32) -> f64| (0..100).map(of).collect::<Vec<f64>>();
        let columns = [
            vec![42.5; 100],
            column(&|row| f64::from(row * 150)),
            column(&|row| f64::from(row * row % 37) / 100.0),
            column(&|row| f64::from(row * row * row)),
            column(&|row| (f64::from(row) + 0.5).sqrt()),
            column(&|row| match row {
                ..60 => 7.0,
                60 => stale_marker(),
                _ => absent(),
            }),
            column(&|row| match row % 5 {
                0 => f64::NAN,
                1 => f64::INFINITY,
                2 => -0.0,
                3 => absent(),
                _ => f64::from(row),
            }),
            vec![absent(); 100],
            vec![std::f64::consts::PI; 100],
        ];
        assert_eq!(stored[0], FORMAT_VARINT);
        check_open(&Segment::open(stored).expect("it is whole"), &timestamps, &columns);
        for at in 0..stored.len() {
            let mut damaged = *stored;
            damaged[at] ^= 1;
            assert!(Segment::open(&damaged).is_err(), "byte {at}");
        }
    }

    #[test]
    fn columns_that_follow_others_are_nearly_free() {
        let noise: Vec<f64> =
            (0..480u32).map(|row| f64::from(row.wrapping_mul(2_654_435_761) >> 20)).scan(0.0, add).collect();
        let other: Vec<f64> =
            (0..480u32).map(|row| f64::from(row.wrapping_mul(2_246_822_519) >> 20)).scan(0.0, add).collect();
        let sum: Vec<f64> = noise.iter().zip(&other).map(|(a, b)| a + b).collect();
        let rest: Vec<f64> = sum.iter().zip(&noise).map(|(a, b)| 1e6 + a - b).collect();
        let alone = check(&[noise.clone(), other.clone()]);
        let followed = check(&[noise.clone(), other, noise, sum, rest]);
        assert!(followed < alone + 60, "{alone} bytes for two, {followed} with three that follow from them");
    }

    fn add(sum: &mut f64, value: f64) -> Option<f64> {
        *sum += value;
        Some(*sum)
    }

    #[test]
    fn sums_of_decimals_are_small() {
        let sum = (1..=480u32).map(|row| f64::from(row % 7) / 1000.0 + 0.001).scan(0.0, add).collect();
        let bytes = check(&[sum]);
        assert!(bytes < 480, "{bytes} bytes for 480 values");
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
            ("absent", 50, column(&|_| absent())),
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
        encode_segment(&timestamps, &[&values], Effort::Usual, &mut bytes);
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
        fn hostile_bytes_never_panic(format in 1u8..4, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut framed = vec![format];
            framed.extend_from_slice(&bytes);
            if let Ok(segment) = Segment::open(&sealed(framed)) {
                let mut times = Vec::new();
                let _ = segment.timestamps(&mut times);
                for index in 0..segment.column_count() {
                    let _ = segment.column(index, &mut Vec::new());
                    let _ = segment.column_span(index, &mut Vec::new());
                }
            }
        }

        #[test]
        fn hostile_columns_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), rows in 0usize..50) {
            for count in 0..4 {
                if let Ok(columns) = format1::Columns::open(bytes.clone(), count) {
                    let _ = columns.decode(0, rows, &mut Vec::new());
                }
                if let Ok(columns) = columns::Columns::open(bytes.clone(), count, rows, None) {
                    for index in 0..count {
                        let _ = columns.decode(index, &mut Vec::new());
                    }
                }
            }
        }

        #[test]
        fn related_columns_round_trip(
            steps in proptest::collection::vec(proptest::collection::vec(-50i32..50, 30), 1..5),
            mixes in proptest::collection::vec((0usize..5, 0usize..5, any::<bool>(), 1i32..5000), 0..12),
            holes in proptest::collection::vec(any::<bool>(), 30),
        ) {
            let mut columns: Vec<Vec<f64>> = steps
                .iter()
                .map(|steps| steps.iter().scan(0.0, |sum, step| add(sum, f64::from(*step))).collect())
                .collect();
            for (a, b, is_sum, factor) in mixes {
                let (a, b) = (&columns[a % columns.len()], &columns[b % columns.len()]);
                let sign = if is_sum { 1.0 } else { -1.0 };
                columns.push(a.iter().zip(b).map(|(a, b)| (a + sign * b) * f64::from(factor) / 100.0).collect());
            }
            for column in columns.iter_mut().step_by(2) {
                holes.iter().zip(column).filter(|(hole, _)| **hole).for_each(|(_, value)| *value = absent());
            }
            check(&columns);
        }
    }

    #[test]
    fn sentinels_are_distinct() {
        assert_ne!(ABSENT_BITS, STALE_NAN_BITS);
        assert!(absent().is_nan());
    }
}
