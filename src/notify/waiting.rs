//! Alerts that no Alertmanager has taken yet, over a restart.
//!
//! The file changes when an alert comes, goes, or changes its state, not when a firing alert is merely told again: an
//! Alertmanager that is away for a day must not wear a card out.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use crate::model::{Alert, Labels, Timestamp};
use crate::state_file::StateFile;

/// Where they are kept.
pub type WaitingFile = StateFile<Vec<WaitingAlert>>;

/// An alert that waits.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// For which entry of `alertmanagers`, as that one's `alert_relabel_configs` left it; `None` for all of them, before.
    pub entry: Option<usize>,
    /// The alert.
    pub alert: Arc<Alert>,
}

/// One alert in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingAlert {
    entry: Option<usize>,
    labels: Vec<(String, String)>,
    annotations: Vec<(String, String)>,
    starts_ms: i64,
    ends_ms: i64,
    resolved: bool,
    generator_url: String,
}

impl From<&Waiting> for WaitingAlert {
    fn from(Waiting { entry, alert }: &Waiting) -> Self {
        let pairs = |labels: &Labels| labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self {
            entry: *entry,
            labels: pairs(&alert.labels),
            annotations: pairs(&alert.annotations),
            starts_ms: alert.starts_at.0,
            ends_ms: alert.ends_at.0,
            resolved: alert.resolved,
            generator_url: alert.generator_url.clone(),
        }
    }
}

impl From<WaitingAlert> for Waiting {
    fn from(kept: WaitingAlert) -> Self {
        let labels = |pairs: &[(String, String)]| {
            Labels::of_texts(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        };
        let alert = Alert {
            labels: labels(&kept.labels),
            annotations: labels(&kept.annotations),
            starts_at: Timestamp(kept.starts_ms),
            ends_at: Timestamp(kept.ends_ms),
            resolved: kept.resolved,
            generator_url: kept.generator_url,
        };
        Self { entry: kept.entry, alert: Arc::new(alert) }
    }
}

/// A number that changes with the alerts and their states; 0 for none.
pub fn fingerprint(alerts: &[Waiting]) -> u64 {
    let hasher = FixedState::default();
    let one = |Waiting { entry, alert }: &Waiting| {
        let end = alert.resolved.then_some(alert.ends_at.0);
        hasher.hash_one((entry, &alert.labels, alert.starts_at.0, end)) | 1
    };
    alerts.iter().map(one).fold(0, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(ends_ms: i64, resolved: bool) -> Waiting {
        let alert = Alert {
            labels: Labels::from_pairs([("alertname", "a"), ("job", "\"\n")]),
            annotations: Labels::from_pairs([("summary", "é")]),
            starts_at: Timestamp(-5),
            ends_at: Timestamp(ends_ms),
            resolved,
            generator_url: "http://pi/".to_owned(),
        };
        Waiting { entry: Some(1), alert: Arc::new(alert) }
    }

    #[test]
    fn alerts_are_kept_whole() {
        let alert = alert(7, true);
        let text = serde_json::to_string(&WaitingAlert::from(&alert)).expect("texts and numbers");
        let kept: WaitingAlert = serde_json::from_str(&text).expect("what was written");
        assert_eq!(Waiting::from(kept), alert);
    }

    #[test]
    fn telling_again_is_no_change() {
        assert_eq!(fingerprint(&[alert(1, false)]), fingerprint(&[alert(2, false)]));
        let states = [fingerprint(&[]), fingerprint(&[alert(1, false)]), fingerprint(&[alert(1, true)])];
        assert!(states[0] == 0 && states[1] != 0 && states[2] != 0 && states[1] != states[2], "{states:?}");
    }
}
