//! Small files named in settings (passwords, tokens, certificates): read when they have changed.
//!
//! A change shows in modification time or length. The read happens on the calling thread: these files are a few
//! kilobytes on a local disk, and most calls end after one `stat`.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use rustix::fs::OFlags;

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
    let read = read_file(path, FILE_BYTES_MAX);
    let text = read.and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is no UTF-8".to_owned()));
    text.map_err(|reason| ClientError::File { what, path: path.to_owned(), reason })
}

/// A file of at most `bytes_max` bytes. Neither a device without end nor a pipe that nobody writes into keeps anybody.
pub fn read_file(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let told = |error: std::io::Error| io_reason(&error);
    let flags = OFlags::NONBLOCK.bits() as i32;
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(told)?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(told)?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("it has more than {bytes_max} bytes"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_bounded() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("file");
        std::fs::write(&file, [7; 10]).expect("written");
        let pipe = folder.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
        assert_eq!(read_file(&file, 10), Ok(vec![7; 10]));
        assert_eq!(read_file(&pipe, 10), Ok(Vec::new()));
        for (path, bytes_max) in [(file.as_path(), 9), (Path::new("/dev/zero"), 1000)] {
            assert_eq!(read_file(path, bytes_max), Err(format!("it has more than {bytes_max} bytes")));
        }
        assert!(read_file(folder.path(), 10).is_err());
        let error = read_text("password", Path::new("/dev/zero")).expect_err("it has no end").to_string();
        assert!(error.contains("/dev/zero") && error.contains("more than 4194304 bytes"), "{error}");
    }
}
