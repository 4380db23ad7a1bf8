//! The file operations that the log needs, behind a trait so that tests can make each of them fail.

use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::record::ALIGNMENT;
use crate::store::file_id::FileId;

/// A folder with log files.
pub(in crate::store) trait Folder: Send {
    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// All bytes of a file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// Opens a file for writing over it.
    fn open(&self, name: &str) -> io::Result<Box<dyn LogFile>>;
    /// Makes a file of `len` zero bytes, written out and durable, name included.
    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn LogFile>>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Which file has this name now.
    fn id(&self, name: &str) -> io::Result<FileId>;
    /// Where a file is, for messages.
    fn path(&self, name: &str) -> PathBuf;
}

/// A file being written.
pub(in crate::store) trait LogFile: Send {
    /// Its length.
    fn len(&self) -> io::Result<u64>;
    /// Which file it is, whatever has its name now.
    fn id(&self) -> io::Result<FileId>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Waits until all that was written is on the device.
    fn sync(&mut self) -> io::Result<()>;
    /// Reads from the device, past what the system keeps in memory, as far as it lets one.
    fn read_back(&mut self, offset: u64, len: usize) -> io::Result<Vec<u8>>;
}

/// A folder of the file system.
pub(in crate::store) struct DiskFolder(PathBuf);

impl DiskFolder {
    /// The folder `path`, made when the first file is.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

impl Folder for DiskFolder {
    fn list(&self) -> io::Result<Vec<String>> {
        match std::fs::read_dir(&self.0) {
            Ok(entries) => entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let path = self.0.join(name);
        std::fs::read(&path).or_else(|error| read_by_pages(&path, &error))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).open(self.0.join(name))?))
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn LogFile>> {
        std::fs::create_dir_all(&self.0)?;
        let path = self.0.join(name);
        // Never over one that holds something.
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        if let Err(error) = fill(&file, len).and_then(|()| File::open(&self.0)?.sync_all()) {
            // A full disk has no room for what is of no use.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        Ok(Box::new(file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.0.join(name))
    }

    fn id(&self, name: &str) -> io::Result<FileId> {
        FileId::at(&self.0.join(name))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// Real zeros, not a hole: blocks that are allocated and written once cost no metadata later.
fn fill(file: &File, len: u64) -> io::Result<()> {
    let zeros = [0u8; 64 * 1024];
    let mut at = 0;
    while at < len {
        let part = zeros.len().min((len - at) as usize);
        file.write_all_at(&zeros[..part], at)?;
        at += part as u64;
    }
    file.sync_all()
}

/// Reads what can be read of a file; pages that cannot are zeros, which the log takes for damage.
fn read_by_pages(path: &Path, error: &io::Error) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let len = usize::try_from(file.metadata()?.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; len];
    let mut pages_lost = 0;
    for (index, page) in bytes.chunks_mut(ALIGNMENT).enumerate() {
        if file.read_exact_at(page, (index * ALIGNMENT) as u64).is_err() {
            page.fill(0);
            pages_lost += 1;
        }
    }
    if pages_lost * ALIGNMENT >= len.max(1) {
        return Err(io::Error::new(error.kind(), error.to_string()));
    }
    tracing::error!(path = %path.display(), %error, pages_lost, "a log file can be read in part only");
    Ok(bytes)
}

impl LogFile for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn id(&self) -> io::Result<FileId> {
        FileId::of(self)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn read_back(&mut self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        rustix::fs::fadvise(&*self, offset, NonZeroU64::new(len as u64), rustix::fs::Advice::DontNeed)?;
        let mut bytes = vec![0; len];
        self.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}
