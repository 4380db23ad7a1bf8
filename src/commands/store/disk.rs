//! What a disk that cannot be written means for a command: which one it is, and the way out.

use std::error::Error;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::StatVfsMountFlags;

use super::described;

/// A disk with less is full for whatever is written here.
const FREE_BYTES_MIN: u64 = 1 << 20;

/// An error of writing to `path`, and what can be done where its disk is the reason.
pub fn told(error: &dyn Error, path: &Path) -> String {
    let text = described(error);
    match way_out(path, &text) {
        Some(way_out) => format!("{text}: {way_out}"),
        None => text,
    }
}

fn way_out(path: &Path, text: &str) -> Option<String> {
    let path =
        path.ancestors().find_map(|path| path.canonicalize().ok()).or_else(|| Path::new(".").canonicalize().ok())?;
    let disk = mount_point(&path);
    let (disk, state) = (disk.display(), rustix::fs::statvfs(&path).ok()?);
    let free = state.f_bavail.saturating_mul(state.f_frsize);
    if state.f_flag.contains(StatVfsMountFlags::RDONLY) {
        Some(format!(
            "the disk at {disk} is read-only; make it writable (mount -o remount,rw {disk}) and run this again"
        ))
    } else if free < FREE_BYTES_MIN || ["(os error 28)", "disk is full"].iter().any(|full| text.contains(full)) {
        Some(format!("the disk at {disk} is full ({} kB free); make room and run this again", free / 1000))
    } else {
        None
    }
}

/// The highest folder on the same disk.
fn mount_point(path: &Path) -> PathBuf {
    let device = |path: &Path| std::fs::metadata(path).map(|data| data.dev()).ok();
    let on = device(path);
    path.ancestors().take_while(|folder| device(folder) == on).last().unwrap_or(path).to_owned()
}
