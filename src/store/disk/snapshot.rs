//! Copies of a store that open as stores: of a running one from within, and of a folder from outside.

use std::fs::File;
use std::io;
use std::path::Path;

use super::footprint::SNAPSHOTS;
use super::offline::{Verified, check_is_store, verify};
use super::{DiskStore, io};
use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::blocks;

/// A log file that a server writes meanwhile may be copied half old, half new; another copy is whole.
const COPIES_MAX: usize = 3;

impl DiskStore {
    /// Copies everything appended so far into `snapshots/NAME` and gives the name. Scraping and queries go on
    /// meanwhile; blocks are not made until it is done. Without the head, only what is in blocks is copied.
    pub fn snapshot(&self, with_head: bool) -> Result<String, StoreError> {
        let shared = &self.shared;
        let name = snapshot_name(shared.clock.now(), super::new_lineage(&shared.clock));
        let snapshots = shared.settings.path.join(SNAPSHOTS);
        make_whole(&snapshots.join(&name), |unfinished| self.copy_into(unfinished, with_head))?;
        Ok(name)
    }

    fn copy_into(&self, folder: &Path, with_head: bool) -> Result<(), StoreError> {
        let shared = &self.shared;
        make_folder(&folder.join("log"))?;
        let _compaction = shared.compaction.lock().expect("no holder of the lock panics");
        if with_head {
            shared.flush()?;
        }
        shared.blocks.copy_to(&folder.join("blocks.db"), with_head)?;
        if with_head {
            // Flushes wait meanwhile; appending does not.
            let _side = shared.log.lock().expect("no holder of the lock panics");
            copy_log(&shared.settings.path, folder)?;
        }
        sync_file(&folder.join("blocks.db"))?;
        sync_folder(folder)
    }
}

/// Copies a store to a new folder, also while a server has it open, and verifies the copy. The log first: what a
/// server makes of it meanwhile is in the blocks then.
pub fn copy_store(from: &Path, to: &Path) -> Result<Verified, StoreError> {
    check_is_store(from)?;
    if is_inside(to, from) {
        return Err(StoreError::CopyInside { path: from.to_owned(), to: to.to_owned() });
    }
    if to.exists() {
        let source = io::Error::new(io::ErrorKind::AlreadyExists, "it exists already; give a folder that does not");
        return Err(StoreError::Io { action: "create", path: to.to_owned(), source });
    }
    let verified = make_whole(to, |unfinished| copy_files(from, unfinished))?;
    // Damage is told with the name that the copy has now.
    if verified.damage.is_empty() { Ok(verified) } else { verify(to, |_, _| ()) }
}

/// Whether a path, of which the end need not exist yet, lies in a folder.
fn is_inside(path: &Path, folder: &Path) -> bool {
    let (Ok(path), Ok(folder)) = (std::path::absolute(path), folder.canonicalize()) else { return false };
    let existing = path.ancestors().find_map(|path| path.canonicalize().ok());
    existing.is_some_and(|existing| existing.starts_with(folder))
}

/// Makes a folder under another name, so that whatever has the right one is whole.
fn make_whole<T>(folder: &Path, make: impl FnOnce(&Path) -> Result<T, StoreError>) -> Result<T, StoreError> {
    let mut name = std::ffi::OsString::from(".");
    name.push(folder.file_name().unwrap_or_default());
    // A name that nobody else gives a folder: it may be removed.
    name.push(".unfinished");
    let unfinished = folder.with_file_name(name);
    if unfinished.exists() {
        // What one that was killed has left.
        std::fs::remove_dir_all(&unfinished).map_err(io("remove", &unfinished))?;
    }
    let made = make(&unfinished).and_then(|made| {
        std::fs::rename(&unfinished, folder).map_err(io("rename", &unfinished))?;
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync_folder(parent.unwrap_or(Path::new(".")))?;
        Ok(made)
    });
    if made.is_err() {
        // Nothing but the copy is removed; what it was made of is as it was.
        let _ = std::fs::remove_dir_all(&unfinished);
    }
    made
}

fn copy_files(from: &Path, to: &Path) -> Result<Verified, StoreError> {
    make_folder(&to.join("log"))?;
    let (database, copy) = (from.join("blocks.db"), to.join("blocks.db"));
    let mut verified = Verified::default();
    for _ in 0..COPIES_MAX {
        copy_log(from, to)?;
        if copy.exists() {
            std::fs::remove_file(&copy).map_err(io("replace", &copy))?;
        }
        if database.exists() {
            blocks::copy_database(&database, &copy, true)?;
            sync_file(&copy)?;
        }
        verified = verify(to, |_, _| ())?;
        if verified.damage.is_empty() {
            break;
        }
    }
    sync_folder(to)?;
    Ok(verified)
}

/// Copies the log's files.
fn copy_log(from: &Path, to: &Path) -> Result<(), StoreError> {
    let (from, to) = (from.join("log"), to.join("log"));
    let entries = match std::fs::read_dir(&from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(io("list", &from))?,
    };
    for entry in entries {
        let entry = entry.map_err(io("list", &from))?;
        let copy = to.join(entry.file_name());
        match std::fs::copy(entry.path(), &copy) {
            // A spare that the server has just removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            copied => copied.map_err(io("copy", &entry.path()))?,
        };
        sync_file(&copy)?;
    }
    sync_folder(&to)
}

/// Prometheus's form: the time, and a number that no other has.
fn snapshot_name(at: Timestamp, number: u64) -> String {
    let text: String = crate::model::format_rfc3339(Timestamp(at.0.div_euclid(1000) * 1000))
        .chars()
        .filter(|char| !matches!(char, '-' | ':'))
        .collect();
    format!("{text}-{number:016x}")
}

fn make_folder(path: &Path) -> Result<(), StoreError> {
    std::fs::create_dir_all(path).map_err(io("create", path))
}

fn sync_file(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(io("sync", path))
}

fn sync_folder(path: &Path) -> Result<(), StoreError> {
    sync_file(path)
}
