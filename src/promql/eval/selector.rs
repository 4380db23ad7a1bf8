//! Instant selectors: per step the newest sample that is not older than the lookback.

use std::sync::Arc;

use super::column::{ABSENT, Column, Series};
use super::steps::{Reference, Steps};
use super::{Evaluator, Result, Sink, execution_error};
use crate::model::{FloatHistogram, Matcher, is_stale_marker};
use crate::promql::Value;
use crate::promql::ast::VectorSelector;
use crate::store::{ReadOptions, Samples};

/// Streams the series that a selector finds.
pub(super) fn stream(evaluator: &Evaluator<'_>, selector: &VectorSelector, sink: Sink<'_>) -> Result<()> {
    let reference = reference(evaluator, selector)?;
    let bounds = read_bounds(evaluator, reference);
    each_column(evaluator, &selector.matchers, reference, bounds, sink, |column, index, samples, position| {
        match histogram_at(samples, position) {
            // A stale marker is an absent value already.
            None => column.floats[index] = samples.values[position],
            Some(histogram) if is_stale_marker(histogram.sum) => {}
            Some(histogram) => column.set(index, Some(Value::Histogram(Arc::clone(histogram)))),
        }
    })
}

/// Streams the times, in seconds, of the samples that a selector finds: `timestamp(selector)`.
pub(super) fn stream_times(evaluator: &Evaluator<'_>, selector: &VectorSelector, sink: Sink<'_>) -> Result<()> {
    let reference = reference(evaluator, selector)?;
    let bounds = read_bounds(evaluator, reference);
    // With `@`, upstream reads where the offset says, but looks for the sample as if there were none.
    let reference = Reference { offset: if reference.fixed.is_some() { 0 } else { reference.offset }, ..reference };
    each_column(evaluator, &selector.matchers, reference, bounds, sink, place_time)
}

/// The same for any matchers, at the steps' own times, reading within bounds only.
pub(super) fn stream_times_within(
    evaluator: &Evaluator<'_>,
    matchers: &[Matcher],
    bounds: (i64, i64),
    sink: Sink<'_>,
) -> Result<()> {
    each_column(evaluator, matchers, Reference { fixed: None, offset: 0 }, bounds, sink, place_time)
}

/// Where and when a selector looks.
pub(super) fn reference(evaluator: &Evaluator<'_>, selector: &VectorSelector) -> Result<Reference> {
    let query = evaluator.query;
    if selector.extension.is_some() {
        return Err(execution_error("anchored and smoothed ranges cannot be evaluated"));
    }
    Ok(Reference { fixed: query.fixed_time(selector.at), offset: query.offset_ms(&selector.offset)? })
}

/// The first and the last instant whose samples can count.
pub(super) fn read_bounds(evaluator: &Evaluator<'_>, reference: Reference) -> (i64, i64) {
    let (first, last) = reference.bounds(evaluator.steps);
    // The range is open on the left: a sample exactly as old as the lookback is too old.
    (first.saturating_sub(evaluator.query.lookback_ms).saturating_add(1), last)
}

fn place_time(column: &mut Column, index: usize, samples: &Samples, position: usize) {
    let value = histogram_at(samples, position).map_or(samples.values[position], |histogram| histogram.sum);
    column.floats[index] = if is_stale_marker(value) { ABSENT } else { samples.timestamps[position].seconds() };
}

fn each_column(
    evaluator: &Evaluator<'_>,
    matchers: &[Matcher],
    reference: Reference,
    bounds: (i64, i64),
    sink: Sink<'_>,
    place: impl Fn(&mut Column, usize, &Samples, usize),
) -> Result<()> {
    let query = evaluator.query;
    // One step sees the last sample that was read, where that is read up to the step.
    let newest_only = evaluator.steps.count == 1 && bounds.1 == reference.at(evaluator.steps.at(0));
    let options = ReadOptions { newest_only, labels: evaluator.labels.cloned(), ..evaluator.read_options(bounds) };
    evaluator.read(&[matchers.to_vec()], &options, |labels, samples| {
        let mut column = Column::absent(evaluator.steps.count);
        each_newest(samples, evaluator.steps, reference, query.lookback_ms, |index, position| {
            place(&mut column, index, samples, position);
        });
        if column.has_any() {
            evaluator.count_read(column.present_weight());
            sink(Series { labels, drops_name: false, column })?;
        }
        Ok(())
    })
}

/// Calls back with each step that sees a sample, and with that sample's position.
fn each_newest(
    samples: &Samples,
    steps: Steps,
    reference: Reference,
    lookback_ms: i64,
    mut visit: impl FnMut(usize, usize),
) {
    let timestamps = &samples.timestamps;
    let mut next = 0;
    for index in 0..steps.count {
        let at = reference.at(steps.at(index));
        while next < timestamps.len() && timestamps[next].0 <= at {
            next += 1;
        }
        if next > 0 && timestamps[next - 1].0 > at.saturating_sub(lookback_ms) {
            visit(index, next - 1);
        }
    }
}

fn histogram_at(samples: &Samples, position: usize) -> Option<&Arc<FloatHistogram>> {
    if samples.histograms.is_empty() {
        return None;
    }
    let found = samples.histograms.binary_search_by_key(&position, |(at, _)| *at as usize);
    found.ok().map(|found| &samples.histograms[found].1)
}
