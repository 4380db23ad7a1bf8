//! Points in time and lengths of time as the HTTP API takes them.
//!
//! A time is a float of Unix seconds or RFC 3339 text; a length is a float of seconds or
//! Prometheus's notation. Source: `parseTime` and `parseDuration` in prometheus/web/api/v1.

use crate::model::{Timestamp, parse_duration, parse_float, parse_rfc3339};

/// Prometheus's default start of an optional range, and its text, whose year no RFC 3339 parser reads.
pub(super) const TIME_MIN: Timestamp = Timestamp((i64::MIN / 1000 + 62_135_596_801) * 1000);
const TIME_MIN_TEXT: &str = "-292273086-05-16T16:47:06Z";
/// The default end of an optional range, and its text.
pub(super) const TIME_MAX: Timestamp = Timestamp((i64::MAX / 1000 - 62_135_596_801) * 1000 + 999);
const TIME_MAX_TEXT: &str = "292277025-08-18T07:12:54.999999999Z";

/// Reads a time; the error is the whole text that the API gives.
pub(super) fn parse_time(text: &str) -> Result<Timestamp, String> {
    if let Some(seconds) = parse_number(text).filter(|seconds| seconds.is_finite()) {
        let whole = seconds.trunc();
        let millis = ((seconds - whole) * 1000.0).round();
        // Casts saturate: a time beyond the range stands at its end.
        return Ok(Timestamp((whole as i64).saturating_mul(1000).saturating_add(millis as i64)));
    }
    match text {
        TIME_MIN_TEXT => Ok(TIME_MIN),
        TIME_MAX_TEXT => Ok(TIME_MAX),
        _ => parse_rfc3339(text).ok_or_else(|| format!("cannot parse {text:?} to a valid timestamp")),
    }
}

/// Reads a length of time as nanoseconds, possibly negative: a step may be shorter than a millisecond.
pub(super) fn parse_length(text: &str) -> Result<i64, String> {
    if let Some(seconds) = parse_number(text) {
        let nanos = seconds * 1e9;
        // No number is no length either: as in Prometheus it counts as a negative one.
        if nanos.is_nan() {
            return Ok(i64::MIN);
        }
        if nanos.abs() > i64::MAX as f64 {
            return Err(format!("cannot parse {text:?} to a valid duration. It overflows int64"));
        }
        return Ok(nanos as i64);
    }
    let length = parse_duration(text).map_err(|_| format!("cannot parse {text:?} to a valid duration"))?;
    Ok(i64::try_from(length.as_nanos()).unwrap_or(i64::MAX))
}

/// A float as Go reads it, which takes underscores between digits.
fn parse_number(text: &str) -> Option<f64> {
    if !text.contains('_') {
        return parse_float(text);
    }
    let bytes = text.as_bytes();
    let is_between_digits = |at: usize| {
        let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
        digit(at.checked_sub(1)) && digit(Some(at + 1))
    };
    let all_right = bytes.iter().enumerate().all(|(at, byte)| *byte != b'_' || is_between_digits(at));
    all_right.then(|| parse_float(&text.replace('_', ""))).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let good = [
            ("0", 0),
            ("1.2", 1_200),
            ("1435781451.781", 1_435_781_451_781),
            ("1e3", 1_000_000),
            ("1_000", 1_000_000),
            ("-1.5", -1_500),
            ("1e300", i64::MAX),
            ("1970-01-01T00:00:00Z", 0),
            ("2015-06-03T13:21:58.555Z", 1_433_337_718_555),
            ("2015-06-03T14:21:58.555+01:00", 1_433_337_718_555),
            ("2015-06-03T07:51:58.5559-05:30", 1_433_337_718_555),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000),
            ("1969-12-31T23:59:59.9Z", -100),
            (TIME_MIN_TEXT, TIME_MIN.0),
            (TIME_MAX_TEXT, TIME_MAX.0),
        ];
        for (text, expected) in good {
            assert_eq!(parse_time(text), Ok(Timestamp(expected)), "{text}");
        }
        let bad = [
            "",
            "abc",
            "NaN",
            "Inf",
            "_1",
            "1__0",
            "1_",
            "2015-06-03",
            "2015-06-03T13:21:58",
            "2015-06-03t13:21:58Z",
            "2015-13-03T13:21:58Z",
            "2023-02-29T00:00:00Z",
            "2015-06-03T24:00:00Z",
            "2015-06-03T13:21:58.Z",
            "2015-06-03T13:21:58+1:00",
            "2015-06-03T13:21:58é1:00",
            "2015-06-0\u{e9}T13:21:58Z",
        ];
        for text in bad {
            assert_eq!(parse_time(text), Err(format!("cannot parse {text:?} to a valid timestamp")));
        }
    }

    #[test]
    fn lengths() {
        let good = [("1", 1_000), ("0.5", 500), ("-2", -2_000), ("500ms", 500), ("1h30m", 5_400_000), ("1_0", 10_000)];
        for (text, millis) in good {
            assert_eq!(parse_length(text), Ok(millis * 1_000_000), "{text}");
        }
        assert_eq!(parse_length("0.0001"), Ok(100_000));
        assert_eq!(parse_length("NaN"), Ok(i64::MIN));
        assert_eq!(parse_length("x"), Err("cannot parse \"x\" to a valid duration".to_owned()));
        for text in ["1e300", "-1e300"] {
            assert!(parse_length(text).expect_err(text).ends_with("It overflows int64"), "{text}");
        }
    }
}
