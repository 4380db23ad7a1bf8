//! Own metrics of rule evaluation, one series per group; they mean what Prometheus's
//! `prometheus_rule_*` mean.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::model::MetricType;
use crate::telemetry::{Counter, Emit, Gauge, Registry};

/// Figures of one group.
#[derive(Debug, Default)]
pub struct GroupMetrics {
    /// Rules evaluated.
    pub evaluations: Counter,
    /// Rules that failed.
    pub failures: Counter,
    /// Slots that came, whether used or missed.
    pub iterations: Counter,
    /// Slots missed because the evaluation before took too long.
    pub missed: Counter,
    /// Seconds between two slots.
    pub interval: Gauge,
    /// When the last evaluation began, in seconds.
    pub last_evaluation: Gauge,
    /// How long it took, in seconds.
    pub last_duration: Gauge,
    /// How long its rules took together, in seconds.
    pub last_rule_duration_sum: Gauge,
    /// How many rules there are.
    pub rules: Gauge,
    /// Samples that the last evaluation gave.
    pub last_samples: Gauge,
}

/// Figures of all groups. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct RuleMetrics(Arc<Mutex<BTreeMap<String, Arc<GroupMetrics>>>>);

type Figure = fn(&GroupMetrics) -> f64;

/// Name, help, type and figure of every family.
const FAMILIES: [(&str, &str, MetricType, Figure); 10] = [
    ("outpost_rule_evaluations_total", "Rule evaluations.", MetricType::Counter, |group| {
        group.evaluations.value() as f64
    }),
    ("outpost_rule_evaluation_failures_total", "Rule evaluations that failed.", MetricType::Counter, |group| {
        group.failures.value() as f64
    }),
    (
        "outpost_rule_group_iterations_total",
        "Scheduled evaluations of the group, whether executed or missed.",
        MetricType::Counter,
        |group| group.iterations.value() as f64,
    ),
    (
        "outpost_rule_group_iterations_missed_total",
        "Evaluations of the group missed because the one before was too slow.",
        MetricType::Counter,
        |group| group.missed.value() as f64,
    ),
    ("outpost_rule_group_interval_seconds", "The group's interval.", MetricType::Gauge, |group| group.interval.value()),
    (
        "outpost_rule_group_last_evaluation_timestamp_seconds",
        "When the group's last evaluation began.",
        MetricType::Gauge,
        |group| group.last_evaluation.value(),
    ),
    (
        "outpost_rule_group_last_duration_seconds",
        "How long the group's last evaluation took.",
        MetricType::Gauge,
        |group| group.last_duration.value(),
    ),
    (
        "outpost_rule_group_last_rule_duration_sum_seconds",
        "How long the rules of the group's last evaluation took together.",
        MetricType::Gauge,
        |group| group.last_rule_duration_sum.value(),
    ),
    ("outpost_rule_group_rules", "Rules in the group.", MetricType::Gauge, |group| group.rules.value()),
    (
        "outpost_rule_group_last_evaluation_samples",
        "Samples that the group's last evaluation gave.",
        MetricType::Gauge,
        |group| group.last_samples.value(),
    ),
];

impl RuleMetrics {
    /// Metrics on the own page.
    pub fn new(registry: &Registry) -> Self {
        let metrics = Self::default();
        for (name, help, metric_type, figure) in FAMILIES {
            let shown = metrics.clone();
            registry.family(name, help, metric_type, move |emit| shown.emit(figure, emit));
        }
        metrics
    }

    /// The figures of a group, made if they are new.
    pub fn group(&self, key: &str) -> Arc<GroupMetrics> {
        let mut groups = self.0.lock().expect("no holder of the lock panics");
        Arc::clone(groups.entry(key.to_owned()).or_default())
    }

    /// Takes a group that is gone from the page.
    pub fn remove(&self, key: &str) {
        self.0.lock().expect("no holder of the lock panics").remove(key);
    }

    fn emit(&self, figure: Figure, emit: &mut Emit<'_>) {
        for (key, group) in self.0.lock().expect("no holder of the lock panics").iter() {
            emit(&[("rule_group", key)], figure(group));
        }
    }
}
