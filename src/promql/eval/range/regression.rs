//! Trends of a window's samples: `deriv`, `predict_linear`, `double_exponential_smoothing`.

use super::{RangeFunction, Result, Value, Window, WindowContext, execution_error};
use crate::model::Timestamp;
use crate::promql::eval::kahan::KahanSum;

/// `deriv` and `predict_linear`
pub(super) fn linear(context: &WindowContext<'_>, window: &Window<'_>) -> Option<Value> {
    if !window.floats.is_empty() {
        context.note_ignored_histograms(window);
    }
    if window.floats.len() < 2 {
        return None;
    }
    Some(Value::Float(if context.call.function == RangeFunction::Deriv {
        // Times near zero keep the most digits.
        least_squares(window, window.times[0]).0
    } else {
        let (slope, intercept) = least_squares(window, Timestamp(window.at));
        slope * context.scalar(0) + intercept
    }))
}

/// Slope per second, and the value at `origin`, of the line with the least squares.
fn least_squares(window: &Window<'_>, origin: Timestamp) -> (f64, f64) {
    let first = window.floats[0];
    if window.floats.iter().all(|value| *value == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let mut sums = [KahanSum::default(); 4];
    for (time, y) in window.times.iter().zip(window.floats) {
        let x = time.since(origin) as f64 / 1000.0;
        let [x_sum, y_sum, xy_sum, xx_sum] = sums;
        sums = [x_sum.plus(x), y_sum.plus(*y), xy_sum.plus(x * y), xx_sum.plus(x * x)];
    }
    let count = window.floats.len() as f64;
    let [x, y, xy, xx] = sums.map(KahanSum::total);
    let slope = (xy - x * y / count) / (xx - x * x / count);
    (slope, y / count - slope * x / count)
}

/// `double_exponential_smoothing`: a moving average that follows the trend.
pub(super) fn smoothed(context: &WindowContext<'_>, window: &Window<'_>) -> Result<Option<Value>> {
    let factors = [("smoothing", "sf", context.scalar(0)), ("trend", "tf", context.scalar(1))];
    for (name, symbol, factor) in factors {
        if factor <= 0.0 || factor >= 1.0 {
            let message = format!("invalid {name} factor. Expected: 0 < {symbol} < 1, got: {factor:.6}");
            return Err(execution_error(message));
        }
    }
    if !window.floats.is_empty() {
        context.note_ignored_histograms(window);
    }
    let [first, second, ..] = window.floats else { return Ok(None) };
    let [(.., smoothing), (.., trend_factor)] = factors;
    let (mut before, mut level, mut trend) = (0.0, *first, second - first);
    for (index, value) in window.floats[1..].iter().enumerate() {
        if index > 0 {
            trend = trend_factor * (level - before) + (1.0 - trend_factor) * trend;
        }
        let next = smoothing * value + (1.0 - smoothing) * (level + trend);
        (before, level) = (level, next);
    }
    Ok(Some(Value::Float(level)))
}
