//! `test rules`: rule unit tests in promtool's format, in simulated time on a store in memory.
//!
//! Pure but for reading the files that are named. Source of format and behaviour:
//! prometheus/cmd/promtool/unittest.go (3.5) and its documentation.

mod compare;
mod document;
mod input;
mod junit;
mod run;

pub use junit::junit_xml;

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use document::TestFile;
use run::{FileContext, run_test};

use super::Query;
use super::file::file_problem;
use crate::glob::glob;
use crate::model::{AnchoredRegex, RegexError, Timestamp};
use crate::promql::ast::Expr;
use crate::promql::{Engine, EngineSettings, Features, QueryError, QueryOptions, QueryResult};
use crate::store::MemoryStore;
use crate::yaml::Problem;

/// Samples that one query of a test may hold: what the server allows by default.
const SAMPLES_MAX: u64 = 50_000_000;

/// How old a sample may be to stand for "now".
const LOOKBACK: Duration = Duration::from_secs(5 * 60);

/// How `test rules` was called.
#[derive(Clone, Debug, Default)]
pub struct UnitTestOptions {
    /// `--enable-feature`
    pub features: Features,
    /// `--run`: only tests whose name this matches.
    pub run: Option<AnchoredRegex>,
    /// `--diff`: of alerts, show what is missing and what is too much instead of both lists.
    pub shows_difference: bool,
}

/// What became of one file.
#[derive(Clone, Debug, Default)]
pub struct FileReport {
    /// The file.
    pub name: String,
    /// Why its tests could not be run; empty in the ordinary case.
    pub errors: Vec<String>,
    /// What may be a mistake.
    pub warnings: Vec<String>,
    /// Its tests.
    pub cases: Vec<CaseReport>,
}

/// What became of one test.
#[derive(Clone, Debug)]
pub struct CaseReport {
    /// Its name, or its number.
    pub name: String,
    /// What failed; empty if all is well.
    pub failures: Vec<String>,
}

/// The pattern for `--run`, which may be given several times. It matches anywhere in a name.
pub fn run_pattern(patterns: &[String]) -> Result<Option<AnchoredRegex>, RegexError> {
    if patterns.is_empty() {
        return Ok(None);
    }
    AnchoredRegex::new(&format!(".*(?:{}).*", patterns.join("|"))).map(Some)
}

/// Runs the tests of one file.
pub fn run_unit_tests(path: &Path, options: &UnitTestOptions) -> FileReport {
    let mut report = FileReport { name: path.display().to_string(), ..FileReport::default() };
    if let Err(problems) = run_file(path, options, &mut report) {
        report.errors = problems.iter().map(ToString::to_string).collect();
    }
    report
}

impl FileReport {
    /// Whether all tests could be run and passed.
    pub fn is_success(&self) -> bool {
        self.errors.is_empty() && self.cases.iter().all(|case| case.failures.is_empty())
    }

    /// Writes the outcome as promtool does: the verdict to `out`, what is wrong to `err`.
    pub fn write(&self, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
        for warning in &self.warnings {
            writeln!(err, "  WARNING: {warning}")?;
        }
        if self.is_success() {
            return writeln!(out, "  SUCCESS\n");
        }
        writeln!(err, "  FAILED:")?;
        for failure in self.errors.iter().chain(self.cases.iter().flat_map(|case| &case.failures)) {
            writeln!(err, "{failure}")?;
        }
        writeln!(out)
    }
}

fn run_file(path: &Path, options: &UnitTestOptions, report: &mut FileReport) -> Result<(), Vec<Problem>> {
    let name = report.name.clone();
    let text = std::fs::read(path).map_err(|error| file_problem(&name, &format!("cannot be read: {error}")))?;
    let text = String::from_utf8(text).map_err(|_| file_problem(&name, "is not UTF-8 text"))?;
    let file = document::parse_test_file(&name, &text)?;
    let rule_files = rule_files(path, &file, report)?;
    let mut group_order = HashMap::new();
    for (position, group) in file.group_eval_order.iter().enumerate() {
        if group_order.insert(group.clone(), position).is_some() {
            return Err(file_problem(&name, &format!("group name repeated in evaluation order: {group}")));
        }
    }
    let context = FileContext {
        rule_files: &rule_files,
        evaluation_interval: file.evaluation_interval,
        group_order: &group_order,
        is_fuzzy: file.fuzzy_compare,
        options,
    };
    for (index, test) in file.tests.iter().enumerate() {
        if options.run.as_ref().is_some_and(|run| !run.is_match(&test.name)) {
            continue;
        }
        let name = if test.name.is_empty() { format!("unnamed#{index}") } else { test.name.clone() };
        report.cases.push(CaseReport { name, failures: run_test(test, &context) });
    }
    Ok(())
}

/// The files that `rule_files` names, relative to the test file's folder.
fn rule_files(path: &Path, file: &TestFile, report: &mut FileReport) -> Result<Vec<PathBuf>, Vec<Problem>> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut all = Vec::new();
    for pattern in file.rule_files.iter().filter(|pattern| !pattern.is_empty()) {
        let pattern = folder.join(pattern);
        let found = glob(&pattern).map_err(|error| file_problem(&report.name, &error.to_string()))?;
        if found.is_empty() {
            report.warnings.push(format!("no file match pattern {}", pattern.display()));
        }
        all.extend(found.into_iter().filter(|path| !all.contains(path)).collect::<Vec<_>>());
    }
    Ok(all)
}

/// Evaluates on the test's own store.
struct EngineQuery {
    engine: Engine,
    store: Arc<MemoryStore>,
}

impl EngineQuery {
    fn new(store: Arc<MemoryStore>, features: Features, default_step: Duration) -> Self {
        let settings = EngineSettings { lookback: LOOKBACK, samples_max: SAMPLES_MAX, default_step, features };
        Self { engine: Engine::new(settings), store }
    }
}

impl Query for EngineQuery {
    fn query(&self, expr: &Expr, at: Timestamp) -> Result<QueryResult, QueryError> {
        self.engine.instant(&*self.store, expr, at, &QueryOptions::default())
    }
}

#[cfg(test)]
mod tests;
