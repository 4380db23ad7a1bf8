//! The log: what makes samples durable before they are in blocks.
//!
//! Segment files are written with zeros once and then used over and over, since overwriting costs a
//! third of what growing a file costs at the device (20 KiB against 35 KiB for one 4 KiB record on
//! ext4). Every flush adds one aligned, checksummed record ([`record`]) with all new samples and what
//! they need to be understood ([`entry`]), then waits for the device. A checkpoint record defines
//! everything anew: at the start of each file and every [`CHECKPOINT_RECORDS`] records, so that damage
//! in the middle costs no more than the way to the next checkpoint.
//!
//! Failing: an error or a failed sync abandons the file. Nothing in it is rewritten or trusted as
//! durable from then on; the next flush writes the same samples again into another file.
//!
//! Between flushes the newest samples sit in the tail ([`tail`]), where kill -9 does not reach them.

mod entry;
mod folder;
mod record;
mod row;
pub(super) mod tail;

pub(super) use entry::{Reader, Scribe, Sink};
pub(super) use folder::{DiskFolder, Folder, LogFile};

use std::sync::RwLock;

use self::record::{ALIGNMENT, Header};
use super::StoreError;
use super::head::{Head, Unlogged};
use crate::model::Timestamp;

/// Records from one checkpoint to the next: half an hour at the default flush interval.
const CHECKPOINT_RECORDS: u32 = 64;
/// Payloads are split into records at about this size.
const PAYLOAD_BYTES: usize = 1 << 20;
/// Recycled files kept beyond what is in use; more are removed.
const SPARES_MAX: usize = 3;
const SEGMENT_PREFIX: &str = "segment-";

/// The log, open for writing.
pub(super) struct Log {
    folder: Box<dyn Folder>,
    segment_bytes: u64,
    lineage: u64,
    /// The sequence of the next record.
    next_sequence: u64,
    /// The number of the next new file.
    next_file: u64,
    current: Option<Current>,
    closed: Vec<Segment>,
    spare: Vec<String>,
    scribe: Scribe,
    since_checkpoint: u32,
}

struct Current {
    segment: Segment,
    file: Box<dyn LogFile>,
    len: u64,
    at: u64,
}

/// A file with records.
struct Segment {
    name: String,
    newest: Timestamp,
    last_sequence: u64,
}

/// What replaying found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Replayed {
    /// Records that were read.
    pub records: u64,
    /// Places where damage was skipped: a later record was still readable.
    pub damaged: u64,
    /// The run that wrote the newest record.
    pub lineage: u64,
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
        segment_bytes: u64,
        lineage: u64,
        stored: Stored,
        reader: &mut Reader,
        sink: &mut dyn ReplaySink,
    ) -> Result<(Self, Replayed), StoreError> {
        let segment_bytes = segment_bytes.next_multiple_of(ALIGNMENT as u64);
        let mut log = Self {
            folder,
            segment_bytes,
            lineage,
            next_sequence: 1,
            next_file: 1,
            current: None,
            closed: Vec::new(),
            spare: Vec::new(),
            scribe: Scribe::default(),
            since_checkpoint: 0,
        };
        let replayed = log.replay(stored, reader, sink)?;
        Ok((log, replayed))
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
        self.spare.extend(free.into_iter().map(|segment: Segment| segment.name));
        while self.spare.len() > SPARES_MAX
            && let Some(name) = self.spare.pop()
        {
            if let Err(error) = self.folder.remove(&name) {
                tracing::warn!(path = %self.folder.path(&name).display(), %error, "cannot remove a log file");
            }
        }
    }

    /// Bytes of all files.
    pub fn disk_bytes(&self) -> u64 {
        let files = self.closed.len() + self.spare.len() + usize::from(self.current.is_some());
        files as u64 * self.segment_bytes
    }

    fn try_write(&mut self, head: &RwLock<Head>, unlogged: &Unlogged) -> Result<u64, StoreError> {
        let is_due = self.since_checkpoint >= CHECKPOINT_RECORDS;
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
        self.current.as_ref().is_some_and(|current| current.at + len as u64 <= current.len)
    }

    /// The records of one flush.
    fn encode(
        &mut self,
        head: &RwLock<Head>,
        unlogged: &Unlogged,
        is_checkpoint: bool,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        if is_checkpoint {
            self.scribe = Scribe::default();
        }
        let (mut payloads, mut payload) = (Vec::new(), Vec::new());
        self.scribe.write_definitions(&head.read().expect("no holder of the lock panics"), &mut payload);
        for (group, view) in &unlogged.groups {
            self.scribe.write_view(*group, view, &mut payload, |payload| {
                if payload.len() >= PAYLOAD_BYTES {
                    payloads.push(std::mem::take(payload));
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
        let outcome = outcome.and_then(|()| current.file.sync());
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
        while let Some(name) = self.spare.pop() {
            let opened = self.folder.open(&name).and_then(|file| Ok((file.len()?, file)));
            match opened {
                Ok((capacity, file)) if capacity >= len => {
                    self.start(name, file, capacity);
                    return Ok(());
                }
                // Too small for this, or unreadable: of no more use.
                _ => drop(self.folder.remove(&name)),
            }
        }
        let name = format!("{SEGMENT_PREFIX}{:08}", self.next_file);
        let capacity = self.segment_bytes.max(len);
        let file = self.folder.create(&name, capacity).map_err(|source| self.error("create", &name, source))?;
        self.next_file += 1;
        self.start(name, file, capacity);
        Ok(())
    }

    fn start(&mut self, name: String, file: Box<dyn LogFile>, len: u64) {
        let segment = Segment { name, newest: Timestamp::MIN, last_sequence: 0 };
        self.current = Some(Current { segment, file, len, at: 0 });
    }

    /// Writes no further to the current file. What it holds stays until blocks hold it.
    fn abandon(&mut self) {
        self.closed.extend(self.current.take().map(|current| current.segment));
    }

    fn error(&self, action: &'static str, name: &str, source: std::io::Error) -> StoreError {
        StoreError::Io { action, path: self.folder.path(name), source }
    }

    fn replay(
        &mut self,
        stored: Stored,
        reader: &mut Reader,
        sink: &mut dyn ReplaySink,
    ) -> Result<Replayed, StoreError> {
        let names = self.folder.list().map_err(|source| self.error("list", "", source))?;
        let mut files = Vec::new();
        for name in names {
            let Some(number) = name.strip_prefix(SEGMENT_PREFIX).and_then(|number| number.parse::<u64>().ok()) else {
                continue;
            };
            self.next_file = self.next_file.max(number + 1);
            match self.folder.read(&name) {
                Ok(bytes) => match first_record(&bytes) {
                    Some(sequence) => files.push((sequence, name)),
                    None => self.spare.push(name),
                },
                Err(error) => {
                    tracing::error!(path = %self.folder.path(&name).display(), %error, "cannot read a log file; its samples are lost");
                }
            }
        }
        files.sort_unstable();
        let mut replayed = Replayed::default();
        let last = files.len();
        for (index, (_, name)) in files.into_iter().enumerate() {
            self.replay_file(name, index + 1 == last, stored, reader, sink, &mut replayed);
        }
        Ok(replayed)
    }

    fn replay_file(
        &mut self,
        name: String,
        is_last: bool,
        stored: Stored,
        reader: &mut Reader,
        sink: &mut dyn ReplaySink,
        replayed: &mut Replayed,
    ) {
        let Ok(bytes) = self.folder.read(&name) else { return };
        let mut segment = Segment { name, newest: Timestamp::MIN, last_sequence: 0 };
        let mut walk = Walk { bytes: &bytes, at: 0, last: None };
        let records: Vec<record::Found<'_>> = std::iter::from_fn(|| walk.next()).collect();
        let end = walk.at;
        for found in &records {
            segment.newest = segment.newest.max(found.header.newest);
            segment.last_sequence = found.header.sequence;
        }
        self.next_sequence = self.next_sequence.max(segment.last_sequence + 1);
        if segment.newest < stored.until && segment.last_sequence <= stored.sequence && !is_last {
            self.spare.push(segment.name);
            return;
        }
        let mut is_readable = false;
        let mut expected = None;
        for found in &records {
            let header = &found.header;
            let follows = expected == Some(header.sequence);
            replayed.damaged += u64::from(expected.is_some() && !follows);
            is_readable = header.is_checkpoint || (is_readable && follows);
            expected = Some(header.sequence + 1);
            if !is_readable {
                continue;
            }
            if header.is_checkpoint {
                reader.forget_rows();
            }
            let until = if header.sequence <= stored.sequence { stored.until } else { Timestamp::MIN };
            sink.begin_record(until, header.is_checkpoint);
            let outcome = found
                .payload()
                .map_err(|error| error.to_string())
                .and_then(|payload| reader.read(&payload, sink).map_err(|error| error.to_string()));
            if let Err(error) = outcome {
                tracing::error!(path = %self.folder.path(&segment.name).display(), sequence = header.sequence, %error, "a log record makes no sense");
                replayed.damaged += 1;
                is_readable = false;
                continue;
            }
            replayed.records += 1;
            replayed.lineage = header.lineage;
        }
        self.resume(segment, is_last, end as u64, bytes.len() as u64);
    }

    /// The newest file is written on from its last good record; the first new record is a checkpoint.
    fn resume(&mut self, segment: Segment, is_last: bool, at: u64, len: u64) {
        self.since_checkpoint = CHECKPOINT_RECORDS;
        match self.folder.open(&segment.name) {
            Ok(mut file) if is_last => {
                // A run that was killed may have written what it did not live to sync.
                if let Err(error) = file.sync() {
                    tracing::error!(path = %self.folder.path(&segment.name).display(), %error, "cannot sync the log");
                    self.closed.push(segment);
                    return;
                }
                self.current = Some(Current { segment, file, len, at });
            }
            _ => self.closed.push(segment),
        }
    }
}

/// The sequence of the first undamaged record of a file.
fn first_record(bytes: &[u8]) -> Option<u64> {
    Walk { bytes, at: 0, last: None }.next().map(|found| found.header.sequence)
}

/// Goes through the records of a file, over damaged ones, and stops where what an earlier use of the
/// file left behind begins.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    last: Option<u64>,
}

impl<'a> Walk<'a> {
    fn next(&mut self) -> Option<record::Found<'a>> {
        let mut at = self.at;
        while at < self.bytes.len() {
            match record::decode(&self.bytes[at..]) {
                Some(found) if self.last.is_none_or(|last| found.header.sequence > last) => {
                    self.at = at + found.len();
                    self.last = Some(found.header.sequence);
                    return Some(found);
                }
                Some(found) => at += found.len(),
                None => at += ALIGNMENT,
            }
        }
        None
    }
}
