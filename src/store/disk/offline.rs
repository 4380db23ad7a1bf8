//! A store as it lies on the disk, for the commands: read without changing anything, also while a server runs.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::metrics::Metrics;
use super::{DiskStore, Files, Shared, StoreSettings, io};
use crate::clock::Clock;
use crate::model::{Labels, TimeRange, Timestamp};
use crate::store::blocks::{Blocks, JobShare};
use crate::store::file_id::FileId;
use crate::store::head::{SegmentCache, read_series};
use crate::store::log::{self, Folder, LogFile};
use crate::store::{Samples, StoreError};
use crate::telemetry::Registry;

/// Unpacked segments kept while samples are counted.
const CACHE_BYTES: usize = 2 << 20;

/// A store that is only read.
pub struct OfflineStore {
    store: Arc<DiskStore>,
    path: PathBuf,
    /// Whether another process has it open.
    pub is_in_use: bool,
}

/// Sizes, spans and shares.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Shares by job; series without one are under the empty name.
    pub jobs: std::collections::BTreeMap<String, JobShare>,
    /// Blocks in force.
    pub blocks: usize,
    /// Samples that are in the log only.
    pub log_samples: u64,
    /// Series in the log.
    pub log_series: u64,
    /// Bytes of the database, of the log, and of the whole folder without snapshots.
    pub block_bytes: u64,
    /// See `block_bytes`.
    pub log_bytes: u64,
    /// See `block_bytes`.
    pub bytes: u64,
    /// Free bytes of the file system.
    pub free_bytes: u64,
    /// Oldest and newest sample in blocks.
    pub block_span: Option<(Timestamp, Timestamp)>,
}

/// What verifying has found.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// Blocks, segments, samples in them, records of the log: all looked at.
    pub blocks: u64,
    /// See `blocks`.
    pub segments: u64,
    /// See `blocks`.
    pub samples: u64,
    /// See `blocks`.
    pub records: u64,
    /// What is damaged, each by file and place.
    pub damage: Vec<String>,
    /// What is no damage, and yet worth a word.
    pub notes: Vec<String>,
}

impl OfflineStore {
    /// Reads what there is. Nothing is changed, locked for long, or repaired.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        check_is_store(path)?;
        let lock = try_lock(path)?;
        let is_in_use = lock.is_none();
        let settings = StoreSettings { is_threaded: false, ..StoreSettings::new(path) };
        let clock = Clock::system();
        let metrics = Metrics::new(&Registry::new(), &clock);
        let blocks = Blocks::open_read_only(&path.join("blocks.db"), metrics.corruptions.clone())?;
        let stored = blocks.stored()?;
        let folder = Box::new(ReadOnlyFolder(path.join("log")));
        let files = Files { folder, tail: path.join("tail"), blocks, lock, is_read_only: true };
        let (shared, _, _) = Shared::assemble(settings, clock, metrics, stored, files);
        // What a running server has made of the log meanwhile is in blocks: better twice than not at all.
        shared.blocks.reload()?;
        let shared = Arc::new(shared);
        let store = Arc::new(DiskStore { shared, threads: Mutex::default() });
        Ok(Self { store, path: path.to_owned(), is_in_use })
    }

    /// What is in it, to select from.
    pub fn store(&self) -> &Arc<DiskStore> {
        &self.store
    }

    /// Sees what a running server has changed.
    pub fn refresh(&self) -> Result<(), StoreError> {
        self.store.shared.blocks.reload()
    }

    /// Series that the log has, and how many samples of each are there only.
    fn in_log(&self) -> Vec<(Labels, u64)> {
        let shared = &self.store.shared;
        let set = shared.write_head().begin_cut(Timestamp::MAX);
        let mut found = Vec::new();
        for (group, view) in shared.groups_of(&set) {
            let mut cache = SegmentCache::new(CACHE_BYTES);
            for (labels, series) in shared.series_of(&set, group, &view).1 {
                let mut samples = Samples::default();
                // What was replayed a moment ago unpacks.
                let _ = read_series(&series, &view, TimeRange::ALL, &mut cache, &mut samples);
                found.push((labels, samples.len() as u64));
            }
        }
        found
    }

    /// Counts and sizes. `progress` hears how much of how much is done.
    pub fn survey(&self, progress: impl FnMut(usize, usize)) -> Result<Survey, StoreError> {
        let shared = &self.store.shared;
        let list = shared.blocks.list();
        let (log_samples, log_series) = {
            let head = shared.read_head();
            (head.samples(), head.dictionary.len() as u64)
        };
        let oldest = list.iter().map(|block| block.oldest).min();
        Ok(Survey {
            jobs: shared.blocks.survey(&self.in_log(), progress)?,
            blocks: list.len(),
            log_samples,
            log_series,
            block_bytes: super::footprint::file_len(shared.blocks.path()),
            log_bytes: super::footprint::footprint(&self.path.join("log")),
            bytes: super::footprint::footprint(&self.path),
            free_bytes: rustix::fs::statvfs(&self.path).map_or(0, |found| found.f_bavail * found.f_frsize),
            block_span: oldest.zip(list.iter().map(|block| block.newest).max()),
        })
    }
}

/// Checks every checksum of a store's files, whether it can be opened or not. `progress` hears how many
/// blocks of how many are done.
pub fn verify(path: &Path, progress: impl FnMut(usize, usize)) -> Result<Verified, StoreError> {
    check_is_store(path)?;
    let _lock = try_lock(path)?;
    let mut verified = Verified::default();
    let name = path.join("blocks.db");
    let damaged = Metrics::new(&Registry::new(), &Clock::system()).corruptions;
    let checked = match name.exists() {
        true => Blocks::open_read_only(&name, damaged).and_then(|blocks| blocks.check(progress)).map(Some),
        false => Ok(None),
    };
    match checked {
        Ok(Some(report)) => {
            (verified.blocks, verified.segments, verified.samples) = (report.blocks, report.segments, report.samples);
            verified.damage.extend(report.damage.into_iter().map(|damage| format!("blocks.db: {damage}")));
        }
        Ok(None) => verified.notes.push("blocks.db: there is none yet".to_owned()),
        Err(error) => verified.damage.push(format!("blocks.db: {error}")),
    }
    let log = log::check(&ReadOnlyFolder(path.join("log")));
    verified.records = log.records;
    verified.damage.extend(log.damage.into_iter().map(|(file, reason)| format!("log/{file}: {reason}")));
    verified.notes.extend(log.notes.into_iter().map(|note| format!("log/{note}")));
    Ok(verified)
}

/// A folder without a log and without blocks is no store.
pub(super) fn check_is_store(path: &Path) -> Result<(), StoreError> {
    if path.join("blocks.db").exists() || path.join("log").is_dir() {
        return Ok(());
    }
    Err(StoreError::NoStore { path: path.to_owned() })
}

/// The lock, unless another process has it. Writes nothing.
fn try_lock(path: &Path) -> Result<Option<File>, StoreError> {
    let name = path.join("lock");
    let file = match File::open(&name) {
        // A copy of a store need not have one: its folder serves as well.
        Err(error) if error.kind() == io::ErrorKind::NotFound => File::open(path).map_err(io("open", path))?,
        opened => opened.map_err(io("open", &name))?,
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(source)) => Err(StoreError::Io { action: "lock", path: name, source }),
    }
}

/// A folder whose files are never written.
struct ReadOnlyFolder(PathBuf);

impl ReadOnlyFolder {
    fn refuse<T>() -> io::Result<T> {
        Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem))
    }
}

impl Folder for ReadOnlyFolder {
    fn list(&self) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        std::fs::read(self.0.join(name))
    }

    fn open(&self, _name: &str) -> io::Result<Box<dyn LogFile>> {
        Self::refuse()
    }

    fn create(&self, _name: &str, _len: u64) -> io::Result<Box<dyn LogFile>> {
        Self::refuse()
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        Self::refuse()
    }

    fn id(&self, name: &str) -> io::Result<FileId> {
        FileId::at(&self.0.join(name))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}
