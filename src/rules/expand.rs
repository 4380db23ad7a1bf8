//! Labels and annotations of alerts: templates in, texts out.

use super::Query;
use super::alerting::{ALERT_NAME, Observation};
use super::settings::RuleSettings;
use super::spec::{AlertingSpec, LabelTexts, RuleSpec};
use super::template::{Context, Template, TemplateError};
use crate::model::{Labels, METRIC_NAME, Timestamp};
use crate::promql::{self, QueryValue, Value, VectorSample};

/// The templates of one alerting rule, parsed, and what they are expanded with besides an alert.
pub struct Expander<'a> {
    name: &'a str,
    labels: Vec<(&'a str, Text<'a>)>,
    annotations: Vec<(&'a str, Text<'a>)>,
    at: Timestamp,
    settings: &'a RuleSettings,
    query: &'a dyn Query,
}

enum Text<'a> {
    /// Without actions it stays as it is.
    Plain(&'a str),
    Template(Result<Template, TemplateError>),
}

impl<'a> Expander<'a> {
    /// For an evaluation at `at`, which is also when queries within the templates are evaluated.
    pub fn new(
        spec: &'a RuleSpec,
        alerting: &'a AlertingSpec,
        at: Timestamp,
        settings: &'a RuleSettings,
        query: &'a dyn Query,
    ) -> Self {
        let parsed = |texts: &'a LabelTexts| texts.iter().map(|(name, text)| (name, Text::new(&spec.name, text)));
        let (labels, annotations) = (parsed(&spec.labels).collect(), parsed(&alerting.annotations).collect());
        Self { name: &spec.name, labels, annotations, at, settings, query }
    }

    /// A sample of the rule's expression as an alert.
    pub fn observe(&self, sample: &VectorSample) -> Observation {
        let mut labels = sample.labels.to_builder();
        labels.remove(METRIC_NAME);
        for (name, text) in &self.labels {
            labels.set(*name, self.expand(text, &sample.labels, &sample.value));
        }
        labels.set(ALERT_NAME, self.name);
        let value = match sample.value {
            Value::Float(value) => value,
            Value::Histogram(_) => 0.0,
        };
        let annotations = self.annotations(&sample.labels, &sample.value);
        Observation { labels: labels.build(), annotations, value }
    }

    /// The annotations of an alert with these labels and this value.
    fn annotations(&self, labels: &Labels, value: &Value) -> Labels {
        Labels::of_texts(self.annotations.iter().map(|(name, text)| (*name, self.expand(text, labels, value))))
    }

    /// A template that fails says so in its place.
    fn expand(&self, text: &Text<'_>, labels: &Labels, value: &Value) -> String {
        let expanded = match text {
            Text::Plain(text) => return (*text).to_owned(),
            Text::Template(Err(error)) => Err(error.clone()),
            Text::Template(Ok(template)) => template.expand(&Context {
                labels,
                value,
                external_labels: &self.settings.external_labels,
                external_url: &self.settings.external_url,
                at: self.at,
                query: &|text| self.query(text),
            }),
        };
        expanded.unwrap_or_else(|error| {
            tracing::warn!(alert = self.name, %error, "expanding a template of the alert failed");
            format!("<error expanding template: {error}>")
        })
    }

    fn query(&self, text: &str) -> Result<Vec<VectorSample>, String> {
        let expr = promql::parse(text, self.settings.features).map_err(|error| error.to_string())?;
        let result = self.query.query(&expr, self.at).map_err(|error| error.to_string())?;
        match result.value {
            QueryValue::Vector(vector) => Ok(vector),
            QueryValue::Scalar(timestamp, value) => {
                Ok(vec![VectorSample { labels: Labels::empty(), timestamp, value: Value::Float(value) }])
            }
            QueryValue::String(..) | QueryValue::Matrix(_) => Err("rule result is not a vector or scalar".to_owned()),
        }
    }
}

impl<'a> Text<'a> {
    fn new(alert: &str, text: &'a str) -> Self {
        if text.contains("{{") { Self::Template(parse(alert, text)) } else { Self::Plain(text) }
    }
}

/// Whether a template of the alert `alert` can be parsed; place and reason if not.
pub fn check(alert: &str, text: &str) -> Result<(), String> {
    parse(alert, text).map(drop).map_err(|error| error.reason().to_owned())
}

fn parse(alert: &str, text: &str) -> Result<Template, TemplateError> {
    Template::parse(&format!("__alert_{alert}"), text)
}
