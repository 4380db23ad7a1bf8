//! Results of range queries, kept for the next refresh of a dashboard.
//!
//! An entry holds the points of one query text on one grid of steps (same distance, same phase, same
//! lookback) up to the time that was settled when the store was read. A later query on the grid takes
//! from it what is still so and evaluates the steps before and behind alone. Whether it is still so
//! the store tells ([`StoreMark`]): a late sample cuts the entry where the sample lies, and samples
//! that were removed drop it. Only expressions whose steps do not depend on each other are kept
//! ([`reach`]), only floats, and only results without warnings and infos. The least recently used
//! entries go first when the bound on bytes is reached.

mod reach;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use super::eval::Steps;
use super::{MatrixSeries, Value};
use crate::model::{Labels, Timestamp};
use crate::store::StoreMark;

pub(super) use reach::reach_ahead;

/// No entry may take more than this share of the whole: one panel must not push out a dashboard.
const ENTRY_SHARE: usize = 4;
/// What an entry and a series take beside their points.
const ENTRY_BYTES: usize = 256;
const SERIES_BYTES: usize = 64;

/// What must be equal for points to be shared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct CacheKey {
    pub store: u64,
    pub text: Arc<str>,
    pub step: i64,
    /// The first step's distance from a multiple of the step.
    pub phase: i64,
    pub lookback_ms: i64,
    /// Of subqueries without a step of their own.
    pub default_step_ms: u64,
}

/// How the cache is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Results held.
    pub entries: u64,
    /// Bytes held.
    pub bytes: u64,
    /// Steps of queries that came from the cache.
    pub steps_reused: u64,
    /// Steps of queries that could have come from it and were evaluated.
    pub steps_evaluated: u64,
}

/// All entries.
#[derive(Debug, Default)]
pub(super) struct ResultCache {
    bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<CacheKey, Arc<Entry>>,
    /// When each entry was last used, by a counter.
    used: HashMap<CacheKey, u64>,
    uses: u64,
    stats: CacheStats,
}

/// The points of one query.
#[derive(Debug)]
pub(super) struct Entry {
    pub mark: StoreMark,
    pub steps: Steps,
    series: Vec<CachedSeries>,
}

#[derive(Debug)]
struct CachedSeries {
    labels: Labels,
    runs: Vec<Run>,
}

/// Points at consecutive steps.
#[derive(Debug)]
struct Run {
    first: u32,
    values: Box<[f64]>,
}

impl ResultCache {
    /// A cache of at most about this many bytes; none means that nothing is kept.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, state: Mutex::default() }
    }

    pub fn is_enabled(&self) -> bool {
        self.bytes_max > 0
    }

    pub fn stats(&self) -> CacheStats {
        let state = self.lock();
        CacheStats { entries: state.entries.len() as u64, ..state.stats }
    }

    pub fn count_steps(&self, reused: usize, evaluated: usize) {
        let mut state = self.lock();
        state.stats.steps_reused += reused as u64;
        state.stats.steps_evaluated += evaluated as u64;
    }

    pub fn get(&self, key: &CacheKey) -> Option<Arc<Entry>> {
        let mut state = self.lock();
        let entry = Arc::clone(state.entries.get(key)?);
        state.touch(key);
        Some(entry)
    }

    pub fn remove(&self, key: &CacheKey) {
        self.lock().remove(key);
    }

    /// Keeps an entry if it is not too large, in the place of the one under the same key.
    pub fn insert(&self, key: CacheKey, entry: Entry) {
        let bytes = entry.bytes(&key);
        let mut state = self.lock();
        state.remove(&key);
        if bytes > self.bytes_max / ENTRY_SHARE {
            return;
        }
        state.stats.bytes += bytes as u64;
        state.touch(&key);
        state.entries.insert(key, Arc::new(entry));
        while state.stats.bytes > self.bytes_max as u64 {
            let Some(oldest) = state.used.iter().min_by_key(|(_, used)| **used).map(|(key, _)| key.clone()) else {
                return;
            };
            state.remove(&oldest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the lock panics")
    }
}

impl State {
    fn touch(&mut self, key: &CacheKey) {
        self.uses += 1;
        self.used.insert(key.clone(), self.uses);
    }

    fn remove(&mut self, key: &CacheKey) {
        self.used.remove(key);
        if let Some(entry) = self.entries.remove(key) {
            self.stats.bytes -= entry.bytes(key) as u64;
        }
    }
}

impl Entry {
    /// The first `count` steps of a result; `None` if it holds histograms.
    pub fn of(mark: StoreMark, steps: Steps, count: usize, matrix: &[MatrixSeries]) -> Option<Self> {
        let steps = Steps { count, ..steps };
        let mut series = Vec::new();
        for each in matrix {
            let end = each.points.partition_point(|(at, _)| at.0 <= steps.end());
            let runs = runs_of(&each.points[..end], steps)?;
            if !runs.is_empty() {
                series.push(CachedSeries { labels: each.labels.clone(), runs });
            }
        }
        Some(Self { mark, steps, series })
    }

    /// How many of its steps lie before a time.
    pub fn count_before(&self, time: Timestamp) -> usize {
        let before = time.0.saturating_sub(self.steps.start);
        if before <= 0 {
            return 0;
        }
        usize::try_from((before - 1) / self.steps.step + 1).unwrap_or(usize::MAX).min(self.steps.count)
    }

    /// Its points from one time to another, both included.
    fn points(&self, (from, to): (i64, i64)) -> impl Iterator<Item = (&Labels, Vec<(Timestamp, Value)>)> {
        self.series.iter().filter_map(move |series| {
            let mut points = Vec::new();
            for run in &series.runs {
                let at = |index: usize| self.steps.at(run.first as usize + index);
                let times = (0..run.values.len()).map(at).zip(&run.values);
                let wanted = times.filter(|(at, _)| (from..=to).contains(at));
                points.extend(wanted.map(|(at, value)| (Timestamp(at), Value::Float(*value))));
            }
            (!points.is_empty()).then_some((&series.labels, points))
        })
    }

    fn bytes(&self, key: &CacheKey) -> usize {
        let series = self.series.iter().map(|series| {
            let runs: usize = series.runs.iter().map(|run| run.values.len() * 8 + size_of::<Run>()).sum();
            SERIES_BYTES + series.labels.as_bytes().len() + runs
        });
        ENTRY_BYTES + 2 * key.text.len() + series.sum::<usize>()
    }
}

fn runs_of(points: &[(Timestamp, Value)], steps: Steps) -> Option<Vec<Run>> {
    let mut runs = Vec::new();
    for run in points.chunk_by(|(a, _), (b, _)| b.0 - a.0 == steps.step) {
        let first = u32::try_from((run[0].0.0 - steps.start) / steps.step).ok()?;
        let floats = run.iter().map(|(_, value)| match value {
            Value::Float(value) => Some(*value),
            Value::Histogram(_) => None,
        });
        runs.push(Run { first, values: floats.collect::<Option<_>>()? });
    }
    Some(runs)
}

/// What was evaluated before a cached span, the span, and what was evaluated behind it, as one result.
pub(super) fn joined(
    before: Vec<MatrixSeries>,
    (entry, span): (&Entry, (i64, i64)),
    behind: Vec<MatrixSeries>,
) -> Vec<MatrixSeries> {
    let mut all: BTreeMap<Labels, Vec<(Timestamp, Value)>> =
        before.into_iter().map(|series| (series.labels, series.points)).collect();
    for (labels, mut points) in entry.points(span) {
        match all.get_mut(labels) {
            Some(known) => known.append(&mut points),
            None => drop(all.insert(labels.clone(), points)),
        }
    }
    for mut series in behind {
        match all.get_mut(&series.labels) {
            Some(known) => known.append(&mut series.points),
            None => drop(all.insert(series.labels, series.points)),
        }
    }
    all.into_iter().map(|(labels, points)| MatrixSeries { labels, points }).collect()
}
