//! What rules show of themselves: `/api/v1/rules`, `/api/v1/alerts`.

use std::time::Duration;

use crate::model::{Labels, Timestamp};

/// Gives the present state of all rule groups.
pub trait RulesView: Send + Sync {
    /// The groups, sorted by file, then by name.
    fn groups(&self) -> Vec<GroupStatus>;
}

/// One rule group.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupStatus {
    /// Its name.
    pub name: String,
    /// The file that holds it, as configured.
    pub file: String,
    /// Its rules in order.
    pub rules: Vec<RuleStatus>,
    /// How often it is evaluated.
    pub interval: Duration,
    /// The most series or alerts that a rule may give; 0 is no limit.
    pub limit: u64,
    /// How long the last evaluation took.
    pub evaluation_time: Duration,
    /// When it was last evaluated.
    pub last_evaluation: Option<Timestamp>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleStatus {
    /// The alert's name or the recorded series' name.
    pub name: String,
    /// The expression, printed canonically.
    pub query: String,
    /// The rule's labels.
    pub labels: Labels,
    /// How it went last.
    pub health: RuleHealth,
    /// The reason of the last failure, or empty.
    pub last_error: String,
    /// How long the last evaluation took.
    pub evaluation_time: Duration,
    /// When it was last evaluated.
    pub last_evaluation: Option<Timestamp>,
    /// What only alerting rules have.
    pub alerting: Option<AlertingStatus>,
}

/// What only alerting rules have.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertingStatus {
    /// `for`
    pub hold_duration: Duration,
    /// `keep_firing_for`
    pub keep_firing_for: Duration,
    /// Annotation templates.
    pub annotations: Labels,
    /// The alerts that are pending or firing.
    pub alerts: Vec<AlertStatus>,
}

/// One active alert.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertStatus {
    /// Its labels, `alertname` among them.
    pub labels: Labels,
    /// Its annotations, expanded.
    pub annotations: Labels,
    /// Pending or firing.
    pub state: AlertState,
    /// Since when the condition holds.
    pub active_at: Timestamp,
    /// Since when it is only kept firing by `keep_firing_for`.
    pub keep_firing_since: Option<Timestamp>,
    /// The expression's newest value.
    pub value: f64,
}

/// The state of an alert or of an alerting rule (its worst alert's).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertState {
    /// The condition does not hold.
    #[default]
    Inactive,
    /// It holds, but not for long enough.
    Pending,
    /// It fires.
    Firing,
}

impl AlertState {
    /// The word of the HTTP API and of the `alertstate` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
        }
    }
}

/// How a rule's evaluation went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RuleHealth {
    /// Not evaluated yet.
    #[default]
    Unknown,
    /// Good.
    Ok,
    /// Failed.
    Err,
}

impl RuleHealth {
    /// The word of the HTTP API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ok => "ok",
            Self::Err => "err",
        }
    }
}
