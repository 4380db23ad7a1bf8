//! Taking over what can still be read of a damaged database.
//!
//! Part by part: names, directory and rows are read and their checksums verified where they have
//! one. What cannot be read stays in the old file only, which is never deleted.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use foldhash::fast::FixedState;
use rusqlite::{Connection, params};

use super::graft::{Grafted, Layout};
use super::part::Directory;
use super::schema::Remains;
use super::{names, schema, set_meta};

/// What could be taken over of a database that was set aside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rescue {
    /// Where it is now.
    pub from: PathBuf,
    /// Parts of blocks (one target each) that are in the new one.
    pub parts_taken: usize,
    /// Parts that are known to be lost.
    pub parts_lost: usize,
    /// Whether more than those may be lost: what there was could not be listed.
    pub is_more_lost: bool,
}

/// Room beyond what is copied: journals, and pages that come out fuller or emptier.
const ROOM_MORE: u64 = 1 << 20;

/// Whether the disk has room for taking over what the database at `path` holds; else why not. Where it has not, trying would
/// fill it, again and again.
pub(super) fn check_room(path: &Path, remains: Remains) -> Result<(), String> {
    let copies = match remains {
        Remains::Readable => 1,
        Remains::Headless => 2,
        Remains::Foreign => return Ok(()),
    };
    let len = std::fs::metadata(path).map_or(0, |data| if data.is_file() { data.len() } else { 0 });
    let needed = len * copies + ROOM_MORE;
    let state = rustix::fs::statvfs(path).map_err(|error| error.to_string())?;
    let free = state.f_bavail.saturating_mul(state.f_frsize);
    if free >= needed {
        return Ok(());
    }
    Err(format!(
        "it is damaged, and to take over what can be read of it takes {} MB of room; {} MB are free",
        needed >> 20,
        free >> 20
    ))
}

/// Copies blocks from the database at `from`. Fails where the disk does not take it: then nothing is decided yet.
pub(super) fn take_over(from: &Path, remains: Remains, to: &mut Connection) -> Result<Rescue, String> {
    let mut rescue = Rescue { is_more_lost: true, ..Rescue::default() };
    let grafted = match remains {
        Remains::Readable => None,
        Remains::Headless if from.is_file() => match grafted(from) {
            Ok(grafted) => Some(grafted),
            Err(error) if is_of_the_disk(&error) => return Err(error.to_string()),
            Err(error) => {
                tracing::warn!(path = %from.display(), %error, "the old block database cannot be copied");
                None
            }
        },
        Remains::Headless | Remains::Foreign => return Ok(rescue),
    };
    let readable = grafted.as_ref().map_or(from, Grafted::path);
    match try_take_over(readable, to, &mut rescue) {
        Ok(()) => {}
        Err(Failed::New(error)) => return Err(error.to_string()),
        Err(Failed::Old(error)) => {
            tracing::warn!(path = %from.display(), error, "nothing more can be read of the old block database");
            rescue.is_more_lost = true;
        }
    }
    Ok(rescue)
}

/// Whether a disk refuses what is written, rather than what is read: there it may be tried again.
fn is_of_the_disk(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem | FileTooLarge)
}

/// Which of the two databases a step has failed with.
enum Failed {
    /// What is read: that much is lost.
    Old(String),
    /// What is written: a full disk is no loss.
    New(rusqlite::Error),
}

impl Failed {
    /// What was read and does not fit the new one is the old one's fault.
    fn of_new(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::ConstraintViolation | rusqlite::ErrorCode::TypeMismatch) => Self::from(error),
            _ => Self::New(error),
        }
    }
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            // Memory is no matter of either.
            Some(rusqlite::ErrorCode::OutOfMemory) => Self::New(error),
            _ => Self::Old(error.to_string()),
        }
    }
}

/// A copy of a damaged database that can be read further, if anything can.
fn grafted(from: &Path) -> io::Result<Grafted> {
    let grafted = Grafted::new(from)?;
    for layout in Layout::ALL {
        grafted.graft(layout)?;
        if fits(grafted.path()) {
            break;
        }
    }
    Ok(grafted)
}

/// Whether blocks can be listed, and the first part makes sense with all that belongs to it.
fn fits(path: &Path) -> bool {
    let found = schema::open_damaged(path).and_then(|old| {
        old.query_row("SELECT count(*) FROM meta", [], |row| row.get::<_, i64>(0))?;
        let (blocks, are_listed) = blocks_of(&old)?;
        let Some([block, ..]) = blocks.first() else { return Ok(are_listed) };
        let (parts, are_all) = parts_of(&old, *block)?;
        let Some(part) = parts.first() else { return Ok(false) };
        old.query_row("SELECT name FROM target WHERE id = ?1", [part.target], |row| row.get::<_, String>(0))?;
        old.query_row("SELECT bytes FROM data WHERE id = ?1", [part.first_row], |row| row.get::<_, Vec<u8>>(0))?;
        let query = "SELECT bytes FROM names WHERE id = ?1";
        let bytes: Vec<u8> = old.query_row(query, [part.names], |row| row.get(0))?;
        let is_sound = names::decode(&bytes, |_, _| {}).is_ok() && Directory::decode(&part.directory).is_ok();
        Ok(are_listed && are_all && is_sound)
    });
    found.unwrap_or(false)
}

struct Part {
    block: i64,
    target: i64,
    names: i64,
    first_row: i64,
    rows: i64,
    directory: Vec<u8>,
}

fn try_take_over(from: &Path, to: &mut Connection, rescue: &mut Rescue) -> Result<(), Failed> {
    let old = schema::open_damaged(from)?;
    let (mut names, mut next_row) = (HashMap::default(), 1);
    let (blocks, is_complete) = blocks_of(&old)?;
    rescue.is_more_lost = !is_complete;
    for block in blocks {
        // One transaction each: memory holds one block's rows at most.
        let transaction = to.transaction().map_err(Failed::of_new)?;
        let mut copy = Copy { old: &old, new: &transaction, names: &mut names, next_row, rescue };
        copy.block(&block)?;
        next_row = copy.next_row;
        transaction.commit().map_err(Failed::of_new)?;
    }
    if rescue.parts_lost == 0 && !rescue.is_more_lost {
        copy_meta(&old, to)?;
    }
    Ok(())
}

/// How far the log is in blocks. Without it the log is replayed as a whole, which brings back what it
/// still has of lost parts.
fn copy_meta(old: &Connection, new: &Connection) -> Result<(), Failed> {
    let mut statement = old.prepare("SELECT name, value FROM meta")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    rows.flatten().try_for_each(|(name, value)| set_meta(new, &name, value).map(drop).map_err(Failed::of_new))
}

/// Id, start, until, oldest, newest, samples, bytes of the blocks in force that can be listed, and whether these are all.
fn blocks_of(old: &Connection) -> rusqlite::Result<(Vec<[i64; 7]>, bool)> {
    let query = "SELECT id, start, until, oldest, newest, samples, bytes FROM block WHERE state = 1 ORDER BY start";
    let mut statement = old.prepare(query)?;
    let rows = statement.query_map([], |row| {
        let fields: [i64; 7] =
            [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?];
        Ok(fields)
    })?;
    Ok(until_damage(rows))
}

fn parts_of(old: &Connection, block: i64) -> rusqlite::Result<(Vec<Part>, bool)> {
    let query = "SELECT block, target, names, first_row, rows, directory FROM part WHERE block = ?1";
    let mut statement = old.prepare(query)?;
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
    Ok(until_damage(rows))
}

/// Listing ends where the damage begins: what comes before that, and whether that is all.
fn until_damage<T>(rows: impl Iterator<Item = rusqlite::Result<T>>) -> (Vec<T>, bool) {
    let (mut listed, mut is_complete) = (Vec::new(), true);
    listed.extend(rows.map_while(|row| row.inspect_err(|_| is_complete = false).ok()));
    (listed, is_complete)
}

struct Copy<'a> {
    old: &'a Connection,
    new: &'a Connection,
    /// Whether the names under an id have been taken over.
    names: &'a mut HashMap<i64, bool, FixedState>,
    next_row: i64,
    rescue: &'a mut Rescue,
}

impl Copy<'_> {
    fn block(&mut self, fields: &[i64; 7]) -> Result<(), Failed> {
        let inserted = self.new.execute(
            "INSERT INTO block (state, id, start, until, oldest, newest, samples, bytes)
             VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            *fields,
        );
        inserted.map_err(Failed::of_new)?;
        let (parts, is_complete) = parts_of(self.old, fields[0])?;
        self.rescue.is_more_lost |= !is_complete;
        let (mut taken, listed) = (0, parts.len());
        for part in parts {
            match self.part(&part) {
                Ok(()) => taken += 1,
                Err(Failed::New(error)) => return Err(Failed::New(error)),
                Err(Failed::Old(error)) => {
                    tracing::warn!(
                        block = part.block,
                        target = part.target,
                        error,
                        "a part of the old block database is lost"
                    );
                }
            }
        }
        if taken == 0 {
            self.new.execute("DELETE FROM block WHERE id = ?1", [fields[0]]).map_err(Failed::of_new)?;
        }
        self.rescue.parts_taken += taken;
        self.rescue.parts_lost += if taken == 0 { listed.max(1) } else { listed - taken };
        Ok(())
    }

    fn part(&mut self, part: &Part) -> Result<(), Failed> {
        Directory::decode(&part.directory).map_err(|error| Failed::Old(error.to_string()))?;
        let rows = self.rows(part)?;
        if !self.take_names(part)? {
            return Err(Failed::Old("its names cannot be read".to_owned()));
        }
        self.insert(part, &rows).map_err(Failed::of_new)
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

    fn take_names(&mut self, part: &Part) -> Result<bool, Failed> {
        if let Some(is_taken) = self.names.get(&part.names) {
            return Ok(*is_taken);
        }
        let is_taken = match self.copy_names(part) {
            Err(Failed::New(error)) => return Err(Failed::New(error)),
            copied => copied.is_ok(),
        };
        self.names.insert(part.names, is_taken);
        Ok(is_taken)
    }

    fn copy_names(&self, part: &Part) -> Result<(), Failed> {
        let query = "SELECT series, hash, bytes FROM names WHERE id = ?1";
        let (series, hash, bytes): (i64, i64, Vec<u8>) =
            self.old.query_row(query, [part.names], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        names::decode(&bytes, |_, _| {}).map_err(|error| Failed::Old(error.to_string()))?;
        let name: String =
            self.old.query_row("SELECT name FROM target WHERE id = ?1", [part.target], |row| row.get(0))?;
        let targets = "INSERT OR IGNORE INTO target (id, name) VALUES (?1, ?2)";
        self.new.execute(targets, params![part.target, name]).map_err(Failed::of_new)?;
        let inserted = self.new.execute(
            "INSERT INTO names (id, target, series, hash, bytes) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![part.names, part.target, series, hash, bytes],
        );
        inserted.map(drop).map_err(Failed::of_new)
    }
}
