//! A store in plain maps: the double for tests, and what rule unit tests run on.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{
    Append, AppendReport, Batch, ChosenLabels, GroupId, NewestSample, ReadOptions, Rejection, Samples, Select,
    SeriesId, SeriesSet, StoreError, StoreStats,
};
use crate::model::{CounterResetHint, FloatHistogram, Labels, Matcher, TimeRange, Timestamp, is_stale_marker};
use std::sync::Arc;

/// Keeps everything, uncompressed, in memory.
#[derive(Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    groups: HashMap<String, GroupId>,
    ids: BTreeMap<Labels, SeriesId>,
    series: Vec<Samples>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one native histogram, which [`Batch`] cannot carry yet. Like Prometheus's store, it
    /// notes whether the histogram certainly was not reset since the one before.
    pub fn append_histogram(&self, labels: &Labels, timestamp: Timestamp, mut histogram: FloatHistogram) {
        let mut inner = self.lock();
        let id = inner.id(labels);
        let samples = &mut inner.series[id.0 as usize];
        histogram.counter_reset_hint = hint_after(last_histogram(samples), &histogram);
        samples.push_histogram(timestamp, Arc::new(histogram));
    }

    /// Appends one float.
    pub fn append_float(&self, labels: &Labels, timestamp: Timestamp, value: f64) -> Result<(), Rejection> {
        let mut inner = self.lock();
        let id = inner.id(labels);
        inner.push(id, timestamp, value)
    }

    /// The series with these labels, made if it is new. Numbers count up from 0.
    pub(super) fn series_of(&self, labels: &Labels) -> SeriesId {
        self.lock().id(labels)
    }

    /// Appends one float to a series that [`MemoryStore::series_of`] gave.
    pub(super) fn append_to(&self, id: SeriesId, timestamp: Timestamp, value: f64) -> Result<(), Rejection> {
        self.lock().push(id, timestamp, value)
    }

    /// Copies of the series that satisfy one of the sets (all, if there is no set), in label order, with their
    /// samples in range; those without any are left out.
    pub(super) fn copies(&self, sets: &[Vec<Matcher>], range: TimeRange) -> Vec<(Labels, Samples)> {
        let inner = self.lock();
        let matching = inner.matching(sets, range).into_iter();
        matching.map(|(labels, samples, positions)| (labels.clone(), slice(samples, positions))).collect()
    }

    /// Everything, in label order.
    pub(super) fn into_series(self) -> Vec<(SeriesId, Labels, Samples)> {
        let Inner { ids, mut series, .. } = self.inner.into_inner().unwrap_or_else(PoisonError::into_inner);
        let taken = |id: &SeriesId| std::mem::take(&mut series[id.0 as usize]);
        let samples: Vec<Samples> = ids.values().map(taken).collect();
        ids.into_iter().zip(samples).map(|((labels, id), samples)| (id, labels, samples)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of the lock panics")
    }
}

impl Inner {
    fn id(&mut self, labels: &Labels) -> SeriesId {
        if let Some(id) = self.ids.get(labels) {
            return *id;
        }
        let id = SeriesId(u32::try_from(self.series.len()).expect("fewer than 2^32 series"));
        self.series.push(Samples::default());
        self.ids.insert(labels.clone(), id);
        id
    }

    fn push(&mut self, id: SeriesId, timestamp: Timestamp, value: f64) -> Result<(), Rejection> {
        let samples = self.series.get_mut(id.0 as usize).ok_or(Rejection::UnknownSeries)?;
        match samples.timestamps.last() {
            Some(last) if *last > timestamp => return Err(Rejection::OutOfOrder),
            Some(last) if *last == timestamp => {
                let same = samples.values.last().is_some_and(|known| known.to_bits() == value.to_bits());
                return if same { Ok(()) } else { Err(Rejection::DuplicateTimestamp) };
            }
            _ => {}
        }
        samples.push(timestamp, value);
        Ok(())
    }

    /// The series that satisfy one of the sets (all, if there is no set) and have samples in range.
    fn matching(&self, sets: &[Vec<Matcher>], range: TimeRange) -> Vec<(&Labels, &Samples, std::ops::Range<usize>)> {
        self.ids
            .iter()
            .filter(|(labels, _)| {
                sets.is_empty() || sets.iter().any(|set| set.iter().all(|matcher| matcher.matches_labels(labels)))
            })
            .map(|(labels, id)| (labels, &self.series[id.0 as usize]))
            .map(|(labels, samples)| (labels, samples, positions(samples, range)))
            .filter(|(_, _, positions)| !positions.is_empty())
            .collect()
    }
}

impl Append for MemoryStore {
    fn group(&self, key: &str) -> Result<GroupId, StoreError> {
        let mut inner = self.lock();
        let next = GroupId(u32::try_from(inner.groups.len()).expect("fewer than 2^32 groups"));
        Ok(*inner.groups.entry(key.to_owned()).or_insert(next))
    }

    fn series(&self, _group: GroupId, labels: &Labels) -> Result<SeriesId, StoreError> {
        Ok(self.lock().id(labels))
    }

    fn append(&self, batch: &Batch) -> AppendReport {
        let mut inner = self.lock();
        let shared = batch.samples.iter().map(|(id, value)| (*id, batch.timestamp, *value));
        let mut report = AppendReport::default();
        for (position, (id, timestamp, value)) in shared.chain(batch.explicit.iter().copied()).enumerate() {
            match inner.push(id, timestamp, value) {
                Ok(()) => report.appended += 1,
                Err(rejection) => report.rejected.push((position, rejection)),
            }
        }
        report
    }

    fn append_native(&self, labels: &Labels, timestamp: Timestamp, histogram: &FloatHistogram) -> bool {
        self.append_histogram(labels, timestamp, histogram.clone());
        true
    }
}

impl Select for MemoryStore {
    fn select_any<'a>(
        &'a self,
        sets: &[Vec<Matcher>],
        options: &ReadOptions,
    ) -> Result<Box<dyn SeriesSet + 'a>, StoreError> {
        let mut found = self.copies(sets, options.range);
        let wants_all = |chosen: &ChosenLabels| {
            found.iter().any(|(labels, _)| chosen.unless.iter().any(|name| labels.get(name).is_some()))
        };
        if let Some(chosen) = options.labels.as_ref().filter(|chosen| !wants_all(chosen)) {
            found.iter_mut().for_each(|(labels, _)| *labels = labels.filtered(|name| chosen.has(name)));
        }
        Ok(Box::new(MemorySeriesSet { found: found.into_iter(), options: options.clone() }))
    }

    fn newest(&self, sets: &[Vec<Matcher>], options: &ReadOptions) -> Result<Vec<NewestSample>, StoreError> {
        let inner = self.lock();
        let newest = inner.matching(sets, options.range).into_iter().filter_map(|(labels, samples, positions)| {
            let (timestamp, value) = (samples.timestamps[positions.end - 1], samples.values[positions.end - 1]);
            (!is_stale_marker(value)).then(|| NewestSample { labels: labels.clone(), timestamp, value })
        });
        Ok(newest.collect())
    }

    fn series_labels(
        &self,
        sets: &[Vec<Matcher>],
        options: &ReadOptions,
        limit: Option<usize>,
    ) -> Result<Vec<Labels>, StoreError> {
        let inner = self.lock();
        let labels = inner.matching(sets, options.range).into_iter().map(|(labels, ..)| labels.clone());
        Ok(labels.take(limit.unwrap_or(usize::MAX)).collect())
    }

    fn label_names(
        &self,
        sets: &[Vec<Matcher>],
        options: &ReadOptions,
        limit: Option<usize>,
    ) -> Result<Vec<String>, StoreError> {
        let inner = self.lock();
        let found = inner.matching(sets, options.range);
        let names: BTreeSet<&str> = found.iter().flat_map(|(labels, ..)| labels.iter().map(|(name, _)| name)).collect();
        Ok(names.into_iter().take(limit.unwrap_or(usize::MAX)).map(str::to_owned).collect())
    }

    fn label_values(
        &self,
        name: &str,
        sets: &[Vec<Matcher>],
        options: &ReadOptions,
        limit: Option<usize>,
    ) -> Result<Vec<String>, StoreError> {
        let inner = self.lock();
        let found = inner.matching(sets, options.range);
        let values: BTreeSet<&str> = found.iter().filter_map(|(labels, ..)| labels.get(name)).collect();
        Ok(values.into_iter().take(limit.unwrap_or(usize::MAX)).map(str::to_owned).collect())
    }

    fn stats_with(&self, _top: usize) -> StoreStats {
        let inner = self.lock();
        StoreStats {
            series: inner.series.len() as u64,
            samples_in_memory: inner.series.iter().map(|samples| samples.len() as u64).sum(),
            oldest: inner.series.iter().filter_map(|samples| samples.timestamps.first()).min().copied(),
            newest: inner.series.iter().filter_map(|samples| samples.timestamps.last()).max().copied(),
            ..StoreStats::default()
        }
    }
}

struct MemorySeriesSet {
    found: std::vec::IntoIter<(Labels, Samples)>,
    options: ReadOptions,
}

impl SeriesSet for MemorySeriesSet {
    fn next(&mut self, samples: &mut Samples) -> Result<Option<Labels>, StoreError> {
        self.options.check()?;
        samples.clear();
        Ok(self.found.next().map(|(labels, found)| {
            *samples = found;
            labels
        }))
    }
}

/// The newest sample, if it is a histogram and no stale marker.
fn last_histogram(samples: &Samples) -> Option<&FloatHistogram> {
    let (position, histogram) = samples.histograms.last()?;
    (*position as usize + 1 == samples.len() && !is_stale_marker(histogram.sum)).then_some(histogram)
}

/// Gauges stay gauges. A counter that begins a chunk in Prometheus's store, be it because it was reset, comes out of
/// it with nothing known; all others were not reset.
fn hint_after(before: Option<&FloatHistogram>, now: &FloatHistogram) -> CounterResetHint {
    use CounterResetHint::{CounterReset, Gauge, NotCounterReset, Unknown};
    let Some(before) = before.filter(|before| before.counter_reset_hint != Gauge) else {
        return if now.counter_reset_hint == Gauge { Gauge } else { Unknown };
    };
    // What the histogram itself says of having had no reset is not believed.
    let compared = FloatHistogram { counter_reset_hint: Unknown, ..now.clone() };
    match now.counter_reset_hint {
        Gauge => Gauge,
        CounterReset => Unknown,
        _ if now.count < before.count => Unknown,
        // Another layout begins a new chunk, which knows nothing of the one before.
        _ if (now.schema, now.zero_threshold) != (before.schema, before.zero_threshold) => Unknown,
        _ if now.custom_values != before.custom_values => Unknown,
        _ if compared.is_reset_after(before) => Unknown,
        _ => NotCounterReset,
    }
}

fn positions(samples: &Samples, range: TimeRange) -> std::ops::Range<usize> {
    let start = samples.timestamps.partition_point(|at| *at < range.start);
    let end = samples.timestamps.partition_point(|at| *at <= range.end);
    start..end.max(start)
}

fn slice(samples: &Samples, positions: std::ops::Range<usize>) -> Samples {
    let histograms = samples
        .histograms
        .iter()
        .filter(|(at, _)| positions.contains(&(*at as usize)))
        .map(|(at, histogram)| (at - positions.start as u32, Arc::clone(histogram)))
        .collect();
    Samples {
        timestamps: samples.timestamps[positions.clone()].to_vec(),
        values: samples.values[positions].to_vec(),
        histograms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stale_marker;

    #[test]
    fn only_a_compared_histogram_is_said_not_to_be_reset() {
        use CounterResetHint::{CounterReset, Gauge, NotCounterReset, Unknown};
        let of = |count: f64, hint| FloatHistogram { count, counter_reset_hint: hint, ..FloatHistogram::default() };
        // The one before, the one now, what is kept of its hint.
        let cases = [
            (None, of(1.0, NotCounterReset), Unknown),
            (None, of(1.0, Gauge), Gauge),
            (Some(of(1.0, Unknown)), of(2.0, Unknown), NotCounterReset),
            (Some(of(1.0, Unknown)), of(2.0, CounterReset), Unknown),
            (Some(of(2.0, Unknown)), of(1.0, NotCounterReset), Unknown),
            (Some(of(1.0, Gauge)), of(2.0, Unknown), Unknown),
        ];
        for (before, now, expected) in cases {
            assert_eq!(hint_after(before.as_ref(), &now), expected, "{before:?} {now:?}");
        }
    }

    #[test]
    fn newest_leaves_out_what_has_ended() {
        let store = MemoryStore::new();
        let of = |name: &str| Labels::from_pairs([("__name__", name)]);
        store.append_float(&of("alive"), Timestamp(1_000), 1.0).expect("in order");
        store.append_float(&of("ended"), Timestamp(1_000), 1.0).expect("in order");
        store.append_float(&of("ended"), Timestamp(2_000), stale_marker()).expect("in order");
        assert_eq!(store.append_float(&of("alive"), Timestamp(500), 1.0), Err(Rejection::OutOfOrder));
        let newest = store.newest(&[vec![]], &ReadOptions::over(TimeRange::ALL)).expect("memory does not fail");
        assert_eq!(newest, [NewestSample { labels: of("alive"), timestamp: Timestamp(1_000), value: 1.0 }]);
    }
}
