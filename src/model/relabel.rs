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
            RelabelAction::Lowercase => self.set_target(labels, joined.chars().map(lower).collect()),
            RelabelAction::Uppercase => self.set_target(labels, joined.chars().map(upper).collect()),
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

/// Go's `unicode.ToLower`: one character for one, whatever stands around it (`İ` becomes `i`, a final `Σ` becomes `σ`).
fn lower(char: char) -> char {
    char.to_lowercase().next().unwrap_or(char)
}

/// Go's `unicode.ToUpper`: a character whose upper case would be several (`ß`) stays.
fn upper(char: char) -> char {
    let mut mapped = char.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(single), None) => single,
        _ => char,
    }
}

/// The last eight bytes of the MD5 sum, big-endian: what Prometheus takes the modulus of.
fn md5_tail(text: &str) -> u64 {
    use md5::{Digest, Md5};
    let sum: [u8; 16] = Md5::digest(text.as_bytes()).into();
    sum[8..].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    fn rule(action: RelabelAction) -> RelabelRule {
        RelabelRule {
            source_labels: vec![],
            separator: ";".to_owned(),
            regex: AnchoredRegex::new("(.*)").expect("valid"),
            modulus: 0,
            target_label: String::new(),
            replacement: "$1".to_owned(),
            action,
        }
    }

    fn from(action: RelabelAction, sources: &[&str], regex: &str, target: &str, replacement: &str) -> RelabelRule {
        RelabelRule {
            source_labels: sources.iter().map(|name| (*name).to_owned()).collect(),
            regex: AnchoredRegex::new(regex).expect("valid"),
            target_label: target.to_owned(),
            replacement: replacement.to_owned(),
            ..rule(action)
        }
    }

    /// `a=1,b=2` as a set.
    fn parse(text: &str) -> Labels {
        Labels::from_pairs(text.split(',').filter_map(|pair| pair.split_once('=')))
    }

    fn check(rules: &[RelabelRule], input: &str, expected: Option<&str>) {
        let mut labels = parse(input).to_builder();
        let kept = relabel(&mut labels, rules);
        let found = kept.then(|| labels.build());
        assert_eq!(found, expected.map(parse), "{rules:?} on {input}");
    }

    #[test]
    fn replace() {
        use RelabelAction::Replace;
        let cases = [
            (from(Replace, &["a"], "f(.*)", "d", "ch${1}-ch${1}"), "a=foo,b=bar", "a=foo,b=bar,d=choo-choo"),
            // Every source counts, also one that is absent.
            (from(Replace, &["a", "x", "b"], "(.*)", "d", "$1"), "a=1,b=2", "a=1,b=2,d=1;;2"),
            // No match, no change; matching is of the whole text.
            (from(Replace, &["a"], "oo", "d", "x"), "a=foo", "a=foo"),
            // An empty result removes the target; so does an empty replacement.
            (from(Replace, &["a"], "f(x?).*", "b", "$1"), "a=foo,b=bar", "a=foo"),
            (from(Replace, &["a"], ".*", "a", ""), "a=foo,b=1", "b=1"),
            // Groups in the target; a target that comes out empty is no label name.
            (
                from(Replace, &["a"], "some-([^-]+)-([^,]+)", "${1}", "${2}"),
                "a=some-name-value",
                "a=some-name-value,name=value",
            ),
            (from(Replace, &["a"], "(x?).*", "${1}", "v"), "a=foo", "a=foo"),
            // Unknown groups are empty, `$$` is a dollar, a lone dollar is itself.
            (from(Replace, &["a"], "(.*)", "d", "<$2$$1$1x$>"), "a=foo", "a=foo,d=<$1$>"),
            (from(Replace, &["a"], "(?P<n>f).*", "d", "${n}g"), "a=foo", "a=foo,d=fg"),
            // Without sources: a constant.
            (from(Replace, &[], "(.*)", "d", "constant"), "a=1", "a=1,d=constant"),
            // A dot matches a newline.
            (from(Replace, &["a"], "x(.)y", "d", "z"), "a=x\ny", "a=x\ny,d=z"),
            // Names beyond the legacy characters are names.
            (from(Replace, &["a"], "(.*)", "d.e/$1", "v"), "a=ü", "a=ü,d.e/ü=v"),
        ];
        for (rule, input, expected) in cases {
            check(&[rule], input, Some(expected));
        }
    }

    #[test]
    fn keep_and_drop() {
        use RelabelAction::{Drop, DropEqual, Keep, KeepEqual};
        let cases = [
            (from(Keep, &["a"], "f.*", "", ""), "a=foo", true),
            (from(Keep, &["a"], "f", "", ""), "a=foo", false),
            (from(Keep, &["x"], "", "", ""), "a=foo", true),
            (from(Drop, &["a"], ".*o.*", "", ""), "a=foo", false),
            (from(Drop, &["x"], ".+", "", ""), "a=foo", true),
            (from(Drop, &["a", "b"], "1;2", "", ""), "a=1,b=2", false),
            (from(KeepEqual, &["a"], "(.*)", "b", ""), "a=1,b=1", true),
            (from(KeepEqual, &["a"], "(.*)", "b", ""), "a=1,b=2", false),
            (from(KeepEqual, &["x"], "(.*)", "y", ""), "a=1", true),
            (from(DropEqual, &["a"], "(.*)", "b", ""), "a=1,b=1", false),
            (from(DropEqual, &["a", "b"], "(.*)", "c", ""), "a=1,b=2,c=1;2", false),
            (from(DropEqual, &["a"], "(.*)", "b", ""), "a=1,b=2", true),
        ];
        for (rule, input, kept) in cases {
            check(&[rule], input, kept.then_some(input));
        }
    }

    #[test]
    fn names_and_case() {
        use RelabelAction::{LabelDrop, LabelKeep, LabelMap, Lowercase, Uppercase};
        let cases = [
            (from(LabelMap, &[], "meta_(.*)", "", "$1"), "a=1,meta_b=2,meta_a=3", "a=3,b=2,meta_a=3,meta_b=2"),
            (from(LabelMap, &[], "meta_(ng.*)", "", "${1}_$1"), "meta_ng=1", "meta_ng=1,ng_ng=1"),
            (from(LabelDrop, &[], "(a|b).*", "", ""), "a=1,ab=2,ca=3", "ca=3"),
            (from(LabelKeep, &[], "a.*", "", ""), "a=1,ab=2,ca=3", "a=1,ab=2"),
            (from(Lowercase, &["a"], "(.*)", "d", "$1"), "a=BaR-ÄΣ", "a=BaR-ÄΣ,d=bar-äσ"),
            (from(Uppercase, &["a"], "(.*)", "d", "$1"), "a=bar-äß", "a=bar-äß,d=BAR-Äß"),
            (from(Uppercase, &["x"], "(.*)", "a", "$1"), "a=1,b=2", "b=2"),
        ];
        for (rule, input, expected) in cases {
            check(&[rule], input, Some(expected));
        }
    }

    #[test]
    fn hash_mod() {
        // The figures of prometheus/model/relabel/relabel_test.go.
        let of = |source: &str| RelabelRule {
            target_label: "d".to_owned(),
            modulus: 1000,
            ..from(RelabelAction::HashMod, &[source], "(.*)", "d", "$1")
        };
        check(&[of("c")], "a=foo,b=bar,c=baz", Some("a=foo,b=bar,c=baz,d=976"));
        check(&[of("a")], "a=foo\nbar", Some("a=foo\nbar,d=734"));
    }

    #[test]
    fn rules_follow_each_other_until_one_drops() {
        let rules = [
            from(RelabelAction::Replace, &["a"], "(.*)", "b", "${1}x"),
            from(RelabelAction::Keep, &["b"], "1x", "", ""),
            from(RelabelAction::LabelDrop, &[], "a", "", ""),
        ];
        check(&rules, "a=1", Some("b=1x"));
        check(&rules, "a=2", None);
    }
}
