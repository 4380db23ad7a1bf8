//! Kernel files that stay open between collections.
//!
//! Opening and closing a file of /sys costs several times what reading it does, and a collection reads the same hundred of them
//! each time, and eighty of /proc. The kernel writes such a file anew whenever it is read from its start. A file whose device
//! or module has gone says so, and is opened again; one that a collection did not read is closed after it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::FixedState;
use rustix::buffer::spare_capacity;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Small files, those of /sys. As many as are kept open at most: with the others a third of the usual limit of a process.
static SMALL: Files = Files::new(256);
/// Files of any length, those of /proc.
static LONG: Files = Files::new(96);

/// The least of a page.
pub(super) const STEP_BYTES: usize = 4096;

struct Files {
    open: Mutex<HashMap<OsString, File, FixedState>>,
    max: usize,
}

struct File {
    fd: OwnedFd,
    was_read: bool,
}

/// Reads a small file from its start; `None` if it cannot be.
pub(super) fn read(path: OsString, buffer: &mut [u8]) -> Option<usize> {
    SMALL.read(path, |fd| rustix::io::pread(fd, &mut *buffer, 0)).ok()
}

/// Reads a file from its start to its end, or to `bytes_max`. Its lines have `line_bytes_max` bytes at most.
pub(super) fn read_whole(path: OsString, bytes_max: usize, line_bytes_max: usize) -> Result<Vec<u8>, Errno> {
    LONG.read(path, |fd| {
        let mut bytes = Vec::with_capacity(2 * STEP_BYTES);
        read_to_end(&mut bytes, bytes_max, line_bytes_max, |bytes| {
            let at = bytes.len() as u64;
            rustix::io::pread(fd, spare_capacity(bytes), at)
        })?;
        Ok(bytes)
    })
}

/// A file of /proc gives a page or less at a time, whole lines, and nothing at its end. The kernel stops before the end only
/// where the next line has no room in its buffer of a page or more (`seq_read_iter`): what leaves room for one is the end, and
/// the question that would be answered with nothing is spared. It costs as much as the file for those of sockets.
fn read_to_end(
    bytes: &mut Vec<u8>,
    bytes_max: usize,
    line_bytes_max: usize,
    mut read: impl FnMut(&mut Vec<u8>) -> Result<usize, Errno>,
) -> Result<(), Errno> {
    while bytes.len() < bytes_max {
        bytes.reserve(STEP_BYTES);
        match read(bytes) {
            Ok(count) if count == 0 || count + line_bytes_max <= STEP_BYTES => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Closes what was not read since the last time.
pub(super) fn sweep() {
    for files in [&SMALL, &LONG] {
        files.lock().retain(|_, file| std::mem::take(&mut file.was_read));
    }
}

impl Files {
    const fn new(max: usize) -> Self {
        Self { open: Mutex::new(HashMap::with_hasher(FixedState::with_seed(0))), max }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OsString, File, FixedState>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, path: OsString, mut read: impl FnMut(&OwnedFd) -> Result<T, Errno>) -> Result<T, Errno> {
        let mut files = self.lock();
        if let Some(file) = files.get_mut(&path) {
            file.was_read = true;
            match read(&file.fd) {
                // The device has gone, or the module that made the file.
                Err(Errno::NODEV | Errno::IO) => drop(files.remove(&path)),
                outcome => return outcome,
            }
        }
        let fd = rustix::fs::open(path.as_os_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let outcome = read(&fd);
        if files.len() < self.max {
            files.insert(path, File { fd, was_read: true });
        }
        outcome
    }
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
            let whole = super::read_whole(path.clone().into(), 1 << 20, 1024).expect("readable");
            assert_eq!(whole, text.as_bytes());
        }
    }

    /// Reads of these lengths are there, and so many of them are made.
    #[test]
    fn the_end_is_asked_for_where_it_is_not_known() {
        let cases: [(&[usize], usize, usize); 8] = [
            (&[500], 1024, 1),
            (&[3072], 1024, 1),
            (&[3073, 200], 1024, 2),
            (&[4000, 3500, 3100, 0], 1024, 4),
            (&[4000, 3500, 8], 1024, 3),
            (&[0], 1024, 1),
            // A line of almost a page may follow.
            (&[500, 4000, 0], super::STEP_BYTES, 3),
            (&[500, 0], super::STEP_BYTES, 2),
        ];
        for (lengths, line_bytes_max, expected) in cases {
            let (mut bytes, mut reads) = (Vec::new(), 0);
            let read = |bytes: &mut Vec<u8>| {
                let length = lengths[reads];
                bytes.resize(bytes.len() + length, b'x');
                reads += 1;
                Ok(length)
            };
            super::read_to_end(&mut bytes, 1 << 20, line_bytes_max, read).expect("nothing fails");
            assert_eq!((reads, bytes.len()), (expected, lengths[..expected].iter().sum()), "{lengths:?}");
        }
    }
}
