//! Blocks: what is older than the head, in one SQLite database. The only place that names rusqlite.
//!
//! A block spans some hours of all targets; a *part* ([`part`]) is one target in it. Segments carry
//! checksums of their own, since SQLite's pages have none: a damaged one is skipped, counted and
//! named, and the rest still answers. Writing takes one connection behind a lock, in few and large
//! transactions; readers have read-only connections of their own and see a block whole or not at
//! all. What was replaced or has expired is deleted only when no reader can still be on it.

mod check;
mod copy;
#[cfg(test)]
pub(super) mod faults;
mod graft;
mod merge;
mod names;
mod outline;
mod part;
mod place;
mod read;
mod rescue;
mod retention;
mod schema;
mod survey;
mod write;

pub(super) use copy::copy_database;
pub(super) use read::{BlockSeries, Selection, StoredSegment};
pub use rescue::Rescue;
pub(super) use retention::Retention;
pub(super) use schema::free_name;
pub use survey::JobShare;
pub(super) use write::BlockWriter;

/// The reader of a directory, for fuzzing.
#[cfg(fuzzing)]
pub fn read_untrusted_directory(bytes: &[u8]) {
    drop(part::Directory::decode(bytes));
}

/// The reader of names, for fuzzing.
#[cfg(fuzzing)]
pub fn read_untrusted_names(bytes: &[u8]) {
    drop(names::decode(bytes, |_, _| {}));
}

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use rusqlite::{Connection, OptionalExtension, params};

use self::outline::Outlines;
use self::schema::{Opened, database, is_damage};
use super::StoreError;
use super::file_id::FileId;
use super::log::Stored;
use crate::model::{TimeRange, Timestamp};
use crate::telemetry::Counter;

/// All blocks.
pub(super) struct Blocks {
    path: PathBuf,
    /// Nothing is made, repaired or set aside.
    is_read_only: bool,
    /// None until it could be opened, and again after a failure.
    writer: Mutex<Option<Connection>>,
    /// The file that was opened last.
    file: Mutex<Option<FileId>>,
    readers: Mutex<Readers>,
    outlines: Outlines,
    list: Mutex<Arc<Vec<Block>>>,
    retired: Mutex<Vec<Retired>>,
    kept_until: Mutex<retention::KeptUntil>,
    /// How far the connection is still to be trusted: [`TRUSTED`] and what follows it.
    trust: AtomicU8,
    rescues: Mutex<Vec<Rescue>>,
    /// The database has been replaced, and [`Self::take_replaced`] has not told it yet.
    is_replaced: AtomicBool,
    /// Damaged segments, directories and name lists met so far.
    pub damaged: Counter,
}

/// One block in force.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Block {
    pub id: i64,
    /// What it spans by plan: `start` is part of it, `until` is not.
    pub start: Timestamp,
    pub until: Timestamp,
    /// What it really holds: late samples may lie before `start`.
    pub oldest: Timestamp,
    pub newest: Timestamp,
    pub samples: u64,
    pub bytes: u64,
}

/// Idle read connections. The generation moves when the file is replaced.
#[derive(Default)]
struct Readers {
    idle: Vec<Connection>,
    generation: u64,
}

/// Blocks that are no longer in force, and the list in which they were.
struct Retired {
    list: Arc<Vec<Block>>,
    blocks: Vec<i64>,
}

/// The write connection works.
const TRUSTED: u8 = 0;
/// It was refused something: it is opened anew.
const REOPEN: u8 = 1;
/// The device has failed: all pages are looked at too, as the device gives them.
const CHECK: u8 = 2;

/// Idle read connections that are kept; more are opened when more is asked at once.
const READERS_IDLE_MAX: usize = 2;

impl Blocks {
    /// Opens the database at `path`. One that cannot be used is renamed and a new one made. Where the disk
    /// allows neither, the second value says why: what can be read is read, and each later use tries again.
    pub fn open(path: &Path, damaged: Counter) -> (Self, Option<StoreError>) {
        let blocks = Self {
            path: path.to_owned(),
            is_read_only: false,
            writer: Mutex::default(),
            file: Mutex::default(),
            readers: Mutex::default(),
            outlines: Outlines::default(),
            list: Mutex::default(),
            retired: Mutex::default(),
            kept_until: Mutex::default(),
            trust: AtomicU8::new(TRUSTED),
            rescues: Mutex::default(),
            is_replaced: AtomicBool::default(),
            damaged,
        };
        let error = blocks.ensure_open().and_then(|()| blocks.delete_unfinished()).err();
        if error.is_some()
            && let Ok(reader) = blocks.reader()
        {
            drop(blocks.list_from(&reader));
        }
        (blocks, error)
    }

    /// Makes sure that the database can be written.
    pub fn ensure_open(&self) -> Result<(), StoreError> {
        self.lock().map(drop)
    }

    /// Sets the file aside and goes on with a new one, into which all is taken over that can be read:
    /// for when writing has met damage in the file itself.
    pub fn start_over(&self) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().expect("no holder of the lock panics");
        *writer = None;
        let connection = self.replace(&mut writer, "writing met damage")?;
        self.retired.lock().expect("no holder of the lock panics").clear();
        self.kept_until.lock().expect("no holder of the lock panics").clear();
        self.list_from(connection)
    }

    fn forget_readers(&self) {
        let mut readers = self.readers.lock().expect("no holder of the lock panics");
        readers.idle.clear();
        readers.generation += 1;
        self.outlines.clear();
    }

    /// Puts a new database in the place of one that cannot be used, with all that can be read of it. The old one is set
    /// aside only once the new one is whole: until then, on a full disk for example, all is as it was.
    fn replace<'a>(&self, writer: &'a mut Option<Connection>, reason: &str) -> Result<&'a Connection, StoreError> {
        let remains = schema::remains_of(&self.path);
        let refused = |reason: String| database("open", &self.path, &reason);
        rescue::check_room(&self.path, remains).map_err(refused)?;
        let mut connection = schema::make_beside(&self.path)?;
        let taken = rescue::take_over(&self.path, remains, &mut connection);
        drop(connection);
        let mut rescue = taken.map_err(|reason| {
            schema::give_up_beside(&self.path);
            refused(reason)
        })?;
        rescue.from = schema::put_in_place(&self.path)?;
        self.damaged.inc();
        let Rescue { from, parts_taken, parts_lost, is_more_lost } = &rescue;
        tracing::error!(
            path = %self.path.display(), to = %from.display(), reason, parts_taken, parts_lost, is_more_lost,
            "the block database is set aside; what can be read is in a new one"
        );
        self.rescues.lock().expect("no holder of the lock panics").push(rescue);
        self.is_replaced.store(true, Ordering::Relaxed);
        self.note_new_file();
        self.forget_readers();
        match schema::open_writer(&self.path, false)? {
            Opened::Usable(connection) => Ok(writer.insert(connection)),
            Opened::Unusable(reason) => Err(refused(reason)),
        }
    }

    /// Whether the database has been replaced since this was asked last: what blocks had may be lost.
    pub fn take_replaced(&self) -> bool {
        self.is_replaced.swap(false, Ordering::Relaxed)
    }

    /// What became of databases that were set aside since this one was opened.
    pub fn rescues(&self) -> Vec<Rescue> {
        self.rescues.lock().expect("no holder of the lock panics").clone()
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The blocks in force, oldest first.
    pub fn list(&self) -> Arc<Vec<Block>> {
        Arc::clone(&self.list.lock().expect("no holder of the lock panics"))
    }

    /// The newest sample of all.
    pub fn newest(&self) -> Option<Timestamp> {
        self.list().iter().map(|block| block.newest).max()
    }

    /// Whether any block overlaps a range.
    pub fn overlap(&self, range: TimeRange) -> bool {
        self.list().iter().any(|block| block.oldest <= range.end && range.start <= block.newest)
    }

    /// Opens the database at `path` to read it, as it is. A transaction that was cut off is rolled back where the
    /// file can be written.
    pub fn open_read_only(path: &Path, damaged: Counter) -> Result<Self, StoreError> {
        let blocks = Self {
            path: path.to_owned(),
            is_read_only: true,
            writer: Mutex::new(Some(schema::open_existing(path)?)),
            file: Mutex::default(),
            readers: Mutex::default(),
            outlines: Outlines::default(),
            list: Mutex::default(),
            retired: Mutex::default(),
            kept_until: Mutex::default(),
            trust: AtomicU8::new(TRUSTED),
            rescues: Mutex::default(),
            is_replaced: AtomicBool::default(),
            damaged,
        };
        blocks.reload()?;
        Ok(blocks)
    }

    /// How far the log is in blocks.
    pub fn stored(&self) -> Result<Stored, StoreError> {
        Ok(Stored {
            sequence: self.noted("stored_sequence")?.unwrap_or(0) as u64,
            until: Timestamp(self.noted("stored_until")?.unwrap_or(i64::MIN)),
        })
    }

    /// A number kept beside the blocks.
    pub fn noted(&self, name: &str) -> Result<Option<i64>, StoreError> {
        let query = "SELECT value FROM meta WHERE name = ?1";
        let value = self.reader()?.query_row(query, [name], |row| row.get::<_, i64>(0)).optional();
        value.map_err(|error| self.error("read", &error))
    }

    /// Bytes of the database file that are in use, and of the file as it is.
    pub fn disk_bytes(&self) -> Result<(u64, u64), StoreError> {
        let connection = self.lock()?;
        let value = |name| {
            connection
                .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
                .map_err(|error| self.error("read", &error))
        };
        let (pages, free, size) = (value("page_count")?, value("freelist_count")?, value("page_size")?);
        Ok((((pages - free) * size) as u64, (pages * size) as u64))
    }

    /// Takes blocks out of force, whole. Their bytes are freed by [`Self::delete_retired`].
    pub fn retire(&self, blocks: &[i64]) -> Result<(), StoreError> {
        if blocks.is_empty() {
            return Ok(());
        }
        {
            let mut connection = self.lock()?;
            let transaction = connection.transaction().map_err(|error| self.error("begin", &error))?;
            for block in blocks {
                let retired = transaction.execute("UPDATE block SET state = 2 WHERE id = ?1", [block]);
                retired.map_err(|error| self.error("retire a block in", &error))?;
            }
            transaction.commit().map_err(|error| self.error("commit to", &error))?;
        }
        self.note_retired(blocks)
    }

    /// Deletes what was retired and that no reader can still be on.
    pub fn delete_retired(&self) -> Result<(), StoreError> {
        let mut retired = self.retired.lock().expect("no holder of the lock panics");
        // A reader that began before holds the list of that time.
        let free = |entry: &Retired| Arc::strong_count(&entry.list) == 1;
        // Older lists first: a reader of an older list may also use what is in a newer one.
        let count = retired.iter().take_while(|entry| free(entry)).count();
        let blocks: Vec<i64> = retired[..count].iter().flat_map(|entry| entry.blocks.iter().copied()).collect();
        if blocks.is_empty() {
            return Ok(());
        }
        self.delete(&blocks)?;
        retired.drain(..count);
        Ok(())
    }

    /// Reads the list of blocks anew, keeping the old one for readers that still use it.
    fn note_retired(&self, blocks: &[i64]) -> Result<(), StoreError> {
        let before = self.list();
        self.reload()?;
        self.retired
            .lock()
            .expect("no holder of the lock panics")
            .push(Retired { list: before, blocks: blocks.to_vec() });
        Ok(())
    }

    /// Reads the list of blocks anew.
    pub fn reload(&self) -> Result<(), StoreError> {
        self.list_from(&*self.lock()?)
    }

    fn list_from(&self, connection: &Connection) -> Result<(), StoreError> {
        let query =
            "SELECT id, start, until, oldest, newest, samples, bytes FROM block WHERE state = 1 ORDER BY start, id";
        let blocks = connection.prepare(query).and_then(|mut statement| {
            let rows = statement.query_map([], |row| {
                Ok(Block {
                    id: row.get(0)?,
                    start: Timestamp(row.get(1)?),
                    until: Timestamp(row.get(2)?),
                    oldest: Timestamp(row.get(3)?),
                    newest: Timestamp(row.get(4)?),
                    samples: row.get::<_, i64>(5)? as u64,
                    bytes: row.get::<_, i64>(6)? as u64,
                })
            })?;
            rows.collect::<rusqlite::Result<Vec<Block>>>()
        });
        let blocks = blocks.map_err(|error| self.error("list the blocks of", &error))?;
        *self.list.lock().expect("no holder of the lock panics") = Arc::new(blocks);
        Ok(())
    }

    /// Blocks that were not finished when the last run ended, or were no longer in force.
    fn delete_unfinished(&self) -> Result<(), StoreError> {
        let found = {
            let connection = self.lock()?;
            let listed = connection.prepare("SELECT id FROM block WHERE state <> 1").and_then(|mut statement| {
                let rows = statement.query_map([], |row| row.get::<_, i64>(0))?;
                rows.collect::<rusqlite::Result<Vec<i64>>>()
            });
            listed.map_err(|error| self.error("list the blocks of", &error))?
        };
        self.delete(&found)
    }

    fn delete(&self, blocks: &[i64]) -> Result<(), StoreError> {
        if blocks.is_empty() {
            return Ok(());
        }
        let mut connection = self.lock()?;
        let outcome = connection.transaction().and_then(|transaction| {
            for block in blocks {
                transaction.execute(
                    "DELETE FROM data WHERE id IN (SELECT data.id FROM part JOIN data
                         ON data.id >= part.first_row AND data.id < part.first_row + part.rows WHERE part.block = ?1)",
                    [block],
                )?;
                transaction.execute("DELETE FROM part WHERE block = ?1", [block])?;
                transaction.execute("DELETE FROM block WHERE id = ?1", [block])?;
            }
            transaction
                .execute("DELETE FROM names WHERE NOT EXISTS (SELECT 1 FROM part WHERE part.names = names.id)", [])?;
            transaction.execute(
                "DELETE FROM target WHERE NOT EXISTS (SELECT 1 FROM part WHERE part.target = target.id)",
                [],
            )?;
            transaction.commit()
        });
        // What is named next may get an id anew.
        self.outlines.clear();
        outcome.map_err(|error| self.error("delete blocks from", &error))
    }

    /// A connection for one read. The pool takes it back when it is dropped.
    fn reader(&self) -> Result<Reading<'_>, StoreError> {
        let (idle, generation) = {
            let mut readers = self.readers.lock().expect("no holder of the lock panics");
            (readers.idle.pop(), readers.generation)
        };
        let connection = match idle {
            Some(connection) => connection,
            None => schema::open_reader(&self.path).map_err(|error| self.error("open", &error))?,
        };
        Ok(Reading { blocks: self, connection: Some(connection), generation })
    }

    /// The write connection, opened if it is not, and anew if the last write failed.
    fn lock(&self) -> Result<Writing<'_>, StoreError> {
        let mut writer = self.writer.lock().expect("no holder of the lock panics");
        let trust = if self.is_read_only { TRUSTED } else { self.trust.load(Ordering::Relaxed) };
        if trust != TRUSTED {
            *writer = None;
            self.forget_readers();
            schema::forget_pages(&self.path);
        }
        if writer.is_none() {
            let connection = match schema::open_writer(&self.path, trust == CHECK)? {
                Opened::Usable(connection) => writer.insert(connection),
                Opened::Unusable(reason) => self.replace(&mut writer, &reason)?,
            };
            self.note_file();
            self.list_from(connection)?;
            self.trust.store(TRUSTED, Ordering::Relaxed);
        }
        Ok(Writing(writer))
    }

    fn error(&self, action: &'static str, error: &rusqlite::Error) -> StoreError {
        if is_damage(error) {
            self.damaged.inc();
            return StoreError::Damaged { path: self.path.clone(), reason: error.to_string() };
        }
        let trust = match error.sqlite_error_code() {
            // After a failed sync the next one may succeed although the pages never reached the device.
            Some(rusqlite::ErrorCode::SystemIoFailure) => CHECK,
            Some(rusqlite::ErrorCode::ReadOnly | rusqlite::ErrorCode::CannotOpen | rusqlite::ErrorCode::DiskFull) => {
                REOPEN
            }
            _ => TRUSTED,
        };
        self.trust.fetch_max(trust, Ordering::Relaxed);
        database(action, &self.path, error)
    }

    /// Tells of damage once, where it is met.
    fn report_damage(&self, block: i64, what: &str, error: &dyn std::fmt::Display) {
        self.damaged.inc();
        tracing::error!(path = %self.path.display(), block, what, %error, "damage in the block database is skipped");
    }
}

/// The write connection, held.
struct Writing<'a>(MutexGuard<'a, Option<Connection>>);

impl std::ops::Deref for Writing<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.0.as_ref().expect("opened before it is given out")
    }
}

impl std::ops::DerefMut for Writing<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        self.0.as_mut().expect("opened before it is given out")
    }
}

/// A read connection on loan.
struct Reading<'a> {
    blocks: &'a Blocks,
    connection: Option<Connection>,
    generation: u64,
}

impl std::ops::Deref for Reading<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("there until dropped")
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let mut readers = self.blocks.readers.lock().expect("no holder of the lock panics");
        if readers.generation == self.generation && readers.idle.len() < READERS_IDLE_MAX {
            readers.idle.extend(self.connection.take());
        }
    }
}

/// Sets a number in `meta`.
fn set_meta(connection: &Connection, name: &str, value: i64) -> rusqlite::Result<usize> {
    connection.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)", params![name, value])
}

#[cfg(test)]
impl Blocks {
    /// As after an error of the device.
    pub fn distrust(&self) {
        self.trust.store(CHECK, Ordering::Relaxed);
    }
}

/// Turns a bit in the first row of segments, as a failing card does.
#[cfg(test)]
pub(super) fn damage_first_row(path: &Path) {
    let connection = Connection::open(path).expect("a database");
    let query = "SELECT id, bytes FROM data ORDER BY id LIMIT 1";
    let (id, mut bytes): (i64, Vec<u8>) =
        connection.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("there is a row");
    bytes[3] ^= 1;
    connection.execute("UPDATE data SET bytes = ?2 WHERE id = ?1", params![id, bytes]).expect("writable");
}
