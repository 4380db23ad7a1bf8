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
use crate::store::{Notes, STORE_NOTE, StoreError};

/// The note of the store, and the file on the tmpfs.
const NAME: &str = "resync-cursors";

/// Series whose positions are kept, of all cursors: a file of a megabyte beside the store's tail, rewritten with each pull.
/// The cursors used last come first; of the others a kill costs what a power cut costs.
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
    /// Whether it ever confirmed a reply.
    #[serde(default)]
    pub was_confirmed: bool,
    /// The age that it asks for, in milliseconds; 0 if that is not known.
    #[serde(default)]
    pub age_max_ms: u64,
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
    fn keep(&self, cursors: Vec<CursorRecord>) -> Result<(), CursorError>;
}

/// What the file holds.
#[derive(Debug, Default, Serialize, Deserialize)]
struct FileContent {
    /// The store's: the file of another one that lay at the same path does not count.
    store: Option<u64>,
    cursors: Vec<CursorRecord>,
}

/// Keeps cursors in a store and, where there is one, on a tmpfs.
pub struct KeptCursors {
    notes: Arc<dyn Notes>,
    file: Option<StateFile<FileContent>>,
}

impl KeptCursors {
    /// `runtime`: a folder that outlives the process and costs the disk nothing.
    pub fn new(notes: Arc<dyn Notes>, runtime: Option<PathBuf>) -> Self {
        Self { notes, file: runtime.map(|folder| StateFile::new(folder.join(NAME))) }
    }

    fn in_file(&self) -> Vec<CursorRecord> {
        let loaded = self.file.as_ref().map(StateFile::load).transpose();
        let found = loaded.unwrap_or_else(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            warn!(%error, source, "the newest resync cursors are lost: some samples are given again");
            None
        });
        found.filter(|found| self.store() == found.store).map(|found| found.cursors).unwrap_or_default()
    }

    /// The number that this store has, and no other.
    fn store(&self) -> Option<u64> {
        Some(u64::from_le_bytes(self.notes.note(STORE_NOTE)?.try_into().ok()?))
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
        let in_file = self.in_file();
        for record in self.in_notes().into_iter().chain(in_file) {
            let key = (record.name.clone(), record.selectors);
            let known = newest.entry(key).or_default();
            // Equally old, the file's is the one with positions.
            if record.last_used_ms >= known.last_used_ms {
                *known = record;
            }
        }
        newest.into_values().collect()
    }

    fn keep(&self, cursors: Vec<CursorRecord>) -> Result<(), CursorError> {
        let short: Vec<CursorRecord> = cursors.iter().map(CursorRecord::without_positions).collect();
        self.notes.set_note(NAME, &serde_json::to_vec(&short)?)?;
        if let Some(file) = &self.file {
            file.save(&FileContent { store: self.store(), cursors: bounded(cursors) })?;
        }
        Ok(())
    }
}

/// The cursors, with positions as far as the bound allows.
fn bounded(mut cursors: Vec<CursorRecord>) -> Vec<CursorRecord> {
    crate::model::sort_by(&mut cursors, |a, b| b.last_used_ms.cmp(&a.last_used_ms));
    let mut room = POSITIONS_MAX;
    for record in &mut cursors {
        match record.given.as_ref().map_or(0, |(_, positions)| positions.len()) {
            count if count > room => record.given = None,
            count => room -= count,
        }
    }
    cursors
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
        kept.keep(vec![whole.clone()]).expect("a writable folder");
        assert_eq!(kept.load(), [whole], "as it was, after a kill");
        // A power cut empties the tmpfs.
        assert_eq!(KeptCursors::new(notes.clone(), None).load(), [record(7, None)]);
        KeptCursors::new(notes, None).keep(vec![record(8, None)]).expect("nothing fails");
        assert_eq!(kept.load(), [record(8, None)], "the file is of an earlier run");
    }

    #[test]
    fn damage_costs_what_is_damaged() {
        let folder = tempfile::tempdir().expect("a folder");
        let notes = Arc::new(MemoryNotes::default());
        let kept = KeptCursors::new(notes.clone(), Some(folder.path().to_owned()));
        let record = CursorRecord { name: "home".to_owned(), last_used_ms: 1, ..CursorRecord::default() };
        kept.keep(vec![record.clone()]).expect("a writable folder");
        std::fs::write(folder.path().join(NAME), "[{").expect("a writable folder");
        assert_eq!(kept.load(), [record]);
        notes.set_note(NAME, b"?").expect("nothing fails");
        assert!(kept.load().is_empty());
    }

    #[test]
    fn positions_are_bounded_over_all_cursors() {
        let record = |name: &str, last_used_ms, count| CursorRecord {
            name: name.to_owned(),
            last_used_ms,
            given: Some((1, (0..count as u64).map(|series| (series, 2)).collect())),
            ..CursorRecord::default()
        };
        let all = [record("old", 1, 2), record("big", 2, POSITIONS_MAX), record("new", 3, 1), record("fits", 0, 3)];
        let kept: Vec<(String, bool)> =
            bounded(all.to_vec()).into_iter().map(|record| (record.name, record.given.is_some())).collect();
        let expected = [("new", true), ("big", false), ("old", true), ("fits", true)];
        assert_eq!(kept, expected.map(|(name, is_whole)| (name.to_owned(), is_whole)));
    }

    #[test]
    fn another_stores_file_does_not_count() {
        let folder = tempfile::tempdir().expect("a folder");
        let record = CursorRecord { name: "home".to_owned(), last_used_ms: 1, ..CursorRecord::default() };
        let kept = |number: u64| {
            let notes = Arc::new(MemoryNotes::default());
            notes.set_note(STORE_NOTE, &number.to_le_bytes()).expect("nothing fails");
            KeptCursors::new(notes, Some(folder.path().to_owned()))
        };
        kept(1).keep(vec![record.clone()]).expect("a writable folder");
        assert_eq!(kept(1).load(), [record], "the note was not flushed");
        assert!(kept(2).load().is_empty(), "the store was begun anew");
    }
}
