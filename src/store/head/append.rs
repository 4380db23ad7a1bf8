//! Taking samples.

use std::sync::Arc;

use super::{Column, Group, Head, Row, STRAY_LOG_MAX, StraySample};
use crate::codec::{absent, is_absent};
use crate::model::Timestamp;
use crate::store::dictionary::{NO_COLUMN, push_tight};
use crate::store::{AppendReport, Batch, GroupId, Rejection, SeriesId};

/// The times that are taken: both ends are.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Bounds {
    /// Older is beyond the retention.
    pub oldest: Timestamp,
    /// Newer is beyond what clocks may differ.
    pub newest: Timestamp,
}

impl Bounds {
    /// Takes any time: for replaying what was taken before.
    pub const ANY: Self = Self { oldest: Timestamp::MIN, newest: Timestamp::MAX };

    /// Whether a time is taken.
    pub fn check(&self, timestamp: Timestamp) -> Result<(), Rejection> {
        if timestamp < self.oldest {
            Err(Rejection::TooOld)
        } else if timestamp > self.newest {
            Err(Rejection::TooFarAhead)
        } else {
            Ok(())
        }
    }
}

/// What an append has changed, for the log.
#[derive(Debug, Default)]
pub(in crate::store) struct Accepted {
    /// The row as it is now.
    pub row: Option<Row>,
    /// New strays.
    pub strays: Vec<StraySample>,
}

/// Stands for a column: the sample goes to the strays.
const STRAY: u32 = NO_COLUMN - 1;
/// Stands for a column: there is no such series.
const UNKNOWN: u32 = NO_COLUMN;

impl Head {
    /// Takes what it can of a batch.
    pub fn append(&mut self, batch: &Batch, bounds: &Bounds) -> (AppendReport, Accepted) {
        let mut report = AppendReport::default();
        let mut accepted = Accepted::default();
        self.sequence += 1;
        match bounds.check(batch.timestamp) {
            Ok(()) if (batch.group.0 as usize) < self.groups.len() => {
                self.append_shared(batch, &mut report, &mut accepted)
            }
            outcome => {
                let rejection = outcome.err().unwrap_or(Rejection::UnknownSeries);
                report.rejected.extend((0..batch.samples.len()).map(|position| (position, rejection)));
            }
        }
        for (index, &(series, timestamp, value)) in batch.explicit.iter().enumerate() {
            let outcome =
                bounds.check(timestamp).and_then(|()| self.push_stray(series, timestamp, value, &mut accepted));
            report.count(batch.samples.len() + index, outcome);
        }
        (report, accepted)
    }

    /// Takes a stray that was taken before: a log record lists rows before strays, so that it may be
    /// older than its series' newest row by now.
    pub fn restore_stray(&mut self, series: SeriesId, timestamp: Timestamp, value: f64) {
        let Some(record) = self.dictionary.record(series).copied() else { return };
        let stray = self.strays.entry(series).or_default();
        if stray.time_span().is_some_and(|(_, last)| timestamp <= last) {
            return;
        }
        stray.restore(timestamp, value);
        self.sequence += 1;
        self.samples += 1;
        if self.stray_log.len() < STRAY_LOG_MAX {
            self.stray_log.push(StraySample { series, timestamp, value });
        } else {
            self.is_stray_log_cut = true;
        }
        if record.column != NO_COLUMN {
            let column = &mut self.groups[record.group.0 as usize].columns[record.column as usize];
            if timestamp > column.newest_at {
                (column.newest_at, column.newest) = (timestamp, value);
            }
        }
    }

    fn append_shared(&mut self, batch: &Batch, report: &mut AppendReport, accepted: &mut Accepted) {
        self.find_places(batch);
        let group = &mut self.groups[batch.group.0 as usize];
        let continues = |row: &Row| row.timestamp == batch.timestamp && row.generation == group.generation;
        let has_row = group.rows.last().is_some_and(continues);
        if !has_row && group.newest_row() >= Some(batch.timestamp) {
            return self.append_as_strays(batch, report, accepted);
        }
        let mut values = group.row_values(has_row);
        let slots = Arc::get_mut(&mut values).expect("just made");
        let (mut taken, mut is_misplaced) = (0, false);
        for (position, (&place, &(_, value))) in self.places.iter().zip(&batch.samples).enumerate() {
            if place >= STRAY {
                is_misplaced = true;
                continue;
            }
            let column = &mut group.columns[place as usize];
            if batch.timestamp > column.newest_at {
                let value = storable(value);
                (column.newest_at, column.newest) = (batch.timestamp, value);
                slots[place as usize] = value;
                taken += 1;
            } else {
                report.count(position, repeated(column.newest_at, column.newest, batch.timestamp, value));
            }
        }
        report.appended += taken;
        if taken > 0 {
            self.samples += taken as u64;
            let layout = Arc::clone(&group.layout);
            let row = Row {
                timestamp: batch.timestamp,
                sequence: self.sequence,
                generation: group.generation,
                layout,
                values,
            };
            if has_row {
                group.rows.pop();
            }
            group.rows.push(row.clone());
            accepted.row = Some(row);
        }
        if is_misplaced {
            self.append_misplaced(batch, report, accepted);
        }
    }

    /// Samples of series that belong to another group, or to none.
    fn append_misplaced(&mut self, batch: &Batch, report: &mut AppendReport, accepted: &mut Accepted) {
        let places = std::mem::take(&mut self.places);
        for (position, (&place, &(series, value))) in places.iter().zip(&batch.samples).enumerate() {
            let outcome = match place {
                STRAY => self.push_stray(series, batch.timestamp, value, accepted),
                UNKNOWN => Err(Rejection::UnknownSeries),
                _ => continue,
            };
            report.count(position, outcome);
        }
        self.places = places;
        report.rejected.sort_unstable_by_key(|(position, _)| *position);
    }

    /// The whole batch lies behind the group's newest row.
    fn append_as_strays(&mut self, batch: &Batch, report: &mut AppendReport, accepted: &mut Accepted) {
        for (position, &(series, value)) in batch.samples.iter().enumerate() {
            let outcome = self.push_stray(series, batch.timestamp, value, accepted);
            report.count(position, outcome);
        }
    }

    /// Fills `places`; gives a column to series that are new in their group.
    fn find_places(&mut self, batch: &Batch) {
        let mut places = std::mem::take(&mut self.places);
        places.clear();
        let mut added = Vec::new();
        let mut expected = 0u32;
        for &(series, _) in &batch.samples {
            let layout = &self.groups[batch.group.0 as usize].layout;
            // Targets list their series in the same order each time.
            let place = match layout.get(expected as usize) {
                Some(next) if *next == series => expected,
                _ => self.find_place(batch.group, series, &mut added),
            };
            if place < STRAY {
                expected = place + 1;
            }
            places.push(place);
        }
        self.places = places;
        if !added.is_empty() {
            let group = &mut self.groups[batch.group.0 as usize];
            group.layout = group.layout.iter().copied().chain(added).collect();
        }
    }

    /// The column of a series; one that is new in its group gets the next one, and is `added`.
    fn find_place(&mut self, group_id: GroupId, series: SeriesId, added: &mut Vec<SeriesId>) -> u32 {
        let Some(record) = self.dictionary.record_mut(series) else { return UNKNOWN };
        if record.group != group_id {
            return STRAY;
        }
        if record.column == NO_COLUMN {
            let group = &mut self.groups[group_id.0 as usize];
            record.column = group.columns.len() as u32;
            let (newest_at, newest) = self.strays.get(&series).map_or((Timestamp::MIN, absent()), |stray| stray.newest);
            push_tight(&mut group.columns, Column { newest_at, newest });
            added.push(series);
        }
        record.column
    }

    fn push_stray(
        &mut self,
        series: SeriesId,
        timestamp: Timestamp,
        value: f64,
        accepted: &mut Accepted,
    ) -> Result<(), Rejection> {
        if self.dictionary.record(series).is_none() {
            return Err(Rejection::UnknownSeries);
        }
        let value = storable(value);
        if let Some((newest_at, newest)) = self.newest_of(series)
            && timestamp <= newest_at
        {
            return repeated(newest_at, newest, timestamp, value);
        }
        self.strays.entry(series).or_default().push(timestamp, value);
        let record = self.dictionary.record(series).expect("looked up above");
        if record.column != NO_COLUMN {
            let column = &mut self.groups[record.group.0 as usize].columns[record.column as usize];
            (column.newest_at, column.newest) = (timestamp, value);
        }
        self.samples += 1;
        let sample = StraySample { series, timestamp, value };
        accepted.strays.push(sample);
        if self.stray_log.len() < STRAY_LOG_MAX {
            self.stray_log.push(sample);
        } else {
            self.is_stray_log_cut = true;
        }
        Ok(())
    }
}

impl Group {
    fn newest_row(&self) -> Option<Timestamp> {
        self.rows.last().map(|row| row.timestamp).or_else(|| self.frames.last().map(|frame| frame.last()))
    }

    /// A row as wide as the layout: empty, or with the values of the newest row.
    fn row_values(&self, is_continued: bool) -> Arc<[f64]> {
        let known: &[f64] = match self.rows.last() {
            Some(row) if is_continued => &row.values,
            _ => &[],
        };
        known.iter().copied().chain(std::iter::repeat_n(absent(), self.columns.len() - known.len())).collect()
    }
}

impl AppendReport {
    fn count(&mut self, position: usize, outcome: Result<(), Rejection>) {
        match outcome {
            Ok(()) => self.appended += 1,
            Err(rejection) => self.rejected.push((position, rejection)),
        }
    }
}

/// The verdict on a sample that is not newer than its series' newest one.
#[cold]
fn repeated(newest_at: Timestamp, newest: f64, timestamp: Timestamp, value: f64) -> Result<(), Rejection> {
    if timestamp < newest_at {
        Err(Rejection::OutOfOrder)
    } else if newest.to_bits() == storable(value).to_bits() {
        Ok(())
    } else {
        Err(Rejection::DuplicateTimestamp)
    }
}

/// The one bit pattern that columns need for themselves becomes an ordinary NaN.
fn storable(value: f64) -> f64 {
    if is_absent(value) { f64::NAN } else { value }
}
