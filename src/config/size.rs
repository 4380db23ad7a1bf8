//! Sizes in bytes: `512MB`, `1GiB`, `1GB512MB`, `0`. All units are powers of 1024 and written in capitals, as in Prometheus.

/// Unit and its bytes; the longer spelling first.
const UNITS: [(&str, u64); 13] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
    ("EiB", 1 << 60),
    ("KB", 1 << 10),
    ("MB", 1 << 20),
    ("GB", 1 << 30),
    ("TB", 1 << 40),
    ("PB", 1 << 50),
    ("EB", 1 << 60),
    ("B", 1),
];

/// A text that is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid size: {0:?}; write for example 512MB or 2GB (units B, KB, MB, GB, TB, PB, EB)")]
pub struct SizeError(pub String);

/// Reads a size; a negative one is 0.
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let error = || SizeError(text.to_owned());
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits == "0" {
        return Ok(0);
    }
    let (mut sum, mut rest) = (0_u64, digits);
    loop {
        let (bytes, after) = take_size(rest).ok_or_else(error)?;
        sum = sum.checked_add(bytes).ok_or_else(error)?;
        rest = after;
        if rest.is_empty() {
            return Ok(if negative { 0 } else { sum });
        }
    }
}

/// A number with its unit, and what follows.
fn take_size(text: &str) -> Option<(u64, &str)> {
    let is_digit = |c: char| c.is_ascii_digit() || c == '.';
    let (number, rest) = text.split_at(text.find(|c| !is_digit(c))?);
    let (unit, rest) = rest.split_at(rest.find(is_digit).unwrap_or(rest.len()));
    let (_, unit_bytes) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let bytes = match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(*unit_bytes)?,
        Err(_) => (number.parse::<f64>().ok()? * *unit_bytes as f64) as u64,
    };
    Some((bytes, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes() {
        let cases = [
            ("0", Some(0)),
            ("10B", Some(10)),
            ("1KB", Some(1024)),
            ("15MB", Some(15 << 20)),
            ("2GiB", Some(2 << 30)),
            ("1.5MB", Some(3 << 19)),
            ("-1MB", Some(0)),
            ("1GB512MB", Some(3 << 29)),
            ("1B1", None),
            ("1.5.5MB", None),
            ("1000", None),
            ("10mb", None),
            ("10 MB", None),
            ("MB", None),
            ("", None),
            ("99999999EB", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_size(text).ok(), expected, "{text}");
        }
    }
}
