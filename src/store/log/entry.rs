//! What a log record says: definitions, rows, strays, frames. FORMAT.md draws the bytes.
//!
//! A [`Scribe`] writes entries and remembers what its file already says, so that a series is named
//! once and a row is written against the one before. A [`Reader`] holds the same state on the way
//! back. Both begin anew at a checkpoint, which defines everything.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::row::{decode_row, encode_row, take};
use crate::codec::{CodecError, Segment, absent, read_signed, read_unsigned, write_signed, write_unsigned};
use crate::model::{Labels, Timestamp};
use crate::store::head::{Frame, GroupView, Head, Row, StraySample};
use crate::store::{GroupId, SeriesId};

const GROUP: u8 = 1;
const SERIES: u8 = 2;
const LAYOUT: u8 = 3;
const ROW: u8 = 4;
const STRAYS: u8 = 5;
const FRAME: u8 = 6;

/// Writes entries.
#[derive(Default)]
pub(in crate::store) struct Scribe {
    groups_known: u32,
    series_known: u32,
    /// Per group: the generation and the length of the layout that was written.
    layouts: HashMap<GroupId, (u32, usize), FixedState>,
    /// Per group: the row that was written last.
    bases: HashMap<GroupId, Arc<[f64]>, FixedState>,
}

impl Scribe {
    /// Forgets rows and layouts, as a new file that leans on known definitions must.
    pub fn forget_rows(&mut self) {
        self.layouts.clear();
        self.bases.clear();
    }

    /// Takes over which definitions are known.
    pub fn assume_definitions_of(&mut self, other: &Self) {
        (self.groups_known, self.series_known) = (other.groups_known, other.series_known);
    }

    /// Defines the groups and series that are not known yet.
    pub fn write_definitions(&mut self, head: &Head, out: &mut Vec<u8>) {
        for id in self.groups_known..head.group_count() as u32 {
            let key = head.group_key(GroupId(id)).expect("ids are dense");
            out.push(GROUP);
            write_unsigned(out, u64::from(id));
            write_text(out, key);
        }
        self.groups_known = head.group_count() as u32;
        let records = head.dictionary.records();
        let new = records.partition_point(|record| record.id.0 < self.series_known);
        for record in &records[new..] {
            out.push(SERIES);
            write_unsigned(out, u64::from(record.id.0));
            write_unsigned(out, u64::from(record.group.0));
            write_unsigned(out, head.dictionary.pairs_of(record).count() as u64);
            for (name, value) in head.dictionary.pairs_of(record) {
                write_text(out, name);
                write_text(out, value);
            }
        }
        self.series_known = head.dictionary.next_id();
    }

    /// Writes a row, and its layout where the file does not know it.
    pub fn write_row(&mut self, group: GroupId, row: &Row, out: &mut Vec<u8>) {
        self.write_layout(group, row.generation, &row.layout, out);
        out.push(ROW);
        write_unsigned(out, u64::from(group.0));
        write_signed(out, row.timestamp.0);
        let base = self.bases.get(&group).map_or(&[][..], |base| base);
        encode_row(base, &row.values, out);
        self.bases.insert(group, Arc::clone(&row.values));
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
        mut split: impl FnMut(&mut Vec<u8>),
    ) {
        for frame in &view.frames {
            self.write_frame(group, frame, out);
            split(out);
        }
        for row in &view.rows {
            self.write_row(group, row, out);
            split(out);
        }
    }

    fn write_layout(&mut self, group: GroupId, generation: u32, layout: &Arc<[SeriesId]>, out: &mut Vec<u8>) {
        let known = self.layouts.get(&group).copied();
        let from = match known {
            Some((known, len)) if known == generation && len >= layout.len() => return,
            Some((known, len)) if known == generation => len,
            _ => 0,
        };
        if from == 0 {
            self.bases.remove(&group);
        }
        out.push(LAYOUT);
        write_unsigned(out, u64::from(group.0));
        write_unsigned(out, from as u64);
        write_ids(&layout[from..], out);
        self.layouts.insert(group, (generation, layout.len()));
    }
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
}

/// Reads entries.
#[derive(Default)]
pub(in crate::store) struct Reader {
    layouts: HashMap<u32, Vec<u32>, FixedState>,
    bases: HashMap<u32, Vec<f64>, FixedState>,
}

impl Reader {
    /// Forgets rows and layouts, as [`Scribe::forget_rows`] did.
    pub fn forget_rows(&mut self) {
        self.layouts.clear();
        self.bases.clear();
    }

    /// Reads all entries of a payload into `sink`.
    pub fn read(&mut self, mut input: &[u8], sink: &mut dyn Sink) -> Result<(), CodecError> {
        while let Some((&tag, rest)) = input.split_first() {
            input = rest;
            match tag {
                GROUP => {
                    let id = read_u32(&mut input)?;
                    sink.group(id, read_text(&mut input)?);
                }
                SERIES => self.read_series(&mut input, sink)?,
                LAYOUT => self.read_layout(&mut input)?,
                ROW => self.read_row(&mut input, sink)?,
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
            self.bases.remove(&group);
        }
        let layout = self.layouts.entry(group).or_default();
        if from > layout.len() as u64 {
            return Err(CodecError::Malformed("a layout continues one that is not known"));
        }
        layout.truncate(from as usize);
        layout.extend(ids);
        Ok(())
    }

    fn read_row(&mut self, input: &mut &[u8], sink: &mut dyn Sink) -> Result<(), CodecError> {
        let group = read_u32(input)?;
        let timestamp = Timestamp(read_signed(input)?);
        let base = self.bases.entry(group).or_default();
        *base = decode_row(base, input)?;
        let layout = self.layouts.get(&group).filter(|layout| layout.len() >= base.len());
        let layout = layout.ok_or(CodecError::Malformed("a row without its layout"))?;
        sink.row(group, timestamp, &layout[..base.len()], base);
        Ok(())
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
