//! The log: what makes samples durable before they are in blocks.
//!
//! Segment files are written with zeros once and then used over and over, since overwriting costs a
//! third of what growing a file costs at the device (20 KiB against 35 KiB for one 4 KiB record on
//! ext4). Every flush adds one aligned, checksummed record ([`record`]) with all new samples and what
//! they need to be understood ([`entry`]), then waits for the device. A checkpoint record defines
//! everything anew: at the start of each file and every [`CHECKPOINT_RECORDS`] records. What a record defines
//! is defined again by the next one, so that a damaged record costs itself alone.
//!
//! Failing: an error or a failed sync abandons the file. Nothing in it is rewritten or trusted as
//! durable from then on; the next flush writes the same samples again into another file.
//!
//! Between flushes the newest samples sit in the tail ([`tail`]), where kill -9 does not reach them.

mod bits;
mod check;
mod ending;
mod entry;
mod folder;
mod record;
mod replay;
mod row;
pub(super) mod tail;

pub(super) use check::check;
pub(super) use entry::{Reader, Scribe, Sink};
pub(super) use folder::{DiskFolder, Folder, LogFile};
#[cfg(test)]
pub(super) use replay::payloads;
pub(super) use replay::{Replayed, count_records, read_entries};

use std::ops::RangeInclusive;
use std::sync::RwLock;

use self::record::{ALIGNMENT, Header};
use super::StoreError;
use super::file_id::{is_absence, is_gone};
use super::head::{Head, Unlogged};
use crate::model::Timestamp;

/// Records from one checkpoint to the next: two hours at the default flush interval. A checkpoint of a site of 2,500
/// series takes 24 to 28 KB, twice; rows become longer with the distance to their anchors, by half after two hours.
const CHECKPOINT_RECORDS: u32 = 256;
/// So many at least where a checkpoint is wanted since layouts have changed.
const CHECKPOINT_RECORDS_MIN: u32 = 8;
/// Payloads are split into records at about this size.
const PAYLOAD_BYTES: usize = 1 << 20;
/// A file has room for so many times what it begins with, at least: that is mostly a checkpoint, which each file has anew.
const SEGMENT_CHECKPOINTS_MIN: u64 = 8;
/// What a file is made longer than what it begins with, at most: that may be hours of samples of a disk that was away.
const SEGMENT_BYTES_MORE_MAX: u64 = 16 << 20;
/// Recycled files kept beyond what is in use; more are removed.
const SPARES_MAX: usize = 3;
const SEGMENT_PREFIX: &str = "segment-";

/// The log, open for writing.
pub(super) struct Log {
    folder: Box<dyn Folder>,
    /// How long a file is usually, and at most: it is longer only where one flush needs more.
    segment_bytes: RangeInclusive<u64>,
    lineage: u64,
    /// The sequence of the next record.
    next_sequence: u64,
    /// The number of the next new file.
    next_file: u64,
    made_bytes: u64,
    current: Option<Current>,
    closed: Vec<Segment>,
    spare: Vec<Segment>,
    scribe: Scribe,
    /// The sequence of the newest checkpoint.
    checkpoint: u64,
    /// Flushes since then.
    since_checkpoint: u32,
    /// The last write failed: what the next one leaves on the device is read back.
    has_failed: bool,
    /// All files are known. Where the folder could not be listed none may be made yet.
    is_listed: bool,
}

struct Current {
    segment: Segment,
    file: Box<dyn LogFile>,
    at: u64,
}

/// A file with records.
struct Segment {
    name: String,
    len: u64,
    newest: Timestamp,
    last_sequence: u64,
}

/// Samples that blocks hold already: those in records up to `sequence` that are older than `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub sequence: u64,
    pub until: Timestamp,
}

/// Receives what a log says, and whether a sample is in blocks already.
pub(super) trait ReplaySink: Sink {
    /// Samples older than this that follow are in blocks already.
    fn begin_record(&mut self, stored_until: Timestamp, is_checkpoint: bool);
}

impl Log {
    /// Opens the log and plays all records into `sink`, oldest first.
    pub fn open(
        folder: Box<dyn Folder>,
        segment_bytes: RangeInclusive<u64>,
        lineage: u64,
        stored: Stored,
        reader: &mut Reader,
        sink: &mut dyn ReplaySink,
    ) -> (Self, Replayed) {
        let (usual, most) = segment_bytes.into_inner();
        let segment_bytes = usual.next_multiple_of(ALIGNMENT as u64)..=most.next_multiple_of(ALIGNMENT as u64);
        let mut log = Self {
            folder,
            segment_bytes,
            lineage,
            next_sequence: 1,
            next_file: 1,
            made_bytes: 0,
            current: None,
            closed: Vec::new(),
            spare: Vec::new(),
            scribe: Scribe::default(),
            checkpoint: 0,
            since_checkpoint: 0,
            has_failed: false,
            is_listed: false,
        };
        let replayed = log.replay(stored, reader, sink);
        (log, replayed)
    }

    /// The sequence of the newest record.
    pub fn last_sequence(&self) -> u64 {
        self.next_sequence - 1
    }

    /// What the log has defined so far.
    pub fn scribe(&self) -> &Scribe {
        &self.scribe
    }

    /// Writes what memory has and the log has not, and waits until it is on the device. Gives the
    /// bytes written.
    pub fn write(&mut self, head: &RwLock<Head>, unlogged: &Unlogged) -> Result<u64, StoreError> {
        let outcome = self.try_write(head, unlogged);
        self.has_failed = outcome.is_err();
        if outcome.is_err() {
            self.abandon();
        }
        outcome
    }

    /// Frees the files that hold nothing but what blocks hold.
    pub fn recycle(&mut self, stored: Stored) {
        let is_stored = |segment: &Segment| segment.newest < stored.until && segment.last_sequence <= stored.sequence;
        let (free, kept) = self.closed.drain(..).partition(is_stored);
        self.closed = kept;
        self.spare.extend(free);
        self.trim_spares();
    }

    /// Removes spare files that are too many, or longer than files may be by now.
    fn trim_spares(&mut self) {
        let mut excess = self.spare.len().saturating_sub(SPARES_MAX);
        self.spare.retain(|segment| {
            let is_kept = segment.len <= *self.segment_bytes.end() && excess == 0;
            if !is_kept {
                excess = excess.saturating_sub(1);
                if let Err(error) = self.folder.remove(&segment.name) {
                    tracing::warn!(path = %self.folder.path(&segment.name).display(), %error, "cannot remove a log file");
                }
            }
            is_kept
        });
    }

    /// Bytes of the file that is written.
    pub fn file_bytes(&self) -> u64 {
        self.current.as_ref().map_or(*self.segment_bytes.start(), |current| current.segment.len)
    }

    /// Whether all files are where they were: a folder may be removed or replaced while files in it are open.
    pub fn is_in_place(&self) -> bool {
        let is_current_gone = self.current.as_ref().is_some_and(|current| {
            let held = current.file.id();
            held.is_ok_and(|held| is_gone(held, &self.folder.id(&current.segment.name)))
        });
        let is_gone = |segment: &Segment| self.folder.id(&segment.name).is_err_and(|error| is_absence(&error));
        !is_current_gone && !self.closed.iter().any(is_gone)
    }

    /// Leaves all files: what lies in the folder now is looked at before the next record is written.
    pub fn leave(&mut self) {
        self.current = None;
        self.closed.clear();
        self.spare.clear();
        self.is_listed = false;
    }

    /// The next record lies behind all that blocks hold up to `sequence`.
    pub fn skip(&mut self, sequence: u64) {
        self.next_sequence = self.next_sequence.max(sequence.saturating_add(1));
    }

    /// Bytes of all files that this run has made.
    pub fn made_bytes(&self) -> u64 {
        self.made_bytes
    }

    fn try_write(&mut self, head: &RwLock<Head>, unlogged: &Unlogged) -> Result<u64, StoreError> {
        if !self.is_listed {
            // First of all: what is written now lies behind what is there.
            self.find_late_files()?;
        }
        self.trim_spares();
        let is_worth_while = self.scribe.is_outgrown() && self.since_checkpoint >= CHECKPOINT_RECORDS_MIN;
        let is_due = is_worth_while || self.since_checkpoint >= CHECKPOINT_RECORDS;
        if self.current.is_some() && !is_due {
            let records = self.encode(head, unlogged, false)?;
            if self.fits(&records) {
                return self.put(&records, unlogged.newest());
            }
            // Rows were written against others that stay in this file: all anew for the next one.
            self.next_sequence -= records.len() as u64;
        }
        let records = self.encode(head, unlogged, true)?;
        if !self.fits(&records) {
            self.next_segment(records.iter().map(|record| record.len() as u64).sum())?;
        }
        self.since_checkpoint = 0;
        self.put(&records, unlogged.newest())
    }

    fn fits(&self, records: &[Vec<u8>]) -> bool {
        let len: usize = records.iter().map(Vec::len).sum();
        self.current.as_ref().is_some_and(|current| current.at + len as u64 <= current.segment.len)
    }

    /// The records of one flush.
    fn encode(
        &mut self,
        head: &RwLock<Head>,
        unlogged: &Unlogged,
        is_checkpoint: bool,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        if is_checkpoint {
            self.scribe = Scribe::with_anchors();
            self.checkpoint = self.next_sequence;
        }
        let (mut payloads, mut payload) = (Vec::new(), Vec::new());
        self.scribe.begin_flush(&head.read().expect("no holder of the lock panics"), &mut payload);
        for (group, view) in &unlogged.groups {
            self.scribe.write_view(*group, view, &mut payload, |scribe, payload| {
                if payload.len() >= PAYLOAD_BYTES {
                    payloads.push(std::mem::take(payload));
                    scribe.begin_record();
                }
            });
        }
        self.scribe.write_strays(&unlogged.strays, &mut payload);
        payloads.push(payload);
        let mut records = Vec::with_capacity(payloads.len());
        for (index, payload) in payloads.iter().enumerate() {
            let header = Header {
                sequence: self.next_sequence,
                lineage: self.lineage,
                is_checkpoint: is_checkpoint && index == 0,
                since_checkpoint: u32::try_from(self.next_sequence - self.checkpoint).unwrap_or(u32::MAX),
                newest: unlogged.newest(),
            };
            records
                .push(record::encode(&header, payload).map_err(|source| self.error("pack a record for", "", source))?);
            self.next_sequence += 1;
        }
        Ok(records)
    }

    fn put(&mut self, records: &[Vec<u8>], newest: Timestamp) -> Result<u64, StoreError> {
        let current = self.current.as_mut().expect("there is a file that the records fit");
        let mut written = 0;
        let mut outcome = Ok(());
        for record in records {
            outcome = outcome.and_then(|()| current.file.write_at(record, current.at));
            current.at += record.len() as u64;
            written += record.len() as u64;
        }
        let mut outcome = outcome.and_then(|()| current.file.sync());
        if self.has_failed {
            outcome = outcome.and_then(|()| verify(current, records));
        }
        current.segment.newest = current.segment.newest.max(newest);
        current.segment.last_sequence = self.next_sequence - 1;
        self.since_checkpoint += 1;
        let name = current.segment.name.clone();
        outcome.map_err(|source| self.error("write", &name, source))?;
        Ok(written)
    }

    /// Closes the current file and starts another one with room for `len` bytes.
    fn next_segment(&mut self, len: u64) -> Result<(), StoreError> {
        self.abandon();
        // What grows does not outgrow each file anew.
        let enough = len.saturating_mul(SEGMENT_CHECKPOINTS_MIN).min(len + SEGMENT_BYTES_MORE_MAX);
        let enough = enough.min(*self.segment_bytes.end()).max(len);
        while let Some(Segment { name, .. }) = self.spare.pop() {
            let opened = self.folder.open(&name).and_then(|file| Ok((file.len()?, file)));
            match opened {
                Ok((capacity, file)) if capacity >= enough => {
                    self.start(name, file, capacity);
                    return Ok(());
                }
                // Too small for this, or unreadable: of no more use.
                _ => drop(self.folder.remove(&name)),
            }
        }
        let least = len.max(*self.segment_bytes.start());
        let wanted = self.segment_bytes_for(len);
        if wanted > least && self.make_segment(wanted).is_ok() {
            return Ok(());
        }
        self.make_segment(least)
    }

    /// How long a file should be that begins with `len` bytes, which are mostly its checkpoint: one that took most of
    /// the file would soon be followed by another one.
    fn segment_bytes_for(&self, len: u64) -> u64 {
        let (usual, most) = self.segment_bytes.clone().into_inner();
        if len.saturating_mul(SEGMENT_CHECKPOINTS_MIN) <= usual {
            return usual;
        }
        let further = len.saturating_mul(2 * SEGMENT_CHECKPOINTS_MIN - 1);
        (len + further.min(SEGMENT_BYTES_MORE_MAX)).min(most)
    }

    fn make_segment(&mut self, capacity: u64) -> Result<(), StoreError> {
        let name = format!("{SEGMENT_PREFIX}{:08}", self.next_file);
        // A name is used once, whatever became of its file.
        self.next_file += 1;
        let file = self.folder.create(&name, capacity).map_err(|source| self.error("create", &name, source))?;
        self.made_bytes += capacity;
        self.start(name, file, capacity);
        Ok(())
    }

    fn start(&mut self, name: String, file: Box<dyn LogFile>, len: u64) {
        let segment = Segment { name, len, newest: Timestamp::MIN, last_sequence: 0 };
        self.current = Some(Current { segment, file, at: 0 });
    }

    /// Writes no further to the current file. What it holds stays until blocks hold it.
    pub fn abandon(&mut self) {
        self.closed.extend(self.current.take().map(|current| current.segment));
    }

    fn error(&self, action: &'static str, name: &str, source: std::io::Error) -> StoreError {
        StoreError::Io { action, path: self.folder.path(name), source }
    }
}

/// Whether the device gives back what was just written: after a failure a sync alone is not believed.
fn verify(current: &mut Current, records: &[Vec<u8>]) -> std::io::Result<()> {
    let len: usize = records.iter().map(Vec::len).sum();
    let read = current.file.read_back(current.at - len as u64, len)?;
    if read == records.concat() { Ok(()) } else { Err(std::io::Error::other("the device gives back something else")) }
}
