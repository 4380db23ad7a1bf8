//! Copies of the database that are databases.

use std::path::Path;

use rusqlite::Connection;

use super::schema::{self, database};
use super::{Blocks, set_meta};
use crate::store::StoreError;

impl Blocks {
    /// Copies the database to a new file; see [`copy_database`].
    pub fn copy_to(&self, to: &Path, with_log: bool) -> Result<(), StoreError> {
        copy_database(&self.path, to, with_log)
    }
}

/// Copies the database at `from`, which may be in use, to a new file, page by page and without its free ones. A copy that
/// goes without the log forgets how far its log was in blocks: another one will begin at 1.
pub(in crate::store) fn copy_database(from: &Path, to: &Path, with_log: bool) -> Result<(), StoreError> {
    let failed = |error: rusqlite::Error| database("copy", from, &error);
    let connection = schema::open_reader(from).map_err(failed)?;
    connection.execute("VACUUM INTO ?1", [to.to_string_lossy()]).map_err(failed)?;
    if !with_log {
        let copy = Connection::open(to).map_err(failed)?;
        set_meta(&copy, "stored_sequence", 0).map_err(failed)?;
    }
    Ok(())
}
