//! Labels and annotations of alerts: templates in, texts out.

use super::Query;
use super::alerting::{ALERT_NAME, Observation};
use super::settings::RuleSettings;
use super::spec::{AlertingSpec, LabelTexts, RuleSpec};
use crate::model::{Labels, METRIC_NAME, Timestamp};
use crate::promql::{Value, VectorSample};

/// Expands the templates of one rule at one time.
#[expect(dead_code, reason = "template actions will need all of it")]
pub struct Expander<'a> {
    /// The rule.
    pub spec: &'a RuleSpec,
    /// When queries within templates are evaluated.
    pub at: Timestamp,
    /// External labels and URL.
    pub settings: &'a RuleSettings,
    /// Evaluates queries within templates.
    pub query: &'a dyn Query,
}

impl Expander<'_> {
    /// A sample of the rule's expression as an alert.
    pub fn observe(&self, alerting: &AlertingSpec, sample: &VectorSample) -> Observation {
        let mut labels = sample.labels.to_builder();
        labels.remove(METRIC_NAME);
        for (name, text) in self.expand_all(&self.spec.labels, &sample.labels, &sample.value) {
            labels.set(name, text);
        }
        labels.set(ALERT_NAME, self.spec.name.as_str());
        let value = match sample.value {
            Value::Float(value) => value,
            Value::Histogram(_) => 0.0,
        };
        let annotations = self.annotations(alerting, &sample.labels, &sample.value);
        Observation { labels: labels.build(), annotations, value }
    }

    /// The annotations of an alert with these labels and this value.
    pub fn annotations(&self, alerting: &AlertingSpec, labels: &Labels, value: &Value) -> Labels {
        Labels::from_pairs(self.expand_all(&alerting.annotations, labels, value))
    }

    /// Expands all texts; one that fails says so in its place.
    fn expand_all(&self, texts: &LabelTexts, labels: &Labels, value: &Value) -> Vec<(String, String)> {
        let expand = |text: &str| {
            self.expand(text, labels, value).unwrap_or_else(|error| {
                tracing::warn!(alert = self.spec.name, error, "expanding a template of the alert failed");
                format!("<error expanding template: {error}>")
            })
        };
        texts.iter().map(|(name, text)| (name.to_owned(), expand(text))).collect()
    }

    fn expand(&self, text: &str, _labels: &Labels, _value: &Value) -> Result<String, String> {
        check(&self.spec.name, text)?;
        Ok(text.to_owned())
    }
}

/// Whether a template of the alert `alert` can be parsed.
pub fn check(_alert: &str, text: &str) -> Result<(), String> {
    if text.contains("{{") { Err("template actions are not known".to_owned()) } else { Ok(()) }
}
