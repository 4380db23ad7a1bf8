//! After a restart: which alerts were this rule's, and how they go on.
//!
//! `ALERTS` does not say which of several rules of one name gave an alert. So the rule is evaluated once more as of the
//! last slot before the restart: what it gives there are its alerts, with the values and annotations that they had. An
//! alert that only `keep_firing_for` held is looked for in earlier slots, which also tells since when its condition is
//! gone. What is not found so (the rule has been changed meanwhile) is taken over when the rule gives it again.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::Environment;
use crate::model::{Labels, TimeRange, Timestamp};
use crate::promql::QueryValue;
use crate::rules::alerting::{AlertSet, Observation};
use crate::rules::expand::Expander;
use crate::rules::restore::{PastAlert, Restored, read_past_alerts};
use crate::rules::spec::{AlertingSpec, GroupSpec, RuleSpec};
use crate::store::StoreError;

/// How long after a start the alerts from before may stay unseen at most: what their conditions read may have to be
/// scraped twice first.
const UNSEEN_MAX: Duration = Duration::from_secs(120);
/// At how many times before the restart a rule is evaluated again, the newest first.
const REPLAYS_MAX: usize = 16;
/// How often a rule is evaluated again in all: looking for alerts that another rule of its name gave finds nothing.
const EVALUATIONS_MAX: usize = 300;
/// In how many steps the time of `keep_firing_for` is looked through.
const KEEP_STEPS: u32 = 240;

/// What is known of a rule's alerts from before a restart.
#[derive(Debug, Default)]
pub enum Past {
    /// To be read from the store.
    Unread,
    /// Alerts to be recognised until a time. Whatever appears later has had a time in which its condition did not hold.
    Known(HashMap<Labels, PastAlert>, Timestamp),
    /// Used up, or of no concern.
    #[default]
    Done,
}

impl Past {
    /// How an alert goes on that is new at `at`, if it was there before.
    pub fn resume(
        &mut self,
        labels: &Labels,
        hold: Duration,
        interval: Duration,
        grace_period: Duration,
        at: Timestamp,
    ) -> Option<Restored> {
        match self {
            Self::Known(past, _) => Some(past.remove(labels)?.resume(hold, interval, grace_period, at)),
            Self::Unread | Self::Done => None,
        }
    }

    /// An evaluation has passed.
    pub fn use_up(&mut self, at: Timestamp) {
        if matches!(self, Self::Known(_, until) if at >= *until) {
            *self = Self::Done;
        }
    }
}

/// A rule at its first evaluation after a restart.
pub struct Recall<'a> {
    /// The rule's group.
    pub group: &'a GroupSpec,
    /// The rule.
    pub spec: &'a RuleSpec,
    /// What only alerting rules have.
    pub alerting: &'a AlertingSpec,
    /// What it works with.
    pub environment: &'a Environment<'a>,
    /// The slot.
    pub at: Timestamp,
}

/// An alert that this rule gave before the restart.
struct Own {
    last_seen: Observation,
    /// Since when only `keep_firing_for` held it.
    keep_firing_since: Option<Timestamp>,
}

impl Recall<'_> {
    /// Puts what was firing or resolved into `alerts`; gives what is still to be recognised, and the series that the
    /// rule gave at last.
    pub fn run(&self, alerts: &mut AlertSet) -> Result<(Past, Vec<Labels>), StoreError> {
        let settings = self.environment.settings;
        let range = TimeRange { start: self.at - settings.outage_tolerance, end: self.at };
        let (hold, offset) = (self.alerting.hold, self.group.query_offset);
        let mut past = read_past_alerts(self.environment.select, self.spec, hold, offset, range)?;
        let live = past.values().filter(|alert| alert.resolved_at.is_none());
        let outage_ms = live.map(|alert| self.at.since(alert.seen_at)).min().unwrap_or(0);
        let outage = Duration::from_millis(u64::try_from(outage_ms).unwrap_or(0));
        let until = self.at + outage.min(UNSEEN_MAX).max(self.group.interval);
        let mut series = Vec::new();
        for (labels, Own { last_seen, keep_firing_since }) in self.own_of(&past) {
            let alert = past[&labels];
            if alert.resolved_at.is_none() {
                series.extend(AlertSet::series_of(&labels, alert.fired_at.is_some()));
            }
            if alert.fired_at.is_none() {
                continue;
            }
            past.remove(&labels);
            let restored = alert.resume(hold, self.group.interval, settings.grace_period, self.at);
            match alert.resolved_at {
                None => alerts.insert_firing(last_seen, restored, keep_firing_since, until),
                Some(resolved_at) => alerts.insert_resolved(last_seen, restored, resolved_at),
            }
        }
        past.retain(|_, alert| alert.resolved_at.is_none());
        Ok((Past::Known(past, until), series))
    }

    /// Those of the alerts that this rule gave.
    fn own_of(&self, past: &HashMap<Labels, PastAlert>) -> HashMap<Labels, Own> {
        let mut by_slot: BTreeMap<Timestamp, HashMap<&Labels, bool>> = BTreeMap::new();
        for (labels, alert) in past {
            by_slot.entry(alert.seen_at).or_default().insert(labels, alert.fired_at.is_some());
        }
        let mut own = HashMap::new();
        let mut evaluations = 0..EVALUATIONS_MAX;
        for (seen_at, mut wanted) in by_slot.into_iter().rev().take(REPLAYS_MAX) {
            for ((slot, next), _) in self.replayed(seen_at).zip(evaluations.by_ref()) {
                for last_seen in self.observations(slot) {
                    if wanted.remove(&last_seen.labels).is_some() {
                        let is_kept = slot < seen_at && !self.alerting.keep_firing_for.is_zero();
                        let keep_firing_since = is_kept.then_some(next);
                        own.insert(last_seen.labels.clone(), Own { last_seen, keep_firing_since });
                    }
                }
                // Only what was firing can have been there without its condition.
                wanted.retain(|_, is_firing| *is_firing);
                if wanted.is_empty() || (self.environment.is_stopping)() {
                    break;
                }
            }
        }
        own
    }

    /// The slots to look at, and the one behind each. The one before the last is among them: a sample that was stored
    /// late may have changed what the last one gives.
    fn replayed(&self, seen_at: Timestamp) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        let keep = self.alerting.keep_firing_for;
        let step = self.group.interval.max(keep / KEEP_STEPS);
        let steps = u32::try_from(keep.as_nanos() / step.as_nanos().max(1)).unwrap_or(KEEP_STEPS).saturating_add(1);
        let slot = move |steps: u32| seen_at - step * steps;
        (0..=steps).map(move |back| (slot(back), slot(back.saturating_sub(1))))
    }

    /// What the rule gives as of a slot; nothing where that cannot be told.
    fn observations(&self, slot: Timestamp) -> Vec<Observation> {
        let Environment { query, settings, .. } = self.environment;
        match query.query(&self.spec.expr, slot - self.group.query_offset).map(|result| result.value) {
            Ok(QueryValue::Vector(vector)) if !vector.is_empty() => {
                let expander = Expander::new(self.spec, self.alerting, slot, settings, *query);
                vector.iter().map(|sample| expander.observe(sample)).collect()
            }
            _ => Vec::new(),
        }
    }
}
