//! What an aggregation keeps per group: one state per step, into which columns are folded.

use std::sync::Arc;

use super::super::column::{ABSENT, Column, Scalar, is_present};
use super::super::histogram::{HistogramMean, incompatibility};
use super::super::kahan::{KahanMean, KahanSum};
use super::super::quantile::quantile;
use super::super::{Annotation, Query, Span};
use super::note_ignored_histogram;
use crate::model::{FloatHistogram, HistogramError};
use crate::promql::ast::AggregateOp;

/// What all groups of an aggregation share.
pub(super) struct FoldContext<'a> {
    pub query: &'a Query<'a>,
    pub op: AggregateOp,
    /// The parameter of `quantile`.
    pub quantile: Scalar,
    /// Where the operand stands: annotations point there.
    pub span: Span,
}

/// The state of one group.
pub(super) enum Accumulator {
    Sum(Vec<Option<KahanSum>>, Histograms<FloatHistogram>),
    Avg(Vec<Option<KahanMean>>, Histograms<HistogramMean>),
    /// Minimum or maximum.
    Extreme(Vec<f64>),
    Count(Vec<f64>),
    /// Presence.
    Group(Vec<f64>),
    Variance(Vec<Option<Variance>>),
    /// All members' floats.
    Quantile(Vec<Vec<f64>>),
}

impl Accumulator {
    pub fn new(op: AggregateOp, steps: usize) -> Self {
        match op {
            AggregateOp::Sum => Self::Sum(vec![None; steps], Histograms::default()),
            AggregateOp::Avg => Self::Avg(vec![None; steps], Histograms::default()),
            AggregateOp::Min | AggregateOp::Max => Self::Extreme(vec![ABSENT; steps]),
            AggregateOp::Count => Self::Count(vec![ABSENT; steps]),
            AggregateOp::Stddev | AggregateOp::Stdvar => Self::Variance(vec![None; steps]),
            AggregateOp::Quantile => Self::Quantile(Vec::new()),
            _ => Self::Group(vec![ABSENT; steps]),
        }
    }

    /// Whether members' columns are kept.
    pub fn holds_members(&self) -> bool {
        matches!(self, Self::Quantile(_))
    }

    /// Folds one member into the group.
    pub fn add(&mut self, context: &FoldContext<'_>, column: Column, metric: &str) {
        match self {
            Self::Sum(sums, histograms) => {
                let start = |slot: &mut Option<KahanSum>, value| {
                    *slot = Some(slot.map_or(KahanSum::starting_at(value), |sum| sum.plus(value)));
                };
                fold_floats(sums, histograms, &column, start);
                let has_float = |index: usize| sums[index].is_some();
                histograms.add(context, &column, metric, has_float, FloatHistogram::clone, FloatHistogram::add);
            }
            Self::Avg(means, histograms) => {
                let start = |slot: &mut Option<KahanMean>, value| {
                    *slot = Some(slot.map_or(KahanMean::starting_at(value), |mean| mean.plus(value)));
                };
                fold_floats(means, histograms, &column, start);
                let has_float = |index: usize| means[index].is_some();
                histograms.add(context, &column, metric, has_float, HistogramMean::starting_at, HistogramMean::add);
            }
            Self::Extreme(extremes) => {
                note_histograms(context, &column);
                fold_extreme(extremes, &column.floats, context.op == AggregateOp::Max);
            }
            Self::Count(counts) => each_present(counts, &column, |count| {
                *count = if is_present(*count) { *count + 1.0 } else { 1.0 };
            }),
            Self::Group(ones) => each_present(ones, &column, |one| *one = 1.0),
            Self::Variance(variances) => {
                note_histograms(context, &column);
                for (slot, value) in variances.iter_mut().zip(&column.floats).filter(|(_, value)| is_present(**value)) {
                    *slot = Some(slot.map_or(Variance::starting_at(*value), |variance| variance.plus(*value)));
                }
            }
            Self::Quantile(members) => {
                note_histograms(context, &column);
                members.push(column.floats);
            }
        }
    }

    /// The group's values.
    pub fn finish(self, context: &FoldContext<'_>) -> Column {
        match self {
            Self::Sum(sums, histograms) => {
                let floats = sums.into_iter().map(|sum| sum.map_or(ABSENT, KahanSum::total));
                histograms.finish(context, floats.collect(), |total| total)
            }
            Self::Avg(means, histograms) => {
                let floats = means.into_iter().map(|mean| mean.map_or(ABSENT, KahanMean::mean));
                histograms.finish(context, floats.collect(), HistogramMean::into_mean)
            }
            Self::Extreme(floats) | Self::Count(floats) | Self::Group(floats) => of_floats(floats),
            Self::Variance(variances) => {
                let result = |variance: Variance| match context.op {
                    AggregateOp::Stddev => variance.value().sqrt(),
                    _ => variance.value(),
                };
                of_floats(variances.into_iter().map(|variance| variance.map_or(ABSENT, result)).collect())
            }
            Self::Quantile(members) => of_floats(quantiles(&members, &context.quantile)),
        }
    }
}

fn of_floats(floats: Vec<f64>) -> Column {
    Column { floats, histograms: Vec::new() }
}

#[inline]
fn fold_floats<S, H>(
    slots: &mut [Option<S>],
    histograms: &Histograms<H>,
    column: &Column,
    mut fold: impl FnMut(&mut Option<S>, f64),
) {
    for (index, (slot, value)) in slots.iter_mut().zip(&column.floats).enumerate() {
        if is_present(*value) && !histograms.is_spoilt(index) {
            fold(slot, *value);
        }
    }
}

fn fold_extreme(extremes: &mut [f64], floats: &[f64], is_maximum: bool) {
    for (extreme, value) in extremes.iter_mut().zip(floats).filter(|(_, value)| is_present(**value)) {
        let is_beyond = if is_maximum { *value > *extreme } else { *value < *extreme };
        // An absent slot is a NaN, too.
        if is_beyond || extreme.is_nan() {
            *extreme = *value;
        }
    }
}

fn each_present(slots: &mut [f64], column: &Column, change: impl Fn(&mut f64)) {
    for (index, slot) in slots.iter_mut().enumerate() {
        if column.has(index) {
            change(slot);
        }
    }
}

fn note_histograms(context: &FoldContext<'_>, column: &Column) {
    if column.histograms.iter().any(Option::is_some) {
        note_ignored_histogram(context.query, context.op, context.span);
    }
}

fn quantiles(members: &[Vec<f64>], parameter: &Scalar) -> Vec<f64> {
    let steps = members.first().map_or(0, Vec::len);
    let mut values = Vec::with_capacity(members.len());
    let at_step = |index: usize| {
        values.clear();
        values.extend(members.iter().map(|member| member[index]).filter(|value| is_present(*value)));
        if values.is_empty() { ABSENT } else { quantile(parameter.at(index), &mut values) }
    };
    (0..steps).map(at_step).collect()
}

/// A running population variance.
#[derive(Clone, Copy)]
pub(super) struct Variance {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Variance {
    fn starting_at(value: f64) -> Self {
        Self { count: 1.0, mean: value, squares: if value.is_finite() { 0.0 } else { f64::NAN } }
    }

    fn plus(self, value: f64) -> Self {
        let count = self.count + 1.0;
        let delta = value - self.mean;
        let mean = self.mean + delta / count;
        Self { count, mean, squares: self.squares + delta * (value - mean) }
    }

    fn value(self) -> f64 {
        self.squares / self.count
    }
}

/// The histograms of a group, per step; without slots as long as there is none.
pub(super) struct Histograms<S>(Vec<Slot<S>>);

/// What is known of the histograms of a group at one step.
#[derive(Clone)]
enum Slot<S> {
    None,
    Some(S),
    /// There is one after a float, which is no value: it is not looked at.
    AfterFloat,
    /// Two histograms did not fit. The group has no value, whatever else there is.
    Spoilt,
}

impl<S> Default for Histograms<S> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<S: Clone> Histograms<S> {
    fn add(
        &mut self,
        context: &FoldContext<'_>,
        column: &Column,
        metric: &str,
        has_float: impl Fn(usize) -> bool,
        start: impl Fn(&FloatHistogram) -> S,
        add: impl Fn(&mut S, &FloatHistogram) -> Result<(), HistogramError>,
    ) {
        if column.histograms.is_empty() {
            return;
        }
        self.0.resize(column.len(), Slot::None);
        for (index, (slot, histogram)) in self.0.iter_mut().zip(&column.histograms).enumerate() {
            let Some(histogram) = histogram else { continue };
            match slot {
                Slot::Spoilt | Slot::AfterFloat => {}
                Slot::None if has_float(index) => *slot = Slot::AfterFloat,
                Slot::None => *slot = Slot::Some(start(histogram)),
                Slot::Some(state) => {
                    if let Err(error) = add(state, histogram) {
                        context.query.annotate(incompatibility(error, metric), context.span);
                        *slot = Slot::Spoilt;
                    }
                }
            }
        }
    }

    fn finish(self, context: &FoldContext<'_>, floats: Vec<f64>, finish: impl Fn(S) -> FloatHistogram) -> Column {
        let mut column = of_floats(floats);
        for (index, slot) in self.0.into_iter().enumerate() {
            match slot {
                Slot::None => {}
                _ if is_present(column.floats[index]) => {
                    context.query.annotate(Annotation::MixedFloatsHistogramsInAggregation, context.span);
                    column.clear(index);
                }
                Slot::Some(state) => {
                    let mut histogram = finish(state);
                    histogram.compact();
                    column.set(index, Some(crate::promql::Value::Histogram(Arc::new(histogram))));
                }
                Slot::Spoilt | Slot::AfterFloat => column.clear(index),
            }
        }
        column
    }
}

impl<S> Histograms<S> {
    #[inline]
    fn is_spoilt(&self, index: usize) -> bool {
        matches!(self.0.get(index), Some(Slot::Spoilt))
    }
}
