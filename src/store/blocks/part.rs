//! What one target has in one block: segments in a few rows of bytes, and a directory of them.
//!
//! A segment holds series that stand side by side in label order, 64 of two hours at 15 s and fewer of longer blocks, so that a
//! query unpacks a few kilobytes and not the target. Samples that are not at the target's common times make segments
//! of their own, for series with the same such times together.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::codec::{
    CodecError, Effort, Packer, Presences, PresencesWriter, Segment, Unpacker, absent, encode_segment, read_signed,
    read_unsigned, write_signed, write_unsigned,
};
use crate::model::{Labels, METRIC_NAME, Timestamp};
use crate::store::Samples;

/// Series per segment at most.
const SEGMENT_SERIES: usize = 64;
/// So many series may share a segment however many values they have: they refer to one another.
const SEGMENT_SERIES_FEW: usize = 16;
/// Values per segment of more series, absent ones included. A query of one metric unpacks the whole segment.
const SEGMENT_VALUES: usize = 1 << 16;
/// Values per segment at most: what memory making a block takes, 2 MiB.
const SEGMENT_VALUES_MAX: usize = 1 << 18;
/// A row of segments is closed when it has this many bytes: SQLite then wastes a few percent of a
/// page chain at its end, and a reader walks at most this far along the chain.
const ROW_BYTES: usize = 64 * 1024;
/// Every entry says where its segment is.
const FORMAT_PLACES: u8 = 1;
/// Segments share a list of presences, and stand in the order of the entries.
const FORMAT_PRESENCES: u8 = 2;
const CHECKSUM_LEN: usize = 4;

/// A part, ready to be stored.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub rows: Vec<Vec<u8>>,
    pub directory: Directory,
    presences: PresencesWriter,
    pub samples: u64,
    pub oldest: Option<Timestamp>,
    pub newest: Option<Timestamp>,
}

/// Where the segments of a part are.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Directory {
    /// The common times.
    pub times: Vec<Timestamp>,
    /// What the columns of segments at common times have besides values.
    pub presences: Arc<Presences>,
    pub entries: Vec<Entry>,
}

/// One segment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub series: SeriesOf,
    /// Counts from the part's first row.
    pub row: u32,
    pub offset: u32,
    pub len: u32,
}

/// Which series a segment holds, by their positions in the part's names.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum SeriesOf {
    /// Consecutive ones, at the common times.
    Common { first: u32, count: u32 },
    /// Listed ones, at times that the segment itself carries.
    Stray(Vec<u32>),
}

impl SeriesOf {
    /// The column of a series.
    pub fn column_of(&self, position: u32) -> Option<usize> {
        match self {
            Self::Common { first, count } => {
                position.checked_sub(*first).filter(|column| column < count).map(|column| column as usize)
            }
            Self::Stray(listed) => listed.binary_search(&position).ok(),
        }
    }
}

/// Which series share a segment, for columns of `rows` values. Between half as many as fit and all that fit, they end with a
/// metric's last series, if one ends there.
pub(super) fn segments_of(series: &[Labels], rows: usize) -> Vec<Range<usize>> {
    let rows = rows.max(1);
    let wanted = (SEGMENT_VALUES / rows).clamp(SEGMENT_SERIES_FEW, SEGMENT_SERIES);
    let most = wanted.min(SEGMENT_VALUES_MAX / rows).max(1);
    let (mut segments, mut start) = (Vec::new(), 0);
    let name_of = |position: usize| series[position].get(METRIC_NAME);
    while start < series.len() {
        let full = (start + most).min(series.len());
        let ends_here = |end: &usize| *end == series.len() || name_of(end - 1) != name_of(*end);
        let end = (start + most / 2 + 1..=full).rev().find(ends_here).unwrap_or(full);
        segments.push(start..end);
        start = end;
    }
    segments
}

/// Builds a part of series that share segments as given. `times` are the common times, in order; `read` gives the samples
/// of one series in time order, and is asked a second time for series with strays.
pub(super) fn build<E>(
    segments: &[Range<usize>],
    times: Vec<Timestamp>,
    effort: Effort,
    mut read: impl FnMut(usize, &mut Samples) -> Result<(), E>,
) -> Result<Part, E> {
    let (mut part, mut packer) = (Part::default(), Packer::new(effort));
    let row_numbers: Vec<Timestamp> = (0..times.len() as i64).map(Timestamp).collect();
    let mut strays: HashMap<u64, Vec<u32>, FixedState> = HashMap::default();
    let hasher = FixedState::default();
    let (mut samples, mut matrix) = (Samples::default(), Vec::new());
    for segment in segments {
        matrix.clear();
        matrix.resize(segment.len() * times.len(), absent());
        let mut is_empty = true;
        for position in segment.clone() {
            samples.clear();
            read(position, &mut samples)?;
            part.note(&samples);
            let column = &mut matrix[(position - segment.start) * times.len()..][..times.len()];
            let stray = fill_column(&times, &samples, column);
            is_empty &= stray.len() == samples.len();
            if !stray.is_empty() {
                let own_times: Vec<i64> = stray.iter().map(|index| samples.timestamps[*index].0).collect();
                // 64 bits over one target's distinct time columns: equal hashes are equal columns.
                strays.entry(hasher.hash_one(&own_times)).or_default().push(position as u32);
            }
        }
        if !is_empty {
            let columns: Vec<&[f64]> = matrix.chunks_exact(times.len()).collect();
            let series = SeriesOf::Common { first: segment.start as u32, count: segment.len() as u32 };
            part.push(series, &row_numbers, &columns, &mut packer);
        }
    }
    for positions in strays.into_values() {
        for chunk in positions.chunks(SEGMENT_SERIES) {
            push_strays(&mut part, chunk, &times, &mut packer, &mut read)?;
        }
    }
    part.directory.times = times;
    Ok(part)
}

/// Series whose strays have the same times.
fn push_strays<E>(
    part: &mut Part,
    positions: &[u32],
    times: &[Timestamp],
    packer: &mut Packer,
    read: &mut impl FnMut(usize, &mut Samples) -> Result<(), E>,
) -> Result<(), E> {
    let (mut own_times, mut matrix, mut samples) = (Vec::new(), Vec::new(), Samples::default());
    let mut scratch = vec![0.0; times.len()];
    for &position in positions {
        samples.clear();
        read(position as usize, &mut samples)?;
        let stray = fill_column(times, &samples, &mut scratch);
        own_times = stray.iter().map(|index| samples.timestamps[*index]).collect();
        matrix.extend(stray.iter().map(|index| samples.values[*index]));
    }
    let columns: Vec<&[f64]> = matrix.chunks_exact(own_times.len()).collect();
    part.push(SeriesOf::Stray(positions.to_vec()), &own_times, &columns, packer);
    Ok(())
}

/// Puts samples that are at common times into `column`; gives the indices of the others.
fn fill_column(times: &[Timestamp], samples: &Samples, column: &mut [f64]) -> Vec<usize> {
    let (mut strays, mut row) = (Vec::new(), 0);
    for (index, timestamp) in samples.timestamps.iter().enumerate() {
        // Both are in time order.
        while times.get(row).is_some_and(|time| time < timestamp) {
            row += 1;
        }
        if times.get(row) == Some(timestamp) {
            column[row] = samples.values[index];
        } else {
            strays.push(index);
        }
    }
    strays
}

impl Part {
    fn note(&mut self, samples: &Samples) {
        self.samples += samples.len() as u64;
        let first = samples.timestamps.first().copied();
        self.oldest = [self.oldest, first].into_iter().flatten().min();
        self.newest = self.newest.max(samples.timestamps.last().copied());
    }

    fn push(&mut self, series: SeriesOf, times: &[Timestamp], columns: &[&[f64]], packer: &mut Packer) {
        if self.rows.last().is_none_or(|row| row.len() >= ROW_BYTES) {
            self.rows.push(Vec::new());
        }
        let row = self.rows.len() as u32 - 1;
        let bytes = self.rows.last_mut().expect("pushed above");
        let offset = bytes.len() as u32;
        let presences = matches!(series, SeriesOf::Common { .. }).then_some(&mut self.presences);
        packer.encode(times, columns, presences, bytes);
        let len = bytes.len() as u32 - offset;
        self.directory.entries.push(Entry { series, row, offset, len });
    }

    /// The directory as bytes.
    pub fn directory_bytes(&self) -> Vec<u8> {
        self.directory.encode(&self.presences)
    }
}

impl Directory {
    /// The entries that hold a series, each with its number and the series' column.
    pub fn entries_of(&self, position: u32) -> impl Iterator<Item = (u32, &Entry, usize)> {
        // Those at the common times come first, in the order of their series.
        let is_common = |entry: &Entry| matches!(entry.series, SeriesOf::Common { .. });
        let begins_before = |entry: &Entry| matches!(entry.series, SeriesOf::Common { first, .. } if first <= position);
        let (before, common) = (self.entries.partition_point(begins_before), self.entries.partition_point(is_common));
        let candidates = (before.saturating_sub(1)..before).chain(common..self.entries.len());
        candidates.filter_map(move |number| {
            let entry = &self.entries[number];
            Some((number as u32, entry, entry.series.column_of(position)?))
        })
    }

    /// The directory as bytes, checksum included.
    fn encode(&self, presences: &PresencesWriter) -> Vec<u8> {
        let mut bytes = vec![FORMAT_PRESENCES];
        let mut times = Vec::new();
        encode_segment(&self.times, &[], Effort::Usual, &mut times);
        write_unsigned(&mut bytes, times.len() as u64);
        bytes.extend_from_slice(&times);
        presences.write(&mut bytes);
        write_unsigned(&mut bytes, self.entries.len() as u64);
        let mut place = Place::default();
        for entry in &self.entries {
            match &entry.series {
                SeriesOf::Common { first, count } => {
                    write_unsigned(&mut bytes, 0);
                    write_signed(&mut bytes, i64::from(*first) - i64::from(place.series));
                    write_unsigned(&mut bytes, u64::from(*count));
                    place.series = first + count;
                }
                SeriesOf::Stray(listed) => {
                    write_unsigned(&mut bytes, listed.len() as u64);
                    let mut last = 0i64;
                    for position in listed {
                        write_signed(&mut bytes, i64::from(*position) - last);
                        last = i64::from(*position);
                    }
                }
            }
            debug_assert_eq!(
                place.next(entry.row.wrapping_sub(place.row)),
                (entry.row, entry.offset),
                "one behind the other"
            );
            write_unsigned(&mut bytes, u64::from(entry.row - place.row));
            write_unsigned(&mut bytes, u64::from(entry.len));
            place = Place { series: place.series, row: entry.row, end: entry.offset + entry.len };
        }
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        Self::decode_with(bytes, &mut Unpacker::default())
    }

    /// The same with working memory from the directory before.
    pub fn decode_with(bytes: &[u8], unpacker: &mut Unpacker) -> Result<Self, CodecError> {
        let (content, checksum) = bytes.split_last_chunk::<CHECKSUM_LEN>().ok_or(CodecError::Truncated)?;
        if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
            return Err(CodecError::Checksum);
        }
        let (&format, mut rest) = content.split_first().ok_or(CodecError::Truncated)?;
        if !(FORMAT_PLACES..=FORMAT_PRESENCES).contains(&format) {
            return Err(CodecError::UnknownFormat(format));
        }
        let times_len = usize::try_from(read_unsigned(&mut rest)?).map_err(|_| CodecError::Truncated)?;
        let segment = Segment::open_with(rest.get(..times_len).ok_or(CodecError::Truncated)?, None, unpacker)?;
        rest = &rest[times_len..];
        let mut directory = Self::default();
        segment.timestamps(&mut directory.times)?;
        if format == FORMAT_PRESENCES {
            directory.presences = Arc::new(Presences::read(&mut rest, directory.times.len())?);
        }
        let mut place = Place::default();
        for _ in 0..read_unsigned(&mut rest)? {
            let entry = match format {
                FORMAT_PLACES => read_placed_entry(&mut rest)?,
                _ => read_entry(&mut rest, &mut place)?,
            };
            directory.entries.push(entry);
        }
        Ok(directory)
    }
}

/// Where the entry before ends.
#[derive(Clone, Copy, Default)]
struct Place {
    /// Behind the last series of the last common segment.
    series: u32,
    row: u32,
    end: u32,
}

impl Place {
    /// Row and offset of the next segment, `rows` rows on.
    fn next(self, rows: u32) -> (u32, u32) {
        (self.row.wrapping_add(rows), if rows == 0 { self.end } else { 0 })
    }
}

fn read_entry(rest: &mut &[u8], place: &mut Place) -> Result<Entry, CodecError> {
    let series = match read_unsigned(rest)? {
        0 => {
            let first = i64::from(place.series).checked_add(read_signed(rest)?);
            let first = first.and_then(|first| u32::try_from(first).ok()).ok_or(OUT_OF_RANGE)?;
            let count = read_u32(rest)?;
            place.series = first.checked_add(count).ok_or(OUT_OF_RANGE)?;
            SeriesOf::Common { first, count }
        }
        listed => SeriesOf::Stray(read_listed(rest, listed)?),
    };
    let (row, offset) = place.next(read_u32(rest)?);
    let len = read_u32(rest)?;
    (place.row, place.end) = (row, offset.checked_add(len).ok_or(OUT_OF_RANGE)?);
    Ok(Entry { series, row, offset, len })
}

/// An entry of the first format.
fn read_placed_entry(rest: &mut &[u8]) -> Result<Entry, CodecError> {
    let series = match read_unsigned(rest)? {
        0 => SeriesOf::Common { first: read_u32(rest)?, count: read_u32(rest)? },
        listed => SeriesOf::Stray(read_listed(rest, listed)?),
    };
    Ok(Entry { series, row: read_u32(rest)?, offset: read_u32(rest)?, len: read_u32(rest)? })
}

const OUT_OF_RANGE: CodecError = CodecError::Malformed("a number out of range");

fn read_listed(rest: &mut &[u8], count: u64) -> Result<Vec<u32>, CodecError> {
    let (mut listed, mut last) = (Vec::new(), 0i64);
    for _ in 0..count {
        last = last.wrapping_add(read_signed(rest)?);
        listed.push(u32::try_from(last).map_err(|_| CodecError::Malformed("a position out of range"))?);
    }
    Ok(listed)
}

fn read_u32(rest: &mut &[u8]) -> Result<u32, CodecError> {
    u32::try_from(read_unsigned(rest)?).map_err(|_| OUT_OF_RANGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::mutation::mutate_sealed;

    #[test]
    fn damage_behind_the_checksums_never_panics() {
        let times: Vec<Timestamp> = (0..40).map(|row| Timestamp(row * 15_000)).collect();
        let part = build::<()>(std::slice::from_ref(&(0..20)), times.clone(), Effort::Usual, |position, samples| {
            // Constant, counting, wandering, with holes, and with times of its own.
            for (row, at) in times.iter().enumerate().filter(|(row, _)| position % 5 != 3 || row % 7 > 2) {
                let own = if position % 5 == 4 && row % 9 == 0 { 3 } else { 0 };
                let value = [1.0, (row * position) as f64, (row * row % 17) as f64 / 10.0, 0.1 + row as f64, f64::NAN]
                    [position % 5];
                samples.push(Timestamp(at.0 + own), value);
            }
            Ok(())
        })
        .expect("reading cannot fail");
        let bytes = part.directory_bytes();
        mutate_sealed(&bytes, |bytes| drop(Directory::decode(bytes)));
        let presences = Directory::decode(&bytes).expect("just built").presences;
        for entry in &part.directory.entries {
            let segment = &part.rows[entry.row as usize][entry.offset as usize..][..entry.len as usize];
            mutate_sealed(segment, |bytes| read_segment(bytes, &presences));
        }
    }

    fn read_segment(bytes: &[u8], presences: &Arc<Presences>) {
        let Ok(segment) = Segment::open_sharing(bytes, presences) else { return };
        // A run of a billion equal values takes a few bytes: bounded here as a part's own bound does.
        if segment.row_count().saturating_mul(segment.column_count().max(1)) > 1 << 16 {
            return;
        }
        let _ = segment.timestamps(&mut Vec::new());
        for column in 0..segment.column_count() {
            let _ = segment.column(column, &mut Vec::new());
        }
    }

    #[test]
    fn segments_end_with_a_metric_where_one_ends_in_their_second_half() {
        let series = |counts: &[usize]| -> Vec<Labels> {
            let metrics = counts.iter().enumerate().flat_map(|(metric, count)| (0..*count).map(move |n| (metric, n)));
            let labels = metrics.map(|(metric, number)| {
                Labels::from_pairs([("__name__", &*format!("m{metric:03}")), ("n", &*format!("{number:03}"))])
            });
            labels.collect()
        };
        for (counts, rows, expected) in [
            (&[][..], 480, &[][..]),
            (&[10], 0, &[10]),
            // Two hours at 15 s: 64.
            (&[150], 480, &[64, 64, 22]),
            (&[30, 30, 30], 480, &[60, 30]),
            (&[64, 1], 480, &[64, 1]),
            (&[20, 60, 1], 480, &[64, 17]),
            // Twelve hours: 22, with at least 12 if a metric ends there.
            (&[12, 12, 50], 2_880, &[12, 12, 22, 22, 6]),
            (&[11, 14, 5], 2_880, &[22, 8]),
            // At 1 s: as many as the bound on values allows.
            (&[20], 43_200, &[6, 6, 6, 2]),
            (&[3], 1 << 20, &[1, 1, 1]),
        ] {
            let series = series(counts);
            let segments = segments_of(&series, rows);
            let lengths: Vec<usize> = segments.iter().map(Range::len).collect();
            assert_eq!(lengths, expected, "{counts:?} {rows}");
            assert_eq!(segments.into_iter().flatten().collect::<Vec<_>>(), (0..series.len()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn directories_come_back() {
        let directory = Directory {
            times: vec![Timestamp(5), Timestamp(20)],
            presences: Arc::default(),
            entries: vec![
                Entry { series: SeriesOf::Common { first: 64, count: 9 }, row: 0, offset: 0, len: 70_000 },
                Entry { series: SeriesOf::Common { first: 73, count: 1 }, row: 0, offset: 70_000, len: 3 },
                Entry { series: SeriesOf::Stray(vec![3, 70]), row: 1, offset: 0, len: 5 },
            ],
        };
        assert_eq!(Directory::decode(&directory.encode(&PresencesWriter::default())), Ok(directory));
    }

    /// What the first format's writer made: one common segment, one of strays.
    #[test]
    fn format_1_is_read() {
        let mut bytes = vec![FORMAT_PLACES];
        let times = [Timestamp(5), Timestamp(20)];
        let mut segment = Vec::new();
        encode_segment(&times, &[], Effort::Usual, &mut segment);
        write_unsigned(&mut bytes, segment.len() as u64);
        bytes.extend_from_slice(&segment);
        bytes.extend_from_slice(&[2, 0, 64, 9, 0, 0, 100, 2, 6, 0x86, 1, 1, 4, 5]);
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        let entries = vec![
            Entry { series: SeriesOf::Common { first: 64, count: 9 }, row: 0, offset: 0, len: 100 },
            Entry { series: SeriesOf::Stray(vec![3, 70]), row: 1, offset: 4, len: 5 },
        ];
        let expected = Directory { times: times.to_vec(), presences: Arc::default(), entries };
        assert_eq!(Directory::decode(&bytes), Ok(expected));
    }

    #[test]
    fn strays_with_equal_times_share_a_segment() {
        let times: Vec<Timestamp> = (0..4).map(|row| Timestamp(row * 10)).collect();
        let part = build::<()>(std::slice::from_ref(&(0..5)), times, Effort::Usual, |position, samples| {
            samples.push(Timestamp(0), 1.0);
            samples.push(Timestamp(15), if position < 2 { 2.0 } else { 3.0 });
            if position == 4 {
                samples.push(Timestamp(16), 4.0);
            }
            Ok(())
        })
        .expect("reading cannot fail");
        let mut listed: Vec<&SeriesOf> = part.directory.entries.iter().map(|entry| &entry.series).collect();
        listed[1..].sort_by_key(|series| format!("{series:?}"));
        let stray = |positions: &[u32]| SeriesOf::Stray(positions.to_vec());
        assert_eq!(listed, [&SeriesOf::Common { first: 0, count: 5 }, &stray(&[0, 1, 2, 3]), &stray(&[4])]);
        assert_eq!((part.samples, part.oldest, part.newest), (11, Some(Timestamp(0)), Some(Timestamp(16))));
    }
}
