//! Reading a log back: what its files hold is found first ([`scan`]), then decided on, then decoded.
//!
//! Damage costs the records that it lies in. It is counted and named: which records of which file are
//! missing, and between which times their samples were.

use super::ending::{Ending, Fault, fault_of};
use super::record::{self, ALIGNMENT, Found};
use super::{CHECKPOINT_RECORDS, Current, Log, ReplaySink, SEGMENT_PREFIX, Segment, Stored};
use super::{Reader, Sink, StoreError};
use crate::model::{Labels, Timestamp};

/// What replaying found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Replayed {
    /// Records that were read.
    pub records: u64,
    /// Damaged places, cut files and unreadable files.
    pub damaged: u64,
    /// Rows that lean on what is lost.
    pub rows_skipped: u64,
    /// The run that wrote the newest record.
    pub lineage: u64,
}

/// Where a file begins; they are replayed in this order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct StartOf {
    sequence: u64,
    name: String,
    /// Whose its first record is.
    lineage: u64,
}

/// More records than any file holds.
const UNREADABLE_SEQUENCES: u64 = 1 << 32;

/// The records of a file.
pub(super) struct Scan<'a> {
    pub records: Vec<Found<'a>>,
    /// Where the last one ends.
    end: usize,
    pub damage: Vec<Damage>,
    /// A record that begins there and is not sound.
    pub ending: Option<Ending>,
}

/// Records that are missing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub first: u64,
    pub last: u64,
    /// The newest sample of the record before, and of the one behind.
    after: Option<Timestamp>,
    before: Timestamp,
}

/// Finds the records of a file, passing over what is damaged and what an earlier use of the file left.
pub(super) fn scan(bytes: &[u8]) -> Scan<'_> {
    let mut scan = Scan { records: Vec::new(), end: 0, damage: Vec::new(), ending: None };
    let (mut at, mut older_than) = (0, 0);
    while at < bytes.len() {
        let last = scan.last_sequence();
        match record::decode(&bytes[at..]) {
            Some(found)
                if last.is_none_or(|last| found.header.sequence > last) && found.header.sequence >= older_than =>
            {
                at += found.len();
                scan.push(found, at);
                scan.ending = None;
            }
            Some(found) => at += found.len(),
            None => {
                if at == scan.end && has_begun(&bytes[at..], last) {
                    let sequence = last.map_or(0, |last| last + 1);
                    let fault = fault_of(&bytes[at..]);
                    if last.is_none() && fault == Fault::Torn {
                        // What lies behind it is of an earlier use.
                        older_than = record::claimed_sequence(&bytes[at..]).unwrap_or(0);
                    }
                    scan.ending = Some(Ending { at, sequence, fault });
                }
                at += ALIGNMENT;
            }
        }
    }
    scan
}

/// Whether a page looks like the start of the record behind the one with sequence `last`, sound or not. A file begins with a
/// record or with zeros.
fn has_begun(bytes: &[u8], last: Option<u64>) -> bool {
    match last {
        Some(last) => record::begun(bytes, last + 1),
        None => bytes.iter().take(ALIGNMENT).any(|byte| *byte != 0),
    }
}

impl<'a> Scan<'a> {
    pub fn last_sequence(&self) -> Option<u64> {
        self.records.last().map(|found| found.header.sequence)
    }

    /// Whether another run has written on, or none, given whose the next file is.
    pub fn is_end_of_run(&self, next_lineage: Option<u64>) -> bool {
        self.records.last().map(|found| found.header.lineage) != next_lineage
    }

    fn newest(&self) -> Timestamp {
        self.records.iter().map(|found| found.header.newest).max().unwrap_or(Timestamp::MIN)
    }

    fn push(&mut self, found: Found<'a>, end: usize) {
        let header = &found.header;
        // A file begins with a checkpoint.
        let expected = self.last_sequence().map_or(header.checkpoint(), |last| last + 1);
        if header.sequence != expected {
            let after = self.records.last().map(|before| before.header.newest);
            let before = header.newest;
            self.damage.push(Damage { first: expected, last: header.sequence - 1, after, before });
        }
        self.end = end;
        self.records.push(found);
    }
}

impl Log {
    /// Plays all files, and goes on with the newest one.
    pub(super) fn replay(&mut self, stored: Stored, reader: &mut Reader, sink: &mut dyn ReplaySink) -> Replayed {
        let mut replayed = Replayed::default();
        let mut files = match self.find_files(&mut replayed) {
            Ok(files) => files,
            Err(error) => {
                tracing::error!(%error, "the log's folder cannot be listed; what it holds is missing");
                replayed.damaged += 1;
                return replayed;
            }
        };
        self.is_listed = true;
        files.sort_unstable();
        let mut files = files.into_iter().peekable();
        while let Some(StartOf { name, .. }) = files.next() {
            let next_lineage = files.peek().map(|next| next.lineage);
            match self.read(&name) {
                Ok(bytes) => self.replay_file(name, &bytes, next_lineage, stored, reader, sink, &mut replayed),
                Err(error) => self.report_unreadable(&name, &error, &mut replayed),
            }
        }
        replayed.rows_skipped = reader.rows_skipped;
        replayed
    }

    /// Reads a file, once more if the device fails once.
    fn read(&self, name: &str) -> std::io::Result<Vec<u8>> {
        self.folder.read(name).or_else(|_| self.folder.read(name))
    }

    /// Where the folder could not be listed at the start, or is another one now: what is in it stays as it is, for the
    /// next start. What this run has written is known.
    pub(super) fn find_late_files(&mut self) -> Result<(), StoreError> {
        let mut ignored = Replayed::default();
        let found = self.find_files(&mut ignored)?;
        self.spare.clear();
        let (mut own, mut unread) = (Vec::new(), 0);
        for StartOf { name, .. } in found {
            let bytes = self.folder.read(&name).map_err(|source| self.error("read", &name, source))?;
            let scan = scan(&bytes);
            let last_sequence = scan.last_sequence().unwrap_or(0);
            self.next_sequence = self.next_sequence.max(last_sequence + 1);
            if scan.records.iter().any(|found| found.header.lineage == self.lineage) {
                own.push(Segment { name, len: bytes.len() as u64, newest: scan.newest(), last_sequence });
            } else {
                unread += 1;
            }
        }
        self.closed.extend(own);
        if unread > 0 {
            tracing::error!(
                files = unread,
                "the log has files of another run: restart outpost to have their samples read"
            );
        }
        self.is_listed = true;
        Ok(())
    }

    /// Files with records. Others are free to be used, unless something begins in them.
    fn find_files(&mut self, replayed: &mut Replayed) -> Result<Vec<StartOf>, StoreError> {
        let listed = self.folder.list().or_else(|_| self.folder.list());
        let names = listed.map_err(|source| self.error("list", "", source))?;
        let mut files = Vec::new();
        for name in names {
            let Some(number) = name.strip_prefix(SEGMENT_PREFIX).and_then(|number| number.parse::<u64>().ok()) else {
                continue;
            };
            self.next_file = self.next_file.max(number + 1);
            match self.read(&name) {
                Ok(bytes) => {
                    let (scan, len) = (scan(&bytes), bytes.len() as u64);
                    let empty = |name| Segment { name, len, newest: Timestamp::MIN, last_sequence: 0 };
                    match (scan.records.first(), scan.ending) {
                        (Some(Found { header, .. }), _) => {
                            files.push(StartOf { sequence: header.sequence, name, lineage: header.lineage });
                        }
                        (None, Some(ending)) => {
                            self.report_ending(&name, &ending, true, replayed);
                            self.closed.push(empty(name));
                        }
                        (None, None) => self.spare.push(empty(name)),
                    }
                }
                Err(error) => self.report_unreadable(&name, &error, replayed),
            }
        }
        Ok(files)
    }

    #[expect(clippy::too_many_arguments, reason = "what a file is read into, and what decides on it")]
    fn replay_file(
        &mut self,
        name: String,
        bytes: &[u8],
        next_lineage: Option<u64>,
        stored: Stored,
        reader: &mut Reader,
        sink: &mut dyn ReplaySink,
        replayed: &mut Replayed,
    ) {
        let (scan, is_last) = (scan(bytes), next_lineage.is_none());
        let last_sequence = scan.last_sequence().unwrap_or(0);
        let segment = Segment { name, len: bytes.len() as u64, newest: scan.newest(), last_sequence };
        self.next_sequence = self.next_sequence.max(last_sequence + 1);
        if segment.newest < stored.until && last_sequence <= stored.sequence && !is_last {
            self.spare.push(segment);
            return;
        }
        self.report_damage(&segment.name, &scan, bytes.len(), replayed);
        if let Some(ending) = &scan.ending {
            self.report_ending(&segment.name, ending, scan.is_end_of_run(next_lineage), replayed);
        }
        for found in &scan.records {
            if let Err(error) = read_record(found, stored, reader, sink, replayed.lineage) {
                tracing::error!(path = %self.folder.path(&segment.name).display(), sequence = found.header.sequence, %error, "a log record makes no sense");
                replayed.damaged += 1;
                continue;
            }
            replayed.records += 1;
            replayed.lineage = found.header.lineage;
        }
        let is_whole = scan.ending.is_none();
        self.resume(segment, is_last && is_whole, scan.end as u64);
    }

    fn report_damage(&self, name: &str, scan: &Scan<'_>, len: usize, replayed: &mut Replayed) {
        let path = self.folder.path(name);
        for Damage { first, last, after, before } in &scan.damage {
            let after = after.map(|time| time.0);
            tracing::error!(
                path = %path.display(), first, last, after_ms = after, before_ms = before.0,
                "records of the log are damaged: their samples, between these times, are lost"
            );
            replayed.damaged += 1;
        }
        let expected = *self.segment_bytes.start();
        if (len as u64) < expected {
            tracing::error!(
                path = %path.display(), len, expected, last_read = scan.last_sequence(),
                "a log file is cut off: what was behind its end is lost"
            );
            replayed.damaged += 1;
        }
    }

    fn report_ending(&self, name: &str, ending: &Ending, is_end_of_run: bool, replayed: &mut Replayed) {
        let (path, at, sequence) = (self.folder.path(name), ending.at, ending.sequence);
        let text = ending.text(is_end_of_run);
        if ending.is_damage(is_end_of_run) {
            tracing::error!(path = %path.display(), at, sequence, "the log goes on in another file: {text}");
            replayed.damaged += 1;
        } else {
            // The flush in flight when the power went: nobody was told that it was done.
            tracing::warn!(path = %path.display(), at, sequence, "the log goes on in another file: {text}");
        }
    }

    fn report_unreadable(&mut self, name: &str, error: &std::io::Error, replayed: &mut Replayed) {
        // Whatever sequences it holds: new ones lie behind them.
        self.next_sequence += UNREADABLE_SEQUENCES;
        tracing::error!(path = %self.folder.path(name).display(), %error, "a log file cannot be read; its samples are missing");
        replayed.damaged += 1;
    }

    /// The newest file is written on from its end, if it has a clean one; the first new record is a checkpoint.
    fn resume(&mut self, segment: Segment, goes_on: bool, at: u64) {
        self.since_checkpoint = CHECKPOINT_RECORDS;
        match self.folder.open(&segment.name) {
            Ok(mut file) if goes_on => {
                // A run that was killed may have written what it did not live to sync.
                if let Err(error) = file.sync() {
                    tracing::error!(path = %self.folder.path(&segment.name).display(), %error, "cannot sync the log");
                    self.closed.push(segment);
                    return;
                }
                self.current = Some(Current { segment, file, at });
            }
            _ => self.closed.push(segment),
        }
    }
}

/// Reads one record; `lineage` is the run that wrote the one before.
fn read_record(
    found: &Found<'_>,
    stored: Stored,
    reader: &mut Reader,
    sink: &mut dyn ReplaySink,
    lineage: u64,
) -> Result<(), String> {
    let header = &found.header;
    reader.begin_record(header.checkpoint());
    let until = if header.sequence <= stored.sequence { stored.until } else { Timestamp::MIN };
    // Ids are those of a run: with another one none is known.
    sink.begin_record(until, header.is_checkpoint || header.lineage != lineage);
    let payload = found.payload().map_err(|error| error.to_string())?;
    reader.read(&payload, sink).map_err(|error| error.to_string())
}

/// Takes what a log says, and forgets it.
struct Nowhere;

impl Sink for Nowhere {
    fn group(&mut self, _: u32, _: &str) {}
    fn series(&mut self, _: u32, _: u32, _: &Labels) {}
    fn row(&mut self, _: u32, _: Timestamp, _: &[u32], _: &[f64]) {}
    fn stray(&mut self, _: u32, _: Timestamp, _: f64) {}
}

impl ReplaySink for Nowhere {
    fn begin_record(&mut self, _: Timestamp, _: bool) {}
}

/// How many records of a log file's bytes make sense. For fuzzing.
pub(in crate::store) fn count_records(bytes: &[u8]) -> usize {
    let (stored, mut reader) = (Stored { sequence: 0, until: Timestamp::MIN }, Reader::default());
    let records = scan(bytes).records;
    records.iter().filter(|found| read_record(found, stored, &mut reader, &mut Nowhere, 0).is_ok()).count()
}

/// Whether entries make sense, read twice as two records are. For fuzzing: no checksum stands before them.
pub(in crate::store) fn read_entries(payload: &[u8]) -> bool {
    let mut reader = Reader::default();
    let first = reader.read(payload, &mut Nowhere).is_ok();
    reader.begin_record(0);
    first && reader.read(payload, &mut Nowhere).is_ok()
}

/// The entries of all records of a file.
#[cfg(test)]
pub(in crate::store) fn payloads(bytes: &[u8]) -> Vec<Vec<u8>> {
    scan(bytes).records.iter().map(|found| found.payload().expect("not damaged")).collect()
}
