//! What a disk store is told.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::Matcher;

/// Settings of a [`DiskStore`](super::DiskStore).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// The folder. Everything the store writes is in it.
    pub path: PathBuf,
    /// A folder on a tmpfs that outlives the process (`$RUNTIME_DIRECTORY`), for what the log has not got
    /// yet. Without one a file in `path` does it, which survives kill -9 too but not a power cut.
    pub runtime_dir: Option<PathBuf>,
    /// How often new samples are made durable: what a power cut costs at most.
    pub flush_interval: Duration,
    /// How long samples are kept.
    pub retention_time: Duration,
    /// How many bytes the store may take on the disk, log and temporary files included, if there is a bound.
    pub retention_bytes: Option<u64>,
    /// Series that are kept longer than the others.
    pub retention_rules: Vec<RetentionRule>,
    /// How many bytes a day may reach the device, if there is a bound: it stretches the flush interval.
    pub writes_per_day_max: Option<u64>,
    /// What one block spans; the head holds up to about this much.
    pub block_span: Duration,
    /// How far ahead of the clock a sample may be.
    pub ahead_max: Duration,
    /// Series in memory at most; further ones are refused.
    pub series_max: usize,
    /// Bytes of samples in memory at most. Only a disk that takes nothing for hours lets them come
    /// to this; the oldest are dropped then, and counted.
    pub memory_bytes_max: usize,
    /// The size of one log file. One whose first record takes more than an eighth of it is longer.
    pub log_segment_bytes: u64,
    /// Whether opening fails where the disk cannot be written, rather than going on in memory: for the commands, which say
    /// themselves what went wrong.
    pub must_write: bool,
    /// Whether threads of the store's own flush, compress and compact. Tests call
    /// [`DiskStore::maintain`](super::DiskStore::maintain) instead.
    pub is_threaded: bool,
}

impl StoreSettings {
    /// How often samples become durable by default. FACTS: at 30 s a site below 10,000 series writes
    /// 58 MB a day to its card, at 15 s 102.
    pub const FLUSH_INTERVAL: Duration = Duration::from_secs(30);
    /// How long samples are kept by default.
    pub const RETENTION_TIME: Duration = Duration::from_secs(30 * 24 * 3600);
    /// The least bound on size: three log files in use, three spare ones, one to be made and SQLite's journal are 8 MiB, and
    /// blocks and the room to merge them must have as much.
    pub const RETENTION_BYTES_MIN: u64 = 16 << 20;
    /// What one block spans by default.
    pub const BLOCK_SPAN: Duration = Duration::from_secs(2 * 3600);
    /// Prometheus's bound on clocks that run ahead.
    pub const AHEAD_MAX: Duration = Duration::from_secs(10 * 60);
    /// Twenty times a large site; at about 300 bytes each this stays below 300 MB.
    pub const SERIES_MAX: usize = 1_000_000;
    /// Four times what 50,000 series take in two hours.
    pub const MEMORY_BYTES_MAX: usize = 64 << 20;
    /// Two hours of a site of 2,500 series: two or three files are in use. Each begins with a checkpoint, so that
    /// smaller ones would be written more often.
    pub const LOG_SEGMENT_BYTES: u64 = 1 << 20;

    /// The defaults, for a store at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            runtime_dir: None,
            flush_interval: Self::FLUSH_INTERVAL,
            retention_time: Self::RETENTION_TIME,
            retention_bytes: None,
            retention_rules: Vec::new(),
            writes_per_day_max: None,
            block_span: Self::BLOCK_SPAN,
            ahead_max: Self::AHEAD_MAX,
            series_max: Self::SERIES_MAX,
            memory_bytes_max: Self::MEMORY_BYTES_MAX,
            log_segment_bytes: Self::LOG_SEGMENT_BYTES,
            must_write: false,
            is_threaded: true,
        }
    }

    /// How long a log file is made at most, unless one flush needs more: several of them leave room within the bound on size.
    pub(super) fn log_segment_bytes_max(&self) -> u64 {
        self.retention_bytes.map_or(u64::MAX >> 1, |bytes| (bytes / 32).max(self.log_segment_bytes))
    }

    pub(super) fn span_ms(&self) -> i64 {
        i64::try_from(self.block_span.as_millis()).unwrap_or(i64::MAX).clamp(1, 1 << 40)
    }
}

/// Series that are kept longer than [`StoreSettings::retention_time`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionRule {
    /// Which: all of these must be satisfied.
    pub matchers: Vec<Matcher>,
    /// How long.
    pub keep: Duration,
}
