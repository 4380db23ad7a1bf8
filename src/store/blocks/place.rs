//! Whether the database that is open is still the one in the folder.

use std::sync::Arc;

use super::Blocks;
use crate::store::file_id::{FileId, is_gone};

impl Blocks {
    /// Notes which file has been made in the place of another one.
    pub(super) fn note_new_file(&self) {
        *self.file.lock().expect("no holder of the lock panics") = FileId::at(&self.path).ok();
    }

    /// Notes which file has been opened. Another one than before is left as it should be, not silently: [`Self::leave`].
    pub(super) fn note_file(&self) {
        let mut file = self.file.lock().expect("no holder of the lock panics");
        *file = file.or_else(|| FileId::at(&self.path).ok());
    }

    /// Whether the file that was opened last is where it was.
    pub fn is_in_place(&self) -> bool {
        let held = *self.file.lock().expect("no holder of the lock panics");
        held.is_none_or(|held| !is_gone(held, &FileId::at(&self.path)))
    }

    /// Leaves a file that was removed or replaced: what lies at its path is used from now on, or made.
    pub fn leave(&self) {
        *self.writer.lock().expect("no holder of the lock panics") = None;
        *self.file.lock().expect("no holder of the lock panics") = None;
        self.forget_readers();
        self.retired.lock().expect("no holder of the lock panics").clear();
        self.kept_until.lock().expect("no holder of the lock panics").clear();
        *self.list.lock().expect("no holder of the lock panics") = Arc::default();
    }
}
