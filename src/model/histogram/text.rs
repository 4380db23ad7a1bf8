//! Histograms as text: Prometheus's display form, and the notation of unit tests.

use std::fmt;

use super::buckets::{Bucket, indexed};
use super::{CounterResetHint, FloatHistogram, Span};
use crate::model::format_general;

/// `{count:4, sum:7.5, [-2,-1):1, [-0.001,0.001]:1, (1,2]:2}`: what `count_values` makes of it.
impl fmt::Display for FloatHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", format_general(self.count), format_general(self.sum))?;
        let mut negative: Vec<Bucket> = self.negative_side().collect();
        negative.reverse();
        let zero = (!self.uses_custom_buckets()).then(|| self.zero_bucket());
        for bucket in negative.into_iter().chain(zero).chain(self.positive_side()) {
            if bucket.count != 0.0 {
                write!(f, ", {bucket}")?;
            }
        }
        f.write_str("}")
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = if self.lower_inclusive { '[' } else { '(' };
        let close = if self.upper_inclusive { ']' } else { ')' };
        let numbers = [self.lower, self.upper, self.count].map(format_general);
        write!(f, "{open}{},{}{close}:{}", numbers[0], numbers[1], numbers[2])
    }
}

impl FloatHistogram {
    /// The notation of rule unit tests: `{{schema:1 count:4 sum:7.5 buckets:[2 0 1]}}`. Histograms
    /// with the same notation are equal to a unit test.
    pub fn test_notation(&self) -> String {
        let mut parts = Vec::new();
        if self.schema != 0 {
            parts.push(format!("schema:{}", self.schema));
        }
        let numbers = [
            ("count", self.count),
            ("sum", self.sum),
            ("z_bucket", self.zero_count),
            ("z_bucket_w", self.zero_threshold),
        ];
        for (name, number) in numbers.into_iter().filter(|(_, number)| *number != 0.0) {
            parts.push(format!("{name}:{}", format_general(number)));
        }
        if self.uses_custom_buckets() {
            parts.push(format!("custom_values:[{}]", spaced(&self.custom_values)));
        }
        match self.counter_reset_hint {
            CounterResetHint::Unknown => {}
            CounterResetHint::CounterReset => parts.push("counter_reset_hint:reset".to_owned()),
            CounterResetHint::NotCounterReset => parts.push("counter_reset_hint:not_reset".to_owned()),
            CounterResetHint::Gauge => parts.push("counter_reset_hint:gauge".to_owned()),
        }
        push_side(&mut parts, ["offset", "buckets"], &self.positive_spans, &self.positive_buckets);
        push_side(&mut parts, ["n_offset", "n_buckets"], &self.negative_spans, &self.negative_buckets);
        format!("{{{{{}}}}}", parts.join(" "))
    }
}

/// A side as one run of counts from its first to its last populated bucket.
fn push_side(parts: &mut Vec<String>, [offset, buckets]: [&str; 2], spans: &[Span], counts: &[f64]) {
    let populated: Vec<(i32, f64)> = indexed(spans, counts).filter(|(_, count)| *count != 0.0).collect();
    let Some((first, _)) = populated.first() else { return };
    let mut run: Vec<f64> = Vec::new();
    for (index, count) in &populated {
        run.resize((index - first) as usize, 0.0);
        run.push(*count);
    }
    if *first != 0 {
        parts.push(format!("{offset}:{first}"));
    }
    parts.push(format!("{buckets}:[{}]", spaced(&run)));
}

fn spaced(numbers: &[f64]) -> String {
    numbers.iter().map(|number| format_general(*number)).collect::<Vec<_>>().join(" ")
}
