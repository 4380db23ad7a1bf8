//! Groups on a store in memory, with results told by the test.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::model::{TimeRange, is_stale_marker};
use crate::promql::QueryResult;
use crate::promql::ast::Expr;
use crate::rules::file::parse_rule_file;
use crate::rules::status::AlertState;
use crate::store::{MemoryStore, ReadOptions, Samples};

/// Slots do not lie on whole seconds.
const PHASE_MS: i64 = 345;

/// What a query gives from a time on.
type Results = BTreeMap<Timestamp, Vec<(Labels, f64)>>;

/// A store, results by query, and the alerts that were sent.
#[derive(Default)]
struct Bench {
    store: MemoryStore,
    results: Mutex<HashMap<String, Results>>,
    evaluated: Mutex<Timestamp>,
    queries: AtomicUsize,
    sent: Mutex<Vec<Alert>>,
    settings: RuleSettings,
}

impl Query for Bench {
    fn query(&self, expr: &Expr, at: Timestamp) -> Result<QueryResult, QueryError> {
        self.queries.fetch_add(1, Ordering::Relaxed);
        let results = self.results.lock().expect("lock");
        let result = results.get(&expr.to_string()).and_then(|results| Some(results.range(..=at).next_back()?.1));
        let result = result.ok_or_else(|| QueryError::Execution("told to fail".to_owned()))?;
        let sample = |(labels, value): &(Labels, f64)| VectorSample {
            labels: labels.clone(),
            timestamp: at,
            value: Value::Float(*value),
        };
        let value = QueryValue::Vector(result.iter().map(sample).collect());
        Ok(QueryResult { value, warnings: Vec::new(), infos: Vec::new(), samples_read: 0, peak_samples: 0 })
    }
}

impl AlertSink for Bench {
    fn send(&self, alerts: Vec<Alert>) {
        self.sent.lock().expect("lock").extend(alerts);
    }
}

impl Bench {
    /// What `query` gives after the last evaluation: values of `i`, which become labels.
    fn tell(&self, query: &str, series: &[&str]) {
        let result = series.iter().map(|i| (Labels::from_pairs([("i", *i)]), 1.0)).collect();
        let from = *self.evaluated.lock().expect("lock") + Duration::from_millis(1);
        self.results.lock().expect("lock").entry(query.to_owned()).or_default().insert(from, result);
    }

    /// What was sent since the last call: when it began, and when it ended.
    fn told(&self) -> Vec<(Timestamp, Option<Timestamp>)> {
        let sent = std::mem::take(&mut *self.sent.lock().expect("lock"));
        sent.into_iter().map(|alert| (alert.starts_at, alert.resolved.then_some(alert.ends_at))).collect()
    }

    fn group(&self, rules: &str, restores: bool) -> Group {
        let text = format!("groups: [{{name: g, interval: 1m, rules: [{rules}]}}]");
        let groups = parse_rule_file("f.yml", &text, &self.settings).expect("valid rules");
        let spec = groups.into_iter().next().expect("one group");
        Group::new(Arc::new(spec), Arc::default(), restores)
    }

    fn evaluate(&self, group: &mut Group, minute: i64) {
        self.evaluate_with(group, minute, &Clock::manual(slot(minute)), 0);
    }

    fn evaluate_with(&self, group: &mut Group, minute: i64, clock: &Clock, corrected_ms: i64) {
        let at = slot(minute);
        *self.evaluated.lock().expect("lock") = at;
        let environment = Environment {
            append: &self.store,
            select: &self.store,
            query: self,
            sink: self,
            clock,
            corrected_ms,
            settings: &self.settings,
            is_stopping: &|| false,
        };
        group.evaluate(&environment, at);
    }

    /// All samples of a metric: label `i` and the values.
    fn stored(&self, metric: &str) -> Vec<String> {
        let mut set = self.store.select(&[], &ReadOptions::over(TimeRange::ALL)).expect("memory");
        let mut samples = Samples::default();
        let mut found = Vec::new();
        while let Some(labels) = set.next(&mut samples).expect("memory") {
            let show = |value: &f64| if is_stale_marker(*value) { "stale".to_owned() } else { value.to_string() };
            let values: Vec<String> = samples.values.iter().map(show).collect();
            if labels.metric_name() == metric {
                let state = labels.get("alertstate").map(|state| format!(" {state}")).unwrap_or_default();
                found.push(format!("{}{state}: {}", labels.get("i").unwrap_or(""), values.join(" ")));
            }
        }
        found
    }
}

fn slot(minute: i64) -> Timestamp {
    Timestamp(minute * 60_000 + PHASE_MS)
}

fn states(group: &Group) -> Vec<(AlertState, i64)> {
    let rules = group.status().rules;
    let alerts = rules.into_iter().filter_map(|rule| rule.alerting).flat_map(|alerting| alerting.alerts);
    alerts.map(|alert| (alert.state, alert.active_at.0 / 60_000)).collect()
}

#[test]
fn rules_record_and_fail_each_for_itself() {
    let bench = Bench::default();
    let mut group = bench.group("{record: a, expr: x}, {record: b, expr: broken}, {record: c, expr: y}", false);
    bench.tell("x", &["1", "2"]);
    bench.tell("y", &["3"]);
    bench.evaluate(&mut group, 1);
    bench.tell("x", &["2"]);
    bench.evaluate(&mut group, 2);
    assert_eq!(bench.stored("a"), ["1: 1 stale", "2: 1 1"]);
    assert_eq!(bench.stored("c"), ["3: 1 1"]);
    let health: Vec<(RuleHealth, String)> =
        group.status().rules.into_iter().map(|rule| (rule.health, rule.last_error)).collect();
    let ok = (RuleHealth::Ok, String::new());
    assert_eq!(health, [ok.clone(), (RuleHealth::Err, "told to fail".to_owned()), ok]);
}

#[test]
fn two_series_alike_fail_the_rule() {
    let bench = Bench::default();
    let mut group = bench.group("{record: a, expr: x, labels: {i: same}}", false);
    bench.tell("x", &["1", "2"]);
    bench.evaluate(&mut group, 1);
    let error = &group.status().rules[0].last_error;
    assert_eq!(error, "vector contains metrics with the same labelset after applying rule labels");
    assert!(bench.stored("a").is_empty());
}

#[test]
fn a_changed_group_keeps_what_it_can() {
    let bench = Bench::default();
    let mut old = bench.group("{record: a, expr: x}, {record: b, expr: x}, {alert: C, expr: x, for: 5m}", false);
    bench.tell("x", &["1"]);
    bench.evaluate(&mut old, 1);
    let mut new = bench.group("{alert: C, expr: x, for: 5m, annotations: {s: new}}, {record: a, expr: x}", false);
    new.inherit(old);
    bench.evaluate(&mut new, 2);
    assert_eq!(bench.stored("a"), ["1: 1 1"]);
    assert_eq!(bench.stored("b"), ["1: 1 stale"]);
    assert_eq!(states(&new), [(AlertState::Pending, 1)]);
}

#[test]
fn alerts_are_series_and_are_sent() {
    let bench = Bench {
        settings: RuleSettings { external_url: "http://pi/".into(), ..Default::default() },
        ..Default::default()
    };
    let mut group = bench.group("{alert: A, expr: x, for: 1m, labels: {severity: page}}", false);
    bench.tell("x", &["1"]);
    for minute in 1..=2 {
        bench.evaluate(&mut group, minute);
    }
    bench.tell("x", &[]);
    bench.evaluate(&mut group, 3);
    assert_eq!(bench.stored("ALERTS"), ["1 firing: 1 stale", "1 pending: 1 stale"]);
    assert_eq!(bench.stored("ALERTS_FOR_STATE"), ["1: 60 60 stale"]);
    let sent = bench.sent.lock().expect("lock");
    let told: Vec<(i64, i64, bool)> =
        sent.iter().map(|a| (a.starts_at.0 / 60_000, a.ends_at.0 / 60_000, a.resolved)).collect();
    assert_eq!(told, [(2, 6, false), (2, 3, true)]);
    assert_eq!(sent[0].labels.to_string(), r#"{alertname="A", i="1", severity="page"}"#);
    assert_eq!(sent[0].generator_url, "http://pi/graph?g0.expr=x&g0.tab=1");
}

#[test]
fn after_a_restart_alerts_go_on() {
    // `for` and `keep_firing_for` in minutes; minutes of the evaluations before and after; expected
    // state, "active since", and whether it is sent at the first evaluation after.
    let cases = [
        ("firing without a wait", 0, 0, 1..=3, 5, (AlertState::Firing, 1), true),
        ("firing, short wait", 2, 0, 1..=4, 6, (AlertState::Firing, 1), true),
        ("firing, long wait", 20, 0, 1..=30, 33, (AlertState::Firing, 1), true),
        ("pending, short wait", 5, 0, 1..=3, 5, (AlertState::Pending, 2), false),
        ("pending, long wait", 60, 0, 1..=11, 21, (AlertState::Pending, 10), false),
        ("pending, long wait nearly over", 20, 0, 1..=18, 21, (AlertState::Pending, 11), false),
        ("down for too long", 0, 0, 1..=3, 70, (AlertState::Firing, 70), true),
    ];
    for (name, hold, keep, before, after, expected, is_sent) in cases {
        let bench = Bench::default();
        let rule = format!("{{alert: A, expr: x, for: {hold}m, keep_firing_for: {keep}m, labels: {{t: a}}}}");
        bench.tell("x", &["1"]);
        let mut group = bench.group(&rule, true);
        before.for_each(|minute| bench.evaluate(&mut group, minute));
        bench.sent.lock().expect("lock").clear();
        let mut restarted = bench.group(&rule, true);
        bench.evaluate(&mut restarted, after);
        assert_eq!(states(&restarted), [expected], "{name}");
        assert_eq!(!bench.sent.lock().expect("lock").is_empty(), is_sent, "{name}");
    }
}

#[test]
fn what_is_over_at_the_restart_stays_over() {
    let bench = Bench::default();
    let rule = "{alert: A, expr: x, for: 5m}";
    bench.tell("x", &["1"]);
    let mut group = bench.group(rule, true);
    (1..=8).for_each(|minute| bench.evaluate(&mut group, minute));
    let mut restarted = bench.group(rule, true);
    bench.tell("x", &[]);
    (10..=12).for_each(|minute| bench.evaluate(&mut restarted, minute));
    bench.tell("x", &["1"]);
    bench.evaluate(&mut restarted, 13);
    assert_eq!(states(&restarted), [(AlertState::Pending, 13)]);
}

/// Begins and ends that were told, each once, when the query gives something in the minutes marked by `x`, and outpost is
/// restarted before `restart`.
fn episodes(rule: &str, script: &str, restart: usize) -> (Vec<(Timestamp, Option<Timestamp>)>, Vec<String>) {
    let bench = Bench::default();
    let mut group = bench.group(rule, true);
    let mut episodes = Vec::new();
    for (minute, mark) in script.chars().enumerate() {
        bench.tell("x", if mark == 'x' { &["1"] } else { &[] });
        if minute == restart {
            group = bench.group(rule, true);
        }
        bench.evaluate(&mut group, minute as i64);
        for told in bench.told() {
            if !episodes.contains(&told) {
                episodes.push(told);
            }
        }
    }
    (episodes, bench.stored("ALERTS_FOR_STATE"))
}

#[test]
fn a_restart_in_any_state_changes_nothing() {
    let script = "..xxxxxx....x...xxxxx......x..xxxx......................";
    for rule in [
        "{alert: A, expr: x}",
        "{alert: A, expr: x, for: 2m}",
        "{alert: A, expr: x, for: 90s, keep_firing_for: 3m}",
        "{alert: A, expr: x, keep_firing_for: 90s}",
    ] {
        let (expected, expected_series) = episodes(rule, script, usize::MAX);
        assert!(expected.len() >= 4, "{expected:?}");
        for restart in 1..script.len() {
            let (mut told, series) = episodes(rule, script, restart);
            // A condition that is gone at the first slot may only be unseen: its alert is given one more.
            let is_late = told.iter().position(|(_, end)| *end == Some(slot(restart as i64 + 1)));
            let is_late = is_late.filter(|_| !expected.iter().all(|one| told.contains(one)));
            if let Some(late) = is_late {
                told[late].1 = Some(slot(restart as i64));
            } else {
                assert_eq!(series, expected_series, "{rule} {restart}");
            }
            assert_eq!(told, expected, "{rule}, restarted before minute {restart}");
        }
    }
}

#[test]
fn alerts_of_another_rule_of_the_same_name_stay_its_own() {
    let bench = Bench::default();
    let rules = "{alert: A, expr: x}, {alert: A, expr: y}, {alert: A, expr: z, keep_firing_for: 10m}";
    bench.tell("x", &["1", "2"]);
    bench.tell("y", &["3"]);
    bench.tell("z", &["4"]);
    let mut group = bench.group(rules, true);
    bench.evaluate(&mut group, 1);
    bench.tell("x", &["1"]);
    bench.tell("z", &[]);
    bench.evaluate(&mut group, 2);
    bench.sent.lock().expect("lock").clear();
    let mut restarted = bench.group(rules, true);
    (3..=4).for_each(|minute| bench.evaluate(&mut restarted, minute));
    let per_rule: Vec<String> = restarted.status().rules.into_iter().map(|rule| shown(&rule)).collect();
    assert_eq!(per_rule, ["1", "3", "4"]);
    let told = bench.told();
    assert_eq!(told.iter().filter(|(_, end)| end.is_some()).collect::<Vec<_>>(), [&(slot(1), Some(slot(2)))]);
    assert!(told.iter().all(|(start, _)| *start == slot(1)), "{told:?}");
}

/// Looking for what `keep_firing_for` may have held costs a bounded number of evaluations, also where the alerts were
/// another rule's and ended one by one.
#[test]
fn a_rule_looks_back_within_a_bound() {
    let bench = Bench::default();
    let rules = "{alert: A, expr: x}, {alert: A, expr: z, keep_firing_for: 4h}";
    let names: Vec<String> = (0..17).map(|number| number.to_string()).collect();
    let series: Vec<&str> = names.iter().map(String::as_str).collect();
    bench.tell("z", &[]);
    let mut group = bench.group(rules, true);
    for minute in 1..=17 {
        bench.tell("x", &series[minute - 1..]);
        bench.evaluate(&mut group, minute as i64);
    }
    bench.sent.lock().expect("lock").clear();
    let before = bench.queries.load(Ordering::Relaxed);
    let mut restarted = bench.group(rules, true);
    bench.evaluate(&mut restarted, 18);
    let queries = bench.queries.load(Ordering::Relaxed) - before;
    // Two of the slot, two at most for each of the 16 ends of the first rule's alerts, 300 for the second rule.
    assert!((300..=2 + 2 * 16 + 300).contains(&queries), "{queries}");
    let per_rule: Vec<String> = restarted.status().rules.into_iter().map(|rule| shown(&rule)).collect();
    assert_eq!(per_rule, ["16", ""]);
}

/// The alerts of a rule by their label `i`.
fn shown(rule: &RuleStatus) -> String {
    let alerts = rule.alerting.iter().flat_map(|alerting| &alerting.alerts);
    alerts.map(|alert| alert.labels.get("i").unwrap_or("")).collect::<Vec<_>>().join(" ")
}

#[test]
fn an_alert_that_is_not_seen_after_an_outage_ends_in_time() {
    // Minutes of the outage, minutes from its end until the condition is seen again, if it is; how the alert goes on.
    let cases = [
        (1, Some(1), (slot(1), None)),
        (1, None, (slot(1), Some(slot(11)))),
        (30, Some(2), (slot(1), None)),
        (30, None, (slot(1), Some(slot(41)))),
        (30, Some(3), (slot(1), Some(slot(41)))),
    ];
    for (outage, seen_after, expected) in cases {
        let bench = Bench::default();
        let rule = "{alert: A, expr: x, annotations: {value: '{{ $value }}'}}";
        bench.tell("x", &["1"]);
        let mut group = bench.group(rule, true);
        (1..=9).for_each(|minute| bench.evaluate(&mut group, minute));
        bench.told();
        bench.tell("x", &[]);
        let mut restarted = bench.group(rule, true);
        for minute in 0..=3 {
            if seen_after == Some(minute) {
                bench.tell("x", &["1"]);
            }
            bench.evaluate(&mut restarted, 9 + outage + minute);
        }
        let name = format!("{outage} {seen_after:?}");
        assert!(bench.sent.lock().expect("lock").iter().all(|alert| alert.annotations.get("value") == Some("1")));
        let told = bench.told();
        assert_eq!(told[0], (slot(1), None), "{name}: {told:?}");
        assert!(told.contains(&expected), "{name}: {told:?}");
        assert!(expected.1.is_some() || told.iter().all(|one| *one == expected), "{name}: {told:?}");
    }
}

#[test]
fn a_corrected_clock_neither_fires_nor_resolves() {
    let bench = Bench::default();
    let mut group = bench.group("{alert: A, expr: up == 0, for: 10m}", false);
    bench.tell("up == 0", &["x"]);
    let clock = Clock::manual(Timestamp(1_000 * 60_000));
    clock.hold(Timestamp(100 * 60_000));
    bench.evaluate_with(&mut group, 100, &clock, 0);
    bench.evaluate_with(&mut group, 105, &clock, 0);
    assert_eq!(states(&group), [(AlertState::Pending, 100)]);

    let by_ms = clock.settle().expect("it was held").by_ms;
    bench.tell("up == 0", &[]);
    bench.evaluate_with(&mut group, 106, &clock, 0);
    assert_eq!(states(&group), [(AlertState::Pending, 100)], "a slot that never was finds nothing and changes nothing");

    bench.tell("up == 0", &["x"]);
    bench.evaluate_with(&mut group, 1_006, &clock, by_ms);
    let moved = states(&group);
    assert!(matches!(moved[..], [(AlertState::Pending, 999 | 1_000)]), "what was waited stays: {moved:?}");
    bench.evaluate_with(&mut group, 1_010, &clock, by_ms);
    assert_eq!(states(&group)[0].0, AlertState::Firing);
}

#[test]
fn labels_and_annotations_are_templates() {
    let settings = RuleSettings { external_url: "http://pi/".into(), ..Default::default() };
    let bench = Bench { settings, ..Default::default() };
    bench.tell("x", &["1"]);
    bench.tell("y", &["2"]);
    let labels = "{l: '<{{ $labels.i }}>'}";
    let annotations = r#"{plain: text, value: '{{ $value }} {{ query "y" | first | label "i" }} {{ $externalURL }}',
        failed: '{{ query "broken" }}'}"#;
    let rule = format!("{{alert: A, expr: x, labels: {labels}, annotations: {annotations}}}");
    let mut group = bench.group(&rule, false);
    bench.evaluate(&mut group, 1);
    let alerting = group.status().rules.remove(0).alerting.expect("an alerting rule");
    let alert = &alerting.alerts[0];
    assert_eq!(alert.labels.get("l"), Some("<1>"));
    assert_eq!(alert.annotations.get("plain"), Some("text"));
    assert_eq!(alert.annotations.get("value"), Some("1 2 http://pi/"));
    let failed = "<error expanding template: error executing template __alert_A: template: __alert_A:1:115: \
                  executing \"__alert_A\" at <query \"broken\">: error calling query: told to fail>";
    assert_eq!(alert.annotations.get("failed"), Some(failed));
}
