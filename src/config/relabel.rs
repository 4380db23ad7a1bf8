//! `relabel_configs` and its relatives. Source of the rules: prometheus/model/relabel/relabel.go.

use crate::model::{AnchoredRegex, RelabelAction, RelabelRule};
use crate::yaml::{Field, Section};

const DEFAULT_REGEX: &str = "(.*)";
const DEFAULT_REPLACEMENT: &str = "$1";
const DEFAULT_SEPARATOR: &str = ";";

/// Actions as they are written.
const ACTIONS: [(&str, RelabelAction); 11] = [
    ("replace", RelabelAction::Replace),
    ("keep", RelabelAction::Keep),
    ("drop", RelabelAction::Drop),
    ("keepequal", RelabelAction::KeepEqual),
    ("dropequal", RelabelAction::DropEqual),
    ("hashmod", RelabelAction::HashMod),
    ("labelmap", RelabelAction::LabelMap),
    ("labeldrop", RelabelAction::LabelDrop),
    ("labelkeep", RelabelAction::LabelKeep),
    ("lowercase", RelabelAction::Lowercase),
    ("uppercase", RelabelAction::Uppercase),
];

/// How an action is written.
pub fn action_name(action: RelabelAction) -> &'static str {
    ACTIONS.iter().find(|(_, known)| *known == action).map_or("replace", |(name, _)| name)
}

/// The rules under `key`.
pub fn read(section: &Section<'_>, key: &'static str) -> Vec<RelabelRule> {
    section.items(key).iter().filter_map(rule).collect()
}

fn rule(field: &Field<'_>) -> Option<RelabelRule> {
    if field.is_null() {
        field.problem("an empty relabeling rule; remove it");
        return None;
    }
    let section = field.section();
    let text = |key, usual: &str| match section.get(key) {
        Some(field) => field.text().unwrap_or_default(),
        None => usual.to_owned(),
    };
    let action = action(&section);
    let regex = regex(&section);
    let rule = RelabelRule {
        source_labels: source_labels(&section),
        separator: text("separator", DEFAULT_SEPARATOR),
        regex: regex?,
        modulus: section.unsigned("modulus").unwrap_or(0),
        target_label: text("target_label", ""),
        replacement: text("replacement", DEFAULT_REPLACEMENT),
        action: action?,
    };
    check(&section, &rule);
    section.finish(|_| None);
    Some(rule)
}

fn action(section: &Section<'_>) -> Option<RelabelAction> {
    let Some(field) = section.get("action") else { return Some(RelabelAction::Replace) };
    let text = field.text()?;
    let lower = text.to_ascii_lowercase();
    let found = ACTIONS.iter().find(|(name, _)| *name == lower);
    if found.is_none() {
        let names: Vec<&str> = ACTIONS.iter().map(|(name, _)| *name).collect();
        field.problem(format!("unknown action {text:?}; known are {}", names.join(", ")));
    }
    found.map(|(_, action)| *action)
}

fn regex(section: &Section<'_>) -> Option<AnchoredRegex> {
    let field = section.get("regex");
    let pattern = match &field {
        Some(field) => field.text()?,
        None => DEFAULT_REGEX.to_owned(),
    };
    AnchoredRegex::new(&pattern).map_err(|error| section.problem("regex", error.to_string())).ok()
}

fn source_labels(section: &Section<'_>) -> Vec<String> {
    let mut labels = Vec::new();
    for field in section.items("source_labels") {
        match field.text() {
            Some(name) if name.is_empty() => field.problem("a label's name must not be empty"),
            Some(name) => labels.push(name),
            None => {}
        }
    }
    labels
}

fn check(section: &Section<'_>, rule: &RelabelRule) {
    use RelabelAction as A;
    let name = action_name(rule.action);
    if rule.action == A::HashMod && rule.modulus == 0 {
        section.problem("modulus", "action hashmod needs a `modulus` greater than 0");
    }
    let needs_target =
        matches!(rule.action, A::Replace | A::HashMod | A::Lowercase | A::Uppercase | A::KeepEqual | A::DropEqual);
    if needs_target && rule.target_label.is_empty() {
        section.problem("target_label", format!("action {name} needs a `target_label`"));
    }
    let fixed_replacement = matches!(rule.action, A::Lowercase | A::Uppercase | A::KeepEqual | A::DropEqual);
    if fixed_replacement && rule.replacement != DEFAULT_REPLACEMENT {
        section.problem("replacement", format!("action {name} takes no `replacement`"));
    }
    if rule.action == A::LabelMap && rule.replacement.is_empty() {
        section.problem("replacement", "action labelmap needs a `replacement` that gives a label name");
    }
    check_extra_keys(section, rule, name);
}

/// Some actions take few keys, and a key that is written without effect would mislead.
fn check_extra_keys(section: &Section<'_>, rule: &RelabelRule, name: &str) {
    use RelabelAction as A;
    let usual_rest =
        rule.modulus == 0 && rule.separator == DEFAULT_SEPARATOR && rule.replacement == DEFAULT_REPLACEMENT;
    match rule.action {
        A::KeepEqual | A::DropEqual if !usual_rest || section.has("regex") => {
            section.problem("action", format!("action {name} takes only `source_labels` and `target_label`"));
        }
        A::LabelDrop | A::LabelKeep if !usual_rest || section.has("source_labels") || !rule.target_label.is_empty() => {
            section.problem("action", format!("action {name} takes only `regex`"));
        }
        _ => {}
    }
}
