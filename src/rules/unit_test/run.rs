//! One test: simulated time, input series step by step, all groups at each step, then the comparisons.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::compare::{ComparedAlert, ComparedSample, show_alerts, show_difference, show_samples};
use super::document::{AlertTest, ExpectedSample, ExprTest, TestGroup};
use super::input::Input;
use super::{EngineQuery, UnitTestOptions};
use crate::clock::Clock;
use crate::model::{Alert, Labels, LabelsBuilder, Timestamp, format_duration};
use crate::promql::series_notation::parse_histogram;
use crate::promql::{self, QueryValue, Value, VectorSample, parse_series_description};
use crate::rules::alerting::ALERT_NAME;
use crate::rules::group::{Environment, Group};
use crate::rules::metrics::GroupMetrics;
use crate::rules::settings::RuleSettings;
use crate::rules::spec::GroupSpec;
use crate::rules::status::{AlertState, GroupStatus};
use crate::rules::{AlertSink, Query, load_groups};
use crate::store::MemoryStore;

/// What the tests of a file have in common.
pub struct FileContext<'a> {
    /// The files that `rule_files` names.
    pub rule_files: &'a [PathBuf],
    /// The distance of evaluations.
    pub evaluation_interval: Duration,
    /// Groups in the order in which they are to be evaluated.
    pub group_order: &'a HashMap<String, usize>,
    /// Whether neighbouring floats are equal.
    pub is_fuzzy: bool,
    /// How the command was called.
    pub options: &'a UnitTestOptions,
}

/// Runs a test; the failures, if any, as they are to be shown.
pub fn run_test(test: &TestGroup, context: &FileContext<'_>) -> Vec<String> {
    match Simulation::new(test, context) {
        Ok(mut simulation) => simulation.run(),
        Err(errors) => errors,
    }
}

struct Simulation<'a> {
    test: &'a TestGroup,
    context: &'a FileContext<'a>,
    settings: RuleSettings,
    store: Arc<MemoryStore>,
    query: EngineQuery,
    input: Input,
    groups: Vec<Group>,
}

/// Unit tests look at alerts, they do not deliver them.
struct NoDelivery;

impl AlertSink for NoDelivery {
    fn send(&self, _alerts: Vec<Alert>) {}
}

impl<'a> Simulation<'a> {
    fn new(test: &'a TestGroup, context: &'a FileContext<'a>) -> Result<Self, Vec<String>> {
        let input = Input::parse(&test.input_series, test.start, test.interval);
        let input = input.map_err(|error| vec![format!("    {error}")])?;
        if let Some(nameless) = test.alert_tests.iter().find(|alert_test| alert_test.alert_name.is_empty()) {
            return Err(vec![missing_alert_name(test, nameless)]);
        }
        let settings = RuleSettings {
            rule_files: context.rule_files.to_vec(),
            evaluation_interval: test.interval,
            external_labels: test.external_labels.clone(),
            external_url: test.external_url.clone(),
            features: context.options.features,
            ..RuleSettings::default()
        };
        let mut specs: Vec<GroupSpec> =
            load_groups(&settings).map_err(|error| error.0.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        // Groups that the order does not name come with the first, as in promtool.
        let place = |spec: &GroupSpec| context.group_order.get(&spec.name).copied().unwrap_or(0);
        crate::model::sort_by(&mut specs, |a, b| place(a).cmp(&place(b)));
        let new = |spec| Group::new(Arc::new(spec), Arc::new(GroupMetrics::default()), false);
        let groups = specs.into_iter().map(new).collect();
        let store = Arc::new(MemoryStore::new());
        let query = EngineQuery::new(Arc::clone(&store), context.options.features, context.evaluation_interval);
        Ok(Self { test, context, settings, store, query, input, groups })
    }

    fn run(&mut self) -> Vec<String> {
        let mut failures = Vec::new();
        let interval = self.context.evaluation_interval;
        let mut alert_times: BTreeSet<Duration> = self.test.alert_tests.iter().map(|test| test.eval_time).collect();
        let mut elapsed = Duration::ZERO;
        while elapsed <= self.last_eval_time() {
            let at = self.test.start + elapsed;
            if let Err(error) = self.input.load_until(&self.store, at) {
                failures.push(format!("    {error}"));
            }
            let errors = self.evaluate(at, elapsed);
            if !errors.is_empty() {
                failures.extend(errors);
                return failures;
            }
            // Alerts between two evaluations are those of the earlier one.
            let later = alert_times.split_off(&(elapsed + interval));
            for time in std::mem::replace(&mut alert_times, later) {
                failures.extend(self.check_alerts(time));
            }
            elapsed += interval;
        }
        failures.extend(self.test.expr_tests.iter().filter_map(|test| self.check_expr(test)));
        failures
    }

    fn last_eval_time(&self) -> Duration {
        let alert_times = self.test.alert_tests.iter().map(|test| test.eval_time);
        let expr_times = self.test.expr_tests.iter().map(|test| test.eval_time);
        alert_times.chain(expr_times).max().unwrap_or_default()
    }

    fn evaluate(&mut self, at: Timestamp, elapsed: Duration) -> Vec<String> {
        let clock = Clock::manual(at);
        let environment = Environment {
            append: &*self.store,
            select: &*self.store,
            query: &self.query,
            sink: &NoDelivery,
            clock: &clock,
            corrected_ms: 0,
            settings: &self.settings,
            is_stopping: &|| false,
        };
        let mut errors = Vec::new();
        for group in &mut self.groups {
            group.evaluate(&environment, at);
            let status = group.status();
            for rule in status.rules.into_iter().filter(|rule| !rule.last_error.is_empty()) {
                let time = format_duration(elapsed);
                errors.push(format!("    rule: {}, time: {time}, err: {}", rule.name, rule.last_error));
            }
        }
        errors
    }

    /// Compares the alerts of the last evaluation with those that the tests at `time` expect.
    fn check_alerts(&self, time: Duration) -> Vec<String> {
        let statuses: Vec<GroupStatus> = self.groups.iter().map(Group::status).collect();
        let tests = self.test.alert_tests.iter().filter(|test| test.eval_time == time);
        tests.filter_map(|test| self.check_alert(test, &statuses)).collect()
    }

    fn check_alert(&self, test: &AlertTest, statuses: &[GroupStatus]) -> Option<String> {
        let mut got = firing(statuses, &test.alert_name);
        let mut expected: Vec<ComparedAlert> = test
            .expected
            .iter()
            .map(|(labels, annotations)| {
                let mut labels: LabelsBuilder = labels.to_builder();
                labels.set(ALERT_NAME, test.alert_name.as_str());
                ComparedAlert { labels: labels.build(), annotations: annotations.clone() }
            })
            .collect();
        got.sort_unstable();
        expected.sort_unstable();
        if got == expected {
            return None;
        }
        let test_name =
            if self.test.name.is_empty() { String::new() } else { format!("    name: {},\n", self.test.name) };
        let (alert, time) = (&test.alert_name, format_duration(test.eval_time));
        let outcome = if self.context.options.shows_difference {
            format!("diff: {}", show_difference(&expected, &got))
        } else {
            format!("exp:{}, \n        got:{}", show_alerts(&expected), show_alerts(&got))
        };
        Some(format!("{test_name}    alertname: {alert}, time: {time}, \n        {outcome}"))
    }

    fn check_expr(&self, test: &ExprTest) -> Option<String> {
        let prefix = format!("    expr: {:?}, time: {},", test.expr, format_duration(test.eval_time));
        let compared = self.eval(test).and_then(|got| Ok((expected_samples(&test.expected)?, got)));
        let (mut expected, mut got) = match compared {
            Ok(compared) => compared,
            Err(error) => return Some(format!("{prefix} err: {error}")),
        };
        crate::model::sort_by(&mut expected, |a, b| a.labels.cmp(&b.labels));
        crate::model::sort_by(&mut got, |a, b| a.labels.cmp(&b.labels));
        let is_fuzzy = self.context.is_fuzzy;
        let is_same = expected.len() == got.len() && expected.iter().zip(&got).all(|(a, b)| a.is_same(b, is_fuzzy));
        let (expected, got) = (show_samples(&expected), show_samples(&got));
        (!is_same).then(|| format!("{prefix}\n        exp: {expected}\n        got: {got}"))
    }

    fn eval(&self, test: &ExprTest) -> Result<Vec<ComparedSample>, String> {
        let expr = promql::parse(&test.expr, self.settings.features).map_err(|error| error.to_string())?;
        let at = self.test.start + test.eval_time;
        let result = self.query.query(&expr, at).map_err(|error| error.to_string())?;
        match result.value {
            QueryValue::Vector(vector) => Ok(vector.into_iter().map(compared).collect()),
            QueryValue::Scalar(_, value) => {
                Ok(vec![ComparedSample { labels: Labels::empty(), value, histogram: None }])
            }
            QueryValue::String(..) | QueryValue::Matrix(_) => Err("rule result is not a vector or scalar".to_owned()),
        }
    }
}

fn missing_alert_name(test: &TestGroup, alert_test: &AlertTest) -> String {
    let time = format_duration(alert_test.eval_time);
    let place = if test.name.is_empty() { String::new() } else { format!(" (in TestGroup {})", test.name) };
    format!("an item under alert_rule_test misses required attribute alertname at eval_time {time}{place}")
}

/// The firing alerts of all rules of this name.
fn firing(statuses: &[GroupStatus], alert_name: &str) -> Vec<ComparedAlert> {
    let rules = statuses.iter().flat_map(|group| &group.rules).filter(|rule| rule.name == alert_name);
    let alerts = rules.filter_map(|rule| rule.alerting.as_ref()).flat_map(|alerting| &alerting.alerts);
    alerts
        .filter(|alert| alert.state == AlertState::Firing)
        .map(|alert| ComparedAlert { labels: alert.labels.clone(), annotations: alert.annotations.clone() })
        .collect()
}

fn compared(sample: VectorSample) -> ComparedSample {
    let (value, histogram) = match sample.value {
        Value::Float(value) => (value, None),
        Value::Histogram(histogram) => (0.0, Some(histogram.test_notation())),
    };
    ComparedSample { labels: sample.labels, value, histogram }
}

fn expected_samples(samples: &[ExpectedSample]) -> Result<Vec<ComparedSample>, String> {
    let compared = |sample: &ExpectedSample| {
        let labels = match sample.labels.trim() {
            "" => Labels::empty(),
            text => parse_series_description(text).map_err(|error| error.to_string())?,
        };
        let histogram = match sample.histogram.as_str() {
            "" => None,
            text => Some(parse_histogram(text).map_err(|error| error.to_string())?.test_notation()),
        };
        Ok(ComparedSample { labels, value: sample.value, histogram })
    };
    let read = |sample: &ExpectedSample| {
        compared(sample).map_err(|error: String| format!("labels {:?}: {error}", sample.labels))
    };
    samples.iter().map(read).collect()
}
