//! An alert on its way to an Alertmanager.

use super::{Labels, Timestamp};

/// One alert as the Alertmanager API v2 takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// `alertname` and the alert's other labels; they identify the alert.
    pub labels: Labels,
    /// Text for people.
    pub annotations: Labels,
    /// When the condition began to fire.
    pub starts_at: Timestamp,
    /// When it ended, or until when it is to be believed if nothing more is heard.
    pub ends_at: Timestamp,
    /// Whether the alert has ended: `ends_at` is then the true end.
    pub resolved: bool,
    /// A link to the expression at this outpost.
    pub generator_url: String,
}
