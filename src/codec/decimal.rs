//! Floats that are short decimals in disguise, as integers with a power of ten.

use super::CodecError;

/// Powers of ten that a float holds exactly and that samples use.
pub(super) const POWERS: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
/// Integers up to here are exact in a float.
pub(super) const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// The smallest power of ten that makes all values integers, exactly and reversibly; the integers go
/// to `integers`, whose content means nothing otherwise.
pub(super) fn scale(values: &[f64], integers: &mut Vec<i64>) -> Option<u8> {
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
        return Some(exponent as u8);
    }
    None
}

#[inline]
fn scale_one(value: f64, exponent: usize) -> Option<i64> {
    let integer = nearest(value * POWERS[exponent])?;
    (unscale_one(integer, exponent).to_bits() == value.to_bits()).then_some(integer)
}

/// The nearest integer, if integers are exact there. Rounds without the library call that `round` is on older
/// processors. It differs from that for the float below one half alone, which neither of the two integers gives back.
#[inline]
fn nearest(value: f64) -> Option<i64> {
    const FRACTIONS_MAX: f64 = 4_503_599_627_370_496.0;
    let magnitude = value.abs();
    let half = if magnitude < FRACTIONS_MAX { 0.5f64.copysign(value) } else { 0.0 };
    (magnitude < EXACT_MAX).then_some((value + half) as i64)
}

#[inline]
fn unscale_one(integer: i64, exponent: usize) -> f64 {
    integer as f64 / POWERS[exponent]
}

/// `value` times ten to the `exponent`, if that is an integer from which `value` comes back bit by bit.
#[inline]
pub fn to_decimal(value: f64, exponent: u8) -> Option<i64> {
    scale_one(value, usize::from(exponent).min(POWERS.len() - 1))
}

/// The float that [`to_decimal`] was given.
pub fn from_decimal(integer: i64, exponent: u8) -> f64 {
    unscale_one(integer, usize::from(exponent).min(POWERS.len() - 1))
}

/// The power of ten that an exponent of a column stands for.
pub(super) fn power(exponent: u8) -> Result<f64, CodecError> {
    POWERS.get(usize::from(exponent)).copied().ok_or(CodecError::Malformed("exponent out of range"))
}

/// The bits of a float as an integer that rises with it: neighbours in value are neighbours here.
#[inline]
pub(super) fn to_ordinal(value: f64) -> i64 {
    let bits = value.to_bits() as i64;
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

/// The float that [`to_ordinal`] was given.
#[inline]
pub(super) fn from_ordinal(ordinal: i64) -> f64 {
    f64::from_bits((ordinal ^ ((ordinal >> 63) as u64 >> 1) as i64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_rounds_as_the_library_does() {
        let half = 4_503_599_627_370_496.0 / 2.0;
        let cases =
            [0.0, 0.25, 0.5, 0.75, 1.5, 2.5, 1e9 + 0.499, half - 0.5, half + 0.5, 2.0 * half, 1e300, f64::INFINITY];
        for value in cases.into_iter().flat_map(|value: f64| [value.next_down(), value, value.next_up()]) {
            if value == 0.5f64.next_down() {
                continue;
            }
            for value in [value, -value] {
                let expected = Some(value.round()).filter(|rounded| rounded.abs() < EXACT_MAX);
                assert_eq!(nearest(value).map(|integer| integer as f64), expected, "{value}");
            }
        }
        assert_eq!(nearest(f64::NAN), None);
        // The one that differs: neither of both comes back from an integer, so that it is told as it is.
        let below = 0.5f64.next_down();
        assert_eq!((nearest(below), below.round(), to_decimal(below, 0)), (Some(1), 0.0, None));
    }
}
