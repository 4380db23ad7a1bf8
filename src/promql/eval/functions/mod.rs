//! Functions of scalars and instant vectors. Those of ranges are in [`super::range`].

mod absent;
mod classic;
mod info;
mod labels;
mod math;
mod natural;
mod sort;
mod time;

pub(super) use absent::labels_of_absent;

use super::column::{Column, Scalar, Series, is_present};
use super::labels::{Merger, NameDropper, has_one_name};
use super::range::{self, RangeFunction};
use super::{Evaluator, Result, Sink, execution_error, histogram, selector, unwrap_parens};
use crate::model::Labels;
use crate::promql::ast::{Call, Expr, Node};

/// Evaluates a function that gives a scalar.
pub(super) fn scalar(evaluator: &Evaluator<'_>, call: &Call) -> Result<Scalar> {
    match call.function.name {
        "pi" => Ok(Scalar::Constant(std::f64::consts::PI)),
        "time" => {
            let steps = evaluator.steps;
            Ok(Scalar::PerStep((0..steps.count).map(|index| steps.at(index) as f64 / 1000.0).collect()))
        }
        "scalar" => only_value(evaluator, &call.args[0]),
        other => Err(unknown(other)),
    }
}

/// Streams the result of a function that gives a vector.
pub(super) fn stream(evaluator: &Evaluator<'_>, call: &Call, sink: Sink<'_>) -> Result<()> {
    let name = call.function.name;
    if let Some(function) = RangeFunction::named(name) {
        return range::stream(evaluator, function, call, sink);
    }
    if let Some(function) = math::unary_function(name) {
        return stream_mapped(evaluator, &call.args[0], sink, |column| {
            column.drop_histograms();
            column.map_floats(|_, value| function(value));
        });
    }
    if let Some(function) = time::calendar_function(name) {
        return time::stream(evaluator, call, function, sink);
    }
    match name {
        "vector" => stream_scalar(evaluator, evaluator.scalar(&call.args[0])?, sink),
        "timestamp" => stream_timestamp(evaluator, &call.args[0], sink),
        "round" | "clamp" | "clamp_min" | "clamp_max" => math::stream_with_scalars(evaluator, call, sink),
        "absent" => absent::stream(evaluator, call, sink),
        "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" => sort::stream(evaluator, call, sink),
        "label_replace" => labels::stream_replaced(evaluator, call, sink),
        "label_join" => labels::stream_joined(evaluator, call, sink),
        "histogram_quantile" | "histogram_fraction" => classic::stream(evaluator, call, sink),
        "info" => info::stream(evaluator, call, sink),
        _ => stream_of_histograms(evaluator, call, sink),
    }
}

/// Streams the argument's series with their columns changed and their names dropped. Fragments that
/// come to have the same labels are put together.
fn stream_mapped(
    evaluator: &Evaluator<'_>,
    argument: &Expr,
    sink: Sink<'_>,
    mut change: impl FnMut(&mut Column),
) -> Result<()> {
    stream_renamed(evaluator, has_one_name(argument), sink, |sink| {
        evaluator.stream(argument, &mut |mut series| {
            change(&mut series.column);
            if series.column.has_any() { sink(series) } else { Ok(()) }
        })
    })
}

/// Drops the names of the series that `produce` streams. Where names may differ, all series are
/// collected first, to find fragments.
pub(super) fn stream_renamed(
    evaluator: &Evaluator<'_>,
    has_one_name: bool,
    sink: Sink<'_>,
    produce: impl FnOnce(Sink<'_>) -> Result<()>,
) -> Result<()> {
    if has_one_name || evaluator.query.delays_name_removal() {
        let mut names = NameDropper::refusing(evaluator);
        return produce(&mut |mut series| {
            names.drop_name(&mut series)?;
            sink(series)
        });
    }
    let mut merger = Merger::default();
    let mut reservation = evaluator.query.budget.reserve(0)?;
    produce(&mut |mut series| {
        series.labels = super::labels::without_metadata(&series.labels);
        series.drops_name = true;
        reservation.grow(series.column.weight())?;
        merger.push(series)
    })?;
    merger.into_series().into_iter().try_for_each(sink)
}

/// A scalar as the vector with one series without labels.
fn stream_scalar(evaluator: &Evaluator<'_>, scalar: Scalar, sink: Sink<'_>) -> Result<()> {
    let floats = match scalar {
        Scalar::Constant(value) => vec![value; evaluator.steps.count],
        Scalar::PerStep(values) => values,
    };
    let column = Column { floats, histograms: Vec::new() };
    sink(Series { labels: Labels::empty(), drops_name: false, column })
}

/// `scalar(v)`: the value of the only series with a float, else NaN.
fn only_value(evaluator: &Evaluator<'_>, argument: &Expr) -> Result<Scalar> {
    let count = evaluator.steps.count;
    let mut values = vec![f64::NAN; count];
    let mut found = vec![false; count];
    evaluator.stream(argument, &mut |series| {
        for (index, value) in series.column.floats.iter().enumerate().filter(|(_, value)| is_present(**value)) {
            values[index] = if found[index] { f64::NAN } else { *value };
            found[index] = true;
        }
        Ok(())
    })?;
    Ok(Scalar::PerStep(values))
}

/// The samples' own times for a selector, else the time of evaluation.
fn stream_timestamp(evaluator: &Evaluator<'_>, argument: &Expr, sink: Sink<'_>) -> Result<()> {
    if let Node::VectorSelector(vector_selector) = &unwrap_parens(argument).node {
        return stream_renamed(evaluator, has_one_name(argument), sink, |sink| {
            selector::stream_times(evaluator, vector_selector, sink)
        });
    }
    let steps = evaluator.steps;
    stream_mapped(evaluator, argument, sink, |column| {
        for index in 0..column.len() {
            if column.has(index) {
                column.floats[index] = steps.at(index) as f64 / 1000.0;
            }
        }
        column.drop_histograms();
    })
}

fn stream_of_histograms(evaluator: &Evaluator<'_>, call: &Call, sink: Sink<'_>) -> Result<()> {
    let function: fn(&crate::model::FloatHistogram) -> f64 = match call.function.name {
        "histogram_count" => |histogram| histogram.count,
        "histogram_sum" => |histogram| histogram.sum,
        "histogram_avg" => |histogram| histogram.sum / histogram.count,
        "histogram_stddev" => |histogram| histogram::variance(histogram).sqrt(),
        "histogram_stdvar" => histogram::variance,
        other => return Err(unknown(other)),
    };
    stream_mapped(evaluator, &call.args[0], sink, |column| histogram::map_histograms(column, function))
}

fn unknown(name: &str) -> crate::promql::QueryError {
    execution_error(format!("function {name:?} is not supported"))
}
