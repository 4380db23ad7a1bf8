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

/// One alert in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingAlert {
    labels: Vec<(String, String)>,
    annotations: Vec<(String, String)>,
    starts_ms: i64,
    ends_ms: i64,
    resolved: bool,
    generator_url: String,
}

impl From<&Alert> for WaitingAlert {
    fn from(alert: &Alert) -> Self {
        let pairs = |labels: &Labels| labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self {
            labels: pairs(&alert.labels),
            annotations: pairs(&alert.annotations),
            starts_ms: alert.starts_at.0,
            ends_ms: alert.ends_at.0,
            resolved: alert.resolved,
            generator_url: alert.generator_url.clone(),
        }
    }
}

impl From<WaitingAlert> for Alert {
    fn from(kept: WaitingAlert) -> Self {
        let labels = |pairs: &[(String, String)]| {
            Labels::of_texts(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        };
        Self {
            labels: labels(&kept.labels),
            annotations: labels(&kept.annotations),
            starts_at: Timestamp(kept.starts_ms),
            ends_at: Timestamp(kept.ends_ms),
            resolved: kept.resolved,
            generator_url: kept.generator_url,
        }
    }
}

/// A number that changes with the alerts and their states; 0 for none.
pub fn fingerprint(alerts: &[Arc<Alert>]) -> u64 {
    let hasher = FixedState::default();
    let one = |alert: &Arc<Alert>| {
        let end = alert.resolved.then_some(alert.ends_at.0);
        hasher.hash_one((&alert.labels, alert.starts_at.0, end)) | 1
    };
    alerts.iter().map(one).fold(0, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(ends_ms: i64, resolved: bool) -> Arc<Alert> {
        Arc::new(Alert {
            labels: Labels::from_pairs([("alertname", "a"), ("job", "\"\n")]),
            annotations: Labels::from_pairs([("summary", "é")]),
            starts_at: Timestamp(-5),
            ends_at: Timestamp(ends_ms),
            resolved,
            generator_url: "http://pi/".to_owned(),
        })
    }

    #[test]
    fn alerts_are_kept_whole() {
        let alert = alert(7, true);
        let text = serde_json::to_string(&WaitingAlert::from(&*alert)).expect("texts and numbers");
        let kept: WaitingAlert = serde_json::from_str(&text).expect("what was written");
        assert_eq!(Alert::from(kept), *alert);
    }

    #[test]
    fn telling_again_is_no_change() {
        assert_eq!(fingerprint(&[alert(1, false)]), fingerprint(&[alert(2, false)]));
        let states = [fingerprint(&[]), fingerprint(&[alert(1, false)]), fingerprint(&[alert(1, true)])];
        assert!(states[0] == 0 && states[1] != 0 && states[2] != 0 && states[1] != states[2], "{states:?}");
    }
}
