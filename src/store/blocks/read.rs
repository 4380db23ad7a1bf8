//! Reading blocks: which series match, and their samples, segment by segment.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use foldhash::fast::FixedState;
use rusqlite::{MAIN_DB, OptionalExtension, params};

use super::outline::{Outline, OutlineBuilder};
use super::part::{Directory, Entry, SeriesOf};
use super::{Block, Blocks, Reading, names};
use crate::codec::{Presences, Segment, Unpacker};
use crate::model::{Labels, Matcher, TimeRange, Timestamp};
use crate::store::head::{SegmentCache, push_present, sort_from};
use crate::store::{ReadOptions, Samples, StoreError};

/// Where blocks have samples of one series: part by part, oldest block first.
pub(in crate::store) type BlockSeries = Vec<Place>;

/// One series in one part.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Place {
    part: u32,
    position: u32,
}

/// What one read has found. While it exists, nothing of it is deleted.
pub(in crate::store) struct Selection<'a> {
    reading: Reading<'a>,
    parts: Vec<OpenPart>,
    _blocks: Arc<Vec<Block>>,
}

/// A segment as it is stored, and what is needed to open it.
pub(in crate::store) struct StoredSegment<'a> {
    pub bytes: Vec<u8>,
    pub presences: &'a Arc<Presences>,
}

struct OpenPart {
    block: i64,
    first_row: i64,
    directory: Directory,
}

/// A part as the database lists it.
pub(super) struct PartRow {
    pub target: i64,
    names: i64,
    first_row: i64,
}

/// Which series are wanted.
pub(super) enum Wanted<'a> {
    /// Those that satisfy all matchers of at least one set; all, if there is no set.
    InAny(&'a [Vec<Matcher>]),
    /// These.
    Listed(&'a HashSet<Labels, FixedState>),
}

/// Unpacked segments kept while series are asked for their newest samples.
const NEWEST_CACHE_BYTES: usize = 1 << 20;

type Matched = Rc<Vec<(u32, Labels)>>;

impl Blocks {
    /// The series that satisfy all matchers of at least one set (all, if there is no set) in blocks
    /// that overlap the range.
    pub fn select(
        &self,
        sets: &[Vec<Matcher>],
        options: &ReadOptions,
    ) -> Result<(Selection<'_>, BTreeMap<Labels, BlockSeries>), StoreError> {
        let list = self.list();
        let wanted = overlapping(&list, options.range);
        self.select_in(list, &wanted, None, &Wanted::InAny(sets), options)
    }

    /// The newest sample at or after `since` of each of the series listed, where there is one.
    pub fn newest_of(
        &self,
        series: &HashSet<Labels, FixedState>,
        since: Timestamp,
    ) -> Result<Vec<(Labels, Timestamp, f64)>, StoreError> {
        let options = ReadOptions::over(TimeRange { start: since, end: Timestamp::MAX });
        let list = self.list();
        let blocks = overlapping(&list, options.range);
        let (selection, found) = self.select_in(list, &blocks, None, &Wanted::Listed(series), &options)?;
        let (mut cache, mut samples) = (SegmentCache::new(NEWEST_CACHE_BYTES), Samples::default());
        let mut newest = Vec::with_capacity(found.len());
        for (labels, places) in found {
            samples.clear();
            selection.read(&places, options.range, &mut cache, &mut samples)?;
            if let (Some(at), Some(value)) = (samples.timestamps.last(), samples.values.last()) {
                newest.push((labels, *at, *value));
            }
        }
        Ok(newest)
    }

    /// The series that are wanted of the given blocks, for one target or for all.
    pub(super) fn select_in(
        &self,
        list: Arc<Vec<Block>>,
        blocks: &[i64],
        target: Option<i64>,
        wanted: &Wanted<'_>,
        options: &ReadOptions,
    ) -> Result<(Selection<'_>, BTreeMap<Labels, BlockSeries>), StoreError> {
        let mut selection = Selection { reading: self.reader()?, parts: Vec::new(), _blocks: list };
        let mut found: BTreeMap<Labels, BlockSeries> = BTreeMap::new();
        let mut matched: HashMap<i64, Matched, FixedState> = HashMap::default();
        let mut unpacker = Unpacker::default();
        for &block in blocks {
            options.check()?;
            let parts = self.parts_of(&selection.reading, block)?;
            for part in parts.into_iter().filter(|part| target.is_none_or(|target| part.target == target)) {
                let series = match matched.get(&part.names) {
                    Some(series) => Rc::clone(series),
                    None => {
                        let series = Rc::new(self.match_names(&selection.reading, block, part.names, wanted)?);
                        matched.insert(part.names, Rc::clone(&series));
                        series
                    }
                };
                if series.is_empty() {
                    continue;
                }
                let Some(directory) = self.directory_of(&selection.reading, block, part.target)? else { continue };
                match Directory::decode_with(&directory, &mut unpacker) {
                    Ok(directory) => selection.add(block, part.first_row, directory, &series, &mut found),
                    Err(error) => self.report_damage(block, "a directory", &error),
                }
            }
        }
        Ok((selection, found))
    }

    /// The parts of a block.
    pub(super) fn parts_of(&self, reading: &Reading<'_>, block: i64) -> Result<Vec<PartRow>, StoreError> {
        let query = "SELECT target, names, first_row FROM part WHERE block = ?1 ORDER BY target";
        let parts = reading.prepare(query).and_then(|mut statement| {
            let rows = statement.query_map([block], |row| {
                Ok(PartRow { target: row.get(0)?, names: row.get(1)?, first_row: row.get(2)? })
            })?;
            rows.collect::<rusqlite::Result<Vec<PartRow>>>()
        });
        parts.or_else(|error| self.skip_damage(block, "a list of parts", error))
    }

    /// The directory of a part; `None` if it cannot be read for damage.
    fn directory_of(&self, reading: &Reading<'_>, block: i64, target: i64) -> Result<Option<Vec<u8>>, StoreError> {
        let query = "SELECT directory FROM part WHERE block = ?1 AND target = ?2";
        let directory = reading
            .prepare(query)
            .and_then(|mut statement| statement.query_row([block, target], |row| row.get(0)).optional());
        directory.or_else(|error| self.skip_damage(block, "a directory", error))
    }

    fn match_names(
        &self,
        reading: &Reading<'_>,
        block: i64,
        id: i64,
        wanted: &Wanted<'_>,
    ) -> Result<Vec<(u32, Labels)>, StoreError> {
        let key = (reading.generation, id);
        let outline = self.outlines.get(key);
        if outline.as_ref().is_some_and(|outline| !wanted.may_be_in(outline)) {
            return Ok(Vec::new());
        }
        let query = "SELECT bytes FROM names WHERE id = ?1";
        let bytes = reading
            .prepare(query)
            .and_then(|mut statement| statement.query_row([id], |row| row.get::<_, Vec<u8>>(0)).optional());
        let bytes = match bytes {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                self.report_damage(block, "names", &"they are missing");
                return Ok(Vec::new());
            }
            Err(error) => return self.skip_damage(block, "names", error),
        };
        let mut matched = Vec::new();
        let mut builder = outline.is_none().then(OutlineBuilder::default);
        let outcome = names::decode(&bytes, |position, pairs| {
            if wanted.has(pairs) {
                matched.push((position, Labels::from_sorted(pairs.iter().copied())));
            }
            builder.iter_mut().for_each(|builder| builder.add(pairs));
        });
        match outcome {
            Ok(()) => builder.into_iter().for_each(|builder| self.outlines.keep(key, builder.finish())),
            Err(error) => self.report_damage(block, "names", &error),
        }
        Ok(matched)
    }

    /// Damage costs what is damaged; anything else ends the read.
    fn skip_damage<T: Default>(&self, block: i64, what: &str, error: rusqlite::Error) -> Result<T, StoreError> {
        if super::is_damage(&error) {
            self.report_damage(block, what, &error);
            return Ok(T::default());
        }
        Err(self.error("read", &error))
    }
}

fn overlapping(list: &[Block], range: TimeRange) -> Vec<i64> {
    let overlaps = |block: &&Block| block.oldest <= range.end && range.start <= block.newest;
    list.iter().filter(overlaps).map(|block| block.id).collect()
}

impl Wanted<'_> {
    /// Whether a series is, told by its labels in name order.
    fn has(&self, pairs: &[(&str, &str)]) -> bool {
        match self {
            Self::InAny(sets) => is_in_any(sets, pairs),
            Self::Listed(series) => series.contains(&Labels::from_sorted(pairs.iter().copied())),
        }
    }

    /// Whether a series of a list of names may be.
    fn may_be_in(&self, outline: &Outline) -> bool {
        match self {
            Self::InAny(sets) => outline.may_have(sets),
            Self::Listed(_) => true,
        }
    }
}

/// Whether all matchers of at least one set are satisfied; no set means all series.
fn is_in_any(sets: &[Vec<Matcher>], pairs: &[(&str, &str)]) -> bool {
    sets.is_empty() || sets.iter().any(|set| set.iter().all(|matcher| is_satisfied(matcher, pairs)))
}

fn is_satisfied(matcher: &Matcher, pairs: &[(&str, &str)]) -> bool {
    let value = pairs.iter().find(|(name, _)| *name == matcher.name()).map_or("", |(_, value)| value);
    matcher.matches(value)
}

impl Selection<'_> {
    /// Appends the samples of a series within `range` to `samples`, in time order.
    pub fn read(
        &self,
        series: &[Place],
        range: TimeRange,
        cache: &mut SegmentCache,
        samples: &mut Samples,
    ) -> Result<(), StoreError> {
        let start = samples.len();
        for place in series {
            let part = &self.parts[place.part as usize];
            for (_, entry, column) in part.directory.entries_of(place.position) {
                self.read_entry(part, entry, column, range, cache, samples)?;
            }
        }
        sort_from(start, samples);
        Ok(())
    }

    /// Calls back with part, entry, column and about how many samples, for each segment that holds some
    /// of a series within `range`.
    pub fn locate(&self, series: &[Place], range: TimeRange, mut found: impl FnMut(u32, u32, u32, usize)) {
        for place in series {
            let directory = &self.parts[place.part as usize].directory;
            let times = &directory.times;
            let end = times.partition_point(|at| *at <= range.end);
            let common = end - times.partition_point(|at| *at < range.start).min(end);
            for (number, entry, column) in directory.entries_of(place.position) {
                match entry.series {
                    SeriesOf::Common { .. } if common == 0 => {}
                    SeriesOf::Common { .. } => found(place.part, number, column as u32, common),
                    // How many there are is told by the segment alone; it is rarely larger than this.
                    SeriesOf::Stray(_) => found(place.part, number, column as u32, entry.len as usize),
                }
            }
        }
    }

    /// Whether an entry's series are at the part's common times.
    pub fn is_common(&self, part: u32, entry: u32) -> bool {
        matches!(self.parts[part as usize].directory.entries[entry as usize].series, SeriesOf::Common { .. })
    }

    /// The common times of a part.
    pub fn times_of(&self, part: u32) -> &[Timestamp] {
        &self.parts[part as usize].directory.times
    }

    /// Reads a segment's bytes; `None` if they are damaged, which is counted and named.
    pub fn segment(&self, part: u32, entry: u32) -> Result<Option<StoredSegment<'_>>, StoreError> {
        let open = &self.parts[part as usize];
        let entry = &open.directory.entries[entry as usize];
        match self.read_bytes(open.first_row + i64::from(entry.row), entry) {
            Ok(bytes) => Ok(Some(StoredSegment { bytes, presences: &open.directory.presences })),
            Err(Failure::Damage(reason)) => {
                self.report_damage(part, &reason);
                Ok(None)
            }
            Err(Failure::Disk(error)) => Err(self.reading.blocks.error("read", &error)),
        }
    }

    /// Counts and names a segment that cannot be opened.
    pub fn report_damage(&self, part: u32, reason: &dyn std::fmt::Display) {
        self.reading.blocks.report_damage(self.parts[part as usize].block, "a segment", reason);
    }

    /// The common times of all parts found.
    pub(super) fn times(&self) -> Vec<Timestamp> {
        let mut times: Vec<Timestamp> =
            self.parts.iter().flat_map(|part| part.directory.times.iter().copied()).collect();
        times.sort_unstable();
        times.dedup();
        times
    }

    fn add(
        &mut self,
        block: i64,
        first_row: i64,
        directory: Directory,
        series: &[(u32, Labels)],
        found: &mut BTreeMap<Labels, BlockSeries>,
    ) {
        let part = self.parts.len() as u32;
        for (position, labels) in series {
            found.entry(labels.clone()).or_default().push(Place { part, position: *position });
        }
        self.parts.push(OpenPart { block, first_row, directory });
    }

    fn read_entry(
        &self,
        part: &OpenPart,
        entry: &Entry,
        column: usize,
        range: TimeRange,
        cache: &mut SegmentCache,
        samples: &mut Samples,
    ) -> Result<(), StoreError> {
        let is_common = matches!(entry.series, SeriesOf::Common { .. });
        let times = &part.directory.times;
        if is_common && times.partition_point(|at| *at <= range.end) <= times.partition_point(|at| *at < range.start) {
            return Ok(());
        }
        let row = part.first_row + i64::from(entry.row);
        // Row ids stay below 2^40, offsets below 2^32; addresses of frames are never odd.
        let key = (row as u64 * 2 + 1, u64::from(entry.offset));
        let segment = match cache.get(key, |unpacker| self.open_segment(part, row, entry, unpacker)) {
            Ok(segment) => segment,
            Err(Failure::Damage(reason)) => {
                self.reading.blocks.report_damage(part.block, "a segment", &reason);
                return Ok(());
            }
            Err(Failure::Disk(error)) => return Err(self.reading.blocks.error("read", &error)),
        };
        let mut own_times = Vec::new();
        let decoded = cache.column(&segment, column).and_then(|span| match is_common {
            true => Ok(span),
            false => segment.timestamps(&mut own_times).map(|()| span),
        });
        let times = if is_common { times } else { &own_times };
        match decoded {
            Ok(span) if times.len() == segment.row_count() => push_present(&times[span], &cache.values, range, samples),
            Ok(_) => self.reading.blocks.report_damage(part.block, "a segment", &"it does not fit its directory"),
            Err(error) => self.reading.blocks.report_damage(part.block, "a segment", &error),
        }
        Ok(())
    }

    fn open_segment(
        &self,
        part: &OpenPart,
        row: i64,
        entry: &Entry,
        unpacker: &mut Unpacker,
    ) -> Result<Segment, Failure> {
        let bytes = self.read_bytes(row, entry)?;
        Segment::open_with(&bytes, Some(&part.directory.presences), unpacker)
            .map_err(|error| Failure::Damage(error.to_string()))
    }

    fn read_bytes(&self, row: i64, entry: &Entry) -> Result<Vec<u8>, Failure> {
        let blob = self.reading.blob_open(MAIN_DB, "data", "bytes", row, true).map_err(Failure::of)?;
        if u64::from(entry.offset) + u64::from(entry.len) > blob.len() as u64 {
            return Err(Failure::Damage("its row is too short".to_owned()));
        }
        let mut bytes = vec![0; entry.len as usize];
        blob.read_at_exact(&mut bytes, entry.offset as usize).map_err(Failure::of)?;
        Ok(bytes)
    }
}

enum Failure {
    Damage(String),
    Disk(rusqlite::Error),
}

impl Failure {
    fn of(error: rusqlite::Error) -> Self {
        // A missing row is damage too: rows that are in use are not deleted.
        let is_missing = error.sqlite_error_code() == Some(rusqlite::ErrorCode::Unknown);
        if is_missing || super::is_damage(&error) { Self::Damage(error.to_string()) } else { Self::Disk(error) }
    }
}

/// The names of all targets, for work that goes target by target.
pub(super) fn target_name(reading: &Reading<'_>, target: i64) -> rusqlite::Result<String> {
    reading.query_row("SELECT name FROM target WHERE id = ?1", params![target], |row| row.get(0))
}
