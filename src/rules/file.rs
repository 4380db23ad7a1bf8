//! Rule files: YAML to checked groups, with every complaint at its place.
//!
//! Format and rules of validity: prometheus/model/rulefmt/rulefmt.go (3.5). All problems of a file
//! are collected, so that one run of a check shows them all; a file with a problem gives no groups.

use std::collections::HashSet;
use std::path::Path;

use super::expand;
use super::settings::RuleSettings;
use super::spec::{AlertingSpec, GroupSpec, LabelTexts, RuleKind, RuleSpec};
use crate::model::METRIC_NAME;
use crate::promql::{self, Features};
use crate::yaml::{Field, Position, Problem, Report, Section, parse_first};

/// Reads and checks the file at `path`; `settings` holds what its groups leave open. The problems are
/// never none.
pub fn read_rule_file(path: &Path, settings: &RuleSettings) -> Result<Vec<GroupSpec>, Vec<Problem>> {
    let file = path.display().to_string();
    let text = std::fs::read(path).map_err(|error| file_problem(&file, &format!("cannot be read: {error}")))?;
    let text = String::from_utf8(text).map_err(|_| file_problem(&file, "is not UTF-8 text"))?;
    parse_rule_file(&file, &text, settings)
}

/// Checks the text of a rule file; `file` names it in problems and in the groups.
pub fn parse_rule_file(file: &str, text: &str, settings: &RuleSettings) -> Result<Vec<GroupSpec>, Vec<Problem>> {
    let report = Report::new(file);
    let groups = match parse_first(text) {
        Ok(root) => {
            let top = report.root(&root).section();
            let groups = groups(&top, file, settings);
            top.finish(|_| None);
            groups
        }
        Err(error) => {
            report.problem(error.at, "", error.message);
            Vec::new()
        }
    };
    let (problems, _) = report.into_parts();
    if problems.is_empty() { Ok(groups) } else { Err(problems) }
}

/// A problem of a file as a whole.
pub fn file_problem(file: &str, message: &str) -> Vec<Problem> {
    let at = Position { line: 1, column: 1 };
    vec![Problem { file: file.to_owned(), at, path: String::new(), message: message.to_owned() }]
}

fn groups(top: &Section<'_>, file: &str, settings: &RuleSettings) -> Vec<GroupSpec> {
    let mut names = HashSet::new();
    given(top.get("groups")).iter().map(|field| group(field, file, settings, &mut names)).collect()
}

fn group(field: &Field<'_>, file: &str, settings: &RuleSettings, names: &mut HashSet<String>) -> GroupSpec {
    let section = field.section();
    let name = section.text("name").unwrap_or_default();
    if name.is_empty() {
        section.problem("name", "the group's name must not be empty");
    } else if !names.insert(name.clone()) {
        section.problem("name", format!("group {name:?} is repeated in the same file; names must be unique within it"));
    }
    let limit = section.get("limit").and_then(|limit| limit.integer()).unwrap_or(0);
    let labels = labels(section.get("labels"), &format!("group {name:?}"));
    // An interval of 0 stands for the global one, an offset of 0 for itself.
    let interval = section.duration("interval").unwrap_or(settings.evaluation_interval);
    let query_offset =
        section.get("query_offset").filter(|offset| !offset.is_null()).and_then(|field| field.duration());
    let query_offset = query_offset.unwrap_or(settings.query_offset);
    let rules = given(section.get("rules"));
    let rules = rules.iter().enumerate().filter_map(|(index, field)| {
        let section = field.section();
        let (record, alert) = (section.text("record"), section.text("alert"));
        let shown = alert.as_ref().or(record.as_ref()).map_or("", String::as_str);
        let context = format!("group {name:?}, rule {}, {shown:?}", index + 1);
        RuleReader { section, features: settings.features, context, record, alert }.read(&labels)
    });
    let rules = rules.collect();
    section.finish(|_| None);
    // A negative limit is none, as 0 is.
    GroupSpec { name, file: file.to_owned(), interval, query_offset, limit: u64::try_from(limit).unwrap_or(0), rules }
}

/// One rule of a file, and how to name it in problems.
struct RuleReader<'d> {
    section: Section<'d>,
    features: Features,
    context: String,
    record: Option<String>,
    alert: Option<String>,
}

impl RuleReader<'_> {
    /// The rule, or nothing where its name or expression is not known; problems are reported in
    /// either case.
    fn read(self, group_labels: &LabelTexts) -> Option<RuleSpec> {
        let expr = self.expr();
        let labels = labels(self.section.get("labels"), &self.context);
        let alerting = AlertingSpec {
            hold: self.section.duration("for").unwrap_or_default(),
            keep_firing_for: self.section.duration("keep_firing_for").unwrap_or_default(),
            annotations: self.annotations(),
        };
        match (&self.record, &self.alert) {
            (Some(_), Some(_)) => self.problem("record", "only one of 'record' and 'alert' must be set"),
            (None, None) => self.problem("record", "one of 'record' or 'alert' must be set"),
            (Some(record), None) => self.check_recording(record, &alerting),
            (None, Some(alert)) => {
                self.check_templates(alert, "labels", "label", &labels);
                self.check_templates(alert, "annotations", "annotation", &alerting.annotations);
            }
        }
        self.section.finish(|_| None);
        let kind = if self.alert.is_some() { RuleKind::Alerting(alerting) } else { RuleKind::Recording };
        let (name, expr) = (self.alert.or(self.record)?, expr?);
        let labels = LabelTexts::merged(group_labels, &labels);
        Some(RuleSpec { name, query: expr.to_string(), expr, labels, kind })
    }

    fn problem(&self, key: &'static str, message: &str) {
        self.section.problem(key, format!("{}: {message}", self.context));
    }

    fn expr(&self) -> Option<promql::ast::Expr> {
        let Some(text) = self.section.text("expr") else {
            self.problem("expr", "field 'expr' must be set in rule");
            return None;
        };
        promql::parse(&text, self.features)
            .map_err(|error| self.problem("expr", &format!("could not parse expression: {error}")))
            .ok()
    }

    fn check_recording(&self, record: &str, alerting: &AlertingSpec) {
        let misplaced = [
            ("annotations", alerting.annotations.iter().next().is_some()),
            ("for", !alerting.hold.is_zero()),
            ("keep_firing_for", !alerting.keep_firing_for.is_zero()),
        ];
        for (key, _) in misplaced.into_iter().filter(|(_, is_set)| *is_set) {
            self.problem(key, &format!("invalid field '{key}' in recording rule"));
        }
        // Any other text is a valid metric name, but braces mean that an expression was written here.
        if record.contains(['{', '}']) {
            self.problem("record", "braces present in the recording rule name; should it be in expr?");
        }
    }

    fn annotations(&self) -> LabelTexts {
        let pairs = self.section.get("annotations").map(|field| field.pairs()).unwrap_or_default();
        if pairs.iter().any(|(name, _)| name.is_empty()) {
            self.problem("annotations", "invalid annotation name: \"\"");
        }
        pairs.into_iter().filter_map(|(name, text)| Some((name, text.text()?))).collect()
    }

    fn check_templates(&self, alert: &str, key: &'static str, what: &str, texts: &LabelTexts) {
        for (name, text) in texts.iter() {
            if let Err(reason) = expand::check(alert, text) {
                self.problem(key, &format!("{what} {name:?}: {reason}"));
            }
        }
    }
}

fn labels(field: Option<Field<'_>>, context: &str) -> LabelTexts {
    let pairs = field.as_ref().map(Field::pairs).unwrap_or_default();
    for (name, label) in pairs.iter().filter(|(name, _)| name.is_empty() || name == METRIC_NAME) {
        label.problem(format!("{context}: invalid label name: {name:?}"));
    }
    pairs.into_iter().filter_map(|(name, text)| Some((name, text.text()?))).collect()
}

/// The items of a list; null ones count as not written.
fn given<'d>(list: Option<Field<'d>>) -> Vec<Field<'d>> {
    let items = list.map(|field| field.items()).unwrap_or_default();
    items.into_iter().filter(|item| !item.is_null()).collect()
}
