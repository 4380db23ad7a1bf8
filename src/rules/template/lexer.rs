//! Template text to tokens: literal text, and what stands between `{{` and `}}`.
//!
//! Source of the rules: the documentation of Go's text/template.

use std::ops::Range;

/// The kinds of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text outside actions, already trimmed.
    Text,
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// White space within an action: it separates `$x .y` from `$x.y`.
    Space,
    /// A name that is no keyword: a function.
    Identifier,
    /// `true`, `false`
    Bool,
    /// A keyword, among them `nil`.
    Keyword,
    /// `.name`
    Field,
    /// `$name` or `$`
    Variable,
    /// `.`
    Dot,
    /// A number or a character in single quotes.
    Number,
    /// A text in double quotes.
    Text2,
    /// A text in backquotes.
    RawText,
    /// `|`, `(`, `)`, `,`
    Sign,
    /// `:=`
    Declare,
    /// `=`
    Assign,
    /// The end of the template.
    End,
}

/// One token: its kind and its place in the text.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub kind: Kind,
    pub range: Range<usize>,
}

const KEYWORDS: [&str; 11] =
    ["block", "break", "continue", "define", "else", "end", "if", "nil", "range", "template", "with"];
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// Splits a whole template; fails with the place and the reason.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, (usize, String)> {
    let mut lexer = Lexer { text, position: 0, tokens: Vec::new() };
    lexer.run()?;
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    text: &'a str,
    position: usize,
    tokens: Vec<Token>,
}

type Step = Result<(), (usize, String)>;

impl Lexer<'_> {
    fn run(&mut self) -> Step {
        let mut trims_left = false;
        loop {
            let rest = &self.text[self.position..];
            let open = rest.find("{{");
            let end = self.position + open.unwrap_or(rest.len());
            let trims_right = open.is_some() && opens_with_trim(&self.text[end + 2..]);
            self.literal(end, trims_left, trims_right);
            if open.is_none() {
                self.push(Kind::End, end);
                return Ok(());
            }
            let start = end + if trims_right { 3 } else { 2 };
            let blanks = self.text[start..].len() - self.text[start..].trim_start_matches(BLANKS).len();
            // A trimming delimiter is followed by a blank, and a comment may follow that.
            let comment = start + if trims_right { blanks } else { 0 };
            trims_left = if self.text[comment..].starts_with("/*") {
                self.comment(comment)?
            } else {
                self.position = end;
                self.push(Kind::Open, start);
                self.action()?
            };
        }
    }

    fn literal(&mut self, end: usize, trims_left: bool, trims_right: bool) {
        let mut range = self.position..end;
        if trims_left {
            range.start = end - self.text[range.clone()].trim_start_matches(BLANKS).len();
        }
        if trims_right {
            range.end = range.start + self.text[range.clone()].trim_end_matches(BLANKS).len();
        }
        if !range.is_empty() {
            self.tokens.push(Token { kind: Kind::Text, range });
        }
        self.position = end;
    }

    /// Moves behind a comment and its delimiter; whether that trims.
    fn comment(&mut self, start: usize) -> Result<bool, (usize, String)> {
        let length = self.text[start..].find("*/").ok_or((start, "unclosed comment".to_owned()))?;
        let after = start + length + 2;
        let Some((length, trims)) = closes(&self.text[after..]) else {
            return Err((after, "comment ends before closing delimiter".to_owned()));
        };
        self.position = after + length;
        Ok(trims)
    }

    /// The tokens up to the closing delimiter; whether that trims.
    fn action(&mut self) -> Result<bool, (usize, String)> {
        let mut depth = 0_usize;
        loop {
            let rest = &self.text[self.position..];
            if let Some((length, trims)) = closes(rest) {
                if depth > 0 {
                    return Err((self.position, "unclosed left paren".to_owned()));
                }
                self.push(Kind::Close, self.position + length);
                return Ok(trims);
            }
            let Some(first) = rest.chars().next() else {
                return Err((self.position, "unclosed action".to_owned()));
            };
            match first {
                '(' => depth += 1,
                ')' if depth == 0 => return Err((self.position, "unexpected right paren".to_owned())),
                ')' => depth -= 1,
                _ => {}
            }
            self.token(first)?;
        }
    }

    fn token(&mut self, first: char) -> Step {
        let rest = &self.text[self.position..];
        let second = rest[first.len_utf8()..].chars().next();
        let starts_number = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit() || c == '.');
        match first {
            _ if BLANKS.contains(&first) => {
                // A closing delimiter that trims needs the blank in front of it.
                let blanks = rest.len() - rest.trim_start_matches(BLANKS).len();
                let keeps_one = rest[blanks..].starts_with("-}}");
                self.take(Kind::Space, if keeps_one && blanks > 1 { blanks - 1 } else { blanks })
            }
            '(' | ')' | '|' | ',' => self.take(Kind::Sign, 1),
            '=' => self.take(Kind::Assign, 1),
            ':' if second == Some('=') => self.take(Kind::Declare, 2),
            ':' => Err((self.position, "expected :=".to_owned())),
            '"' => self.quoted('"', "unterminated quoted string"),
            '\'' => self.quoted('\'', "unterminated character constant"),
            '`' => {
                let end = rest[1..].find('`').ok_or((self.position, "unterminated raw quoted string".to_owned()))?;
                self.take(Kind::RawText, end + 2)
            }
            '.' if !second.is_some_and(|c| c.is_ascii_digit()) => self.named(1, Kind::Field, Kind::Dot),
            '$' => self.named(1, Kind::Variable, Kind::Variable),
            '+' | '-' if starts_number(second) => self.number(),
            '.' | '0'..='9' => self.number(),
            _ if is_name(first) => self.word(),
            _ => {
                Err((self.position, format!("unrecognized character in action: U+{:04X} '{first}'", u32::from(first))))
            }
        }
    }

    fn quoted(&mut self, quote: char, fault: &str) -> Step {
        let mut chars = self.text[self.position..].char_indices().skip(1);
        while let Some((index, character)) = chars.next() {
            match character {
                '\\' => drop(chars.next()),
                '\n' => break,
                _ if character == quote => {
                    let kind = if quote == '"' { Kind::Text2 } else { Kind::Number };
                    return self.take(kind, index + 1);
                }
                _ => {}
            }
        }
        Err((self.position, fault.to_owned()))
    }

    /// A sign and the name behind it, if there is one.
    fn named(&mut self, sign: usize, with_name: Kind, alone: Kind) -> Step {
        let length = name_length(&self.text[self.position + sign..]);
        self.take(if length > 0 { with_name } else { alone }, sign + length)?;
        self.expect_terminator()
    }

    fn word(&mut self) -> Step {
        let length = name_length(&self.text[self.position..]);
        let kind = match &self.text[self.position..self.position + length] {
            "true" | "false" => Kind::Bool,
            word if KEYWORDS.contains(&word) => Kind::Keyword,
            _ => Kind::Identifier,
        };
        self.take(kind, length)?;
        self.expect_terminator()
    }

    fn number(&mut self) -> Step {
        let rest = &self.text[self.position..];
        let is_part = |(index, c): (usize, char)| {
            let follows_exponent = index > 0 && rest[..index].ends_with(['e', 'E', 'p', 'P']);
            let is_hex = rest.trim_start_matches(['+', '-']).starts_with("0x");
            let is_sign = matches!(c, '+' | '-') && (index == 0 || (follows_exponent && !is_hex));
            is_sign || c == '.' || is_name(c)
        };
        let length = rest.char_indices().find(|item| !is_part(*item)).map_or(rest.len(), |(index, _)| index);
        self.take(Kind::Number, length)
    }

    /// What follows a name must end it: `a"b"` is a mistake rather than two arguments.
    fn expect_terminator(&self) -> Step {
        let rest = &self.text[self.position..];
        match rest.chars().next() {
            None => Ok(()),
            Some(c) if BLANKS.contains(&c) || matches!(c, '.' | ',' | '|' | ':' | '=' | ')' | '(') => Ok(()),
            Some(_) if rest.starts_with("}}") => Ok(()),
            Some(c) => Err((self.position, format!("bad character U+{:04X} '{c}'", u32::from(c)))),
        }
    }

    fn take(&mut self, kind: Kind, length: usize) -> Step {
        self.push(kind, self.position + length);
        Ok(())
    }

    fn push(&mut self, kind: Kind, end: usize) {
        self.tokens.push(Token { kind, range: self.position..end });
        self.position = end;
    }
}

/// Whether what follows `{{` makes it trim the text in front.
fn opens_with_trim(rest: &str) -> bool {
    rest.strip_prefix('-').is_some_and(|after| after.starts_with(BLANKS))
}

/// The length of a closing delimiter at the start of `rest`, and whether it trims.
fn closes(rest: &str) -> Option<(usize, bool)> {
    if rest.starts_with("}}") {
        return Some((2, false));
    }
    rest.strip_prefix(BLANKS).is_some_and(|after| after.starts_with("-}}")).then_some((4, true))
}

fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn name_length(text: &str) -> usize {
    text.find(|c| !is_name(c)).unwrap_or(text.len())
}
