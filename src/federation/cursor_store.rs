//! Where cursors survive a restart.
//!
//! What is kept of a cursor may be older than the cursor itself: the puller is then given some samples
//! twice, and never one too few. A damaged file is set aside, and pullers start anew.

use serde::{Deserialize, Serialize};

use crate::state_file::{StateFile, StateFileError};

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

/// Keeps cursors. Called from blocking threads.
pub trait CursorStore: Send + Sync {
    /// What was kept last; nothing if nothing was kept yet.
    fn load(&self) -> Result<Vec<CursorRecord>, StateFileError>;

    /// Replaces what is kept. Durable once it returns.
    fn save(&self, cursors: &[CursorRecord]) -> Result<(), StateFileError>;
}

/// Keeps cursors in a file.
pub type FileCursors = StateFile<Vec<CursorRecord>>;

impl CursorStore for FileCursors {
    fn load(&self) -> Result<Vec<CursorRecord>, StateFileError> {
        StateFile::load(self)
    }

    fn save(&self, cursors: &[CursorRecord]) -> Result<(), StateFileError> {
        StateFile::save(self, &cursors.to_vec())
    }
}
