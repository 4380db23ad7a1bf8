//! Bounded reads of kernel files below the configured roots.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::buffer::spare_capacity;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use tracing::Level;

use super::super::NodeCollectorSettings;
use super::flags::Flags;
use super::kept;
use crate::clock::Clock;

/// No kernel file that is read here comes near this; what is larger is cut off.
const FILE_BYTES_MAX: usize = 4 << 20;

/// Lines of counters are not nearly as long; those of mounts, interrupts and arrays may be.
const LINE_BYTES_MAX: usize = 1024;

/// A file of /sys is no longer than a page, and one read takes it whole.
const SMALL_BYTES: usize = 4096;

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
    /// A program or a part of the kernel that was asked gave nothing.
    #[error("{path}: {reason}")]
    Unanswered {
        /// Its socket or name.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The machine has nothing of the kind.
    #[error("there is nothing of this kind here")]
    Nothing,
}

impl NodeError {
    /// What is not there was not to be expected of every kernel.
    pub(super) fn or_nothing(self) -> Self {
        match self {
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Self::Nothing,
            other => other,
        }
    }
}

/// The host's file trees and its clock.
pub struct Host {
    settings: NodeCollectorSettings,
    flags: Flags,
    clock: Clock,
    firmware_facts: OnceLock<Vec<(&'static str, String)>>,
    /// `/proc/stat` of the collection under way, which two subsystems read and which the kernel writes slowly.
    stat: Mutex<Option<Arc<str>>>,
    /// Subsystems whose failure was told.
    told: Mutex<BTreeSet<&'static str>>,
    /// Text files and their folders that the last collection left out.
    failed_text_files: Mutex<BTreeSet<PathBuf>>,
}

impl Host {
    pub(super) fn new(settings: NodeCollectorSettings, clock: Clock) -> Self {
        let flags = Flags::new(&settings.flags);
        let (stat, told, failed_text_files) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { settings, flags, clock, firmware_facts: OnceLock::new(), stat, told, failed_text_files }
    }

    /// What was set beyond the paths.
    pub fn flags(&self) -> &Flags {
        &self.flags
    }

    /// How loudly a subsystem's failure is told: once aloud if somebody switched it on, as long as it is one.
    pub(super) fn level_of(&self, subsystem: &'static str, failure: &NodeError) -> Level {
        let is_expected = matches!(failure, NodeError::Nothing) || !self.flags.is_chosen(subsystem);
        let is_news = !is_expected && self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(subsystem);
        if is_news { Level::WARN } else { Level::DEBUG }
    }

    /// Whether text files are left out, and not the same ones as by the last collection.
    pub fn is_news_of_text_files(&self, failed: BTreeSet<PathBuf>) -> bool {
        let mut before = self.failed_text_files.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = !failed.is_empty() && failed != *before;
        *before = failed;
        is_news
    }

    /// Facts that stay until the next boot: `read` is called once.
    pub fn firmware_facts(&self, read: impl FnOnce() -> Vec<(&'static str, String)>) -> &[(&'static str, String)] {
        self.firmware_facts.get_or_init(read)
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

    /// The text of a file below /proc, whose lines are short or which the kernel writes at once.
    pub fn proc(&self, path: &str) -> Result<String, NodeError> {
        self.proc_of_lines(path, LINE_BYTES_MAX)
    }

    /// The text of a file below /proc whose lines may be long.
    pub fn proc_of_long_lines(&self, path: &str) -> Result<String, NodeError> {
        self.proc_of_lines(path, kept::STEP_BYTES)
    }

    fn proc_of_lines(&self, path: &str, line_bytes_max: usize) -> Result<String, NodeError> {
        let path = self.settings.procfs.join(path);
        as_text(kept::read_whole(path.as_os_str().to_owned(), FILE_BYTES_MAX, line_bytes_max), &path)
    }

    /// The text of `/proc/stat`, read once per collection.
    pub fn stat(&self) -> Result<Arc<str>, NodeError> {
        let mut kept = self.stat.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = &*kept {
            return Ok(Arc::clone(text));
        }
        let text: Arc<str> = self.proc("stat")?.into();
        *kept = Some(Arc::clone(&text));
        Ok(text)
    }

    /// Ends a collection: what was kept for it goes.
    pub(super) fn end_collection(&self) {
        *self.stat.lock().unwrap_or_else(PoisonError::into_inner) = None;
        kept::sweep();
    }

    /// The text of a file below /proc of a kernel that may lack it.
    pub fn proc_if_any(&self, path: &str) -> Result<String, NodeError> {
        self.proc(path).map_err(NodeError::or_nothing)
    }

    /// A file below /proc that holds one number, in a kernel that may lack it.
    pub fn proc_number(&self, path: &str) -> Result<f64, NodeError> {
        let text = self.proc_if_any(path)?;
        parse_number(text.trim()).ok_or_else(|| self.unexpected(path, "a number expected"))
    }

    /// The names in a folder below /sys, sorted; none if there is no such folder.
    pub fn sys_names(&self, path: &str) -> Vec<String> {
        names(&self.sys_path(path))
    }

    /// The folders of a class below /sys by name, sorted; [`NodeError::Nothing`] if the kernel has no such class.
    pub fn sys_folders(&self, path: &str) -> Result<Vec<(String, Folder)>, NodeError> {
        let path = self.sys_path(path);
        if !path.is_dir() {
            return Err(NodeError::Nothing);
        }
        Ok(names(&path).into_iter().filter_map(|name| Some((name.clone(), Folder::open(&path.join(name))?))).collect())
    }

    /// An error about a file below /proc.
    pub fn unexpected(&self, path: &str, reason: impl Into<String>) -> NodeError {
        NodeError::Parse { path: self.settings.procfs.join(path), reason: reason.into() }
    }
}

/// A folder of small files.
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// A folder; `None` if there is none.
    pub fn open(path: &Path) -> Option<Self> {
        path.is_dir().then(|| Self { path: path.to_owned() })
    }

    /// A folder within; `None` if there is none.
    pub fn folder(&self, name: &str) -> Option<Self> {
        Self::open(&self.path.join(name))
    }

    /// The text of a file, trimmed; `None` if it cannot be read, as many files of /sys cannot.
    pub fn word(&self, file: &str) -> Option<String> {
        let mut buffer = [0; SMALL_BYTES];
        self.read(file, &mut buffer).map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned())
    }

    /// A file that holds one number.
    pub fn number(&self, file: &str) -> Option<f64> {
        let mut buffer = [0; SMALL_BYTES];
        parse_number(str::from_utf8(self.read(file, &mut buffer)?).ok()?.trim())
    }

    fn read<'b>(&self, file: &str, buffer: &'b mut [u8; SMALL_BYTES]) -> Option<&'b [u8]> {
        let length = kept::read(self.path.join(file).into_os_string(), buffer.as_mut_slice())?;
        buffer.get(..length)
    }
}

/// `0x1003`, `1500`, `-1` or `1.5`.
pub fn parse_number(word: &str) -> Option<f64> {
    match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok().map(|number| number as f64),
        // Not `inf` or `nan`, which are numbers to Rust alone.
        None => word.parse().ok().filter(|number: &f64| number.is_finite()),
    }
}

/// The names in a folder, sorted; none if it cannot be read.
pub fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect();
    names.sort_unstable();
    names
}

/// A whole file, bounded; what is not UTF-8 is replaced.
pub fn read_text(path: &Path) -> Result<String, NodeError> {
    read_bytes(path).map(into_text)
}

fn as_text(read: Result<Vec<u8>, Errno>, path: &Path) -> Result<String, NodeError> {
    read.map(into_text).map_err(|error| NodeError::Read { path: path.to_owned(), source: error.into() })
}

fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// A whole file, whatever it holds.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, NodeError> {
    read_opened(path).map_err(|error| NodeError::Read { path: path.to_owned(), source: error.into() })
}

fn read_opened(path: &Path) -> Result<Vec<u8>, Errno> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = Vec::with_capacity(2 * SMALL_BYTES);
    while bytes.len() < FILE_BYTES_MAX {
        // A file of /proc gives a page or less at a time, and nothing at its end.
        bytes.reserve(SMALL_BYTES);
        match rustix::io::read(&file, spare_capacity(&mut bytes)) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// A file that holds one value, trimmed; `None` if it cannot be read.
pub fn read_word(path: &Path) -> Option<String> {
    read_text(path).ok().map(|text| text.trim().to_owned())
}

/// A file that holds one number.
pub fn read_number(path: &Path) -> Option<f64> {
    parse_number(&read_word(path)?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers() {
        let cases = [
            ("0x1003", Some(4099.0)),
            ("-1", Some(-1.0)),
            ("1.5", Some(1.5)),
            ("", None),
            ("0x", None),
            ("inf", None),
            ("nan", None),
            ("1 2", None),
        ];
        for (word, expected) in cases {
            assert_eq!(super::parse_number(word), expected, "{word:?}");
        }
    }
}
