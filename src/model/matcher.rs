//! Label matchers.

use std::fmt;

use super::{AnchoredRegex, Labels, METRIC_NAME, RegexError, is_legacy_label_name, quote_to};

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// PromQL's operator.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// One condition on one label. An absent label counts as the empty value.
#[derive(Clone)]
pub struct Matcher {
    op: MatchOp,
    name: String,
    value: String,
    regex: Option<AnchoredRegex>,
}

impl Matcher {
    /// Builds a matcher; fails only where the regular expression is not valid.
    pub fn new(op: MatchOp, name: impl Into<String>, value: impl Into<String>) -> Result<Self, RegexError> {
        let value = value.into();
        let regex = match op {
            MatchOp::Regex | MatchOp::NotRegex => Some(AnchoredRegex::new(&value)?),
            MatchOp::Equal | MatchOp::NotEqual => None,
        };
        Ok(Self { op, name: name.into(), value, regex })
    }

    /// A matcher for one exact value.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { op: MatchOp::Equal, name: name.into(), value: value.into(), regex: None }
    }

    /// The operator.
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// The label's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value or the pattern as written.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The compiled pattern of a regex matcher.
    pub fn regex(&self) -> Option<&AnchoredRegex> {
        self.regex.as_ref()
    }

    /// Whether a label with this value (empty if absent) satisfies the condition.
    pub fn matches(&self, value: &str) -> bool {
        let is_match = self.regex.as_ref().map_or(self.value == value, |regex| regex.is_match(value));
        match self.op {
            MatchOp::Equal | MatchOp::Regex => is_match,
            MatchOp::NotEqual | MatchOp::NotRegex => !is_match,
        }
    }

    /// Whether the label set satisfies the condition.
    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.get(&self.name).unwrap_or(""))
    }

    /// Whether series without the label satisfy the condition.
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }
}

/// The one metric's name that satisfies these matchers, where one of them asks for it by equality.
pub fn metric_name_of(matchers: &[Matcher]) -> Option<&str> {
    let asks =
        |matcher: &&Matcher| matcher.name == METRIC_NAME && matcher.op == MatchOp::Equal && !matcher.value.is_empty();
    matchers.iter().find(asks).map(Matcher::value)
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (self.op, &self.name, &self.value) == (other.op, &other.name, &other.value)
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(self.name.len() + self.value.len() + 6);
        match is_legacy_label_name(&self.name) {
            true => text.push_str(&self.name),
            false => quote_to(&mut text, &self.name),
        }
        text.push_str(self.op.as_str());
        quote_to(&mut text, &self.value);
        f.write_str(&text)
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
