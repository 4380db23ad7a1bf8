//! `rate`, `increase` and `delta`: the change over a window, extrapolated to its ends.

use std::sync::Arc;

use super::{Annotation, RangeCall, RangeFunction, RangeSamples, Value, Window, WindowContext};
use crate::model::{CounterResetHint, FloatHistogram, Timestamp};
use crate::promql::eval::histogram::incompatibility;

/// `rate`, `increase` or `delta` over a series without histograms: the hot path. Where the counter was
/// reset is found once per series, so that a window costs its resets, not its samples.
pub(super) struct CounterRate {
    /// Positions of samples that are lower than the one before; empty for `delta`.
    resets: Vec<usize>,
    extrapolation: Extrapolation,
}

impl CounterRate {
    /// `None` where the call is another function's, or where the series has histograms.
    pub fn of(call: &RangeCall<'_>, samples: &RangeSamples<'_>) -> Option<Self> {
        let extrapolation = Extrapolation::of(call)?;
        if samples.has_histograms() {
            return None;
        }
        let resets = if extrapolation.is_counter { resets(samples.floats()) } else { Vec::new() };
        Some(Self { resets, extrapolation })
    }

    /// The result over one window.
    #[inline]
    pub fn over(&self, window: &Window<'_>) -> Option<f64> {
        let (&[first_time, .., last_time], &[first, .., last]) = (window.times, window.floats) else { return None };
        let mut change = last - first;
        if !self.resets.is_empty() {
            change = self.with_resets(window, change);
        }
        let ends = Ends { first_time, last_time, gaps: window.floats.len() - 1 };
        Some(change * self.extrapolation.factor(window, ends, Some((first, change))))
    }

    /// The change with what resets within the window have taken away: the values right before them.
    fn with_resets(&self, window: &Window<'_>, change: f64) -> f64 {
        let first = window.first_position;
        let start = self.resets.partition_point(|position| *position <= first);
        let within = self.resets[start..].iter().take_while(|position| **position < first + window.floats.len());
        within.fold(change, |sum, position| sum + window.floats[position - first - 1])
    }
}

fn resets(floats: &[f64]) -> Vec<usize> {
    floats.windows(2).enumerate().filter(|(_, pair)| pair[1] < pair[0]).map(|(position, _)| position + 1).collect()
}

/// `rate`, `increase` or `delta` over a window that may hold histograms.
pub(super) fn extrapolated(context: &WindowContext<'_>, window: &Window<'_>) -> Option<Value> {
    let extrapolation = Extrapolation::of(context.call)?;
    if !window.histograms.is_empty() && !window.floats.is_empty() {
        context.annotate(Annotation::MixedFloatsHistograms { metric: context.metric });
        return None;
    }
    if let [first, .., last] = window.histogram_times {
        let ends = Ends { first_time: *first, last_time: *last, gaps: window.histograms.len() - 1 };
        let mut change = histogram_change(context, window.histograms, extrapolation.is_counter)?;
        change.scale(extrapolation.factor(window, ends, None));
        return Some(Value::Histogram(Arc::new(change)));
    }
    let resets = if extrapolation.is_counter { resets(window.floats) } else { Vec::new() };
    let resets = resets.into_iter().map(|position| position + window.first_position).collect();
    CounterRate { resets, extrapolation }.over(window).map(Value::Float)
}

/// What distinguishes the three functions, and the length of their range.
#[derive(Clone, Copy)]
struct Extrapolation {
    is_counter: bool,
    is_per_second: bool,
    range_ms: i64,
}

/// The first and the last sample of a window and the number of gaps between its samples.
#[derive(Clone, Copy)]
struct Ends {
    first_time: Timestamp,
    last_time: Timestamp,
    gaps: usize,
}

impl Extrapolation {
    fn of(call: &RangeCall<'_>) -> Option<Self> {
        let (is_counter, is_per_second) = match call.function {
            RangeFunction::Rate => (true, true),
            RangeFunction::Increase => (true, false),
            RangeFunction::Delta => (false, false),
            _ => return None,
        };
        Some(Self { is_counter, is_per_second, range_ms: call.range_ms })
    }

    /// What the change between the first and the last sample is to be multiplied by.
    ///
    /// Samples rarely stand at the range's ends. Where the gap to an end is about as long as those
    /// between the samples, the change is assumed to go on to the end; where it is longer, the series
    /// is taken to begin or end half a usual gap beyond its sample. A counter (`first` value and
    /// `change` given) is not followed further back than to where it would have been zero.
    #[inline]
    fn factor(self, window: &Window<'_>, ends: Ends, counter: Option<(f64, f64)>) -> f64 {
        let seconds = |from: i64, to: i64| (to - from) as f64 / 1000.0;
        let sampled = seconds(ends.first_time.0, ends.last_time.0);
        let usual_gap = sampled / ends.gaps as f64;
        let longest_gap = usual_gap * 1.1;
        let mut to_start = seconds(window.bounds.0, ends.first_time.0);
        if to_start >= longest_gap {
            to_start = usual_gap / 2.0;
        }
        if let Some((first, change)) =
            counter.filter(|(first, change)| self.is_counter && *change > 0.0 && *first >= 0.0)
        {
            let to_zero = sampled * (first / change);
            if to_zero < to_start {
                to_start = to_zero;
            }
        }
        let mut to_end = seconds(ends.last_time.0, window.bounds.1);
        if to_end >= longest_gap {
            to_end = usual_gap / 2.0;
        }
        let factor = (sampled + to_start + to_end) / sampled;
        if self.is_per_second { factor / (self.range_ms as f64 / 1000.0) } else { factor }
    }
}

/// The change over at least two histograms; `None`, with an annotation, where they do not fit.
fn histogram_change(
    context: &WindowContext<'_>,
    histograms: &[Arc<FloatHistogram>],
    is_counter: bool,
) -> Option<FloatHistogram> {
    let [first, second, ..] = histograms else { return None };
    let last = histograms.last()?;
    check_hints(context, histograms, is_counter);
    // With a reset right behind it, the first histogram does not count, nor does its layout.
    let blank;
    let base: &FloatHistogram = if is_counter && second.is_reset_after(first) {
        blank = FloatHistogram {
            schema: second.schema,
            custom_values: second.custom_values.clone(),
            ..FloatHistogram::default()
        };
        &blank
    } else {
        first
    };
    if histograms_mix_layouts(base, histograms, is_counter) {
        context.annotate(Annotation::MixedExponentialCustom { metric: context.metric });
        return None;
    }
    let mut change = (**last).clone();
    if !change.uses_custom_buckets() {
        change.reduce_resolution(coarsest_schema(base, histograms, is_counter));
    }
    let outcome = change
        .subtract(base)
        .and_then(|()| if is_counter { add_lost_in_resets(&mut change, base, histograms) } else { Ok(()) });
    if let Err(error) = outcome {
        context.annotate(incompatibility(error, context.metric));
        return None;
    }
    change.counter_reset_hint = CounterResetHint::Gauge;
    change.compact();
    Some(change)
}

fn check_hints(context: &WindowContext<'_>, histograms: &[Arc<FloatHistogram>], is_counter: bool) {
    let is_gauge = |histogram: &Arc<FloatHistogram>| histogram.counter_reset_hint == CounterResetHint::Gauge;
    if is_counter && histograms.iter().any(is_gauge) {
        context.annotate(Annotation::NotACounter { metric: context.metric });
    }
    let ends = [histograms.first(), histograms.last()];
    if !is_counter && !ends.into_iter().flatten().all(is_gauge) {
        context.annotate(Annotation::NotAGauge { metric: context.metric });
    }
}

/// For a gauge only the ends of the window matter.
fn histograms_mix_layouts(base: &FloatHistogram, histograms: &[Arc<FloatHistogram>], is_counter: bool) -> bool {
    let from = if is_counter { 1 } else { histograms.len() - 1 };
    histograms[from..].iter().any(|histogram| histogram.uses_custom_buckets() != base.uses_custom_buckets())
}

fn coarsest_schema(base: &FloatHistogram, histograms: &[Arc<FloatHistogram>], is_counter: bool) -> i32 {
    let from = if is_counter { 1 } else { histograms.len() - 1 };
    histograms[from..].iter().map(|histogram| histogram.schema).fold(base.schema, i32::min)
}

fn add_lost_in_resets(
    change: &mut FloatHistogram,
    base: &FloatHistogram,
    histograms: &[Arc<FloatHistogram>],
) -> Result<(), crate::model::HistogramError> {
    let mut previous = base;
    for current in &histograms[1..] {
        if current.is_reset_after(previous) {
            change.add(previous)?;
        }
        previous = current;
    }
    Ok(())
}
