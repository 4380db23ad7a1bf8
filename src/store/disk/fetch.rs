//! Unpacking ahead: a read takes from each segment, once, what the next series in line need.
//!
//! Series come in label order, but one metric's series are spread over all targets, and each segment
//! holds up to 64 of one target's. Read one series at a time, a week of ten targets unpacks every segment
//! dozens of times (a cache would have to hold them all). So the series in line are located first, as
//! many as [`BATCH_BYTES`] will hold; then each segment they touch is opened once, in the order of the
//! file, and their columns are kept packed ([`Packed`]) until their turn. Many segments are unpacked by
//! several threads, while this one reads the next ones.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};

use foldhash::fast::FixedState;

use super::Shared;
use super::select::{CHECK_INTERVAL, Memory, Sources};
use crate::codec::{CodecError, Integers, Presences, Segment, SegmentReader, Unpacker, absent, is_absent};
use crate::model::{TimeRange, Timestamp};
use crate::store::blocks::{Selection, StoredSegment};
use crate::store::head::{Frame, GroupView};
use crate::store::packed::Packed;
use crate::store::{GroupId, ReadOptions, Samples, StoreError};

/// What the columns of one batch may take, about. Half of this means twice the unpacking only where
/// a query reads more than this, which is some thirty weeks of a series.
const BATCH_BYTES: usize = 8 << 20;
/// What they may take where that spares them packing: all of 50,000 series' last five minutes.
const PLAIN_BATCH_BYTES: usize = 16 << 20;
/// Columns with more samples than this on average are worth packing.
const PLAIN_SAMPLES_MAX: usize = 64;
/// What a sample is taken to need until a batch has shown it.
const SAMPLE_BYTES_ASSUMED: usize = 3;
/// From so many samples on, several milliseconds of work, threads are worth their start.
const SHARED_SAMPLES_MIN: usize = 1 << 18;
/// Threads that unpack for one read at most.
const THREADS_MAX: usize = 4;

/// What a read looks into.
pub(super) struct Places<'a> {
    pub groups: HashMap<GroupId, GroupView, FixedState>,
    pub selection: Option<Selection<'a>>,
}

/// The samples of one series between two times, part of a segment or of rows.
struct Piece {
    /// The first time that counts.
    first: u32,
    count: u32,
    values: Values,
}

/// How values wait.
enum Values {
    /// As they are, from here on among the plain values of their segment: there are few.
    Plain { start: u32, has_absent: bool },
    /// Packed.
    Packed(Packed),
}

/// Which of the two it is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    Packed,
}

/// What has been unpacked for the next series in line.
#[derive(Default)]
pub(super) struct Fetched {
    segments: Vec<Unpacked>,
    /// Segment and piece, by series and then in the order of segments.
    places: Vec<(u32, u32)>,
    /// Where the places of each series end; they begin where those before end.
    ends: Vec<u32>,
    /// How many series have had their turn.
    given: usize,
}

impl Fetched {
    fn of(segments: Vec<Unpacked>, series_count: usize) -> Self {
        // Counted, and then put where the counts say.
        let mut ends = vec![0u32; series_count + 1];
        let numbers = segments.iter().flat_map(|segment| &segment.pieces).map(|(series, _)| *series as usize);
        numbers.for_each(|series| ends[series + 1] += 1);
        for series in 0..series_count {
            ends[series + 1] += ends[series];
        }
        let mut places = vec![(0, 0); ends[series_count] as usize];
        for (number, segment) in (0u32..).zip(&segments) {
            for (piece, (series, _)) in (0u32..).zip(&segment.pieces) {
                // What begins here moves up to its own end, where the next begins.
                let end = &mut ends[*series as usize];
                places[*end as usize] = (number, piece);
                *end += 1;
            }
        }
        Self { segments, places, ends, given: 0 }
    }

    /// Whether all series have had their turn.
    pub fn is_over(&self) -> bool {
        self.given + 1 >= self.ends.len()
    }

    /// Appends the samples of the next series in line.
    pub fn push_next(&mut self, places: &Places<'_>, samples: &mut Samples) {
        let start = self.given.checked_sub(1).map_or(0, |before| self.ends[before]);
        let end = self.ends[self.given];
        self.given += 1;
        for (segment, piece) in &self.places[start as usize..end as usize] {
            let segment = &self.segments[*segment as usize];
            segment.pieces[*piece as usize].1.push_to(segment.times.slice(places), &segment.plain, samples);
        }
    }
}

/// The times of a segment or of rows.
#[derive(Clone)]
enum Times {
    /// The common times of a part.
    Part(u32),
    Frame(Arc<Frame>),
    Own(Arc<[Timestamp]>),
}

/// A column that a series needs. Ordered by where it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Need {
    source: Source,
    /// Counts from the batch's first series.
    series: u32,
    column: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Block {
        part: u32,
        entry: u32,
    },
    Frame {
        group: GroupId,
        frame: u32,
        segment: u32,
    },
    /// Rows of memory that share their columns, from this one on.
    Rows {
        group: GroupId,
        first: u32,
    },
}

/// Fetches batch by batch.
pub(super) struct Fetcher {
    /// What a sample took in the last batch, in bytes.
    sample_bytes: usize,
    /// [`PLAIN_BATCH_BYTES`] but in tests.
    pub plain_bytes_max: usize,
    /// [`SHARED_SAMPLES_MIN`] but in tests.
    pub shared_samples_min: usize,
}

impl Default for Fetcher {
    fn default() -> Self {
        Self {
            sample_bytes: SAMPLE_BYTES_ASSUMED,
            plain_bytes_max: PLAIN_BATCH_BYTES,
            shared_samples_min: SHARED_SAMPLES_MIN,
        }
    }
}

impl Fetcher {
    /// The pieces of the first series in line, as many of them as fit; at least one series, if any.
    pub fn fetch<'s>(
        &mut self,
        line: impl Iterator<Item = &'s Sources>,
        places: &Places<'_>,
        options: &ReadOptions,
        shared: &Shared,
    ) -> Result<Fetched, StoreError> {
        let (mut needs, mut located) = (Vec::new(), Located::default());
        let mut count = 0;
        for sources in line {
            let fixed_bytes = located.in_rows * size_of::<f64>() + needs.len() * size_of::<(Need, Piece)>();
            if located.in_segments.saturating_mul(self.sample_bytes) + fixed_bytes >= BATCH_BYTES {
                break;
            }
            if count % CHECK_INTERVAL == 0 {
                options.check()?;
            }
            locate(sources, count as u32, places, options.range, &mut needs, &mut located);
            count += 1;
        }
        needs.sort_unstable();
        let samples = located.in_segments;
        let plain_bytes = (samples + located.in_rows) * size_of::<f64>() + needs.len() * size_of::<(Need, Piece)>();
        let is_short = samples <= needs.len() * PLAIN_SAMPLES_MAX;
        let form = if is_short && plain_bytes <= self.plain_bytes_max { Form::Plain } else { Form::Packed };
        let batch = Batch { places, options, shared, form };
        // Asking for the processors reads files of the cgroup: not for each of a rule's small reads.
        let threads = match samples >= self.shared_samples_min {
            true => std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX),
            false => 1,
        };
        let mut unpacked = match threads > 1 {
            true => batch.unpack_shared(&needs, threads)?,
            false => batch.unpack_here(&needs)?,
        };
        let mut bytes = 0;
        for unpacked in &mut unpacked {
            if !matches!(unpacked.source, Source::Rows { .. }) {
                shared.metrics.segments_read.inc();
            }
            bytes += unpacked.bytes;
            batch.report(unpacked.source, std::mem::take(&mut unpacked.damage));
        }
        if form == Form::Packed
            && let Some(sample_bytes) = bytes.checked_div(samples)
        {
            self.sample_bytes = sample_bytes.max(1);
        }
        Ok(Fetched::of(unpacked, count))
    }
}

/// What the unpacking of one batch has in common.
#[derive(Clone, Copy)]
struct Batch<'a> {
    places: &'a Places<'a>,
    options: &'a ReadOptions,
    shared: &'a Shared,
    form: Form,
}

impl<'a> Batch<'a> {
    fn unpack_here(&self, needs: &'a [Need]) -> Result<Vec<Unpacked>, StoreError> {
        let mut worker = self.shared.workers.take();
        let mut unpacked = Vec::new();
        for needs in needs.chunk_by(|a, b| a.source == b.source) {
            self.options.check()?;
            match self.rows_of(needs) {
                Some(rows) => unpacked.push(rows),
                None => unpacked.extend(self.read(needs).map(|packed| worker.unpack(&packed))),
            }
        }
        self.shared.workers.give_back(worker);
        Ok(unpacked)
    }

    /// The same by several threads. They are given segments as bytes: the database is this thread's.
    fn unpack_shared(&self, needs: &'a [Need], threads: usize) -> Result<Vec<Unpacked>, StoreError> {
        let (sender, receiver) = sync_channel(2 * threads);
        let receiver = Mutex::new(receiver);
        std::thread::scope(|scope| {
            let start = |_| std::thread::Builder::new().spawn_scoped(scope, || unpack_all(&receiver)).ok();
            let workers: Vec<_> = (0..threads).filter_map(start).collect();
            if workers.is_empty() {
                return self.unpack_here(needs);
            }
            let (mut outcome, mut unpacked) = (Ok(()), Vec::new());
            for needs in needs.chunk_by(|a, b| a.source == b.source) {
                outcome = self.options.check();
                if outcome.is_err() {
                    break;
                }
                if let Some(rows) = self.rows_of(needs) {
                    unpacked.push(rows);
                } else if let Some(packed) = self.read(needs) {
                    sender.send(packed).expect("the receiver outlives its users");
                }
            }
            drop(sender);
            for worker in workers {
                unpacked.extend(worker.join().expect("a worker does not panic"));
            }
            // Pieces of a series are in order of time, or nearly, where segments are in that of the file.
            unpacked.sort_unstable_by_key(|unpacked: &Unpacked| unpacked.source);
            outcome.map(|()| unpacked)
        })
    }

    /// Reads a segment that is needed, as bytes. What cannot be read is counted, named and left out.
    fn read(&self, needs: &'a [Need]) -> Option<PackedSegment<'a>> {
        let Batch { places, options, form, .. } = *self;
        let source = needs[0].source;
        let segment =
            |bytes, presences, times| PackedSegment { needs, bytes, presences, times, range: options.range, form };
        match source {
            Source::Block { part, entry } => {
                let selection = places.selection.as_ref()?;
                let read = selection.segment(part, entry).map_err(|error| self.shared.note_read_failure(&error));
                let StoredSegment { bytes, presences } = read.ok()??;
                let is_common = selection.is_common(part, entry);
                let times = is_common.then(|| (Times::Part(part), selection.times_of(part)));
                Some(segment(Cow::Owned(bytes), Some(presences), times))
            }
            Source::Frame { group, frame, segment: index } => {
                let frame = places.groups.get(&group)?.frames.get(frame as usize)?;
                let bytes = frame.segments().get(index as usize)?;
                let times = (Times::Frame(Arc::clone(frame)), &*frame.times);
                Some(segment(Cow::Borrowed(bytes), None, Some(times)))
            }
            Source::Rows { .. } => None,
        }
    }

    /// What is needed of rows of memory, which have nothing to unpack; `None` for anything else.
    fn rows_of(&self, needs: &[Need]) -> Option<Unpacked> {
        let source = needs[0].source;
        let Source::Rows { group, first } = source else { return None };
        let mut runs = self.places.groups.get(&group)?.runs();
        let rows = runs.find_map(|(start, rows)| (start == first as usize).then_some(rows))?;
        let times = Times::Own(rows.iter().map(|row| row.timestamp).collect());
        let mut plain = Vec::with_capacity(needs.len() * rows.len());
        let mut pieces = Vec::with_capacity(needs.len());
        for need in needs {
            let start = plain.len();
            plain.extend(rows.iter().map(|row| row.values.get(need.column as usize).copied().unwrap_or(absent())));
            let has_absent = plain[start..].iter().copied().any(is_absent);
            let values = Values::Plain { start: start as u32, has_absent };
            pieces.push((need.series, Piece { first: 0, count: rows.len() as u32, values }));
        }
        Some(Unpacked { source, times, pieces, plain, bytes: 0, damage: Vec::new() })
    }

    fn report(&self, source: Source, damage: Vec<Damage>) {
        for Damage { what, error } in damage {
            match (source, &self.places.selection) {
                (Source::Block { part, .. }, Some(selection)) if what == SEGMENT => {
                    self.shared.changes.note_removal();
                    selection.report_damage(part, &error);
                }
                _ => drop(self.shared.is_sound(Err(error), what)),
            }
        }
    }
}

/// A thread's whole life.
fn unpack_all(segments: &Mutex<Receiver<PackedSegment<'_>>>) -> Vec<Unpacked> {
    let (mut worker, mut unpacked) = (Worker::default(), Vec::new());
    loop {
        let received = segments.lock().expect("no holder of the lock panics").recv();
        let Ok(segment) = received else { return unpacked };
        unpacked.push(worker.unpack(&segment));
    }
}

/// A segment as it was read, and what to take from it.
struct PackedSegment<'a> {
    /// At least one, all of the same source.
    needs: &'a [Need],
    bytes: Cow<'a, [u8]>,
    presences: Option<&'a Arc<Presences>>,
    /// `None` where the segment carries them.
    times: Option<(Times, &'a [Timestamp])>,
    range: TimeRange,
    form: Form,
}

/// What a segment gave, or rows.
struct Unpacked {
    source: Source,
    times: Times,
    pieces: Vec<(u32, Piece)>,
    /// The values of plain pieces.
    plain: Vec<f64>,
    /// What packed pieces take.
    bytes: usize,
    damage: Vec<Damage>,
}

/// What could not be unpacked.
struct Damage {
    what: &'static str,
    error: CodecError,
}

const SEGMENT: &str = "a segment";

/// Workers without work, with what zstd needs and their buffers.
#[derive(Default)]
pub(super) struct SpareWorkers(Mutex<Vec<Worker>>);

/// How many are kept: rules are mostly evaluated one by one.
const SPARE_WORKERS_MAX: usize = 2;

impl SpareWorkers {
    fn take(&self) -> Worker {
        self.0.lock().expect("no holder of the lock panics").pop().unwrap_or_default()
    }

    fn give_back(&self, worker: Worker) {
        let mut spare = self.0.lock().expect("no holder of the lock panics");
        if spare.len() < SPARE_WORKERS_MAX {
            spare.push(worker);
        }
    }
}

/// Unpacks one segment after the other; this is its working memory.
#[derive(Default)]
struct Worker {
    unpacker: Unpacker,
    values: Vec<f64>,
    scratch: Vec<u8>,
}

impl Worker {
    /// Opens the segment and takes the columns that are needed.
    fn unpack(&mut self, packed: &PackedSegment<'_>) -> Unpacked {
        let (source, times) = (packed.needs[0].source, Times::Own(Arc::default()));
        let (pieces, plain) = (Vec::with_capacity(packed.needs.len()), Vec::new());
        let mut unpacked = Unpacked { source, times, pieces, plain, bytes: 0, damage: Vec::new() };
        if let Err(damage) = self.unpack_to(&mut unpacked, packed) {
            unpacked.damage.push(damage);
        }
        unpacked
    }

    fn unpack_to(&mut self, out: &mut Unpacked, packed: &PackedSegment<'_>) -> Result<(), Damage> {
        let segment = Segment::open_with(&packed.bytes, packed.presences, &mut self.unpacker)
            .map_err(|error| Damage { what: SEGMENT, error })?;
        let mut own_times = Vec::new();
        if packed.times.is_none() {
            segment.timestamps(&mut own_times).map_err(|error| Damage { what: "a segment's times", error })?;
            out.bytes += own_times.len() * size_of::<Timestamp>();
        }
        let own_times: Arc<[Timestamp]> = own_times.into();
        let times = packed.times.as_ref().map_or(&own_times[..], |(_, times)| times);
        if segment.row_count() != times.len() {
            return Err(Damage { what: SEGMENT, error: CodecError::Malformed("it does not fit its times") });
        }
        let (first, end) = bounds(times, packed.range);
        // How many values a segment with times of its own holds, nobody has counted yet.
        if packed.form == Form::Plain && packed.times.is_some() {
            out.plain.reserve_exact(packed.needs.len() * (end - first));
        }
        let mut reader = segment.reader();
        for need in packed.needs {
            match self.take(&mut reader, need.column as usize, first..end, packed.form, &mut out.plain) {
                Ok(Some((first, count, values))) => {
                    if let Values::Packed(packed) = &values {
                        out.bytes += packed.memory() + size_of::<Piece>();
                    }
                    out.pieces.push((need.series, Piece { first: first as u32, count: count as u32, values }));
                }
                // None here, or the series joined its group after this segment was made.
                Ok(None) | Err(CodecError::NoSuchColumn(_)) => {}
                Err(error) => out.damage.push(Damage { what: "a column", error }),
            }
        }
        out.times = match &packed.times {
            Some((times, _)) => times.clone(),
            None => Times::Own(own_times),
        };
        self.unpacker.recycle(segment);
        Ok(())
    }

    /// A column's values within some rows: the first row, how many, and themselves, or where they were put.
    fn take(
        &mut self,
        reader: &mut SegmentReader<'_>,
        column: usize,
        rows: Range<usize>,
        form: Form,
        plain: &mut Vec<f64>,
    ) -> Result<Option<(usize, usize, Values)>, CodecError> {
        if form == Form::Packed
            && !rows.is_empty()
            && let Some(Integers { scale, first, differences }) = reader.integers(column)?
        {
            let before = differences.get(..rows.start).unwrap_or_default();
            let first = before.iter().fold(first, |last, difference| last.wrapping_add(*difference));
            let differences = differences.get(rows.start..rows.end - 1).unwrap_or_default();
            let packed = Packed::of_integers(&Integers { scale, first, differences }, &mut self.scratch);
            if let Some(packed) = packed.filter(|_| differences.len() == rows.len() - 1) {
                return Ok(Some((rows.start, rows.len(), Values::Packed(packed))));
            }
        }
        self.values.clear();
        let span = reader.column_span(column, &mut self.values)?;
        let (first, end) = (rows.start.max(span.start), rows.end.min(span.end));
        Ok((first < end).then(|| {
            let values = &self.values[first - span.start..end - span.start];
            let held = match form {
                Form::Packed => Values::Packed(Packed::of(values, &mut self.scratch)),
                Form::Plain => {
                    let start = plain.len() as u32;
                    plain.extend_from_slice(values);
                    Values::Plain { start, has_absent: values.iter().copied().any(is_absent) }
                }
            };
            (first, end - first, held)
        }))
    }
}

/// How many samples have been located, about.
#[derive(Default)]
struct Located {
    in_segments: usize,
    /// Nothing unpacks them, and they wait as they are.
    in_rows: usize,
}

/// Notes where the samples of a series are, and about how many there are.
fn locate(
    sources: &Sources,
    series: u32,
    places: &Places<'_>,
    range: TimeRange,
    needs: &mut Vec<Need>,
    located: &mut Located,
) {
    if let Some(selection) = &places.selection {
        selection.locate(&sources.blocks, range, |part, entry, column, count| {
            located.in_segments += count;
            needs.push(Need { source: Source::Block { part, entry }, series, column });
        });
    }
    let Memory::View(view) = &sources.memory else { return };
    let Some(group) = places.groups.get(&view.group) else { return };
    for (frame, opened) in (0..).zip(&group.frames) {
        let Some((segment, column)) = opened.place_of(view.series, view.hint) else { continue };
        let (first, end) = bounds(&opened.times, range);
        if first < end {
            located.in_segments += end - first;
            let source = Source::Frame { group: view.group, frame, segment: segment as u32 };
            needs.push(Need { source, series, column: column as u32 });
        }
    }
    for (first, rows) in group.runs() {
        let Some(column) = rows.last().and_then(|row| row.column_of(view.series, view.hint)) else { continue };
        located.in_rows += rows.len();
        let source = Source::Rows { group: view.group, first: first as u32 };
        needs.push(Need { source, series, column: column as u32 });
    }
}

fn bounds(times: &[Timestamp], range: TimeRange) -> (usize, usize) {
    (times.partition_point(|at| *at < range.start), times.partition_point(|at| *at <= range.end))
}

impl Times {
    fn slice<'t>(&'t self, places: &'t Places<'_>) -> &'t [Timestamp] {
        match self {
            Self::Part(part) => places.selection.as_ref().map_or(&[], |selection| selection.times_of(*part)),
            Self::Frame(frame) => &frame.times,
            Self::Own(times) => times,
        }
    }
}

impl Piece {
    /// Appends the samples; `times` and `plain` are the times and the plain values of its segment.
    fn push_to(&self, times: &[Timestamp], plain: &[f64], samples: &mut Samples) {
        let start = samples.values.len();
        let count = self.count as usize;
        let has_absent = match &self.values {
            Values::Plain { start, has_absent } => {
                samples.values.extend_from_slice(&plain[*start as usize..][..count]);
                *has_absent
            }
            Values::Packed(packed) => {
                packed.unpack(&mut samples.values);
                packed.has_absent
            }
        };
        samples.timestamps.extend_from_slice(&times[self.first as usize..][..count]);
        if has_absent {
            remove_absent(start, samples);
        }
    }
}

fn remove_absent(start: usize, samples: &mut Samples) {
    let mut kept = start;
    for position in start..samples.values.len() {
        if !is_absent(samples.values[position]) {
            samples.values[kept] = samples.values[position];
            samples.timestamps[kept] = samples.timestamps[position];
            kept += 1;
        }
    }
    samples.values.truncate(kept);
    samples.timestamps.truncate(kept);
}
