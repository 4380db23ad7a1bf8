//! The configuration and the files that it names.

use super::host::Host;
use super::rights;
use crate::cli::RunOptions;
use crate::commands::finding::Finding;
use crate::config::{Config, ConfigError};
use crate::glob::glob;
use crate::rules::{CheckOptions, check_files};

const SUBJECT: &str = "configuration";

/// All findings, and the configuration if it can be used.
pub fn look(host: &Host, options: &RunOptions) -> (Vec<Finding>, Option<Config>) {
    let Some(path) = &options.config_file else {
        let what = "the built-in one: this host, its containers and outpost";
        return (vec![Finding::good(SUBJECT, what)], Some(Config::default_embedded()));
    };
    let mend = format!("outpost check config {}", path.display());
    let problem = |what: String| {
        let why = "outpost does not start with it, and a running one keeps the old one";
        let mend = mend_of(&what, &mend);
        Finding::problem(SUBJECT, what, why, mend)
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
    findings.extend(warnings.map(|warning| {
        let mend = mend_of(&warning, &mend);
        Finding::warning(SUBJECT, warning, why, mend)
    }));
    let included = config.scrape_config_patterns.iter().flat_map(|pattern| glob(pattern).unwrap_or_default());
    let files = [path.clone()].into_iter().chain(included).chain(config.rule_files.clone()).chain(checked.files);
    findings.extend(rights::look(host, SUBJECT, files));
    if findings.is_empty() {
        findings.push(Finding::good(SUBJECT, format!("{} is valid", path.display())));
    }
    (findings, Some(config))
}

fn mend_of(what: &str, usual: &str) -> String {
    if what.contains(rights::CREDENTIALS) {
        return "systemd puts it there while the service runs, where a drop-in says LoadCredential=NAME:FILE: systemctl cat \
                outpost shows them, sudo systemctl edit outpost adds one"
            .to_owned();
    }
    usual.to_owned()
}
