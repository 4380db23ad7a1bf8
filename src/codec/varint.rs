//! LEB128 integers, and signed ones through zigzag: the form of nearly every number on disk.

use super::CodecError;

/// Appends an unsigned integer, seven bits a byte, low bits first.
#[inline]
pub fn write_unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed integer so that small magnitudes stay short.
#[inline]
pub fn write_signed(out: &mut Vec<u8>, value: i64) {
    write_unsigned(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Takes an unsigned integer off the front of `input`.
#[inline]
pub fn read_unsigned(input: &mut &[u8]) -> Result<u64, CodecError> {
    let mut value = 0u64;
    for (index, &byte) in input.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * index as u32);
        if byte < 0x80 {
            *input = &input[index + 1..];
            return Ok(value);
        }
    }
    if input.len() < 10 { Err(CodecError::Truncated) } else { Err(CodecError::Malformed("a number of over ten bytes")) }
}

/// Takes a signed integer off the front of `input`.
#[inline]
pub fn read_signed(input: &mut &[u8]) -> Result<i64, CodecError> {
    let coded = read_unsigned(input)?;
    Ok((coded >> 1) as i64 ^ -((coded & 1) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_round_trip_and_endless_numbers_are_refused() {
        let mut bytes = Vec::new();
        let values = [0, 1, -1, 63, -64, 64, i64::MAX, i64::MIN, i64::MIN + 1];
        values.iter().for_each(|value| write_signed(&mut bytes, *value));
        let mut rest = bytes.as_slice();
        for value in values {
            assert_eq!(read_signed(&mut rest), Ok(value));
        }
        assert_eq!(read_unsigned(&mut rest), Err(CodecError::Truncated));
        assert!(read_unsigned(&mut [0xff; 11].as_slice()).is_err());
    }
}
