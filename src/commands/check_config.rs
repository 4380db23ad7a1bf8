//! `outpost check config`: a configuration, the files that it names, and what is in them.

use std::path::Path;

use super::{print, print_error, rules};
use crate::cli::CheckConfig;
use crate::config::{Config, ConfigError};

/// Whether all files are good; says on standard output what is, on standard error what is not.
pub fn run(check: &CheckConfig) -> bool {
    let results: Vec<bool> = check.files.iter().map(|path| check_file(path, check)).collect();
    results.iter().all(|is_good| *is_good)
}

fn check_file(path: &Path, check: &CheckConfig) -> bool {
    print(&format!("Checking {}\n", path.display()));
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => {
            print_error(&described(&error));
            return false;
        }
    };
    for warning in &config.warnings {
        print(&format!("  WARNING: {warning}\n"));
    }
    let findings = if check.syntax_only { Default::default() } else { config.check_files() };
    for warning in &findings.warnings {
        print(&format!("  WARNING: {}: {warning}\n", path.display()));
    }
    for problem in &findings.problems {
        print_error(&format!("  FAILED: {}: {problem}\n", path.display()));
    }
    if !findings.problems.is_empty() {
        return false;
    }
    let (jobs, rule_files) = (config.jobs.len(), config.rule_files.len());
    print(&format!("  SUCCESS: {} is valid: {jobs} scrape jobs, {rule_files} rule files\n", path.display()));
    check.syntax_only || rules::check_all(&config.rule_files, check.features, check.lints)
}

fn described(error: &ConfigError) -> String {
    match error {
        ConfigError::Unreadable { source, .. } => format!("  FAILED: {error}: {source}\n"),
        ConfigError::Invalid(problems) => problems.iter().map(|problem| format!("  FAILED: {problem}\n")).collect(),
    }
}
