//! What is known of alerts from before a restart: read from the store, applied to new alerts.
//!
//! `ALERTS_FOR_STATE` tells since when a condition held and when that was last seen, `ALERTS` whether
//! the alert was firing. An alert that was firing goes on firing. One that was pending goes on
//! waiting: the outage does not count as time in which the condition held, and a long wait does not
//! end sooner than the grace period after the start, so that people who repair the outage are not
//! woken by what it caused. Source: `RestoreForState` in prometheus/rules/group.go, which leaves out
//! rules whose `for` is shorter than the grace period, and lets firing alerts fall back to pending.

use std::collections::HashMap;
use std::time::Duration;

use super::alerting::{ALERT_NAME, ALERT_STATE, ALERTS, ALERTS_FOR_STATE};
use super::spec::RuleSpec;
use super::status::AlertState;
use crate::model::{Labels, METRIC_NAME, Matcher, TimeRange, Timestamp};
use crate::store::{NewestSample, ReadOptions, Select, StoreError};

/// In how many evaluations after the start an alert may be recognised. The second one is there for
/// rules that read what other rules record or what has yet to be scraped; whatever appears later
/// has had a time in which its condition did not hold.
pub const RESTORE_EVALUATIONS: u32 = 2;

/// How an alert from before a restart goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Since when its condition counts as holding.
    pub active_at: Timestamp,
    /// Since when it fires, if it does.
    pub fired_at: Option<Timestamp>,
}

/// An alert as the store last saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastAlert {
    /// When it was last seen.
    pub seen_at: Timestamp,
    /// Since when its condition held then.
    pub active_at: Timestamp,
    /// Whether it was firing then.
    pub was_firing: bool,
}

impl PastAlert {
    /// How the alert goes on if its condition holds `at` a time after the restart.
    pub fn resume(self, hold: Duration, grace_period: Duration, at: Timestamp) -> Restored {
        if self.was_firing {
            let fired_at = (self.active_at + hold).min(self.seen_at);
            return Restored { active_at: self.active_at, fired_at: Some(fired_at) };
        }
        let fires_at = self.active_at + hold;
        let remaining_ms = fires_at.since(self.seen_at);
        let grace_ms = i64::try_from(grace_period.as_millis()).unwrap_or(i64::MAX);
        let active_at = if remaining_ms <= 0 {
            self.active_at
        } else if hold >= grace_period && remaining_ms < grace_ms {
            at + grace_period - hold
        } else {
            Timestamp(self.active_at.0.saturating_add(at.since(self.seen_at)))
        };
        Restored { active_at, fired_at: None }
    }
}

/// Reads the alerts of `rule` that were active within `range`.
pub fn read_past_alerts(
    store: &dyn Select,
    rule: &RuleSpec,
    range: TimeRange,
) -> Result<HashMap<Labels, PastAlert>, StoreError> {
    let newest = |extra: &[(&str, &str)]| -> Result<Vec<NewestSample>, StoreError> {
        let matchers = extra.iter().map(|(name, value)| Matcher::equal(*name, *value));
        let sets = [matchers.chain(rule_matchers(rule)).collect()];
        store.newest(&sets, &ReadOptions::over(range))
    };
    let mut past: HashMap<Labels, PastAlert> = newest(&[(METRIC_NAME, ALERTS_FOR_STATE)])?
        .into_iter()
        .map(|sample| {
            let active_at = Timestamp::from_seconds(sample.value);
            let alert = PastAlert { seen_at: sample.timestamp, active_at, was_firing: false };
            (sample.labels.without_metric_name(), alert)
        })
        .collect();
    for sample in newest(&[(METRIC_NAME, ALERTS), (ALERT_STATE, AlertState::Firing.as_str())])? {
        let labels = sample.labels.filtered(|name| name != METRIC_NAME && name != ALERT_STATE);
        if let Some(alert) = past.get_mut(&labels) {
            alert.was_firing = sample.timestamp >= alert.seen_at;
        }
    }
    Ok(past)
}

/// What all alerts of a rule have in common. A label that is a template differs from alert to alert.
fn rule_matchers(rule: &RuleSpec) -> impl Iterator<Item = Matcher> {
    let constant = rule.labels.iter().filter(|(name, text)| !text.contains("{{") && *name != ALERT_NAME);
    constant.map(|(name, text)| Matcher::equal(name, text)).chain([Matcher::equal(ALERT_NAME, rule.name.as_str())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_goes_on_where_it_stopped() {
        let minutes = |count: i64| Timestamp(count * 60_000);
        let hold = |count: u64| Duration::from_secs(count * 60);
        // Active since, last seen, firing, `for`; expected: active since, firing since. Now is minute 100, grace 10.
        let cases = [
            ("pending, long wait", 60, 80, false, 60, 80, None),
            ("pending, less than the grace period left", 30, 85, false, 60, 50, None),
            ("pending, shorter than the grace period", 88, 90, false, 5, 98, None),
            ("pending, due while down", 40, 90, false, 30, 40, None),
            ("firing", 20, 90, true, 60, 20, Some(80)),
            ("firing without a wait", 50, 90, true, 0, 50, Some(50)),
            ("firing under a shorter wait than now", 80, 90, true, 60, 80, Some(90)),
        ];
        for (name, active_at, seen_at, was_firing, wait, expected, fired_at) in cases {
            let past = PastAlert { active_at: minutes(active_at), seen_at: minutes(seen_at), was_firing };
            let resumed = past.resume(hold(wait), hold(10), minutes(100));
            let expected = Restored { active_at: minutes(expected), fired_at: fired_at.map(minutes) };
            assert_eq!(resumed, expected, "{name}");
        }
    }
}
