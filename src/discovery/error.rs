//! Why targets could not be found.

use std::path::PathBuf;

use crate::client::ClientError;

/// A failed refresh, or settings that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// The server could not be asked.
    #[error("{url}: {reason}")]
    Client {
        /// What was asked.
        url: String,
        /// Why not.
        reason: ClientError,
    },
    /// The settings of the client are not valid.
    #[error(transparent)]
    Settings(#[from] ClientError),
    /// Another status than 200, or another content than JSON.
    #[error("{url}: {reason}")]
    Answer {
        /// What was asked.
        url: String,
        /// What came.
        reason: String,
    },
    /// A file could not be read.
    #[error("cannot read {path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A file with a list of groups that is not one: its mistakes, one a line, each with the file's name.
    #[error("{0}")]
    Malformed(String),
    /// A name server could not be asked, or did not answer well.
    #[error("cannot look up {name}: {reason}")]
    Dns {
        /// The name.
        name: String,
        /// Why not.
        reason: String,
    },
    /// An address of an engine that cannot be used.
    #[error("{host:?} is not an address of a container engine: {reason}")]
    EngineHost {
        /// As configured.
        host: String,
        /// Why not.
        reason: String,
    },
}
