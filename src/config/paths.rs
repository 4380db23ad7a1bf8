//! Paths in a configuration are relative to its folder.

use std::path::{Path, PathBuf};

/// Where relative paths start.
pub struct Folder(PathBuf);

impl Folder {
    /// The folder that `file` is in.
    pub fn of(file: &Path) -> Self {
        Self(file.parent().map(Path::to_owned).unwrap_or_default())
    }

    /// `path` seen from the working directory; an empty path stays empty.
    pub fn join(&self, path: &str) -> PathBuf {
        if path.is_empty() { PathBuf::new() } else { self.0.join(path) }
    }
}
