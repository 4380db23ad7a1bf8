//! Setting aside what is damaged and keeping everything else; nothing is deleted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::offline::{Verified, verify};
use super::{DiskStore, StoreSettings, io};
use crate::clock::Clock;
use crate::store::StoreError;
use crate::store::blocks::{Rescue, free_name};
use crate::telemetry::Registry;

/// Repairing is no time to expire anything.
const RETENTION_TIME: Duration = Duration::from_secs(1000 * 365 * 24 * 3600);

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Repaired {
    /// What was damaged before.
    pub before: Verified,
    /// Files under their new names.
    pub set_aside: Vec<PathBuf>,
    /// What could be taken over of databases that were set aside.
    pub rescues: Vec<Rescue>,
    /// What is found now.
    pub after: Verified,
}

/// Repairs the store at `path`, which no other process may have open.
pub fn repair(path: &Path) -> Result<Repaired, StoreError> {
    let before = verify(path, |_, _| ())?;
    let asides = files_aside(path);
    let settings = StoreSettings {
        must_write: true,
        is_threaded: false,
        retention_time: RETENTION_TIME,
        ..StoreSettings::new(path)
    };
    // Opening sets a hopeless database aside and takes over what can be read of it.
    let store = DiskStore::open(settings, Clock::system(), &Registry::new())?;
    if before.damage.iter().any(|damage| damage.starts_with("blocks.db")) {
        let blocks = &store.shared.blocks;
        let is_sound = blocks.check(|_, _| ()).is_ok_and(|report| report.damage.is_empty());
        if !is_sound {
            // The old file stays as it is; the new one gets what the damaged blocks still have.
            blocks.start_over()?;
            for block in blocks.check(|_, _| ())?.damaged_blocks {
                blocks.rewrite(block)?;
            }
            blocks.delete_retired()?;
        }
    }
    let damaged_logs = damaged_logs(&before);
    if !damaged_logs.is_empty() {
        store.rewrite_log()?;
    }
    let rescues = store.shared.blocks.rescues();
    store.close()?;
    drop(store);
    for name in damaged_logs {
        let file = path.join("log").join(name);
        let aside = free_name(&file);
        std::fs::rename(&file, &aside).map_err(io("rename", &file))?;
    }
    let set_aside = files_aside(path).into_iter().filter(|file| !asides.contains(file)).collect();
    Ok(Repaired { before, set_aside, rescues, after: verify(path, |_, _| ())? })
}

impl DiskStore {
    /// Writes everything that memory holds into a fresh log file.
    fn rewrite_log(&self) -> Result<(), StoreError> {
        {
            let mut side = self.shared.log.lock().expect("no holder of the lock panics");
            side.durable = 0;
            side.log.abandon();
            self.shared.write_head().forget_logged();
        }
        self.shared.flush()
    }
}

/// The damaged log files, by name.
fn damaged_logs(verified: &Verified) -> Vec<String> {
    let names = verified.damage.iter().filter_map(|damage| damage.strip_prefix("log/")?.split(": ").next());
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The files of a store that were set aside.
fn files_aside(path: &Path) -> Vec<PathBuf> {
    let entries = [path.to_owned(), path.join("log")].into_iter().filter_map(|folder| std::fs::read_dir(folder).ok());
    let files = entries.flat_map(|entries| entries.flatten().map(|entry| entry.path()));
    let mut found: Vec<PathBuf> = files.filter(|file| file.to_string_lossy().contains(".aside-")).collect();
    found.sort_unstable();
    found
}
