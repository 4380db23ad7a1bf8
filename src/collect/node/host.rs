//! Bounded reads of kernel files below the configured roots.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::super::NodeCollectorSettings;
use crate::clock::Clock;

/// No kernel file that is read here comes near this; what is larger is cut off.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Why a subsystem gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file holds something else than expected.
    #[error("{path} is not understood: {reason}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What was not.
        reason: String,
    },
    /// The machine has nothing of the kind.
    #[error("there is nothing of this kind here")]
    Nothing,
}

/// The host's file trees and its clock.
pub struct Host {
    settings: NodeCollectorSettings,
    clock: Clock,
}

impl Host {
    pub(super) fn new(settings: NodeCollectorSettings, clock: Clock) -> Self {
        Self { settings, clock }
    }

    /// The root of /proc.
    pub fn procfs(&self) -> &Path {
        &self.settings.procfs
    }

    /// A path below /sys.
    pub fn sys_path(&self, path: &str) -> PathBuf {
        self.settings.sysfs.join(path)
    }

    /// A path of the host, below the root file system.
    pub fn root_path(&self, path: &str) -> PathBuf {
        self.settings.rootfs.join(path.trim_start_matches('/'))
    }

    /// The root file system's own path.
    pub fn rootfs(&self) -> &Path {
        &self.settings.rootfs
    }

    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The text of a file below /proc.
    pub fn proc(&self, path: &str) -> Result<String, NodeError> {
        read_text(&self.settings.procfs.join(path))
    }

    /// The names in a folder below /sys, sorted; none if there is no such folder.
    pub fn sys_names(&self, path: &str) -> Vec<String> {
        names(&self.sys_path(path))
    }

    /// An error about a file below /proc.
    pub fn unexpected(&self, path: &str, reason: impl Into<String>) -> NodeError {
        NodeError::Parse { path: self.settings.procfs.join(path), reason: reason.into() }
    }
}

/// The names in a folder, sorted; none if it cannot be read.
pub fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect();
    names.sort();
    names
}

/// A whole file, bounded; what is not UTF-8 is replaced.
pub fn read_text(path: &Path) -> Result<String, NodeError> {
    let failed = |source| NodeError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(failed)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// A file that holds one value, trimmed; `None` if it cannot be read, as many files of /sys cannot.
pub fn read_word(path: &Path) -> Option<String> {
    read_text(path).ok().map(|text| text.trim().to_owned())
}

/// A file that holds one number.
pub fn read_number(path: &Path) -> Option<f64> {
    read_word(path)?.parse().ok()
}
