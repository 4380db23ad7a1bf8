//! Numbers as the formats spell them: reading as Go's `strconv.ParseFloat`, writing as its 'g'.

use crate::model::push_general_bytes;

/// What every NaN of a page becomes, so that no target can forge a stale marker.
/// Source: prometheus/model/value/value.go.
const NORMAL_NAN_BITS: u64 = 0x7ff8_0000_0000_0001;

/// Powers of ten that a double holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Integers up to this are exact in a double.
const EXACT_INTEGER_MAX: u64 = 1 << 53;

/// Reads a whole text as a value: decimals and `Inf`, `+inf`, `-Infinity`, `NaN` in any case.
/// Hexadecimal, underscores, signed NaN and numbers beyond the range of a double are refused.
pub(super) fn parse_value(text: &[u8]) -> Option<f64> {
    match parse_simple(text) {
        Some((value, len)) if len == text.len() => Some(value),
        _ => parse_any(text),
    }
}

/// The value itself, or the plain NaN for any NaN.
pub(super) fn canonical(value: f64) -> f64 {
    if value.is_nan() { f64::from_bits(NORMAL_NAN_BITS) } else { value }
}

/// Reads a plain decimal with at most 19 digits from the start of `text`, and says how long it is.
/// One exact multiplication or division gives the nearest double (Clinger's fast path); where
/// that is not certain the answer is `None`.
#[inline]
pub(super) fn parse_simple(text: &[u8]) -> Option<(f64, usize)> {
    let mut at = usize::from(text.first() == Some(&b'-'));
    let negative = at == 1;
    let mut mantissa: u64 = 0;
    let digits_start = at;
    at += push_digits(&text[at..], &mut mantissa);
    let mut digits = at - digits_start;
    let mut exponent: i32 = 0;
    if text.get(at) == Some(&b'.') {
        let fraction = push_digits(&text[at + 1..], &mut mantissa);
        at += 1 + fraction;
        digits += fraction;
        exponent = -(fraction.min(64) as i32);
    }
    if digits == 0 || digits > 19 || mantissa > EXACT_INTEGER_MAX {
        return None;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        let (written, len) = parse_exponent(&text[at + 1..])?;
        exponent += written;
        at += 1 + len;
    }
    let power = *EXACT_POWERS.get(exponent.unsigned_abs() as usize)?;
    let magnitude = if exponent < 0 { mantissa as f64 / power } else { mantissa as f64 * power };
    Some((if negative { -magnitude } else { magnitude }, at))
}

/// Appends digits to a number, wrapping beyond 19 of them (the caller counts), and says how many.
#[inline]
fn push_digits(text: &[u8], number: &mut u64) -> usize {
    let mut count = 0;
    while let Some(digit) = text.get(count).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        *number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
        count += 1;
    }
    count
}

/// A short exponent, as in `e+06`.
fn parse_exponent(text: &[u8]) -> Option<(i32, usize)> {
    let sign_len = usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let mut number = 0;
    let digits = push_digits(&text[sign_len..], &mut number);
    if !(1..=3).contains(&digits) {
        return None;
    }
    let number = number as i32;
    Some((if text[0] == b'-' { -number } else { number }, sign_len + digits))
}

#[cold]
fn parse_any(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let value: f64 = text.parse().ok()?;
    if value.is_nan() {
        // Go knows no sign before NaN.
        return text.starts_with(['n', 'N']).then(|| canonical(value));
    }
    let spelled_infinite = text.trim_start_matches(['+', '-']).starts_with(['i', 'I']);
    (value.is_finite() || spelled_infinite).then_some(value)
}

/// Appends a value as the text formats want it, with `.0` behind what would look like an integer: `le` and `quantile`, and every
/// value of OpenMetrics. Source: labels.FormatOpenMetricsFloat.
pub(super) fn push_openmetrics(output: &mut Vec<u8>, value: f64) {
    let start = output.len();
    push_general_bytes(output, value);
    if value.is_finite() && !output[start..].iter().any(|byte| matches!(byte, b'.' | b'e')) {
        output.extend_from_slice(b".0");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        let cases = [
            ("0", 0.0),
            ("-0", -0.0),
            ("1", 1.0),
            ("+1", 1.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("-.5e1", -5.0),
            ("1e6", 1e6),
            ("1.5E+06", 1.5e6),
            ("4.9406564584124654e-324", 5e-324),
            ("1e-400", 0.0),
            ("9007199254740993", 9_007_199_254_740_992.0),
            ("123456789012345678901234567890", 1.234_567_890_123_456_8e29),
            ("0.1", 0.1),
            ("1.7976931348623157e308", f64::MAX),
            ("inf", f64::INFINITY),
            ("+Inf", f64::INFINITY),
            ("-INFINITY", f64::NEG_INFINITY),
            ("00000000000000000000000000000001", 1.0),
        ];
        for (text, expected) in cases {
            let read = parse_value(text.as_bytes()).expect(text);
            assert_eq!(read.to_bits(), expected.to_bits(), "{text}: {read}");
        }
        for text in ["nan", "NaN", "NAN"] {
            assert_eq!(parse_value(text.as_bytes()).map(f64::to_bits), Some(NORMAL_NAN_BITS), "{text}");
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        let cases = [
            "", ".", "-", "+", "e5", "1e", "1e+", "0x1", "0x1p3", "1_000", "+NaN", "-nan", "1e309", "-1e999", "infi",
            "1 ", " 1", "1\r", "१", "--1", "1e5e5", "1.2.3", "\u{0}",
        ];
        for text in cases {
            assert_eq!(parse_value(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse_value(&[0xff]), None);
    }

    #[test]
    fn writes_what_go_writes() {
        let cases = [
            (0.0, "0", "0.0"),
            (-0.0, "-0", "-0.0"),
            (1.0, "1", "1.0"),
            (0.5, "0.5", "0.5"),
            (1e6, "1e+06", "1e+06"),
            (123_456_789.0, "1.23456789e+08", "1.23456789e+08"),
            (1e20, "1e+20", "1e+20"),
            (1e21, "1e+21", "1e+21"),
            (1.5e-7, "1.5e-07", "1.5e-07"),
            (0.0001, "0.0001", "0.0001"),
            (0.00001, "1e-05", "1e-05"),
            (1e100, "1e+100", "1e+100"),
            // Halfway between two candidates: the even one.
            (1_534.694_641_113_281_3, "1534.6946411132812", "1534.6946411132812"),
            (f64::INFINITY, "+Inf", "+Inf"),
            (f64::NEG_INFINITY, "-Inf", "-Inf"),
            (f64::NAN, "NaN", "NaN"),
        ];
        for (value, plain, openmetrics) in cases {
            let (mut first, mut second) = (Vec::new(), Vec::new());
            push_general_bytes(&mut first, value);
            push_openmetrics(&mut second, value);
            assert_eq!(String::from_utf8_lossy(&first), plain);
            assert_eq!(String::from_utf8_lossy(&second), openmetrics);
        }
    }
}
