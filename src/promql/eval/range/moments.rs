//! Sums, means, extremes, quantiles and deviations of a window's samples.

use std::sync::Arc;

use super::{Annotation, RangeFunction, Value, Window, WindowContext};
use crate::model::{FloatHistogram, HistogramError, Timestamp};
use crate::promql::eval::histogram::{HistogramMean, incompatibility};
use crate::promql::eval::kahan::{KahanMean, KahanSum};
use crate::promql::eval::quantile::{check_quantile, quantile};

/// `sum_over_time`
pub(super) fn sum(context: &WindowContext<'_>, window: &Window<'_>) -> Option<Value> {
    of_one_kind(context, window, |histograms| {
        let mut total = (*histograms[0]).clone();
        histograms[1..].iter().try_for_each(|histogram| total.add(histogram))?;
        Ok(total)
    })?
    .or_else(|| Some(Value::Float(KahanSum::of(window.floats).total())))
}

/// `avg_over_time`
pub(super) fn avg(context: &WindowContext<'_>, window: &Window<'_>) -> Option<Value> {
    of_one_kind(context, window, |histograms| {
        let mut mean = HistogramMean::starting_at(&histograms[0]);
        histograms[1..].iter().try_for_each(|histogram| mean.add(histogram))?;
        Ok(mean.into_mean())
    })?
    .or_else(|| Some(Value::Float(KahanMean::of(window.floats)?.mean())))
}

/// The combination of the histograms, if there are histograms only; `Some(None)` if there are floats
/// only; `None`, with an annotation, if there are both or the histograms do not fit.
#[inline]
fn of_one_kind(
    context: &WindowContext<'_>,
    window: &Window<'_>,
    combine: impl Fn(&[Arc<FloatHistogram>]) -> Result<FloatHistogram, HistogramError>,
) -> Option<Option<Value>> {
    if window.histograms.is_empty() {
        return Some(None);
    }
    if !window.floats.is_empty() {
        context.annotate(Annotation::MixedFloatsHistograms { metric: context.metric });
        return None;
    }
    match combine(window.histograms) {
        Ok(histogram) => Some(Some(Value::Histogram(Arc::new(histogram)))),
        Err(error) => {
            context.annotate(incompatibility(error, context.metric));
            None
        }
    }
}

/// The functions that look at floats only.
pub(super) fn of_floats(context: &WindowContext<'_>, window: &Window<'_>) -> Option<Value> {
    if window.floats.is_empty() {
        return None;
    }
    context.note_ignored_histograms(window);
    let floats = window.floats;
    Some(Value::Float(match context.call.function {
        RangeFunction::MinOverTime => extreme(floats, |value, least| value < least),
        RangeFunction::MaxOverTime => extreme(floats, |value, most| value > most),
        RangeFunction::TsOfMinOverTime => time_of_extreme(window, |value, least| value <= least),
        RangeFunction::TsOfMaxOverTime => time_of_extreme(window, |value, most| value >= most),
        RangeFunction::StddevOverTime => variance(floats).sqrt(),
        RangeFunction::StdvarOverTime => variance(floats),
        RangeFunction::MadOverTime => median_deviation(floats),
        RangeFunction::QuantileOverTime => {
            let q = context.scalar(0);
            check_quantile(q, |annotation| context.annotate(annotation));
            quantile(q, &mut floats.to_vec())
        }
        _ => return None,
    }))
}

fn extreme(floats: &[f64], is_beyond: impl Fn(f64, f64) -> bool) -> f64 {
    floats[1..]
        .iter()
        .fold(floats[0], |most, value| if is_beyond(*value, most) || most.is_nan() { *value } else { most })
}

fn time_of_extreme(window: &Window<'_>, is_beyond: impl Fn(f64, f64) -> bool) -> f64 {
    let mut found: (f64, Timestamp) = (window.floats[0], window.times[0]);
    for (value, time) in window.floats.iter().zip(window.times) {
        if is_beyond(*value, found.0) || found.0.is_nan() {
            found = (*value, *time);
        }
    }
    found.1.seconds()
}

/// The population variance, by Welford's method with compensated sums.
fn variance(floats: &[f64]) -> f64 {
    let (mut mean, mut squares, mut count) = (KahanSum::default(), KahanSum::default(), 0.0);
    for value in floats {
        count += 1.0;
        let delta = value - mean.total();
        mean = mean.plus(delta / count);
        squares = squares.plus(delta * (value - mean.total()));
    }
    squares.total() / count
}

/// The median distance from the median.
fn median_deviation(floats: &[f64]) -> f64 {
    let mut values = floats.to_vec();
    let median = quantile(0.5, &mut values);
    values.iter_mut().for_each(|value| *value = (*value - median).abs());
    quantile(0.5, &mut values)
}
