//! RE2's dialect, as Go's regexp/syntax accepts it, rewritten for regex-syntax.
//!
//! The two share most of their syntax. What differs and is settled here: `\d \w \s \b` mean ASCII,
//! `\Q…\E` and octal escapes exist, a brace that starts no repetition is literal, brackets and `&& --
//! ~~` within a class are literal, any ASCII punctuation may be escaped; and refused are repetitions
//! above 1000, stacked repetitions (`a**`, `a++`), and flags, groups and escapes that RE2 lacks.
//! Source: the syntax page of google/re2 and the documentation of Go's regexp/syntax.

use std::fmt::Write;

/// The largest count in `{n,m}`.
const REPEAT_MAX: u32 = 1000;
const DIGIT: &str = "0-9";
const SPACE: &str = r"\t\n\x0C\r ";
const WORD: &str = "0-9A-Za-z_";
const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// The pattern in regex-syntax's dialect, or what RE2 refuses about it.
pub(super) fn translate(pattern: &str) -> Result<String, String> {
    let mut translator =
        Translator { rest: pattern, output: String::with_capacity(pattern.len() + 16), follows_repeat: false };
    while let Some(next) = translator.rest.chars().next() {
        translator.step(next)?;
    }
    Ok(translator.output)
}

struct Translator<'a> {
    rest: &'a str,
    output: String,
    /// Whether what came last is a repetition, which no other may follow.
    follows_repeat: bool,
}

impl<'a> Translator<'a> {
    fn step(&mut self, next: char) -> Result<(), String> {
        let follows_repeat = std::mem::take(&mut self.follows_repeat);
        match next {
            '*' | '+' | '?' => self.repeat(1, follows_repeat),
            '{' => match repeat_length(self.rest)? {
                Some(length) => self.repeat(length, follows_repeat),
                None => self.literal(next),
            },
            '}' | ']' => self.literal(next),
            '(' => self.group(),
            '[' => self.class(),
            '\\' => self.escape(),
            _ => self.copy(next.len_utf8()),
        }
    }

    /// A repetition of `length` bytes, with the `?` that makes it lazy.
    fn repeat(&mut self, length: usize, follows_repeat: bool) -> Result<(), String> {
        if follows_repeat {
            return Err(format!("invalid nested repetition operator: {:?}", &self.rest[..length]));
        }
        self.copy(length)?;
        if self.rest.starts_with('?') {
            self.copy(1)?;
        }
        self.follows_repeat = true;
        Ok(())
    }

    fn group(&mut self) -> Result<(), String> {
        let Some(inner) = self.rest.strip_prefix("(?") else {
            return self.copy(1);
        };
        if let Some(name) = inner.strip_prefix("P<").or_else(|| inner.strip_prefix('<'))
            && !name.starts_with(['=', '!'])
        {
            return self.copy(self.rest.len() - name.len());
        }
        let flags = inner.find(|c| !matches!(c, 'i' | 'm' | 's' | 'U' | '-')).unwrap_or(inner.len());
        match inner[flags..].chars().next() {
            Some(':' | ')') => self.copy(2 + flags + 1),
            _ => {
                Err("invalid or unsupported Perl syntax behind \"(?\"; RE2 knows (?:…), (?P<name>…) and flags i m s U"
                    .to_owned())
            }
        }
    }

    /// An escape outside a class.
    fn escape(&mut self) -> Result<(), String> {
        match self.rest[1..].chars().next() {
            Some('b' | 'B') => {
                let _ = write!(self.output, "(?-u:{})", &self.rest[..2]);
                self.skip(2)
            }
            Some('A' | 'z') => self.copy(2),
            Some('Q') => self.quoted(),
            _ if self.perl_class(true) || self.unicode_class()? => Ok(()),
            _ => {
                let character = self.escaped_char()?;
                self.push_literal(character);
                Ok(())
            }
        }
    }

    /// `\Q…\E`, or to the end.
    fn quoted(&mut self) -> Result<(), String> {
        let text = &self.rest[2..];
        let length = text.find(r"\E").unwrap_or(text.len());
        text[..length].chars().for_each(|character| self.push_literal(character));
        self.rest = text[length..].strip_prefix(r"\E").unwrap_or("");
        Ok(())
    }

    /// `\d \D \s \S \w \W`; alone it needs brackets of its own.
    fn perl_class(&mut self, is_alone: bool) -> bool {
        let (set, is_negated) = match self.rest.as_bytes().get(1) {
            Some(b'd') => (DIGIT, false),
            Some(b'D') => (DIGIT, true),
            Some(b's') => (SPACE, false),
            Some(b'S') => (SPACE, true),
            Some(b'w') => (WORD, false),
            Some(b'W') => (WORD, true),
            _ => return false,
        };
        // Writing to a String cannot fail.
        let _ = match (is_negated, is_alone) {
            (true, _) => write!(self.output, "[^{set}]"),
            (false, true) => write!(self.output, "[{set}]"),
            (false, false) => write!(self.output, "{set}"),
        };
        self.rest = &self.rest[2..];
        true
    }

    /// `\pL`, `\p{Greek}`, `\p{^Greek}` and their opposites with a capital P.
    fn unicode_class(&mut self) -> Result<bool, String> {
        let after = &self.rest[1..];
        let Some(name) = after.strip_prefix(['p', 'P']) else {
            return Ok(false);
        };
        let mut is_negated = after.starts_with('P');
        let (mut name, rest) = match name.strip_prefix('{') {
            Some(inner) => inner.split_once('}').ok_or("missing } behind \\p{")?,
            None => name.split_at(name.chars().next().ok_or("missing name behind \\p")?.len_utf8()),
        };
        if let Some(inner) = name.strip_prefix('^') {
            (is_negated, name) = (!is_negated, inner);
        }
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(format!("invalid character class: {name:?}"));
        }
        let _ = write!(self.output, "\\{}{{{name}}}", if is_negated { 'P' } else { 'p' });
        self.rest = rest;
        Ok(true)
    }

    /// The character that an escape stands for; moves behind it.
    fn escaped_char(&mut self) -> Result<char, String> {
        let after = &self.rest[1..];
        let first = after.chars().next().ok_or("trailing backslash at the end of the pattern")?;
        let is_octal = |c: char| matches!(c, '0'..='7');
        let (code, length) = match first {
            'a' => (7, 1),
            'f' => (12, 1),
            'n' => (10, 1),
            'r' => (13, 1),
            't' => (9, 1),
            'v' => (11, 1),
            'x' => hex_escape(&after[1..])?,
            '0' => octal_escape(after),
            '1'..='7' if after[1..].starts_with(is_octal) => octal_escape(after),
            _ if first.is_ascii_punctuation() || (first.is_ascii() && !first.is_ascii_alphanumeric()) => {
                (u32::from(first), 1)
            }
            _ => return Err(format!("invalid escape sequence: \\{first}")),
        };
        let character =
            char::from_u32(code).ok_or_else(|| format!("invalid escape sequence: \\{}", &after[..length]))?;
        self.rest = &after[length..];
        Ok(character)
    }

    /// `[…]`
    fn class(&mut self) -> Result<(), String> {
        self.copy(1)?;
        if self.rest.starts_with('^') {
            self.copy(1)?;
        }
        let mut is_first = true;
        loop {
            match self.rest.chars().next() {
                None => return Err("missing closing ]".to_owned()),
                Some(']') if !is_first => return self.copy(1),
                _ => self.class_item()?,
            }
            is_first = false;
        }
    }

    fn class_item(&mut self) -> Result<(), String> {
        if self.rest.starts_with("[:") && self.posix_class()? {
            return Ok(());
        }
        if self.rest.starts_with('\\') && (self.perl_class(false) || self.unicode_class()?) {
            return Ok(());
        }
        let low = self.class_char()?;
        self.push_in_class(low);
        let is_range = self.rest.starts_with('-') && !self.rest[1..].starts_with(']') && self.rest.len() > 1;
        if !is_range {
            return Ok(());
        }
        self.copy(1)?;
        let high = self.class_char()?;
        self.push_in_class(high);
        Ok(())
    }

    /// `[:alpha:]`, `[:^alpha:]`
    fn posix_class(&mut self) -> Result<bool, String> {
        let Some(length) = self.rest[2..].find(":]") else {
            return Ok(false);
        };
        let name = &self.rest[2..2 + length];
        if !POSIX_CLASSES.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return Err(format!("invalid character class range: \"[:{name}:]\""));
        }
        self.copy(length + 4)?;
        Ok(true)
    }

    fn class_char(&mut self) -> Result<char, String> {
        let first = self.rest.chars().next().ok_or("missing closing ]")?;
        if first == '\\' {
            return self.escaped_char();
        }
        self.skip(first.len_utf8())?;
        Ok(first)
    }

    fn literal(&mut self, character: char) -> Result<(), String> {
        self.push_literal(character);
        self.skip(character.len_utf8())
    }

    fn push_literal(&mut self, character: char) {
        if character.is_ascii_punctuation() {
            let _ = write!(self.output, "\\x{:02X}", u32::from(character));
        } else {
            self.output.push(character);
        }
    }

    /// As outside a class, since every sign that means something there is punctuation.
    fn push_in_class(&mut self, character: char) {
        self.push_literal(character);
    }

    fn copy(&mut self, length: usize) -> Result<(), String> {
        self.output.push_str(&self.rest[..length]);
        self.skip(length)
    }

    fn skip(&mut self, length: usize) -> Result<(), String> {
        self.rest = &self.rest[length..];
        Ok(())
    }
}

/// The length of `{n}`, `{n,}` or `{n,m}` at the start of `text`; other braces are literal.
fn repeat_length(text: &str) -> Result<Option<usize>, String> {
    let Some((inner, _)) = text[1..].split_once('}') else {
        return Ok(None);
    };
    let (low, high) = inner.split_once(',').unwrap_or((inner, inner));
    let is_count = |digits: &str| {
        let is_canonical = digits == "0" || !digits.starts_with('0');
        !digits.is_empty() && is_canonical && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !is_count(low) || !(high.is_empty() || is_count(high)) {
        return Ok(None);
    }
    let count = |digits: &str| digits.parse::<u32>().ok().filter(|count| *count <= REPEAT_MAX);
    let fits = match (count(low), high.is_empty()) {
        (Some(_), true) => true,
        (Some(low), false) => count(high).is_some_and(|high| low <= high),
        (None, _) => false,
    };
    if !fits {
        return Err(format!("invalid repeat count: \"{{{inner}}}\"; counts go up to {REPEAT_MAX}"));
    }
    Ok(Some(inner.len() + 2))
}

/// The value of `7F` or `{10FFFF}` behind `\x`, and the length with the x.
fn hex_escape(text: &str) -> Result<(u32, usize), String> {
    let (digits, length) = match text.strip_prefix('{') {
        Some(inner) => inner.split_once('}').map(|(digits, _)| (digits, digits.len() + 3)),
        None => text.get(..2).map(|digits| (digits, 3)),
    }
    .ok_or("invalid escape sequence: \\x needs two hexadecimal digits or braces")?;
    let is_hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let value = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex);
    value.map(|value| (value, length)).ok_or_else(|| format!("invalid escape sequence: \\x with {digits:?}"))
}

/// The value of up to three octal digits, and how many there are.
fn octal_escape(text: &str) -> (u32, usize) {
    let digits = text.bytes().take(3).take_while(|byte| matches!(byte, b'0'..=b'7'));
    digits.fold((0, 0), |(value, length), digit| (value * 8 + u32::from(digit - b'0'), length + 1))
}
