//! Prometheus's notation of durations: `1h30m`, `15s`, `250ms`, `30d`.
//! Source: prometheus/common/model/time.go.

use std::time::Duration;

/// Unit and its milliseconds, in the only order in which they may follow each other.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// A text that is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing was written.
    #[error("empty duration; write for example 15s, 5m or 1h30m")]
    Empty,
    /// No unit, an unknown unit, or units out of order.
    #[error("not a valid duration: {0:?}; write for example 15s, 5m or 1h30m (units y w d h m s ms, largest first)")]
    Malformed(String),
    /// More than about 292 years.
    #[error("duration out of range: {0:?}")]
    OutOfRange(String),
}

/// Reads a duration; `0` alone needs no unit.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    match text {
        "" => return Err(DurationError::Empty),
        "0" => return Ok(Duration::ZERO),
        _ => {}
    }
    let malformed = || DurationError::Malformed(text.to_owned());
    let mut rest = text;
    let mut total_ms: u64 = 0;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let after = &rest[digits..];
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = &after[..letters];
        let (_, unit_ms) = units.find(|(name, _)| *name == unit).ok_or_else(malformed)?;
        if digits == 0 {
            return Err(malformed());
        }
        total_ms = rest[..digits]
            .parse::<u64>()
            .ok()
            .and_then(|count| count.checked_mul(*unit_ms))
            .and_then(|ms| total_ms.checked_add(ms))
            .filter(|ms| *ms <= i64::MAX as u64 / 1_000_000)
            .ok_or_else(|| DurationError::OutOfRange(text.to_owned()))?;
        rest = &after[letters..];
    }
    Ok(Duration::from_millis(total_ms))
}

/// Writes a duration as Prometheus does, in milliseconds at the finest: years and weeks only where
/// they divide it exactly.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, unit_ms) in UNITS {
        let must_divide = matches!(unit, "y" | "w");
        if rest < unit_ms || (must_divide && rest % unit_ms != 0) {
            continue;
        }
        text.push_str(&format!("{}{unit}", rest / unit_ms));
        rest %= unit_ms;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        let cases = [
            ("0", "0s"),
            ("15s", "15s"),
            ("90s", "1m30s"),
            ("1h30m", "1h30m"),
            ("30d", "30d"),
            ("14d", "2w"),
            ("365d", "1y"),
            ("25h", "1d1h"),
            ("12w6d", "90d"),
            ("365d1h", "365d1h"),
            ("250ms", "250ms"),
            ("1d1h", "1d1h"),
        ];
        for (input, expected) in cases {
            assert_eq!(format_duration(parse_duration(input).expect(input)), expected, "{input}");
        }
        for bad in ["", "1", "s", "1x", "1m1h", "1.5h", "-1s", "1s1s", " 1s", "9999999999y"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
