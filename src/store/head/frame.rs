//! Rows, and what they become: frames of compressed segments.

use std::sync::Arc;

use crate::codec::{CodecError, Effort, Packer, Segment, Unpacker, absent, encode_segment};
use crate::model::Timestamp;
use crate::store::SeriesId;

/// Columns per compressed segment: what a reader of one series has to unpack.
const SEGMENT_COLUMNS: usize = 64;

/// One scrape: a value per column of its layout, absent ones included. Cloning shares the values.
#[derive(Clone, Debug)]
pub(in crate::store) struct Row {
    pub timestamp: Timestamp,
    /// The append that made it or last added to it.
    pub sequence: u64,
    /// The group's generation then.
    pub generation: u32,
    pub layout: Arc<[SeriesId]>,
    pub values: Arc<[f64]>,
}

impl Row {
    /// Where a series stands in the row, if `hint` or a search finds it.
    pub fn column_of(&self, series: SeriesId, hint: u32) -> Option<usize> {
        column_of(&self.layout, series, hint)
    }
}

/// Consecutive rows of one generation, compressed.
#[derive(Debug)]
pub(in crate::store) struct Frame {
    pub layout: Arc<[SeriesId]>,
    pub times: Box<[Timestamp]>,
    /// The newest append within.
    pub sequence: u64,
    pub generation: u32,
    /// Samples within.
    pub samples: u64,
    segments: Box<[Box<[u8]>]>,
}

impl Frame {
    /// Compresses rows of one generation, oldest first; there is at least one.
    pub fn of_rows(rows: &[Row]) -> Self {
        let newest = rows.last().expect("a frame has rows");
        let mut columns = ColumnBuffer::new(rows.len(), Effort::Quick);
        let segments = columns.encode(newest.layout.len(), |column, values| {
            values.extend(rows.iter().map(|row| row.values.get(column).copied().unwrap_or(absent())));
            Ok(())
        });
        Self {
            layout: Arc::clone(&newest.layout),
            times: rows.iter().map(|row| row.timestamp).collect(),
            sequence: newest.sequence,
            generation: newest.generation,
            samples: columns.samples,
            segments: segments.expect("rows in memory are not damaged"),
        }
    }

    /// Compresses consecutive frames of one generation anew, oldest first; there is at least one.
    pub fn of_frames(frames: &[Arc<Frame>]) -> Result<Self, CodecError> {
        let newest = frames.last().expect("a frame has rows");
        let times: Box<[Timestamp]> = frames.iter().flat_map(|frame| frame.times.iter().copied()).collect();
        let mut columns = ColumnBuffer::new(times.len(), Effort::Usual);
        let mut open: Vec<(usize, Segment)> = Vec::new();
        let mut unpacker = Unpacker::default();
        let segments = columns.encode(newest.layout.len(), |column, values| {
            if column.is_multiple_of(SEGMENT_COLUMNS) {
                open = open_segments(frames, column / SEGMENT_COLUMNS, &mut unpacker)?;
            }
            for (rows, segment) in &open {
                match segment.column(column % SEGMENT_COLUMNS, values) {
                    // The series was new after this frame.
                    Err(CodecError::NoSuchColumn(_)) => values.extend(std::iter::repeat_n(absent(), *rows)),
                    outcome => outcome?,
                }
            }
            Ok(())
        })?;
        Ok(Self {
            layout: Arc::clone(&newest.layout),
            times,
            sequence: newest.sequence,
            generation: newest.generation,
            samples: columns.samples,
            segments,
        })
    }

    /// The time of its first row.
    pub fn first(&self) -> Timestamp {
        *self.times.first().expect("a frame has rows")
    }

    /// The time of its last row.
    pub fn last(&self) -> Timestamp {
        *self.times.last().expect("a frame has rows")
    }

    /// How many segments it has.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// The compressed segments; their times are row numbers.
    pub fn segments(&self) -> &[Box<[u8]>] {
        &self.segments
    }

    /// Which segment holds a series, and as which column.
    pub fn place_of(&self, series: SeriesId, hint: u32) -> Option<(usize, usize)> {
        let column = column_of(&self.layout, series, hint)?;
        Some((column / SEGMENT_COLUMNS, column % SEGMENT_COLUMNS))
    }

    /// Unpacks one segment.
    pub fn open_segment(&self, index: usize, unpacker: &mut Unpacker) -> Result<Segment, CodecError> {
        Segment::open_with(self.segments.get(index).ok_or(CodecError::Truncated)?, None, unpacker)
    }

    /// Bytes of memory. The layout is counted by the group.
    pub fn memory(&self) -> usize {
        let segments: usize = self.segments.iter().map(|segment| segment.len() + size_of::<Box<[u8]>>()).sum();
        size_of::<Self>() + self.times.len() * size_of::<Timestamp>() + segments
    }
}

fn column_of(layout: &[SeriesId], series: SeriesId, hint: u32) -> Option<usize> {
    let hint = hint as usize;
    if layout.get(hint) == Some(&series) {
        return Some(hint);
    }
    layout.iter().position(|candidate| *candidate == series)
}

fn open_segments(
    frames: &[Arc<Frame>],
    index: usize,
    unpacker: &mut Unpacker,
) -> Result<Vec<(usize, Segment)>, CodecError> {
    frames
        .iter()
        .map(|frame| {
            let segment = match frame.segments.get(index) {
                Some(bytes) => Segment::open_with(bytes, None, unpacker)?,
                None => empty_segment()?,
            };
            Ok((frame.times.len(), segment))
        })
        .collect()
}

fn empty_segment() -> Result<Segment, CodecError> {
    let mut bytes = Vec::new();
    encode_segment(&[], &[], Effort::Quick, &mut bytes);
    Segment::open(&bytes)
}

/// Columns side by side, encoded as soon as there are enough for a segment.
struct ColumnBuffer {
    row_numbers: Vec<Timestamp>,
    values: Vec<f64>,
    samples: u64,
    packer: Packer,
}

impl ColumnBuffer {
    fn new(rows: usize, effort: Effort) -> Self {
        // Times stand once in the frame; what a segment carries in their place costs three bytes.
        let row_numbers = (0..rows as i64).map(Timestamp).collect();
        Self { row_numbers, values: Vec::new(), samples: 0, packer: Packer::new(effort) }
    }

    /// `fill` appends the values of one column, one per row.
    fn encode(
        &mut self,
        columns: usize,
        mut fill: impl FnMut(usize, &mut Vec<f64>) -> Result<(), CodecError>,
    ) -> Result<Box<[Box<[u8]>]>, CodecError> {
        let mut segments = Vec::with_capacity(columns.div_ceil(SEGMENT_COLUMNS));
        for first in (0..columns).step_by(SEGMENT_COLUMNS) {
            self.values.clear();
            for column in first..columns.min(first + SEGMENT_COLUMNS) {
                fill(column, &mut self.values)?;
            }
            self.samples += self.values.iter().filter(|value| !crate::codec::is_absent(**value)).count() as u64;
            let slices: Vec<&[f64]> = self.values.chunks_exact(self.row_numbers.len()).collect();
            let mut bytes = Vec::new();
            self.packer.encode(&self.row_numbers, &slices, None, &mut bytes);
            segments.push(bytes.into_boxed_slice());
        }
        Ok(segments.into_boxed_slice())
    }
}
