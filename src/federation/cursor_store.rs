//! Where cursors survive a restart, a kill and a power cut.
//!
//! The store keeps a short record of each beside the samples, written with the flush that is due anyway: that survives a
//! power cut. Where there is a tmpfs, a file there says after each pull how far every single series was given: that survives
//! kill -9. What is kept may be older than the cursor was: the puller is then given some samples twice, and never one too
//! few. What cannot be read is logged, and those pullers start anew.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::state_file::{StateFile, StateFileError};
use crate::store::{Notes, StoreError};

/// The note of the store, and the file on the tmpfs.
const NAME: &str = "resync-cursors";

/// Series whose positions are kept of one cursor: a file of a megabyte, rewritten with each pull. Beyond it, a kill
/// costs what a power cut costs.
const POSITIONS_MAX: usize = 30_000;

/// What is kept of a cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Up to when all was given that had come in time, and per series (a hash of its labels) the newest given sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<(i64, Vec<(u64, i64)>)>,
}

impl CursorRecord {
    fn without_positions(&self) -> Self {
        Self { given: None, name: self.name.clone(), holes_ms: self.holes_ms.clone(), ..*self }
    }
}

/// Cursors that cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// The file on the tmpfs.
    #[error(transparent)]
    File(#[from] StateFileError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The text of the note.
    #[error("cursors cannot be written as text")]
    Text(#[from] serde_json::Error),
}

/// Keeps cursors. Called from blocking threads.
pub trait CursorStore: Send + Sync {
    /// What was kept last; nothing if nothing was kept yet.
    fn load(&self) -> Vec<CursorRecord>;

    /// Replaces what is kept. Called after each pull: what it costs the disk must be next to nothing.
    fn keep(&self, cursors: &[CursorRecord]) -> Result<(), CursorError>;
}

/// Keeps cursors in a store and, where there is one, on a tmpfs.
pub struct KeptCursors {
    notes: Arc<dyn Notes>,
    file: Option<StateFile<Vec<CursorRecord>>>,
}

impl KeptCursors {
    /// `runtime`: a folder that outlives the process and costs the disk nothing.
    pub fn new(notes: Arc<dyn Notes>, runtime: Option<PathBuf>) -> Self {
        Self { notes, file: runtime.map(|folder| StateFile::new(folder.join(NAME))) }
    }

    fn in_file(&self) -> Vec<CursorRecord> {
        let loaded = self.file.as_ref().map(StateFile::load).transpose();
        loaded
            .unwrap_or_else(|error| {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                warn!(%error, source, "the newest resync cursors are lost: some samples are given again");
                None
            })
            .unwrap_or_default()
    }

    fn in_notes(&self) -> Vec<CursorRecord> {
        let Some(text) = self.notes.note(NAME) else { return Vec::new() };
        serde_json::from_slice(&text).unwrap_or_else(|error| {
            warn!(%error, "resync cursors are lost");
            Vec::new()
        })
    }
}

impl CursorStore for KeptCursors {
    fn load(&self) -> Vec<CursorRecord> {
        let mut newest: HashMap<(String, u64), CursorRecord> = HashMap::new();
        for record in self.in_notes().into_iter().chain(self.in_file()) {
            let key = (record.name.clone(), record.selectors);
            let known = newest.entry(key).or_default();
            // Equally old, the file's is the one with positions.
            if record.last_used_ms >= known.last_used_ms {
                *known = record;
            }
        }
        newest.into_values().collect()
    }

    fn keep(&self, cursors: &[CursorRecord]) -> Result<(), CursorError> {
        let short: Vec<CursorRecord> = cursors.iter().map(CursorRecord::without_positions).collect();
        self.notes.set_note(NAME, &serde_json::to_vec(&short)?)?;
        if let Some(file) = &self.file {
            let fits = |record: &CursorRecord| record.given.as_ref().is_none_or(|(_, all)| all.len() <= POSITIONS_MAX);
            let bounded =
                |record: &CursorRecord| if fits(record) { record.clone() } else { record.without_positions() };
            file.save(&cursors.iter().map(bounded).collect())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct MemoryNotes(Mutex<HashMap<String, Vec<u8>>>);

    impl Notes for MemoryNotes {
        fn note(&self, name: &str) -> Option<Vec<u8>> {
            self.0.lock().expect("unpoisoned").get(name).cloned()
        }

        fn set_note(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
            self.0.lock().expect("unpoisoned").insert(name.to_owned(), bytes.to_vec());
            Ok(())
        }
    }

    #[test]
    fn the_newer_of_note_and_file_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let notes = Arc::new(MemoryNotes::default());
        let kept = KeptCursors::new(notes.clone(), Some(folder.path().to_owned()));
        assert!(kept.load().is_empty());
        let record = |last_used_ms, given| CursorRecord {
            name: "home".to_owned(),
            settled_ms: 5,
            holes_ms: vec![(1, 2)],
            last_used_ms,
            given,
            ..CursorRecord::default()
        };
        let whole = record(7, Some((6, vec![(u64::MAX, 6)])));
        kept.keep(std::slice::from_ref(&whole)).expect("a writable folder");
        assert_eq!(kept.load(), [whole], "as it was, after a kill");
        // A power cut empties the tmpfs.
        assert_eq!(KeptCursors::new(notes.clone(), None).load(), [record(7, None)]);
        KeptCursors::new(notes, None).keep(&[record(8, None)]).expect("nothing fails");
        assert_eq!(kept.load(), [record(8, None)], "the file is of an earlier run");
    }

    #[test]
    fn damage_costs_what_is_damaged() {
        let folder = tempfile::tempdir().expect("a folder");
        let notes = Arc::new(MemoryNotes::default());
        let kept = KeptCursors::new(notes.clone(), Some(folder.path().to_owned()));
        let record = CursorRecord { name: "home".to_owned(), last_used_ms: 1, ..CursorRecord::default() };
        kept.keep(std::slice::from_ref(&record)).expect("a writable folder");
        std::fs::write(folder.path().join(NAME), "[{").expect("a writable folder");
        assert_eq!(kept.load(), [record]);
        notes.set_note(NAME, b"?").expect("nothing fails");
        assert!(kept.load().is_empty());
    }
}
