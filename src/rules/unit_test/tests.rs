//! The shared conformance cases: rule files and unit tests with promtool's verdict, and the PromQL
//! suite in unit-test form.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::rules::{CheckOptions, check_files};

#[derive(Deserialize)]
struct Expected {
    kind: String,
    verdict: String,
}

#[derive(Deserialize)]
struct Suite {
    file: String,
    side: String,
    category: String,
    cases: usize,
    flags: Vec<String>,
}

fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/conformance")).join(path);
    if !path.exists() {
        eprintln!("SKIPPED: {} is not here; its cases were not run", path.display());
        return None;
    }
    Some(path)
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    serde_json::from_slice(&std::fs::read(path).expect("readable")).expect("JSON as documented")
}

/// Runs `accepts` on every corpus file of a kind and names those on which it differs from promtool.
fn check_corpus(kind: &str, accepts: impl Fn(&Path) -> Result<(), String>) {
    let Some(corpus) = shared("config_corpus") else { return };
    let expected: BTreeMap<String, Expected> = read_json(&corpus.join("expected.json"));
    let mut wrong = Vec::new();
    for (file, expected) in expected.iter().filter(|(_, expected)| expected.kind == kind) {
        let got = accepts(&corpus.join(file));
        if got.is_ok() != (expected.verdict == "accept") {
            wrong.push(format!("{file}: promtool says {}, got {got:?}", expected.verdict));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rule_files_are_judged_as_by_promtool() {
    check_corpus("rules", |file| {
        let options = CheckOptions { features: Features::default(), lints_duplicates: false };
        let check = check_files(&[file.to_owned()], options).remove(0);
        if check.errors.is_empty() { Ok(()) } else { Err(check.errors.join("\n")) }
    });
}

#[test]
fn unit_tests_are_judged_as_by_promtool() {
    check_corpus("unit", |file| outcome(&run_unit_tests(file, &UnitTestOptions::default())));
}

fn outcome(report: &FileReport) -> Result<(), String> {
    let failures = report.cases.iter().flat_map(|case| &case.failures);
    let all: Vec<String> = report.errors.iter().chain(failures).cloned().collect();
    if report.is_success() { Ok(()) } else { Err(all.join("\n")) }
}

#[test]
fn promql_suite() {
    let Some(manifest) = shared("manifest.json") else { return };
    let suites: Vec<Suite> = read_json(&manifest);
    let mut wrong = Vec::new();
    for suite in suites.iter().filter(|suite| suite.side == "promql") {
        let path = manifest.with_file_name(&suite.file);
        let options = UnitTestOptions { features: features(&suite.flags), ..UnitTestOptions::default() };
        let report = run_unit_tests(&path, &options);
        if suite.category != "must_fail" {
            wrong.extend(outcome(&report).err().map(|error| format!("{}:\n{error}", suite.file)));
            continue;
        }
        // Every case but the groups' first ones must end in an error of the query.
        let failures: Vec<&String> = report.cases.iter().flat_map(|case| &case.failures).collect();
        let errors = failures.iter().filter(|failure| failure.contains(", err: ")).count();
        if errors != suite.cases || failures.len() != suite.cases {
            wrong.push(format!("{}: {errors} of {} cases end in an error", suite.file, suite.cases));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn features(flags: &[String]) -> Features {
    let is_on = |name: &str| flags.iter().any(|flag| flag.contains(name));
    Features {
        experimental_functions: is_on("promql-experimental-functions"),
        delayed_name_removal: is_on("promql-delayed-name-removal"),
        ..Features::default()
    }
}

/// As by promtool, to which a null test is one of nothing.
#[test]
fn a_test_that_is_not_written_fails() {
    let folder = tempfile::TempDir::new().expect("a folder");
    for (tests, passes) in [
        ("promql_expr_test: [null]", false),
        ("alert_rule_test: [null]", false),
        ("promql_expr_test: [{expr: '1', exp_samples: [{value: 1}, null]}]", false),
        ("promql_expr_test: [{expr: '1', exp_samples: [{value: 1}]}]", true),
        ("promql_expr_test:", true),
    ] {
        let file = folder.path().join("t.yml");
        std::fs::write(&file, format!("tests: [null, {{{tests}}}]\n")).expect("writable");
        let report = run_unit_tests(&file, &UnitTestOptions::default());
        assert_eq!(outcome(&report).is_ok(), passes, "{tests}: {:?}", outcome(&report));
    }
}

#[test]
fn names_select_tests() {
    let matches = |patterns: &[&str], name: &str| {
        let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        run_pattern(&patterns).expect("valid").is_none_or(|run| run.is_match(name))
    };
    assert!(matches(&[], "anything"));
    assert!(matches(&["disk"], "the disk fills"));
    assert!(matches(&["^cpu", "full$"], "disk is full"));
    assert!(!matches(&["^disk"], "the disk fills"));
    assert!(run_pattern(&["(".to_owned()]).is_err());
}

#[test]
fn outcome_is_shown_as_by_promtool() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let rules = "groups: [{name: g, rules: [{alert: Down, expr: up == 0, labels: {severity: page}}]}]";
    std::fs::write(folder.path().join("rules.yml"), rules).expect("write");
    let tests = "
rule_files: [rul*.yml]
tests:
- name: one
  input_series: [{series: 'up{job=\"a\"}', values: '1 0'}]
  alert_rule_test: [{eval_time: 1m, alertname: Down}]
  promql_expr_test: [{expr: up, eval_time: 0s, exp_samples: [{labels: 'up{job=\"a\"}', value: 2}]}]
- name: two
";
    let path = folder.path().join("tests.yml");
    std::fs::write(&path, tests).expect("write");
    let report = run_unit_tests(&path, &UnitTestOptions::default());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    report.write(&mut out, &mut err).expect("memory");
    let expected = r#"  FAILED:
    name: one,
    alertname: Down, time: 1m, 
        exp:[], 
        got:[
            0:
              Labels:{alertname="Down", job="a", severity="page"}
              Annotations:{}
            ]
    expr: "up", time: 0s,
        exp: {__name__="up", job="a"} 2E+00
        got: {__name__="up", job="a"} 1E+00
"#;
    assert_eq!(String::from_utf8_lossy(&err), expected);
    let xml = junit_xml(&[report], Timestamp(1_700_000_000_123));
    assert!(xml.starts_with(r#"<testsuites><testsuite name=""#), "{xml}");
    assert!(xml.contains(r#"tests="2" failures="2" errors="0" skipped="0" timestamp="2023-11-14T22:13:20">"#), "{xml}");
    assert!(xml.contains(r#"<testcase name="two"></testcase></testsuite></testsuites>"#), "{xml}");
}
