//! The unit-test file as written: YAML to plain structs, with every mistake at its place.
//! Format: prometheus/cmd/promtool/unittest.go (3.5, and `start_timestamp` of 3.9).

use std::time::Duration;

use crate::model::{Labels, Timestamp, parse_float, parse_rfc3339};
use crate::yaml::{Field, Problem, Report, Section, parse_first};

/// `evaluation_interval` where none is given.
const EVALUATION_INTERVAL_DEFAULT: Duration = Duration::from_secs(60);

/// One file.
#[derive(Debug, Default)]
pub struct TestFile {
    pub rule_files: Vec<String>,
    pub evaluation_interval: Duration,
    pub group_eval_order: Vec<String>,
    pub fuzzy_compare: bool,
    pub tests: Vec<TestGroup>,
}

/// One entry of `tests`.
#[derive(Debug, Default)]
pub struct TestGroup {
    pub name: String,
    /// The distance of the input series' samples.
    pub interval: Duration,
    pub input_series: Vec<InputSeries>,
    pub alert_tests: Vec<AlertTest>,
    pub expr_tests: Vec<ExprTest>,
    pub external_labels: Labels,
    pub external_url: String,
    pub start: Timestamp,
}

/// One entry of `input_series`.
#[derive(Debug)]
pub struct InputSeries {
    pub series: String,
    pub values: String,
}

/// One entry of `alert_rule_test`.
#[derive(Debug)]
pub struct AlertTest {
    pub eval_time: Duration,
    pub alert_name: String,
    /// Labels, without `alertname`, and annotations.
    pub expected: Vec<(Labels, Labels)>,
}

/// One entry of `promql_expr_test`.
#[derive(Debug)]
pub struct ExprTest {
    pub expr: String,
    pub eval_time: Duration,
    pub expected: Vec<ExpectedSample>,
}

/// One entry of `exp_samples`.
#[derive(Debug)]
pub struct ExpectedSample {
    pub labels: String,
    pub value: f64,
    /// If not empty, the value is a histogram and `value` means nothing.
    pub histogram: String,
}

/// Reads a file's text; `file` names it in problems.
pub fn parse_test_file(file: &str, text: &str) -> Result<TestFile, Vec<Problem>> {
    let report = Report::new(file);
    let parsed = match parse_first(text) {
        Ok(root) => test_file(report.root(&root).section()),
        Err(error) => {
            report.problem(error.at, "", error.message);
            TestFile::default()
        }
    };
    let (problems, _) = report.into_parts();
    if problems.is_empty() { Ok(parsed) } else { Err(problems) }
}

fn test_file(section: Section<'_>) -> TestFile {
    let evaluation_interval = section.duration("evaluation_interval").unwrap_or(EVALUATION_INTERVAL_DEFAULT);
    let file = TestFile {
        rule_files: texts(&section, "rule_files"),
        evaluation_interval,
        group_eval_order: texts(&section, "group_eval_order"),
        fuzzy_compare: section.boolean("fuzzy_compare").unwrap_or_default(),
        tests: given(&section, "tests").map(|field| test_group(field.section(), evaluation_interval)).collect(),
    };
    section.finish(|_| None);
    file
}

fn test_group(section: Section<'_>, evaluation_interval: Duration) -> TestGroup {
    let group = TestGroup {
        name: text(&section, "name"),
        interval: section.duration("interval").unwrap_or(evaluation_interval),
        input_series: given(&section, "input_series").map(|field| input_series(field.section())).collect(),
        alert_tests: section.items("alert_rule_test").into_iter().map(|field| alert_test(field.section())).collect(),
        expr_tests: section.items("promql_expr_test").into_iter().map(|field| expr_test(field.section())).collect(),
        external_labels: labels(&section, "external_labels"),
        external_url: text(&section, "external_url"),
        start: section.get("start_timestamp").and_then(|field| timestamp(&field)).unwrap_or_default(),
    };
    section.finish(|_| None);
    group
}

fn input_series(section: Section<'_>) -> InputSeries {
    let series = InputSeries { series: text(&section, "series"), values: text(&section, "values") };
    section.finish(|_| None);
    series
}

fn alert_test(section: Section<'_>) -> AlertTest {
    let alert = |section: Section<'_>| {
        let expected = (expected_labels(&section, "exp_labels"), expected_labels(&section, "exp_annotations"));
        section.finish(|_| None);
        expected
    };
    let test = AlertTest {
        eval_time: section.duration("eval_time").unwrap_or_default(),
        alert_name: text(&section, "alertname"),
        expected: section.items("exp_alerts").into_iter().map(|field| alert(field.section())).collect(),
    };
    section.finish(|_| None);
    test
}

fn expr_test(section: Section<'_>) -> ExprTest {
    let test = ExprTest {
        expr: text(&section, "expr"),
        eval_time: section.duration("eval_time").unwrap_or_default(),
        expected: section.items("exp_samples").into_iter().map(|field| expected_sample(field.section())).collect(),
    };
    section.finish(|_| None);
    test
}

fn expected_sample(section: Section<'_>) -> ExpectedSample {
    let sample = ExpectedSample {
        labels: text(&section, "labels"),
        value: section.get("value").and_then(|field| float(&field)).unwrap_or_default(),
        histogram: text(&section, "histogram"),
    };
    section.finish(|_| None);
    sample
}

fn text(section: &Section<'_>, key: &'static str) -> String {
    section.text(key).unwrap_or_default()
}

fn texts(section: &Section<'_>, key: &'static str) -> Vec<String> {
    given(section, key).filter_map(|field| field.text()).collect()
}

fn labels(section: &Section<'_>, key: &'static str) -> Labels {
    let pairs = section.get(key).map(|field| field.pairs()).unwrap_or_default();
    Labels::from_pairs(pairs.into_iter().filter_map(|(name, value)| Some((name, value.text()?))))
}

/// The same with the empty ones, which are compared too.
fn expected_labels(section: &Section<'_>, key: &'static str) -> Labels {
    let pairs = section.get(key).map(|field| field.pairs()).unwrap_or_default();
    Labels::of_texts(pairs.into_iter().filter_map(|(name, value)| Some((name, value.text()?))))
}

/// The items of a list; null ones count as not written. (A null test or expectation is an empty one.)
fn given<'d>(section: &Section<'d>, key: &'static str) -> impl Iterator<Item = Field<'d>> {
    section.items(key).into_iter().filter(|item| !item.is_null())
}

/// A number in YAML's spellings, `.inf` and `.nan` among them.
fn float(field: &Field<'_>) -> Option<f64> {
    if field.is_null() {
        return None;
    }
    let text = field.text()?;
    let lower = text.to_ascii_lowercase();
    let number = match lower.as_str() {
        ".nan" => Some(f64::NAN),
        ".inf" | "+.inf" => Some(f64::INFINITY),
        "-.inf" => Some(f64::NEG_INFINITY),
        _ if lower.contains("inf") || lower.contains("nan") => None,
        _ => parse_float(&lower.replace('_', "")).or_else(|| hexadecimal(&lower)),
    };
    if number.is_none() {
        field.problem(format!("a number is needed here, found {text:?}"));
    }
    number
}

fn hexadecimal(text: &str) -> Option<f64> {
    let number = u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()?;
    Some(number as f64)
}

/// Seconds since the epoch, or RFC 3339.
fn timestamp(field: &Field<'_>) -> Option<Timestamp> {
    if field.is_null() {
        return None;
    }
    let text = field.text()?;
    let at =
        parse_float(&text).filter(|at| at.is_finite()).map(Timestamp::from_seconds).or_else(|| parse_rfc3339(&text));
    if at.is_none() {
        field.problem(format!("a time is needed here (Unix seconds or 2006-01-02T15:04:05Z), found {text:?}"));
    }
    at
}
