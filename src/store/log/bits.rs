//! One row of the tail against the row before it, bit by bit: quick to write, and read once at most.
//!
//! Two streams, as in [`row`](super::row): what became of each value (runs of unchanged ones in a byte), and the bytes in
//! which it differs. Integers and short decimals end in zeros, and what moves a little begins as before.

use super::row::{RUN, push_run, read_len, take};
use crate::codec::{CodecError, write_unsigned};

/// A kind that is no run: the zero bytes in front of those that differ in the low bits, how many follow above them.
const LEADING_MASK: u8 = 0b111;
const COUNT_SHIFT: u32 = 3;
const BYTES: usize = 8;

/// Appends a row; `base` is the row before, or empty.
pub(super) fn encode_bits(base: &[f64], values: &[f64], out: &mut Vec<u8>) {
    let mut kinds = Vec::with_capacity(values.len() + 8);
    // Each value's bytes are written as eight, of which the next one keeps those that count.
    let mut data = vec![0; values.len() * BYTES + BYTES];
    let (mut len, mut run) = (0, 0);
    let before = base.iter().map(|value| value.to_bits()).chain(std::iter::repeat(0));
    for (value, before) in values.iter().zip(before) {
        let difference = value.to_bits() ^ before;
        if difference == 0 {
            run += 1;
            continue;
        }
        push_run(&mut kinds, &mut run);
        let (leading, trailing) = (difference.leading_zeros() / 8, difference.trailing_zeros() / 8);
        let count = BYTES as u32 - leading - trailing;
        kinds.push((count << COUNT_SHIFT | leading) as u8);
        data[len..len + BYTES].copy_from_slice(&(difference >> (8 * trailing)).to_le_bytes());
        len += count as usize;
    }
    push_run(&mut kinds, &mut run);
    write_unsigned(out, values.len() as u64);
    write_unsigned(out, kinds.len() as u64);
    out.extend_from_slice(&kinds);
    write_unsigned(out, len as u64);
    out.extend_from_slice(&data[..len]);
}

/// Takes a row of at most `len_max` values off the front of `input`.
pub(super) fn decode_bits(base: &[f64], len_max: usize, input: &mut &[u8]) -> Result<Vec<f64>, CodecError> {
    let len = read_len(len_max, input)?;
    let kinds = take(input)?;
    let mut data = take(input)?;
    let mut values = Vec::with_capacity(len);
    for &kind in kinds {
        let before = |at: usize| base.get(at).copied().unwrap_or(0.0);
        let at = values.len();
        if kind >= RUN {
            values.extend((at..=at + usize::from(kind & !RUN)).map(before));
        } else {
            values.push(f64::from_bits(before(at).to_bits() ^ decode_difference(kind, &mut data)?));
        }
        if values.len() > len {
            break;
        }
    }
    if values.len() == len { Ok(values) } else { Err(CodecError::Malformed("a row has another length")) }
}

fn decode_difference(kind: u8, data: &mut &[u8]) -> Result<u64, CodecError> {
    let (leading, count) = (usize::from(kind & LEADING_MASK), usize::from(kind >> COUNT_SHIFT));
    if !(1..=BYTES - leading).contains(&count) {
        return Err(CodecError::Malformed("unknown kind of value"));
    }
    let (taken, rest) = data.split_at_checked(count).ok_or(CodecError::Truncated)?;
    *data = rest;
    let difference = taken.iter().rev().fold(0, |bits, byte| bits << 8 | u64::from(*byte));
    Ok(difference << (8 * (BYTES - leading - count)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::absent;
    use crate::store::log::row::tests::two_rows;
    use proptest::prelude::*;

    fn check(base: &[f64], values: &[f64]) -> usize {
        let mut bytes = Vec::new();
        encode_bits(base, values, &mut bytes);
        let mut rest = bytes.as_slice();
        let decoded = decode_bits(base, values.len(), &mut rest).expect("just encoded");
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!((bits(&decoded), rest.len()), (bits(values), 0), "{base:?} -> {values:?}");
        bytes.len()
    }

    #[test]
    fn a_value_takes_the_bytes_that_differ() {
        // Three lengths and a kind, and then so many bytes.
        let cases = [
            (0.0, 1.0, 2),
            (1000.0, 1001.0, 1),
            (123_456.0, 123_556.0, 2),
            (1e12, 1e12 + 1.0, 1),
            (0.0, 0.0, 0),
            (-0.0, 0.0, 1),
            (0.1, 0.2, 1),
            (0.0, 0.1, 8),
            (0.0, f64::from_bits(1), 1),
            (0.0, f64::from_bits(u64::MAX), 8),
            (absent(), absent(), 0),
        ];
        for (before, value, expected) in cases {
            assert_eq!(check(&[before], &[value]), 4 + expected, "{before} -> {value}");
        }
        assert_eq!(check(&[0.5; 1000], &[0.5; 1000]), 2 + 1 + 8 + 1, "eight runs");
    }

    #[test]
    fn a_row_that_says_to_be_longer_than_its_layout_is_refused() {
        let kinds = vec![0xff; 1 << 20];
        for len in [3, 4, 1 << 27, u64::MAX] {
            let mut bytes = Vec::new();
            write_unsigned(&mut bytes, len);
            write_unsigned(&mut bytes, kinds.len() as u64);
            bytes.extend_from_slice(&kinds);
            bytes.push(0);
            let reason = if len <= 3 { "a row has another length" } else { "a row is longer than its layout" };
            assert_eq!(decode_bits(&[], 3, &mut bytes.as_slice()), Err(CodecError::Malformed(reason)), "{len}");
        }
    }

    proptest! {
        #[test]
        fn rows_come_back((base, values) in two_rows()) {
            check(&base, &values);
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode_bits(&[1.0, 2.5, f64::NAN], 3, &mut bytes.as_slice());
        }
    }
}
