//! Quantiles of plain values.

use std::cmp::Ordering;

use super::annotations::Annotation;

/// The quantile of values, which get sorted; NaN counts as the lowest value. Between two values it is
/// interpolated.
pub(super) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_unstable_by(|a, b| nan_lowest(*a, *b));
    let rank = q * (values.len() - 1) as f64;
    let lower = rank.floor() as usize;
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

/// Says so where a quantile is outside of 0 to 1.
pub(super) fn check_quantile(q: f64, annotate: impl FnOnce(Annotation<'_>)) {
    if !(0.0..=1.0).contains(&q) {
        annotate(Annotation::InvalidQuantile(q));
    }
}

/// Order of values with NaN before all others.
pub(super) fn nan_lowest(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}
