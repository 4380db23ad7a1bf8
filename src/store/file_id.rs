//! Which file is open, and which one lies at a path: a folder may be removed or replaced under a running server.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Device and inode: a file that was removed keeps its own for as long as it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// Of an open file.
    pub fn of(file: &File) -> io::Result<Self> {
        file.metadata().map(Self::from)
    }

    /// Of what lies at a path.
    pub fn at(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(Self::from)
    }
}

impl From<Metadata> for FileId {
    fn from(data: Metadata) -> Self {
        Self { device: data.dev(), inode: data.ino() }
    }
}

/// Whether what was found at a path shows that `held` is no longer there. A disk that does not answer shows nothing.
pub(super) fn is_gone(held: FileId, found: &io::Result<FileId>) -> bool {
    match found {
        Ok(found) => *found != held,
        Err(error) => is_absence(error),
    }
}

/// Whether an error says that there is no such file.
pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
