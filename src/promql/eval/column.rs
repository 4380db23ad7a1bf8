//! One series over all steps, as a dense column.
//!
//! A step without a float holds the stale marker: it already means "no value here", no arithmetic
//! gives its bits, and an ordinary NaN is another value. Native histograms, which are rare, stand in a
//! second column that exists only where there is one; at such a step the float is absent.

use std::sync::Arc;

use crate::model::{FloatHistogram, Labels, STALE_NAN_BITS};
use crate::promql::Value;

/// "No float at this step".
pub(super) const ABSENT: f64 = f64::from_bits(STALE_NAN_BITS);

/// Whether a float of a column is a value.
#[inline]
pub(super) fn is_present(value: f64) -> bool {
    value.to_bits() != STALE_NAN_BITS
}

/// The values of one series, one slot per step.
#[derive(Clone, Debug, Default)]
pub(super) struct Column {
    /// A float or [`ABSENT`] per step.
    pub floats: Vec<f64>,
    /// A histogram or none per step; empty where the series has no histogram at all.
    pub histograms: Vec<Option<Arc<FloatHistogram>>>,
}

impl Column {
    /// A column without values.
    pub fn absent(len: usize) -> Self {
        Self { floats: vec![ABSENT; len], histograms: Vec::new() }
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.floats.len()
    }

    /// Whether there is a value at a step.
    #[inline]
    pub fn has(&self, index: usize) -> bool {
        is_present(self.floats[index]) || self.histogram(index).is_some()
    }

    /// Whether there is a value at any step.
    pub fn has_any(&self) -> bool {
        self.floats.iter().any(|value| is_present(*value)) || self.histograms.iter().any(Option::is_some)
    }

    /// The histogram at a step.
    #[inline]
    pub fn histogram(&self, index: usize) -> Option<&Arc<FloatHistogram>> {
        self.histograms.get(index).and_then(Option::as_ref)
    }

    /// The value at a step.
    pub fn get(&self, index: usize) -> Option<Value> {
        match self.histogram(index) {
            Some(histogram) => Some(Value::Histogram(Arc::clone(histogram))),
            None => Some(self.floats[index]).filter(|value| is_present(*value)).map(Value::Float),
        }
    }

    /// Sets or clears the value at a step.
    pub fn set(&mut self, index: usize, value: Option<Value>) {
        self.floats[index] = ABSENT;
        if let Some(slot) = self.histograms.get_mut(index) {
            *slot = None;
        }
        match value {
            None => {}
            Some(Value::Float(float)) => self.floats[index] = float,
            Some(Value::Histogram(histogram)) => {
                self.histograms.resize(self.floats.len(), None);
                self.histograms[index] = Some(histogram);
            }
        }
    }

    /// Clears the value at a step.
    pub fn clear(&mut self, index: usize) {
        self.set(index, None);
    }

    /// Replaces every float.
    #[inline]
    pub fn map_floats(&mut self, mut change: impl FnMut(usize, f64) -> f64) {
        for (index, value) in self.floats.iter_mut().enumerate() {
            if is_present(*value) {
                *value = change(index, *value);
            }
        }
    }

    /// Forgets the histograms.
    pub fn drop_histograms(&mut self) {
        self.histograms = Vec::new();
    }

    /// What the column counts for against the bound on samples held: its values, but at least the
    /// memory it takes (a sample is 16 bytes, a slot is 8).
    pub fn weight(&self) -> u64 {
        self.present_weight().max(self.floats.len() as u64 / 2)
    }

    /// How many steps have a value.
    pub fn present_len(&self) -> usize {
        let floats = self.floats.iter().filter(|value| is_present(**value)).count();
        floats + self.histograms.iter().flatten().count()
    }

    /// How many samples the values amount to.
    pub fn present_weight(&self) -> u64 {
        let floats = self.floats.iter().filter(|value| is_present(**value)).count();
        let histograms = self.histograms.iter().flatten().map(|histogram| histogram.sample_weight());
        floats as u64 + histograms.sum::<u64>()
    }

    /// Takes the other column's values where this one has none; `false` where both have one.
    pub fn absorb(&mut self, other: &Self) -> bool {
        for index in 0..other.len() {
            if let Some(value) = other.get(index) {
                if self.has(index) {
                    return false;
                }
                self.set(index, Some(value));
            }
        }
        true
    }
}

/// A series of a result under way.
#[derive(Clone, Debug)]
pub(super) struct Series {
    /// Its labels.
    pub labels: Labels,
    /// Whether the metric's name is to go at the very end (delayed name removal).
    pub drops_name: bool,
    /// Its values.
    pub column: Column,
}

/// A scalar at every step.
#[derive(Clone, Debug)]
pub(super) enum Scalar {
    /// The same everywhere.
    Constant(f64),
    /// One per step.
    PerStep(Vec<f64>),
}

impl Scalar {
    /// The value at a step.
    #[inline]
    pub fn at(&self, index: usize) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::PerStep(values) => values[index],
        }
    }

    /// Computes a scalar from each value.
    pub fn map(self, change: impl Fn(f64) -> f64) -> Self {
        match self {
            Self::Constant(value) => Self::Constant(change(value)),
            Self::PerStep(mut values) => {
                values.iter_mut().for_each(|value| *value = change(*value));
                Self::PerStep(values)
            }
        }
    }
}
