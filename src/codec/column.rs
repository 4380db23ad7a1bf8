//! One column: where samples are missing, which values are special, and the rest as the cheapest of
//! a short list of forms: constant, decimal integers by difference, raw bits.
//!
//! Nearly all series are integers or short decimals in disguise. Scaled by one exact power of ten they
//! become integers; their differences, divided by what is common to all of them, are small.

use super::varint::{read_signed, read_unsigned, write_signed, write_unsigned};
use super::{CodecError, absent, is_absent};
use crate::model::STALE_NAN_BITS;

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

/// A special value's first byte: a frequent one by number, or its bits.
const SPECIAL_STALE: u8 = 0;
const SPECIAL_NAN: u8 = 1;
const SPECIAL_BITS: u8 = 2;
/// The NaN that Go and the text format give.
const NAN_BITS: u64 = 0x7ff8_0000_0000_0001;

/// Powers of ten that a float holds exactly and that samples use.
const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
/// Integers up to here are exact in a float.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Appends one column.
pub(super) fn encode(values: &[f64], out: &mut Vec<u8>) {
    let mut plain = Vec::with_capacity(values.len());
    let (mut holes, mut specials, mut special_count) = (Holes::default(), Vec::new(), 0u64);
    let (mut present, mut last_special) = (0u64, 0u64);
    for &value in values {
        holes.push(is_absent(value));
        if is_absent(value) {
            continue;
        }
        if is_special(value) {
            write_unsigned(&mut specials, present - last_special);
            write_special(&mut specials, value);
            last_special = present;
            special_count += 1;
        } else {
            plain.push(value);
        }
        present += 1;
    }
    let head = out.len();
    out.push(0);
    let mut flags = 0;
    if holes.any {
        flags |= HAS_HOLES;
        holes.finish(out);
    }
    if special_count > 0 {
        flags |= HAS_SPECIALS;
        write_unsigned(out, special_count);
        out.extend_from_slice(&specials);
    }
    out[head] = flags | encode_plain(&plain, out);
}

/// Appends `rows` values to `values`.
pub(super) fn decode(mut input: &[u8], rows: usize, values: &mut Vec<f64>) -> Result<(), CodecError> {
    let (&head, rest) = input.split_first().ok_or(CodecError::Truncated)?;
    input = rest;
    let start = values.len();
    let (runs, present) = if head & HAS_HOLES == 0 { (Vec::new(), rows) } else { read_holes(&mut input, rows)? };
    let specials = if head & HAS_SPECIALS == 0 { Vec::new() } else { read_specials(&mut input, present)? };
    decode_plain(head & KIND_MASK, input, present - specials.len(), values)?;
    insert_specials(&specials, start, values);
    insert_holes(&runs, rows, start, values);
    Ok(())
}

/// Run lengths, present and absent in turn, beginning with present.
#[derive(Default)]
struct Holes {
    runs: Vec<u64>,
    any: bool,
}

impl Holes {
    fn push(&mut self, is_absent: bool) {
        self.any |= is_absent;
        // An even number of runs means that the next run is a present one.
        if self.runs.is_empty() {
            self.runs.push(0);
        }
        let in_absent_run = self.runs.len().is_multiple_of(2);
        if in_absent_run != is_absent {
            self.runs.push(0);
        }
        *self.runs.last_mut().expect("pushed above") += 1;
    }

    fn finish(&self, out: &mut Vec<u8>) {
        self.runs.iter().for_each(|run| write_unsigned(out, *run));
    }
}

/// The runs and how many rows are present.
fn read_holes(input: &mut &[u8], rows: usize) -> Result<(Vec<usize>, usize), CodecError> {
    let (mut runs, mut total, mut present) = (Vec::new(), 0usize, 0usize);
    while total < rows {
        let run = read_unsigned(input)?;
        if run > (rows - total) as u64 || (run == 0 && !runs.is_empty()) {
            return Err(CodecError::Malformed("runs of holes do not add up"));
        }
        if runs.len().is_multiple_of(2) {
            present += run as usize;
        }
        total += run as usize;
        runs.push(run as usize);
    }
    Ok((runs, present))
}

fn is_special(value: f64) -> bool {
    !value.is_finite() || (value == 0.0 && value.is_sign_negative())
}

fn write_special(out: &mut Vec<u8>, value: f64) {
    match value.to_bits() {
        STALE_NAN_BITS => out.push(SPECIAL_STALE),
        NAN_BITS => out.push(SPECIAL_NAN),
        bits => {
            out.push(SPECIAL_BITS);
            out.extend_from_slice(&bits.to_le_bytes());
        }
    }
}

/// Position among the present values, and value.
fn read_specials(input: &mut &[u8], present: usize) -> Result<Vec<(usize, f64)>, CodecError> {
    let count = read_unsigned(input)?;
    if count > present as u64 {
        return Err(CodecError::Malformed("more special values than values"));
    }
    let mut specials = Vec::with_capacity(count as usize);
    let mut position = 0u64;
    for index in 0..count {
        let gap = read_unsigned(input)?;
        position = position.saturating_add(gap);
        if position >= present as u64 || (index > 0 && gap == 0) {
            return Err(CodecError::Malformed("a special value is out of place"));
        }
        let (&tag, rest) = input.split_first().ok_or(CodecError::Truncated)?;
        *input = rest;
        let bits = match tag {
            SPECIAL_STALE => STALE_NAN_BITS,
            SPECIAL_NAN => NAN_BITS,
            SPECIAL_BITS => read_bits(input)?,
            _ => return Err(CodecError::Malformed("unknown special value")),
        };
        specials.push((position as usize, f64::from_bits(bits)));
    }
    Ok(specials)
}

/// Spreads the plain values from the back, so that each moves once.
fn insert_specials(specials: &[(usize, f64)], start: usize, values: &mut Vec<f64>) {
    let mut source = values.len();
    values.resize(source + specials.len(), 0.0);
    let mut target = values.len();
    for &(position, special) in specials.iter().rev() {
        let run = target - (start + position) - 1;
        values.copy_within(source - run..source, target - run);
        source -= run;
        target -= run + 1;
        values[target] = special;
    }
}

fn insert_holes(runs: &[usize], rows: usize, start: usize, values: &mut Vec<f64>) {
    if runs.is_empty() {
        return;
    }
    let mut source = values.len();
    values.resize(start + rows, 0.0);
    let mut target = values.len();
    for (index, &run) in runs.iter().enumerate().rev() {
        if index.is_multiple_of(2) {
            values.copy_within(source - run..source, target - run);
            source -= run;
        } else {
            values[target - run..target].fill(absent());
        }
        target -= run;
    }
}

/// Appends the ordinary values and gives their kind.
fn encode_plain(plain: &[f64], out: &mut Vec<u8>) -> u8 {
    let Some(&first) = plain.first() else { return KIND_NONE };
    let is_constant = plain.iter().all(|value| value.to_bits() == first.to_bits());
    let scaled = scale(if is_constant { &plain[..1] } else { plain });
    match scaled {
        Some((exponent, integers)) if is_constant => {
            out.push(exponent);
            write_signed(out, integers[0]);
            KIND_CONSTANT
        }
        None if is_constant => {
            out.extend_from_slice(&first.to_bits().to_le_bytes());
            KIND_CONSTANT_BITS
        }
        Some((exponent, integers)) => {
            out.push(exponent);
            encode_integers(&integers, out)
        }
        None => {
            encode_bits(plain, out);
            KIND_BITS
        }
    }
}

/// The smallest power of ten that makes all values integers, exactly and reversibly.
fn scale(values: &[f64]) -> Option<(u8, Vec<i64>)> {
    let mut integers = Vec::with_capacity(values.len());
    let mut exponent = 0;
    'exponents: while exponent < POWERS.len() {
        integers.clear();
        for &value in values {
            let Some(integer) = scale_one(value, exponent) else {
                exponent += 1;
                continue 'exponents;
            };
            integers.push(integer);
        }
        return Some((exponent as u8, integers));
    }
    None
}

#[inline]
fn scale_one(value: f64, exponent: usize) -> Option<i64> {
    let scaled = (value * POWERS[exponent]).round();
    if scaled.abs() >= EXACT_MAX {
        return None;
    }
    let integer = scaled as i64;
    (unscale_one(integer, exponent).to_bits() == value.to_bits()).then_some(integer)
}

#[inline]
fn unscale_one(integer: i64, exponent: usize) -> f64 {
    integer as f64 / POWERS[exponent]
}

/// `value` times ten to the `exponent`, if that is an integer from which `value` comes back bit by bit.
pub fn to_decimal(value: f64, exponent: u8) -> Option<i64> {
    scale_one(value, usize::from(exponent).min(POWERS.len() - 1))
}

/// The float that [`to_decimal`] was given.
pub fn from_decimal(integer: i64, exponent: u8) -> f64 {
    unscale_one(integer, usize::from(exponent).min(POWERS.len() - 1))
}

/// First value, what all differences have in common, then the differences.
fn encode_integers(integers: &[i64], out: &mut Vec<u8>) -> u8 {
    let unit = integers.windows(2).fold(0, |unit, pair| common_divisor(unit, (pair[1] - pair[0]).unsigned_abs()));
    // A column that is not constant has a difference that is not zero.
    let unit = unit.max(1) as i64;
    write_signed(out, integers[0]);
    write_unsigned(out, unit as u64);
    let (mut first_order, mut second_order, mut last) = (Vec::with_capacity(integers.len()), Vec::new(), 0);
    for pair in integers.windows(2) {
        let delta = (pair[1] - pair[0]) / unit;
        write_signed(&mut first_order, delta);
        write_signed(&mut second_order, delta - last);
        last = delta;
    }
    // A tie goes to the first order, whose bytes repeat more.
    if second_order.len() < first_order.len() {
        out.extend_from_slice(&second_order);
        return KIND_DELTA_OF_DELTA;
    }
    out.extend_from_slice(&first_order);
    KIND_DELTA
}

fn common_divisor(mut a: u64, mut b: u64) -> u64 {
    if a == 1 {
        return 1;
    }
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Eight planes of bytes, the highest first: sign, exponent and leading digits repeat, the rest is noise.
fn encode_bits(values: &[f64], out: &mut Vec<u8>) {
    for plane in (0..8).rev() {
        let mut last = 0;
        for value in values {
            let bits = value.to_bits();
            out.push(((bits ^ last) >> (plane * 8)) as u8);
            last = bits;
        }
    }
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
    POWERS.get(usize::from(exponent)).copied().ok_or(CodecError::Malformed("exponent out of range"))
}

fn read_bits(input: &mut &[u8]) -> Result<u64, CodecError> {
    let (bits, rest) = input.split_first_chunk::<8>().ok_or(CodecError::Truncated)?;
    *input = rest;
    Ok(u64::from_le_bytes(*bits))
}
