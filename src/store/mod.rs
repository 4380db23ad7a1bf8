//! Where samples live: two narrow traits, and the stores that implement them.
//!
//! Sources append through [`Append`]; PromQL, federation and the API read through [`Select`]. Both
//! are synchronous: appending touches memory only, and reads that may touch the disk are called from
//! blocking threads. [`MemoryStore`] is the double for tests and for rule unit tests.

mod blocks;
mod changes;
mod dictionary;
mod disk;
mod error;
mod file_id;
mod head;
mod held;
mod index;
mod log;
mod memory;
#[cfg(test)]
mod mutation;
mod packed;
mod squeeze;

pub use blocks::{JobShare, Rescue};
#[cfg(fuzzing)]
pub use blocks::{read_untrusted_directory, read_untrusted_names};
pub use disk::{
    DiskStore, ImportGroup, OfflineStore, Repaired, RetentionRule, StoreHealth, StoreSettings, Survey, Verified,
    copy_store, repair, verify,
};
pub use error::StoreError;
pub use held::{HELD_SAMPLES_MAX, HeldStore, Settled};
pub use memory::MemoryStore;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::model::{FloatHistogram, Labels, METRIC_NAME, Matcher, TimeRange, Timestamp};

/// One series, for as long as the process lives. Ids are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(pub u32);

/// One scrape group: series that are appended together and share their timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

/// Takes samples.
pub trait Append: Send + Sync {
    /// The group named `key`, made if it is new. The key must be stable over restarts: a target's
    /// job and labels, or a rule group's file and name.
    fn group(&self, key: &str) -> Result<GroupId, StoreError>;

    /// The series with these labels, made if it is new. `group` is where it is stored if it is new;
    /// a series keeps its first group, and samples that reach it through another one are kept too.
    fn series(&self, group: GroupId, labels: &Labels) -> Result<SeriesId, StoreError>;

    /// Appends the samples of one scrape or one rule evaluation. Never waits for the disk.
    fn append(&self, batch: &Batch) -> AppendReport;

    /// Appends one native histogram, which a [`Batch`] cannot carry. False where the store does not
    /// hold histograms, as here by default.
    fn append_native(&self, _labels: &Labels, _timestamp: Timestamp, _histogram: &FloatHistogram) -> bool {
        false
    }
}

/// Bytes of a note: each is written with every flush.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;

/// The note that says which store it is: 8 bytes, a number that no other one has.
pub const STORE_NOTE: &str = "store";

/// Keeps small things of others beside the samples. All of them are written with each flush that has samples to write,
/// and cause none of their own but when the store is closed. A power cut takes what is newer than the flush before.
pub trait Notes: Send + Sync {
    /// What was kept last under a name.
    fn note(&self, name: &str) -> Option<Vec<u8>>;

    /// Replaces what stands under a name; durable with the next flush. Fails if it is longer than [`NOTE_BYTES_MAX`].
    fn set_note(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError>;
}

/// The samples of one scrape or of one rule evaluation.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The group they belong to.
    pub group: GroupId,
    /// The time that they share.
    pub timestamp: Timestamp,
    /// The samples at that time. Order is free, but the same order each time is fastest.
    pub samples: Vec<(SeriesId, f64)>,
    /// Samples that carry a time of their own.
    pub explicit: Vec<(SeriesId, Timestamp, f64)>,
}

/// What became of a [`Batch`]. Positions count through `samples`, then `explicit`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppendReport {
    /// Samples that were taken.
    pub appended: usize,
    /// Samples that were not, with the reason of each; empty in the ordinary case.
    pub rejected: Vec<(usize, Rejection)>,
}

/// Why a sample was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// Older than the newest sample of its series.
    OutOfOrder,
    /// Same time as the newest sample of its series, other value.
    DuplicateTimestamp,
    /// Before the retention.
    TooOld,
    /// Too far ahead of the clock.
    TooFarAhead,
    /// The series has been dropped meanwhile: ask for it again with [`Append::series`].
    UnknownSeries,
    /// The store holds as much as it may and cannot write it away.
    Full,
}

/// Gives samples.
pub trait Select: Send + Sync {
    /// The series that satisfy all matchers and have a sample in the range, sorted by labels.
    fn select<'a>(
        &'a self,
        matchers: &[Matcher],
        options: &ReadOptions,
    ) -> Result<Box<dyn SeriesSet + 'a>, StoreError> {
        self.select_any(&[matchers.to_vec()], options)
    }

    /// The same for the series that satisfy all matchers of at least one set. No sets means all series.
    fn select_any<'a>(
        &'a self,
        sets: &[Vec<Matcher>],
        options: &ReadOptions,
    ) -> Result<Box<dyn SeriesSet + 'a>, StoreError>;

    /// The newest sample within the range of every series that satisfies all matchers of at least
    /// one set, as of one consistent instant, sorted by labels. Series that end in a stale marker
    /// are left out.
    fn newest(&self, sets: &[Vec<Matcher>], options: &ReadOptions) -> Result<Vec<NewestSample>, StoreError>;

    /// The label sets with samples in the range, sorted, each once. No sets means all series.
    /// At most `limit` results, if given.
    fn series_labels(
        &self,
        sets: &[Vec<Matcher>],
        options: &ReadOptions,
        limit: Option<usize>,
    ) -> Result<Vec<Labels>, StoreError>;

    /// The label names in use, sorted, each once. No sets means all series.
    fn label_names(
        &self,
        sets: &[Vec<Matcher>],
        options: &ReadOptions,
        limit: Option<usize>,
    ) -> Result<Vec<String>, StoreError>;

    /// The values of one label, sorted, each once. No sets means all series.
    fn label_values(
        &self,
        name: &str,
        sets: &[Vec<Matcher>],
        options: &ReadOptions,
        limit: Option<usize>,
    ) -> Result<Vec<String>, StoreError>;

    /// Counts for `/api/v1/status/tsdb` and the own metrics: what memory knows, no sample is looked at. The lists have
    /// at most `top` entries.
    fn stats_with(&self, top: usize) -> StoreStats;

    /// The same with ten entries per list.
    fn stats(&self) -> StoreStats {
        self.stats_with(10)
    }

    /// Where the store stands, for whoever keeps what it computes from reads that follow. `None` where
    /// the store does not tell, as here by default.
    fn mark(&self) -> Option<StoreMark> {
        None
    }

    /// The time from which on samples before [`StoreMark::settled`] have come or gone since;
    /// [`Timestamp::MAX`] if none have, [`Timestamp::MIN`] for a mark of another store.
    fn changed_since(&self, _mark: &StoreMark) -> Timestamp {
        Timestamp::MIN
    }
}

/// Where a store stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreMark {
    /// Which store: a number for as long as it is open.
    pub store: u64,
    /// Counts changes of what was settled.
    pub sequence: u64,
    /// Hardly any sample comes up to this time any more; of those that do, and of those that go,
    /// [`Select::changed_since`] tells.
    pub settled: Timestamp,
}

/// Series in label order, one at a time.
pub trait SeriesSet {
    /// Clears `samples`, fills it with the next series' samples within the range (stale markers
    /// included), and gives its labels; `None` at the end.
    fn next(&mut self, samples: &mut Samples) -> Result<Option<Labels>, StoreError>;
}

/// Samples of one series in time order, as columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// The times.
    pub timestamps: Vec<Timestamp>,
    /// The values, one per time; where the sample is a histogram the value here means nothing.
    pub values: Vec<f64>,
    /// The samples that are native histograms: position and value, in order. Mostly empty.
    pub histograms: Vec<(u32, Arc<FloatHistogram>)>,
}

impl Samples {
    /// Forgets all samples and keeps the memory.
    pub fn clear(&mut self) {
        self.timestamps.clear();
        self.values.clear();
        self.histograms.clear();
    }

    /// Appends a float.
    #[inline]
    pub fn push(&mut self, timestamp: Timestamp, value: f64) {
        self.timestamps.push(timestamp);
        self.values.push(value);
    }

    /// Appends a native histogram.
    pub fn push_histogram(&mut self, timestamp: Timestamp, histogram: Arc<FloatHistogram>) {
        let position = u32::try_from(self.timestamps.len()).expect("a select is bounded below 2^32 samples");
        self.histograms.push((position, histogram));
        self.push(timestamp, f64::NAN);
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }
}

/// The newest sample of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct NewestSample {
    /// The series.
    pub labels: Labels,
    /// Its newest sample's time.
    pub timestamp: Timestamp,
    /// Its newest sample's value.
    pub value: f64,
}

/// What a read may cover and cost.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// Samples outside are neither looked for nor given.
    pub range: TimeRange,
    /// When to give up, if ever.
    pub deadline: Option<Instant>,
    /// Set by whoever no longer wants the answer.
    pub cancelled: Option<Arc<AtomicBool>>,
    /// Of each series only the newest sample in the range is wanted: the earlier ones may be left out.
    pub newest_only: bool,
    /// Other labels than these may be left out, and different series come with the same labels then; their order is
    /// that of the whole label sets all the same.
    pub labels: Option<ChosenLabels>,
}

/// The labels that a reader looks at.
#[derive(Clone, Debug)]
pub struct ChosenLabels {
    /// Their names; with `is_without`, the names of all others. `__name__` is not meant by either.
    pub names: Arc<[String]>,
    /// See `names`.
    pub is_without: bool,
    /// Whether `__name__` is looked at.
    pub has_metric_name: bool,
    /// If any series has one of these, all labels are wanted.
    pub unless: &'static [&'static str],
}

impl ChosenLabels {
    /// Whether a label of that name is one of them.
    pub fn has(&self, name: &str) -> bool {
        match name {
            METRIC_NAME => self.has_metric_name,
            _ => self.names.iter().any(|listed| listed == name) != self.is_without,
        }
    }
}

impl ReadOptions {
    /// A read of `range` without a limit.
    pub fn over(range: TimeRange) -> Self {
        Self { range, deadline: None, cancelled: None, newest_only: false, labels: None }
    }

    /// Fails once the deadline has passed or the read was cancelled. Reads call this between
    /// series and segments.
    pub fn check(&self) -> Result<(), StoreError> {
        if self.cancelled.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            return Err(StoreError::Cancelled);
        }
        // The deadline is monotonic time and bounds work; it never decides about data.
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(StoreError::DeadlineExceeded);
        }
        Ok(())
    }
}

/// Counts over the whole store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoreStats {
    /// Series with samples in memory.
    pub series: u64,
    /// Distinct label name and value pairs in memory.
    pub label_pairs: u64,
    /// Samples held in memory.
    pub samples_in_memory: u64,
    /// Chunks (series segments) held in memory.
    pub chunks: u64,
    /// Oldest stored sample, if any.
    pub oldest: Option<Timestamp>,
    /// Newest stored sample, if any.
    pub newest: Option<Timestamp>,
    /// Series per metric name, most first.
    pub series_by_metric: Vec<(String, u64)>,
    /// Values per label name, most first.
    pub values_by_label: Vec<(String, u64)>,
    /// Bytes of label values per label name, most first.
    pub bytes_by_label: Vec<(String, u64)>,
    /// Series per `name=value` pair, most first.
    pub series_by_pair: Vec<(String, u64)>,
}

/// What the fuzz targets call: hostile bytes in the place of the log's.
#[doc(hidden)]
pub mod fuzz {
    /// How many records of a log file's bytes make sense.
    pub fn count_log_records(bytes: &[u8]) -> usize {
        super::log::count_records(bytes)
    }

    /// Whether a record's entries make sense, behind all checksums.
    pub fn read_log_entries(payload: &[u8]) -> bool {
        super::log::read_entries(payload)
    }
}
