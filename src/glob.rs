//! File patterns, `rules/*.yml`, and the same for other names. Source of the rules: Go's `path/filepath.Glob`.
//!
//! Reads folders, nothing else; what cannot be read counts as absent.

use std::path::{Path, PathBuf};

/// Files that one pattern may give.
const FILES_MAX: usize = 10_000;

/// A pattern that can match nothing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{}: not a valid pattern: a `[` without its `]`, or a `\\` at the end", pattern.display())]
pub struct GlobError {
    /// The pattern.
    pub pattern: PathBuf,
}

/// The existing paths that match a pattern (`*`, `?`, `[a-z]`, `[^a]`, `\` before a literal), sorted by part.
/// What cannot be read counts as absent, as in Go's filepath.Glob.
pub fn glob(pattern: &Path) -> Result<Vec<PathBuf>, GlobError> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let text = part.as_os_str().to_string_lossy();
        let tokens = tokens(&text).ok_or_else(|| GlobError { pattern: pattern.to_owned() })?;
        found = match literal(&tokens) {
            Some(_) if part.as_os_str() == text.as_ref() && !text.contains('\\') => {
                found.into_iter().map(|folder| folder.join(part)).collect()
            }
            _ => found.iter().flat_map(|folder| matching_entries(folder, &tokens)).take(FILES_MAX).collect(),
        };
    }
    found.retain(|path| path.exists());
    Ok(found)
}

fn matching_entries(folder: &Path, tokens: &[Token]) -> Vec<PathBuf> {
    let readable = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = std::fs::read_dir(readable) else { return Vec::new() };
    let mut names: Vec<_> = entries
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| name.to_str().is_some_and(|name| matches(&name.chars().collect::<Vec<_>>(), tokens)))
        .collect();
    names.sort_unstable();
    names.into_iter().map(|name| folder.join(name)).collect()
}

/// One part of a pattern on its own, for names that are no files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern {
    text: String,
    tokens: Vec<Token>,
}

impl NamePattern {
    /// The pattern; `None` if it can match nothing.
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self { text: text.to_owned(), tokens: tokens(text)? })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches a whole name.
    pub fn matches(&self, name: &str) -> bool {
        matches(&name.chars().collect::<Vec<_>>(), &self.tokens)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Char(char),
    AnyChar,
    AnyText,
    Class { ranges: Vec<(char, char)>, negated: bool },
}

fn literal(tokens: &[Token]) -> Option<()> {
    tokens.iter().all(|token| matches!(token, Token::Char(_))).then_some(())
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut chars = text.chars().peekable();
    let mut tokens = Vec::new();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::AnyText,
            '?' => Token::AnyChar,
            '\\' => Token::Char(chars.next()?),
            '[' => class(&mut chars)?,
            c => Token::Char(c),
        });
    }
    Some(tokens)
}

fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Token> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let low = match chars.next()? {
            ']' if !ranges.is_empty() => return Some(Token::Class { ranges, negated }),
            ']' | '-' => return None,
            '\\' => chars.next()?,
            c => c,
        };
        let high = match chars.next_if_eq(&'-') {
            Some(_) => match chars.next()? {
                ']' | '-' => return None,
                '\\' => chars.next()?,
                c => c,
            },
            None => low,
        };
        ranges.push((low, high));
    }
}

/// Linear but for the last `*`, which alone is ever retried.
fn matches(name: &[char], tokens: &[Token]) -> bool {
    let (mut at, mut token) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at < name.len() {
        match tokens.get(token) {
            Some(Token::AnyText) => {
                star = Some((token, at));
                token += 1;
            }
            Some(one) if one_matches(name[at], one) => {
                at += 1;
                token += 1;
            }
            _ => {
                let Some((star_token, star_at)) = star else { return false };
                star = Some((star_token, star_at + 1));
                (token, at) = (star_token + 1, star_at + 1);
            }
        }
    }
    tokens[token..].iter().all(|rest| matches!(rest, Token::AnyText))
}

fn one_matches(c: char, token: &Token) -> bool {
    match token {
        Token::Char(wanted) => c == *wanted,
        Token::AnyChar => true,
        Token::AnyText => false,
        Token::Class { ranges, negated } => ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_go_does() {
        let cases = [
            ("*.yml", "a.yml", true),
            ("*.yml", "a.yaml", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbY", false),
            ("?.yml", "a.yml", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            (r"\*", "*", true),
            ("*", "", true),
        ];
        for (pattern, name, expected) in cases {
            let pattern = NamePattern::parse(pattern).expect(pattern);
            assert_eq!(pattern.matches(name), expected, "{} {name}", pattern.as_str());
        }
        for bad in ["a[", "[]a]", "[a-]", r"a\", "[-a]"] {
            assert!(NamePattern::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn finds_files_sorted() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["b.yml", "a.yml", "c.txt", "d[1].yml"] {
            std::fs::write(folder.path().join(name), "").expect("a file");
        }
        let names = |pattern: &str| -> Vec<String> {
            let found = glob(&folder.path().join(pattern)).expect(pattern);
            found.iter().map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names("*.yml"), ["a.yml", "b.yml", "d[1].yml"]);
        assert_eq!(names("a.yml"), ["a.yml"]);
        assert_eq!(names(r"d\[1\].yml"), ["d[1].yml"]);
        assert!(names("nothing.yml").is_empty());
        assert!(glob(Path::new("a[.yml")).is_err());
    }
}
