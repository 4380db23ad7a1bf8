//! Reading a database whose first page is damaged: SQLite's header, and the schema, without which it reads nothing.
//!
//! Both are known. A new database of the same making has each table and index at the same page: all are made at once, and
//! those of a database that can shrink stay where they are. So a copy of the damaged file gets a new one's first page; what it then says is believed as far as checksums go.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::schema;

/// SQLite's default, which databases of blocks are made with.
const PAGE: usize = 4096;
/// Where the header states the number of pages.
const PAGES_AT: usize = 28;
/// The first page of the list of free ones, and their number.
const FREE_AT: std::ops::Range<usize> = 32..40;

/// How a database was made: each way has the tables at pages of their own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// By VACUUM, as a copy: tables first, then indexes.
    pub is_copy: bool,
    /// It can shrink step by step, which takes pages at the beginning.
    pub can_shrink: bool,
}

impl Layout {
    /// All there are; the usual one comes last.
    pub const ALL: [Self; 4] = [
        Self { is_copy: true, can_shrink: false },
        Self { is_copy: false, can_shrink: false },
        Self { is_copy: true, can_shrink: true },
        Self { is_copy: false, can_shrink: true },
    ];
}

/// A copy that is removed when it is dropped.
pub(super) struct Grafted(PathBuf);

impl Grafted {
    /// Copies the database at `path` under another name. The disk needs room for it.
    pub fn new(path: &Path) -> io::Result<Self> {
        let copy = Self(PathBuf::from(format!("{}.copy", path.display())));
        std::fs::copy(path, &copy.0)?;
        Ok(copy)
    }

    /// Gives the copy a new first page, for a layout.
    pub fn graft(&self, layout: Layout) -> io::Result<()> {
        let mut page = self.first_page(layout)?;
        let file = OpenOptions::new().write(true).open(&self.0)?;
        let pages = u32::try_from(file.metadata()?.len() / PAGE as u64).map_err(|_| io::ErrorKind::FileTooLarge)?;
        page[PAGES_AT..PAGES_AT + 4].copy_from_slice(&pages.to_be_bytes());
        page[FREE_AT].fill(0);
        file.write_all_at(&page, 0)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The first page of a new database.
    fn first_page(&self, layout: Layout) -> io::Result<Vec<u8>> {
        let path = PathBuf::from(format!("{}.new", self.0.display()));
        schema::remove(&path);
        let made = Connection::open(&path).and_then(|mut connection| {
            schema::make(&mut connection, layout.can_shrink)?;
            if layout.is_copy { connection.execute_batch("VACUUM") } else { Ok(()) }
        });
        let mut page = vec![0; PAGE];
        let read = made.map_err(io::Error::other).and_then(|()| File::open(&path)?.read_exact(&mut page));
        schema::remove(&path);
        read.map(|()| page)
    }
}

impl Drop for Grafted {
    fn drop(&mut self) {
        schema::remove(&self.0);
    }
}
