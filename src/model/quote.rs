//! Quoted text in Go's spelling, which PromQL, labels and matchers print.

use std::fmt::Write;

/// Quotes `text` as Go's `strconv.Quote`: `\a \b \f \n \r \t \v \\ \"`, `\x..` for other controls
/// below 0x80, `\u....` and `\U........` for what cannot be printed; everything else as it is.
pub fn quote(text: &str) -> String {
    let mut output = String::with_capacity(text.len() + 2);
    quote_to(&mut output, text);
    output
}

/// Appends what [`quote`] gives.
pub fn quote_to(output: &mut String, text: &str) {
    output.push('"');
    for character in text.chars() {
        push_escaped(output, character);
    }
    output.push('"');
}

fn push_escaped(output: &mut String, character: char) {
    let escape = match character {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\u{7}' => "\\a",
        '\u{8}' => "\\b",
        '\u{c}' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\u{b}' => "\\v",
        ' '..='~' => return output.push(character),
        _ => "",
    };
    let code = u32::from(character);
    // Writing to a String cannot fail.
    let _ = match code {
        _ if !escape.is_empty() => output.write_str(escape),
        0..0x80 => write!(output, "\\x{code:02x}"),
        _ if is_printable(character) => output.write_char(character),
        0x80..0x10000 => write!(output, "\\u{code:04x}"),
        _ => write!(output, "\\U{code:08x}"),
    };
}

/// Go's `unicode.IsPrint` for characters beyond ASCII. Rust's `escape_debug` decides by the same
/// Unicode categories, except that it also escapes combining marks; those print here as in Go.
fn is_printable(character: char) -> bool {
    let is_blank = character.is_whitespace();
    !is_blank && (is_combining(character) || character.escape_debug().len() == 1)
}

/// Whether `escape_debug` escapes the character only for being a combining mark: inside a text,
/// behind another character, Rust's `Debug` leaves those alone.
fn is_combining(character: char) -> bool {
    let mut text = String::with_capacity(8);
    text.push('a');
    text.push(character);
    text.escape_debug().skip(1).eq([character])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_go_does() {
        let cases = [
            ("plain", r#""plain""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("\u{7}\u{8}\u{c}\n\r\t\u{b}", r#""\a\b\f\n\r\t\v""#),
            ("\0\u{1b}\u{7f}", r#""\x00\x1b\x7f""#),
            ("ü☺€'", "\"ü☺€'\""),
            ("\u{a0}\u{ad}\u{feff}\u{2028}", r#""\u00a0\u00ad\ufeff\u2028""#),
            ("e\u{301}", "\"e\u{301}\""),
            ("\u{301}", "\"\u{301}\""),
            ("\u{1f600}\u{e0001}", "\"\u{1f600}\\U000e0001\""),
            ("\u{fffd}", "\"\u{fffd}\""),
        ];
        for (input, expected) in cases {
            assert_eq!(quote(input), expected, "{input:?}");
        }
    }
}
