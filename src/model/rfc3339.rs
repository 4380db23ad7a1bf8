//! Points in time as RFC 3339 text: `2024-02-29T12:00:00.5Z`. Pure calendar arithmetic, UTC.

use std::fmt::Write;

use super::Timestamp;

const DAY_MS: i64 = 86_400_000;

/// A time in UTC, with milliseconds as far as they are not zero.
pub fn format_rfc3339(at: Timestamp) -> String {
    let mut text = String::new();
    push_rfc3339(&mut text, at);
    text
}

/// Appends the same.
pub fn push_rfc3339(output: &mut String, at: Timestamp) {
    let (days, millis) = (at.0.div_euclid(DAY_MS), at.0.rem_euclid(DAY_MS));
    let (year, month, day) = date_of(days);
    let (seconds, fraction) = (millis / 1000, millis % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    // Writing into a string cannot fail.
    let _ = write!(output, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if fraction != 0 {
        output.push_str(format!(".{fraction:03}").trim_end_matches('0'));
    }
    output.push('Z');
}

/// Reads a time; digits beyond milliseconds are cut off.
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_once('T')?;
    let [year, month, day] = fields(date, '-', [4, 2, 2])?;
    let zone_at = time.find(['Z', '+', '-'])?;
    let (time, zone) = time.split_at(zone_at);
    let (time, fraction) = time.split_once(['.', ',']).map_or((time, None), |(time, fraction)| (time, Some(fraction)));
    let [hour, minute, second] = fields(time, ':', [2, 2, 2])?;
    let fraction_ms = match fraction {
        None => 0,
        Some("") => return None,
        Some(digits) => number(digits).and_then(|_| number(&format!("{digits:0<3}")[..3]))?,
    };
    let days = days_since_epoch(year, month, day);
    // A date that does not exist comes back as another one.
    if date_of(days) != (year, month, day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = hour * 3600 + minute * 60 + second - zone_offset_seconds(zone)?;
    Some(Timestamp(days * DAY_MS + seconds * 1000 + fraction_ms))
}

/// Seconds east of UTC of `Z`, `+01:00` or `-05:30`.
fn zone_offset_seconds(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let [hours, minutes] = fields(&zone[1..], ':', [2, 2])?;
    (hours <= 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Numbers of so many digits, with separators between them.
fn fields<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; N];
    for (slot, digits) in numbers.iter_mut().zip(digits) {
        *slot = parts.next().filter(|part| part.len() == digits).and_then(number)?;
    }
    parts.next().is_none().then_some(numbers)
}

fn number(digits: &str) -> Option<i64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar. Years are counted from March, so that
/// the leap day is the last of its year; a cycle of the calendar has 146,097 days.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (cycle, year_of_cycle) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * (month + 9).rem_euclid(12) + 2) / 5 + day - 1;
    cycle * 146_097 + year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year - 719_468
}

/// Year, month and day of a day since 1970-01-01.
pub fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (cycle, day_of_cycle) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let leap_days = day_of_cycle / 1_460 - day_of_cycle / 36_524 + day_of_cycle / 146_096;
    let year_of_cycle = (day_of_cycle - leap_days) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (cycle * 400 + year_of_cycle + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        let cases = [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59.999Z", -1),
            ("2015-06-03T13:21:58.55Z", 1_433_337_718_550),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000),
        ];
        for (text, millis) in cases {
            assert_eq!(parse_rfc3339(text), Some(Timestamp(millis)), "{text}");
            assert_eq!(format_rfc3339(Timestamp(millis)), text);
        }
        let moved = [
            ("2015-06-03T14:21:58.555+01:00", 1_433_337_718_555),
            ("2015-06-03T07:51:58.5559-05:30", 1_433_337_718_555),
        ];
        for (text, millis) in moved {
            assert_eq!(parse_rfc3339(text), Some(Timestamp(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_time() {
        let bad = [
            "",
            "2015-06-03",
            "2015-06-03T13:21:58",
            "2015-06-03t13:21:58Z",
            "2015-13-03T13:21:58Z",
            "2015-00-03T13:21:58Z",
            "2023-02-29T00:00:00Z",
            "2015-06-03T24:00:00Z",
            "2015-06-03T13:21:58.Z",
            "2015-06-03T13:21:58+1:00",
            "2015-06-03T13:21:58+01:00:00",
            "2015-06-03T13:21:58é",
        ];
        for text in bad {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_comes_back() {
        for days in -800_000..800_000 {
            let (year, month, day) = date_of(days);
            assert_eq!(days_since_epoch(year, month, day), days);
        }
    }
}
