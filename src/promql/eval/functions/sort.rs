//! Functions that order a vector. Order shows in instant queries; a range's result is sorted by labels.

use super::super::column::Series;
use super::super::insertion::sort;
use super::super::{Evaluator, Result, Sink, string_argument};
use super::natural::precedes;
use crate::model::Labels;
use crate::promql::ast::Call;

pub(super) fn stream(evaluator: &Evaluator<'_>, call: &Call, sink: Sink<'_>) -> Result<()> {
    let mut vector = evaluator.vector(&call.args[0])?;
    let is_by_value = matches!(call.function.name, "sort" | "sort_desc");
    if is_by_value {
        vector.series.iter_mut().for_each(|series| series.column.drop_histograms());
        vector.series.retain(|series| series.column.has_any());
    }
    if evaluator.steps.count == 1 {
        let names = call.args[1..].iter().map(string_argument).collect::<Result<Vec<_>>>()?;
        let value = |series: &Series| series.column.floats[0];
        // NaN comes last in either direction, and before another NaN.
        sort(&mut vector.series, &|a, b| match call.function.name {
            "sort" => value(b).is_nan() || value(b) > value(a),
            "sort_desc" => value(b).is_nan() || value(b) < value(a),
            "sort_by_label" => by_labels(&names, &a.labels, &b.labels).unwrap_or(a.labels < b.labels),
            _ => by_labels(&names, &a.labels, &b.labels).map_or(b.labels < a.labels, |is_before| !is_before),
        });
    }
    vector.series.into_iter().try_for_each(sink)
}

/// Whether the named labels put one before the other; `None` if they are equal.
fn by_labels(names: &[&str], a: &Labels, b: &Labels) -> Option<bool> {
    let values = |name: &&str| (a.get(name).unwrap_or(""), b.get(name).unwrap_or(""));
    names.iter().map(values).find(|(a, b)| a != b).map(|(a, b)| precedes(a, b))
}
