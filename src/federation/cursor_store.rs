//! Where cursors survive a restart: a small file, replaced as a whole.
//!
//! What is kept of a cursor may be older than the cursor itself: the puller is then given some samples
//! twice, and never one too few. A damaged file is set aside, and pullers start anew.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What is kept of a cursor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CursorRecord {
    /// The puller's name.
    pub name: String,
    /// A hash of its selectors.
    pub selectors: u64,
    /// Everything up to this time, in milliseconds, has been given.
    pub settled_ms: i64,
    /// Spans that were passed over: start (excluded) and end, in milliseconds.
    pub holes_ms: Vec<(i64, i64)>,
    /// When it was last asked for, in milliseconds.
    pub last_used_ms: i64,
}

/// Cursors that cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum CursorStoreError {
    /// The file system refused.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file does not hold cursors.
    #[error("{path} does not hold resync cursors; it was renamed to {aside}, and pullers start anew")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Its new name.
        aside: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Keeps cursors. Called from blocking threads.
pub trait CursorStore: Send + Sync {
    /// What was kept last; nothing if nothing was kept yet.
    fn load(&self) -> Result<Vec<CursorRecord>, CursorStoreError>;

    /// Replaces what is kept. Durable once it returns.
    fn save(&self, cursors: &[CursorRecord]) -> Result<(), CursorStoreError>;
}

/// Keeps cursors in a file.
#[derive(Clone, Debug)]
pub struct FileCursors {
    path: PathBuf,
}

impl FileCursors {
    /// Cursors in the file at `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn write_new(&self, path: &Path, cursors: &[CursorRecord]) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(cursors)?;
        text.push(b'\n');
        let mut file = File::create(path)?;
        file.write_all(&text)?;
        file.sync_all()
    }
}

impl CursorStore for FileCursors {
    fn load(&self) -> Result<Vec<CursorRecord>, CursorStoreError> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(io_error("read", &self.path)(source)),
        };
        serde_json::from_slice(&text).map_err(|source| {
            let aside = self.path.with_extension("damaged");
            match fs::rename(&self.path, &aside) {
                Ok(()) => CursorStoreError::Damaged { path: self.path.clone(), aside, source },
                Err(source) => io_error("rename", &self.path)(source),
            }
        })
    }

    fn save(&self, cursors: &[CursorRecord]) -> Result<(), CursorStoreError> {
        let new = self.path.with_extension("new");
        self.write_new(&new, cursors).map_err(io_error("write", &new))?;
        fs::rename(&new, &self.path).map_err(io_error("replace", &self.path))?;
        // The new name is durable once its folder is.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error("sync", folder))
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> CursorStoreError {
    let path = path.to_owned();
    move |source| CursorStoreError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_and_damage_is_set_aside() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("resync.json");
        let store = FileCursors::new(&path);
        assert_eq!(store.load().expect("nothing yet"), []);
        let record = CursorRecord {
            name: "home".to_owned(),
            selectors: u64::MAX,
            settled_ms: 1_795_381_062_892,
            holes_ms: vec![(1, 2)],
            last_used_ms: -1,
        };
        store.save(std::slice::from_ref(&record)).expect("a writable folder");
        store.save(&[record.clone(), record.clone()]).expect("a writable folder");
        assert_eq!(store.load().expect("what was saved"), [record.clone(), record]);

        let whole = fs::read(&path).expect("the file");
        fs::write(&path, &whole[..whole.len() / 2]).expect("the file");
        assert!(matches!(store.load(), Err(CursorStoreError::Damaged { .. })));
        assert!(path.with_extension("damaged").exists());
        assert_eq!(store.load().expect("nothing any more"), []);
    }
}
