//! `sum_over_time` and `avg_over_time` where windows overlap: the last bits are those of a compensated sum
//! over each window, for one plain addition a sample.
//!
//! A compensated sum keeps two numbers: the sum as it gets rounded at each sample, and what rounding has
//! lost. The first one has to be added up window by window, since it depends on where a window begins; four
//! windows go side by side, as one addition waits for the one before it. The second one is the exact sum
//! less the first, as long as no digit of it was ever rounded away, which is certain where the values' binary
//! digits reach neither too far up nor too far down ([`ScaledSeries::of`]). The exact sum is an integer in
//! units of the lowest digit, and slides.

use std::ops::Range;

use super::{RangeCall, RangeFunction, RangeSamples, Window};

/// Windows side by side.
const LANES: usize = 4;
/// Sliding pays from so many windows a sample.
const OVERLAP_MIN: i64 = 3;
/// Digits of a float.
const DIGITS: i32 = f64::MANTISSA_DIGITS as i32;

/// The sums of a series' windows under way. Windows come in order.
pub(super) struct WindowSums<'s> {
    is_mean: bool,
    series: ScaledSeries<'s>,
    waiting: [Waiting<'s>; LANES],
    waiting_len: usize,
}

/// A window whose rounded sum is not known yet.
#[derive(Clone, Copy, Default)]
struct Waiting<'s> {
    /// The step.
    index: usize,
    floats: &'s [f64],
    exact: i128,
}

impl<'s> WindowSums<'s> {
    /// `None` where the call is another function's, where windows hardly overlap, or where the values do
    /// not allow it.
    pub fn of(call: &RangeCall<'_>, samples: &RangeSamples<'s>, step_ms: i64) -> Option<Self> {
        let is_mean = match call.function {
            RangeFunction::AvgOverTime => true,
            RangeFunction::SumOverTime => false,
            _ => return None,
        };
        if samples.has_histograms() || call.range_ms / step_ms.max(1) < OVERLAP_MIN {
            return None;
        }
        let series = ScaledSeries::of(samples.floats())?;
        Some(Self { is_mean, series, waiting: Default::default(), waiting_len: 0 })
    }

    /// Takes the window of a step, which is not empty; results go to `results` by their steps, then or later.
    #[inline]
    pub fn push(&mut self, index: usize, window: &Window<'s>, results: &mut [f64]) {
        let start = window.first_position;
        let exact = self.series.slide(start..start + window.floats.len());
        self.waiting[self.waiting_len] = Waiting { index, floats: window.floats, exact };
        self.waiting_len += 1;
        if self.waiting_len == LANES {
            self.finish(results);
        }
    }

    /// Gives the results that are still due.
    pub fn finish(&mut self, results: &mut [f64]) {
        let windows = &self.waiting[..self.waiting_len];
        let mut sums = [0.0; LANES];
        let together = windows.iter().map(|window| window.floats.len()).min().unwrap_or(0);
        let mut done = 0;
        if let [a, b, c, d] = windows {
            sums = sums_side_by_side([a, b, c, d].map(|window| &window.floats[..together]));
            done = together;
        }
        for (window, sum) in windows.iter().zip(sums) {
            let sum = window.floats[done..].iter().fold(sum, |sum, value| sum + value);
            let lost = self.series.lost(window.exact, sum);
            let count = window.floats.len() as f64;
            results[window.index] = if self.is_mean { sum / count + lost / count } else { sum + lost };
        }
        self.waiting_len = 0;
    }
}

fn sums_side_by_side([a, b, c, d]: [&[f64]; LANES]) -> [f64; LANES] {
    let mut sums = [0.0; LANES];
    for (((a, b), c), d) in a.iter().zip(b).zip(c).zip(d) {
        sums[0] += a;
        sums[1] += b;
        sums[2] += c;
        sums[3] += d;
    }
    sums
}

/// A series whose values are integers in units of a power of two, and the sum of a window of it.
struct ScaledSeries<'s> {
    floats: &'s [f64],
    scale: f64,
    window: Range<usize>,
    sum: i128,
}

impl<'s> ScaledSeries<'s> {
    /// `None` unless everything stays exact. With all values multiples of 2^-`below`, of a magnitude below
    /// 2^`above`, and at most 2^`many` of them in a window: the rounded sum stays below 2^(`above` + `many`),
    /// so one addition loses at most half its last digit, 2^(`above` + `many` - `DIGITS`), and all of them
    /// 2^`many` times that. In units of 2^-`below`, that has to fit a float's digits.
    fn of(floats: &'s [f64]) -> Option<Self> {
        let (mut below, mut above) = (0, 0);
        for bits in floats.iter().map(|value| value.to_bits() & !(1 << 63)).filter(|bits| *bits != 0) {
            let exponent = (bits >> (DIGITS - 1)) as i32;
            if exponent == 0 || exponent == 0x7ff {
                return None;
            }
            let last_digit = exponent - (f64::MAX_EXP + DIGITS - 2) + (bits.trailing_zeros() as i32).min(DIGITS - 1);
            below = below.max(-last_digit);
            above = above.max(exponent - (f64::MAX_EXP - 2));
        }
        let many = (usize::BITS - floats.len().leading_zeros()) as i32;
        let is_exact = above + 2 * many + below <= 2 * DIGITS && above + many + below < i128::BITS as i32;
        is_exact.then(|| Self { floats, scale: f64::from(below).exp2(), window: 0..0, sum: 0 })
    }

    /// The exact sum of a window that lies behind the one before.
    #[inline]
    fn slide(&mut self, window: Range<usize>) -> i128 {
        for value in &self.floats[self.window.end..window.end] {
            self.sum += to_integer(value * self.scale);
        }
        for value in &self.floats[self.window.start..window.start] {
            self.sum -= to_integer(value * self.scale);
        }
        self.window = window;
        self.sum
    }

    /// What rounding has taken from a sum.
    #[inline]
    fn lost(&self, exact: i128, rounded: f64) -> f64 {
        (exact - to_integer(rounded * self.scale)) as f64 / self.scale
    }
}

/// What `as` gives, without a library call for what 64 bits hold.
#[inline]
fn to_integer(value: f64) -> i128 {
    const SHORT_MAX: f64 = (1u64 << 63) as f64;
    if value.abs() < SHORT_MAX { i128::from(value as i64) } else { value as i128 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::eval::kahan::{KahanMean, KahanSum};
    use proptest::prelude::*;

    /// Sums and means of windows of `len` values, the slow way and this way; `false` if there is no such way.
    fn check(floats: &[f64], len: usize) -> bool {
        let Some(mut series) = ScaledSeries::of(floats) else { return false };
        let windows: Vec<Range<usize>> =
            (1..floats.len() + len).map(|end| end.saturating_sub(len)..end.min(floats.len())).collect();
        let sums = windows.chunks(LANES).flat_map(|some| {
            let sides: Vec<&[f64]> = some.iter().map(|window| &floats[window.clone()]).collect();
            let waiting: Vec<Waiting<'_>> = (some.iter().zip(&sides).enumerate())
                .map(|(index, (window, floats))| Waiting { index, floats, exact: series.slide(window.clone()) })
                .collect();
            let finished = |is_mean| {
                let mut sums = WindowSums {
                    is_mean,
                    series: ScaledSeries::of(floats).expect("as above"),
                    waiting: Default::default(),
                    waiting_len: waiting.len(),
                };
                sums.waiting[..waiting.len()].copy_from_slice(&waiting);
                let mut results = [0.0; LANES];
                sums.finish(&mut results);
                results
            };
            finished(false).into_iter().zip(finished(true)).take(some.len()).collect::<Vec<_>>()
        });
        for (window, (sum, mean)) in windows.iter().zip(sums) {
            let values = &floats[window.clone()];
            let slow_sum = values.iter().fold(KahanSum::default(), |sum, value| sum.plus(*value)).total();
            let slow_mean =
                values[1..].iter().fold(KahanMean::starting_at(values[0]), |mean, value| mean.plus(*value)).mean();
            assert_eq!((sum.to_bits(), mean.to_bits()), (slow_sum.to_bits(), slow_mean.to_bits()), "{values:?}");
        }
        true
    }

    #[test]
    fn usual_values_are_summed_this_way_and_odd_ones_are_not() {
        let noise = |row: u32| f64::from(row.wrapping_mul(2_654_435_761) >> 20);
        let column = |of: &dyn Fn(u32) -> f64| (0..1000).map(of).collect::<Vec<f64>>();
        let usual: [&dyn Fn(u32) -> f64; 7] = [
            &|row| 20.0 + (noise(row) / 10.0).round() / 10.0,
            &|row| noise(row) / 1000.0 - 2.0,
            &|row| noise(row) * 4096.0 + 1.6e10,
            &|row| (noise(row) - 2048.0) * 0.001,
            &|row| (noise(row) + 0.5).sqrt(),
            &|row| [0.0, -0.0, 1.0, -1.0][row as usize % 4],
            &|_| -0.0,
        ];
        for of in usual {
            assert!(check(&column(of), 240), "{:?}", &column(of)[..4]);
        }
        for odd in [f64::NAN, f64::INFINITY, 5e-324, f64::MAX, 1e100, 1e-60] {
            assert!(!check(&[1.1, odd], 2), "{odd}");
        }
    }

    proptest! {
        #[test]
        fn any_values_have_the_bits_of_compensated_sums(
            values in proptest::collection::vec((any::<i64>(), -70i32..10, 0u32..64), 1..60),
            len in 1usize..20,
        ) {
            let floats: Vec<f64> =
                values.iter().map(|(digits, exponent, cut)| (digits >> cut) as f64 * f64::from(*exponent).exp2()).collect();
            check(&floats, len);
        }
    }
}
