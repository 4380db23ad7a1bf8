//! One row against the row before it: most values stay or move by a little.
//!
//! Two streams: what became of each value (runs of unchanged ones in a byte), and how far it moved.

use crate::codec::{
    CodecError, absent, from_decimal, is_absent, read_signed, read_unsigned, to_decimal, write_signed, write_unsigned,
};

/// Kinds from here on are runs of unchanged values: the low bits are the length less one.
pub(super) const RUN: u8 = 0x80;
pub(super) const RUN_MAX: usize = 0x80;
/// No sample.
const ABSENT: u8 = 0;
/// Eight bytes of bits.
const BITS: u8 = 1;
/// From here on: a difference of decimals, with this less `DECIMAL` as the exponent.
const DECIMAL: u8 = 2;
/// More decimals than this are rare enough to be written as bits.
const EXPONENT_MAX: u8 = 9;
/// A difference of integers, of which the one before is too large to be an origin.
const INTEGER: u8 = DECIMAL + EXPONENT_MAX + 1;

/// Appends a row; `base` is the row before, or empty.
pub(super) fn encode_row(base: &[f64], values: &[f64], out: &mut Vec<u8>) {
    let mut kinds = Vec::with_capacity(values.len() / 4 + 8);
    let mut data = Vec::with_capacity(values.len());
    let mut run = 0;
    for (index, &value) in values.iter().enumerate() {
        let before = base.get(index).copied();
        if before.map(f64::to_bits) == Some(value.to_bits()) {
            run += 1;
            continue;
        }
        push_run(&mut kinds, &mut run);
        encode_value(before, value, &mut kinds, &mut data);
    }
    push_run(&mut kinds, &mut run);
    write_unsigned(out, values.len() as u64);
    write_unsigned(out, kinds.len() as u64);
    out.extend_from_slice(&kinds);
    write_unsigned(out, data.len() as u64);
    out.extend_from_slice(&data);
}

/// Ends a run of unchanged values.
#[inline]
pub(super) fn push_run(kinds: &mut Vec<u8>, run: &mut usize) {
    while *run > 0 {
        let part = (*run).min(RUN_MAX);
        kinds.push(RUN | (part - 1) as u8);
        *run -= part;
    }
}

fn encode_value(before: Option<f64>, value: f64, kinds: &mut Vec<u8>, data: &mut Vec<u8>) {
    if is_absent(value) {
        kinds.push(ABSENT);
        return;
    }
    match integers(before, value).or_else(|| decimals(before, value)) {
        Some((kind, difference)) => {
            kinds.push(kind);
            write_signed(data, difference);
        }
        None => {
            kinds.push(BITS);
            data.extend_from_slice(&value.to_bits().to_le_bytes());
        }
    }
}

/// The kind and the difference of a value and its origin as decimals of one exponent.
fn decimals(before: Option<f64>, value: f64) -> Option<(u8, i64)> {
    let origin = origin(before);
    let difference = |exponent| Some(to_decimal(value, exponent)? - to_decimal(origin, exponent)?);
    (0..=EXPONENT_MAX).find_map(|exponent| Some((DECIMAL + exponent, difference(exponent)?)))
}

/// The same of two integers, which most samples are, without multiplying and dividing.
#[inline]
fn integers(before: Option<f64>, value: f64) -> Option<(u8, i64)> {
    const EXACT_MAX: u64 = 1 << 53;
    /// An integer up to here is exact with `EXPONENT_MAX` decimals; one above is no origin.
    const ORIGIN_MAX: u64 = EXACT_MAX / 10_u64.pow(EXPONENT_MAX as u32);
    let integer = |value: f64| {
        let integer = value as i64;
        let is_exact = integer.unsigned_abs() < EXACT_MAX && (integer as f64).to_bits() == value.to_bits();
        is_exact.then_some(integer)
    };
    let (now, then) = (integer(value)?, integer(before?)?);
    let kind = if then.unsigned_abs() <= ORIGIN_MAX { DECIMAL } else { INTEGER };
    Some((kind, now - then))
}

/// What a difference counts from: the value before where it is a short decimal, else zero.
fn origin(before: Option<f64>) -> f64 {
    before.filter(|before| before.is_finite() && to_decimal(*before, EXPONENT_MAX).is_some()).unwrap_or(0.0)
}

/// Takes a row of at most `len_max` values off the front of `input`.
pub(super) fn decode_row(base: &[f64], len_max: usize, input: &mut &[u8]) -> Result<Vec<f64>, CodecError> {
    let len = read_len(len_max, input)?;
    let kinds = take(input)?;
    let mut data = take(input)?;
    let mut values = Vec::with_capacity(len);
    for &kind in kinds {
        let before = base.get(values.len()).copied();
        if kind >= RUN {
            let end = values.len() + usize::from(kind & !RUN) + 1;
            values.extend_from_slice(base.get(values.len()..end).ok_or(CodecError::Malformed("a run without a base"))?);
        } else {
            values.push(decode_value(kind, before, &mut data)?);
        }
        if values.len() > len {
            break;
        }
    }
    if values.len() == len { Ok(values) } else { Err(CodecError::Malformed("a row has another length")) }
}

/// The number of values of a row. A byte may stand for 128 of them: only the layout bounds what a lying row allocates.
pub(super) fn read_len(len_max: usize, input: &mut &[u8]) -> Result<usize, CodecError> {
    let len = usize::try_from(read_unsigned(input)?).ok();
    len.filter(|len| *len <= len_max).ok_or(CodecError::Malformed("a row is longer than its layout"))
}

/// Passes over a row.
pub(super) fn skip_row(input: &mut &[u8]) -> Result<(), CodecError> {
    read_unsigned(input)?;
    take(input)?;
    take(input).map(drop)
}

fn decode_value(kind: u8, before: Option<f64>, data: &mut &[u8]) -> Result<f64, CodecError> {
    match kind {
        ABSENT => Ok(absent()),
        BITS => {
            let (bits, rest) = data.split_first_chunk::<8>().ok_or(CodecError::Truncated)?;
            *data = rest;
            Ok(f64::from_bits(u64::from_le_bytes(*bits)))
        }
        _ if kind - DECIMAL <= EXPONENT_MAX => {
            let exponent = kind - DECIMAL;
            let then =
                to_decimal(origin(before), exponent).ok_or(CodecError::Malformed("a difference without a base"))?;
            Ok(from_decimal(then.wrapping_add(read_signed(data)?), exponent))
        }
        INTEGER => {
            let then = before.and_then(|before| to_decimal(before, 0));
            let then = then.ok_or(CodecError::Malformed("a difference without a base"))?;
            Ok(from_decimal(then.wrapping_add(read_signed(data)?), 0))
        }
        _ => Err(CodecError::Malformed("unknown kind of value")),
    }
}

/// Takes a length and that many bytes.
pub(super) fn take<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], CodecError> {
    let len = read_unsigned(input)?;
    if len > input.len() as u64 {
        return Err(CodecError::Truncated);
    }
    let (taken, rest) = input.split_at(len as usize);
    *input = rest;
    Ok(taken)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::stale_marker;
    use proptest::prelude::*;

    fn check(base: &[f64], values: &[f64]) {
        let mut bytes = Vec::new();
        encode_row(base, values, &mut bytes);
        let mut rest = bytes.as_slice();
        let decoded = decode_row(base, values.len(), &mut rest).expect("just encoded");
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!((bits(&decoded), rest.len()), (bits(values), 0), "{base:?} -> {values:?}");
    }

    /// A row and the one before it, of which it may begin as that does.
    pub(in super::super) fn two_rows() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
        let row = || proptest::collection::vec(any_value(), 0..300);
        (row(), row(), prop_oneof![Just(0), 0usize..300]).prop_map(|(base, mut values, repeated)| {
            let repeated = repeated.min(base.len()).min(values.len());
            values[..repeated].copy_from_slice(&base[..repeated]);
            (base, values)
        })
    }

    fn any_value() -> impl Strategy<Value = f64> {
        prop_oneof![
            (-1000i32..1000).prop_map(f64::from),
            (-100_000i64..100_000).prop_map(|value| value as f64 / 1000.0),
            any::<u64>().prop_map(f64::from_bits),
            Just(absent()),
            Just(stale_marker()),
            Just(-0.0),
        ]
    }

    #[test]
    fn integers_are_decimals() {
        let magnitudes =
            [0, 1, 999, 9_007_198, 9_007_199, 9_007_200, 1 << 52, (1 << 53) - 1, 1 << 53, 1 << 60, i64::MAX];
        let numbers: Vec<f64> = magnitudes.iter().flat_map(|number| [*number as f64, -(*number as f64)]).collect();
        let others = [0.5, 1e300, f64::INFINITY, f64::NAN, absent(), stale_marker()];
        for &before in numbers.iter().chain(&others) {
            for &value in numbers.iter().chain(&others) {
                let found = integers(Some(before), value);
                if let Some(found) = found.filter(|(kind, _)| *kind != INTEGER) {
                    assert_eq!(Some(found), decimals(Some(before), value), "{before} -> {value}");
                }
                check(&[before], &[value]);
            }
        }
        assert!(integers(Some(5.0), 7.0).is_some() && integers(Some(-0.0), 1.0).is_none());
        assert_eq!(integers(Some(1e11), 1e11 + 512.0), Some((INTEGER, 512)));
    }

    proptest! {
        #[test]
        fn rows_come_back((base, values) in two_rows()) {
            check(&base, &values);
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode_row(&[1.0, 2.5, f64::NAN], 3, &mut bytes.as_slice());
        }
    }
}
