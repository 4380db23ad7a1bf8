//! The store that is kept: head in memory, log for what is new, blocks for what is old.
//!
//! What survives: kill -9 costs at most the append in flight, a power cut at most the flush interval.
//! What fails: when the disk takes nothing, appending and reading go on from memory up to a bound
//! ([`StoreSettings::memory_bytes_max`]), [`DiskStore::health`] says so, and every flush tries again;
//! then everything memory holds and the log does not is written to a fresh log file.
//!
//! Locks, always taken in this order: compaction, log, tail, head. The head's lock is never held over
//! I/O; appending holds the tail's over one `write` to it. Threads, all owned here: flush, seal
//! (compressing in memory), and compact (blocks, merging, retention), so that a stalled disk stops
//! neither scraping nor compressing.

mod chosen;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod fault_tests;
mod fetch;
mod footprint;
mod import;
#[cfg(test)]
mod limits_tests;
mod listed;
mod maintain;
mod metrics;
mod offline;
#[cfg(test)]
mod offline_tests;
#[cfg(test)]
mod old_tests;
mod order;
mod place;
#[cfg(test)]
mod place_tests;
mod recall;
mod repair;
mod replay;
mod retention;
#[cfg(test)]
mod retention_tests;
mod select;
mod settings;
mod snapshot;
#[cfg(test)]
mod tests;
mod wear;

pub use import::ImportGroup;
pub use metrics::StoreHealth;
pub use offline::{OfflineStore, Survey, Verified, verify};
pub use repair::{Repaired, repair};
pub use settings::{RetentionRule, StoreSettings};
pub use snapshot::copy_store;

use std::fs::File;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;

use foldhash::fast::FixedState;

use self::fetch::SpareWorkers;
use self::listed::Listed;
use self::metrics::{Metrics, describe};
use self::order::PairRanks;
use self::replay::Replay;
use self::wear::Wear;
use super::blocks::Blocks;
use super::changes::Changes;
use super::head::{Bounds, Head};
use super::log::tail::Tail;
use super::log::{DiskFolder, Folder, Log, Reader, Replayed, Stored};
use super::{Append, AppendReport, Batch, GroupId, NOTE_BYTES_MAX, Notes, STORE_NOTE, SeriesId, StoreError};
use crate::clock::Clock;
use crate::model::{Labels, MetricType, Timestamp};
use crate::telemetry::Registry;

/// A store in a folder.
pub struct DiskStore {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// The body of a thread.
type Task = fn(&Shared);

/// What the threads share.
struct Shared {
    settings: StoreSettings,
    clock: Clock,
    head: RwLock<Head>,
    tail: Mutex<Tail>,
    log: Mutex<LogSide>,
    blocks: Blocks,
    /// What caches of results must know.
    changes: Changes,
    listed: Listed,
    /// Held by whoever makes, merges or drops blocks.
    compaction: Mutex<()>,
    metrics: Metrics,
    workers: SpareWorkers,
    ranks: PairRanks,
    wear: Wear,
    stop: Mutex<bool>,
    stopping: Condvar,
    /// Nothing of it may be written: another process may have it open.
    is_read_only: bool,
    /// Held, and locked, for as long as the store is open; `None` while the disk does not take the file.
    lock: Mutex<Option<File>>,
}

struct LogSide {
    log: Log,
    /// Appends up to this one are durable.
    durable: u64,
    /// Whether a flush of this run has succeeded: the tail leans on it.
    has_begun: bool,
}

impl DiskStore {
    /// Opens the store, making it if there is none. Neither damage nor a failing disk prevents it: what
    /// cannot be read is set aside, counted and named, and what cannot be written stays in memory until it
    /// can. Fails if another process has it open, or if the folder may not be used.
    pub fn open(settings: StoreSettings, clock: Clock, registry: &Registry) -> Result<Arc<Self>, StoreError> {
        let folder = DiskFolder::new(&settings.path.join("log"));
        Self::open_with(settings, clock, registry, Box::new(folder))
    }

    /// The same with the log in `folder`.
    pub(super) fn open_with(
        settings: StoreSettings,
        clock: Clock,
        registry: &Registry,
        folder: Box<dyn Folder>,
    ) -> Result<Arc<Self>, StoreError> {
        let must_write = settings.must_write;
        let lock = if must_write { Some(lock_file(&settings.path)?) } else { lock(&settings.path)? };
        let mut metrics = Metrics::new(registry, &clock);
        metrics.is_silent = must_write;
        let (blocks, error) = Blocks::open(&settings.path.join("blocks.db"), metrics.corruptions.clone());
        if let Some(error) = error {
            if must_write {
                return Err(error);
            }
            metrics.note_blocks(Err(describe(&error)), clock.now());
        }
        // Unknown, the log is replayed whole: what is in blocks too is shown once.
        let stored = blocks.stored().unwrap_or(Stored { sequence: 0, until: Timestamp::MIN });
        let tail = tail_folder(&settings);
        let files = Files { folder, tail, blocks, lock, is_read_only: false };
        let (shared, replayed, appends) = Shared::assemble(settings, clock, metrics, stored, files);
        report(&replayed, appends, &shared.read_head());
        let shared = Arc::new(shared);
        shared.name_store();
        // The first record of a run defines everything, and makes durable what the tail brought back.
        // A failure is shown by health() and repeated like any other.
        let flushed = shared.flush();
        if must_write {
            flushed?;
        }
        register(&shared, registry);
        let store = Arc::new(Self { shared, threads: Mutex::default() });
        if store.shared.settings.is_threaded {
            store.start_threads();
        }
        Ok(store)
    }

    /// Makes everything appended so far durable. Blocks until it is.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.shared.flush()
    }

    /// Flushes, stops the threads and waits for them. Appending and reading still work afterwards, from
    /// memory and disk as before, but nothing more is made durable.
    pub fn close(&self) -> Result<(), StoreError> {
        if self.shared.is_read_only {
            return Ok(());
        }
        *self.shared.stop.lock().expect("no holder of the lock panics") = true;
        self.shared.stopping.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock().expect("no holder of the lock panics"));
        for thread in threads {
            // A panic in it has been reported by its own message.
            drop(thread.join());
        }
        let outcome = self.shared.flush();
        if outcome.is_ok() {
            self.shared.tail.lock().expect("no holder of the lock panics").end();
        }
        outcome
    }

    /// Does at once what the threads do in time: compresses, flushes, makes the blocks that are due by
    /// the clock, merges, expires, and deletes. Gives the first error.
    pub fn maintain(&self) -> Result<(), StoreError> {
        self.shared.seal();
        let flushed = self.shared.flush();
        let compacted = self.shared.compact();
        flushed.and(compacted)
    }

    /// How many damaged pieces were found, and set aside, since the store was opened.
    pub fn corruptions(&self) -> u64 {
        self.shared.metrics.corruptions.value()
    }

    /// Whether the disk works, and whether the write budget is kept.
    pub fn health(&self) -> StoreHealth {
        StoreHealth { budget: self.shared.budget_text(), ..self.shared.metrics.health() }
    }

    /// Bytes of memory that series and samples take, estimated.
    pub fn memory(&self) -> usize {
        self.shared.read_head().memory()
    }

    /// Bytes on the disk: blocks, log, tail and journal, free pages and spare files included; not snapshots, nor
    /// what was set aside.
    pub fn disk_bytes(&self) -> Result<u64, StoreError> {
        self.shared.disk_bytes()
    }

    /// Where this store keeps what must outlive the process but not the power; `None` unless that is a tmpfs.
    pub fn runtime_folder(&self) -> Option<PathBuf> {
        self.shared.settings.runtime_dir.as_ref().map(|_| tail_folder(&self.shared.settings))
    }

    fn start_threads(&self) {
        let tasks: [(&str, Task); 3] = [
            ("store-flush", maintain::run_flush),
            ("store-seal", maintain::run_seal),
            ("store-compact", maintain::run_compact),
        ];
        for (name, run) in tasks {
            let shared = Arc::clone(&self.shared);
            match std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&shared)) {
                Ok(thread) => self.threads.lock().expect("no holder of the lock panics").push(thread),
                Err(error) => tracing::error!(name, %error, "cannot start a thread of the store"),
            }
        }
    }
}

impl Drop for DiskStore {
    fn drop(&mut self) {
        if let Err(error) = self.close()
            && !self.shared.settings.must_write
        {
            tracing::error!(error = describe(&error), "the last flush of the store failed");
        }
    }
}

impl Append for DiskStore {
    fn group(&self, key: &str) -> Result<GroupId, StoreError> {
        Ok(self.shared.write_head().group(key))
    }

    fn series(&self, group: GroupId, labels: &Labels) -> Result<SeriesId, StoreError> {
        let max = self.shared.settings.series_max;
        self.shared.write_head().series(group, labels, max).ok_or(StoreError::TooManySeries { max })
    }

    fn append(&self, batch: &Batch) -> AppendReport {
        let now = self.shared.clock.now();
        let settings = &self.shared.settings;
        let bounds = Bounds { oldest: now - settings.retention_time, newest: now + settings.ahead_max };
        let explicit = batch.explicit.iter().map(|(_, timestamp, _)| *timestamp).min();
        let oldest = explicit.map_or(batch.timestamp, |oldest| oldest.min(batch.timestamp));
        if self.shared.blocks.newest() >= Some(oldest) {
            self.shared.recall(batch, &bounds);
        }
        let (report, written) = {
            let mut tail = self.shared.tail.lock().expect("no holder of the lock panics");
            let mut head = self.shared.write_head();
            let (report, accepted) = head.append(batch, &bounds);
            tail.prepare(&head, batch.group, &accepted);
            drop(head);
            let written = tail.write();
            (report, written)
        };
        if let Some(outcome) = written {
            self.shared.metrics.note_tail(outcome.map_err(|error| error.to_string()), now);
        }
        if report.appended > 0 {
            self.shared.changes.note_append(now, oldest);
        }
        self.shared.metrics.samples_appended.add(report.appended as u64);
        self.shared.metrics.samples_rejected.add(report.rejected.len() as u64);
        report
    }
}

impl Notes for DiskStore {
    fn note(&self, name: &str) -> Option<Vec<u8>> {
        self.shared.read_head().notes.get(name).cloned()
    }

    fn set_note(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(StoreError::NoteTooLong { name: name.to_owned(), bytes: bytes.len(), max: NOTE_BYTES_MAX });
        }
        let mut head = self.shared.write_head();
        head.notes.insert(name.to_owned(), bytes.to_vec());
        head.has_new_notes = true;
        Ok(())
    }
}

/// What a store is brought back from.
struct Files {
    /// The log's.
    folder: Box<dyn Folder>,
    tail: PathBuf,
    blocks: Blocks,
    lock: Option<File>,
    is_read_only: bool,
}

impl Shared {
    /// Brings memory back from log and tail, behind what blocks hold. Gives what was found in the log, and how many appends
    /// in the tail.
    fn assemble(
        settings: StoreSettings,
        clock: Clock,
        metrics: Metrics,
        stored: Stored,
        files: Files,
    ) -> (Self, Replayed, u64) {
        let lineage = new_lineage(&clock);
        let mut head = Head::new(settings.span_ms());
        head.set_cut(stored.until);
        let (mut reader, mut sink) = (Reader::default(), Replay::new(&mut head));
        let segment_bytes = settings.log_segment_bytes..=settings.log_segment_bytes_max();
        let (log, replayed) = Log::open(files.folder, segment_bytes, lineage, stored, &mut reader, &mut sink);
        metrics.corruptions.add(replayed.damaged);
        let durable = sink.mark_durable();
        let tail = Tail::new(&files.tail, lineage);
        let appends = tail.replay(replayed.lineage, &mut reader, &mut sink);
        head.drop_ended(Timestamp(stored.until.0.saturating_sub(settings.span_ms() / 2)));
        let wear = Wear::new(settings.flush_interval, settings.writes_per_day_max);
        let shared = Self {
            settings,
            clock,
            head: RwLock::new(head),
            tail: Mutex::new(tail),
            log: Mutex::new(LogSide { log, durable, has_begun: false }),
            blocks: files.blocks,
            changes: Changes::new(lineage),
            listed: Listed::default(),
            compaction: Mutex::new(()),
            workers: SpareWorkers::default(),
            ranks: PairRanks::default(),
            metrics,
            wear,
            stop: Mutex::new(false),
            stopping: Condvar::new(),
            is_read_only: files.is_read_only,
            lock: Mutex::new(files.lock),
        };
        (shared, replayed, appends)
    }

    /// Gives a new store its number.
    fn name_store(&self) {
        let number = || new_lineage(&self.clock).to_le_bytes().to_vec();
        self.write_head().notes.entry(STORE_NOTE.to_owned()).or_insert_with(number);
    }

    fn read_head(&self) -> RwLockReadGuard<'_, Head> {
        self.head.read().expect("no holder of the lock panics")
    }

    fn write_head(&self) -> RwLockWriteGuard<'_, Head> {
        self.head.write().expect("no holder of the lock panics")
    }

    fn disk_bytes(&self) -> Result<u64, StoreError> {
        // No lock that is held over a write: whoever looks at the metrics must not wait for a stalled disk.
        Ok(footprint::footprint(&self.settings.path))
    }
}

/// Metrics that are computed when they are asked for.
fn register(shared: &Arc<Shared>, registry: &Registry) {
    let gauge = |name, help, value: fn(&Shared) -> f64| {
        let shared = Arc::downgrade(shared);
        registry.family(name, help, MetricType::Gauge, move |emit| {
            if let Some(shared) = shared.upgrade() {
                emit(&[], value(&shared));
            }
        });
    };
    gauge("outpost_store_head_series", "Series in memory.", |shared| shared.read_head().dictionary.len() as f64);
    gauge("outpost_store_head_samples", "Samples in memory.", |shared| shared.read_head().samples() as f64);
    gauge("outpost_store_head_bytes", "Memory that series and samples take, estimated.", |shared| {
        shared.read_head().memory() as f64
    });
    gauge("outpost_store_blocks", "Blocks in force.", |shared| shared.blocks.list().len() as f64);
    gauge("outpost_store_disk_bytes", "Size of blocks and log on the disk.", |shared| {
        shared.disk_bytes().map_or(f64::NAN, |bytes| bytes as f64)
    });
    gauge("outpost_store_flush_interval_seconds", "How often samples are made durable at present.", |shared| {
        shared.wear.pace().interval.as_secs_f64()
    });
    gauge("outpost_store_max_writes_per_day_bytes", "The write budget; 0 if there is none.", |shared| {
        shared.wear.budget_bytes().unwrap_or(0) as f64
    });
    gauge(
        "outpost_store_write_budget_exceeded",
        "Whether even the longest flush interval writes more than the budget allows.",
        |shared| f64::from(u8::from(shared.wear.pace().is_over_budget)),
    );
    gauge("outpost_store_block_bytes_per_sample", "Bytes in blocks per sample in blocks.", |shared| {
        let list = shared.blocks.list();
        let (bytes, samples) =
            list.iter().fold((0, 0), |(bytes, samples), block| (bytes + block.bytes, samples + block.samples));
        bytes as f64 / samples as f64
    });
}

/// Takes the lock file; `None` where the disk does not take it now. Opening it for reading does for a lock.
fn lock(path: &Path) -> Result<Option<File>, StoreError> {
    match lock_file(path) {
        Ok(file) => Ok(Some(file)),
        Err(StoreError::Io { source, .. }) if is_of_the_disk(&source) => {
            let name = path.join("lock");
            match File::open(&name).map(|file| file.try_lock().map(|()| file)) {
                Ok(Err(std::fs::TryLockError::WouldBlock)) => Err(StoreError::Locked { path: path.to_owned() }),
                Ok(Ok(file)) => Ok(Some(file)),
                _ => Ok(None),
            }
        }
        Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(StoreError::Forbidden { path: path.to_owned(), user: rustix::process::geteuid().as_raw(), source })
        }
        Err(error) => Err(error),
    }
}

/// Whether an error comes from a disk that may recover, rather than from a path or a permission that is wrong.
fn is_of_the_disk(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, PermissionDenied};
    !matches!(error.kind(), PermissionDenied | NotADirectory)
}

/// The lock file, which is locked for as long as the process lives.
fn lock_file(path: &Path) -> Result<File, StoreError> {
    std::fs::create_dir_all(path).map_err(io("create", path))?;
    let name = path.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&name).map_err(io("open", &name))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::Locked { path: path.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(StoreError::Io { action: "lock", path: name, source }),
    }
}

/// The tail's folder: its name carries the store's path, since stores may share a runtime folder.
fn tail_folder(settings: &StoreSettings) -> PathBuf {
    match &settings.runtime_dir {
        Some(runtime) => {
            let path = settings.path.canonicalize().unwrap_or_else(|_| settings.path.clone());
            runtime.join(format!("outpost-{:016x}", FixedState::default().hash_one(path)))
        }
        None => settings.path.join("tail"),
    }
}

/// A number that no other run has.
fn new_lineage(clock: &Clock) -> u64 {
    foldhash::fast::RandomState::default().hash_one((clock.now().0, std::process::id()))
}

fn report(replayed: &Replayed, tail_appends: u64, head: &Head) {
    let Replayed { records, damaged, rows_skipped, .. } = replayed;
    tracing::info!(
        records,
        damaged,
        rows_skipped,
        tail_appends,
        series = head.dictionary.len(),
        samples = head.samples(),
        "store opened"
    );
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { action, path, source }
}
