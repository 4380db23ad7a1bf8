//! The state machine of one alerting rule: inactive, pending, firing, resolved.
//!
//! Pure: what the expression gave and what time it is come in as arguments, alerts and series go
//! out as values. Source of the behaviour: prometheus/rules/alerting.go (3.5). Different on purpose:
//! an alert that is known (from before a restart) to have been firing begins as firing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::restore::Restored;
use super::spec::AlertingSpec;
use super::status::{AlertState, AlertStatus};
use crate::model::{Alert, Labels, LabelsBuilder, METRIC_NAME, Timestamp};

/// The label that holds the alert's name.
pub const ALERT_NAME: &str = "alertname";
/// The label that tells pending from firing in [`ALERTS`].
pub const ALERT_STATE: &str = "alertstate";
/// The series that is 1 for every pending or firing alert.
pub const ALERTS: &str = "ALERTS";
/// The series that holds, in seconds, since when an alert's condition holds.
pub const ALERTS_FOR_STATE: &str = "ALERTS_FOR_STATE";

/// How long a resolved alert is kept and sent again: an Alertmanager that was restarted or not
/// reachable must still learn that the alert is over.
const RESOLVED_RETENTION: Duration = Duration::from_secs(15 * 60);

/// One sample of the rule's expression, with labels and annotations expanded.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// The alert's labels.
    pub labels: Labels,
    /// Its annotations.
    pub annotations: Labels,
    /// The sample's value.
    pub value: f64,
}

/// Why a rule's result was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlertingError {
    /// Two samples became the same alert.
    #[error("vector contains metrics with the same labelset after applying alert labels")]
    SameLabels,
    /// More alerts than the group's `limit`.
    #[error("exceeded limit of {limit} with {count} alerts")]
    Limit {
        /// The limit.
        limit: u64,
        /// How many alerts are active.
        count: usize,
    },
}

/// The alerts of one rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlertSet {
    active: BTreeMap<Labels, ActiveAlert>,
}

/// One alert that is pending or firing, or was resolved a while ago.
#[derive(Clone, Debug, PartialEq)]
struct ActiveAlert {
    state: AlertState,
    annotations: Labels,
    value: f64,
    active_at: Timestamp,
    fired_at: Option<Timestamp>,
    resolved_at: Option<Timestamp>,
    sent_at: Option<Timestamp>,
    keep_firing_since: Option<Timestamp>,
    /// After a restart: until when it fires even if its condition has not been seen again.
    unseen_until: Option<Timestamp>,
}

impl AlertSet {
    /// Takes the result of one evaluation. `restored` tells what is known of an alert from before a
    /// restart; it is asked for alerts that are new. On an error nothing but the limit's clearing
    /// has happened.
    pub fn advance(
        &mut self,
        spec: &AlertingSpec,
        observations: Vec<Observation>,
        at: Timestamp,
        limit: u64,
        restored: &mut dyn FnMut(&Labels) -> Option<Restored>,
    ) -> Result<(), AlertingError> {
        let mut seen: BTreeMap<Labels, Observation> = BTreeMap::new();
        for observation in observations {
            if seen.insert(observation.labels.clone(), observation).is_some() {
                return Err(AlertingError::SameLabels);
            }
        }
        self.active.retain(|labels, alert| match seen.remove(labels) {
            Some(observation) => {
                alert.see(observation, at);
                true
            }
            None => alert.miss(spec.keep_firing_for, at),
        });
        for (labels, observation) in seen {
            let alert = ActiveAlert::new(observation, at, restored(&labels));
            self.active.insert(labels, alert);
        }
        for alert in self.active.values_mut() {
            alert.fire_if_due(spec.hold, at);
        }
        self.check_limit(limit)
    }

    /// Adds an alert that was firing before a restart, as it was when it was seen last. Its condition has until
    /// `unseen_until` to be seen again: what it reads may have to be scraped first.
    pub fn insert_firing(
        &mut self,
        last_seen: Observation,
        restored: Restored,
        keep_firing_since: Option<Timestamp>,
        unseen_until: Timestamp,
    ) {
        let labels = last_seen.labels.clone();
        let alert = ActiveAlert::new(last_seen, restored.active_at, Some(restored));
        // A condition that did not hold before need not be waited for.
        let unseen_until = keep_firing_since.is_none().then_some(unseen_until);
        self.active.entry(labels).or_insert(ActiveAlert { keep_firing_since, unseen_until, ..alert });
    }

    /// Adds an alert that was resolved before a restart and is to be told, again or for the first time.
    pub fn insert_resolved(&mut self, last_seen: Observation, restored: Restored, resolved_at: Timestamp) {
        let labels = last_seen.labels.clone();
        let alert = ActiveAlert::new(last_seen, restored.active_at, Some(restored));
        let (state, resolved_at) = (AlertState::Inactive, Some(resolved_at));
        self.active.entry(labels).or_insert(ActiveAlert { state, resolved_at, ..alert });
    }

    /// Moves all that is remembered: the time of day was wrong by so many milliseconds.
    pub fn shift(&mut self, by_ms: i64) {
        let moved = |at: Timestamp| Timestamp(at.0.saturating_add(by_ms));
        for alert in self.active.values_mut() {
            alert.active_at = moved(alert.active_at);
            let ActiveAlert { fired_at, resolved_at, sent_at, keep_firing_since, unseen_until, .. } = alert;
            for at in [fired_at, resolved_at, sent_at, keep_firing_since, unseen_until] {
                *at = at.map(moved);
            }
        }
    }

    /// The samples of `ALERTS` and `ALERTS_FOR_STATE`.
    pub fn series(&self) -> Vec<(Labels, f64)> {
        let mut series = Vec::with_capacity(2 * self.active.len());
        for (labels, alert) in self.active.iter().filter(|(_, alert)| alert.state != AlertState::Inactive) {
            series.push((alerts_series(labels, alert.state), 1.0));
            let active_at_seconds = alert.active_at.0.div_euclid(1000) as f64;
            series.push((for_state_series(labels), active_at_seconds));
        }
        series
    }

    /// The series of one alert that is firing or pending.
    pub fn series_of(alert: &Labels, is_firing: bool) -> [Labels; 2] {
        let state = if is_firing { AlertState::Firing } else { AlertState::Pending };
        [alerts_series(alert, state), for_state_series(alert)]
    }

    /// The alerts that are to be sent now, which counts as sending them: those that fire or were
    /// resolved, at most every `resend_delay`, and a resolution at once. `generator_url` is their link.
    pub fn due(
        &mut self,
        at: Timestamp,
        resend_delay: Duration,
        interval: Duration,
        generator_url: &str,
    ) -> Vec<Alert> {
        // Room for a few failures of evaluation or delivery before the receiver gives the alert up.
        let valid_until = at + 4 * interval.max(resend_delay);
        let due = self.active.iter_mut().filter(|(_, alert)| alert.is_due(at, resend_delay));
        due.map(|(labels, alert)| {
            alert.sent_at = Some(at);
            Alert {
                labels: labels.clone(),
                annotations: alert.annotations.clone(),
                starts_at: alert.fired_at.unwrap_or(alert.active_at),
                ends_at: alert.resolved_at.unwrap_or(valid_until),
                resolved: alert.resolved_at.is_some(),
                generator_url: generator_url.to_owned(),
            }
        })
        .collect()
    }

    /// The pending and firing alerts.
    pub fn statuses(&self) -> Vec<AlertStatus> {
        self.active
            .iter()
            .filter(|(_, alert)| alert.state != AlertState::Inactive)
            .map(|(labels, alert)| AlertStatus {
                labels: labels.clone(),
                annotations: alert.annotations.clone(),
                state: alert.state,
                active_at: alert.active_at,
                keep_firing_since: alert.keep_firing_since,
                value: alert.value,
            })
            .collect()
    }

    /// A rule that runs wild is silenced whole rather than told in part.
    fn check_limit(&mut self, limit: u64) -> Result<(), AlertingError> {
        let count = self.active.values().filter(|alert| alert.state != AlertState::Inactive).count();
        if limit == 0 || count as u64 <= limit {
            return Ok(());
        }
        self.active.clear();
        Err(AlertingError::Limit { limit, count })
    }
}

impl ActiveAlert {
    fn new(observation: Observation, at: Timestamp, restored: Option<Restored>) -> Self {
        let fired_at = restored.and_then(|restored| restored.fired_at);
        Self {
            state: if fired_at.is_some() { AlertState::Firing } else { AlertState::Pending },
            annotations: observation.annotations,
            value: observation.value,
            active_at: restored.map_or(at, |restored| restored.active_at),
            fired_at,
            resolved_at: None,
            sent_at: None,
            keep_firing_since: None,
            unseen_until: None,
        }
    }

    /// The condition holds.
    fn see(&mut self, observation: Observation, at: Timestamp) {
        if self.state == AlertState::Inactive {
            *self = Self::new(observation, at, None);
            return;
        }
        self.value = observation.value;
        self.annotations = observation.annotations;
        self.keep_firing_since = None;
        self.unseen_until = None;
    }

    /// The condition does not hold. False where the alert is to be forgotten.
    fn miss(&mut self, keep_firing_for: Duration, at: Timestamp) -> bool {
        match self.state {
            AlertState::Pending => false,
            AlertState::Firing => {
                let is_unseen = self.unseen_until.is_some_and(|until| at < until);
                let is_kept =
                    !keep_firing_for.is_zero() && at < *self.keep_firing_since.get_or_insert(at) + keep_firing_for;
                if is_unseen || is_kept {
                    return true;
                }
                self.state = AlertState::Inactive;
                self.resolved_at = Some(at);
                true
            }
            AlertState::Inactive => {
                let is_told = self.sent_at.is_some();
                !is_told || self.resolved_at.is_some_and(|since| at <= since + RESOLVED_RETENTION)
            }
        }
    }

    fn fire_if_due(&mut self, hold: Duration, at: Timestamp) {
        if self.state == AlertState::Pending && at >= self.active_at + hold {
            self.state = AlertState::Firing;
            self.fired_at = Some(at);
        }
    }

    fn is_due(&self, at: Timestamp, resend_delay: Duration) -> bool {
        match (self.state, self.sent_at) {
            (AlertState::Pending, _) => false,
            (_, None) => true,
            (_, Some(sent)) => self.resolved_at.is_some_and(|resolved| resolved > sent) || at > sent + resend_delay,
        }
    }
}

fn alerts_series(labels: &Labels, state: AlertState) -> Labels {
    let mut series = labels.to_builder();
    series.set(METRIC_NAME, ALERTS).set(ALERT_STATE, state.as_str());
    series.build()
}

fn for_state_series(labels: &Labels) -> Labels {
    let mut series: LabelsBuilder = labels.to_builder();
    series.set(METRIC_NAME, ALERTS_FOR_STATE);
    series.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::spec::LabelTexts;

    const MINUTE: Duration = Duration::from_secs(60);

    fn spec(hold_minutes: u32, keep_minutes: u32) -> AlertingSpec {
        AlertingSpec {
            hold: hold_minutes * MINUTE,
            keep_firing_for: keep_minutes * MINUTE,
            annotations: LabelTexts::default(),
        }
    }

    fn labels(name: &str) -> Labels {
        Labels::from_pairs([(ALERT_NAME, "A"), ("i", name)])
    }

    fn observed(names: &str) -> Vec<Observation> {
        let observe = |name: &str| Observation { labels: labels(name), annotations: Labels::empty(), value: 1.0 };
        names.split_whitespace().map(observe).collect()
    }

    fn minute(minute: i64) -> Timestamp {
        Timestamp(minute * 60_000)
    }

    /// Evaluates once a minute on `seen` (names of alerts); shows states, and what is sent.
    fn story(spec: &AlertingSpec, seen: &[&str]) -> Vec<String> {
        let mut alerts = AlertSet::default();
        let tell = |(index, names): (usize, &&str)| {
            let at = minute(index as i64);
            alerts.advance(spec, observed(names), at, 0, &mut |_| None).expect("no limit");
            let states = alerts.statuses();
            let states = states.iter().map(|a| format!("{}:{}", a.labels.get("i").unwrap_or(""), a.state.as_str()));
            let mut told: Vec<String> = states.collect();
            let sent = alerts.due(at, MINUTE, MINUTE, "");
            told.extend(sent.iter().map(|a| {
                let minutes = |at: Timestamp| at.0 / 60_000;
                let sign = if a.resolved { "resolved" } else { "until" };
                format!(
                    "sent {} from {} {sign} {}",
                    a.labels.get("i").unwrap_or(""),
                    minutes(a.starts_at),
                    minutes(a.ends_at)
                )
            }));
            told.join(", ")
        };
        seen.iter().enumerate().map(tell).collect()
    }

    #[test]
    fn waits_fires_and_resolves() {
        let told = story(&spec(2, 0), &["x", "x", "x", "x", "x", "", "", "x"]);
        let expected = [
            "x:pending",
            "x:pending",
            "x:firing, sent x from 2 until 6",
            "x:firing",
            "x:firing, sent x from 2 until 8",
            "sent x from 2 resolved 5",
            "",
            "x:pending",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn pending_that_ends_is_forgotten() {
        assert_eq!(story(&spec(2, 0), &["x", "x", "", "x"]), ["x:pending", "x:pending", "", "x:pending"]);
    }

    #[test]
    fn keeps_firing_for_a_while() {
        let told = story(&spec(0, 2), &["x", "", "x", "", "", ""]);
        let expected = [
            "x:firing, sent x from 0 until 4",
            "x:firing",
            "x:firing, sent x from 0 until 6",
            "x:firing",
            "x:firing, sent x from 0 until 8",
            "sent x from 0 resolved 5",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn resolved_is_told_for_a_quarter_of_an_hour() {
        let mut seen = vec!["x"];
        seen.extend([""; 20]);
        let told = story(&spec(0, 0), &seen);
        let resolved_minutes: Vec<usize> =
            (0..told.len()).filter(|minute| told[*minute] == "sent x from 0 resolved 1").collect();
        assert_eq!(resolved_minutes, [1, 3, 5, 7, 9, 11, 13, 15]);
    }

    #[test]
    fn refuses_what_is_twice_or_too_much() {
        let mut alerts = AlertSet::default();
        let twice = alerts.advance(&spec(0, 0), observed("x x"), minute(0), 0, &mut |_| None);
        assert_eq!(twice, Err(AlertingError::SameLabels));
        alerts.advance(&spec(0, 0), observed("x"), minute(0), 1, &mut |_| None).expect("within the limit");
        let too_many = alerts.advance(&spec(0, 0), observed("x y"), minute(1), 1, &mut |_| None);
        assert_eq!(too_many, Err(AlertingError::Limit { limit: 1, count: 2 }));
        assert!(alerts.statuses().is_empty());
    }

    #[test]
    fn a_known_alert_goes_on() {
        let mut alerts = AlertSet::default();
        let known = |labels: &Labels| {
            let fired_at = (labels.get("i") == Some("x")).then_some(minute(5));
            Some(Restored { active_at: minute(1), fired_at })
        };
        alerts.advance(&spec(60, 0), observed("x y"), minute(30), 0, &mut { known }).expect("no limit");
        let states: Vec<(AlertState, Timestamp)> = alerts.statuses().iter().map(|a| (a.state, a.active_at)).collect();
        assert_eq!(states, [(AlertState::Firing, minute(1)), (AlertState::Pending, minute(1))]);
        let series: Vec<String> = alerts.series().iter().map(|(labels, value)| format!("{labels} {value}")).collect();
        let expected = [
            r#"{__name__="ALERTS", alertname="A", alertstate="firing", i="x"} 1"#,
            r#"{__name__="ALERTS_FOR_STATE", alertname="A", i="x"} 60"#,
            r#"{__name__="ALERTS", alertname="A", alertstate="pending", i="y"} 1"#,
            r#"{__name__="ALERTS_FOR_STATE", alertname="A", i="y"} 60"#,
        ];
        assert_eq!(series, expected);
    }
}
