//! Labels and annotations of alerts: templates in, texts out.

use super::Query;
use super::alerting::{ALERT_NAME, Observation};
use super::settings::RuleSettings;
use super::spec::{AlertingSpec, LabelTexts, RuleSpec};
use super::template::{Context, Template, TemplateError};
use crate::model::{Labels, METRIC_NAME, Timestamp};
use crate::promql::{QueryError, QueryValue, Value, VectorSample, parse};

/// Expands the templates of one rule at one time.
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
                tracing::warn!(alert = self.spec.name, %error, "expanding a template of the alert failed");
                format!("<error expanding template: {error}>")
            })
        };
        texts.iter().map(|(name, text)| (name.to_owned(), expand(text))).collect()
    }

    fn expand(&self, text: &str, labels: &Labels, value: &Value) -> Result<String, TemplateError> {
        // Most labels and many annotations are plain texts.
        if !text.contains("{{") {
            return Ok(text.to_owned());
        }
        let context = Context {
            labels,
            value,
            external_labels: &self.settings.external_labels,
            external_url: &self.settings.external_url,
            at: self.at,
            query: &|query| self.samples(query).map_err(|error| error.to_string()),
        };
        Template::parse(&template_name(&self.spec.name), text)?.expand(&context)
    }

    /// What `query` gives within a template.
    fn samples(&self, query: &str) -> Result<Vec<VectorSample>, QueryError> {
        let expr = parse(query, self.settings.features)?;
        match self.query.query(&expr, self.at)?.value {
            QueryValue::Vector(samples) => Ok(samples),
            QueryValue::Scalar(timestamp, value) => {
                Ok(vec![VectorSample { labels: Labels::empty(), timestamp, value: Value::Float(value) }])
            }
            _ => Err(QueryError::Execution("rule result is not a vector or scalar".to_owned())),
        }
    }
}

/// Whether a template of the alert `alert` can be parsed.
pub fn check(alert: &str, text: &str) -> Result<(), String> {
    let parsed = Template::parse(&template_name(alert), text);
    parsed.map(|_| ()).map_err(|error| error.reason().to_owned())
}

/// The name of an alert's templates in their errors, as Prometheus gives it.
fn template_name(alert: &str) -> String {
    format!("__alert_{alert}")
}
