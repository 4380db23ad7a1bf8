//! What a recording rule stores: the expression's result under the rule's name and labels.
//! Pure. Source of the behaviour: prometheus/rules/recording.go (3.5).

use std::collections::HashSet;

use super::spec::RuleSpec;
use crate::model::{Labels, METRIC_NAME};
use crate::promql::{Value, VectorSample};

/// Why a rule's result was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordingError {
    /// Two samples became the same series.
    #[error("vector contains metrics with the same labelset after applying rule labels")]
    SameLabels,
    /// More series than the group's `limit`.
    #[error("exceeded limit of {limit} with {count} series")]
    Limit {
        /// The limit.
        limit: u64,
        /// How many series there are.
        count: usize,
    },
}

/// The series to store.
pub fn record(rule: &RuleSpec, vector: Vec<VectorSample>, limit: u64) -> Result<Vec<(Labels, Value)>, RecordingError> {
    let recorded: Vec<(Labels, Value)> =
        vector.into_iter().map(|sample| (recorded_labels(rule, &sample.labels), sample.value)).collect();
    let distinct: HashSet<&Labels> = recorded.iter().map(|(labels, _)| labels).collect();
    if distinct.len() < recorded.len() {
        return Err(RecordingError::SameLabels);
    }
    if limit > 0 && recorded.len() as u64 > limit {
        return Err(RecordingError::Limit { limit, count: recorded.len() });
    }
    Ok(recorded)
}

fn recorded_labels(rule: &RuleSpec, labels: &Labels) -> Labels {
    let mut builder = labels.to_builder();
    builder.set(METRIC_NAME, rule.name.as_str());
    for (name, text) in rule.labels.iter() {
        builder.set(name, text);
    }
    builder.build()
}
