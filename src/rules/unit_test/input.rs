//! The input series of a test: parsed once, loaded step by step as simulated time goes on.
//!
//! Samples are loaded only up to the time that is evaluated, so that rules cannot see the future.

use std::collections::BTreeMap;
use std::time::Duration;

use super::document::InputSeries;
use crate::model::{FloatHistogram, Labels, Timestamp, stale_marker};
use crate::promql::ParseError;
use crate::promql::parse_series_description;
use crate::promql::series_notation::{NotationError, SequenceValue, parse_series_values};
use crate::store::MemoryStore;

/// An input series that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The series is no label set.
    #[error("input series {series:?}: {error}")]
    Series {
        /// As written.
        series: String,
        /// What is wrong.
        error: ParseError,
    },
    /// The values are no sequence.
    #[error("input series {series:?}: {error}")]
    Values {
        /// The series as written.
        series: String,
        /// What is wrong.
        error: NotationError,
    },
    /// A sequence goes past the end of time.
    #[error("input series {series:?}: the values reach beyond what a timestamp can hold")]
    TooLong {
        /// The series as written.
        series: String,
    },
}

/// All input series of a test and how far they are loaded.
pub struct Input {
    series: Vec<Pending>,
}

struct Pending {
    labels: Labels,
    values: std::iter::Peekable<std::vec::IntoIter<(Timestamp, SequenceValue)>>,
}

impl Input {
    /// Reads the series; their first value is at `start`, the others follow every `interval`. A
    /// series that is given twice is the later one.
    pub fn parse(series: &[InputSeries], start: Timestamp, interval: Duration) -> Result<Self, InputError> {
        let mut parsed: BTreeMap<Labels, Vec<(Timestamp, SequenceValue)>> = BTreeMap::new();
        for input in series {
            let name = || input.series.clone();
            let labels = parse_series_description(&input.series)
                .map_err(|error| InputError::Series { series: name(), error })?;
            let values =
                parse_series_values(&input.values).map_err(|error| InputError::Values { series: name(), error })?;
            let timed = timed(values, start, interval).ok_or_else(|| InputError::TooLong { series: name() })?;
            parsed.insert(labels, timed);
        }
        let series =
            parsed.into_iter().map(|(labels, values)| Pending { labels, values: values.into_iter().peekable() });
        Ok(Self { series: series.collect() })
    }

    /// Appends all samples up to `at` that are not appended yet.
    pub fn load_until(&mut self, store: &MemoryStore, at: Timestamp) -> Result<(), String> {
        for Pending { labels, values } in &mut self.series {
            while let Some((time, value)) = values.next_if(|(time, _)| *time <= at) {
                append(store, labels, time, value).map_err(|error| format!("input series {labels}: {error}"))?;
            }
        }
        Ok(())
    }
}

fn timed(values: Vec<SequenceValue>, start: Timestamp, interval: Duration) -> Option<Vec<(Timestamp, SequenceValue)>> {
    let step_ms = i64::try_from(interval.as_millis()).ok()?;
    let count = i64::try_from(values.len()).ok()?;
    step_ms.checked_mul(count)?.checked_add(start.0)?;
    let times = (0..count).map(|position| Timestamp(start.0 + position * step_ms));
    Some(times.zip(values).filter(|(_, value)| *value != SequenceValue::Omitted).collect())
}

fn append(store: &MemoryStore, labels: &Labels, at: Timestamp, value: SequenceValue) -> Result<(), String> {
    let appended = match value {
        SequenceValue::Omitted => Ok(()),
        SequenceValue::Float(value) => store.append_float(labels, at, value),
        SequenceValue::Stale => store.append_float(labels, at, stale_marker()),
        SequenceValue::Histogram(histogram) => {
            store.append_histogram(labels, at, FloatHistogram::clone(&histogram));
            Ok(())
        }
    };
    appended.map_err(|rejection| format!("{rejection:?} at {}", at.seconds()))
}
