//! `global`: what holds for all jobs and rules.

use std::time::Duration;

use super::{job, unsupported};
use crate::model::{Labels, LabelsBuilder};
use crate::scrape::{JobSettings, NameEscaping};
use crate::yaml::{Field, Section};

/// `global`, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct GlobalSettings {
    /// `evaluation_interval`, by default 1 min.
    pub evaluation_interval: Duration,
    /// `rule_query_offset`, by default 0.
    pub rule_query_offset: Duration,
    /// `external_labels`, environment variables expanded.
    pub external_labels: Labels,
    /// What jobs inherit: `scrape_interval`, `scrape_timeout`, protocols, limits, names.
    pub job_defaults: JobSettings,
}

impl Default for GlobalSettings {
    fn default() -> Self {
        Self {
            evaluation_interval: Duration::from_secs(60),
            rule_query_offset: Duration::ZERO,
            external_labels: Labels::empty(),
            job_defaults: JobSettings::default(),
        }
    }
}

/// Reads `global`; `job_defaults` holds what it leaves out.
pub fn read(field: Option<Field<'_>>, job_defaults: &JobSettings) -> GlobalSettings {
    let mut defaults = job_defaults.clone();
    let Some(field) = field else { return GlobalSettings { job_defaults: defaults, ..GlobalSettings::default() } };
    let section = field.section();
    read_times(&section, &mut defaults);
    if let Some(protocols) = job::protocols(&section) {
        defaults.scrape_protocols = protocols;
    }
    defaults.limits = job::limits(&section, &defaults.limits);
    read_names(&section, &mut defaults);
    defaults.always_scrape_classic_histograms = section.boolean("always_scrape_classic_histograms").unwrap_or_default();
    unsupported::read_histogram_conversion(&section);
    unsupported::read_log_files(&section);
    let settings = GlobalSettings {
        evaluation_interval: section.duration("evaluation_interval").unwrap_or(Duration::from_secs(60)),
        rule_query_offset: section.duration("rule_query_offset").unwrap_or_default(),
        external_labels: external_labels(&section),
        job_defaults: defaults,
    };
    section.finish(unsupported::global);
    settings
}

fn read_times(section: &Section<'_>, defaults: &mut JobSettings) {
    defaults.scrape_interval = section.duration("scrape_interval").unwrap_or(defaults.scrape_interval);
    match section.duration("scrape_timeout") {
        Some(timeout) if timeout > defaults.scrape_interval => {
            section.problem("scrape_timeout", job::timeout_too_long(timeout, defaults.scrape_interval));
        }
        Some(timeout) => defaults.scrape_timeout = timeout,
        None => defaults.scrape_timeout = defaults.scrape_timeout.min(defaults.scrape_interval),
    }
}

fn read_names(section: &Section<'_>, defaults: &mut JobSettings) {
    defaults.legacy_names_only = job::legacy_names(section).unwrap_or_default();
    let usual = if defaults.legacy_names_only { NameEscaping::Underscores } else { NameEscaping::AllowUtf8 };
    defaults.name_escaping = job::name_escaping(section).unwrap_or(usual);
}

fn external_labels(section: &Section<'_>) -> Labels {
    let mut labels = LabelsBuilder::default();
    let Some(field) = section.get("external_labels") else { return Labels::empty() };
    for (name, value) in field.pairs() {
        if name.is_empty() {
            value.problem("a label's name must not be empty");
            continue;
        }
        let Some(text) = value.text() else { continue };
        let expanded = expand(&text, |variable| {
            let found = std::env::var(variable).ok().filter(|found| !found.is_empty());
            if found.is_none() {
                value.warning(format!("environment variable {variable:?} is not set or empty"));
            }
            found
        });
        labels.set(name, expanded);
    }
    labels.build()
}

/// Replaces `$name` and `${name}`; `$$` is a dollar sign. The spelling is that of Go's os.Expand.
fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut output = String::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        output.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        let (name, consumed) = variable(after);
        match name {
            Some("$") => output.push('$'),
            Some(name) => output.push_str(&lookup(name).unwrap_or_default()),
            // Nothing that could be a name: the dollar sign stands for itself, except before a brace.
            None if consumed == 0 => output.push('$'),
            None => {}
        }
        rest = &after[consumed..];
    }
    output + rest
}

/// The variable's name behind a dollar sign, and how many bytes it takes.
fn variable(after: &str) -> (Option<&str>, usize) {
    if let Some(inside) = after.strip_prefix('{') {
        return match inside.find('}') {
            Some(0) => (None, 2),
            Some(end) => (Some(&inside[..end]), end + 2),
            None => (None, 1),
        };
    }
    if after.starts_with(|c: char| c.is_ascii_digit() || "*#$@!?-".contains(c)) {
        return (Some(&after[..1]), 1);
    }
    let len = after.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
    ((len > 0).then(|| &after[..len]), len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_as_go_does() {
        let lookup = |name: &str| (name == "TEST").then(|| "x".to_owned());
        let cases = [
            ("foo", "foo"),
            ("$TEST", "x"),
            ("${TEST}", "x"),
            ("foo${TEST}bar", "fooxbar"),
            ("foo$${TEST}", "foo${TEST}"),
            ("foo$$bar", "foo$bar"),
            ("$TESTbar", ""),
            ("${}a", "a"),
            ("${TEST", "TEST"),
            ("a$", "a$"),
            ("a$ b", "a$ b"),
            ("$1a", "a"),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text, lookup), expected, "{text}");
        }
    }
}
