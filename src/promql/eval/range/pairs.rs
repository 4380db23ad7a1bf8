//! Functions of neighbouring samples: `irate`, `idelta`, `changes`, `resets`.

use std::sync::Arc;

use super::{Annotation, RangeFunction, Value, Window, WindowContext};
use crate::model::{CounterResetHint, FloatHistogram, Timestamp};
use crate::promql::eval::histogram::incompatibility;

/// `irate` and `idelta`: the change between the last two samples.
pub(super) fn instant_value(context: &WindowContext<'_>, window: &Window<'_>) -> Option<Value> {
    let is_rate = context.call.function == RangeFunction::Irate;
    if window.histograms.is_empty() {
        let [.., before, last] = window.floats else { return None };
        let [.., before_time, last_time] = window.times else { return None };
        // A counter that fell was reset to zero and has grown to the last value since.
        let change = if is_rate && last < before { *last } else { last - before };
        let seconds = seconds_between(*before_time, *last_time)?;
        return Some(Value::Float(if is_rate { change / seconds } else { change }));
    }
    match last_two(window)? {
        [(before_time, Value::Histogram(before)), (last_time, Value::Histogram(last))] => {
            let mut change = histogram_step(context, &before, &last, is_rate)?;
            let seconds = seconds_between(before_time, last_time)?;
            if is_rate {
                change.divide(seconds);
            }
            Some(Value::Histogram(Arc::new(change)))
        }
        [(before_time, Value::Float(before)), (last_time, Value::Float(last))] => {
            let change = if is_rate && last < before { last } else { last - before };
            let seconds = seconds_between(before_time, last_time)?;
            Some(Value::Float(if is_rate { change / seconds } else { change }))
        }
        _ => {
            context.annotate(Annotation::MixedFloatsHistograms { metric: context.metric });
            None
        }
    }
}

fn seconds_between(before: Timestamp, last: Timestamp) -> Option<f64> {
    let millis = last.since(before);
    (millis != 0).then_some(millis as f64 / 1000.0)
}

fn last_two(window: &Window<'_>) -> Option<[(Timestamp, Value); 2]> {
    let points = window.to_points();
    <[(Timestamp, Value); 2]>::try_from(points.get(points.len().checked_sub(2)?..)?.to_vec()).ok()
}

fn histogram_step(
    context: &WindowContext<'_>,
    before: &FloatHistogram,
    last: &FloatHistogram,
    is_rate: bool,
) -> Option<FloatHistogram> {
    let gauges = [before, last].map(|histogram| histogram.counter_reset_hint == CounterResetHint::Gauge);
    if is_rate && gauges.contains(&true) {
        context.annotate(Annotation::NotACounter { metric: context.metric });
    }
    if !is_rate && gauges.contains(&false) {
        context.annotate(Annotation::NotAGauge { metric: context.metric });
    }
    let mut change = last.clone();
    // After a reset the counter has grown from zero to the last histogram.
    let outcome = if is_rate && last.is_reset_after(before) { Ok(()) } else { change.subtract(before) };
    if let Err(error) = outcome {
        context.annotate(incompatibility(error, context.metric));
        return None;
    }
    change.counter_reset_hint = CounterResetHint::Gauge;
    change.compact();
    Some(change)
}

/// `changes`: how often a sample differs from the one before.
pub(super) fn changes(window: &Window<'_>) -> f64 {
    count_pairs(
        window,
        |before, now| now != before && !(now.is_nan() && before.is_nan()),
        |before, now| !now.is_same_data(before),
    )
}

/// `resets`: how often a counter fell.
pub(super) fn resets(window: &Window<'_>) -> f64 {
    count_pairs(window, |before, now| now < before, |before, now| now.is_reset_after(before))
}

/// Counts neighbours that satisfy a condition; a change between float and histogram always counts.
fn count_pairs(
    window: &Window<'_>,
    floats: impl Fn(f64, f64) -> bool,
    histograms: impl Fn(&FloatHistogram, &FloatHistogram) -> bool,
) -> f64 {
    if window.histograms.is_empty() {
        return window.floats.windows(2).filter(|pair| floats(pair[0], pair[1])).count() as f64;
    }
    let points = window.to_points();
    let counts = points.windows(2).filter(|pair| match (&pair[0].1, &pair[1].1) {
        (Value::Float(before), Value::Float(now)) => floats(*before, *now),
        (Value::Histogram(before), Value::Histogram(now)) => histograms(before, now),
        _ => true,
    });
    counts.count() as f64
}
