//! Unpacking ahead: a read takes from each segment, once, what the next series in line need.
//!
//! Series come in label order, but one metric's series are spread over all targets, and each segment
//! holds 64 of one target's. Read one series at a time, a week of ten targets unpacks every segment
//! dozens of times (a cache would have to hold them all). So the series in line are located first, as
//! many as [`BATCH_BYTES`] will hold; then each segment they touch is opened once, in the order of the
//! file, and their columns are kept packed ([`Packed`]) until their turn.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::{Shared, select::Sources};
use crate::codec::{CodecError, Segment};
use crate::model::{TimeRange, Timestamp};
use crate::store::blocks::Selection;
use crate::store::head::{Frame, GroupView};
use crate::store::packed::Packed;
use crate::store::{GroupId, ReadOptions, Samples, StoreError};

/// What the columns of one batch may take, about. Half of this means twice the unpacking only where
/// a query reads more than this, which is some thirty weeks of a series.
const BATCH_BYTES: usize = 8 << 20;
/// What a sample is taken to need until a batch has shown it.
const SAMPLE_BYTES_ASSUMED: usize = 3;

/// What a read looks into.
pub(super) struct Places<'a> {
    pub groups: HashMap<GroupId, GroupView, FixedState>,
    pub selection: Option<Selection<'a>>,
}

/// The samples of one series between two times, part of a segment.
pub(super) struct Piece {
    times: PieceTimes,
    /// The first time that counts.
    first: u32,
    count: u32,
    values: Packed,
}

enum PieceTimes {
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
    Block { part: u32, entry: u32 },
    Frame { group: GroupId, frame: u32, segment: u32 },
}

/// Fetches batch by batch.
pub(super) struct Fetcher {
    /// What a sample took in the last batch, in bytes.
    sample_bytes: usize,
    values: Vec<f64>,
    scratch: Vec<u8>,
}

impl Default for Fetcher {
    fn default() -> Self {
        Self { sample_bytes: SAMPLE_BYTES_ASSUMED, values: Vec::new(), scratch: Vec::new() }
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
    ) -> Result<Vec<Vec<Piece>>, StoreError> {
        let mut needs = Vec::new();
        let (mut samples, mut count) = (0usize, 0);
        for sources in line {
            let bytes = samples.saturating_mul(self.sample_bytes) + needs.len() * size_of::<(Need, Piece)>();
            if bytes >= BATCH_BYTES {
                break;
            }
            samples += locate(sources, count as u32, places, options.range, &mut needs);
            count += 1;
        }
        needs.sort_unstable();
        let mut pieces: Vec<Vec<Piece>> = (0..count).map(|_| Vec::new()).collect();
        let mut bytes = 0;
        for same in needs.chunk_by(|a, b| a.source == b.source) {
            options.check()?;
            bytes += self.unpack(same, places, options.range, shared, &mut pieces);
        }
        if let Some(sample_bytes) = bytes.checked_div(samples) {
            self.sample_bytes = sample_bytes.max(1);
        }
        Ok(pieces)
    }

    /// Opens one segment and takes the columns that are needed; gives the bytes they take.
    fn unpack(
        &mut self,
        needs: &[Need],
        places: &Places<'_>,
        range: TimeRange,
        shared: &Shared,
        pieces: &mut [Vec<Piece>],
    ) -> usize {
        let Some(opened) = Opened::of(needs[0].source, places, shared) else { return 0 };
        let mut own_times = Vec::new();
        if opened.has_own_times && !shared.is_sound(opened.segment.timestamps(&mut own_times), "a segment's times") {
            return 0;
        }
        let own_times: Arc<[Timestamp]> = own_times.into();
        let mut bytes = own_times.len() * size_of::<Timestamp>();
        for need in needs {
            let times = opened.times(need.source, places, &own_times);
            let values = times.slice(places);
            let (first, end) = bounds(values, range);
            self.values.clear();
            let span = match opened.segment.column_span(need.column as usize, &mut self.values) {
                // The series joined its group after this segment was made.
                Err(CodecError::NoSuchColumn(_)) => continue,
                Ok(span) if opened.segment.row_count() == values.len() => span,
                outcome => {
                    let misfit = Err(CodecError::Malformed("it does not fit its times"));
                    shared.is_sound(outcome.and(misfit), "a column");
                    continue;
                }
            };
            let (first, end) = (first.max(span.start), end.min(span.end));
            if first < end {
                let values = Packed::of(&self.values[first - span.start..end - span.start], &mut self.scratch);
                bytes += values.memory() + size_of::<Piece>();
                pieces[need.series as usize].push(Piece {
                    times,
                    first: first as u32,
                    count: (end - first) as u32,
                    values,
                });
            }
        }
        bytes
    }
}

/// Notes where the samples of a series are; gives about how many there are.
fn locate(sources: &Sources, series: u32, places: &Places<'_>, range: TimeRange, needs: &mut Vec<Need>) -> usize {
    let mut samples = 0;
    if let Some(selection) = &places.selection {
        selection.locate(&sources.blocks, range, |part, entry, column, count| {
            samples += count;
            needs.push(Need { source: Source::Block { part, entry }, series, column });
        });
    }
    let Some(view) = &sources.head else { return samples };
    let Some(group) = places.groups.get(&view.group) else { return samples };
    for (frame, opened) in (0..).zip(&group.frames) {
        let Some((segment, column)) = opened.place_of(view.series, view.hint) else { continue };
        let (first, end) = bounds(&opened.times, range);
        if first < end {
            samples += end - first;
            let source = Source::Frame { group: view.group, frame, segment: segment as u32 };
            needs.push(Need { source, series, column: column as u32 });
        }
    }
    samples
}

fn bounds(times: &[Timestamp], range: TimeRange) -> (usize, usize) {
    (times.partition_point(|at| *at < range.start), times.partition_point(|at| *at <= range.end))
}

struct Opened {
    segment: Segment,
    has_own_times: bool,
}

impl Opened {
    /// What cannot be opened is counted, named and left out.
    fn of(source: Source, places: &Places<'_>, shared: &Shared) -> Option<Self> {
        match source {
            Source::Block { part, entry } => {
                let selection = places.selection.as_ref()?;
                let segment = selection.open(part, entry).map_err(|error| shared.note_read_failure(&error)).ok()??;
                Some(Self { segment, has_own_times: !selection.is_common(part, entry) })
            }
            Source::Frame { group, frame, segment } => {
                let opened = places.groups.get(&group)?.frames.get(frame as usize)?.open_segment(segment as usize);
                let failed = opened.as_ref().map(|_| ()).map_err(|error| *error);
                shared.is_sound(failed, "a frame");
                Some(Self { segment: opened.ok()?, has_own_times: false })
            }
        }
    }

    fn times(&self, source: Source, places: &Places<'_>, own: &Arc<[Timestamp]>) -> PieceTimes {
        match source {
            Source::Block { .. } if self.has_own_times => PieceTimes::Own(Arc::clone(own)),
            Source::Block { part, .. } => PieceTimes::Part(part),
            Source::Frame { group, frame, .. } => {
                PieceTimes::Frame(Arc::clone(&places.groups[&group].frames[frame as usize]))
            }
        }
    }
}

impl PieceTimes {
    fn slice<'t>(&'t self, places: &'t Places<'_>) -> &'t [Timestamp] {
        match self {
            Self::Part(part) => places.selection.as_ref().map_or(&[], |selection| selection.times_of(*part)),
            Self::Frame(frame) => &frame.times,
            Self::Own(times) => times,
        }
    }
}

impl Piece {
    /// Appends the samples.
    pub fn push_to(&self, places: &Places<'_>, samples: &mut Samples) {
        let start = samples.values.len();
        self.values.unpack(&mut samples.values);
        let times = &self.times.slice(places)[self.first as usize..][..self.count as usize];
        samples.timestamps.extend_from_slice(times);
        if self.values.has_absent() {
            remove_absent(start, samples);
        }
    }
}

fn remove_absent(start: usize, samples: &mut Samples) {
    let mut kept = start;
    for position in start..samples.values.len() {
        if !crate::codec::is_absent(samples.values[position]) {
            samples.values[kept] = samples.values[position];
            samples.timestamps[kept] = samples.timestamps[position];
            kept += 1;
        }
    }
    samples.values.truncate(kept);
    samples.timestamps.truncate(kept);
}
