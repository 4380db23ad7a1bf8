//! Which queries are accepted, and how they are printed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use outpost::promql::{Features, parse};
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::options::NonFiniteFloatPolicy;

use crate::shared;

const ALL_FEATURES: Features = Features {
    experimental_functions: true,
    delayed_name_removal: true,
    duration_expressions: true,
    extended_range_selectors: true,
    fill_modifiers: true,
};

#[test]
fn accepts_and_rejects_as_prometheus_does() {
    check_lines("parse/parse_cases.jsonl", |case| {
        let query = text(case, "q");
        let must_fail = case["fail"].as_bool().expect("a verdict");
        match (parse(query, ALL_FEATURES), must_fail) {
            (Ok(_), false) => Ok(()),
            (Err(error), true) if error.message.is_empty() => Err(format!("{query}: no message")),
            (Err(_), true) => Ok(()),
            (Ok(expr), true) => Err(format!("{query}: accepted as {expr}, must fail: {}", case["err_up"])),
            (Err(error), false) => Err(format!("{query}: {error}")),
        }
    });
}

#[test]
fn prints_as_prometheus_does() {
    check_lines("parse/print_cases.jsonl", |case| {
        let (query, expected) = (text(case, "q"), text(case, "want"));
        let expr = parse(query, ALL_FEATURES).map_err(|error| format!("{query}: {error}"))?;
        let printed = expr.to_string();
        let again = parse(&printed, ALL_FEATURES).map_err(|error| format!("{query} printed as {printed}: {error}"))?;
        match printed == expected && again.to_string() == printed {
            true => Ok(()),
            false => Err(format!("{query}: printed {printed}, expected {expected}")),
        }
    });
}

#[test]
fn accepts_every_query_of_the_unit_tests() {
    let Some(root) = shared("promql") else { return };
    let flags = flags_by_file();
    let mut faults = Vec::new();
    let mut count = 0;
    for file in yaml_files(&root) {
        let name = file.strip_prefix(&root).expect("under the root").display().to_string();
        if name.starts_with("must_fail") {
            continue;
        }
        let features = features(flags.get(&name).map_or(&[][..], Vec::as_slice));
        for query in queries(&fs::read_to_string(&file).expect("readable")) {
            count += 1;
            faults.extend(round_trip(&query, features).err().map(|fault| format!("{name}: {fault}")));
        }
    }
    assert!(count > 1000, "only {count} queries found");
    assert!(faults.is_empty(), "{} of {count}:\n{}", faults.len(), faults.join("\n"));
}

/// The query must parse, and what it prints must parse to the same text.
fn round_trip(query: &str, features: Features) -> Result<(), String> {
    let expr = parse(query, features).map_err(|error| format!("{query}: {error}"))?;
    let printed = expr.to_string();
    let again = parse(&printed, features).map_err(|error| format!("{query} printed as {printed}: {error}"))?;
    if again.to_string() == printed { Ok(()) } else { Err(format!("{query}: {printed} prints as {again}")) }
}

fn check_lines(name: &str, check: impl Fn(&Value) -> Result<(), String>) {
    let Some(path) = shared(name) else { return };
    let lines = fs::read_to_string(path).expect("readable");
    let cases = lines.lines().map(|line| serde_json::from_str(line).expect("a case"));
    let faults: Vec<String> = cases.filter_map(|case: Value| check(&case).err()).collect();
    assert!(faults.is_empty(), "{} cases:\n{}", faults.len(), faults.join("\n"));
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().expect("a text")
}

fn flags_by_file() -> BTreeMap<String, Vec<String>> {
    let Some(path) = shared("manifest.json") else { return BTreeMap::new() };
    let manifest: Value = serde_json::from_slice(&fs::read(path).expect("readable")).expect("a manifest");
    let entries = manifest.as_array().expect("a list").iter();
    let of_entry = |entry: &Value| {
        let flags = entry["flags"].as_array().expect("a list").iter();
        let file = text(entry, "file").trim_start_matches("promql/").to_owned();
        (file, flags.map(|flag| flag.as_str().expect("a flag").to_owned()).collect())
    };
    entries.map(of_entry).collect()
}

fn features(flags: &[String]) -> Features {
    let has = |name: &str| flags.iter().any(|flag| flag.ends_with(name));
    Features {
        experimental_functions: has("promql-experimental-functions"),
        delayed_name_removal: has("promql-delayed-name-removal"),
        ..Features::default()
    }
}

fn yaml_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(yaml_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "yml") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The part of a unit-test file that matters here.
#[derive(Deserialize)]
struct UnitTests {
    tests: Vec<UnitTest>,
}

#[derive(Deserialize)]
struct UnitTest {
    #[serde(default)]
    promql_expr_test: Vec<ExprTest>,
}

#[derive(Deserialize)]
struct ExprTest {
    expr: String,
}

fn queries(yaml: &str) -> Vec<String> {
    // Expected samples may be infinite.
    let options = serde_saphyr::options! { non_finite_float_policy: NonFiniteFloatPolicy::PassThrough };
    let file: UnitTests = serde_saphyr::from_str_with_options(yaml, options).expect("valid YAML");
    file.tests.into_iter().flat_map(|test| test.promql_expr_test).map(|test| test.expr).collect()
}
