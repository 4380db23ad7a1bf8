//! `label_replace` and `label_join`.

use std::collections::HashSet;

use super::super::labels::{duplicate_labels, is_label_name};
use super::super::{Evaluator, Result, Sink, execution_error, string_argument};
use crate::model::{AnchoredRegex, Labels, METRIC_NAME};
use crate::promql::ast::{Call, Expr};

/// `label_replace(v, dst, replacement, src, regex)`
pub(super) fn stream_replaced(evaluator: &Evaluator<'_>, call: &Call, sink: Sink<'_>) -> Result<()> {
    let texts = call.args[1..].iter().map(string_argument).collect::<Result<Vec<_>>>()?;
    let [target, replacement, source, pattern] = texts[..] else {
        return Err(execution_error("label_replace() takes four texts"));
    };
    let regex = AnchoredRegex::new(pattern)
        .map_err(|_| execution_error(format!("invalid regular expression in label_replace(): {pattern}")))?;
    if !is_label_name(target) {
        return Err(execution_error(format!("invalid destination label name in label_replace(): {target}")));
    }
    stream_relabeled(evaluator, &call.args[0], target, sink, |labels| {
        regex.expand(labels.get(source).unwrap_or(""), replacement)
    })
}

/// `label_join(v, dst, separator, src…)`
pub(super) fn stream_joined(evaluator: &Evaluator<'_>, call: &Call, sink: Sink<'_>) -> Result<()> {
    let texts = call.args[1..].iter().map(string_argument).collect::<Result<Vec<_>>>()?;
    let [target, separator, sources @ ..] = &texts[..] else {
        return Err(execution_error("label_join() takes at least two texts"));
    };
    if let Some(source) = sources.iter().find(|source| !is_label_name(source)) {
        return Err(execution_error(format!("invalid source label name in label_join(): {source}")));
    }
    if !is_label_name(target) {
        return Err(execution_error(format!("invalid destination label name in label_join(): {target}")));
    }
    stream_relabeled(evaluator, &call.args[0], target, sink, |labels| {
        let values: Vec<&str> = sources.iter().map(|source| labels.get(source).unwrap_or("")).collect();
        Some(values.join(separator))
    })
}

/// Sets one label of each series, or leaves the series as it is.
fn stream_relabeled(
    evaluator: &Evaluator<'_>,
    argument: &Expr,
    target: &str,
    sink: Sink<'_>,
    value_for: impl Fn(&Labels) -> Option<String>,
) -> Result<()> {
    let mut seen = HashSet::new();
    evaluator.stream(argument, &mut |mut series| {
        if let Some(value) = value_for(&series.labels) {
            series.labels = series.labels.to_builder().set(target, value).build();
            // A name that was set on purpose stays.
            series.drops_name &= target != METRIC_NAME;
        }
        if !seen.insert(series.labels.clone()) {
            return Err(duplicate_labels());
        }
        sink(series)
    })
}
