//! Sizes in bytes: `512MB`, `1GiB`, `0`. All units are powers of 1024 and written in capitals, as in Prometheus.

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
    let number_len = digits.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
    let (number, unit) = digits.split_at(number_len);
    let (_, unit_bytes) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(error)?;
    let bytes = match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(*unit_bytes).ok_or_else(error)?,
        Err(_) => (number.parse::<f64>().map_err(|_| error())? * *unit_bytes as f64) as u64,
    };
    Ok(if negative { 0 } else { bytes })
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
