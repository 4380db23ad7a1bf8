//! Regular expressions in RE2's dialect, always fully anchored, as Prometheus matches labels.

use std::fmt;
use std::sync::Arc;

use regex_automata::meta;

/// A pattern that is not a valid regular expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid regular expression {pattern:?}: {reason}")]
pub struct RegexError {
    /// The pattern as written.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A pattern matched as `^(?s:PATTERN)$`. Cloning shares the compiled program.
#[derive(Clone)]
pub struct AnchoredRegex {
    pattern: Arc<str>,
    program: Arc<meta::Regex>,
}

impl AnchoredRegex {
    /// Compiles a pattern.
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        let program = meta::Regex::new(&format!("^(?s:{pattern})$"))
            .map_err(|error| RegexError { pattern: pattern.to_owned(), reason: error.to_string() })?;
        Ok(Self { pattern: pattern.into(), program: Arc::new(program) })
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    /// Whether the whole of `text` matches.
    pub fn is_match(&self, text: &str) -> bool {
        self.program.is_match(text)
    }

    /// Every value that can match, if the pattern is a literal or an alternation of literals.
    pub fn literals(&self) -> Option<&[String]> {
        None
    }

    /// Expands Go's template (`$1`, `${1}`, `${name}`, `$$`) with the groups of a match, or gives
    /// `None` where `text` does not match. An unknown group expands to nothing.
    pub fn expand(&self, text: &str, template: &str) -> Option<String> {
        let mut captures = self.program.create_captures();
        self.program.captures(text, &mut captures);
        captures.is_match().then(|| {
            let mut output = String::new();
            captures.interpolate_string_into(text, template, &mut output);
            output
        })
    }
}

impl fmt::Debug for AnchoredRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.pattern)
    }
}

impl PartialEq for AnchoredRegex {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}
