//! Writing one block: parts are gathered in memory and go to the database in few transactions.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::part::{Part, build, segments_of};
use super::{Blocks, names, set_meta};
use crate::codec::Effort;
use crate::model::{Labels, Timestamp};
use crate::store::log::Stored;
use crate::store::{Samples, StoreError};

/// Parts are written out when they have this many bytes together: a site of 5,000 series makes a block
/// in one transaction, one of 50,000 in a few.
const PENDING_BYTES: usize = 1 << 20;

/// A block in the making. Dropping it unfinished leaves rows that the next opening deletes.
pub(in crate::store) struct BlockWriter<'a> {
    blocks: &'a Blocks,
    effort: Effort,
    /// Known once something has been written.
    id: Option<i64>,
    start: Timestamp,
    until: Timestamp,
    oldest: Option<Timestamp>,
    newest: Option<Timestamp>,
    samples: u64,
    bytes: u64,
    pending: Vec<PendingPart>,
    pending_bytes: usize,
    note: Option<(String, i64)>,
}

struct PendingPart {
    target: String,
    names: Vec<u8>,
    series: usize,
    part: Part,
}

impl<'a> BlockWriter<'a> {
    /// Begins a block that spans `start` to `until`. Nothing is written yet.
    pub fn begin(blocks: &'a Blocks, start: Timestamp, until: Timestamp) -> Self {
        Self {
            blocks,
            effort: Effort::Usual,
            id: None,
            start,
            until,
            oldest: None,
            newest: None,
            samples: 0,
            bytes: 0,
            pending: Vec::new(),
            pending_bytes: 0,
            note: None,
        }
    }

    /// The same for a block that is not to be written again.
    pub(super) fn begin_merged(blocks: &'a Blocks, start: Timestamp, until: Timestamp) -> Self {
        Self { effort: Effort::Thorough, ..Self::begin(blocks, start, until) }
    }

    /// Adds what `target` has: `series` sorted, `times` the common times in order, and `read` to get
    /// the samples of one series, which it may be asked for twice.
    pub fn add_part(
        &mut self,
        target: &str,
        series: &[Labels],
        times: Vec<Timestamp>,
        read: impl FnMut(usize, &mut Samples) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let part = build(&segments_of(series, times.len()), times, self.effort, read)?;
        if part.samples == 0 {
            return Ok(());
        }
        let packed = names::encode(series).map_err(|source| StoreError::Io {
            action: "pack names for",
            path: self.blocks.path.clone(),
            source,
        })?;
        self.oldest = [self.oldest, part.oldest].into_iter().flatten().min();
        self.newest = self.newest.max(part.newest);
        self.samples += part.samples;
        self.pending_bytes += part.rows.iter().map(Vec::len).sum::<usize>();
        self.pending.push(PendingPart { target: target.to_owned(), names: packed, series: series.len(), part });
        if self.pending_bytes >= PENDING_BYTES {
            self.write_out(|_, _| Ok(()))?;
        }
        Ok(())
    }

    /// Keeps a number beside the blocks, in the stroke that puts the block in force.
    pub fn note(&mut self, name: &str, value: i64) {
        self.note = Some((name.to_owned(), value));
    }

    /// Puts the block in force, in one stroke with what else must change: blocks that it replaces, and
    /// how far the log is stored. Gives the bytes of the block.
    pub fn finish(mut self, replaced: &[i64], stored: Option<Stored>) -> Result<u64, StoreError> {
        let (oldest, newest, samples, note) = (self.oldest, self.newest, self.samples, self.note.take());
        let bytes = self.bytes + self.pending.iter().map(PendingPart::bytes).sum::<u64>();
        self.write_out(|transaction, id| {
            let updated = transaction.execute(
                "UPDATE block SET state = 1, oldest = ?2, newest = ?3, samples = ?4, bytes = ?5 WHERE id = ?1",
                params![id, oldest.unwrap_or_default().0, newest.unwrap_or_default().0, samples as i64, bytes as i64],
            )?;
            if updated != 1 {
                // What was written before went into a file that was replaced meanwhile.
                return Err(rusqlite::Error::StatementChangedRows(updated));
            }
            if samples == 0 {
                transaction.execute("DELETE FROM block WHERE id = ?1", [id])?;
            }
            for block in replaced {
                transaction.execute("UPDATE block SET state = 2 WHERE id = ?1", [block])?;
            }
            if let Some(stored) = stored {
                set_meta(transaction, "stored_sequence", stored.sequence as i64)?;
                set_meta(transaction, "stored_until", stored.until.0)?;
            }
            if let Some((name, value)) = &note {
                set_meta(transaction, name, *value)?;
            }
            Ok(())
        })?;
        if replaced.is_empty() {
            self.blocks.reload()?
        } else {
            self.blocks.note_retired(replaced)?
        }
        tracing::debug!(block = self.id, start = self.start.0, until = self.until.0, samples, bytes, "block written");
        Ok(bytes)
    }

    /// Gives a block up and frees what it has written.
    pub fn abandon(self) {
        let Some(id) = self.id else { return };
        if let Err(error) = self.blocks.delete(&[id]) {
            tracing::warn!(block = id, %error, "cannot delete an unfinished block now; the next start will");
        }
    }

    fn write_out(
        &mut self,
        also: impl FnOnce(&Transaction<'_>, i64) -> rusqlite::Result<()>,
    ) -> Result<(), StoreError> {
        let pending = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        let mut connection = self.blocks.lock()?;
        let outcome = connection.transaction().and_then(|transaction| {
            let id = match self.id {
                Some(id) => id,
                None => insert_block(&transaction, self.start, self.until)?,
            };
            for part in &pending {
                insert_part(&transaction, id, part)?;
            }
            also(&transaction, id)?;
            transaction.commit()?;
            Ok(id)
        });
        self.id = Some(outcome.map_err(|error| self.blocks.error("write a block to", &error))?);
        self.bytes += pending.iter().map(PendingPart::bytes).sum::<u64>();
        Ok(())
    }
}

fn insert_block(connection: &Connection, start: Timestamp, until: Timestamp) -> rusqlite::Result<i64> {
    connection.execute(
        "INSERT INTO block (state, start, until, oldest, newest, samples, bytes) VALUES (0, ?1, ?2, 0, 0, 0, 0)",
        params![start.0, until.0],
    )?;
    Ok(connection.last_insert_rowid())
}

impl PendingPart {
    fn bytes(&self) -> u64 {
        self.part.rows.iter().map(|row| row.len() as u64).sum()
    }
}

fn insert_part(connection: &Connection, block: i64, pending: &PendingPart) -> rusqlite::Result<()> {
    let target = target_id(connection, &pending.target)?;
    let names = names_id(connection, target, pending)?;
    let newest: Option<i64> = connection.query_row("SELECT max(id) FROM data", [], |row| row.get(0))?;
    let first_row = newest.unwrap_or(0) + 1;
    for (index, row) in pending.part.rows.iter().enumerate() {
        connection.execute("INSERT INTO data (id, bytes) VALUES (?1, ?2)", params![first_row + index as i64, row])?;
    }
    connection.execute(
        "INSERT INTO part (block, target, names, first_row, rows, directory) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![block, target, names, first_row, pending.part.rows.len() as i64, pending.part.directory_bytes()],
    )?;
    Ok(())
}

fn target_id(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    let known = connection.query_row("SELECT id FROM target WHERE name = ?1", [name], |row| row.get(0)).optional()?;
    if let Some(id) = known {
        return Ok(id);
    }
    connection.execute("INSERT INTO target (name) VALUES (?1)", [name])?;
    Ok(connection.last_insert_rowid())
}

/// The same names are stored once, however many blocks have them.
fn names_id(connection: &Connection, target: i64, pending: &PendingPart) -> rusqlite::Result<i64> {
    let hash = FixedState::default().hash_one(&pending.names) as i64;
    let query = "SELECT id FROM names WHERE target = ?1 AND hash = ?2 AND bytes = ?3";
    let known = connection.query_row(query, params![target, hash, pending.names], |row| row.get(0)).optional()?;
    if let Some(id) = known {
        return Ok(id);
    }
    connection.execute(
        "INSERT INTO names (target, series, hash, bytes) VALUES (?1, ?2, ?3, ?4)",
        params![target, pending.series as i64, hash, pending.names],
    )?;
    Ok(connection.last_insert_rowid())
}
