//! A position in a text page, and the pieces that both text formats are made of.

use std::borrow::Cow;

use super::ParseError;

/// Walks over bytes. Taking never goes past the end.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes lie behind.
    #[inline]
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The bytes ahead.
    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// The bytes from `start` to here.
    #[inline]
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes[start..self.at]
    }

    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    pub(super) fn advance(&mut self, count: usize) {
        self.at = (self.at + count).min(self.bytes.len());
    }

    /// Whether the next `len` bytes are a whole name with its labels, which `is_expected` tells of the right bytes but
    /// not of those behind them: a closing brace ends it, and one space behind a bare name.
    #[inline]
    pub(super) fn is_series(&self, len: usize, is_expected: impl FnOnce(&[u8]) -> bool) -> bool {
        let Some((raw, behind)) = self.rest().split_at_checked(len) else { return false };
        let is_whole = match raw.last() {
            Some(b'}') => true,
            Some(_) => matches!(behind, [b' ', next, ..] if !matches!(next, b' ' | b'\t' | b'{')),
            None => false,
        };
        is_whole && is_expected(raw)
    }

    /// Takes `expected` if it is next.
    #[inline]
    pub(super) fn eat(&mut self, expected: u8) -> bool {
        let found = self.peek() == Some(expected);
        self.at += usize::from(found);
        found
    }

    /// Takes `expected` if it is next.
    pub(super) fn eat_all(&mut self, expected: &[u8]) -> bool {
        let found = self.rest().starts_with(expected);
        self.at += if found { expected.len() } else { 0 };
        found
    }

    #[inline]
    pub(super) fn skip_while(&mut self, mut predicate: impl FnMut(u8) -> bool) {
        while self.at < self.bytes.len() && predicate(self.bytes[self.at]) {
            self.at += 1;
        }
    }

    /// Takes what satisfies the predicate.
    #[inline]
    pub(super) fn take_while(&mut self, predicate: impl FnMut(u8) -> bool) -> &'a [u8] {
        let start = self.at;
        self.skip_while(predicate);
        self.since(start)
    }

    /// Takes what comes before `end`, and `end` itself.
    pub(super) fn take_until(&mut self, end: u8) -> &'a [u8] {
        let taken = self.take_while(|byte| byte != end);
        self.eat(end);
        taken
    }

    /// Takes the rest of the line without its end.
    pub(super) fn line(&mut self) -> &'a [u8] {
        let start = self.at;
        self.at = memchr::memchr(b'\n', self.rest()).map_or(self.bytes.len(), |len| start + len);
        self.since(start)
    }

    #[inline]
    pub(super) fn skip_blanks(&mut self) {
        self.skip_while(is_blank);
    }

    /// `[a-zA-Z_:][a-zA-Z0-9_:]*`, or nothing.
    #[inline]
    pub(super) fn metric_name(&mut self) -> &'a [u8] {
        if !self.peek().is_some_and(is_metric_name_start) {
            return &[];
        }
        self.take_while(|byte| CLASS[usize::from(byte)] & METRIC != 0)
    }

    /// `[a-zA-Z_][a-zA-Z0-9_]*`, or nothing.
    #[inline]
    pub(super) fn label_name(&mut self) -> &'a [u8] {
        if self.peek().is_none_or(|byte| CLASS[usize::from(byte)] & START == 0) {
            return &[];
        }
        self.take_while(|byte| CLASS[usize::from(byte)] & LABEL != 0)
    }

    /// Takes a quoted string and gives what is between the quotes, still escaped; `None` where
    /// there is none or it does not end. A backslash may not stand before a line end.
    #[inline]
    pub(super) fn quoted(&mut self, may_span_lines: bool) -> Option<&'a [u8]> {
        let start = self.at + 1;
        if self.peek() != Some(b'"') {
            return None;
        }
        let mut at = start;
        loop {
            match *self.bytes.get(at)? {
                b'"' => break,
                b'\\' if *self.bytes.get(at + 1)? != b'\n' => at += 2,
                b'\\' => return None,
                b'\n' if !may_span_lines => return None,
                _ => at += 1,
            }
        }
        self.at = at + 1;
        Some(&self.bytes[start..at])
    }

    /// An error at this place.
    #[cold]
    pub(super) fn error(&self, reason: impl Into<String>) -> ParseError {
        let line = 1 + self.bytes[..self.at].iter().filter(|byte| **byte == b'\n').count();
        ParseError::Text { line, reason: reason.into() }
    }

    /// An error that also shows what stands here instead.
    #[cold]
    pub(super) fn expected(&self, what: &str) -> ParseError {
        self.error(format!("expected {what}, found {}", self.found()))
    }

    fn found(&self) -> String {
        /// Enough to recognise the place; the whole page may be one line.
        const SHOWN_BYTES_MAX: usize = 40;
        let line = self.clone().line();
        if self.peek().is_none() {
            return "the end of the page".to_owned();
        }
        if line.is_empty() {
            return "the end of the line".to_owned();
        }
        format!("{:?}", String::from_utf8_lossy(&line[..line.len().min(SHOWN_BYTES_MAX)]))
    }
}

/// Which escape sequences a text knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escapes {
    /// `\\`, `\n` and `\"`: label values, quoted names, help in OpenMetrics.
    Label,
    /// `\\` and `\n`: help in the Prometheus format.
    Help,
}

/// Resolves escape sequences; unknown ones stay as they are, as in Prometheus.
pub(super) fn unescape(escaped: &[u8], escapes: Escapes) -> Cow<'_, str> {
    let text = lossy(escaped);
    if memchr::memchr(b'\\', escaped).is_none() {
        return text;
    }
    let mut output = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        let resolved = match (char, chars.peek()) {
            ('\\', Some('\\')) => '\\',
            ('\\', Some('n')) => '\n',
            ('\\', Some('"')) if escapes == Escapes::Label => '"',
            _ => {
                output.push(char);
                continue;
            }
        };
        chars.next();
        output.push(resolved);
    }
    Cow::Owned(output)
}

/// As `String::from_utf8_lossy`, but quick where the bytes are UTF-8, which is nearly always.
#[inline]
pub(super) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

#[inline]
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[inline]
pub(super) fn is_metric_name_start(byte: u8) -> bool {
    CLASS[usize::from(byte)] & START != 0 || byte == b':'
}

/// May start a name of either kind.
const START: u8 = 1;
/// May be inside a label's name.
const LABEL: u8 = 2;
/// May be inside a metric's name.
const METRIC: u8 = 4;

/// Classes of bytes: one look-up per byte on the hot path.
static CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let char = byte as u8;
        if char.is_ascii_alphabetic() || char == b'_' {
            table[byte] = START | LABEL | METRIC;
        } else if char.is_ascii_digit() {
            table[byte] = LABEL | METRIC;
        } else if char == b':' {
            table[byte] = METRIC;
        }
        byte += 1;
    }
    table
};
