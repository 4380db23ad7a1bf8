//! Looking the block database over: its structure, every name list, directory and segment.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use rusqlite::OptionalExtension;

use super::part::{Directory, Entry, SeriesOf};
use super::{Blocks, Reading, names, schema};
use crate::codec::Segment;
use crate::store::StoreError;

/// What was found.
#[derive(Debug, Default)]
pub(in crate::store) struct BlockReport {
    /// Blocks looked at.
    pub blocks: u64,
    /// Segments with a right checksum whose columns decode.
    pub segments: u64,
    /// Samples in them.
    pub samples: u64,
    /// What is damaged, by name.
    pub damage: Vec<String>,
    /// The blocks that something of is damaged.
    pub damaged_blocks: Vec<i64>,
}

/// One part of a block, as needed here.
struct Row {
    target: String,
    names: i64,
    first_row: i64,
    directory: Vec<u8>,
}

impl Blocks {
    /// Checks everything; `progress` hears how many blocks of how many are done.
    pub fn check(&self, mut progress: impl FnMut(usize, usize)) -> Result<BlockReport, StoreError> {
        let mut report = BlockReport::default();
        let reading = self.reader()?;
        self.check_structure(&reading, &mut report);
        let list = self.list();
        let mut names = HashMap::default();
        for (done, block) in list.iter().enumerate() {
            progress(done, list.len());
            let before = report.damage.len();
            let found = self.check_block(&reading, block.id, &mut names, &mut report);
            if let Err(error) = found {
                report.damage.push(format!("block {}: {error}", block.id));
            }
            if report.damage.len() > before {
                report.damaged_blocks.push(block.id);
            }
            report.blocks += 1;
        }
        progress(list.len(), list.len());
        Ok(report)
    }

    /// Whether SQLite's own structures hold together.
    fn check_structure(&self, reading: &Reading<'_>, report: &mut BlockReport) {
        let found = reading.prepare("PRAGMA quick_check(20)").and_then(|mut statement| {
            let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
            rows.collect::<rusqlite::Result<Vec<String>>>()
        });
        if schema::is_schema_sound(reading).is_ok_and(|is_sound| !is_sound) {
            report.damage.push("database: its schema is not the one that it was made with".to_owned());
        }
        let lines = found.unwrap_or_else(|error| vec![error.to_string()]);
        report.damage.extend(lines.into_iter().filter(|line| line != "ok").map(|line| format!("database: {line}")));
    }

    fn check_block(
        &self,
        reading: &Reading<'_>,
        block: i64,
        names: &mut HashMap<i64, Option<u32>, FixedState>,
        report: &mut BlockReport,
    ) -> rusqlite::Result<()> {
        let query = "SELECT target.name, part.names, part.first_row, part.directory FROM part
                     LEFT JOIN target ON target.id = part.target WHERE part.block = ?1 ORDER BY part.target";
        let mut statement = reading.prepare(query)?;
        let rows = statement.query_map([block], |row| {
            let target = row.get::<_, Option<String>>(0)?.unwrap_or_default();
            Ok(Row { target, names: row.get(1)?, first_row: row.get(2)?, directory: row.get(3)? })
        })?;
        for row in rows {
            let row = row?;
            let place = format!("block {block}, target {}", row.target);
            let count = match names.get(&row.names) {
                Some(count) => *count,
                None => {
                    let count = read_names(reading, row.names);
                    names.insert(row.names, count.as_ref().ok().copied());
                    report.damage.extend(count.as_ref().err().map(|error| format!("{place}: names: {error}")));
                    count.ok()
                }
            };
            match Directory::decode(&row.directory) {
                Ok(directory) => check_part(reading, &place, &row, &directory, count, report),
                Err(error) => report.damage.push(format!("{place}: directory: {error}")),
            }
        }
        Ok(())
    }
}

/// How many label sets a name list holds.
fn read_names(reading: &Reading<'_>, id: i64) -> Result<u32, String> {
    let bytes: Option<Vec<u8>> = reading
        .query_row("SELECT bytes FROM names WHERE id = ?1", [id], |row| row.get(0))
        .optional()
        .map_err(|error| error.to_string())?;
    let mut count = 0;
    names::decode(&bytes.ok_or("they are missing")?, |_, _| count += 1).map_err(|error| error.to_string())?;
    Ok(count)
}

fn check_part(
    reading: &Reading<'_>,
    place: &str,
    row: &Row,
    directory: &Directory,
    series: Option<u32>,
    report: &mut BlockReport,
) {
    let mut data: Option<(u32, Result<Vec<u8>, String>)> = None;
    for (index, entry) in directory.entries.iter().enumerate() {
        if data.as_ref().is_none_or(|(row, _)| *row != entry.row) {
            let id = row.first_row + i64::from(entry.row);
            let bytes = reading.query_row("SELECT bytes FROM data WHERE id = ?1", [id], |row| row.get(0));
            data = Some((entry.row, bytes.map_err(|error| format!("its row cannot be read: {error}"))));
        }
        let (_, bytes) = data.as_ref().expect("read above");
        let end = u64::from(entry.offset) + u64::from(entry.len);
        let checked = bytes.as_ref().map_err(Clone::clone).and_then(|bytes| {
            let end = usize::try_from(end).unwrap_or(usize::MAX);
            let bytes = bytes.get(entry.offset as usize..end).ok_or("its row is too short")?;
            check_segment(bytes, entry, directory, series)
        });
        match checked {
            Ok(samples) => {
                report.segments += 1;
                report.samples += samples;
            }
            Err(reason) => report.damage.push(format!("{place}: segment {index}: {reason}")),
        }
    }
}

/// Decodes a segment as a whole; gives its samples.
fn check_segment(bytes: &[u8], entry: &Entry, directory: &Directory, series: Option<u32>) -> Result<u64, String> {
    let segment = Segment::open_sharing(bytes, &directory.presences).map_err(|error| error.to_string())?;
    let (columns, past) = match &entry.series {
        SeriesOf::Common { first, count } => (*count as usize, first.saturating_add(*count)),
        SeriesOf::Stray(listed) => (listed.len(), listed.last().map_or(0, |last| last.saturating_add(1))),
    };
    let is_common = matches!(entry.series, SeriesOf::Common { .. });
    if segment.column_count() != columns || (is_common && segment.row_count() != directory.times.len()) {
        return Err("it does not fit its directory".to_owned());
    }
    if series.is_some_and(|series| past > series) {
        return Err("it has series without names".to_owned());
    }
    let (mut samples, mut values) = (0, Vec::new());
    for column in 0..columns {
        values.clear();
        segment.column_span(column, &mut values).map_err(|error| error.to_string())?;
        samples += values.iter().filter(|value| !crate::codec::is_absent(**value)).count() as u64;
    }
    Ok(samples)
}
