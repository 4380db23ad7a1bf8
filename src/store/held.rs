//! A store in front of the store, for as long as the time of day is not known.
//!
//! Samples that bear provisional times stay in memory, where queries and rules find them, and reach the store behind
//! when the right time is known, moved to it. Samples with times of their own keep them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::iter::Peekable;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{
    Append, AppendReport, Batch, GroupId, MemoryStore, NewestSample, ReadOptions, Rejection, Samples, Select, SeriesId,
    SeriesSet, StoreError, StoreMark, StoreStats,
};
use crate::clock::Correction;
use crate::model::{Labels, Matcher, TimeRange, Timestamp, is_stale_marker};

/// So many samples wait, 32 MB, before they are stored with the times they have: 100 minutes of 5,000 series at 15 s.
pub const HELD_SAMPLES_MAX: usize = 2_000_000;

/// Holds samples back in front of `S`, then passes everything through.
pub struct HeldStore<S> {
    behind: Arc<S>,
    state: RwLock<State>,
    samples_max: usize,
}

enum State {
    Holding(Held),
    /// What is provisional and comes late is still moved.
    Passing(Option<Correction>),
}

#[derive(Default)]
struct Held {
    view: MemoryStore,
    /// The series in `view`, by their number there.
    series: Vec<HeldSeries>,
    /// Their numbers in `view` by their ids behind, which are what callers know.
    numbers: HashMap<SeriesId, SeriesId>,
    /// The samples with times of their own, which stay where they are.
    explicit: HashSet<(SeriesId, Timestamp)>,
    samples: usize,
}

struct HeldSeries {
    group: GroupId,
    number: SeriesId,
}

/// What became of the samples that were held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Samples that the store has taken.
    pub stored: usize,
    /// Samples that it has not: it knows newer ones of the series.
    pub refused: usize,
}

impl<S: Append + Select> HeldStore<S> {
    /// Holds back from now on, `samples_max` samples at most.
    pub fn new(behind: Arc<S>, samples_max: usize) -> Self {
        Self { behind, state: RwLock::new(State::Holding(Held::default())), samples_max }
    }

    /// How many samples wait; `None` once nothing is held back any more.
    pub fn held_samples(&self) -> Option<usize> {
        match &*self.read() {
            State::Holding(held) => Some(held.samples),
            State::Passing(_) => None,
        }
    }

    /// Stores what was held back, moved by the correction or, without one, as it is; from then on everything
    /// passes. `None` if that is so already. Takes as long as appending all of it. `correct` is called first, while
    /// nobody can read: no reader sees the right time and the samples at the wrong one.
    pub fn settle(&self, correct: impl FnOnce() -> Option<Correction>) -> Option<Settled> {
        let mut state = self.write();
        let correction = correct();
        self.settle_locked(&mut state, correction)
    }

    fn settle_locked(&self, state: &mut State, correction: Option<Correction>) -> Option<Settled> {
        let State::Holding(held) = state else { return None };
        let mut held = std::mem::take(held);
        // Backwards, right times to come would look like provisional ones.
        *state = State::Passing(correction.filter(|correction| correction.by_ms > 0));
        let explicit = std::mem::take(&mut held.explicit);
        let by_ms = correction.map_or(0, |correction| correction.by_ms);
        let mut settled = Settled::default();
        for (group, series) in held.into_groups() {
            for batch in self.batches(group, series, &explicit, by_ms) {
                let report = self.behind.append(&batch);
                settled.stored += report.appended;
                settled.refused += report.rejected.len();
            }
        }
        Some(settled)
    }

    /// One batch per instant, in time order.
    fn batches(
        &self,
        group: GroupId,
        series: Vec<(HeldSeries, Labels, Samples)>,
        explicit: &HashSet<(SeriesId, Timestamp)>,
        by_ms: i64,
    ) -> impl Iterator<Item = Batch> {
        let mut batches: BTreeMap<Timestamp, Batch> = BTreeMap::new();
        for (held, labels, samples) in series {
            // Not the id of then: a series without samples may have been dropped meanwhile.
            let Ok(id) = self.behind.series(group, &labels) else { continue };
            for (&at, &value) in samples.timestamps.iter().zip(&samples.values) {
                let is_explicit = explicit.contains(&(held.number, at));
                let moved = Timestamp(at.0.saturating_add(if is_explicit { 0 } else { by_ms }));
                let empty = || Batch { group, timestamp: moved, samples: Vec::new(), explicit: Vec::new() };
                let batch = batches.entry(moved).or_insert_with(empty);
                match is_explicit {
                    true => batch.explicit.push((id, at, value)),
                    false => batch.samples.push((id, value)),
                }
            }
        }
        batches.into_values()
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies of the held series that match.
    fn copies(&self, sets: &[Vec<Matcher>], range: TimeRange) -> Vec<(Labels, Samples)> {
        match &*self.read() {
            State::Holding(held) => held.view.copies(sets, range),
            State::Passing(_) => Vec::new(),
        }
    }
}

impl Held {
    fn append(&mut self, batch: &Batch) -> AppendReport {
        let mut report = AppendReport::default();
        let mut take = |position: usize, id: SeriesId, at: Timestamp, value: f64, is_explicit: bool| {
            let Some(number) = self.numbers.get(&id) else {
                report.rejected.push((position, Rejection::UnknownSeries));
                return;
            };
            match self.view.append_to(*number, at, value) {
                Ok(()) => {
                    report.appended += 1;
                    if is_explicit {
                        self.explicit.insert((*number, at));
                    }
                }
                Err(rejection) => report.rejected.push((position, rejection)),
            }
        };
        for (position, &(id, value)) in batch.samples.iter().enumerate() {
            take(position, id, batch.timestamp, value, false);
        }
        for (position, &(id, at, value)) in batch.explicit.iter().enumerate() {
            take(batch.samples.len() + position, id, at, value, true);
        }
        self.samples += report.appended;
        report
    }

    fn know(&mut self, id: SeriesId, group: GroupId, labels: &Labels) {
        let number = self.view.series_of(labels);
        if self.series.len() == number.0 as usize {
            self.series.push(HeldSeries { group, number });
        }
        self.numbers.insert(id, number);
    }

    fn into_groups(self) -> BTreeMap<GroupId, Vec<(HeldSeries, Labels, Samples)>> {
        let mut series: Vec<Option<HeldSeries>> = self.series.into_iter().map(Some).collect();
        let mut groups: BTreeMap<GroupId, Vec<_>> = BTreeMap::new();
        for (number, labels, samples) in self.view.into_series() {
            let Some(held) = series[number.0 as usize].take() else { continue };
            groups.entry(held.group).or_default().push((held, labels, samples));
        }
        groups
    }
}

impl<S: Append + Select> Append for HeldStore<S> {
    fn group(&self, key: &str) -> Result<GroupId, StoreError> {
        self.behind.group(key)
    }

    fn series(&self, group: GroupId, labels: &Labels) -> Result<SeriesId, StoreError> {
        let id = self.behind.series(group, labels)?;
        if matches!(&*self.read(), State::Holding(_))
            && let State::Holding(held) = &mut *self.write()
        {
            held.know(id, group, labels);
        }
        Ok(id)
    }

    fn append(&self, batch: &Batch) -> AppendReport {
        if let State::Passing(correction) = &*self.read() {
            return match correction.filter(|correction| correction.apply(batch.timestamp) != batch.timestamp) {
                Some(correction) => {
                    self.behind.append(&Batch { timestamp: correction.apply(batch.timestamp), ..batch.clone() })
                }
                None => self.behind.append(batch),
            };
        }
        let mut state = self.write();
        match &mut *state {
            State::Holding(held) if held.samples < self.samples_max => held.append(batch),
            State::Holding(_) => {
                let settled = self.settle_locked(&mut state, None);
                tracing::warn!(?settled, "the time of day is still not known: samples are stored with assumed times");
                drop(state);
                self.append(batch)
            }
            State::Passing(_) => {
                drop(state);
                self.append(batch)
            }
        }
    }
}

impl<S: Append + Select> Select for HeldStore<S> {
    fn select_any<'a>(
        &'a self,
        sets: &[Vec<Matcher>],
        options: &ReadOptions,
    ) -> Result<Box<dyn SeriesSet + 'a>, StoreError> {
        // Held first: what is stored in between is seen twice rather than not at all.
        let held = self.copies(sets, options.range);
        if held.is_empty() {
            return self.behind.select_any(sets, options);
        }
        // Series are joined by all their labels.
        let behind = self.behind.select_any(sets, &ReadOptions { labels: None, ..options.clone() })?;
        Ok(Box::new(Joined { behind, waiting: None, is_over: false, held: held.into_iter().peekable() }))
    }

    fn newest(&self, sets: &[Vec<Matcher>], options: &ReadOptions) -> Result<Vec<NewestSample>, StoreError> {
        let held = self.copies(sets, options.range);
        let behind = self.behind.newest(sets, options)?;
        if held.is_empty() {
            return Ok(behind);
        }
        let mut newest: BTreeMap<Labels, (Timestamp, f64)> =
            behind.into_iter().map(|found| (found.labels, (found.timestamp, found.value))).collect();
        for (labels, samples) in held {
            let (Some(&at), Some(&value)) = (samples.timestamps.last(), samples.values.last()) else { continue };
            newest.insert(labels, (at, value));
        }
        let live = newest.into_iter().filter(|(_, (_, value))| !is_stale_marker(*value));
        Ok(live.map(|(labels, (timestamp, value))| NewestSample { labels, timestamp, value }).collect())
    }

    fn series_labels(
        &self,
        sets: &[Vec<Matcher>],
        options: &ReadOptions,
        limit: Option<usize>,
    ) -> Result<Vec<Labels>, StoreError> {
        let held = self.copies(sets, options.range).into_iter().map(|(labels, _)| labels).collect();
        Ok(united(held, self.behind.series_labels(sets, options, limit)?, limit))
    }

    fn label_names(
        &self,
        sets: &[Vec<Matcher>],
        options: &ReadOptions,
        limit: Option<usize>,
    ) -> Result<Vec<String>, StoreError> {
        let held = self.copies(sets, options.range);
        let names = held.iter().flat_map(|(labels, _)| labels.iter().map(|(name, _)| name.to_owned())).collect();
        Ok(united(names, self.behind.label_names(sets, options, limit)?, limit))
    }

    fn label_values(
        &self,
        name: &str,
        sets: &[Vec<Matcher>],
        options: &ReadOptions,
        limit: Option<usize>,
    ) -> Result<Vec<String>, StoreError> {
        let held = self.copies(sets, options.range);
        let values = held.iter().filter_map(|(labels, _)| labels.get(name).map(str::to_owned)).collect();
        Ok(united(values, self.behind.label_values(name, sets, options, limit)?, limit))
    }

    fn stats_with(&self, top: usize) -> StoreStats {
        let mut stats = self.behind.stats_with(top);
        if let State::Holding(held) = &*self.read() {
            let view = held.view.stats_with(top);
            stats.samples_in_memory += view.samples_in_memory;
            stats.oldest = [stats.oldest, view.oldest].into_iter().flatten().min();
            stats.newest = stats.newest.max(view.newest);
        }
        stats
    }

    fn mark(&self) -> Option<StoreMark> {
        match &*self.read() {
            // What is held back will move.
            State::Holding(_) => None,
            State::Passing(_) => self.behind.mark(),
        }
    }

    fn changed_since(&self, mark: &StoreMark) -> Timestamp {
        self.behind.changed_since(mark)
    }
}

/// Both, sorted, each once, so many at most.
fn united<T: Ord>(held: Vec<T>, mut behind: Vec<T>, limit: Option<usize>) -> Vec<T> {
    if held.is_empty() {
        return behind;
    }
    behind.extend(held);
    let all: BTreeSet<T> = behind.into_iter().collect();
    all.into_iter().take(limit.unwrap_or(usize::MAX)).collect()
}

/// Series of two stores in label order. Of a series that both have, what is held comes later.
struct Joined<'a> {
    behind: Box<dyn SeriesSet + 'a>,
    /// The next series from behind, read ahead.
    waiting: Option<(Labels, Samples)>,
    is_over: bool,
    held: Peekable<std::vec::IntoIter<(Labels, Samples)>>,
}

impl SeriesSet for Joined<'_> {
    fn next(&mut self, samples: &mut Samples) -> Result<Option<Labels>, StoreError> {
        samples.clear();
        if self.waiting.is_none() && !self.is_over {
            let mut read = Samples::default();
            self.waiting = self.behind.next(&mut read)?.map(|labels| (labels, read));
            self.is_over = self.waiting.is_none();
        }
        let behind = self.waiting.as_ref().map(|(labels, _)| labels);
        let held = self.held.peek().map(|(labels, _)| labels);
        let order = match (behind, held) {
            (None, None) => return Ok(None),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(behind), Some(held)) => behind.cmp(held),
        };
        let mut found = None;
        if order.is_le()
            && let Some((labels, read)) = self.waiting.take()
        {
            *samples = read;
            found = Some(labels);
        }
        if order.is_ge()
            && let Some((labels, held)) = self.held.next()
        {
            let newest = samples.timestamps.last().copied().unwrap_or(Timestamp::MIN);
            let pairs = held.timestamps.iter().zip(&held.values).filter(|(at, _)| **at > newest);
            pairs.for_each(|(at, value)| samples.push(*at, *value));
            found = Some(labels);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
