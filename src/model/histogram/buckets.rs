//! The buckets of a histogram: as pairs of index and count, and with their bounds.

use super::bounds::exponential_bound;
use super::{FloatHistogram, Span};

/// One bucket with its bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bucket {
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
    /// Whether an observation of exactly `lower` is in the bucket.
    pub lower_inclusive: bool,
    /// Whether an observation of exactly `upper` is in the bucket.
    pub upper_inclusive: bool,
    /// Observations in the bucket.
    pub count: f64,
}

/// The bucket indexes that spans cover.
pub(super) fn indexes(spans: &[Span]) -> impl Iterator<Item = i32> {
    let mut next = 0i32;
    spans.iter().flat_map(move |span| {
        let first = next.wrapping_add(span.offset);
        next = first.wrapping_add_unsigned(span.length);
        (0..span.length).map(move |position| first.wrapping_add_unsigned(position))
    })
}

/// A side as pairs of bucket index and count.
pub(super) fn indexed<'a>(spans: &'a [Span], counts: &'a [f64]) -> impl Iterator<Item = (i32, f64)> + 'a {
    indexes(spans).zip(counts.iter().copied())
}

/// Spans and counts of pairs in index order.
pub(super) fn side_of(pairs: impl IntoIterator<Item = (i32, f64)>) -> (Vec<Span>, Vec<f64>) {
    let (mut spans, mut counts) = (Vec::<Span>::new(), Vec::new());
    let mut next = 0;
    for (index, count) in pairs {
        match spans.last_mut() {
            Some(span) if index == next => span.length += 1,
            _ => spans.push(Span { offset: index - next, length: 1 }),
        }
        counts.push(count);
        next = index + 1;
    }
    (spans, counts)
}

impl FloatHistogram {
    /// All buckets from the lowest to the highest, the zero bucket only if it is populated. Buckets
    /// that overlap the zero bucket begin (or end) at its edge.
    pub fn all_buckets(&self) -> Vec<Bucket> {
        let mut buckets: Vec<Bucket> = self.negative_side().map(|bucket| self.outside_of_zero(bucket)).collect();
        buckets.reverse();
        if self.zero_count > 0.0 && !self.uses_custom_buckets() {
            buckets.push(self.zero_bucket());
        }
        buckets.extend(self.positive_side().map(|bucket| self.outside_of_zero(bucket)));
        buckets
    }

    /// The bucket around zero.
    pub(super) fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
        }
    }

    /// Positive buckets, going up.
    pub(super) fn positive_side(&self) -> impl Iterator<Item = Bucket> {
        indexed(&self.positive_spans, &self.positive_buckets).map(|(index, count)| {
            let (lower, upper) = (self.bound(index.wrapping_sub(1)), self.bound(index));
            // The first custom bucket begins at -Inf, which belongs to it.
            let lower_inclusive = if self.uses_custom_buckets() { index == 0 } else { lower < 0.0 };
            let upper_inclusive = self.uses_custom_buckets() || upper > 0.0;
            Bucket { lower, upper, lower_inclusive, upper_inclusive, count }
        })
    }

    /// Negative buckets, going down.
    pub(super) fn negative_side(&self) -> impl Iterator<Item = Bucket> {
        indexed(&self.negative_spans, &self.negative_buckets).map(|(index, count)| {
            let (lower, upper) = (-self.bound(index), -self.bound(index.wrapping_sub(1)));
            Bucket { lower, upper, lower_inclusive: true, upper_inclusive: false, count }
        })
    }

    /// The absolute upper bound of a bucket.
    pub(super) fn bound(&self, index: i32) -> f64 {
        if !self.uses_custom_buckets() {
            return exponential_bound(index, self.schema);
        }
        match usize::try_from(index) {
            Ok(index) => self.custom_values.get(index).copied().unwrap_or(f64::INFINITY),
            Err(_) => f64::NEG_INFINITY,
        }
    }

    fn outside_of_zero(&self, mut bucket: Bucket) -> Bucket {
        let edge = self.zero_threshold;
        if bucket.lower > 0.0 && bucket.lower < edge {
            bucket.lower = edge;
        } else if bucket.upper < 0.0 && bucket.upper > -edge {
            bucket.upper = -edge;
        }
        bucket
    }
}
