//! The values of number, duration and text literals.
//!
//! Numbers are read as Go's `strconv.ParseInt` with base 0 would, then as `ParseFloat`: so `017` is
//! octal, `08` is eight, and underscores separate digits. Texts have Go's escapes.

use crate::model::{parse_duration, parse_float};

/// The value of a number token.
pub(super) fn number(text: &str) -> Result<f64, String> {
    if !underscores_fit(text) {
        return Err(format!("error parsing number {text:?}: underscores must separate digits"));
    }
    let digits = text.replace('_', "");
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        return i64::from_str_radix(hex, 16)
            .map(|value| value as f64)
            .map_err(|_| format!("error parsing number {text:?}: not a hexadecimal number below 2^63"));
    }
    let integer = match digits.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => i64::from_str_radix(octal, 8),
        _ => digits.parse(),
    };
    match integer {
        Ok(value) => Ok(value as f64),
        Err(_) => parse_float(&digits).ok_or_else(|| {
            format!("error parsing number {text:?}: not a number between -1.8e308 and 1.8e308; write for example 1.5, 0x1f or 1e3")
        }),
    }
}

/// The value of a duration token, in seconds.
pub(super) fn duration(text: &str) -> Result<f64, String> {
    parse_duration(text).map(|duration| duration.as_secs_f64()).map_err(|error| error.to_string())
}

/// The value of a quoted text, quotes included, with Go's escapes. Bytes that are not UTF-8
/// (`"\xff"`) become U+FFFD: labels hold UTF-8 only.
pub fn unquote(quoted: &str) -> Result<String, String> {
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).ok_or("text without quotes")?;
    if quoted.starts_with('`') {
        return Ok(inner.to_owned());
    }
    if !inner.contains('\\') {
        return Ok(inner.to_owned());
    }
    let quote = quoted.chars().next().unwrap_or('"');
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(backslash) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..backslash]);
        rest = unescape(&rest[backslash + 1..], quote, &mut bytes)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// Appends what the escape at the start of `rest` (behind its backslash) stands for.
fn unescape<'a>(rest: &'a str, quote: char, bytes: &mut Vec<u8>) -> Result<&'a str, String> {
    let first = rest.chars().next().ok_or("escape sequence not terminated")?;
    let byte = match first {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        _ if first == quote => quote as u8,
        '0'..='7' => return escaped_byte(rest, 3, 8, bytes),
        'x' => return escaped_byte(&rest[1..], 2, 16, bytes),
        'u' => return escaped_char(&rest[1..], 4, bytes),
        'U' => return escaped_char(&rest[1..], 8, bytes),
        _ => return Err(format!("unknown escape sequence \\{first}; a backslash itself is written \\\\")),
    };
    bytes.push(byte);
    Ok(&rest[1..])
}

fn escaped_byte<'a>(rest: &'a str, length: usize, radix: u32, bytes: &mut Vec<u8>) -> Result<&'a str, String> {
    let (value, rest) = escaped_number(rest, length, radix)?;
    bytes.push(u8::try_from(value).map_err(|_| "octal escape sequence above \\377")?);
    Ok(rest)
}

fn escaped_char<'a>(rest: &'a str, length: usize, bytes: &mut Vec<u8>) -> Result<&'a str, String> {
    let (value, rest) = escaped_number(rest, length, 16)?;
    let character = char::from_u32(value).ok_or("escape sequence is an invalid Unicode code point")?;
    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    Ok(rest)
}

fn escaped_number(rest: &str, length: usize, radix: u32) -> Result<(u32, &str), String> {
    let digits = rest.get(..length).filter(|digits| digits.chars().all(|c| c.is_digit(radix)));
    let value = digits.and_then(|digits| u32::from_str_radix(digits, radix).ok());
    let value = value.ok_or_else(|| format!("escape sequence needs {length} digits of base {radix}"))?;
    Ok((value, &rest[length..]))
}

/// Whether every underscore stands between digits, or between a base prefix and a digit.
fn underscores_fit(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_hex = text.starts_with("0x") || text.starts_with("0X");
    let is_digit = |byte: &u8| byte.is_ascii_digit() || (is_hex && byte.is_ascii_hexdigit());
    bytes.iter().enumerate().filter(|(_, byte)| **byte == b'_').all(|(index, _)| {
        let follows_prefix = is_hex && index == 2;
        let follows_digit = index > 0 && is_digit(&bytes[index - 1]);
        (follows_prefix || follows_digit) && bytes.get(index + 1).is_some_and(is_digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let cases = [
            ("0", 0.0),
            ("017", 15.0),
            ("08", 8.0),
            ("0x1F", 31.0),
            ("0X_ff", 255.0),
            ("1_000", 1000.0),
            ("1_000.5", 1000.5),
            ("1e3", 1000.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("9223372036854775808", 9_223_372_036_854_775_808.0),
        ];
        for (input, expected) in cases {
            assert_eq!(number(input), Ok(expected), "{input}");
        }
        for bad in ["1__0", "1_", "1_.5", "1e", "0x", "1e999", "0xffffffffffffffff"] {
            assert!(number(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn texts() {
        let cases = [
            (r#""a\tb""#, "a\tb"),
            (r#""\x41\101\u0041\U00000041""#, "AAAA"),
            (r"'it\'s'", "it's"),
            (r"`\d+`", r"\d+"),
            (r#""\xe2\x98\xba""#, "☺"),
            (r#""\xff""#, "\u{fffd}"),
        ];
        for (input, expected) in cases {
            assert_eq!(unquote(input).as_deref(), Ok(expected), "{input}");
        }
        for bad in [r#""\c""#, r#""\'""#, r#""\x4""#, r#""\400""#, r#""\ud800""#, r#""\""#] {
            assert!(unquote(bad).is_err(), "{bad}");
        }
    }
}
