//! Native histograms in the notation of rule unit tests: what outpost computes of random ones must be what promtool
//! finds, and `outpost test rules` must agree with both.

use std::fmt::Write;
use std::process::Command;
use std::time::Duration;

use outpost::model::{Timestamp, stale_marker};
use outpost::promql::series_notation::{SequenceValue, parse_series_values};
use outpost::promql::{
    Engine, EngineSettings, Features, QueryOptions, QueryValue, Value, VectorSample, parse, parse_series_description,
};
use outpost::store::MemoryStore;
use tempfile::TempDir;

use super::choices::Choices;
use super::{first_seed, rounds};
use crate::support::{program, run_to_end};

/// Queries per group of series.
const QUERIES: usize = 12;
/// Groups per file.
const GROUPS: u64 = 50;

/// What is asked; `A` and `B` stand for series, `R` for a range of one. promtool holds series in no fixed order: nothing
/// is asked whose last digit depends on it.
const SHAPES: [&str; 46] = [
    "A",
    "-A",
    "A * 2.5",
    "A / 3",
    "3 * A",
    "A + B",
    "A - B",
    "A + A",
    "A - A offset 2m",
    "A == B",
    "A != B",
    "A > B",
    "A * B",
    "A / 0",
    "sum(A or B)",
    "avg(A)",
    "sum({__name__=~\"a|b\"})",
    "count({__name__=~\"a|b|c\"})",
    "max({__name__=~\"a|b|c\"})",
    "group(A)",
    "topk(1, {__name__=~\"a|b|c\"})",
    "histogram_count(A)",
    "histogram_sum(A)",
    "histogram_avg(A)",
    "histogram_stddev(A)",
    "histogram_stdvar(A)",
    "histogram_quantile(0.5, A)",
    "histogram_quantile(0.99, A)",
    "histogram_quantile(0, A)",
    "histogram_quantile(1, A)",
    "histogram_fraction(0, 2, A)",
    "histogram_fraction(-1, 0.5, A)",
    "rate(R)",
    "increase(R)",
    "delta(R)",
    "irate(R)",
    "idelta(R)",
    "sum_over_time(R)",
    "avg_over_time(R)",
    "last_over_time(R)",
    "count_over_time(R)",
    "changes(R)",
    "resets(R)",
    "histogram_quantile(0.9, rate(R))",
    "sum(rate(R))",
    "min_over_time(R)",
];

#[test]
fn promtool_finds_what_outpost_computes_of_histograms() {
    let (first, count) = (first_seed(), rounds(20));
    let mut queries = 0;
    let mut seed = first;
    while seed < first + count {
        let end = (seed + GROUPS).min(first + count);
        let groups: Vec<Group> = (seed..end).map(|seed| Group::drawn(&mut Choices::drawn(seed))).collect();
        queries += groups.iter().map(|group| group.cases.len()).sum::<usize>();
        compare(&format!("seeds {seed} to {end}"), &groups);
        seed = end;
    }
    eprintln!("{queries} queries in {count} groups from seed {first}");
}

/// Both tools must pass the file.
fn compare(name: &str, groups: &[Group]) {
    let folder = TempDir::new().unwrap();
    let mut file = "evaluation_interval: 1m\nfuzzy_compare: true\ntests:\n".to_owned();
    groups.iter().for_each(|group| group.write(&mut file));
    std::fs::write(folder.path().join("test.yml"), &file).unwrap();
    let mut promtool = Command::new(program("promtool"));
    let promtool = promtool.current_dir(folder.path()).args(["test", "rules", "test.yml"]).output().unwrap();
    let (code, text) = run_to_end(folder.path(), &["test", "rules", "test.yml"]);
    let said = String::from_utf8_lossy(&promtool.stderr).into_owned() + &String::from_utf8_lossy(&promtool.stdout);
    let start = |text: &str| text.chars().take(6_000).collect::<String>();
    if groups.len() > 1 && !promtool.status.success() {
        groups.iter().for_each(|group| compare(name, std::slice::from_ref(group)));
    }
    assert!(promtool.status.success(), "{name}: promtool finds something else:\n{}\n{}", start(&said), start(&file));
    assert_eq!(code, 0, "{name}: outpost test rules: {}", start(&text));
}

/// Series with queries and their results.
struct Group {
    series: Vec<(&'static str, String)>,
    cases: Vec<(String, u32, Vec<VectorSample>)>,
}

impl Group {
    fn drawn(choices: &mut Choices) -> Self {
        let series: Vec<_> = ["a", "b", "c"].into_iter().map(|name| (name, sequence(choices))).collect();
        let store = MemoryStore::new();
        series.iter().for_each(|(name, values)| append(&store, name, values));
        let mut cases = Vec::new();
        for _ in 0..QUERIES {
            let range = format!("{}[{}]", choices.one_of(&["a", "b", "c"]), choices.one_of(&["5m", "2m", "3m30s"]));
            let one = choices.one_of(&["a", "b", "c"]);
            let other = choices.one_of(&["b", "a", "c"]);
            let query: String = choices
                .one_of(&SHAPES)
                .chars()
                .map(|place| match place {
                    'A' => one.to_owned(),
                    'B' => format!("on () {other}"),
                    'R' => range.clone(),
                    place => place.to_string(),
                })
                .collect();
            // `on ()` belongs to the operator.
            let query = query.replace("or on () ", "or ");
            let minute = choices.below(12) as u32;
            if let Some(result) = evaluate(&store, &query, minute) {
                cases.push((query, minute, result));
            }
        }
        Self { series, cases }
    }

    fn write(&self, file: &mut String) {
        file.push_str("- interval: 1m\n  input_series:\n");
        for (name, values) in &self.series {
            writeln!(file, "  - series: '{name}'\n    values: '{values}'").unwrap();
        }
        file.push_str("  promql_expr_test:\n");
        for (query, minute, result) in &self.cases {
            writeln!(file, "  - expr: '{query}'\n    eval_time: {minute}m\n    exp_samples:").unwrap();
            for sample in result {
                let labels = sample.labels.to_string();
                let value = match &sample.value {
                    Value::Float(value) => format!("value: {}", yaml_number(*value)),
                    Value::Histogram(histogram) => format!("histogram: '{}'", histogram.test_notation()),
                };
                writeln!(file, "    - labels: '{labels}'\n      {value}").unwrap();
            }
        }
    }
}

fn yaml_number(value: f64) -> String {
    match value {
        f64::INFINITY => ".inf".to_owned(),
        f64::NEG_INFINITY => "-.inf".to_owned(),
        _ if value.is_nan() => ".nan".to_owned(),
        _ => format!("{value:e}"),
    }
}

/// Items of a sequence: histograms alone, repeated and growing, floats, gaps, ends.
fn sequence(choices: &mut Choices) -> String {
    let items: Vec<String> = (0..2 + choices.below(4))
        .map(|_| match choices.below(9) {
            0 => "_".to_owned(),
            1 if choices.percent(40) => "stale".to_owned(),
            2 if choices.percent(50) => format!("{}", choices.below(9)),
            3 => format!("{}x{}", histogram(choices, None), choices.below(4)),
            4..7 => {
                let schema = choices.one_of(&["0", "1", "-53"]);
                let (from, step) = (histogram(choices, Some(schema)), histogram(choices, Some(schema)));
                format!("{from}+{step}x{}", 1 + choices.below(5))
            }
            _ => histogram(choices, None),
        })
        .collect();
    items.join(" ")
}

fn histogram(choices: &mut Choices, schema: Option<&str>) -> String {
    let is_fixed = schema.is_some();
    let schema = schema.unwrap_or_else(|| choices.one_of(&["0", "0", "1", "3", "-1", "-53"]));
    // The count is that of all buckets, as in any real histogram.
    let mut total = 0;
    let mut counts = |choices: &mut Choices| {
        let counts: Vec<usize> = (0..1 + choices.below(4)).map(|_| choices.below(6)).collect();
        total += counts.iter().sum::<usize>();
        counts.iter().map(usize::to_string).collect::<Vec<_>>().join(" ")
    };
    let mut parts = vec![format!("schema:{schema}"), format!("buckets:[{}]", counts(choices))];
    parts.push(format!("sum:{}", choices.one_of(&["0", "1.5", "-3", "100", "0.5"])));
    if schema == "-53" {
        // What grows must keep its bounds.
        let bounds = if is_fixed { "5 10 15 20" } else { choices.one_of(&["5 10 15 20", "1 2 3 4 5"]) };
        parts.push(format!("custom_values:[{bounds}]"));
    } else {
        // Always negative buckets: where only later histograms of a chunk have some, Prometheus's store adds empty
        // ones to those before, and quantiles no longer take the zero bucket for a positive one.
        parts.push(format!("n_offset:{} n_buckets:[1 {}]", choices.below(3), counts(choices)));
        total += 1;
        let zeros = choices.below(5);
        total += zeros;
        parts.push(format!("z_bucket:{zeros} z_bucket_w:{}", choices.one_of(&["0.001", "0.001", "0.01", "0"])));
        parts.push(format!("offset:{}", [0, 1, -2, 3][choices.below(4)]));
    }
    parts.push(format!("count:{total}"));
    if choices.percent(20) {
        parts.push(format!("counter_reset_hint:{}", choices.one_of(&["gauge", "reset", "not_reset", "unknown"])));
    }
    format!("{{{{{}}}}}", parts.join(" "))
}

fn append(store: &MemoryStore, name: &str, values: &str) {
    let labels = parse_series_description(name).unwrap();
    let values = parse_series_values(values).unwrap_or_else(|error| panic!("{values}: {error}"));
    for (minute, value) in values.into_iter().enumerate() {
        let at = Timestamp(minute as i64 * 60_000);
        match value {
            SequenceValue::Float(value) => store.append_float(&labels, at, value).unwrap(),
            SequenceValue::Stale => store.append_float(&labels, at, stale_marker()).unwrap(),
            SequenceValue::Histogram(histogram) => store.append_histogram(&labels, at, (*histogram).clone()),
            SequenceValue::Omitted => {}
        }
    }
}

/// The result; `None` for an error, of which the other tests tell.
fn evaluate(store: &MemoryStore, query: &str, minute: u32) -> Option<Vec<VectorSample>> {
    let features = Features::default();
    let settings = EngineSettings {
        lookback: Duration::from_secs(300),
        samples_max: 50_000,
        default_step: Duration::from_secs(60),
        features,
    };
    let tree = parse(query, features).unwrap_or_else(|error| panic!("{query}: {error}"));
    let at = Timestamp(i64::from(minute) * 60_000);
    match Engine::new(settings).instant(store, &tree, at, &QueryOptions::default()).ok()?.value {
        QueryValue::Vector(samples) => samples.iter().all(|sample| is_writable(&sample.value)).then_some(samples),
        _ => None,
    }
}

/// promtool takes no NaN for equal to another, reads no infinity in a histogram, and prints gaps between buckets in
/// the wrong place where there are two, and as -0 where the histogram is negative.
fn is_writable(value: &Value) -> bool {
    match value {
        Value::Float(value) => !value.is_nan(),
        Value::Histogram(histogram) => {
            let text = histogram.test_notation();
            !text.contains("Inf") && !text.contains(" 0 ")
        }
    }
}
