//! Text to tokens. Comments and blanks vanish here; keywords are told apart from names by the
//! parser, since most of them may also name a metric or a label.
//!
//! Source of the rules: prometheus/promql/parser/lex.go (3.5).

use super::ParseError;
use super::ast::Span;

/// The kinds of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The end of the text.
    End,
    /// A name or keyword; outside braces it may contain colons.
    Word,
    /// `1.5`, `0x1f`, `1_000`; not yet known to be a number.
    Number,
    /// `1h30m`; not yet known to be a duration.
    Duration,
    /// A quoted text, quotes included.
    Text,
    /// An operator or a bracket, named by its text.
    Sign(&'static str),
}

/// One token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// What it is.
    pub kind: Kind,
    /// Where it stands.
    pub span: Span,
}

impl Token {
    /// Whether it is the operator or bracket `sign`.
    pub fn is(self, sign: &str) -> bool {
        matches!(self.kind, Kind::Sign(text) if text == sign)
    }
}

/// Signs outside braces and brackets, the longer ones first.
const SIGNS: [&str; 20] =
    ["==", "!=", "<=", ">=", "=", "<", ">", "+", "-", "*", "/", "%", "^", "@", "(", ")", "{", "[", "]", ","];
/// Signs within `{…}`.
const SIGNS_IN_BRACES: [&str; 6] = ["=~", "!~", "!=", "=", ",", "}"];
/// Signs within `[…]`.
const SIGNS_IN_BRACKETS: [&str; 11] = ["+", "-", "*", "/", "%", "^", "(", ")", ":", "]", ","];

/// Where the lexer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Open,
    Braces,
    Brackets,
}

/// Gives one token after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    position: usize,
    place: Place,
}

impl<'a> Lexer<'a> {
    /// Starts at the beginning of `text`.
    pub fn new(text: &'a str) -> Self {
        Self { text, position: 0, place: Place::Open }
    }

    /// The whole text.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The next token.
    pub fn next(&mut self) -> Result<Token, ParseError> {
        self.skip_blanks_and_comments();
        let start = self.position;
        let kind = match self.rest().chars().next() {
            None => self.end()?,
            Some('"' | '\'' | '`') => self.quoted()?,
            Some(first) if self.starts_number(first) => self.number()?,
            Some(first) if is_word_start(first) || (first == ':' && self.place == Place::Open) => self.word(),
            Some(first) => self.sign(first)?,
        };
        Ok(Token { kind, span: Span { start, end: self.position } })
    }

    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r']);
            self.position += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return;
            }
            self.position += trimmed.find(['\n', '\r']).unwrap_or(trimmed.len());
        }
    }

    fn end(&self) -> Result<Kind, ParseError> {
        match self.place {
            Place::Open => Ok(Kind::End),
            Place::Braces => Err(self.error(self.position, "unexpected end of input inside braces; expected \"}\"")),
            Place::Brackets => {
                Err(self.error(self.position, "unexpected end of input inside brackets; expected a duration and \"]\""))
            }
        }
    }

    /// A quoted text; what its escapes mean is looked at when its value is needed.
    fn quoted(&mut self) -> Result<Kind, ParseError> {
        let start = self.position;
        let quote = self.text.as_bytes()[start];
        let mut bytes = self.text.bytes().enumerate().skip(start + 1);
        while let Some((index, byte)) = bytes.next() {
            match byte {
                _ if byte == quote => {
                    self.position = index + 1;
                    return Ok(Kind::Text);
                }
                b'\\' if quote != b'`' => drop(bytes.next()),
                b'\n' if quote != b'`' => break,
                // What was no UTF-8 has become this character, which Prometheus takes for the same.
                0xEF if self.text[index..].starts_with(char::REPLACEMENT_CHARACTER) => {
                    return Err(self.error(start, "invalid UTF-8 rune; write \\ufffd for the character U+FFFD"));
                }
                _ => {}
            }
        }
        let expected = char::from(quote);
        Err(self.error(start, &format!("unterminated quoted string; expected a closing {expected}")))
    }

    fn starts_number(&self, first: char) -> bool {
        let second = self.rest().as_bytes().get(1);
        self.place != Place::Braces
            && (first.is_ascii_digit() || (first == '.' && second.is_some_and(u8::is_ascii_digit)))
    }

    fn number(&mut self) -> Result<Kind, ParseError> {
        let start = self.position;
        let rest = self.rest();
        if let Some(length) = number_length(rest) {
            self.position += length;
            return Ok(Kind::Number);
        }
        if let Some(length) = duration_length(rest) {
            self.position += length;
            return Ok(Kind::Duration);
        }
        let length = rest.find(|c: char| !is_word_part(c) && c != '.').unwrap_or(rest.len());
        self.position += length;
        let message = format!(
            "bad number or duration syntax: {:?}; write for example 1.5, 0x1f, 1e3, 5m or 1h30m",
            &rest[..length]
        );
        Err(self.error(start, &message))
    }

    fn word(&mut self) -> Kind {
        let has_colons = self.place == Place::Open;
        let rest = self.rest();
        let length = rest.find(|c| !(is_word_part(c) || (has_colons && c == ':'))).unwrap_or(rest.len());
        self.position += length;
        Kind::Word
    }

    fn sign(&mut self, first: char) -> Result<Kind, ParseError> {
        let signs: &[&'static str] = match self.place {
            Place::Open => &SIGNS,
            Place::Braces => &SIGNS_IN_BRACES,
            Place::Brackets => &SIGNS_IN_BRACKETS,
        };
        let rest = self.rest();
        let is_regex_operator = self.place == Place::Open && (rest.starts_with("=~") || rest.starts_with("!~"));
        let Some(sign) = signs.iter().find(|sign| rest.starts_with(**sign)).filter(|_| !is_regex_operator) else {
            return Err(self.error(self.position, &self.unexpected(first, is_regex_operator)));
        };
        self.position += sign.len();
        self.place = match (self.place, *sign) {
            (Place::Open, "{") => Place::Braces,
            (Place::Open, "[") => Place::Brackets,
            (Place::Braces, "}") | (Place::Brackets, "]") => Place::Open,
            (place, _) => place,
        };
        Ok(Kind::Sign(sign))
    }

    fn unexpected(&self, first: char, is_regex_operator: bool) -> String {
        match self.place {
            _ if is_regex_operator => "regular expressions match labels only, within braces: {label=~\"…\"}".to_owned(),
            Place::Open => format!("unexpected character: {first:?}"),
            Place::Braces => {
                format!("unexpected character inside braces: {first:?}; expected a label matcher or \"}}\"")
            }
            Place::Brackets => {
                format!("unexpected character inside brackets: {first:?}; expected a duration, \":\" or \"]\"")
            }
        }
    }

    fn error(&self, start: usize, message: &str) -> ParseError {
        ParseError::at(self.text, Span { start, end: self.text.len() }, message)
    }
}

fn is_word_start(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}

fn is_word_part(c: char) -> bool {
    c == '_' || c.is_ascii_alphanumeric()
}

/// The length of the number at the start of `text`, if there is one that no letter follows. Whether
/// digits and underscores stand where they may is for the conversion to say.
fn number_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let at = |index: usize| bytes.get(index).copied().unwrap_or(0);
    let is_hex = at(0) == b'0' && matches!(at(1), b'x' | b'X');
    let mut index = if is_hex { 2 } else { 0 };
    let (mut has_dot, mut has_exponent) = (is_hex, is_hex);
    loop {
        match at(index) {
            b'0'..=b'9' | b'_' => {}
            b'a'..=b'f' | b'A'..=b'F' if is_hex => {}
            b'.' if !has_dot => has_dot = true,
            b'e' | b'E' if !has_exponent => {
                (has_dot, has_exponent) = (true, true);
                if matches!(at(index + 1), b'+' | b'-') {
                    index += 1;
                }
            }
            b'.' => return None,
            byte if byte.is_ascii_alphanumeric() => return None,
            _ => break,
        }
        index += 1;
    }
    Some(index)
}

/// The length of the duration at the start of `text`, if what starts there looks like one.
fn duration_length(text: &str) -> Option<usize> {
    let length = text.bytes().take_while(u8::is_ascii_alphanumeric).count();
    let word = &text[..length];
    let is_unit_part = |byte: u8| matches!(byte, b's' | b'm' | b'h' | b'd' | b'w' | b'y');
    let ends_in_unit = word.bytes().last().is_some_and(is_unit_part);
    let groups_fit = word
        .split(|c: char| c.is_ascii_digit())
        .all(|unit| unit.is_empty() || unit == "ms" || (unit.len() == 1 && unit.bytes().all(is_unit_part)));
    let follows = text[length..].chars().next();
    (ends_in_unit && groups_fit && follows != Some('_') && follows != Some('.')).then_some(length)
}
