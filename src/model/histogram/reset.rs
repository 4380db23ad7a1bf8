//! Whether a counter histogram was reset between two samples.

use super::arithmetic::merged;
use super::{CounterResetHint, FloatHistogram, Span};

impl FloatHistogram {
    /// Whether the counter was reset after `previous`: the hint says so, or any count went down, or
    /// the buckets became finer. Coarser buckets and a wider zero bucket are no reset by themselves.
    pub fn is_reset_after(&self, previous: &Self) -> bool {
        match self.counter_reset_hint {
            CounterResetHint::CounterReset => return true,
            CounterResetHint::NotCounterReset => return false,
            CounterResetHint::Unknown | CounterResetHint::Gauge => {}
        }
        if self.count < previous.count || self.has_other_layout_than(previous) {
            return true;
        }
        if !self.uses_custom_buckets() {
            let (zero_count, threshold) = previous.widened_zero_bucket(self.zero_threshold);
            // A populated bucket that is cut by the new zero bucket cannot have grown out of the old one.
            if threshold != self.zero_threshold || self.zero_count < zero_count {
                return true;
            }
        }
        let sides = [
            (&self.positive_spans, &self.positive_buckets, &previous.positive_spans, &previous.positive_buckets),
            (&self.negative_spans, &self.negative_buckets, &previous.negative_spans, &previous.negative_buckets),
        ];
        sides.into_iter().any(|(spans, counts, previous_spans, previous_counts)| {
            has_lost(
                &self.outer_buckets(spans, counts, self.schema),
                &self.outer_buckets(previous_spans, previous_counts, previous.schema),
            )
        })
    }

    fn has_other_layout_than(&self, previous: &Self) -> bool {
        let custom = self.uses_custom_buckets();
        custom != previous.uses_custom_buckets()
            || custom && self.custom_values != previous.custom_values
            || self.schema > previous.schema
            || self.zero_threshold < previous.zero_threshold
    }

    /// A side at this histogram's resolution, outside of its zero bucket.
    fn outer_buckets(&self, spans: &[Span], counts: &[f64], schema: i32) -> Vec<(i32, f64)> {
        let mut pairs = merged(spans, counts, schema, self.schema);
        if !self.uses_custom_buckets() {
            pairs.retain(|(index, _)| self.bound(*index) > self.zero_threshold);
        }
        pairs
    }
}

/// Whether a bucket that was populated is gone or holds less.
fn has_lost(current: &[(i32, f64)], previous: &[(i32, f64)]) -> bool {
    let mut current = current.iter().peekable();
    previous.iter().any(|(index, count)| {
        while current.next_if(|(candidate, _)| candidate < index).is_some() {}
        match current.peek() {
            Some((found, now)) if found == index => now < count,
            _ => *count != 0.0,
        }
    })
}
