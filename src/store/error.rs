//! What can go wrong in a store.

use std::path::PathBuf;

/// A failed store operation.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The read's deadline passed.
    #[error("reading took longer than allowed")]
    DeadlineExceeded,
    /// Nobody waits for the answer any more.
    #[error("the read was cancelled")]
    Cancelled,
    /// A bound on series was reached.
    #[error("the store holds its maximum of {max} series; drop some with metric_relabel_configs or a sample_limit")]
    TooManySeries {
        /// The bound.
        max: usize,
    },
    /// A note is too long.
    #[error("the note {name} has {bytes} bytes; at most {max} are kept")]
    NoteTooLong {
        /// Its name.
        name: String,
        /// Its length.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// Another process has the store open.
    #[error("the store {path} is in use by another process; stop it, or give this one another --storage.path")]
    Locked {
        /// The store's folder.
        path: PathBuf,
    },
    /// The store is somebody else's.
    #[error("the store {path} may not be written by user {user}, whom outpost runs as (chown -R {user} {path})")]
    Forbidden {
        /// The store's folder.
        path: PathBuf,
        /// The number of the user who asks.
        user: u32,
        /// What the kernel says.
        source: std::io::Error,
    },
    /// There is nothing to work with.
    #[error("{path} is no store: it has neither blocks.db nor log; give the folder of --storage.path")]
    NoStore {
        /// The folder.
        path: PathBuf,
    },
    /// A copy would be a part of what is copied.
    #[error("{to} lies in the store {path} itself; give a folder outside of it, best on another disk")]
    CopyInside {
        /// The store's folder.
        path: PathBuf,
        /// Where the copy was to go.
        to: PathBuf,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried: `open`, `write`, `sync`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The database refused.
    #[error("the block database {path} failed to {action}: {reason}")]
    Database {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        reason: String,
    },
    /// The database file itself is damaged.
    #[error("the block database {path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        reason: String,
    },
}
