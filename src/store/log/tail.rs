//! The tail: what was appended since the last flush, where kill -9 cannot reach it.
//!
//! Two small files, best on a tmpfs (then they cost the disk nothing), else beside the log (then the
//! page cache holds them). Every append is one plain `write`, never a sync: that survives the end of
//! the process, not of the power. A flush turns to the other file first, and the one before is
//! emptied when the log has everything. A tail that cannot be written is given up until the next flush:
//! it only ever protects what the flush has not reached.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Reader, ReplaySink, Scribe};
use crate::model::Timestamp;
use crate::store::GroupId;
use crate::store::head::{Accepted, Head};

const MAGIC: [u8; 4] = *b"OPT1";
const HEADER_LEN: usize = 20;
/// Length and checksum in front of each append.
const FRAME_LEN: usize = 8;
/// A tail longer than this is given up: the disk has been failing for long, and a tmpfs is memory.
const TAIL_BYTES_MAX: u64 = 16 << 20;

/// The two files.
pub(in crate::store) struct Tail {
    folder: PathBuf,
    paths: [PathBuf; 2],
    active: usize,
    /// The file being written, unless writing it has failed or nothing has begun.
    file: Option<File>,
    written: u64,
    /// The other file holds what no successful flush has covered yet.
    is_other_needed: bool,
    lineage: u64,
    order: u64,
    scribe: Scribe,
    buffer: Vec<u8>,
    /// Why the file could not be started, until it was told.
    start_error: Option<io::Error>,
}

impl Tail {
    /// Tails in `folder`, which is made, closed to others, when the first file is.
    pub fn new(folder: &Path, lineage: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            paths: [folder.join("tail-a"), folder.join("tail-b")],
            active: 0,
            file: None,
            written: 0,
            is_other_needed: false,
            lineage,
            order: 0,
            scribe: Scribe::default(),
            buffer: Vec::new(),
            start_error: None,
        }
    }

    /// Plays what the run `lineage` left behind; gives how many appends that was.
    pub fn replay(&self, lineage: u64, reader: &mut Reader, sink: &mut dyn ReplaySink) -> u64 {
        let read = |path| std::fs::read(path).ok().and_then(|bytes| Some((order_of(&bytes, lineage)?, bytes)));
        let mut files: Vec<(u64, Vec<u8>)> = self.paths.iter().filter_map(read).collect();
        files.sort_unstable_by_key(|(order, _)| *order);
        let mut appends = 0;
        for (_, bytes) in files {
            reader.forget_rows();
            sink.begin_record(Timestamp::MIN, false);
            let mut rest = &bytes[HEADER_LEN..];
            while let Some(payload) = next_frame(&mut rest)
                && reader.read(payload, sink).is_ok()
            {
                appends += 1;
            }
        }
        appends
    }

    /// Starts anew, once the log has durably defined and holds everything.
    pub fn begin(&mut self, log: &Scribe) {
        self.scribe = Scribe::default();
        self.scribe.assume_definitions_of(log);
        self.is_other_needed = false;
        let _ = std::fs::remove_file(&self.paths[1 - self.active]);
        self.start_file();
    }

    /// Turns to the other file, at the moment that a flush collects what it will write.
    pub fn turn(&mut self) {
        if self.is_other_needed || self.order == 0 {
            return;
        }
        self.active = 1 - self.active;
        self.is_other_needed = true;
        self.scribe.forget_rows();
        self.start_file();
    }

    /// Empties the file before [`Self::turn`], once the flush has succeeded.
    pub fn release(&mut self) {
        self.is_other_needed = false;
        // Truncated rather than removed: on a disk that costs no folder update.
        let emptied =
            OpenOptions::new().write(true).open(&self.paths[1 - self.active]).and_then(|file| file.set_len(0));
        if let Err(error) = emptied
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.paths[1 - self.active].display(), %error, "cannot empty the tail");
        }
    }

    /// Prepares what an append has changed; done under the head's lock.
    pub fn prepare(&mut self, head: &Head, group: GroupId, accepted: &Accepted) {
        if self.file.is_none() {
            return;
        }
        self.buffer.clear();
        self.buffer.extend_from_slice(&[0; FRAME_LEN]);
        self.scribe.write_definitions(head, &mut self.buffer);
        if let Some(row) = &accepted.row {
            self.scribe.write_row(group, row, &mut self.buffer);
        }
        self.scribe.write_strays(&accepted.strays, &mut self.buffer);
    }

    /// Writes what was prepared; done without the head's lock.
    ///
    /// Gives how it went; `None` where there was nothing to write, or nothing to write to since an earlier failure:
    /// the next flush tries again.
    pub fn write(&mut self) -> Option<io::Result<()>> {
        if let Some(error) = self.start_error.take() {
            return Some(Err(error));
        }
        if self.buffer.len() <= FRAME_LEN {
            return None;
        }
        let len = (self.buffer.len() - FRAME_LEN) as u32;
        let checksum = crc32fast::hash(&self.buffer[FRAME_LEN..]);
        self.buffer[..4].copy_from_slice(&len.to_le_bytes());
        self.buffer[4..FRAME_LEN].copy_from_slice(&checksum.to_le_bytes());
        let file = self.file.as_mut()?;
        self.written += self.buffer.len() as u64;
        let outcome = if self.written > TAIL_BYTES_MAX {
            Err(io::Error::other("the tail has reached its bound"))
        } else {
            file.write_all(&self.buffer)
        };
        if outcome.is_err() {
            self.file = None;
            // What this append defined is lost: the next file must not lean on it.
            self.scribe = Scribe::default();
        }
        self.buffer.clear();
        self.buffer.shrink_to(256 * 1024);
        Some(outcome)
    }

    /// Removes both files, when the log has everything and the store closes.
    pub fn end(&mut self) {
        self.file = None;
        self.paths.iter().for_each(|path| drop(std::fs::remove_file(path)));
    }

    fn start_file(&mut self) {
        self.order += 1;
        self.written = 0;
        self.buffer.clear();
        let mut header = Vec::with_capacity(HEADER_LEN);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&self.lineage.to_le_bytes());
        header.extend_from_slice(&self.order.to_le_bytes());
        let path = &self.paths[self.active];
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        let open = || OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
        match made.and_then(|()| open()).and_then(|mut file| file.write_all(&header).map(|()| file)) {
            Ok(file) => (self.file, self.start_error) = (Some(file), None),
            Err(error) => (self.file, self.start_error) = (None, Some(error)),
        }
    }
}

/// A tail's place among the tails of a run, if it is one of that run's.
fn order_of(bytes: &[u8], lineage: u64) -> Option<u64> {
    let header = bytes.get(..HEADER_LEN)?;
    let is_of_run = header[..4] == MAGIC && header[4..12] == lineage.to_le_bytes();
    is_of_run.then(|| u64::from_le_bytes(header[12..].try_into().expect("eight bytes")))
}

fn next_frame<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (head, after) = rest.split_first_chunk::<FRAME_LEN>()?;
    let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let checksum = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    let payload = after.get(..len)?;
    *rest = &after[len..];
    (crc32fast::hash(payload) == checksum).then_some(payload)
}
