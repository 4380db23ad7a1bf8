//! Queries with their results, as rule unit tests: `promql_expr_test` of promtool's format.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use outpost::model::{CUSTOM_BUCKETS_SCHEMA, Labels, Timestamp, parse_duration, stale_marker};
use outpost::promql::series_notation::{SequenceValue, parse_histogram, parse_series_values};
use outpost::promql::{
    Engine, EngineSettings, Features, QueryOptions, QueryValue, Value, VectorSample, parse, parse_series_description,
};
use outpost::store::MemoryStore;
use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    fuzzy_compare: bool,
    evaluation_interval: String,
    tests: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    interval: String,
    #[serde(default)]
    input_series: Vec<InputSeries>,
    promql_expr_test: Vec<Case>,
}

#[derive(Deserialize)]
struct InputSeries {
    series: String,
    values: String,
}

#[derive(Deserialize)]
struct Case {
    expr: String,
    eval_time: String,
    #[serde(default)]
    exp_samples: Vec<ExpectedSample>,
}

#[derive(Deserialize)]
struct ExpectedSample {
    labels: String,
    #[serde(default)]
    value: Option<f64>,
    #[serde(default)]
    histogram: Option<String>,
}

#[derive(Deserialize)]
struct ManifestEntry {
    file: String,
    side: String,
    category: String,
    flags: Vec<String>,
}

#[test]
fn float_queries_give_prometheus_results() {
    check_categories(|category| category.contains("/float"));
}

#[test]
fn native_histogram_queries_give_prometheus_results() {
    check_categories(|category| category.contains("/native"));
}

#[test]
fn queries_that_must_fail_do() {
    let mut wrong = Vec::new();
    let mut checked = 0;
    for (path, entry) in files(|category| category == "must_fail") {
        let file = read(&path);
        for group in &file.tests {
            let store = load(group);
            // The first case is a filler that succeeds.
            for case in &group.promql_expr_test[1..] {
                checked += 1;
                if let Ok(found) = evaluate(&file, &entry, &store, case) {
                    wrong.push(format!("{}: {} gives {found:?}", entry.file, case.expr));
                }
            }
        }
    }
    report(checked, &wrong);
}

fn check_categories(wanted: impl Fn(&str) -> bool) {
    let mut wrong = Vec::new();
    let mut checked = 0;
    for (path, entry) in files(wanted) {
        let file = read(&path);
        for group in &file.tests {
            let store = load(group);
            for case in &group.promql_expr_test {
                checked += 1;
                if let Err(difference) = check(&file, &entry, &store, case) {
                    wrong.push(format!("{}: {} @ {}\n    {difference}", entry.file, case.expr, case.eval_time));
                }
            }
        }
    }
    report(checked, &wrong);
}

fn report(checked: usize, wrong: &[String]) {
    eprintln!("{} of {checked} cases as expected", checked - wrong.len());
    assert!(wrong.is_empty(), "{} of {checked} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn files(wanted: impl Fn(&str) -> bool) -> Vec<(PathBuf, ManifestEntry)> {
    let Some(manifest) = super::shared("manifest.json") else { return Vec::new() };
    let text = std::fs::read_to_string(&manifest).expect("the manifest can be read");
    let entries: Vec<ManifestEntry> = serde_json::from_str(&text).expect("the manifest is JSON");
    let folder = manifest.parent().map(Path::to_path_buf).unwrap_or_default();
    let wanted = entries.into_iter().filter(|entry| entry.side == "promql" && wanted(&entry.category));
    wanted.map(|entry| (folder.join(&entry.file), entry)).collect()
}

fn read(path: &Path) -> File {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn load(group: &Group) -> MemoryStore {
    let interval = parse_duration(&group.interval).expect("interval is a duration");
    let store = MemoryStore::new();
    for input in &group.input_series {
        let labels =
            parse_series_description(&input.series).unwrap_or_else(|error| panic!("{}: {error}", input.series));
        let values = parse_series_values(&input.values).unwrap_or_else(|error| panic!("{}: {error}", input.values));
        let mut at = Timestamp(0);
        for value in values {
            match value {
                SequenceValue::Float(value) => store.append_float(&labels, at, value).expect("in order"),
                SequenceValue::Stale => store.append_float(&labels, at, stale_marker()).expect("in order"),
                SequenceValue::Histogram(histogram) => store.append_histogram(&labels, at, (*histogram).clone()),
                SequenceValue::Omitted => {}
            }
            at = at + interval;
        }
    }
    store
}

fn check(file: &File, entry: &ManifestEntry, store: &MemoryStore, case: &Case) -> Result<(), String> {
    let found = evaluate(file, entry, store, case)?;
    let tolerance = if entry.category.ends_with("-approx") { 1e-6 } else { 0.0 };
    let expected: BTreeMap<Labels, String> = case.exp_samples.iter().map(expected_sample).collect();
    let texts: BTreeMap<Labels, String> =
        found.iter().map(|sample| (sample.labels.clone(), shown(&sample.value))).collect();
    let is_same = expected.len() == found.len()
        && expected.iter().all(|(labels, expected)| {
            texts.get(labels).is_some_and(|found| is_equal(found, expected, file.fuzzy_compare, tolerance))
        });
    if is_same { Ok(()) } else { Err(format!("expected {expected:?}\n    found    {texts:?}")) }
}

fn evaluate(file: &File, entry: &ManifestEntry, store: &MemoryStore, case: &Case) -> Result<Vec<VectorSample>, String> {
    let has = |feature: &str| entry.flags.iter().any(|flag| flag.ends_with(feature));
    let features = Features {
        experimental_functions: has("promql-experimental-functions"),
        delayed_name_removal: has("promql-delayed-name-removal"),
        ..Features::default()
    };
    let settings = EngineSettings {
        lookback: Duration::from_secs(300),
        samples_max: 10_000,
        default_step: parse_duration(&file.evaluation_interval).map_err(|error| error.to_string())?,
        features,
    };
    let at = Timestamp(0) + parse_duration(&case.eval_time).map_err(|error| error.to_string())?;
    let expr = parse(&case.expr, features).map_err(|error| error.to_string())?;
    let options = QueryOptions { text: Some(Arc::from(case.expr.as_str())), ..QueryOptions::default() };
    let result = Engine::new(settings).instant(store, &expr, at, &options).map_err(|error| error.to_string())?;
    match result.value {
        QueryValue::Vector(samples) => Ok(samples),
        QueryValue::Scalar(timestamp, value) => {
            Ok(vec![VectorSample { labels: Labels::empty(), timestamp, value: Value::Float(value) }])
        }
        other => Err(format!("neither vector nor scalar: {other:?}")),
    }
}

fn expected_sample(sample: &ExpectedSample) -> (Labels, String) {
    let labels = parse_series_description(&sample.labels).unwrap_or_else(|error| panic!("{}: {error}", sample.labels));
    let text = match &sample.histogram {
        Some(text) => parse_histogram(text).unwrap_or_else(|error| panic!("{text}: {error}")).test_notation(),
        None => sample.value.unwrap_or(0.0).to_string(),
    };
    (labels, text)
}

fn shown(value: &Value) -> String {
    match value {
        Value::Float(value) => value.to_string(),
        Value::Histogram(histogram) => {
            debug_assert!(histogram.schema >= -4 || histogram.schema == CUSTOM_BUCKETS_SCHEMA);
            histogram.test_notation()
        }
    }
}

/// Numbers may differ by the last bit where the file says so, and by the tolerance; histograms are
/// compared number by number.
fn is_equal(found: &str, expected: &str, is_fuzzy: bool, tolerance: f64) -> bool {
    if found == expected {
        return true;
    }
    let words = |text: &str| -> Vec<String> {
        text.split([' ', ':', '[', ']', '{', '}']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let (found, expected) = (words(found), words(expected));
    found.len() == expected.len()
        && found.iter().zip(&expected).all(|(found, expected)| match (found.parse::<f64>(), expected.parse::<f64>()) {
            (Ok(found), Ok(expected)) => is_close(found, expected, is_fuzzy, tolerance),
            _ => found == expected,
        })
}

fn is_close(found: f64, expected: f64, is_fuzzy: bool, tolerance: f64) -> bool {
    let is_neighbour = is_fuzzy && (found.next_up() == expected || found.next_down() == expected);
    found == expected
        || (found.is_nan() && expected.is_nan())
        || is_neighbour
        || (found - expected).abs() <= tolerance * expected.abs().max(1e-300)
}
