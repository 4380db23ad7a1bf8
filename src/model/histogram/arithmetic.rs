//! Sums, differences and multiples of histograms.
//!
//! Histograms of different resolution meet at the coarser one; different zero buckets meet at the
//! smallest one that ends in no populated bucket of either.

use super::buckets::{Bucket, indexed, side_of};
use super::{CounterResetHint, FloatHistogram, Span};

/// Two histograms that cannot be added or subtracted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistogramError {
    /// One has exponential buckets, the other custom ones.
    #[error("cannot combine histograms with exponential and with custom buckets")]
    IncompatibleSchema,
    /// Both have custom buckets, with other bounds.
    #[error("cannot combine histograms with different custom bounds")]
    IncompatibleBounds,
}

impl FloatHistogram {
    /// Multiplies all counts and the sum.
    pub fn scale(&mut self, factor: f64) {
        self.for_each_number(|number| *number *= factor);
    }

    /// Divides all counts and the sum. Dividing by zero leaves no buckets.
    pub fn divide(&mut self, divisor: f64) {
        self.for_each_number(|number| *number /= divisor);
        if divisor == 0.0 {
            (self.positive_spans, self.positive_buckets) = (Vec::new(), Vec::new());
            (self.negative_spans, self.negative_buckets) = (Vec::new(), Vec::new());
        }
    }

    /// Adds another histogram.
    pub fn add(&mut self, other: &Self) -> Result<(), HistogramError> {
        self.check_compatible(other)?;
        self.counter_reset_hint = hint_of_sum(self.counter_reset_hint, other.counter_reset_hint);
        self.combine(other, 1.0);
        Ok(())
    }

    /// Subtracts another histogram.
    pub fn subtract(&mut self, other: &Self) -> Result<(), HistogramError> {
        self.check_compatible(other)?;
        self.combine(other, -1.0);
        Ok(())
    }

    /// Removes empty buckets and joins adjacent spans.
    pub fn compact(&mut self) {
        self.rebuild_sides(|_, count| count != 0.0);
    }

    /// Merges buckets until the resolution is `schema`, which is not finer than the present one.
    pub fn reduce_resolution(&mut self, schema: i32) {
        debug_assert!(schema <= self.schema && !self.uses_custom_buckets());
        if schema < self.schema {
            (self.positive_spans, self.positive_buckets) =
                side_of(merged(&self.positive_spans, &self.positive_buckets, self.schema, schema));
            (self.negative_spans, self.negative_buckets) =
                side_of(merged(&self.negative_spans, &self.negative_buckets, self.schema, schema));
            self.schema = schema;
        }
    }

    /// The zero count, and the threshold, if the zero bucket reached to `threshold` or, where that is
    /// within a populated bucket, to that bucket's end.
    pub(super) fn widened_zero_bucket(&self, mut threshold: f64) -> (f64, f64) {
        loop {
            let mut widened = threshold;
            let mut count = self.zero_count;
            let negative = self.negative_side().map(|bucket| (-bucket.upper, -bucket.lower, bucket.count));
            count +=
                swallowed(self.positive_side().map(|bucket| (bucket.lower, bucket.upper, bucket.count)), &mut widened);
            count += swallowed(negative, &mut widened);
            // The negative side may have moved the threshold behind the positive side's back.
            if widened == threshold {
                return (count, threshold);
            }
            threshold = widened;
        }
    }

    fn for_each_number(&mut self, change: impl Fn(&mut f64)) {
        [&mut self.zero_count, &mut self.count, &mut self.sum].into_iter().for_each(&change);
        self.positive_buckets.iter_mut().for_each(&change);
        self.negative_buckets.iter_mut().for_each(&change);
    }

    fn check_compatible(&self, other: &Self) -> Result<(), HistogramError> {
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        if self.uses_custom_buckets() != other.uses_custom_buckets() {
            return Err(HistogramError::IncompatibleSchema);
        }
        if self.uses_custom_buckets() && bits(&self.custom_values) != bits(&other.custom_values) {
            return Err(HistogramError::IncompatibleBounds);
        }
        Ok(())
    }

    fn combine(&mut self, other: &Self, sign: f64) {
        if !self.uses_custom_buckets() {
            self.zero_count += sign * self.reconcile_zero_buckets(other);
            self.reduce_resolution(self.schema.min(other.schema));
        }
        self.count += sign * other.count;
        self.sum += sign * other.sum;
        let positive = self.added_side(other, &other.positive_spans, &other.positive_buckets);
        (self.positive_spans, self.positive_buckets) =
            side_of(joined(indexed(&self.positive_spans, &self.positive_buckets), positive, sign));
        let negative = self.added_side(other, &other.negative_spans, &other.negative_buckets);
        (self.negative_spans, self.negative_buckets) =
            side_of(joined(indexed(&self.negative_spans, &self.negative_buckets), negative, sign));
    }

    /// A side of `other` in this histogram's resolution, without what is in the zero bucket already.
    fn added_side(&self, other: &Self, spans: &[Span], counts: &[f64]) -> Vec<(i32, f64)> {
        if self.uses_custom_buckets() {
            return indexed(spans, counts).collect();
        }
        let mut pairs = merged(spans, counts, other.schema, self.schema);
        pairs.retain(|(index, _)| self.bound(*index) > self.zero_threshold);
        pairs
    }

    /// Widens the own zero bucket as far as both need it; gives the other's zero count at that width.
    fn reconcile_zero_buckets(&mut self, other: &Self) -> f64 {
        let (mut other_count, mut other_threshold) = (other.zero_count, other.zero_threshold);
        while self.zero_threshold != other_threshold {
            if self.zero_threshold > other_threshold {
                (other_count, other_threshold) = other.widened_zero_bucket(self.zero_threshold);
            }
            if other_threshold > self.zero_threshold {
                (self.zero_count, self.zero_threshold) = self.widened_zero_bucket(other_threshold);
                let (schema, threshold) = (self.schema, self.zero_threshold);
                self.rebuild_sides(|index, count| {
                    count != 0.0 && super::bounds::exponential_bound(index - 1, schema) >= threshold
                });
            }
        }
        other_count
    }

    fn rebuild_sides(&mut self, keep: impl Fn(i32, f64) -> bool) {
        let keep = |(index, count): &(i32, f64)| keep(*index, *count);
        (self.positive_spans, self.positive_buckets) =
            side_of(indexed(&self.positive_spans, &self.positive_buckets).filter(keep));
        (self.negative_spans, self.negative_buckets) =
            side_of(indexed(&self.negative_spans, &self.negative_buckets).filter(keep));
    }
}

/// What buckets (absolute lower and upper bound, count) below the threshold hold together. A
/// populated bucket across the threshold moves it to the bucket's end.
fn swallowed(buckets: impl Iterator<Item = (f64, f64, f64)>, threshold: &mut f64) -> f64 {
    let mut total = 0.0;
    for (lower, upper, count) in buckets {
        if lower >= *threshold {
            break;
        }
        total += count;
        if upper > *threshold {
            if count != 0.0 {
                *threshold = upper;
            }
            break;
        }
    }
    total
}

/// A side with its buckets merged from one schema to a coarser one.
pub(super) fn merged(spans: &[Span], counts: &[f64], from: i32, to: i32) -> Vec<(i32, f64)> {
    let mut pairs: Vec<(i32, f64)> = Vec::with_capacity(counts.len());
    for (index, count) in indexed(spans, counts) {
        let index = if from > to { ((index - 1) >> (from - to)) + 1 } else { index };
        match pairs.last_mut() {
            Some((last, total)) if *last == index => *total += count,
            _ => pairs.push((index, count)),
        }
    }
    pairs
}

/// Two sides as one; the second one's counts are multiplied by `sign`.
fn joined(ours: impl Iterator<Item = (i32, f64)>, theirs: Vec<(i32, f64)>, sign: f64) -> Vec<(i32, f64)> {
    let (mut ours, mut theirs) = (ours.peekable(), theirs.into_iter().peekable());
    let mut pairs = Vec::new();
    loop {
        let pair = match (ours.peek().copied(), theirs.peek().copied()) {
            (Some((a, x)), Some((b, y))) if a == b => {
                theirs.next();
                ours.next();
                (a, x + sign * y)
            }
            (Some((a, x)), other) if other.is_none_or(|(b, _)| a < b) => {
                ours.next();
                (a, x)
            }
            (_, Some((b, y))) => {
                theirs.next();
                (b, sign * y)
            }
            (_, None) => return pairs,
        };
        pairs.push(pair);
    }
}

fn hint_of_sum(a: CounterResetHint, b: CounterResetHint) -> CounterResetHint {
    if a == b {
        a
    } else if a == CounterResetHint::Gauge || b == CounterResetHint::Gauge {
        CounterResetHint::Gauge
    } else {
        CounterResetHint::Unknown
    }
}

impl Bucket {
    /// Whether zero lies within the bounds.
    pub fn spans_zero(&self) -> bool {
        self.lower <= 0.0 && self.upper >= 0.0
    }
}
