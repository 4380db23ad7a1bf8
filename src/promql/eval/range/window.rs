//! Samples of a series as range functions see them, and the window that slides over them.

use std::ops::Range;
use std::sync::Arc;

use crate::model::{FloatHistogram, Timestamp, is_stale_marker};
use crate::promql::Value;
use crate::store::Samples;

/// A series' samples without stale markers, floats and histograms apart.
pub(super) struct RangeSamples<'a> {
    times: &'a [Timestamp],
    floats: &'a [f64],
    histogram_times: Vec<Timestamp>,
    histograms: Vec<Arc<FloatHistogram>>,
}

impl<'a> RangeSamples<'a> {
    /// Sorts a buffer out, in place.
    pub fn new(samples: &'a mut Samples) -> Self {
        let mut histogram_times = Vec::new();
        let mut histograms = Vec::new();
        for (position, histogram) in std::mem::take(&mut samples.histograms) {
            let position = position as usize;
            // Marks the slot as not a float, so that the sweep below takes it out.
            samples.values[position] = crate::model::stale_marker();
            if !is_stale_marker(histogram.sum) {
                histogram_times.push(samples.timestamps[position]);
                histograms.push(histogram);
            }
        }
        if samples.values.iter().any(|value| is_stale_marker(*value)) {
            remove_stale(samples);
        }
        Self { times: &samples.timestamps, floats: &samples.values, histogram_times, histograms }
    }

    /// All floats.
    pub fn floats(&self) -> &'a [f64] {
        self.floats
    }

    /// Whether there is any histogram.
    pub fn has_histograms(&self) -> bool {
        !self.histograms.is_empty()
    }

    /// The samples of one window.
    pub fn window(&self, bounds: (i64, i64), at: i64) -> Window<'_> {
        Windows::over(self).slide(bounds, at)
    }
}

fn remove_stale(samples: &mut Samples) {
    let mut kept = 0;
    for position in 0..samples.values.len() {
        if !is_stale_marker(samples.values[position]) {
            samples.values[kept] = samples.values[position];
            samples.timestamps[kept] = samples.timestamps[position];
            kept += 1;
        }
    }
    samples.values.truncate(kept);
    samples.timestamps.truncate(kept);
}

/// The samples between two times, the later one included.
pub(super) struct Window<'a> {
    /// Position of the first float within the series.
    pub first_position: usize,
    /// Times of the floats.
    pub times: &'a [Timestamp],
    /// The floats.
    pub floats: &'a [f64],
    /// Times of the histograms.
    pub histogram_times: &'a [Timestamp],
    /// The histograms.
    pub histograms: &'a [Arc<FloatHistogram>],
    /// The bounds of the range: open on the left, closed on the right.
    pub bounds: (i64, i64),
    /// The time of the step.
    pub at: i64,
}

impl Window<'_> {
    pub fn len(&self) -> usize {
        self.floats.len() + self.histograms.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The newest sample.
    pub fn last(&self) -> Option<Value> {
        match (self.times.last(), self.histogram_times.last()) {
            (Some(float), histogram) if histogram.is_none_or(|histogram| histogram < float) => {
                self.floats.last().map(|value| Value::Float(*value))
            }
            _ => self.histograms.last().map(|histogram| Value::Histogram(Arc::clone(histogram))),
        }
    }

    /// The oldest sample.
    pub fn first(&self) -> Option<Value> {
        match (self.times.first(), self.histogram_times.first()) {
            (Some(float), histogram) if histogram.is_none_or(|histogram| histogram > float) => {
                self.floats.first().map(|value| Value::Float(*value))
            }
            _ => self.histograms.first().map(|histogram| Value::Histogram(Arc::clone(histogram))),
        }
    }

    /// The time of the newest sample.
    pub fn last_time(&self) -> Option<Timestamp> {
        self.times.last().max(self.histogram_times.last()).copied()
    }

    /// The time of the oldest sample.
    pub fn first_time(&self) -> Option<Timestamp> {
        self.times.first().into_iter().chain(self.histogram_times.first()).min().copied()
    }

    /// All samples in time order.
    pub fn to_points(&self) -> Vec<(Timestamp, Value)> {
        let floats = self.times.iter().zip(self.floats).map(|(time, value)| (*time, Value::Float(*value)));
        let histograms = self.histogram_times.iter().zip(self.histograms);
        let histograms = histograms.map(|(time, histogram)| (*time, Value::Histogram(Arc::clone(histogram))));
        let mut points: Vec<_> = floats.chain(histograms).collect();
        points.sort_by_key(|(time, _)| *time);
        points
    }
}

/// Slides over a series. Bounds must not move back.
pub(super) struct Windows<'a> {
    samples: &'a RangeSamples<'a>,
    floats: Range<usize>,
    histograms: Range<usize>,
    /// By how many floats the window moved last: by about as many it moves next.
    stride: usize,
}

impl<'a> Windows<'a> {
    pub fn over(samples: &'a RangeSamples<'a>) -> Self {
        Self { samples, floats: 0..0, histograms: 0..0, stride: 0 }
    }

    /// The window with these bounds, for the step at `at`.
    #[inline]
    pub fn slide(&mut self, bounds: (i64, i64), at: i64) -> Window<'a> {
        let samples = self.samples;
        let end = self.floats.end;
        self.floats.end = jump(end, self.stride, samples.times, bounds.1);
        self.floats.start = jump(self.floats.start, self.stride, &samples.times[..self.floats.end], bounds.0);
        advance(&mut self.floats, samples.times, bounds);
        self.stride = self.floats.end - end;
        advance(&mut self.histograms, &samples.histogram_times, bounds);
        Window {
            first_position: self.floats.start,
            times: &samples.times[self.floats.clone()],
            floats: &samples.floats[self.floats.clone()],
            histogram_times: &samples.histogram_times[self.histograms.clone()],
            histograms: &samples.histograms[self.histograms.clone()],
            bounds,
            at,
        }
    }
}

/// Goes on by `stride` at once, if all that is skipped is not later than `limit`.
#[inline]
fn jump(position: usize, stride: usize, times: &[Timestamp], limit: i64) -> usize {
    let target = position + stride;
    if stride > 0 && times.get(target - 1).is_some_and(|last| last.0 <= limit) { target } else { position }
}

#[inline]
fn advance(range: &mut Range<usize>, times: &[Timestamp], (after, until): (i64, i64)) {
    while range.end < times.len() && times[range.end].0 <= until {
        range.end += 1;
    }
    while range.start < range.end && times[range.start].0 <= after {
        range.start += 1;
    }
}
