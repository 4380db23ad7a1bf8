//! One rule group: its rules' state, and one evaluation of all of them in order.
//!
//! An evaluation runs on a blocking thread. Each rule sees what the rules before it have just stored.
//! A rule that fails keeps its state and its error; the other rules go on.
//! Source of the behaviour: prometheus/rules/group.go (3.5).

use std::cell::LazyCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::alerting::{AlertSet, AlertingError};
use super::expand::Expander;
use super::link::generator_url;
use super::metrics::GroupMetrics;
use super::recording::{RecordingError, record};
use super::settings::RuleSettings;
use super::spec::{AlertingSpec, GroupSpec, RuleKind, RuleSpec};
use super::status::{AlertingStatus, GroupStatus, RuleHealth, RuleStatus};
use super::writer::{RuleSeries, end_labels, write_rule};
use super::{AlertSink, Query};
use crate::clock::Clock;
use crate::model::{Alert, Labels, Timestamp};
use crate::promql::{QueryError, QueryValue, Value, VectorSample};
use crate::store::{Append, GroupId, Select};

mod recall;

use recall::{Past, Recall};

/// What an evaluation works with.
pub struct Environment<'a> {
    /// Where results go.
    pub append: &'a dyn Append,
    /// Where the alerts from before a restart are found.
    pub select: &'a dyn Select,
    /// What evaluates expressions.
    pub query: &'a dyn Query,
    /// What delivers alerts.
    pub sink: &'a dyn AlertSink,
    /// The time of day, for what is shown.
    pub clock: &'a Clock,
    /// [`Clock::corrected_ms`] before the slot was chosen: if it has changed, the slot is of a time that never was.
    pub corrected_ms: i64,
    /// The settings in force.
    pub settings: &'a RuleSettings,
    /// Asked before each rule: whether the group is to stop.
    pub is_stopping: &'a dyn Fn() -> bool,
}

impl Environment<'_> {
    /// Whether the slot's time has turned out to be wrong.
    fn is_outdated(&self) -> bool {
        self.clock.corrected_ms() != self.corrected_ms
    }
}

/// A group with its state.
#[derive(Debug)]
pub struct Group {
    spec: Arc<GroupSpec>,
    rules: Vec<Rule>,
    /// Series of rules that are gone, to be ended at the next evaluation.
    orphans: Vec<Labels>,
    store_group: Option<GroupId>,
    metrics: Arc<GroupMetrics>,
    evaluation_time: Duration,
    last_evaluation: Option<Timestamp>,
    /// The clock's corrections that the alerts have been moved by; `None` before the first evaluation.
    corrected_ms: Option<i64>,
}

#[derive(Debug, Default)]
struct Rule {
    series: RuleSeries,
    alerts: AlertSet,
    past: Past,
    health: RuleHealth,
    last_error: String,
    evaluation_time: Duration,
    last_evaluation: Option<Timestamp>,
}

/// What an evaluation of a rule yields.
struct Yield {
    samples: Vec<(Labels, Value)>,
    due: Vec<Alert>,
}

/// Why a rule failed.
#[derive(Debug, thiserror::Error)]
enum RuleError {
    #[error(transparent)]
    Query(#[from] QueryError),
    /// Stored samples have moved away from the slot: what was found says nothing.
    #[error("the clock was corrected")]
    Outdated,
    #[error("rule result is not a vector or scalar")]
    ResultType,
    #[error(transparent)]
    Recording(#[from] RecordingError),
    #[error(transparent)]
    Alerting(#[from] AlertingError),
}

impl Group {
    /// A group that has not been evaluated. `restores` tells whether outpost has just started, so
    /// that alerts from before are to be taken over.
    pub fn new(spec: Arc<GroupSpec>, metrics: Arc<GroupMetrics>, restores: bool) -> Self {
        let past = || if restores { Past::Unread } else { Past::Done };
        let rules = spec.rules.iter().map(|_| Rule { past: past(), ..Rule::default() }).collect();
        metrics.interval.set(spec.interval.as_secs_f64());
        metrics.rules.set(spec.rules.len() as f64);
        Self {
            rules,
            orphans: Vec::new(),
            store_group: None,
            metrics,
            evaluation_time: Duration::ZERO,
            last_evaluation: None,
            corrected_ms: None,
            spec,
        }
    }

    /// What the group consists of.
    pub fn spec(&self) -> &Arc<GroupSpec> {
        &self.spec
    }

    /// Its figures.
    pub fn metrics(&self) -> &GroupMetrics {
        &self.metrics
    }

    /// Takes over the state of the group that this one replaces. Rules are recognised by kind, name
    /// and labels; the first of several alike continues the first, and so on. Series of rules that
    /// are gone end with the next evaluation.
    pub fn inherit(&mut self, from: Self) {
        self.evaluation_time = from.evaluation_time;
        self.last_evaluation = from.last_evaluation;
        self.corrected_ms = from.corrected_ms;
        self.orphans = from.orphans;
        let mut left: Vec<(&RuleSpec, Option<Rule>)> =
            from.spec.rules.iter().zip(from.rules.into_iter().map(Some)).collect();
        for (spec, rule) in self.spec.rules.iter().zip(&mut self.rules) {
            let continued = left.iter_mut().find(|(old, state)| state.is_some() && old.is_continued_by(spec));
            if let Some(state) = continued.and_then(|(_, state)| state.take()) {
                *rule = state;
            }
        }
        let gone = left.into_iter().filter_map(|(_, state)| state);
        self.orphans.extend(gone.flat_map(|rule| rule.series.into_labels()));
    }

    /// All series that the group has given and not yet ended.
    pub fn into_series(self) -> impl Iterator<Item = Labels> {
        self.rules.into_iter().flat_map(|rule| rule.series.into_labels()).chain(self.orphans)
    }

    /// Evaluates all rules as of the slot `at`.
    pub fn evaluate(&mut self, environment: &Environment<'_>, at: Timestamp) {
        let (began, clock_began) = (Instant::now(), environment.clock.now());
        self.metrics.iterations.inc();
        self.follow_corrections(environment.corrected_ms);
        let mut samples = 0;
        for index in 0..self.rules.len() {
            if (environment.is_stopping)() || environment.is_outdated() {
                return;
            }
            samples += self.evaluate_rule(index, environment, at);
        }
        self.end_orphans(environment.append, at);
        self.evaluation_time = began.elapsed();
        self.last_evaluation = Some(clock_began);
        self.metrics.last_samples.set(samples as f64);
        self.metrics.last_duration.set(self.evaluation_time.as_secs_f64());
        self.metrics.last_evaluation.set(clock_began.seconds());
        let rule_time: Duration = self.rules.iter().map(|rule| rule.evaluation_time).sum();
        self.metrics.last_rule_duration_sum.set(rule_time.as_secs_f64());
    }

    /// What a `for` has waited so far does not grow by what the clock was wrong.
    fn follow_corrections(&mut self, now: i64) {
        let by_ms = now - self.corrected_ms.replace(now).unwrap_or(now);
        if by_ms != 0 {
            self.rules.iter_mut().for_each(|rule| rule.alerts.shift(by_ms));
        }
    }

    /// The state to show.
    pub fn status(&self) -> GroupStatus {
        GroupStatus {
            name: self.spec.name.clone(),
            file: self.spec.file.clone(),
            rules: self.spec.rules.iter().zip(&self.rules).map(|(spec, rule)| rule.status(spec)).collect(),
            interval: self.spec.interval,
            limit: self.spec.limit,
            evaluation_time: self.evaluation_time,
            last_evaluation: self.last_evaluation,
        }
    }

    /// Evaluates one rule and gives how many samples it yielded.
    fn evaluate_rule(&mut self, index: usize, environment: &Environment<'_>, at: Timestamp) -> usize {
        let (began, clock_began) = (Instant::now(), environment.clock.now());
        self.metrics.evaluations.inc();
        let spec = Arc::clone(&self.spec);
        let outcome = self.yield_of(&spec.rules[index], index, environment, at);
        let (count, error) = match outcome {
            Ok(Yield { samples, due }) => {
                let (count, at) = (samples.len(), at - self.spec.query_offset);
                let error = self.write(index, environment.append, at, samples);
                // What is told is known after a crash.
                if !due.is_empty() {
                    environment.sink.send(due);
                }
                (count, error)
            }
            Err(RuleError::Outdated) => return 0,
            Err(error) => (0, Some(error.to_string())),
        };
        let rule = &mut self.rules[index];
        rule.evaluation_time = began.elapsed();
        rule.last_evaluation = Some(clock_began);
        if let Some(error) = &error {
            self.metrics.failures.inc();
            // A rule that keeps failing for one reason says so once.
            if rule.last_error != *error {
                tracing::warn!(
                    file = spec.file,
                    group = spec.name,
                    rule = spec.rules[index].name,
                    error,
                    "rule failed"
                );
            }
        }
        rule.health = if error.is_some() { RuleHealth::Err } else { RuleHealth::Ok };
        rule.last_error = error.unwrap_or_default();
        count
    }

    fn yield_of(
        &mut self,
        spec: &RuleSpec,
        index: usize,
        environment: &Environment<'_>,
        at: Timestamp,
    ) -> Result<Yield, RuleError> {
        let result = environment.query.query(&spec.expr, at - self.spec.query_offset)?;
        if environment.is_outdated() {
            return Err(RuleError::Outdated);
        }
        let vector = match result.value {
            QueryValue::Vector(vector) => vector,
            QueryValue::Scalar(timestamp, value) => {
                vec![VectorSample { labels: Labels::empty(), timestamp, value: Value::Float(value) }]
            }
            QueryValue::String(..) | QueryValue::Matrix(_) => return Err(RuleError::ResultType),
        };
        match &spec.kind {
            RuleKind::Recording => Ok(Yield { samples: record(spec, vector, self.spec.limit)?, due: Vec::new() }),
            RuleKind::Alerting(alerting) => self.alert(spec, alerting, index, vector, environment, at),
        }
    }

    fn alert(
        &mut self,
        spec: &RuleSpec,
        alerting: &AlertingSpec,
        index: usize,
        vector: Vec<VectorSample>,
        environment: &Environment<'_>,
        at: Timestamp,
    ) -> Result<Yield, RuleError> {
        let settings = environment.settings;
        // Most rules give nothing most of the time: their templates need not be parsed.
        let expander = LazyCell::new(|| Expander::new(spec, alerting, at, settings, environment.query));
        let observations = vector.iter().map(|sample| expander.observe(sample)).collect();
        if matches!(self.rules[index].past, Past::Unread) {
            self.recall(spec, alerting, index, environment, at);
        }
        let Rule { alerts, past, .. } = &mut self.rules[index];
        alerts.advance(alerting, observations, at, self.spec.limit, &mut |labels| {
            past.resume(labels, alerting.hold, self.spec.interval, settings.grace_period, at)
        })?;
        past.use_up(at);
        let link = generator_url(&settings.external_url, &spec.query);
        let due = alerts.due(at, settings.resend_delay, self.spec.interval, &link);
        let samples = alerts.series().into_iter().map(|(labels, value)| (labels, Value::Float(value))).collect();
        Ok(Yield { samples, due })
    }

    /// Takes over what is known from before a restart, once. A store that fails is asked again at the next evaluation.
    fn recall(
        &mut self,
        spec: &RuleSpec,
        alerting: &AlertingSpec,
        index: usize,
        environment: &Environment<'_>,
        at: Timestamp,
    ) {
        let group = Arc::clone(&self.spec);
        let recall = Recall { group: &group, spec, alerting, environment, at };
        let recalled = recall.run(&mut self.rules[index].alerts);
        let recalled = recalled.and_then(|(past, series)| Ok((past, series, self.store_group(environment.append)?)));
        match recalled {
            Ok((past, series, store_group)) => {
                self.rules[index].past = past;
                self.rules[index].series.resume(environment.append, store_group, series);
            }
            Err(error) => {
                tracing::warn!(alert = spec.name, %error, "the alerts from before the start cannot be read");
            }
        }
    }

    /// Stores a rule's samples; gives what went wrong.
    fn write(
        &mut self,
        index: usize,
        store: &dyn Append,
        at: Timestamp,
        samples: Vec<(Labels, Value)>,
    ) -> Option<String> {
        let group = match self.store_group(store) {
            Ok(group) => group,
            Err(error) => return Some(error.to_string()),
        };
        let failures = write_rule(store, group, &mut self.rules[index].series, at, samples);
        (!failures.is_empty()).then(|| failures.to_string())
    }

    fn end_orphans(&mut self, store: &dyn Append, at: Timestamp) {
        if self.orphans.is_empty() {
            return;
        }
        if let Ok(group) = self.store_group(store) {
            end_labels(store, group, at - self.spec.query_offset, self.orphans.drain(..));
        }
    }

    fn store_group(&mut self, store: &dyn Append) -> Result<GroupId, crate::store::StoreError> {
        match self.store_group {
            Some(group) => Ok(group),
            None => Ok(*self.store_group.insert(store.group(&store_key(&self.spec))?)),
        }
    }
}

impl Rule {
    fn status(&self, spec: &RuleSpec) -> RuleStatus {
        RuleStatus {
            name: spec.name.clone(),
            query: spec.query.clone(),
            labels: spec.labels.to_labels(),
            health: self.health,
            last_error: self.last_error.clone(),
            evaluation_time: self.evaluation_time,
            last_evaluation: self.last_evaluation,
            alerting: spec.alerting().map(|alerting| AlertingStatus {
                hold_duration: alerting.hold,
                keep_firing_for: alerting.keep_firing_for,
                annotations: alerting.annotations.to_labels(),
                alerts: self.alerts.statuses(),
            }),
        }
    }
}

/// The name of a rule group's series in the store, stable over restarts.
pub fn store_key(spec: &GroupSpec) -> String {
    format!("rules;{}", spec.key())
}

#[cfg(test)]
mod tests;
