//! Relabeling: rules that rewrite, keep or drop a label set.
//! Source: prometheus/model/relabel/relabel.go.

use super::{AnchoredRegex, LabelsBuilder};

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are Prometheus's actions")]
pub enum RelabelAction {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

/// One rule of a `relabel_configs` list, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct RelabelRule {
    /// `source_labels`
    pub source_labels: Vec<String>,
    /// `separator`, by default `;`.
    pub separator: String,
    /// `regex`, by default `(.*)`.
    pub regex: AnchoredRegex,
    /// `modulus`
    pub modulus: u64,
    /// `target_label`
    pub target_label: String,
    /// `replacement`, by default `$1`.
    pub replacement: String,
    /// `action`, by default replace.
    pub action: RelabelAction,
}

/// Applies the rules in order; `false` where the set is to be dropped.
pub fn relabel(labels: &mut LabelsBuilder, rules: &[RelabelRule]) -> bool {
    rules.iter().all(|rule| rule.apply(labels))
}

impl RelabelRule {
    /// Applies this rule; `false` where the set is to be dropped.
    fn apply(&self, labels: &mut LabelsBuilder) -> bool {
        let joined = self.joined_sources(labels);
        match self.action {
            RelabelAction::Keep => return self.regex.is_match(&joined),
            RelabelAction::Drop => return !self.regex.is_match(&joined),
            RelabelAction::KeepEqual => return labels.get(&self.target_label).unwrap_or("") == joined,
            RelabelAction::DropEqual => return labels.get(&self.target_label).unwrap_or("") != joined,
            RelabelAction::Replace => self.replace(labels, &joined),
            RelabelAction::HashMod => self.set_target(labels, (md5_tail(&joined) % self.modulus.max(1)).to_string()),
            RelabelAction::Lowercase => self.set_target(labels, joined.to_lowercase()),
            RelabelAction::Uppercase => self.set_target(labels, joined.to_uppercase()),
            RelabelAction::LabelMap => self.map_names(labels),
            RelabelAction::LabelDrop => {
                labels.retain(|name, _| !self.regex.is_match(name));
            }
            RelabelAction::LabelKeep => {
                labels.retain(|name, _| self.regex.is_match(name));
            }
        }
        true
    }

    fn set_target(&self, labels: &mut LabelsBuilder, value: String) {
        labels.set(self.target_label.clone(), value);
    }

    fn joined_sources(&self, labels: &LabelsBuilder) -> String {
        let values: Vec<&str> = self.source_labels.iter().map(|name| labels.get(name).unwrap_or("")).collect();
        values.join(&self.separator)
    }

    fn replace(&self, labels: &mut LabelsBuilder, joined: &str) {
        let Some(value) = self.regex.expand(joined, &self.replacement) else { return };
        let Some(target) = self.regex.expand(joined, &self.target_label) else { return };
        if !target.is_empty() {
            labels.set(target, value);
        }
    }

    fn map_names(&self, labels: &mut LabelsBuilder) {
        let renamed: Vec<(String, String)> = labels
            .iter()
            .filter_map(|(name, value)| Some((self.regex.expand(name, &self.replacement)?, value.to_owned())))
            .collect();
        for (name, value) in renamed {
            labels.set(name, value);
        }
    }
}

/// The last eight bytes of the MD5 sum, big-endian: what Prometheus takes the modulus of.
fn md5_tail(text: &str) -> u64 {
    use md5::{Digest, Md5};
    let sum: [u8; 16] = Md5::digest(text.as_bytes()).into();
    sum[8..].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
