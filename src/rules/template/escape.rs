//! Texts made safe for HTML, JavaScript and URLs, as Go's text/template and net/url do.

use std::fmt::Write;

/// For HTML text and attributes.
pub(super) fn html(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => output.push_str("&amp;"),
            '<' => output.push_str("&lt;"),
            '>' => output.push_str("&gt;"),
            '"' => output.push_str("&#34;"),
            '\'' => output.push_str("&#39;"),
            '\0' => output.push('\u{fffd}'),
            _ => output.push(character),
        }
    }
    output
}

/// For the inside of a JavaScript string.
pub(super) fn js(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' | '\'' | '"' => output.extend(['\\', character]),
            '<' | '>' | '&' | '=' => drop(write!(output, "\\u{:04X}", u32::from(character))),
            _ if character.is_control() => drop(write!(output, "\\u{:04X}", u32::from(character))),
            _ => output.push(character),
        }
    }
    output
}

/// For the query part of a URL: blanks become plus signs.
pub(super) fn query(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => output.push('+'),
            b'-' | b'_' | b'.' | b'~' => output.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => output.push(char::from(byte)),
            // Writing to a String cannot fail.
            _ => drop(write!(output, "%{byte:02X}")),
        }
    }
    output
}
