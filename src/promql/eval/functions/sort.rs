//! Functions that order a vector. Order shows in instant queries; a range's result is sorted by labels.

use std::cmp::Ordering;

use super::super::column::Series;
use super::super::quantile::{nan_first_descending, nan_lowest};
use super::super::{Evaluator, Result, Sink, string_argument};
use super::natural::natural_order;
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
        // NaN comes last in either direction.
        vector.series.sort_by(|a, b| match call.function.name {
            "sort" => nan_first_descending(value(a), value(b)).reverse(),
            "sort_desc" => nan_lowest(value(a), value(b)).reverse(),
            "sort_by_label" => by_labels(&names, &a.labels, &b.labels),
            _ => by_labels(&names, &b.labels, &a.labels),
        });
    }
    vector.series.into_iter().try_for_each(sink)
}

/// By the named labels' values in natural order, then by all labels.
fn by_labels(names: &[&str], a: &Labels, b: &Labels) -> Ordering {
    let of = |labels: &Labels, name: &str| labels.get(name).unwrap_or("").to_owned();
    let ordered = names.iter().map(|name| natural_order(&of(a, name), &of(b, name)));
    ordered.into_iter().find(|order| order.is_ne()).unwrap_or_else(|| a.cmp(b))
}
