//! What a log record says: definitions, rows, strays, frames. FORMAT.md draws the bytes.
//!
//! A [`Scribe`] writes entries and remembers what its file already says, so that a series is named
//! once and a row is written against the one before. A [`Reader`] holds the same state on the way
//! back.
//!
//! In the log every record is read without the records before it, but for *anchors*: the first row of each
//! group behind a checkpoint. Each record begins from them alone; there is one per group and checkpoint, so
//! that a reader has the right one or knows that it has none. Anchors and definitions are written again
//! by the next flush: a lost record costs itself alone.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::bits::{decode_bits, encode_bits};
use super::row::{decode_row, encode_row, skip_row, take};
use crate::codec::{CodecError, Segment, absent, read_signed, read_unsigned, write_signed, write_unsigned};
use crate::model::{Labels, Timestamp};
use crate::store::head::{Frame, GroupView, Head, Row, StraySample};
use crate::store::{GroupId, SeriesId};

const GROUP: u8 = 1;
/// A series with all its labels: read, no longer written.
const SERIES: u8 = 2;
const LAYOUT: u8 = 3;
const ROW: u8 = 4;
const STRAYS: u8 = 5;
const FRAME: u8 = 6;
/// A row that later records lean on.
const ANCHOR: u8 = 7;
/// A series, and how it differs from the one before.
const NEXT_SERIES: u8 = 8;
/// What others keep beside the samples.
const NOTE: u8 = 9;
/// A row of the tail: what is read once at most should cost little to write.
const BITS_ROW: u8 = 10;

/// Writes entries.
#[derive(Default)]
pub(in crate::store) struct Scribe {
    /// Groups and series that are defined.
    known: Known,
    /// The same before the flush before this one: from there on all is defined again.
    known_before: Known,
    /// Per group: what was written last.
    written: HashMap<GroupId, Written, FixedState>,
    /// Per group: the first row behind the checkpoint. `None` in the tail, which is read from its start.
    anchors: Option<HashMap<GroupId, Row, FixedState>>,
    /// Groups whose anchors this flush writes.
    anchored: Vec<GroupId>,
    /// A group has another layout than its anchor: its rows are written in full.
    is_outgrown: bool,
}

#[derive(Clone, Copy, Default)]
struct Known {
    groups: u32,
    series: u32,
}

/// Where a group's rows stand.
struct Written {
    generation: u32,
    layout_len: usize,
    base: Option<Arc<[f64]>>,
}

impl Scribe {
    /// For the records from one checkpoint to the next.
    pub fn with_anchors() -> Self {
        Self { anchors: Some(HashMap::default()), ..Self::default() }
    }

    /// Forgets rows and layouts, as a new file that leans on known definitions must.
    pub fn forget_rows(&mut self) {
        self.written.clear();
    }

    /// Takes over which definitions are known.
    pub fn assume_definitions_of(&mut self, other: &Self) {
        self.known = other.known;
    }

    /// Whether a checkpoint would make rows shorter.
    pub fn is_outgrown(&self) -> bool {
        self.is_outgrown
    }

    /// Begins the first record of a flush: defines what is new, and once more what the flush before has defined.
    pub fn begin_flush(&mut self, head: &Head, out: &mut Vec<u8>) {
        let known = std::mem::replace(&mut self.known, self.known_before);
        self.known_before = known;
        self.write_definitions(head, out);
        for (name, bytes) in &head.notes {
            // Each flush says all of them: the newest record has them, whatever becomes of the others.
            out.push(NOTE);
            write_text(out, name);
            write_unsigned(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
        self.begin_record();
        for group in std::mem::take(&mut self.anchored) {
            if let Some(row) = self.anchors.as_ref().and_then(|anchors| anchors.get(&group)).cloned() {
                self.written.remove(&group);
                self.write_row_as(ANCHOR, group, &row, out);
            }
        }
    }

    /// Begins another record: from the anchors alone.
    pub fn begin_record(&mut self) {
        self.written.clear();
        for (group, row) in self.anchors.iter().flatten() {
            self.written.insert(*group, Written::by(row));
        }
    }

    /// Defines the groups and series that are not known yet.
    pub fn write_definitions(&mut self, head: &Head, out: &mut Vec<u8>) {
        for id in self.known.groups..head.group_count() as u32 {
            let key = head.group_key(GroupId(id)).expect("ids are dense");
            out.push(GROUP);
            write_unsigned(out, u64::from(id));
            write_text(out, key);
        }
        self.known.groups = head.group_count() as u32;
        if self.known.series == head.dictionary.next_id() {
            return;
        }
        let records = head.dictionary.records();
        let new = records.partition_point(|record| record.id.0 < self.known.series);
        let (mut labels, mut before, mut id_before) = (Vec::new(), Vec::new(), 0);
        for record in &records[new..] {
            labels.clear();
            labels.extend(head.dictionary.pairs_of(record));
            out.push(NEXT_SERIES);
            write_unsigned(out, u64::from(record.id.0 - id_before));
            write_unsigned(out, u64::from(record.group.0));
            write_labels(&before, &labels, out);
            std::mem::swap(&mut before, &mut labels);
            id_before = record.id.0;
        }
        self.known.series = head.dictionary.next_id();
    }

    /// Writes a row, and its layout where the record does not know it.
    pub fn write_row(&mut self, group: GroupId, row: &Row, out: &mut Vec<u8>) {
        let anchor = self.anchors.as_ref().map(|anchors| anchors.get(&group));
        match anchor {
            Some(None) => {
                self.write_row_as(ANCHOR, group, row, out);
                self.anchors.get_or_insert_default().insert(group, row.clone());
                self.anchored.push(group);
            }
            Some(Some(anchor)) => {
                self.is_outgrown |= anchor.generation != row.generation;
                self.write_row_as(ROW, group, row, out);
            }
            None => self.write_row_as(BITS_ROW, group, row, out),
        }
    }

    fn write_row_as(&mut self, tag: u8, group: GroupId, row: &Row, out: &mut Vec<u8>) {
        self.write_layout(group, row, out);
        out.push(tag);
        write_unsigned(out, u64::from(group.0));
        write_signed(out, row.timestamp.0);
        let written = self.written.get(&group);
        let base = written.and_then(|written| written.base.as_deref()).unwrap_or_default();
        match tag {
            BITS_ROW => encode_bits(base, &row.values, out),
            _ => encode_row(base, &row.values, out),
        }
        self.written.insert(group, Written::by(row));
    }

    /// Writes strays.
    pub fn write_strays(&mut self, strays: &[StraySample], out: &mut Vec<u8>) {
        if strays.is_empty() {
            return;
        }
        out.push(STRAYS);
        write_unsigned(out, strays.len() as u64);
        let (mut series, mut timestamp) = (0i64, 0i64);
        for stray in strays {
            write_signed(out, i64::from(stray.series.0) - series);
            write_signed(out, stray.timestamp.0.wrapping_sub(timestamp));
            out.extend_from_slice(&stray.value.to_bits().to_le_bytes());
            (series, timestamp) = (i64::from(stray.series.0), stray.timestamp.0);
        }
    }

    /// Writes a frame as it is, with its own layout.
    pub fn write_frame(&mut self, group: GroupId, frame: &Frame, out: &mut Vec<u8>) {
        out.push(FRAME);
        write_unsigned(out, u64::from(group.0));
        write_ids(&frame.layout, out);
        write_unsigned(out, frame.times.len() as u64);
        frame.times.iter().for_each(|time| write_signed(out, time.0));
        write_unsigned(out, frame.segments().len() as u64);
        for segment in frame.segments() {
            write_unsigned(out, segment.len() as u64);
            out.extend_from_slice(segment);
        }
    }

    /// Writes frames, then rows. `split` is called between entries.
    pub fn write_view(
        &mut self,
        group: GroupId,
        view: &GroupView,
        out: &mut Vec<u8>,
        mut split: impl FnMut(&mut Self, &mut Vec<u8>),
    ) {
        for frame in &view.frames {
            self.write_frame(group, frame, out);
            split(self, out);
        }
        for row in &view.rows {
            self.write_row(group, row, out);
            split(self, out);
        }
    }

    fn write_layout(&mut self, group: GroupId, row: &Row, out: &mut Vec<u8>) {
        let known = self.written.get_mut(&group).filter(|written| written.generation == row.generation);
        let from = known.as_ref().map_or(0, |written| written.layout_len);
        if known.is_some() && from >= row.layout.len() {
            return;
        }
        match known {
            Some(written) => written.layout_len = row.layout.len(),
            None => drop(self.written.remove(&group)),
        }
        out.push(LAYOUT);
        write_unsigned(out, u64::from(group.0));
        write_unsigned(out, from as u64);
        write_ids(&row.layout[from..], out);
    }
}

impl Written {
    fn by(row: &Row) -> Self {
        Self { generation: row.generation, layout_len: row.layout.len(), base: Some(Arc::clone(&row.values)) }
    }
}

/// Writes how many labels are the first ones of `before` and how many the last ones, then those between them.
fn write_labels(before: &[(&str, &str)], labels: &[(&str, &str)], out: &mut Vec<u8>) {
    let leading = labels.iter().zip(before).take_while(|(now, then)| now == then).count();
    let rest = labels[leading..].iter().rev().zip(before[leading..].iter().rev());
    let trailing = rest.take_while(|(now, then)| now == then).count();
    let own = &labels[leading..labels.len() - trailing];
    write_unsigned(out, leading as u64);
    write_unsigned(out, trailing as u64);
    write_unsigned(out, own.len() as u64);
    for (name, value) in own {
        write_text(out, name);
        write_text(out, value);
    }
}

/// Reads what [`write_labels`] wrote; `before` becomes the labels.
fn read_labels<'a>(before: &mut Vec<(&'a str, &'a str)>, input: &mut &'a [u8]) -> Result<(), CodecError> {
    let (leading, trailing) = (read_unsigned(input)?, read_unsigned(input)?);
    if leading.saturating_add(trailing) > before.len() as u64 {
        return Err(CodecError::Malformed("more labels than the series before has"));
    }
    let mut own = Vec::new();
    for _ in 0..read_unsigned(input)? {
        own.push((read_text(input)?, read_text(input)?));
    }
    let end = before.len() - trailing as usize;
    before.splice(leading as usize..end, own);
    Ok(())
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    write_unsigned(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn write_ids(ids: &[SeriesId], out: &mut Vec<u8>) {
    write_unsigned(out, ids.len() as u64);
    let mut last = 0i64;
    for id in ids {
        write_signed(out, i64::from(id.0) - last);
        last = i64::from(id.0);
    }
}

/// Receives what a log says.
pub(in crate::store) trait Sink {
    /// A group, under the id that the log gives it.
    fn group(&mut self, id: u32, key: &str);
    /// A series, under the id that the log gives it.
    fn series(&mut self, id: u32, group: u32, labels: &Labels);
    /// Samples of a group at one time, one per series of the layout, absent ones included.
    fn row(&mut self, group: u32, timestamp: Timestamp, layout: &[u32], values: &[f64]);
    /// A sample with its own time.
    fn stray(&mut self, series: u32, timestamp: Timestamp, value: f64);
    /// What stands under a name from here on.
    fn note(&mut self, _name: &str, _bytes: &[u8]) {}
}

/// Reads entries.
#[derive(Default)]
pub(in crate::store) struct Reader {
    groups: HashMap<u32, GroupState, FixedState>,
    anchors: HashMap<u32, GroupState, FixedState>,
    /// The record whose anchors these are.
    checkpoint: u64,
    /// Rows that were passed over, since what they lean on is lost.
    pub rows_skipped: u64,
}

/// What is known of a group's rows.
#[derive(Clone, Default)]
struct GroupState {
    layout: Vec<u32>,
    base: Vec<f64>,
}

impl Reader {
    /// Forgets rows and layouts, as [`Scribe::forget_rows`] did.
    pub fn forget_rows(&mut self) {
        self.groups.clear();
        self.anchors.clear();
    }

    /// Begins a record that leans on the anchors behind the checkpoint `checkpoint`.
    pub fn begin_record(&mut self, checkpoint: u64) {
        self.groups.clear();
        if self.checkpoint != checkpoint {
            self.anchors.clear();
            self.checkpoint = checkpoint;
        }
    }

    /// Reads all entries of a payload into `sink`.
    pub fn read(&mut self, mut input: &[u8], sink: &mut dyn Sink) -> Result<(), CodecError> {
        let (mut labels, mut id_before) = (Vec::new(), 0u32);
        while let Some((&tag, rest)) = input.split_first() {
            input = rest;
            match tag {
                GROUP => {
                    let id = read_u32(&mut input)?;
                    sink.group(id, read_text(&mut input)?);
                }
                SERIES => self.read_series(&mut input, sink)?,
                NEXT_SERIES => {
                    let id = id_before.checked_add(read_u32(&mut input)?);
                    id_before = id.ok_or(CodecError::Malformed("a series id out of range"))?;
                    let group = read_u32(&mut input)?;
                    read_labels(&mut labels, &mut input)?;
                    sink.series(id_before, group, &Labels::from_sorted(labels.iter().copied()));
                }
                LAYOUT => self.read_layout(&mut input)?,
                ROW | BITS_ROW => {
                    if let Some((group, timestamp)) = self.read_row(tag, &mut input)? {
                        self.give(group, timestamp, sink);
                    }
                }
                ANCHOR => {
                    if let Some((group, timestamp)) = self.read_row(tag, &mut input)? {
                        let before = self.anchors.insert(group, self.groups[&group].clone());
                        // Said again it is no sample of this record: blocks may have it already.
                        if before.is_none() {
                            self.give(group, timestamp, sink);
                        }
                    }
                }
                NOTE => {
                    let name = read_text(&mut input)?;
                    sink.note(name, take(&mut input)?);
                }
                STRAYS => read_strays(&mut input, sink)?,
                FRAME => read_frame(&mut input, sink)?,
                _ => return Err(CodecError::Malformed("unknown entry in the log")),
            }
        }
        Ok(())
    }

    fn read_series(&mut self, input: &mut &[u8], sink: &mut dyn Sink) -> Result<(), CodecError> {
        let (id, group, count) = (read_u32(input)?, read_u32(input)?, read_unsigned(input)?);
        let mut pairs = Vec::new();
        for _ in 0..count {
            pairs.push((read_text(input)?, read_text(input)?));
        }
        sink.series(id, group, &Labels::from_sorted(pairs));
        Ok(())
    }

    fn read_layout(&mut self, input: &mut &[u8]) -> Result<(), CodecError> {
        let (group, from) = (read_u32(input)?, read_unsigned(input)?);
        let ids = read_ids(input)?;
        if from == 0 {
            self.groups.insert(group, GroupState { layout: ids, base: Vec::new() });
            return Ok(());
        }
        // Without its beginning it says nothing, nor do the rows that follow.
        let Some(known) = self.known(group) else { return Ok(()) };
        if from > known.layout.len() as u64 {
            return Err(CodecError::Malformed("a layout continues one that is not known"));
        }
        known.layout.truncate(from as usize);
        known.layout.extend(ids);
        Ok(())
    }

    /// Gives group and time, unless the row had to be passed over.
    fn read_row(&mut self, tag: u8, input: &mut &[u8]) -> Result<Option<(u32, Timestamp)>, CodecError> {
        let group = read_u32(input)?;
        let timestamp = Timestamp(read_signed(input)?);
        let Some(known) = self.known(group) else {
            skip_row(input)?;
            self.rows_skipped += 1;
            return Ok(None);
        };
        known.base = match tag {
            BITS_ROW => decode_bits(&known.base, known.layout.len(), input)?,
            _ => decode_row(&known.base, known.layout.len(), input)?,
        };
        Ok(Some((group, timestamp)))
    }

    /// Passes on the row that a group is at.
    fn give(&self, group: u32, timestamp: Timestamp, sink: &mut dyn Sink) {
        let GroupState { layout, base } = &self.groups[&group];
        sink.row(group, timestamp, &layout[..base.len()], base);
    }

    /// What is known of a group in this record.
    fn known(&mut self, group: u32) -> Option<&mut GroupState> {
        match self.groups.entry(group) {
            Entry::Occupied(entry) => Some(entry.into_mut()),
            Entry::Vacant(entry) => Some(entry.insert(self.anchors.get(&group)?.clone())),
        }
    }
}

fn read_strays(input: &mut &[u8], sink: &mut dyn Sink) -> Result<(), CodecError> {
    let (mut series, mut timestamp) = (0i64, 0i64);
    for _ in 0..read_unsigned(input)? {
        series = series.wrapping_add(read_signed(input)?);
        timestamp = timestamp.wrapping_add(read_signed(input)?);
        let (bits, rest) = input.split_first_chunk::<8>().ok_or(CodecError::Truncated)?;
        *input = rest;
        let id = u32::try_from(series).map_err(|_| CodecError::Malformed("a series id out of range"))?;
        sink.stray(id, Timestamp(timestamp), f64::from_bits(u64::from_le_bytes(*bits)));
    }
    Ok(())
}

fn read_frame(input: &mut &[u8], sink: &mut dyn Sink) -> Result<(), CodecError> {
    let group = read_u32(input)?;
    let layout = read_ids(input)?;
    let mut times = Vec::new();
    for _ in 0..read_unsigned(input)? {
        times.push(Timestamp(read_signed(input)?));
    }
    let mut columns = Vec::new();
    for _ in 0..read_unsigned(input)? {
        let segment = Segment::open(take(input)?)?;
        if segment.row_count() != times.len() {
            return Err(CodecError::Malformed("a segment does not fit its frame"));
        }
        (0..segment.column_count()).try_for_each(|column| segment.column(column, &mut columns))?;
    }
    if columns.len() != times.len() * layout.len() {
        return Err(CodecError::Malformed("a frame's segments do not fit its layout"));
    }
    let mut row = vec![absent(); layout.len()];
    for (index, time) in times.iter().enumerate() {
        row.iter_mut().zip(columns.chunks_exact(times.len())).for_each(|(value, column)| *value = column[index]);
        sink.row(group, *time, &layout, &row);
    }
    Ok(())
}

fn read_ids(input: &mut &[u8]) -> Result<Vec<u32>, CodecError> {
    let (mut ids, mut last) = (Vec::new(), 0i64);
    for _ in 0..read_unsigned(input)? {
        last = last.wrapping_add(read_signed(input)?);
        ids.push(u32::try_from(last).map_err(|_| CodecError::Malformed("a series id out of range"))?);
    }
    Ok(ids)
}

fn read_u32(input: &mut &[u8]) -> Result<u32, CodecError> {
    u32::try_from(read_unsigned(input)?).map_err(|_| CodecError::Malformed("an id out of range"))
}

fn read_text<'a>(input: &mut &'a [u8]) -> Result<&'a str, CodecError> {
    std::str::from_utf8(take(input)?).map_err(|_| CodecError::Malformed("text that is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes series alone.
    #[derive(Default)]
    struct Series(Vec<(u32, u32, Labels)>);

    impl Sink for Series {
        fn group(&mut self, _: u32, _: &str) {}
        fn series(&mut self, id: u32, group: u32, labels: &Labels) {
            self.0.push((id, group, labels.clone()));
        }
        fn row(&mut self, _: u32, _: Timestamp, _: &[u32], _: &[f64]) {}
        fn stray(&mut self, _: u32, _: Timestamp, _: f64) {}
    }

    #[test]
    fn labels_come_back_from_what_differs() {
        let lists: [&[(&str, &str)]; 8] = [
            &[("__name__", "up"), ("instance", "a"), ("job", "b")],
            &[("__name__", "up"), ("instance", "a"), ("job", "b")],
            &[("__name__", "up"), ("instance", "c"), ("job", "b")],
            &[("__name__", "x"), ("instance", "c"), ("job", "b"), ("le", "1")],
            &[("__name__", "x"), ("instance", "c"), ("job", "b"), ("le", "2")],
            &[("__name__", "x"), ("job", "b")],
            &[],
            &[("a", "")],
        ];
        let (mut bytes, mut before) = (Vec::new(), Vec::new());
        for list in lists {
            write_labels(&before, list, &mut bytes);
            before = list.to_vec();
        }
        let (mut input, mut labels) = (bytes.as_slice(), Vec::new());
        for list in lists {
            read_labels(&mut labels, &mut input).expect("just written");
            assert_eq!(labels, list);
        }
        assert!(input.is_empty());
        assert!(read_labels(&mut labels, &mut [1, 1, 0].as_slice()).is_err(), "there is one label alone");
    }

    #[test]
    fn series_of_earlier_versions_are_read() {
        let mut bytes = vec![SERIES, 7, 3, 2];
        ["__name__", "up", "job", "node"].iter().for_each(|text| write_text(&mut bytes, text));
        let mut series = Series::default();
        Reader::default().read(&bytes, &mut series).expect("well formed");
        assert_eq!(series.0, [(7, 3, Labels::from_pairs([("__name__", "up"), ("job", "node")]))]);
    }
}
