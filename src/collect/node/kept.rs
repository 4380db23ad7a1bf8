//! Small files that stay open between collections.
//!
//! Opening and closing a file of /sys costs several times what reading it does, and a collection reads the same hundred of them
//! each time. The kernel writes such a file anew whenever it is read from its start. A file whose device has gone
//! says so, and is opened again; one that a collection did not read is closed after it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::sync::{Mutex, PoisonError};

use foldhash::fast::FixedState;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Files kept open at most: a quarter of the usual limit of a process.
const FILES_MAX: usize = 256;

struct File {
    fd: OwnedFd,
    was_read: bool,
}

static FILES: Mutex<HashMap<OsString, File, FixedState>> = Mutex::new(HashMap::with_hasher(FixedState::with_seed(0)));

/// Reads a file from its start; `None` if it cannot be.
pub(super) fn read(path: OsString, buffer: &mut [u8]) -> Option<usize> {
    let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(file) = files.get_mut(&path) {
        file.was_read = true;
        match rustix::io::pread(&file.fd, &mut *buffer, 0) {
            Ok(length) => return Some(length),
            Err(Errno::NODEV) => drop(files.remove(&path)),
            Err(_) => return None,
        }
    }
    let fd = rustix::fs::open(path.as_os_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let length = rustix::io::pread(&fd, buffer, 0).ok();
    if files.len() < FILES_MAX {
        files.insert(path, File { fd, was_read: true });
    }
    length
}

/// Closes what was not read since the last time.
pub(super) fn sweep() {
    let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    files.retain(|_, file| std::mem::take(&mut file.was_read));
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_file_is_read_anew_each_time() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("value");
        let mut buffer = [0; 16];
        assert_eq!(super::read(path.clone().into(), &mut buffer), None);
        for text in ["1", "22"] {
            std::fs::write(&path, text).expect("writable");
            let length = super::read(path.clone().into(), &mut buffer).expect("readable");
            assert_eq!(&buffer[..length], text.as_bytes());
        }
    }
}
