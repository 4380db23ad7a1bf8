//! Reading: what a query or a block is made from, shared with the head by reference count.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::stray::{Stray, StrayChunk, memory_of};
use super::{Frame, Head, Row, StraySample};
use crate::codec::{CodecError, Segment, Unpacker, is_absent};
use crate::model::{TimeRange, Timestamp};
use crate::store::dictionary::Record;
use crate::store::{GroupId, Samples, SeriesId};

/// The frames and rows of a group that overlap a range.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct GroupView {
    pub frames: Vec<Arc<Frame>>,
    pub rows: Vec<Row>,
}

/// The strays of a series that overlap a range.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct StrayView {
    chunks: Vec<Arc<StrayChunk>>,
    tail: Vec<(Timestamp, f64)>,
}

/// One series to read.
#[derive(Clone, Debug)]
pub(in crate::store) struct SeriesView {
    pub series: SeriesId,
    pub group: GroupId,
    /// Its present column, as its record has it: where to look first.
    pub hint: u32,
    pub stray: Option<Box<StrayView>>,
}

/// All that becomes one block.
pub(in crate::store) struct CutSet {
    /// Everything in the set is older than this.
    pub until: Timestamp,
    /// No append in the set is newer than this.
    pub sequence: u64,
    pub groups: Vec<(GroupId, GroupView)>,
    pub strays: HashMap<SeriesId, StrayView, FixedState>,
}

/// What the log has not got yet.
pub(in crate::store) struct Unlogged {
    /// The newest append in the set.
    pub sequence: u64,
    pub groups: Vec<(GroupId, GroupView)>,
    pub strays: Vec<StraySample>,
}

impl Head {
    /// What a series and its group hold within `range`; `None` if there is nothing.
    pub fn view_series(&self, record: &Record, range: TimeRange) -> Option<SeriesView> {
        let (newest_at, _) = self.newest_in(record)?;
        if newest_at < range.start {
            return None;
        }
        let stray = self.strays.get(&record.id).and_then(|stray| stray.view(range));
        let stray = stray.map(Box::new);
        Some(SeriesView { series: record.id, group: record.group, hint: record.column, stray })
    }

    /// What a group holds within `range`.
    pub fn view_group(&self, group: GroupId, range: TimeRange) -> GroupView {
        let group = &self.groups[group.0 as usize];
        let overlaps = |frame: &&Arc<Frame>| frame.first() <= range.end && range.start <= frame.last();
        GroupView {
            frames: group.frames.iter().filter(overlaps).cloned().collect(),
            rows: group.rows.iter().filter(|row| range.contains(row.timestamp)).cloned().collect(),
        }
    }

    /// Collects all that is older than `until`, and keeps sealing away from it until [`Self::finish_cut`].
    pub fn begin_cut(&mut self, until: Timestamp) -> CutSet {
        self.held = Some(until);
        let range = TimeRange { start: Timestamp::MIN, end: Timestamp(until.0 - 1) };
        let groups = (0..self.groups.len() as u32).map(|id| {
            let mut view = self.view_group(GroupId(id), range);
            view.frames.retain(|frame| !self.is_stored(frame.last(), frame.sequence));
            view.rows.retain(|row| !self.is_stored(row.timestamp, row.sequence));
            (GroupId(id), view)
        });
        CutSet {
            until,
            sequence: self.sequence,
            groups: groups.filter(|(_, view)| !view.is_empty()).collect(),
            strays: self.strays.iter().filter_map(|(id, stray)| Some((*id, stray.view_unstored(range)?))).collect(),
        }
    }

    /// Goes on as if [`Self::begin_cut`] had not been.
    pub fn abandon_cut(&mut self) {
        self.held = None;
    }

    /// Blocks have what [`Self::begin_cut`] collected. Of that, memory keeps what is not older than `since`, from when
    /// on it has all there is.
    pub fn finish_cut(&mut self, set: CutSet, since: Timestamp) {
        self.held = None;
        for (id, view) in set.strays {
            if let Some(stray) = self.strays.get_mut(&id) {
                stray.note_stored(view);
            }
        }
        if set.until < self.cut {
            // All of it was late, and what lies between it and the cut may be late too, and in no block yet.
            self.kept_since = self.kept_since.max(set.until);
            self.forget_older(set.until, set.until, set.sequence);
            return;
        }
        (self.cut, self.cut_sequence) = (set.until, set.sequence);
        self.kept_since = since;
        self.forget_older(since, self.cut, self.cut_sequence);
    }

    /// Forgets what blocks have too and what is older than `since`.
    pub fn release(&mut self, since: Timestamp) {
        let since = since.min(self.cut);
        if self.kept_since < since {
            self.kept_since = since;
            self.forget_older(since, self.cut, self.cut_sequence);
        }
    }

    /// Forgets what is older than `since`, of what is older than `until` and was appended up to `sequence`.
    fn forget_older(&mut self, since: Timestamp, until: Timestamp, sequence: u64) {
        let mut removed = 0;
        let is_over = |last: Timestamp, appended: u64| last < since && last < until && appended <= sequence;
        for group in &mut self.groups {
            group.frames.retain(|frame| {
                let is_over = is_over(frame.last(), frame.sequence);
                removed += if is_over { frame.samples } else { 0 };
                !is_over
            });
            group.rows.retain(|row| {
                let is_over = is_over(row.timestamp, row.sequence);
                let count = || row.values.iter().filter(|value| !is_absent(**value)).count() as u64;
                removed += if is_over { count() } else { 0 };
                !is_over
            });
            group.frames.shrink_to_fit();
        }
        removed += self.strays.values_mut().map(|stray| stray.release(since)).sum::<u64>();
        self.samples = self.samples.saturating_sub(removed);
    }

    /// Blocks may have lost what memory has too: it goes to blocks once more.
    pub fn forget_stored(&mut self) {
        self.cut = self.cut.min(self.kept_since);
        self.cut_sequence = 0;
        self.kept_since = Timestamp::MAX;
        self.strays.values_mut().for_each(Stray::forget_stored);
    }

    /// What is imported is in blocks only, whatever its time: they are read until the next cut.
    pub fn note_imported(&mut self) {
        self.kept_since = Timestamp::MAX;
    }

    /// Starts from a cut that an earlier run made.
    pub fn set_cut(&mut self, cut: Timestamp) {
        self.cut = self.cut.max(cut);
    }

    /// What was appended after `sequence` and blocks do not have, and the strays that wait for the log.
    pub fn unlogged(&mut self, sequence: u64) -> Unlogged {
        let is_due = |last: Timestamp, appended: u64| appended > sequence && !self.is_stored(last, appended);
        let groups = self.groups.iter().enumerate().map(|(id, group)| {
            let frames = group.frames.iter().filter(|frame| is_due(frame.last(), frame.sequence)).cloned().collect();
            let rows = group.rows.iter().filter(|row| is_due(row.timestamp, row.sequence)).cloned().collect();
            (GroupId(id as u32), GroupView { frames, rows })
        });
        let groups = groups.filter(|(_, view)| !view.is_empty()).collect();
        let strays = if std::mem::take(&mut self.is_stray_log_cut) {
            self.stray_log.clear();
            self.all_strays()
        } else {
            std::mem::take(&mut self.stray_log)
        };
        Unlogged { sequence: self.sequence, groups, strays }
    }

    /// Strays that the log has had are wanted once more.
    pub fn forget_logged(&mut self) {
        self.is_stray_log_cut = true;
    }

    /// Takes strays back that could not be logged.
    pub fn restore_unlogged(&mut self, mut strays: Vec<StraySample>) {
        strays.append(&mut self.stray_log);
        if strays.len() > super::STRAY_LOG_MAX {
            strays = Vec::new();
            self.is_stray_log_cut = true;
        }
        self.stray_log = strays;
    }

    fn all_strays(&self) -> Vec<StraySample> {
        let mut all = Vec::new();
        let mut samples = Vec::new();
        for (&series, stray) in &self.strays {
            samples.clear();
            stray.chunks.iter().for_each(|chunk| chunk.read(&mut samples).expect("chunks in memory are not damaged"));
            samples.extend_from_slice(&stray.tail);
            all.extend(samples.iter().map(|&(timestamp, value)| StraySample { series, timestamp, value }));
        }
        all
    }
}

impl Unlogged {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.strays.is_empty()
    }

    /// The newest sample in the set.
    pub fn newest(&self) -> Timestamp {
        let times = self.groups.iter().flat_map(|(_, view)| {
            view.frames.iter().map(|frame| frame.last()).chain(view.rows.iter().map(|row| row.timestamp))
        });
        times.chain(self.strays.iter().map(|stray| stray.timestamp)).max().unwrap_or(Timestamp::MIN)
    }
}

impl GroupView {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.rows.is_empty()
    }

    /// The rows, in runs of one generation, each with the number of its first row. The layout of the last row is that of
    /// all: earlier ones may lack its last columns.
    pub fn runs(&self) -> impl Iterator<Item = (usize, &[Row])> {
        let mut start = 0;
        std::iter::from_fn(move || {
            let rows = &self.rows[start..];
            let generation = rows.first()?.generation;
            // Mostly there is one run.
            let is_one = rows.last()?.generation == generation;
            let count = if is_one { rows.len() } else { rows.partition_point(|row| row.generation <= generation) };
            start += count;
            Some((start - count, &rows[..count]))
        })
    }

    /// The series of all layouts in use, in no order, possibly more than once.
    pub fn series(&self) -> impl Iterator<Item = SeriesId> {
        let used = self.frames.iter().map(|frame| &frame.layout).chain(self.rows.iter().map(|row| &row.layout));
        let mut layouts: Vec<&Arc<[SeriesId]>> = used.collect();
        layouts.dedup_by(|a, b| Arc::ptr_eq(a, b));
        layouts.into_iter().flat_map(|layout| layout.iter().copied())
    }

    /// The times of all rows, oldest first.
    pub fn times(&self) -> Vec<Timestamp> {
        let frames = self.frames.iter().flat_map(|frame| frame.times.iter().copied());
        frames.chain(self.rows.iter().map(|row| row.timestamp)).collect()
    }
}

impl Stray {
    fn view(&self, range: TimeRange) -> Option<StrayView> {
        let mut view = StrayView::of(&self.chunks, &self.tail, range);
        if let Some(kept) = &self.kept {
            let kept = StrayView::of(&kept.chunks, &kept.tail, range);
            view.chunks.extend(kept.chunks);
            view.tail.extend(kept.tail);
        }
        view.some()
    }

    /// The same without what blocks have.
    fn view_unstored(&self, range: TimeRange) -> Option<StrayView> {
        StrayView::of(&self.chunks, &self.tail, range).some()
    }

    /// Blocks have exactly what a view holds.
    fn note_stored(&mut self, view: StrayView) {
        self.chunks.retain(|chunk| !view.chunks.iter().any(|gone| Arc::ptr_eq(gone, chunk)));
        let last = view.tail.last().map(|(at, _)| *at);
        self.tail.retain(|(at, _)| Some(*at) > last);
        let kept = self.kept.get_or_insert_default();
        kept.chunks.extend(view.chunks);
        kept.tail.extend(view.tail);
    }

    /// Blocks have it no longer.
    fn forget_stored(&mut self) {
        let Some(mut kept) = self.kept.take() else { return };
        if !kept.tail.is_empty() {
            kept.chunks.push(Arc::new(StrayChunk::of(&kept.tail)));
        }
        kept.chunks.append(&mut self.chunks);
        self.chunks = kept.chunks;
    }

    /// Forgets what blocks have too and what is older than `since`; gives how many samples that was.
    fn release(&mut self, since: Timestamp) -> u64 {
        let Some(kept) = &mut self.kept else { return 0 };
        let before = kept.len();
        kept.chunks.retain(|chunk| chunk.last >= since);
        kept.tail.retain(|(at, _)| *at >= since);
        let left = kept.len();
        if left == 0 {
            self.kept = None;
        }
        (before - left) as u64
    }
}

/// Appends the samples of a series within `range` to `samples`, in time order.
pub(in crate::store) fn read_series(
    view: &SeriesView,
    group: &GroupView,
    range: TimeRange,
    cache: &mut SegmentCache,
    samples: &mut Samples,
) -> Result<(), CodecError> {
    let start = samples.len();
    for frame in &group.frames {
        let Some((index, column)) = frame.place_of(view.series, view.hint) else { continue };
        let key = (Arc::as_ptr(frame) as u64, index as u64);
        let segment = cache.get(key, |unpacker| frame.open_segment(index, unpacker))?;
        let span = cache.column(&segment, column)?;
        let times = frame.times.get(span).ok_or(CodecError::Malformed("a segment does not fit its frame"))?;
        push_present(times, &cache.values, range, samples);
    }
    let recent = samples.len();
    for row in &group.rows {
        let value = row.column_of(view.series, view.hint).and_then(|column| row.values.get(column));
        if let Some(value) = value.filter(|value| !is_absent(**value) && range.contains(row.timestamp)) {
            samples.push(row.timestamp, *value);
        }
    }
    if let Some(stray) = &view.stray {
        stray.read(range, samples)?;
    }
    if samples.len() > recent {
        sort_from(start, samples);
    }
    Ok(())
}

impl StrayView {
    fn of(chunks: &[Arc<StrayChunk>], tail: &[(Timestamp, f64)], range: TimeRange) -> Self {
        let overlaps = |chunk: &&Arc<StrayChunk>| chunk.first <= range.end && range.start <= chunk.last;
        Self {
            chunks: chunks.iter().filter(overlaps).cloned().collect(),
            tail: tail.iter().filter(|(at, _)| range.contains(*at)).copied().collect(),
        }
    }

    fn some(self) -> Option<Self> {
        (self.len() > 0).then_some(self)
    }

    fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.samples).sum::<usize>() + self.tail.len()
    }

    /// Bytes of memory.
    pub fn memory(&self) -> usize {
        size_of::<Self>() + memory_of(&self.chunks) + self.tail.capacity() * 16
    }

    /// Appends the samples within `range` to `samples`, in no order.
    pub fn read(&self, range: TimeRange, samples: &mut Samples) -> Result<(), CodecError> {
        let mut strays = Vec::new();
        for chunk in &self.chunks {
            chunk.read(&mut strays)?;
        }
        strays.extend_from_slice(&self.tail);
        strays.iter().filter(|(at, _)| range.contains(*at)).for_each(|(at, value)| samples.push(*at, *value));
        Ok(())
    }
}

/// Appends the samples of a decoded column that are there and in range.
pub(in crate::store) fn push_present(times: &[Timestamp], values: &[f64], range: TimeRange, samples: &mut Samples) {
    let start = times.partition_point(|at| *at < range.start);
    let end = times.partition_point(|at| *at <= range.end);
    for (at, value) in times[start..end].iter().zip(&values[start..end]) {
        if !is_absent(*value) {
            samples.push(*at, *value);
        }
    }
}

/// Brings the samples from `start` on into time order; of two at the same time the first stays.
pub(in crate::store) fn sort_from(start: usize, samples: &mut Samples) {
    if samples.timestamps[start..].windows(2).all(|pair| pair[0] < pair[1]) {
        return;
    }
    let mut pairs: Vec<(Timestamp, f64)> =
        samples.timestamps.drain(start..).zip(samples.values.drain(start..)).collect();
    pairs.sort_by_key(|(at, _)| *at);
    pairs.dedup_by_key(|(at, _)| *at);
    pairs.into_iter().for_each(|(at, value)| samples.push(at, value));
}

/// Unpacked segments, least recently used first out: neighbours in label order share segments.
pub(in crate::store) struct SegmentCache {
    segments: HashMap<(u64, u64), (Arc<Segment>, u64), FixedState>,
    bytes: usize,
    bytes_max: usize,
    uses: u64,
    unpacker: Unpacker,
    /// The column decoded last.
    pub values: Vec<f64>,
}

impl SegmentCache {
    /// A cache of at most about `bytes_max` bytes; a single larger segment still has its place.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            segments: HashMap::default(),
            bytes: 0,
            bytes_max,
            uses: 0,
            unpacker: Unpacker::default(),
            values: Vec::new(),
        }
    }

    /// The segment under `key`, opened if it is not at hand.
    pub fn get<E>(
        &mut self,
        key: (u64, u64),
        open: impl FnOnce(&mut Unpacker) -> Result<Segment, E>,
    ) -> Result<Arc<Segment>, E> {
        self.uses += 1;
        if let Some((segment, used)) = self.segments.get_mut(&key) {
            *used = self.uses;
            return Ok(Arc::clone(segment));
        }
        let segment = Arc::new(open(&mut self.unpacker)?);
        self.bytes += segment.memory();
        self.segments.insert(key, (Arc::clone(&segment), self.uses));
        while self.bytes > self.bytes_max && self.segments.len() > 1 {
            let oldest = self.segments.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key);
            if let Some((gone, _)) = oldest.and_then(|key| self.segments.remove(&key)) {
                self.bytes -= gone.memory();
            }
        }
        Ok(segment)
    }

    /// Decodes one column into `values`, from the first row that has a value to the last; gives these rows.
    pub fn column(&mut self, segment: &Segment, column: usize) -> Result<Range<usize>, CodecError> {
        self.values.clear();
        match segment.column_span(column, &mut self.values) {
            // The series joined the group after this segment was made.
            Err(CodecError::NoSuchColumn(_)) => Ok(0..0),
            outcome => outcome,
        }
    }
}
