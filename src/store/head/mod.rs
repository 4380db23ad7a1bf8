//! Recent samples, in memory: what scraping appends to and what rules and `/federate` mostly read.
//!
//! A group keeps its newest samples as rows (one value per column, one row per scrape) and older ones
//! as compressed frames ([`frame`]). Samples with a time of their own, and samples that reach a series
//! through another group, are strays ([`stray`]): kept per series, merged on reading. Nothing here
//! does I/O or reads a clock. The owner guards the whole with one lock; views ([`view`]) share rows and
//! frames by reference count, so that readers hold the lock only while they collect them.

mod append;
mod frame;
mod seal;
mod stray;
mod view;

pub(super) use append::{Accepted, Bounds};
pub(super) use frame::{Frame, Row};
pub(super) use view::{CutSet, GroupView, SegmentCache, SeriesView, Unlogged, push_present, read_series, sort_from};

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;

use self::stray::Stray;
use super::dictionary::{Dictionary, NO_COLUMN, Record};
use super::{GroupId, SeriesId};
use crate::model::{Labels, Timestamp};

/// All of it.
pub(super) struct Head {
    /// Ids, labels, postings.
    pub dictionary: Dictionary,
    groups: Vec<Group>,
    group_ids: HashMap<Arc<str>, GroupId, FixedState>,
    strays: HashMap<SeriesId, Stray, FixedState>,
    /// Strays in the order of their arrival, until the log has them.
    stray_log: Vec<StraySample>,
    /// Set when `stray_log` ran over: the log then needs all strays that memory holds.
    is_stray_log_cut: bool,
    /// Counts appends that changed something.
    sequence: u64,
    /// Samples before this are in blocks, save late ones.
    cut: Timestamp,
    /// No append up to this one is late.
    cut_sequence: u64,
    /// All samples since are here, whether blocks have them too or not.
    kept_since: Timestamp,
    /// While blocks are made: sealing leaves what is older than this alone.
    held: Option<Timestamp>,
    /// What one block spans, in ms: no frame crosses a multiple of it.
    span_ms: i64,
    samples: u64,
    /// What others keep beside the samples: see [`Notes`](crate::store::Notes).
    pub notes: BTreeMap<String, Vec<u8>>,
    /// A note has changed since the flush before.
    pub has_new_notes: bool,
    /// Scratch of `append`: the column of each sample of the batch.
    places: Vec<u32>,
}

/// A sample with its own time.
#[derive(Clone, Copy, Debug)]
pub(super) struct StraySample {
    pub series: SeriesId,
    pub timestamp: Timestamp,
    pub value: f64,
}

/// Strays waiting for the log beyond this are found again in the strays themselves: 1.5 MiB.
const STRAY_LOG_MAX: usize = 64 * 1024;

struct Group {
    key: Arc<str>,
    /// What is newest of each series of `layout`.
    columns: Vec<Column>,
    /// The series of the columns, shared by rows and frames.
    layout: Arc<[SeriesId]>,
    /// Moves when columns were dropped: only rows of one generation share a frame.
    generation: u32,
    frames: Vec<Arc<Frame>>,
    rows: Vec<Row>,
}

#[derive(Clone, Copy)]
struct Column {
    /// The newest sample of the series, wherever it came from.
    newest_at: Timestamp,
    newest: f64,
}

impl Head {
    /// An empty head whose frames end at multiples of `span_ms`.
    pub fn new(span_ms: i64) -> Self {
        Self {
            dictionary: Dictionary::default(),
            groups: Vec::new(),
            group_ids: HashMap::default(),
            strays: HashMap::default(),
            stray_log: Vec::new(),
            is_stray_log_cut: false,
            sequence: 0,
            cut: Timestamp::MIN,
            cut_sequence: 0,
            kept_since: Timestamp::MAX,
            held: None,
            span_ms,
            samples: 0,
            notes: BTreeMap::new(),
            has_new_notes: false,
            places: Vec::new(),
        }
    }

    /// The group named `key`, made if it is new. Groups are few (targets and rule groups), so an
    /// emptied one keeps its name and its id.
    pub fn group(&mut self, key: &str) -> GroupId {
        if let Some(id) = self.group_ids.get(key) {
            return *id;
        }
        let id = GroupId(u32::try_from(self.groups.len()).expect("fewer than 2^32 targets"));
        let key: Arc<str> = key.into();
        self.group_ids.insert(Arc::clone(&key), id);
        self.groups.push(Group {
            key,
            columns: Vec::new(),
            layout: Arc::from([]),
            generation: 0,
            frames: Vec::new(),
            rows: Vec::new(),
        });
        id
    }

    /// How many groups there are: ids are dense.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// A group's name.
    pub fn group_key(&self, group: GroupId) -> Option<&Arc<str>> {
        self.groups.get(group.0 as usize).map(|group| &group.key)
    }

    /// The series with these labels, made if it is new; `None` if there would be more than `max`.
    pub fn series(&mut self, group: GroupId, labels: &Labels, max: usize) -> Option<SeriesId> {
        if let Some(id) = self.dictionary.find(labels) {
            return Some(id);
        }
        (self.dictionary.len() < max).then(|| self.dictionary.insert(group, labels))
    }

    /// Samples before this are in blocks.
    pub fn cut(&self) -> Timestamp {
        self.cut
    }

    /// From when on all samples are here, known since the first cut of a run.
    pub fn kept_since(&self) -> Timestamp {
        self.kept_since
    }

    /// Whether rows up to `last`, appended up to `sequence`, are in blocks too.
    fn is_stored(&self, last: Timestamp, sequence: u64) -> bool {
        last < self.cut && sequence <= self.cut_sequence
    }

    /// The oldest sample that blocks do not have.
    pub fn oldest_unstored(&self) -> Option<Timestamp> {
        let frame_of = |group: &Group| {
            let mut frames = group.frames.iter().filter(|frame| !self.is_stored(frame.last(), frame.sequence));
            frames.next().map(|frame| frame.first())
        };
        let row_of = |group: &Group| {
            let mut rows = group.rows.iter().filter(|row| !self.is_stored(row.timestamp, row.sequence));
            rows.next().map(|row| row.timestamp)
        };
        let groups = self.groups.iter().filter_map(|group| frame_of(group).or_else(|| row_of(group)));
        groups.chain(self.strays.values().filter_map(|stray| Some(stray.time_span()?.0))).min()
    }

    /// Samples held.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Oldest and newest time held.
    pub fn time_span(&self) -> Option<(Timestamp, Timestamp)> {
        let groups = self.groups.iter().filter_map(Group::time_span);
        let strays = self.strays.values().filter_map(Stray::time_span);
        groups.chain(strays).reduce(|all, one| (all.0.min(one.0), all.1.max(one.1)))
    }

    /// The newest sample of a series that memory knows of, blocks or not.
    pub fn newest_of(&self, id: SeriesId) -> Option<(Timestamp, f64)> {
        self.newest_in(self.dictionary.record(id)?)
    }

    /// The same of a known series.
    pub fn newest_in(&self, record: &Record) -> Option<(Timestamp, f64)> {
        if record.column == NO_COLUMN {
            return self.strays.get(&record.id).map(|stray| stray.newest);
        }
        let column = self.groups.get(record.group.0 as usize)?.columns.get(record.column as usize)?;
        (column.newest_at > Timestamp::MIN).then_some((column.newest_at, column.newest))
    }

    /// Tells the newest sample of a series, of which memory knows none.
    pub fn recall(&mut self, id: SeriesId, timestamp: Timestamp, value: f64) {
        let Some(record) = self.dictionary.record(id) else { return };
        let (newest_at, newest) = if record.column == NO_COLUMN {
            let newest = &mut self.strays.entry(id).or_default().newest;
            (&mut newest.0, &mut newest.1)
        } else {
            let column = &mut self.groups[record.group.0 as usize].columns[record.column as usize];
            (&mut column.newest_at, &mut column.newest)
        };
        if *newest_at == Timestamp::MIN {
            (*newest_at, *newest) = (timestamp, value);
        }
    }

    /// Bytes of memory, estimated from the capacities.
    pub fn memory(&self) -> usize {
        self.dictionary.memory() + self.sample_memory() + self.stray_log.capacity() * size_of::<StraySample>()
    }

    /// Bytes of memory for samples alone.
    pub fn sample_memory(&self) -> usize {
        let groups: usize = self.groups.iter().map(Group::memory).sum();
        groups + self.strays.values().map(Stray::memory).sum::<usize>()
    }

    /// Compressed segments held.
    pub fn chunk_count(&self) -> u64 {
        self.groups.iter().flat_map(|group| &group.frames).map(|frame| frame.segment_count() as u64).sum()
    }

    /// Forgets series that have had no sample since `since` and have none in memory, and columns
    /// whose series have moved on.
    pub fn drop_ended(&mut self, since: Timestamp) {
        self.groups.iter_mut().for_each(|group| group.drop_columns(since));
        self.strays.retain(|_, stray| stray.newest.0 >= since || !stray.is_empty());
        let mut kept: Vec<SeriesId> = self.groups.iter().flat_map(Group::held_series).collect();
        kept.extend(self.strays.keys());
        kept.sort_unstable();
        kept.dedup();
        if kept.len() < self.dictionary.len() {
            self.dictionary.retain(|id| kept.binary_search(&id).is_ok());
        }
        self.dictionary.clear_columns();
        for group in &self.groups {
            for (index, series) in group.layout.iter().enumerate() {
                self.dictionary.record_mut(*series).expect("kept above").column = index as u32;
            }
        }
    }
}

impl Group {
    fn drop_columns(&mut self, since: Timestamp) {
        // A series whose samples are still here would not be found without its column.
        let since = since.min(self.time_span().map_or(Timestamp::MAX, |(oldest, _)| oldest));
        if self.columns.iter().all(|column| column.newest_at >= since) {
            return;
        }
        let kept = self.layout.iter().zip(&self.columns).filter(|(_, column)| column.newest_at >= since);
        self.layout = kept.map(|(series, _)| *series).collect();
        self.columns.retain(|column| column.newest_at >= since);
        self.columns.shrink_to_fit();
        self.generation += 1;
    }

    /// Oldest and newest time held in rows and frames.
    fn time_span(&self) -> Option<(Timestamp, Timestamp)> {
        let row = |row: &Row| row.timestamp;
        let first = self.frames.iter().map(|frame| frame.first()).chain(self.rows.first().map(row)).min()?;
        let last = self.frames.iter().map(|frame| frame.last()).chain(self.rows.last().map(row)).max()?;
        Some((first, last))
    }

    /// The series of the present layout, and of older ones that rows and frames still use.
    fn held_series(&self) -> impl Iterator<Item = SeriesId> {
        let older = self.frames.iter().map(|frame| &frame.layout).chain(self.rows.iter().map(|row| &row.layout));
        let mut layouts: Vec<&Arc<[SeriesId]>> = std::iter::once(&self.layout).chain(older).collect();
        layouts.dedup_by(|a, b| Arc::ptr_eq(a, b));
        layouts.into_iter().flat_map(|layout| layout.iter().copied())
    }

    fn memory(&self) -> usize {
        let rows: usize = self.rows.iter().map(|row| row.values.len() * 8 + size_of::<Row>() + 16).sum();
        let frames: usize = self.frames.iter().map(|frame| frame.memory()).sum();
        size_of::<Self>()
            + self.key.len()
            + self.columns.capacity() * size_of::<Column>()
            + self.layout.len() * 4
            + rows
            + frames
    }
}
