//! Floats as text, in Go's spelling, which Prometheus's formats share. Three forms are in use:
//! never an exponent (labels, PromQL), one from 1e6 on (exposition, messages, templates), and one
//! from 1e21 on (the HTTP API). All give the shortest digits that read back to the same float.

use std::fmt::Write;

/// From where on, and up to where, the second form has no exponent.
const GENERAL: (f64, f64) = (1e-4, 1e6);

/// Characters of the longest text of [`short_text`]: 15 digits, sign, point, exponent.
const SHORT_TEXT_MAX: usize = 24;

/// Writes a float as Go's `strconv.FormatFloat(v, 'f', -1, 64)`: shortest form that reads back,
/// no exponent, `+Inf`, `-Inf`, `NaN`.
pub fn format_float(value: f64) -> String {
    formatted(value, push_float)
}

/// Writes a float as Go's `%g` and `%v`: shortest form that reads back, with an exponent below 1e-4
/// and from 1e6 on; `+Inf`, `-Inf`, `NaN`. Histograms, messages and templates are written so.
pub fn format_general(value: f64) -> String {
    formatted(value, push_general)
}

/// Appends what [`format_general`] gives to a page of bytes.
pub fn push_general_bytes(output: &mut Vec<u8>, value: f64) {
    let (low, high) = GENERAL;
    match short_text(value, low, high, &mut [0; SHORT_TEXT_MAX]) {
        Some(text) => output.extend_from_slice(text.as_bytes()),
        None => output.extend_from_slice(format_general(value).as_bytes()),
    }
}

/// Writes a float as the HTTP API does: an exponent below 1e-6 and from 1e21 on.
/// Source: prometheus/util/jsonutil/marshal.go.
pub fn format_float_json(value: f64) -> String {
    formatted(value, push_float_json)
}

/// Appends what [`format_float`] gives, without a buffer of its own.
pub fn push_float(output: &mut String, value: f64) {
    if let Some(text) = short_text(value, 0.0, f64::INFINITY, &mut [0; SHORT_TEXT_MAX]) {
        output.push_str(text);
    } else if !push_special(output, value) {
        let start = output.len();
        // Writing to a String cannot fail.
        let _ = write!(output, "{value}");
        settle_tie(output, start, value);
    }
}

/// Appends what [`format_general`] gives.
pub fn push_general(output: &mut String, value: f64) {
    push_with_exponent_outside(output, value, GENERAL.0, GENERAL.1);
}

/// Appends what [`format_float_json`] gives.
pub fn push_float_json(output: &mut String, value: f64) {
    push_with_exponent_outside(output, value, 1e-6, 1e21);
}

/// Reads a float as Go's `strconv.ParseFloat` does for decimal and special spellings
/// (`Inf`, `+inf`, `Infinity`, `NaN`, any case). A number too large for a float is none, and a sign
/// in front of `NaN` is not allowed.
pub fn parse_float(text: &str) -> Option<f64> {
    // Rust accepts the same spellings, and none of Go's hexadecimal floats, which no format uses.
    let value: f64 = text.parse().ok()?;
    let is_number = text.bytes().any(|byte| byte.is_ascii_digit());
    let is_signed = text.starts_with(['+', '-']);
    let is_refused = (value.is_infinite() && is_number) || (value.is_nan() && is_signed);
    (!is_refused).then_some(value)
}

fn formatted(value: f64, push: impl Fn(&mut String, f64)) -> String {
    let mut output = String::new();
    push(&mut output, value);
    output
}

/// Infinities and NaN, which all forms share.
fn push_special(output: &mut String, value: f64) -> bool {
    let text = match value {
        _ if value.is_nan() => "NaN",
        f64::INFINITY => "+Inf",
        f64::NEG_INFINITY => "-Inf",
        _ => return false,
    };
    output.push_str(text);
    true
}

fn push_with_exponent_outside(output: &mut String, value: f64, low: f64, high: f64) {
    if let Some(text) = short_text(value, low, high, &mut [0; SHORT_TEXT_MAX]) {
        output.push_str(text);
        return;
    }
    if value == 0.0 || !value.is_finite() || (low..high).contains(&value.abs()) {
        push_float(output, value);
        return;
    }
    push_exponential(output, value);
}

fn push_exponential(output: &mut String, value: f64) {
    let start = output.len();
    let _ = write!(output, "{value:e}");
    settle_tie(output, start, value);
    // Go writes the exponent's sign always, and two digits at least.
    let exponent = output[start..].find('e').map_or(output.len(), |index| start + index + 1);
    let sign = if output[exponent..].starts_with('-') { "" } else { "+" };
    output.insert_str(exponent, sign);
    if output.len() - exponent == 2 {
        output.insert(exponent + 1, '0');
    }
}

/// The text of a value that is a decimal of few digits, with an exponent from `high` on; `None` for others, and for what
/// has an exponent below `low`. Most values are such, and the general way costs several times as much.
fn short_text(value: f64, low: f64, high: f64, room: &mut [u8; SHORT_TEXT_MAX]) -> Option<&str> {
    let magnitude = value.abs();
    if magnitude != 0.0 && magnitude < low {
        return None;
    }
    let (mut digits, decimals) = short_decimal(magnitude)?;
    let mut at = room.len();
    let mut push = |byte: u8| {
        at -= 1;
        room[at] = byte;
    };
    // From the last digit to the first.
    if magnitude < high {
        let mut written = 0;
        while written <= decimals || digits > 0 {
            if written == decimals && decimals > 0 {
                push(b'.');
            }
            push(b'0' + (digits % 10) as u8);
            digits /= 10;
            written += 1;
        }
    } else {
        let mut exponent = digits.ilog10() - decimals;
        [exponent % 10, exponent / 10].into_iter().for_each(|digit| push(b'0' + digit as u8));
        push(b'+');
        push(b'e');
        while digits.is_multiple_of(10) {
            digits /= 10;
        }
        exponent = digits.ilog10();
        for _ in 0..exponent {
            push(b'0' + (digits % 10) as u8);
            digits /= 10;
        }
        if exponent > 0 {
            push(b'.');
        }
        push(b'0' + digits as u8);
    }
    if value.is_sign_negative() {
        push(b'-');
    }
    std::str::from_utf8(&room[at..]).ok()
}

/// A value without its sign as an integer and how many of its digits are decimals, if these are few and it is certain
/// that no shorter text reads back: no two decimals of 15 digits are the same float.
fn short_decimal(magnitude: f64) -> Option<(u64, u32)> {
    const POWERS: [f64; 5] = [1.0, 1e1, 1e2, 1e3, 1e4];
    const DIGITS_MAX: f64 = 1e15;
    (0..).zip(POWERS).find_map(|(decimals, power)| {
        let digits = (magnitude * power + 0.5) as u64;
        let is_exact = digits as f64 / power == magnitude;
        (is_exact && (digits as f64) < DIGITS_MAX).then_some((digits, decimals))
    })
}

/// Where the float lies exactly between two candidates of the shortest length, Go takes the even one and
/// Rust the upper one: 1534.69464111328125 ends in 812 or 813. Fewer than 16 digits are never so.
#[inline]
fn settle_tie(output: &mut String, start: usize, value: f64) {
    if output.len() - start >= 16 {
        settle_long_tie(output, start, value);
    }
}

fn settle_long_tie(output: &mut String, start: usize, value: f64) {
    /// Digits after which a float that is no tie has shown so: the closest ones differ within 35.
    const DIGITS_TELLING: usize = 60;
    let text = &output[start..];
    let mantissa = &text[..text.find('e').unwrap_or(text.len())];
    let Some(last) = mantissa.rfind(|c| matches!(c, '1'..='9')) else { return };
    if mantissa.as_bytes()[last].is_multiple_of(2) || !has_one_more_decimal(value, decimals_of(text, mantissa, last)) {
        return;
    }
    let is_leading = |c: &char| matches!(c, '0' | '.' | '-');
    let count = mantissa[..=last].chars().skip_while(is_leading).filter(char::is_ascii_digit).count();
    let exact = format!("{value:.DIGITS_TELLING$e}");
    let mut digits = exact.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).skip(count - 1);
    let (Some(before), Some(b'5')) = (digits.next(), digits.next()) else { return };
    if digits.all(|digit| digit == b'0') {
        let even = char::from(before + before % 2);
        output.replace_range(start + last..=start + last, even.encode_utf8(&mut [0; 4]));
    }
}

/// How many decimals a text has, negative where it ends in zeros before the point; `last` is its last digit but zeros.
fn decimals_of(text: &str, mantissa: &str, last: usize) -> i64 {
    let exponent: i64 = text.get(mantissa.len() + 1..).and_then(|exponent| exponent.parse().ok()).unwrap_or(0);
    let decimals = match mantissa.find('.') {
        Some(point) if point < last => (last - point) as i64,
        point => last as i64 + 1 - point.unwrap_or(mantissa.len()) as i64,
    };
    decimals - exponent
}

/// Whether a float, written in full, has one more decimal than this: only then can it lie halfway. An odd number of
/// 2^-n has n decimals. Writing floats in full to see was a quarter of the time of a query with many points.
fn has_one_more_decimal(value: f64, decimals: i64) -> bool {
    const MANTISSA_BITS: u32 = f64::MANTISSA_DIGITS - 1;
    let bits = value.abs().to_bits();
    let (exponent, fraction) = (bits >> MANTISSA_BITS, bits & ((1 << MANTISSA_BITS) - 1));
    let mantissa = if exponent == 0 { fraction } else { fraction | 1 << MANTISSA_BITS };
    let least_bit = exponent.max(1) as i64 - 1_075 + i64::from(mantissa.trailing_zeros());
    // Integers end in any digit.
    least_bit >= 0 || -least_bit == decimals + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What is passed over without writing it in full is no tie.
        #[test]
        fn ties_have_one_more_decimal(bits in any::<u64>(), odd in 0u64..1 << 53, shift in 1i32..60) {
            for value in [f64::from_bits(bits), (odd | 1) as f64 / 2f64.powi(shift), odd as f64 * 2f64.powi(shift)] {
                if !value.is_finite() {
                    continue;
                }
                for text in [format!("{value}"), format!("{value:e}")] {
                    let mantissa = &text[..text.find('e').unwrap_or(text.len())];
                    let Some(last) = mantissa.rfind(|c| matches!(c, '1'..='9')) else { continue };
                    let is_leading = |c: &char| matches!(c, '0' | '.' | '-');
                    let count =
                        mantissa[..=last].chars().skip_while(is_leading).filter(char::is_ascii_digit).count();
                    let exact = format!("{value:.1100e}");
                    let digits: Vec<u8> =
                        exact.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).collect();
                    let is_tie = digits[count] == b'5' && digits[count + 1..].iter().all(|digit| *digit == b'0');
                    let may_be = has_one_more_decimal(value, decimals_of(&text, mantissa, last));
                    prop_assert!(may_be || !is_tie, "{text}");
                    prop_assert!(is_tie || !may_be || value.fract() == 0.0, "{text}");
                }
            }
        }
    }

    proptest! {
        /// The short way and the general one agree.
        #[test]
        fn short_texts_are_the_same(digits in 0u64..1 << 54, shift in 0u32..54, decimals in 0i32..8, bits in any::<u64>()) {
            let digits = digits >> shift;
            for value in [digits as f64 / 10f64.powi(decimals), -(digits as f64), f64::from_bits(bits), digits as f64 * 1e3] {
                if let Some(text) = short_text(value, 0.0, f64::INFINITY, &mut [0; SHORT_TEXT_MAX]) {
                    prop_assert_eq!(text, format!("{value}"));
                }
                if value.abs() >= 1.0 && let Some(text) = short_text(value, 0.0, 1.0, &mut [0; SHORT_TEXT_MAX]) {
                    let mut expected = String::new();
                    push_exponential(&mut expected, value);
                    prop_assert_eq!(text, expected);
                }
            }
            let value = digits as f64 / 100.0;
            prop_assert!(value >= 1e13 || short_text(value, 0.0, f64::INFINITY, &mut [0; SHORT_TEXT_MAX]).is_some());
        }
    }

    #[test]
    fn each_form_turns_to_exponents_where_go_does() {
        // Value, plain, general, JSON.
        let cases = [
            (0.0, "0", "0", "0"),
            (-0.0, "-0", "-0", "-0"),
            (1.5, "1.5", "1.5", "1.5"),
            (0.0001, "0.0001", "0.0001", "0.0001"),
            (0.00001, "0.00001", "1e-05", "0.00001"),
            (0.0000015, "0.0000015", "1.5e-06", "0.0000015"),
            (1.5e-7, "0.00000015", "1.5e-07", "1.5e-07"),
            (999_999.5, "999999.5", "999999.5", "999999.5"),
            (1e6, "1000000", "1e+06", "1000000"),
            (-1_234_567.0, "-1234567", "-1.234567e+06", "-1234567"),
            (1e20, "100000000000000000000", "1e+20", "100000000000000000000"),
            (1e21, "1000000000000000000000", "1e+21", "1e+21"),
            // Halfway between two candidates: the even one.
            (1_534.694_641_113_281_3, "1534.6946411132812", "1534.6946411132812", "1534.6946411132812"),
            (1.25e-100, &format!("0.{}125", "0".repeat(99)), "1.25e-100", "1.25e-100"),
            (f64::INFINITY, "+Inf", "+Inf", "+Inf"),
            (f64::NEG_INFINITY, "-Inf", "-Inf", "-Inf"),
            (f64::NAN, "NaN", "NaN", "NaN"),
        ];
        for (value, plain, general, json) in cases {
            assert_eq!(format_float(value), plain);
            assert_eq!(format_general(value), general);
            let mut bytes = Vec::new();
            push_general_bytes(&mut bytes, value);
            assert_eq!(bytes, general.as_bytes());
            assert_eq!(format_float_json(value), json);
        }
    }

    #[test]
    fn reads_what_go_reads() {
        let accepted = [
            ("1", 1.0),
            ("+.5", 0.5),
            ("5.", 5.0),
            ("1e3", 1e3),
            ("Inf", f64::INFINITY),
            ("-iNfInItY", f64::NEG_INFINITY),
        ];
        for (text, expected) in accepted {
            assert_eq!(parse_float(text), Some(expected), "{text}");
        }
        assert!(parse_float("nan").is_some_and(f64::is_nan));
        for text in ["", " 1", "1 ", "+nan", "-NaN", "1e999", "0x1p3", "1_000", "e5", ".", "infinit"] {
            assert_eq!(parse_float(text), None, "{text}");
        }
    }
}
