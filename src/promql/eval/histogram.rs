//! Native histograms in the evaluator: means, quantiles and fractions.

use super::annotations::Annotation;
use super::column::Column;
use super::logarithm::log2;
use crate::model::{Bucket, FloatHistogram, HistogramError};

/// What to say where histograms of a metric cannot be combined.
pub(super) fn incompatibility(error: HistogramError, metric: &str) -> Annotation<'_> {
    match error {
        HistogramError::IncompatibleSchema => Annotation::MixedExponentialCustom { metric },
        HistogramError::IncompatibleBounds => Annotation::IncompatibleCustomBuckets { metric },
    }
}

/// A running mean of histograms.
#[derive(Clone, Debug)]
pub(super) struct HistogramMean {
    mean: FloatHistogram,
    count: f64,
}

impl HistogramMean {
    /// The mean of one histogram.
    pub fn starting_at(histogram: &FloatHistogram) -> Self {
        Self { mean: histogram.clone(), count: 1.0 }
    }

    /// Takes one more histogram into the mean.
    pub fn add(&mut self, histogram: &FloatHistogram) -> Result<(), HistogramError> {
        self.count += 1.0;
        let (mut step, mut part) = (histogram.clone(), self.mean.clone());
        step.divide(self.count);
        part.divide(self.count);
        step.subtract(&part)?;
        self.mean.add(&step)
    }

    /// The mean.
    pub fn into_mean(self) -> FloatHistogram {
        self.mean
    }
}

/// Applies a float function to each histogram of a column; floats go.
pub(super) fn map_histograms(column: &mut Column, function: impl Fn(&FloatHistogram) -> f64) {
    column.floats.fill(super::column::ABSENT);
    for (slot, histogram) in column.floats.iter_mut().zip(&column.histograms) {
        if let Some(histogram) = histogram {
            *slot = function(histogram);
        }
    }
    column.drop_histograms();
}

/// The variance of the observations, each taken to be in the middle of its bucket.
pub(super) fn variance(histogram: &FloatHistogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let mut squares = super::kahan::KahanSum::default();
    for bucket in histogram.all_buckets().iter().filter(|bucket| bucket.count != 0.0) {
        let delta = middle(histogram, bucket) - mean;
        squares = squares.plus(bucket.count * delta * delta);
    }
    squares.total() / histogram.count
}

/// The arithmetic middle of a custom bucket, zero in the zero bucket, else the geometric middle.
fn middle(histogram: &FloatHistogram, bucket: &Bucket) -> f64 {
    if histogram.uses_custom_buckets() {
        (bucket.upper + bucket.lower) / 2.0
    } else if bucket.spans_zero() {
        0.0
    } else {
        (bucket.upper * bucket.lower).sqrt().copysign(bucket.upper)
    }
}

/// `histogram_quantile` of a native histogram. NaN observations are in no bucket; they count as higher
/// than all others.
///
/// Differs from Prometheus 3.5.3 on purpose where the sum is NaN (NaN or both infinities observed, or a rate
/// of an infinite sum) and the rank is not in the highest bucket: there Prometheus seems to go on to look for
/// skipped observations, and to interpolate in the highest bucket instead of the one that holds the rank.
pub(super) fn native_quantile(
    q: f64,
    histogram: &FloatHistogram,
    metric: &str,
    annotate: impl Fn(Annotation<'_>),
) -> f64 {
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    if histogram.count == 0.0 || q.is_nan() {
        return f64::NAN;
    }
    let mut buckets = histogram.all_buckets();
    // From the nearer end, for precision; from below where NaNs may be missing above.
    let from_below = histogram.sum.is_nan() || q < 0.5;
    if !from_below {
        buckets.reverse();
    }
    let rank = if from_below { q * histogram.count } else { (1.0 - q) * histogram.count };
    let mut found = bucket_at_rank(&buckets, rank);
    if let Err(value) = limit_bucket(histogram, &mut found.bucket) {
        return value;
    }
    found.reached = found.reached.min(histogram.count);
    if found.reached < rank {
        if histogram.sum.is_nan() {
            annotate(Annotation::QuantileOfNanIsNan { metric });
            return f64::NAN;
        }
        return found.bucket.upper;
    }
    let within = if from_below { rank - (found.reached - found.bucket.count) } else { found.reached - rank };
    // The populated buckets lack observations where some are NaN. With both infinities observed the
    // sum is NaN, too, but nothing is missing.
    if histogram.sum.is_nan() && found.all < histogram.count {
        annotate(Annotation::QuantileSkewedByNan { metric });
    }
    interpolated(histogram, &found.bucket, within / found.bucket.count)
}

/// The bucket that holds a rank.
struct Found {
    bucket: Bucket,
    /// Observations up to and including it.
    reached: f64,
    /// Observations in all buckets, added up one by one: a rate's last digits depend on the order.
    all: f64,
}

/// If the rank is not reached: the last bucket, with what is in all of them.
fn bucket_at_rank(buckets: &[Bucket], rank: f64) -> Found {
    let mut reached = 0.0;
    for (position, bucket) in buckets.iter().enumerate().filter(|(_, bucket)| bucket.count != 0.0) {
        reached += bucket.count;
        if reached >= rank {
            let all = buckets[position + 1..].iter().fold(reached, |all, bucket| all + bucket.count);
            return Found { bucket: *bucket, reached, all };
        }
    }
    Found { bucket: buckets.last().copied().unwrap_or_default(), reached, all: reached }
}

/// Gives an open end of a bucket its natural limit; `Err` is the quantile where nothing is left to
/// interpolate.
fn limit_bucket(histogram: &FloatHistogram, bucket: &mut Bucket) -> Result<(), f64> {
    if !histogram.uses_custom_buckets() {
        limit_zero_bucket(histogram, bucket);
    } else if bucket.lower == f64::NEG_INFINITY {
        if bucket.upper <= 0.0 {
            return Err(bucket.upper);
        }
        bucket.lower = 0.0;
    } else if bucket.upper == f64::INFINITY {
        return Err(bucket.lower);
    }
    Ok(())
}

/// With observations on one side only, the zero bucket ends at zero.
fn limit_zero_bucket(histogram: &FloatHistogram, bucket: &mut Bucket) {
    if bucket.spans_zero() {
        let (negative, positive) = (!histogram.negative_buckets.is_empty(), !histogram.positive_buckets.is_empty());
        if positive && !negative {
            bucket.lower = 0.0;
        } else if negative && !positive {
            bucket.upper = 0.0;
        }
    }
}

/// The value a fraction of the way through a bucket: linearly in custom buckets and around zero, else
/// on the logarithmic scale of the bounds.
fn interpolated(histogram: &FloatHistogram, bucket: &Bucket, fraction: f64) -> f64 {
    if histogram.uses_custom_buckets() || bucket.spans_zero() {
        return bucket.lower + (bucket.upper - bucket.lower) * fraction;
    }
    let (lower, upper) = (log2(bucket.lower.abs()), log2(bucket.upper.abs()));
    if bucket.lower > 0.0 {
        (lower + (upper - lower) * fraction).exp2()
    } else {
        -(upper + (lower - upper) * (1.0 - fraction)).exp2()
    }
}

/// `histogram_fraction` of a native histogram: the share of observations between two values.
pub(super) fn native_fraction(
    lower: f64,
    upper: f64,
    histogram: &FloatHistogram,
    metric: &str,
    annotate: impl Fn(Annotation<'_>),
) -> f64 {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let buckets = histogram.all_buckets();
    let mut total = histogram.count;
    if histogram.sum.is_nan() {
        // NaN observations are in no bucket and in no fraction.
        total = buckets.iter().map(|bucket| bucket.count).sum();
        if total < histogram.count {
            annotate(Annotation::FractionExcludesNan { metric });
        }
    }
    let rank_of = |value| rank_below(histogram, &buckets, value).unwrap_or(total).min(total);
    (rank_of(upper) - rank_of(lower)) / histogram.count
}

/// How many observations are below a value; `None` if all buckets are.
fn rank_below(histogram: &FloatHistogram, buckets: &[Bucket], value: f64) -> Option<f64> {
    let mut rank = 0.0;
    for bucket in buckets {
        let mut bucket = *bucket;
        let is_linear = histogram.uses_custom_buckets() || bucket.spans_zero();
        limit_zero_bucket(histogram, &mut bucket);
        if bucket.lower >= value {
            return Some(rank);
        }
        if bucket.upper > value {
            // In this order, as upstream: it shows in the last digit.
            let below = if is_linear {
                bucket.count * (value - bucket.lower) / (bucket.upper - bucket.lower)
            } else {
                bucket.count * logarithmic_share(&bucket, value)
            };
            return Some(rank + below);
        }
        rank += bucket.count;
    }
    None
}

fn logarithmic_share(bucket: &Bucket, value: f64) -> f64 {
    let [lower, upper, value_log] = [bucket.lower, bucket.upper, value].map(|bound| log2(bound.abs()));
    if value > 0.0 { (value_log - lower) / (upper - lower) } else { 1.0 - (value_log - upper) / (lower - upper) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::series_notation::parse_histogram;

    #[test]
    fn quantiles_with_a_sum_that_is_no_number_stay_in_their_bucket() {
        let histogram = |sum: &str, count: u32| {
            let text = format!("{{{{schema:0 count:{count} sum:{sum} buckets:[1 3 4] n_buckets:[1 2]}}}}");
            parse_histogram(&text).expect("a histogram")
        };
        // The lowest bucket, from -2 to -1, holds two observations of eleven.
        let expected = -(0.45f64).exp2();
        for (sum, q) in [("1", 0.1), ("NaN", 0.1)] {
            let value = native_quantile(q, &histogram(sum, 11), "m", |_| panic!("nothing to say of {sum}"));
            assert!((value - expected).abs() < 1e-12, "{sum}: {value}");
        }
        // One observation is in no bucket.
        let said = std::cell::Cell::new(0);
        let value = native_quantile(0.1, &histogram("NaN", 12), "m", |_| said.set(said.get() + 1));
        assert!((-2.0..=-1.0).contains(&value) && said.get() == 1, "{value}");
        assert!(native_quantile(1.0, &histogram("NaN", 12), "m", |_| {}).is_nan());
    }
}
