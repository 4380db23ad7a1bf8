//! Sums that keep what rounding loses (Kahan's method with Neumaier's correction), and means on top of
//! them. Results must be those of Prometheus to the last digit, so the order of operations matters.

/// A running sum and what rounding has lost so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KahanSum {
    sum: f64,
    lost: f64,
}

impl KahanSum {
    /// A sum that starts at a value.
    pub fn starting_at(value: f64) -> Self {
        Self { sum: value, lost: 0.0 }
    }

    /// The sum of values, from zero.
    pub fn of(values: &[f64]) -> Self {
        let sum = values.iter().fold(Self::default(), |sum, value| sum.plus_finite(*value));
        // What is finite at the end was never infinite.
        if sum.sum.is_finite() { sum } else { values.iter().fold(Self::default(), |sum, value| sum.plus(*value)) }
    }

    /// The sum with one more value.
    #[inline]
    #[must_use]
    pub fn plus(self, value: f64) -> Self {
        let sum = self.plus_finite(value);
        if sum.is_infinite() { Self { lost: 0.0, ..sum } } else { sum }
    }

    /// The same where the sum is known to stay finite.
    #[inline]
    fn plus_finite(self, value: f64) -> Self {
        let sum = self.sum + value;
        let lost = if self.sum.abs() >= value.abs() {
            self.lost + ((self.sum - sum) + value)
        } else {
            self.lost + ((value - sum) + self.sum)
        };
        Self { sum, lost }
    }

    /// Whether the sum has left the range of floats.
    pub fn is_infinite(self) -> bool {
        self.sum.is_infinite()
    }

    /// The sum with what was lost.
    pub fn total(self) -> f64 {
        self.sum + self.lost
    }

    fn scaled(self, factor: f64) -> Self {
        Self { sum: factor * self.sum, lost: factor * self.lost }
    }
}

/// A running mean: a sum to be divided, or, once the sum would overflow, an incremental mean.
#[derive(Clone, Copy, Debug)]
pub(super) struct KahanMean {
    /// The sum, or the mean itself.
    value: KahanSum,
    count: f64,
    is_incremental: bool,
}

impl KahanMean {
    /// The mean of one value.
    pub fn starting_at(value: f64) -> Self {
        Self { value: KahanSum::starting_at(value), count: 1.0, is_incremental: false }
    }

    /// The mean of values; `None` if there is none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let (first, rest) = values.split_first()?;
        let sum = rest.iter().fold(KahanSum::starting_at(*first), |sum, value| sum.plus_finite(*value));
        Some(if sum.sum.is_finite() {
            Self { value: sum, count: values.len() as f64, is_incremental: false }
        } else {
            rest.iter().fold(Self::starting_at(*first), |mean, value| mean.plus(*value))
        })
    }

    /// The mean with one more value.
    #[inline]
    #[must_use]
    pub fn plus(self, value: f64) -> Self {
        let count = self.count + 1.0;
        if !self.is_incremental {
            let sum = self.value.plus(value);
            if !sum.is_infinite() {
                return Self { value: sum, count, is_incremental: false };
            }
        }
        let mean = if self.is_incremental { self.value } else { self.divided() };
        let mean = mean.scaled((count - 1.0) / count).plus(value / count);
        Self { value: mean, count, is_incremental: true }
    }

    /// The mean.
    pub fn mean(self) -> f64 {
        if self.is_incremental { self.value.total() } else { self.divided().total() }
    }

    fn divided(self) -> KahanSum {
        KahanSum { sum: self.value.sum / self.count, lost: self.value.lost / self.count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_means_keep_small_parts() {
        let sum = |values: &[f64]| {
            let slow = values.iter().fold(KahanSum::default(), |sum, value| sum.plus(*value)).total();
            assert_eq!(KahanSum::of(values).total().to_bits(), slow.to_bits(), "{values:?}");
            slow
        };
        let mean = |values: &[f64]| {
            let mean = values[1..].iter().fold(KahanMean::starting_at(values[0]), |mean, value| mean.plus(*value));
            let at_once = KahanMean::of(values).expect("values").mean();
            assert!(at_once.to_bits() == mean.mean().to_bits() || at_once.is_nan() && mean.mean().is_nan());
            mean.mean()
        };
        assert_eq!(sum(&[1.0, 1e100, 1.0, -1e100]), 2.0);
        assert_eq!(sum(&[f64::INFINITY, 1.0]), f64::INFINITY);
        assert_eq!(sum(&[f64::MAX, f64::MAX, -f64::MAX]), f64::INFINITY);
        assert_eq!(sum(&[1.0, f64::MAX, 1.0, -f64::MAX]), 2.0);
        assert_eq!(mean(&[1.0, 1e100, 1.0, -1e100]), 0.5);
        assert_eq!(mean(&[f64::MAX, f64::MAX]), f64::MAX);
        assert!(mean(&[f64::MAX, f64::MAX, -f64::MAX, -f64::MAX]).is_finite());
        assert!(mean(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
    }
}
