//! `outpost check rules` and `outpost test rules`.

use std::io;
use std::path::{Path, PathBuf};

use super::{fail, print};
use crate::cli::{CheckRules, RuleLints, TestRules};
use crate::clock::Clock;
use crate::promql::Features;
use crate::rules::unit_test::{FileReport, UnitTestOptions, junit_xml, run_pattern, run_unit_tests};
use crate::rules::{CheckOptions, check_files};

/// Whether all rule files are good.
pub fn check(check: &CheckRules) -> bool {
    check_all(&check.files, check.features, check.lints)
}

/// Checks rule files: mistakes are a failure, what is merely suspicious only if `lints` says so.
pub fn check_all(files: &[PathBuf], features: Features, lints: RuleLints) -> bool {
    let options = CheckOptions { features, lints_duplicates: lints.duplicates };
    let mut is_good = true;
    for file in check_files(files, options) {
        // Like all output: a reader that has gone away is no error.
        let _ = file.write(&mut io::stdout(), &mut io::stderr());
        is_good &= file.errors.is_empty() && (file.lints.is_empty() || !lints.are_fatal);
    }
    is_good
}

/// Whether all tests of all files pass.
pub fn test(test: &TestRules) -> bool {
    let run = match run_pattern(&test.run) {
        Ok(run) => run,
        Err(error) => return fail(&format!("--run: {error}")),
    };
    let options = UnitTestOptions { features: test.features, run, shows_difference: test.shows_difference };
    let reports: Vec<FileReport> = test
        .files
        .iter()
        .map(|path| {
            print(&format!("Unit Testing:  {}\n", path.display()));
            let report = run_unit_tests(path, &options);
            let _ = report.write(&mut io::stdout(), &mut io::stderr());
            report
        })
        .collect();
    let is_written = test.junit.as_ref().is_none_or(|path| write_junit(path, &reports));
    is_written && reports.iter().all(FileReport::is_success)
}

fn write_junit(path: &Path, reports: &[FileReport]) -> bool {
    let xml = junit_xml(reports, Clock::system().now());
    match std::fs::write(path, xml) {
        Ok(()) => true,
        Err(error) => fail(&format!("--junit: {} cannot be written: {error}", path.display())),
    }
}
