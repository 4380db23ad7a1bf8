//! Rule groups as checked values: what a rule file says once it is known to be right.

use std::fmt;
use std::time::Duration;

use crate::model::Labels;
use crate::promql::ast::Expr;

/// One group of a rule file.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupSpec {
    /// Its name, unique within the file.
    pub name: String,
    /// The file that holds it, as it was found.
    pub file: String,
    /// How often it is evaluated.
    pub interval: Duration,
    /// How far in the past its rules look.
    pub query_offset: Duration,
    /// The most series or alerts that one rule may give; 0 is no limit.
    pub limit: u64,
    /// Its rules in order.
    pub rules: Vec<RuleSpec>,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct RuleSpec {
    /// The recorded series' name or the alert's name.
    pub name: String,
    /// What is evaluated.
    pub expr: Expr,
    /// The same, printed canonically.
    pub query: String,
    /// Labels to set: the group's, overridden by the rule's own.
    pub labels: LabelTexts,
    /// Recording or alerting.
    pub kind: RuleKind,
}

/// What becomes of a rule's result.
#[derive(Clone, Debug, PartialEq)]
pub enum RuleKind {
    /// It is stored as a series.
    Recording,
    /// Each of its samples is an alert.
    Alerting(AlertingSpec),
}

/// What only alerting rules have.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertingSpec {
    /// `for`: how long the condition must hold before the alert fires.
    pub hold: Duration,
    /// `keep_firing_for`: how long the alert goes on once the condition no longer holds.
    pub keep_firing_for: Duration,
    /// Annotation templates.
    pub annotations: LabelTexts,
}

/// Names and texts, sorted by name. Unlike [`Labels`] it keeps empty texts: a rule's empty label
/// takes that label away from the result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelTexts(Vec<(String, String)>);

impl LabelTexts {
    /// The pairs of both; where a name is in both, those of `over`.
    pub fn merged(under: &Self, over: &Self) -> Self {
        under.0.iter().chain(&over.0).cloned().collect()
    }

    /// The pairs in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// The same to show.
    pub fn to_labels(&self) -> Labels {
        Labels::of_texts(self.iter())
    }
}

impl FromIterator<(String, String)> for LabelTexts {
    /// Of two pairs with the same name the later one wins.
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        let sorted: std::collections::BTreeMap<String, String> = pairs.into_iter().collect();
        Self(sorted.into_iter().collect())
    }
}

impl GroupSpec {
    /// What tells groups apart over all files; also the key of the group's series in the store.
    pub fn key(&self) -> String {
        format!("{};{}", self.file, self.name)
    }
}

impl RuleSpec {
    /// `for`, `keep_firing_for` and annotations, if this is an alerting rule.
    pub fn alerting(&self) -> Option<&AlertingSpec> {
        match &self.kind {
            RuleKind::Recording => None,
            RuleKind::Alerting(alerting) => Some(alerting),
        }
    }

    /// Whether `other` continues this rule after a reload: same kind, name and labels.
    pub fn is_continued_by(&self, other: &Self) -> bool {
        self.name == other.name
            && self.labels == other.labels
            && self.alerting().is_some() == other.alerting().is_some()
    }
}

/// Expressions are compared as printed: white space and comments make no difference.
impl PartialEq for RuleSpec {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.query, &self.labels, &self.kind) == (&other.name, &other.query, &other.labels, &other.kind)
    }
}

impl fmt::Display for RuleSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.alerting().is_some() { "alert" } else { "record" };
        write!(f, "{kind} {:?}", self.name)
    }
}
