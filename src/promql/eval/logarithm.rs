//! Logarithms to other bases, computed from the natural one as Go's library does, so that results and
//! interpolations agree with Prometheus to the last digit.

use std::f64::consts::{LOG2_E, LOG10_2};

/// The logarithm to base 2; exact for powers of 2.
pub(super) fn log2(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return value.ln();
    }
    let (fraction, exponent) = fraction_and_exponent(value);
    if fraction == 0.5 { f64::from(exponent - 1) } else { fraction.ln() * LOG2_E + f64::from(exponent) }
}

/// The logarithm to base 10.
pub(super) fn log10(value: f64) -> f64 {
    log2(value) * LOG10_2
}

/// A positive number as a fraction from 0.5 to 1 and a power of 2.
fn fraction_and_exponent(value: f64) -> (f64, i32) {
    const EXPONENT_BITS: u64 = 0x7ff << 52;
    if value < f64::MIN_POSITIVE {
        // Subnormal: without an exponent of its own.
        let (fraction, exponent) = fraction_and_exponent(value * 2f64.powi(64));
        return (fraction, exponent - 64);
    }
    let bits = value.to_bits();
    let exponent = ((bits & EXPONENT_BITS) >> 52) as i32 - 1022;
    (f64::from_bits((bits & !EXPONENT_BITS) | (1022 << 52)), exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_exact() {
        for exponent in [-1074, -1022, -3, 0, 1, 52, 1023] {
            assert_eq!(log2(2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2)), f64::from(exponent));
        }
        assert_eq!(log2(0.0), f64::NEG_INFINITY);
        assert!(log2(-1.0).is_nan());
        assert_eq!(log10(100.0), 2.0);
        assert_eq!(log10(f64::INFINITY), f64::INFINITY);
    }
}
