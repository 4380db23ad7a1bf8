//! The configuration and the files that it names.

use crate::cli::RunOptions;
use crate::commands::finding::Finding;
use crate::config::{Config, ConfigError};
use crate::rules::{CheckOptions, check_files};

const SUBJECT: &str = "configuration";

/// All findings, and the configuration if it can be used.
pub fn look(options: &RunOptions) -> (Vec<Finding>, Option<Config>) {
    let Some(path) = &options.config_file else {
        let what = "the built-in one: this host, its containers and outpost";
        return (vec![Finding::good(SUBJECT, what)], Some(Config::default_embedded()));
    };
    let mend = format!("outpost check config {}", path.display());
    let problem = |what: String| {
        let why = "outpost does not start with it, and a running one keeps the old one";
        Finding::problem(SUBJECT, what, why, mend.clone())
    };
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(ConfigError::Invalid(problems)) => {
            return (problems.iter().map(|mistake| problem(mistake.to_string())).collect(), None);
        }
        Err(error @ ConfigError::Unreadable { .. }) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            return (vec![problem(format!("{error}{cause}"))], None);
        }
    };
    let checked = config.check_files();
    let mut findings: Vec<Finding> = checked.problems.into_iter().map(problem).collect();
    let rules = CheckOptions { features: options.features.promql, lints_duplicates: false };
    findings.extend(check_files(&config.rule_files, rules).into_iter().flat_map(|file| file.errors).map(problem));
    let warnings = config.warnings.iter().map(ToString::to_string).chain(checked.warnings);
    let why = "it may do less than it seems to say";
    findings.extend(warnings.map(|warning| Finding::warning(SUBJECT, warning, why, mend.clone())));
    if findings.is_empty() {
        findings.push(Finding::good(SUBJECT, format!("{} is valid", path.display())));
    }
    (findings, Some(config))
}
