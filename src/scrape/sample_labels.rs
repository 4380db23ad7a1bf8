//! From the labels of a page to those of a stored series: the target's labels, conflicts, relabeling, limits.
//! Source of the rules: prometheus/scrape/scrape.go (mutateSampleLabels, verifyLabelLimits).

use super::bounds::{LABELS_PER_SERIES_MAX, SERIES_BYTES_MAX};
use super::error::LabelError;
use super::{JobLimits, JobSettings};
use crate::exposition::LabelIter;
use crate::model::{
    Labels, LabelsBuilder, METRIC_NAME, RelabelRule, is_legacy_label_name, is_legacy_metric_name, relabel,
};

/// How the labels of a target's samples are made.
#[derive(Clone, Debug)]
pub(super) struct LabelRules {
    target: Labels,
    honor_labels: bool,
    relabel_rules: Vec<RelabelRule>,
    legacy_names_only: bool,
    limits: JobLimits,
}

impl LabelRules {
    /// The rules of one target.
    pub(super) fn new(job: &JobSettings, target: &Labels) -> Self {
        Self {
            target: target.clone(),
            honor_labels: job.honor_labels,
            relabel_rules: job.metric_relabel_rules.clone(),
            legacy_names_only: job.legacy_names_only,
            limits: job.limits.clone(),
        }
    }

    /// The labels of a series of the page, or `None` if relabeling drops it.
    pub(super) fn apply(&self, page: LabelIter<'_>) -> Result<Option<Labels>, LabelError> {
        let mut labels = LabelsBuilder::default();
        // Honored labels count as present even if they are empty: that is how a page takes a label away.
        let mut emptied: Vec<String> = Vec::new();
        let mut bytes = 0;
        for (count, (name, value)) in page.enumerate() {
            bytes += name.len() + value.len();
            if bytes > SERIES_BYTES_MAX || count > LABELS_PER_SERIES_MAX {
                return Err(too_big(&labels, bytes, count));
            }
            if labels.get(&name).is_some() {
                return Err(LabelError::Duplicate(name.into_owned()));
            }
            if value.is_empty() {
                emptied.push(name.into_owned());
            } else {
                labels.set(name, value);
            }
        }
        if self.honor_labels {
            self.fill_in(&mut labels, &emptied);
        } else {
            self.override_with_target(&mut labels);
        }
        if !relabel(&mut labels, &self.relabel_rules) {
            return Ok(None);
        }
        let labels = labels.build();
        // Relabeling that leaves nothing drops the sample as well.
        if labels.is_empty() {
            return Ok(None);
        }
        self.check(&labels)?;
        Ok(Some(labels))
    }

    /// The labels of a series that this program writes itself, such as `up`.
    pub(super) fn report_labels(&self, name: &str) -> Labels {
        let mut labels = self.target.to_builder();
        labels.set(METRIC_NAME, name);
        labels.build()
    }

    fn fill_in(&self, labels: &mut LabelsBuilder, emptied: &[String]) {
        for (name, value) in &self.target {
            if labels.get(name).is_none() && !emptied.iter().any(|emptied| emptied == name) {
                labels.set(name, value);
            }
        }
    }

    fn override_with_target(&self, labels: &mut LabelsBuilder) {
        let mut displaced: Vec<(&str, String)> = Vec::new();
        for (name, value) in &self.target {
            if let Some(exposed) = labels.get(name) {
                displaced.push((name, exposed.to_owned()));
            }
            labels.set(name, value);
        }
        // Shorter names first, so that `exported_a` of the page is not taken for a displaced `a`.
        crate::model::sort_by(&mut displaced, |a, b| a.0.len().cmp(&b.0.len()));
        for (name, value) in displaced {
            let mut renamed = format!("exported_{name}");
            while labels.get(&renamed).is_some() {
                renamed.insert_str(0, "exported_");
            }
            labels.set(renamed, value);
        }
    }

    fn check(&self, labels: &Labels) -> Result<(), LabelError> {
        let metric = labels.metric_name();
        if metric.is_empty() {
            return Err(LabelError::NoName);
        }
        if labels.iter().any(|(name, value)| !self.is_valid(name, value)) {
            return Err(LabelError::InvalidName(beginning(&labels.to_string(), 512)));
        }
        self.check_limits(labels, metric)
    }

    fn is_valid(&self, name: &str, value: &str) -> bool {
        match (self.legacy_names_only, name) {
            (false, _) => !name.is_empty(),
            (true, METRIC_NAME) => is_legacy_metric_name(value),
            (true, _) => is_legacy_label_name(name),
        }
    }

    fn check_limits(&self, labels: &Labels, metric: &str) -> Result<(), LabelError> {
        let limits = &self.limits;
        let exceeds = |value: usize, limit: u64| limit > 0 && value as u64 > limit;
        let metric = || beginning(metric, 50);
        let count = labels.len();
        if exceeds(count, limits.labels) {
            return Err(LabelError::TooMany { metric: metric(), count, limit: limits.labels });
        }
        for (name, value) in labels {
            let label = || beginning(name, 50);
            if exceeds(name.len(), limits.label_name_bytes) {
                let (len, limit) = (name.len(), limits.label_name_bytes);
                return Err(LabelError::NameTooLong { metric: metric(), label: label(), len, limit });
            }
            if exceeds(value.len(), limits.label_value_bytes) {
                let (len, limit) = (value.len(), limits.label_value_bytes);
                let value = beginning(value, 50);
                return Err(LabelError::ValueTooLong { metric: metric(), label: label(), value, len, limit });
            }
        }
        Ok(())
    }
}

fn too_big(labels: &LabelsBuilder, bytes: usize, count: usize) -> LabelError {
    let metric = beginning(labels.get(METRIC_NAME).unwrap_or(""), 50);
    if bytes > SERIES_BYTES_MAX {
        LabelError::TooLong { metric, limit: SERIES_BYTES_MAX }
    } else {
        LabelError::TooMany { metric, count, limit: LABELS_PER_SERIES_MAX as u64 }
    }
}

fn beginning(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::{Entry, TextParser};
    use crate::model::{AnchoredRegex, RelabelAction};

    fn applied(job: &JobSettings, line: &str) -> String {
        let target = Labels::from_pairs([("instance", "h:1"), ("job", "j"), ("exported_x", "t")]);
        let page = format!("{line} 1\n");
        let mut parser = TextParser::new(page.as_bytes());
        let entry = parser.next_entry().expect("a valid line");
        let Some(Entry::Series(series)) = entry else { panic!("{line} is no series") };
        match LabelRules::new(job, &target).apply(series.labels()) {
            Ok(Some(labels)) => labels.to_string(),
            Ok(None) => "dropped".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn conflicts() {
        let ignore = JobSettings::default();
        let honor = JobSettings { honor_labels: true, ..JobSettings::default() };
        let cases = [
            (&ignore, "m", r#"{__name__="m", exported_x="t", instance="h:1", job="j"}"#),
            (
                &ignore,
                r#"m{job="p",instance="",a="1"}"#,
                r#"{__name__="m", a="1", exported_job="p", exported_x="t", instance="h:1", job="j"}"#,
            ),
            (
                &ignore,
                r#"m{job="p",exported_job="q"}"#,
                r#"{__name__="m", exported_exported_job="p", exported_job="q", exported_x="t", instance="h:1", job="j"}"#,
            ),
            (
                &ignore,
                r#"m{exported_x="p"}"#,
                r#"{__name__="m", exported_exported_x="p", exported_x="t", instance="h:1", job="j"}"#,
            ),
            (&honor, r#"m{job="p",instance=""}"#, r#"{__name__="m", exported_x="t", job="p"}"#),
            (&honor, r#"m{a="1",a="2"}"#, r#"label name "a" is not unique: invalid sample"#),
        ];
        for (job, line, expected) in cases {
            assert_eq!(applied(job, line), expected, "{line}");
        }
    }

    #[test]
    fn limits_and_names() {
        let limited = |limits: JobLimits| JobSettings { limits, ..JobSettings::default() };
        let labels = limited(JobLimits { labels: 4, ..JobLimits::default() });
        let names = limited(JobLimits { label_name_bytes: 10, ..JobLimits::default() });
        let values = limited(JobLimits { label_value_bytes: 5, ..JobLimits::default() });
        let legacy = JobSettings { legacy_names_only: true, ..JobSettings::default() };
        let unnamed = JobSettings {
            metric_relabel_rules: vec![RelabelRule {
                source_labels: vec![],
                separator: ";".to_owned(),
                regex: AnchoredRegex::new("__name__").expect("valid"),
                modulus: 0,
                target_label: String::new(),
                replacement: "$1".to_owned(),
                action: RelabelAction::LabelDrop,
            }],
            ..JobSettings::default()
        };
        let many = format!("m{{{}}}", (0..200).map(|n| format!("l{n}=\"x\"")).collect::<Vec<_>>().join(","));
        let long = format!("m{{a=\"{}\"}}", "x".repeat(40_000));
        let cases = [
            (&labels, r#"m{a="1"}"#, "label_limit exceeded (metric: m, number of labels: 5, limit: 4)"),
            (
                &names,
                r#"m{abcdefghijk="1"}"#,
                "label_name_length_limit exceeded (metric: m, label name: abcdefghijk, length: 11",
            ),
            (
                &values,
                r#"m{a="123456"}"#,
                "label_value_length_limit exceeded (metric: m, label name: a, value: \"123456\", length: 6",
            ),
            (&legacy, r#"{"a.b"}"#, "invalid metric name or label names: "),
            (&legacy, r#"m{"a.b"="1"}"#, "invalid metric name or label names: "),
            (&unnamed, "m", "missing metric name"),
            (&legacy, &many, "label_limit exceeded (metric: m, number of labels: 129, limit: 128)"),
            (&legacy, &long, "the labels of one series are longer than 32768 bytes (metric: m)"),
        ];
        for (job, line, expected) in cases {
            let found = applied(job, line);
            assert!(found.starts_with(expected), "{found}");
        }
    }
}
