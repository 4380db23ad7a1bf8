//! `check rules`: what is wrong with rule files, shown as promtool shows it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::file::read_rule_file;
use super::settings::RuleSettings;
use super::spec::{GroupSpec, LabelTexts};
use crate::promql::Features;

/// How `check rules` was called.
#[derive(Clone, Copy, Debug)]
pub struct CheckOptions {
    /// `--enable-feature`
    pub features: Features,
    /// `--lint=duplicate-rules` (the default) or `--lint=none`.
    pub lints_duplicates: bool,
}

/// What was found in one file.
#[derive(Clone, Debug)]
pub struct FileCheck {
    /// The file.
    pub file: PathBuf,
    /// How many rules it holds.
    pub rule_count: usize,
    /// What makes it unusable.
    pub errors: Vec<String>,
    /// What is suspicious.
    pub lints: Vec<String>,
}

/// Checks rule files.
pub fn check_files(files: &[PathBuf], options: CheckOptions) -> Vec<FileCheck> {
    files.iter().map(|file| check_file(file, options)).collect()
}

impl FileCheck {
    /// Writes the outcome as promtool does: the verdict to `out`, what is wrong to `err`.
    pub fn write(&self, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "Checking {}", self.file.display())?;
        if self.errors.is_empty() && self.lints.is_empty() {
            writeln!(out, "  SUCCESS: {} rules found", self.rule_count)?;
        } else {
            writeln!(err, "  FAILED:")?;
        }
        for line in self.errors.iter().chain(&self.lints) {
            writeln!(err, "{line}")?;
        }
        writeln!(out)
    }
}

fn check_file(file: &Path, options: CheckOptions) -> FileCheck {
    let settings = RuleSettings { features: options.features, ..RuleSettings::default() };
    let mut check = FileCheck { file: file.to_owned(), rule_count: 0, errors: Vec::new(), lints: Vec::new() };
    match read_rule_file(file, &settings) {
        Ok(groups) => {
            check.rule_count = groups.iter().map(|group| group.rules.len()).sum();
            check.lints = if options.lints_duplicates { duplicates(&groups) } else { Vec::new() };
        }
        Err(problems) => check.errors = problems.iter().map(ToString::to_string).collect(),
    }
    check
}

/// Rules of the same kind, name and labels give the same series, of which the store takes one.
fn duplicates(groups: &[GroupSpec]) -> Vec<String> {
    let mut counts: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for rule in groups.iter().flat_map(|group| &group.rules) {
        *counts.entry((&rule.name, shown(&rule.labels))).or_default() += 1;
    }
    let repeated: Vec<String> = counts
        .into_iter()
        .filter(|(_, count)| *count > 1)
        .map(|((name, labels), _)| format!("Metric: {name}\nLabel(s):\n{labels}"))
        .collect();
    if repeated.is_empty() {
        return Vec::new();
    }
    let (count, list) = (repeated.len(), repeated.concat());
    vec![format!(
        "lint error {count} duplicate rule(s) found.\n{list}Might cause inconsistency while recording expressions"
    )]
}

fn shown(labels: &LabelTexts) -> String {
    labels.iter().map(|(name, text)| format!("\t{name}: {text}\n")).collect()
}
