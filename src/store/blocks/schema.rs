//! The database file: opening it, its schema, its migrations, and setting it aside when it is hopeless.
//!
//! Rollback journal kept in place (PERSIST) with full synchronisation: measured at the device this
//! writes least (new pages go to the file once, where a WAL would write them twice), and blocks
//! are written a few times a day, so that readers hardly ever meet a commit.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::store::StoreError;
use crate::store::file_id::is_absence;

/// Marks the file as ours: `OPBL`.
const APPLICATION_ID: i32 = 0x4f50_424c;

/// What brings a database from version N to N + 1. Only ever appended to.
const MIGRATIONS: &[&str] = &["-- How far the log is in blocks: what replay may skip.
     CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
     -- Scrape targets and rule groups by name: parts refer to them by number.
     CREATE TABLE target (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
     -- The sorted label sets of a target, shared by all blocks in which they are the same.
     CREATE TABLE names (id INTEGER PRIMARY KEY, target INTEGER NOT NULL, series INTEGER NOT NULL,
                         hash INTEGER NOT NULL, bytes BLOB NOT NULL) STRICT;
     CREATE INDEX names_by_target ON names (target, hash);
     -- Spans of time. state: 0 being written, 1 in force, 2 replaced or expired.
     CREATE TABLE block (id INTEGER PRIMARY KEY, state INTEGER NOT NULL, start INTEGER NOT NULL, until INTEGER NOT NULL,
                         oldest INTEGER NOT NULL, newest INTEGER NOT NULL, samples INTEGER NOT NULL,
                         bytes INTEGER NOT NULL) STRICT;
     -- One target in one block: where its segments are.
     CREATE TABLE part (block INTEGER NOT NULL, target INTEGER NOT NULL, names INTEGER NOT NULL,
                        first_row INTEGER NOT NULL, rows INTEGER NOT NULL, directory BLOB NOT NULL,
                        PRIMARY KEY (block, target)) STRICT;
     CREATE INDEX part_by_names ON part (names);
     -- Segments, one behind the other.
     CREATE TABLE data (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;"];

/// What opening the file for writing leads to.
#[derive(Debug)]
pub(super) enum Opened {
    /// It was there, or made anew.
    Usable(Connection),
    /// It cannot be used, for this reason.
    Unusable(String),
}

/// Opens or makes the database, for writing. After a failed write all its pages are looked at.
pub(super) fn open_writer(path: &Path, is_suspect: bool) -> Result<Opened, StoreError> {
    finish_replacing(path)?;
    let opened = try_open(path).and_then(|connection| {
        if is_suspect {
            check_pages(&connection)?;
        }
        Ok(connection)
    });
    match opened {
        Ok(connection) => Ok(Opened::Usable(connection)),
        Err(refusal @ (Refusal::Transient(_) | Refusal::ReadOnly)) => Err(database("open", path, &refusal)),
        Err(Refusal::Unusable(reason)) => Ok(Opened::Unusable(reason)),
    }
}

/// Opens a database that is there, to read it as it is; writable only so that a cut transaction can be rolled back.
pub(super) fn open_existing(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |error: rusqlite::Error| database("open", path, &error);
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(failed);
    let (version, application) = (number("user_version")?, number("application_id")?);
    if application != APPLICATION_ID {
        return Err(database("open", path, &"it is no block database of outpost"));
    }
    if version as usize != MIGRATIONS.len() {
        let reason = format!(
            "it has format {version} and this version knows {}; a start of the newer outpost brings it up to date",
            MIGRATIONS.len()
        );
        return Err(database("open", path, &reason));
    }
    check_length(&connection, path).map_err(|refusal| database("open", path, &refusal))?;
    Ok(connection)
}

/// Opens the database for reading only.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // Segments are cached unpacked by whoever reads them; SQLite's own cache only needs inner pages.
    connection.pragma_update(None, "cache_size", -128)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Makes a new database beside the one at `path`, which it is to replace.
pub(super) fn make_beside(path: &Path) -> Result<Connection, StoreError> {
    let beside = beside(path);
    remove(&beside);
    try_open(&beside).map_err(|refusal| database("create", &beside, &refusal))
}

/// Sets the database at `path` aside and puts the one beside it, which is complete and closed, in its place. Gives the
/// old one's new name. Killed in between, [`finish_replacing`] does the rest.
pub(super) fn put_in_place(path: &Path) -> Result<PathBuf, StoreError> {
    let beside = beside(path);
    let failed = |source| StoreError::Io { action: "rename", path: beside.clone(), source };
    // Closed, it has nothing more to say.
    let _ = std::fs::remove_file(journal(&beside));
    sync_folder_of(path).map_err(failed)?;
    let aside = set_aside(path)?;
    std::fs::rename(&beside, path).and_then(|()| sync_folder_of(path)).map_err(failed)?;
    Ok(aside)
}

/// Removes a new database that could not be filled.
pub(super) fn give_up_beside(path: &Path) {
    remove(&beside(path));
}

/// After a kill: a new database whose old one was set aside already takes its place; one that was not finished goes.
fn finish_replacing(path: &Path) -> Result<(), StoreError> {
    let beside = beside(path);
    if !beside.exists() {
        return Ok(());
    }
    if path.symlink_metadata().is_err_and(|error| is_absence(&error)) {
        let _ = std::fs::remove_file(journal(&beside));
        // The old one's, which had not followed it yet, would destroy the new one.
        if journal(path).exists() {
            let (from, to) = (journal(path), free_name(&journal(path)));
            std::fs::rename(&from, to).map_err(|source| StoreError::Io { action: "rename", path: from, source })?;
        }
        return std::fs::rename(&beside, path).map_err(|source| StoreError::Io {
            action: "rename",
            path: beside,
            source,
        });
    }
    remove(&beside);
    Ok(())
}

/// Where a database is made that is to replace another one.
fn beside(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}.new", path.display()))
}

fn journal(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}-journal", path.display()))
}

/// Removes a database that was made here and is of no more use.
pub(super) fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
    let _ = std::fs::remove_file(journal(path));
}

fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    std::fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Opens a damaged database as far as it goes.
pub(super) fn open_damaged(path: &Path) -> rusqlite::Result<Connection> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    // Lets SQLite read what there is of a file that is shorter than its header says.
    connection.pragma_update(None, "writable_schema", true)?;
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if application != APPLICATION_ID || version as usize > MIGRATIONS.len() {
        return Err(rusqlite::Error::InvalidQuery);
    }
    Ok(connection)
}

/// What can be had of a database that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remains {
    /// It can be read as it is.
    Readable,
    /// Its first page is damaged.
    Headless,
    /// It is another program's, or a newer version's: nothing.
    Foreign,
}

/// Looks at a database that cannot be used.
pub(super) fn remains_of(path: &Path) -> Remains {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let looked_at = Connection::open_with_flags(path, flags).and_then(|connection| {
        let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        let is_ours = number("application_id")? == APPLICATION_ID;
        let is_known = number("user_version")? as usize <= MIGRATIONS.len();
        Ok((is_schema_sound(&connection)?, is_ours && is_known))
    });
    match looked_at {
        Ok((true, true)) => Remains::Readable,
        Ok((false, false)) => Remains::Foreign,
        _ => Remains::Headless,
    }
}

/// How long one statement waits for a commit of the writer: a slow card takes seconds to sync.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// An error in StoreError's terms.
pub(super) fn database(action: &'static str, path: &Path, reason: &dyn std::fmt::Display) -> StoreError {
    StoreError::Database { action, path: path.to_owned(), reason: reason.to_string() }
}

/// Whether an error means that the file itself is damaged, rather than busy, full or out of reach.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase))
}

/// A name for a file that is set aside.
pub(in crate::store) fn free_name(path: &Path) -> PathBuf {
    let numbered = |number: u32| PathBuf::from(format!("{}.aside-{number}", path.display()));
    (1..=u32::MAX).map(numbered).find(|candidate| !candidate.exists()).expect("a free number")
}

/// Renames the database and its journal; nothing is ever deleted.
fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let to = free_name(path);
    std::fs::rename(path, &to).map_err(|source| StoreError::Io { action: "rename", path: path.to_owned(), source })?;
    // The journal belongs to the file: with the new one it would destroy it.
    if journal(path).exists() {
        let moved = std::fs::rename(journal(path), journal(&to));
        moved.map_err(|source| StoreError::Io { action: "rename", path: journal(path), source })?;
    }
    Ok(to)
}

enum Refusal {
    /// Damaged, foreign, or from a newer version.
    Unusable(String),
    /// The disk or the system refuses.
    Transient(rusqlite::Error),
    /// It cannot be written.
    ReadOnly,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unusable(reason) => f.write_str(reason),
            Self::Transient(error) => error.fmt(f),
            Self::ReadOnly => f.write_str("it can only be read"),
        }
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        if is_damage(&error) { Self::Unusable(error.to_string()) } else { Self::Transient(error) }
    }
}

/// Drops what the system keeps of the file in memory: the next read is the device's answer.
pub(super) fn forget_pages(path: &Path) {
    if let Ok(file) = std::fs::File::open(path) {
        // Advice: where it is not taken, the check still reads all pages.
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    }
}

fn check_pages(connection: &Connection) -> Result<(), Refusal> {
    let said: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if said == "ok" { Ok(()) } else { Err(Refusal::Unusable(said)) }
}

fn try_open(path: &Path) -> Result<Connection, Refusal> {
    if std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
        return Err(Refusal::Unusable("it is a folder".to_owned()));
    }
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 && application != APPLICATION_ID {
        return Err(Refusal::Unusable("it is a database of another program".to_owned()));
    }
    if version as usize > MIGRATIONS.len() {
        return Err(Refusal::Unusable(format!(
            "it has format {version} and this version knows {}; the newer version can still read it",
            MIGRATIONS.len()
        )));
    }
    // SQLite opens what it cannot write for reading.
    if connection.is_readonly("main")? {
        return Err(Refusal::ReadOnly);
    }
    configure(&connection)?;
    if version == 0 && tables == 0 {
        make(&mut connection, true)?;
    } else {
        migrate(&mut connection, version as usize)?;
    }
    if !is_schema_sound(&connection)? {
        return Err(Refusal::Unusable("its schema is not the one that it was made with".to_owned()));
    }
    // Whether the pages are all there is told by the length that the header states.
    check_length(&connection, path)?;
    Ok(connection)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "PERSIST")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -512)?;
    // Spilling would lock readers out for the rest of a transaction.
    connection.pragma_update(None, "cache_spill", false)?;
    connection.pragma_update(None, "journal_size_limit", 1 << 20)
}

/// Makes all tables in a new database. That it can shrink without being copied costs one page in 800.
pub(super) fn make(connection: &mut Connection, can_shrink: bool) -> rusqlite::Result<()> {
    if can_shrink {
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    migrate(connection, 0)
}

/// Whether a database says of its tables what a new one does. A byte of it that has changed may name another column.
pub(super) fn is_schema_sound(connection: &Connection) -> rusqlite::Result<bool> {
    let mut new = Connection::open_in_memory()?;
    make(&mut new, false)?;
    Ok(schema_of(connection)? == schema_of(&new)?)
}

/// Type, name and statement of all tables and indexes.
fn schema_of(connection: &Connection) -> rusqlite::Result<Vec<[Option<String>; 4]>> {
    let query = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name";
    let mut statement = connection.prepare(query)?;
    let rows = statement.query_map([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]))?;
    rows.collect()
}

fn migrate(connection: &mut Connection, version: usize) -> rusqlite::Result<()> {
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(version) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", index as i32 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

fn check_length(connection: &Connection, path: &Path) -> Result<(), Refusal> {
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
    let page_size: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let len = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    if (pages.max(0) as u64).saturating_mul(page_size.max(0) as u64) > len {
        return Err(Refusal::Unusable("it is cut off".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::blocks::Blocks;
    use crate::telemetry::Registry;

    fn check(content: impl Fn(&Path), expected: &str) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("blocks.db");
        content(&path);
        let before = std::fs::read(&path).ok();
        match open_writer(&path, false).expect("the disk works") {
            Opened::Usable(_) => assert_eq!(expected, ""),
            Opened::Unusable(reason) => assert!(!expected.is_empty() && reason.contains(expected), "{reason}"),
        }
        let damaged = Registry::new().counter("damaged", "");
        let (blocks, error) = Blocks::open(&path, damaged);
        assert!(error.is_none(), "{error:?}");
        let asides: Vec<_> = blocks.rescues().into_iter().map(|rescue| std::fs::read(rescue.from).ok()).collect();
        assert_eq!(asides, if expected.is_empty() { vec![] } else { vec![before] });
        assert!(is_schema_sound(&open_existing(&path).expect("it can be used")).expect("readable"));
        assert!(!beside(&path).exists());
    }

    #[test]
    fn unusable_files_are_renamed_with_their_content() {
        check(|path| std::fs::write(path, b"").expect("writable"), "");
        check(|path| std::fs::create_dir(path).expect("writable"), "a folder");
        check(|path| std::fs::write(path, vec![7; 5000]).expect("writable"), "not a database");
        check(
            |path| {
                Connection::open(path)
                    .and_then(|other| other.execute_batch("CREATE TABLE t (a)"))
                    .expect("SQLite works")
            },
            "another program",
        );
        check(
            |path| {
                let connection = try_open(path).unwrap_or_else(|refusal| panic!("{refusal}"));
                connection.pragma_update(None, "user_version", 99).expect("writable");
            },
            "format 99",
        );
    }

    #[test]
    fn a_cut_database_is_renamed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("blocks.db");
        drop(open_writer(&path, false).expect("the disk works"));
        let bytes = std::fs::read(&path).expect("just written");
        for len in (512..bytes.len()).step_by(1536) {
            std::fs::write(&path, &bytes[..len]).expect("writable");
            let opened = open_writer(&path, false).expect("the disk works");
            assert!(matches!(opened, Opened::Unusable(_)), "cut at {len}: {opened:?}");
        }
    }

    /// Killed at any step, a replacement is undone or done at the next opening.
    #[test]
    fn a_replacement_that_was_killed_is_finished_or_forgotten() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("blocks.db");
        let names = || std::fs::read_dir(folder.path()).expect("readable").count();
        let mark = |connection: &Connection, value: i64| crate::store::blocks::set_meta(connection, "mark", value);
        let marked = |path: &Path| {
            let Opened::Usable(connection) = open_writer(path, false).expect("the disk works") else {
                panic!("unusable")
            };
            connection.query_row("SELECT value FROM meta", [], |row| row.get::<_, i64>(0)).expect("readable")
        };
        mark(&try_open(&path).unwrap_or_else(|refusal| panic!("{refusal}")), 1).expect("writable");
        mark(&make_beside(&path).expect("the disk works"), 2).expect("writable");
        // Before the old one was set aside.
        assert_eq!((marked(&path), names()), (1, 2));
        mark(&make_beside(&path).expect("the disk works"), 3).expect("writable");
        let aside = set_aside(&path).expect("the disk works");
        // And after that, or before the journal had followed.
        std::fs::write(journal(&path), "the old one's").expect("writable");
        assert_eq!((marked(&path), marked(&aside)), (3, 1));
        assert_eq!(std::fs::read(format!("{}.aside-1", journal(&path).display())).expect("kept"), b"the old one's");
    }
}
