//! Small files named in settings (passwords, tokens, certificates): read when they have changed.
//!
//! A change shows in modification time or length. The read happens on the calling thread: these files are a few
//! kilobytes on a local disk, and most calls end after one `stat`.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::error::io_reason;
use super::{ClientError, SecretSource};
use crate::model::Secret;

/// The longest such file: a CA bundle has about 250 KB.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What tells one version of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Option<(SystemTime, u64)>);

impl Stamp {
    /// The stamp of the file as it is now; a missing file has one of its own.
    pub(super) fn of(path: &Path) -> Self {
        let metadata = std::fs::metadata(path).ok();
        Self(metadata.and_then(|found| Some((found.modified().ok()?, found.len()))))
    }
}

/// A text out of the settings, or out of a file that may change.
#[derive(Debug)]
pub struct SecretText {
    what: &'static str,
    source: SecretSource,
    read: Mutex<Option<(Stamp, Secret)>>,
}

impl SecretText {
    /// A text that error messages call `what`.
    pub fn new(what: &'static str, source: &SecretSource) -> Self {
        Self { what, source: source.clone(), read: Mutex::new(None) }
    }

    /// The present text, without surrounding white space if it comes from a file.
    pub fn text(&self) -> Result<Secret, ClientError> {
        let path = match &self.source {
            SecretSource::Inline(secret) => return Ok(secret.clone()),
            SecretSource::File(path) => path,
        };
        let stamp = Stamp::of(path);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, secret)) = &*read
            && *known == stamp
        {
            return Ok(secret.clone());
        }
        let secret = Secret::new(read_text(self.what, path)?.trim());
        *read = Some((stamp, secret.clone()));
        Ok(secret)
    }

    /// The file behind it, if there is one.
    pub(super) fn path(&self) -> Option<&PathBuf> {
        match &self.source {
            SecretSource::Inline(_) => None,
            SecretSource::File(path) => Some(path),
        }
    }
}

/// Reads a small file that error messages call `what`.
pub(super) fn read_text(what: &'static str, path: &Path) -> Result<String, ClientError> {
    let failed = |reason: String| ClientError::File { what, path: path.to_owned(), reason };
    let len = std::fs::metadata(path).map_err(|error| failed(io_reason(&error)))?.len();
    if len > FILE_BYTES_MAX {
        return Err(failed(format!("{len} bytes are too many")));
    }
    std::fs::read_to_string(path).map_err(|error| failed(io_reason(&error)))
}
