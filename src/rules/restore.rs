//! What is known of alerts from before a restart: read from the store, applied to new alerts.
//!
//! `ALERTS_FOR_STATE` tells since when a condition held and when that was last seen, `ALERTS` whether
//! the alert was firing and since when. An alert that was firing goes on firing, with the start that was
//! told before. One that was pending goes on waiting: the outage does not count as time in which the condition held, and a
//! long wait does not end sooner than the grace period after the start, so that people who repair the outage are not
//! woken by what it caused. One whose series has ended was resolved, which is told (again). Source: `RestoreForState` in
//! prometheus/rules/group.go, which leaves out rules whose `for` is shorter than the grace period, lets firing alerts
//! fall back to pending, and forgets what was resolved.

use std::collections::HashMap;
use std::time::Duration;

use super::alerting::{ALERT_NAME, ALERT_STATE, ALERTS, ALERTS_FOR_STATE};
use super::spec::RuleSpec;
use super::status::AlertState;
use crate::model::{Labels, METRIC_NAME, Matcher, TimeRange, Timestamp, is_stale_marker};
use crate::store::{ReadOptions, Samples, Select, StoreError};

/// How far behind its due time an alert may have begun to fire: slots are missed when the machine is busy.
const LATE_MAX: Duration = Duration::from_secs(3600);

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
    /// The slot of the last evaluation in which it was pending or firing.
    pub seen_at: Timestamp,
    /// Since when its condition held then.
    pub active_at: Timestamp,
    /// Since when it was firing then, if it was.
    pub fired_at: Option<Timestamp>,
    /// When it was resolved, if it was.
    pub resolved_at: Option<Timestamp>,
}

impl PastAlert {
    /// How the alert goes on if its condition holds `at` a slot after the restart. Only slots that were missed do not count
    /// as waiting: a restart between two of them is no outage.
    pub fn resume(self, hold: Duration, interval: Duration, grace_period: Duration, at: Timestamp) -> Restored {
        if self.fired_at.is_some() {
            return Restored { active_at: self.active_at, fired_at: self.fired_at };
        }
        let fires_at = self.active_at + hold;
        let remaining_ms = fires_at.since(self.seen_at);
        let grace_ms = i64::try_from(grace_period.as_millis()).unwrap_or(i64::MAX);
        let active_at = if remaining_ms <= 0 {
            self.active_at
        } else if hold >= grace_period && remaining_ms < grace_ms {
            at + grace_period - hold
        } else {
            let missed_ms = at.since(self.seen_at + interval).max(0);
            Timestamp(self.active_at.0.saturating_add(missed_ms))
        };
        Restored { active_at, fired_at: None }
    }
}

/// Reads the alerts of `rule` that were active within `range`, a span of slots. Its samples lie `query_offset` before
/// the slots.
pub fn read_past_alerts(
    store: &dyn Select,
    rule: &RuleSpec,
    hold: Duration,
    query_offset: Duration,
    range: TimeRange,
) -> Result<HashMap<Labels, PastAlert>, StoreError> {
    let history = History { store, rule, query_offset };
    let mut past = HashMap::new();
    for (labels, run) in history.runs(&[(METRIC_NAME, ALERTS_FOR_STATE)], range, |_| None)? {
        let active_at = history.active_at(&labels, run)?;
        let (seen_at, resolved_at) = (run.last + query_offset, run.ended_at.map(|at| at + query_offset));
        past.insert(labels.without_metric_name(), PastAlert { seen_at, active_at, fired_at: None, resolved_at });
    }
    let alert_of = |labels: &Labels| labels.filtered(|name| name != METRIC_NAME && name != ALERT_STATE);
    let firing = [(METRIC_NAME, ALERTS), (ALERT_STATE, AlertState::Firing.as_str())];
    let active_since = |labels: &Labels| past.get(&alert_of(labels)).map(|alert| alert.active_at - query_offset);
    for (labels, run) in history.runs(&firing, range, active_since)? {
        let Some(alert) = past.get_mut(&alert_of(&labels)) else { continue };
        if run.last + query_offset < alert.seen_at {
            continue;
        }
        let due_at = alert.active_at + hold;
        let began = match range.contains(alert.active_at) {
            true => Some(run.first + query_offset),
            false => history.first_sample(&labels, TimeRange { start: alert.active_at, end: due_at + LATE_MAX })?,
        };
        alert.fired_at = Some(began.unwrap_or(due_at.min(alert.seen_at)));
    }
    // What was pending and is over has told nobody anything.
    past.retain(|_, alert| alert.fired_at.is_some() || alert.resolved_at.is_none());
    Ok(past)
}

/// The last samples of a series that have one value, stale markers behind them aside.
#[derive(Clone, Copy)]
struct Run {
    first: Timestamp,
    last: Timestamp,
    value: f64,
    /// The stale marker behind it.
    ended_at: Option<Timestamp>,
    /// Whether something else is known before it.
    is_whole: bool,
}

impl Run {
    /// `from` leaves out what is earlier.
    fn last_of(samples: &Samples, from: Option<Timestamp>) -> Option<Self> {
        let last = samples.values.iter().rposition(|value| !is_stale_marker(*value))?;
        let value = samples.values[last];
        let before = samples.values[..last].iter().rposition(|other| other.to_bits() != value.to_bits());
        let mut first = before.map_or(0, |before| before + 1);
        if let Some(from) = from {
            first = samples.timestamps.partition_point(|at| *at < from).clamp(first, last);
        }
        Some(Self {
            first: samples.timestamps[first],
            last: samples.timestamps[last],
            value,
            ended_at: samples.timestamps.get(last + 1).copied(),
            is_whole: before.is_some(),
        })
    }
}

/// Where the series of one rule's alerts are.
struct History<'a> {
    store: &'a dyn Select,
    rule: &'a RuleSpec,
    query_offset: Duration,
}

impl History<'_> {
    /// The last run of each series of the rule that has these labels too, within a span of slots.
    fn runs(
        &self,
        having: &[(&str, &str)],
        slots: TimeRange,
        from: impl Fn(&Labels) -> Option<Timestamp>,
    ) -> Result<Vec<(Labels, Run)>, StoreError> {
        let having = having.iter().map(|(name, value)| Matcher::equal(*name, *value));
        let matchers: Vec<Matcher> = having.chain(rule_matchers(self.rule)).collect();
        let mut set = self.store.select(&matchers, &ReadOptions::over(self.of_slots(slots)))?;
        let (mut samples, mut runs) = (Samples::default(), Vec::new());
        while let Some(labels) = set.next(&mut samples)? {
            let run = Run::last_of(&samples, from(&labels));
            runs.extend(run.map(|run| (labels, run)));
        }
        Ok(runs)
    }

    /// `ALERTS_FOR_STATE` says whole seconds; the slot that wrote it first says it exactly, unless the time is one that
    /// an earlier restart has moved.
    fn active_at(&self, labels: &Labels, run: Run) -> Result<Timestamp, StoreError> {
        let said = Timestamp::from_seconds(run.value);
        let within_second = TimeRange { start: said, end: said + Duration::from_millis(999) };
        let first = run.first + self.query_offset;
        if within_second.contains(first) {
            return Ok(first);
        }
        let found = if run.is_whole { None } else { self.first_sample(labels, within_second)? };
        Ok(found.unwrap_or(said))
    }

    /// The first slot in a span of them at which this very series has a sample.
    fn first_sample(&self, labels: &Labels, slots: TimeRange) -> Result<Option<Timestamp>, StoreError> {
        let matchers: Vec<Matcher> = labels.iter().map(|(name, value)| Matcher::equal(name, value)).collect();
        let mut set = self.store.select(&matchers, &ReadOptions::over(self.of_slots(slots)))?;
        let mut samples = Samples::default();
        while let Some(found) = set.next(&mut samples)? {
            let first = samples.values.iter().position(|value| !is_stale_marker(*value));
            if let (true, Some(first)) = (found == *labels, first) {
                return Ok(Some(samples.timestamps[first] + self.query_offset));
            }
        }
        Ok(None)
    }

    fn of_slots(&self, slots: TimeRange) -> TimeRange {
        TimeRange { start: slots.start - self.query_offset, end: slots.end - self.query_offset }
    }
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
        // Active since, last seen, firing since, `for`; expected: active since, firing since. Now is minute 100, grace 10.
        let cases = [
            ("pending, long wait", 60, 80, None, 60, 79, None),
            ("pending, less than the grace period left", 30, 85, None, 60, 50, None),
            ("pending, shorter than the grace period", 88, 90, None, 5, 97, None),
            ("pending, no slot missed", 70, 99, None, 60, 70, None),
            ("pending, due while down", 40, 90, None, 30, 40, None),
            ("firing", 20, 90, Some(81), 60, 20, Some(81)),
            ("firing without a wait", 50, 90, Some(50), 0, 50, Some(50)),
        ];
        for (name, active_at, seen_at, fired, wait, expected, fired_at) in cases {
            let past = PastAlert {
                active_at: minutes(active_at),
                seen_at: minutes(seen_at),
                fired_at: fired.map(minutes),
                resolved_at: None,
            };
            let resumed = past.resume(hold(wait), hold(1), hold(10), minutes(100));
            let expected = Restored { active_at: minutes(expected), fired_at: fired_at.map(minutes) };
            assert_eq!(resumed, expected, "{name}");
        }
    }
}
