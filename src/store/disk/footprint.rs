//! What a store takes on the disk.

use std::path::Path;

/// Snapshots are the user's to keep and to remove.
pub(super) const SNAPSHOTS: &str = "snapshots";
/// Part of the names of files that were set aside.
const ASIDE: &str = ".aside-";

/// Bytes of all files of a store: blocks, journal, log, tail and whatever else lies there; not snapshots, nor
/// what was set aside. Files that vanish meanwhile count nothing.
pub(super) fn footprint(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let is_counted = |name: &str| name != SNAPSHOTS && !name.contains(ASIDE);
    entries
        .flatten()
        .filter(|entry| is_counted(&entry.file_name().to_string_lossy()))
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => footprint(&entry.path()),
            Ok(kind) if kind.is_file() => file_len(&entry.path()),
            _ => 0,
        })
        .sum()
}

/// A file's length; 0 if there is none.
pub(super) fn file_len(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}
