//! Taking over what can still be read of a damaged database.
//!
//! Part by part: names, directory and rows are read and their checksums verified where they have
//! one. What cannot be read stays in the old file only, which is never deleted.

use std::collections::HashMap;
use std::path::Path;

use foldhash::fast::FixedState;
use rusqlite::{Connection, params};

use super::part::Directory;
use super::{names, schema, set_meta};

/// Copies blocks from the database at `from`; gives how many parts were taken and how many lost.
pub(super) fn take_over(from: &Path, to: &mut Connection) -> (usize, usize) {
    match try_take_over(from, to) {
        Ok(counts) => counts,
        Err(error) => {
            tracing::warn!(path = %from.display(), %error, "nothing can be read of the old block database");
            (0, 0)
        }
    }
}

struct Part {
    block: i64,
    target: i64,
    names: i64,
    first_row: i64,
    rows: i64,
    directory: Vec<u8>,
}

fn try_take_over(from: &Path, to: &mut Connection) -> rusqlite::Result<(usize, usize)> {
    let old = schema::open_damaged(from)?;
    let (mut taken, mut lost) = (0, 0);
    let (mut names, mut next_row) = (HashMap::default(), 1);
    for block in blocks_of(&old) {
        // One transaction each: memory holds one block's rows at most.
        let transaction = to.transaction()?;
        let mut copy = Copy { old: &old, new: &transaction, names: &mut names, next_row };
        let (parts_taken, parts_lost) = copy.block(&block)?;
        next_row = copy.next_row;
        transaction.commit()?;
        taken += parts_taken;
        lost += parts_lost;
    }
    if lost == 0 {
        copy_meta(&old, to)?;
    }
    Ok((taken, lost))
}

/// How far the log is in blocks. Without it the log is replayed as a whole, which brings back what it
/// still has of lost parts.
fn copy_meta(old: &Connection, new: &Connection) -> rusqlite::Result<()> {
    let mut statement = old.prepare("SELECT name, value FROM meta")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    rows.flatten().try_for_each(|(name, value)| set_meta(new, &name, value).map(drop))
}

/// Id, start, until, oldest, newest, samples, bytes of the blocks in force that can be listed.
fn blocks_of(old: &Connection) -> Vec<[i64; 7]> {
    let query = "SELECT id, start, until, oldest, newest, samples, bytes FROM block WHERE state = 1 ORDER BY start";
    let listed = old.prepare(query).and_then(|mut statement| {
        let rows = statement.query_map([], |row| {
            let fields: [i64; 7] =
                [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?];
            Ok(fields)
        })?;
        // Listing ends where the damage begins.
        Ok(rows.map_while(Result::ok).collect())
    });
    listed.unwrap_or_default()
}

struct Copy<'a> {
    old: &'a Connection,
    new: &'a Connection,
    /// Whether the names under an id have been taken over.
    names: &'a mut HashMap<i64, bool, FixedState>,
    next_row: i64,
}

impl Copy<'_> {
    /// Parts taken and lost.
    fn block(&mut self, fields: &[i64; 7]) -> rusqlite::Result<(usize, usize)> {
        self.new.execute(
            "INSERT INTO block (state, id, start, until, oldest, newest, samples, bytes)
             VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            *fields,
        )?;
        let (mut taken, mut lost) = (0, 0);
        for part in self.parts(fields[0]) {
            match self.part(&part) {
                Ok(()) => taken += 1,
                Err(error) => {
                    lost += 1;
                    tracing::warn!(block = part.block, target = part.target, %error, "a part of the old block database is lost");
                }
            }
        }
        if taken == 0 {
            self.new.execute("DELETE FROM block WHERE id = ?1", [fields[0]])?;
            lost = lost.max(1);
        }
        Ok((taken, lost))
    }

    fn parts(&self, block: i64) -> Vec<Part> {
        let query = "SELECT block, target, names, first_row, rows, directory FROM part WHERE block = ?1";
        let listed = self.old.prepare(query).and_then(|mut statement| {
            let rows = statement.query_map([block], |row| {
                Ok(Part {
                    block: row.get(0)?,
                    target: row.get(1)?,
                    names: row.get(2)?,
                    first_row: row.get(3)?,
                    rows: row.get(4)?,
                    directory: row.get(5)?,
                })
            })?;
            Ok(rows.map_while(Result::ok).collect::<Vec<_>>())
        });
        listed.unwrap_or_default()
    }

    fn part(&mut self, part: &Part) -> Result<(), String> {
        Directory::decode(&part.directory).map_err(|error| error.to_string())?;
        let rows = self.rows(part).map_err(|error| error.to_string())?;
        if !self.take_names(part) {
            return Err("its names cannot be read".to_owned());
        }
        self.insert(part, &rows).map_err(|error| error.to_string())
    }

    /// The rows of segments. Segments have checksums of their own, looked at when they are read.
    fn rows(&self, part: &Part) -> rusqlite::Result<Vec<Vec<u8>>> {
        let read = |id: i64| self.old.query_row("SELECT bytes FROM data WHERE id = ?1", [id], |row| row.get(0));
        (part.first_row..part.first_row.saturating_add(part.rows)).map(read).collect()
    }

    fn insert(&mut self, part: &Part, rows: &[Vec<u8>]) -> rusqlite::Result<()> {
        let first_row = self.next_row;
        for row in rows {
            self.new.execute("INSERT INTO data (id, bytes) VALUES (?1, ?2)", params![self.next_row, row])?;
            self.next_row += 1;
        }
        self.new.execute(
            "INSERT INTO part (block, target, names, first_row, rows, directory) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![part.block, part.target, part.names, first_row, rows.len() as i64, part.directory],
        )?;
        Ok(())
    }

    fn take_names(&mut self, part: &Part) -> bool {
        if let Some(is_taken) = self.names.get(&part.names) {
            return *is_taken;
        }
        let is_taken = self.copy_names(part).is_ok_and(|is_sound| is_sound);
        self.names.insert(part.names, is_taken);
        is_taken
    }

    fn copy_names(&self, part: &Part) -> rusqlite::Result<bool> {
        let query = "SELECT series, hash, bytes FROM names WHERE id = ?1";
        let (series, hash, bytes): (i64, i64, Vec<u8>) =
            self.old.query_row(query, [part.names], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        if names::decode(&bytes, |_, _| {}).is_err() {
            return Ok(false);
        }
        let name: String =
            self.old.query_row("SELECT name FROM target WHERE id = ?1", [part.target], |row| row.get(0))?;
        self.new.execute("INSERT OR IGNORE INTO target (id, name) VALUES (?1, ?2)", params![part.target, name])?;
        self.new.execute(
            "INSERT INTO names (id, target, series, hash, bytes) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![part.names, part.target, series, hash, bytes],
        )?;
        Ok(true)
    }
}
