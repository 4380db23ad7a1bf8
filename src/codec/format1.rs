//! Columns as format 1 wrote them, each on its own: read only.
//!
//! The first releases wrote it. A column is a constant, decimal integers by difference, or raw bits.

use super::CodecError;
use super::decimal::power;
use super::presence::Presence;
use super::varint::{read_signed, read_unsigned};

/// The low bits of a column's first byte.
const KIND_MASK: u8 = 0b111;
/// No ordinary values at all.
const KIND_NONE: u8 = 0;
/// One value throughout, as a scaled integer.
const KIND_CONSTANT: u8 = 1;
/// One value throughout, as its bits.
const KIND_CONSTANT_BITS: u8 = 2;
/// Scaled integers by difference.
const KIND_DELTA: u8 = 3;
/// Scaled integers by difference of differences.
const KIND_DELTA_OF_DELTA: u8 = 4;
/// Each value's bits against the ones before, byte planes apart.
const KIND_BITS: u8 = 5;
/// Some times have no sample.
const HAS_HOLES: u8 = 0b0000_1000;
/// Some values are not finite, or are `-0.0`.
const HAS_SPECIALS: u8 = 0b0001_0000;

/// Unpacked columns.
#[derive(Debug)]
pub(super) struct Columns {
    body: Vec<u8>,
    /// Where each column begins in `body`, and where the last one ends.
    offsets: Vec<u32>,
}

impl Columns {
    /// Finds the columns in an unpacked body.
    pub fn open(body: Vec<u8>, columns: usize) -> Result<Self, CodecError> {
        let offsets = column_offsets(&body, columns)?;
        Ok(Self { body, offsets })
    }

    /// How many columns there are.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Bytes of memory besides the value itself.
    pub fn memory(&self) -> usize {
        self.body.capacity() + self.offsets.capacity() * size_of::<u32>()
    }

    /// Appends one column's values, one per row.
    pub fn decode(&self, index: usize, rows: usize, values: &mut Vec<f64>) -> Result<(), CodecError> {
        let ends = self.offsets.get(index..index + 2).ok_or(CodecError::NoSuchColumn(index))?;
        decode(&self.body[ends[0] as usize..ends[1] as usize], rows, values)
    }
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

fn decode(mut input: &[u8], rows: usize, values: &mut Vec<f64>) -> Result<(), CodecError> {
    let (&head, rest) = input.split_first().ok_or(CodecError::Truncated)?;
    input = rest;
    let start = values.len();
    let presence = Presence::read(&mut input, rows, head & HAS_HOLES != 0, head & HAS_SPECIALS != 0)?;
    decode_plain(head & KIND_MASK, input, presence.plain, values)?;
    presence.spread(start, values);
    Ok(())
}

fn decode_plain(kind: u8, mut input: &[u8], count: usize, values: &mut Vec<f64>) -> Result<(), CodecError> {
    match kind {
        KIND_NONE if count == 0 => {}
        KIND_NONE => return Err(CodecError::Malformed("values are missing")),
        KIND_CONSTANT => {
            let divisor = read_power(&mut input)?;
            let value = read_signed(&mut input)? as f64 / divisor;
            values.extend(std::iter::repeat_n(value, count));
        }
        KIND_CONSTANT_BITS => {
            let value = f64::from_bits(read_bits(&mut input)?);
            values.extend(std::iter::repeat_n(value, count));
        }
        KIND_DELTA | KIND_DELTA_OF_DELTA => {
            decode_integers(&mut input, kind == KIND_DELTA_OF_DELTA, count, values)?;
        }
        KIND_BITS => decode_bits(&mut input, count, values)?,
        _ => return Err(CodecError::Malformed("unknown kind of column")),
    }
    if input.is_empty() { Ok(()) } else { Err(CodecError::Malformed("bytes behind a column")) }
}

fn decode_integers(
    input: &mut &[u8],
    is_second_order: bool,
    count: usize,
    values: &mut Vec<f64>,
) -> Result<(), CodecError> {
    let divisor = read_power(input)?;
    let mut integer = read_signed(input)?;
    let unit = read_unsigned(input)? as i64;
    if count == 0 || count - 1 > input.len() {
        return Err(CodecError::Truncated);
    }
    values.reserve(count);
    values.push(integer as f64 / divisor);
    let mut last = 0i64;
    for _ in 1..count {
        let coded = read_signed(input)?;
        let delta = if is_second_order { last.wrapping_add(coded) } else { coded };
        last = delta;
        integer = integer.wrapping_add(delta.wrapping_mul(unit));
        values.push(integer as f64 / divisor);
    }
    Ok(())
}

fn decode_bits(input: &mut &[u8], count: usize, values: &mut Vec<f64>) -> Result<(), CodecError> {
    if input.len() != count.saturating_mul(8) {
        return Err(CodecError::Truncated);
    }
    let mut last = 0u64;
    values.extend((0..count).map(|index| {
        let bits = (0..8).fold(0u64, |bits, plane| bits << 8 | u64::from(input[plane * count + index]));
        last ^= bits;
        f64::from_bits(last)
    }));
    *input = &[];
    Ok(())
}

fn read_power(input: &mut &[u8]) -> Result<f64, CodecError> {
    let (&exponent, rest) = input.split_first().ok_or(CodecError::Truncated)?;
    *input = rest;
    power(exponent)
}

fn read_bits(input: &mut &[u8]) -> Result<u64, CodecError> {
    let (bits, rest) = input.split_first_chunk::<8>().ok_or(CodecError::Truncated)?;
    *input = rest;
    Ok(u64::from_le_bytes(*bits))
}
