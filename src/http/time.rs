//! Points in time and lengths of time as the HTTP API takes and gives them.
//!
//! A time is a float of Unix seconds or RFC 3339 text; a length is a float of seconds or
//! Prometheus's notation. Source: `parseTime` and `parseDuration` in prometheus/web/api/v1.

use crate::model::{Timestamp, parse_duration};

const DAY_MS: i64 = 86_400_000;

/// Prometheus's default start of an optional range, and its text, whose year no RFC 3339 parser reads.
pub(super) const TIME_MIN: Timestamp = Timestamp((i64::MIN / 1000 + 62_135_596_801) * 1000);
const TIME_MIN_TEXT: &str = "-292273086-05-16T16:47:06Z";
/// The default end of an optional range, and its text.
pub(super) const TIME_MAX: Timestamp = Timestamp((i64::MAX / 1000 - 62_135_596_801) * 1000 + 999);
const TIME_MAX_TEXT: &str = "292277025-08-18T07:12:54.999999999Z";

/// Reads a time; the error is the whole text that the API gives.
pub(super) fn parse_time(text: &str) -> Result<Timestamp, String> {
    if let Some(seconds) = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite()) {
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

/// Reads a length of time as milliseconds, possibly negative.
pub(super) fn parse_length(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        if seconds.is_nan() || seconds.abs() * 1e9 > i64::MAX as f64 {
            return Err(format!("cannot parse {text:?} to a valid duration. It overflows int64"));
        }
        return Ok((seconds * 1000.0) as i64);
    }
    let length = parse_duration(text).map_err(|_| format!("cannot parse {text:?} to a valid duration"))?;
    Ok(i64::try_from(length.as_millis()).unwrap_or(i64::MAX))
}

/// Appends `2006-01-02T15:04:05.123Z`, without trailing zeros in the fraction.
pub(super) fn push_rfc3339(out: &mut Vec<u8>, at: Timestamp) {
    let (days, millis) = (at.0.div_euclid(DAY_MS), at.0.rem_euclid(DAY_MS));
    let (year, month, day) = civil_from_days(days);
    let (seconds, fraction) = (millis / 1000, millis % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if fraction != 0 {
        text.push_str(format!(".{fraction:03}").trim_end_matches('0'));
    }
    text.push('Z');
    out.extend_from_slice(text.as_bytes());
}

fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let date = text.get(..19)?;
    let bytes = date.as_bytes();
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if separators.iter().any(|(at, separator)| bytes[*at] != *separator) {
        return None;
    }
    let (year, month, day) = (number(&date[..4])?, number(&date[5..7])?, number(&date[8..10])?);
    let (hour, minute, second) = (number(&date[11..13])?, number(&date[14..16])?, number(&date[17..])?);
    let is_valid = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    if !is_valid || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction_ms, zone) = take_fraction(&text[19..])?;
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset(zone)?;
    Some(Timestamp(seconds * 1000 + fraction_ms))
}

/// The fraction in milliseconds, cut off rather than rounded, and what follows it.
fn take_fraction(text: &str) -> Option<(i64, &str)> {
    let Some(digits_on) = text.strip_prefix('.') else { return Some((0, text)) };
    let digits = digits_on.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return None;
    }
    let padded = format!("{:0<3}", &digits_on[..digits]);
    Some((number(&padded[..3])?, &digits_on[digits..]))
}

/// Seconds east of UTC of `Z`, `+01:00` or `-05:30`.
fn offset(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = match zone.bytes().next()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours <= 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn number(digits: &str) -> Option<i64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, counted in years that begin in March,
/// so that the leap day is the last of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
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
        for (text, expected) in [("1", 1_000), ("0.5", 500), ("-2", -2_000), ("500ms", 500), ("1h30m", 5_400_000)] {
            assert_eq!(parse_length(text), Ok(expected), "{text}");
        }
        assert_eq!(parse_length("x"), Err("cannot parse \"x\" to a valid duration".to_owned()));
        for text in ["1e300", "NaN", "-Inf"] {
            assert!(parse_length(text).expect_err(text).ends_with("It overflows int64"), "{text}");
        }
    }

    #[test]
    fn dates_round_trip() {
        for days in (-800_000..800_000).step_by(37) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
        for (millis, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_433_337_718_550, "2015-06-03T13:21:58.55Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            let mut out = Vec::new();
            push_rfc3339(&mut out, Timestamp(millis));
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }
}
