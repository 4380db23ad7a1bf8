//! Reading: memory and blocks, merged series by series in label order.
//!
//! Memory is looked at before blocks: a block that is made in between shows its samples twice, which
//! merging removes, rather than not at all. If the blocks cannot be read (not merely slowly), memory
//! answers alone: alerts and `/federate` go on.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use foldhash::fast::FixedState;

use super::chosen::Chooser;
use super::fetch::{Fetched, Fetcher, Places};
use super::metrics::describe;
use super::order::LabelOrder;
use super::{DiskStore, Shared};
use crate::codec::CodecError;
use crate::model::{Labels, METRIC_NAME, Matcher, TimeRange, Timestamp, is_stale_marker};
use crate::store::blocks::{BlockSeries, Selection};
use crate::store::head::{GroupView, SeriesView, sort_from};
use crate::store::index::matching_any;
use crate::store::{GroupId, NewestSample, ReadOptions, Samples, Select, SeriesSet, StoreError, StoreMark, StoreStats};

/// Series between two looks at the deadline while they are looked up.
pub(super) const CHECK_INTERVAL: usize = 1024;

impl Select for DiskStore {
    fn select_any<'a>(
        &'a self,
        sets: &[Vec<Matcher>],
        options: &ReadOptions,
    ) -> Result<Box<dyn SeriesSet + 'a>, StoreError> {
        Ok(Box::new(self.shared.select(sets, options)?))
    }

    fn newest(&self, sets: &[Vec<Matcher>], options: &ReadOptions) -> Result<Vec<NewestSample>, StoreError> {
        self.shared.newest(sets, options)
    }

    fn series_labels(
        &self,
        sets: &[Vec<Matcher>],
        options: &ReadOptions,
        limit: Option<usize>,
    ) -> Result<Vec<Labels>, StoreError> {
        let mut found = self.shared.head_labels(sets, options)?;
        found.extend(self.shared.select_blocks(sets, options)?.into_iter().flat_map(|(_, found)| found.into_keys()));
        found.sort_unstable();
        found.dedup();
        found.truncate(limit.unwrap_or(usize::MAX));
        Ok(found)
    }

    fn label_names(
        &self,
        sets: &[Vec<Matcher>],
        options: &ReadOptions,
        limit: Option<usize>,
    ) -> Result<Vec<String>, StoreError> {
        let mut names = BTreeSet::new();
        self.shared.visit_labels(sets, options, |name, _| {
            if !names.contains(name) {
                names.insert(name.to_owned());
            }
        })?;
        Ok(names.into_iter().take(limit.unwrap_or(usize::MAX)).collect())
    }

    fn label_values(
        &self,
        name: &str,
        sets: &[Vec<Matcher>],
        options: &ReadOptions,
        limit: Option<usize>,
    ) -> Result<Vec<String>, StoreError> {
        let mut values = BTreeSet::new();
        self.shared.visit_labels(sets, options, |candidate, value| {
            if candidate == name && !values.contains(value) {
                values.insert(value.to_owned());
            }
        })?;
        Ok(values.into_iter().take(limit.unwrap_or(usize::MAX)).collect())
    }

    fn stats_with(&self, top: usize) -> StoreStats {
        self.shared.stats(top)
    }

    fn mark(&self) -> Option<StoreMark> {
        Some(self.shared.changes.mark(self.shared.clock.now()))
    }

    fn changed_since(&self, mark: &StoreMark) -> Timestamp {
        self.shared.changes.changed_since(mark)
    }
}

/// What memory has of a selection.
struct HeadFound {
    groups: HashMap<GroupId, GroupView, FixedState>,
    /// In no order.
    series: Vec<(Labels, Sources)>,
    /// `None` where they are to be merged.
    order: Option<LabelOrder>,
}

type Found<'a> = (Selection<'a>, BTreeMap<Labels, BlockSeries>);

/// A series and its newest sample, which may be a stale marker.
type Newest = (Labels, (Timestamp, f64));

/// Series in label order.
struct DiskSeriesSet<'a> {
    series: std::vec::IntoIter<(Labels, Sources)>,
    places: Places<'a>,
    fetcher: Fetcher,
    /// What has been unpacked for the next series in line.
    fetched: Fetched,
    options: ReadOptions,
    shared: &'a Shared,
}

/// Where the samples of one series are.
#[derive(Default)]
pub(super) struct Sources {
    pub memory: Memory,
    pub blocks: BlockSeries,
}

/// What memory has of a series.
#[derive(Default)]
pub(super) enum Memory {
    #[default]
    Nothing,
    /// The one sample that is wanted: nothing has to be unpacked.
    Newest(Timestamp, f64),
    View(SeriesView),
}

impl SeriesSet for DiskSeriesSet<'_> {
    fn next(&mut self, samples: &mut Samples) -> Result<Option<Labels>, StoreError> {
        samples.clear();
        loop {
            if self.fetched.is_over() {
                self.options.check()?;
                // What was there before goes before the next comes.
                self.fetched = Fetched::default();
                let line = self.series.as_slice().iter().map(|(_, sources)| sources);
                self.fetched = self.fetcher.fetch(line, &self.places, &self.options, self.shared)?;
            }
            let Some((labels, sources)) = self.series.next() else { return Ok(None) };
            self.fetched.push_next(&self.places, samples);
            match &sources.memory {
                Memory::Nothing => {}
                Memory::Newest(at, value) => samples.push(*at, *value),
                Memory::View(view) => self.read_strays(&labels, view, samples),
            }
            sort_from(0, samples);
            if !samples.is_empty() {
                return Ok(Some(labels));
            }
        }
    }
}

impl DiskSeriesSet<'_> {
    fn read_strays(&self, labels: &Labels, view: &SeriesView, samples: &mut Samples) {
        let Some(stray) = &view.stray else { return };
        if let Err(error) = stray.read(self.options.range, samples) {
            tracing::error!(%error, %labels, "memory is damaged: a series is cut short");
            self.shared.metrics.corruptions.inc();
        }
    }
}

impl Shared {
    fn select(&self, sets: &[Vec<Matcher>], options: &ReadOptions) -> Result<DiskSeriesSet<'_>, StoreError> {
        let found = self.select_head(sets, options)?;
        let (mut series, mut selection) = (found.series, None);
        if let Some((blocks, places)) = self.select_blocks(sets, options)? {
            if found.order.is_some() && options.labels.is_some() {
                // A block was made meanwhile.
                return self.select(sets, &ReadOptions { labels: None, ..options.clone() });
            }
            selection = Some(blocks);
            let mut merged: BTreeMap<Labels, Sources> =
                places.into_iter().map(|(labels, blocks)| (labels, Sources { blocks, ..Sources::default() })).collect();
            for (labels, found) in series {
                let sources = merged.entry(labels).or_default();
                // What memory has newest is newer than what blocks have.
                if matches!(found.memory, Memory::Newest(..)) {
                    sources.blocks.clear();
                }
                sources.memory = found.memory;
            }
            series = merged.into_iter().collect();
        } else if let Some(order) = found.order {
            order.sort(&mut series, options)?;
        } else {
            series.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        }
        Ok(DiskSeriesSet {
            series: series.into_iter(),
            places: Places { groups: found.groups, selection },
            fetcher: Fetcher::default(),
            fetched: Fetched::default(),
            options: options.clone(),
            shared: self,
        })
    }

    /// What memory has.
    fn select_head(&self, sets: &[Vec<Matcher>], options: &ReadOptions) -> Result<HeadFound, StoreError> {
        // Where blocks have a part, series are merged with theirs by all labels, and sorted so.
        let is_merged = self.need_blocks(options.range);
        let mut groups: HashMap<GroupId, GroupView, FixedState> = HashMap::default();
        let mut series: Vec<(Labels, Sources)> = Vec::new();
        let head = self.read_head();
        let mut order = (!is_merged).then(|| LabelOrder::by(self.ranks.of(&head.dictionary)));
        let chosen = options.labels.as_ref().filter(|_| !is_merged);
        let mut chooser = chosen.and_then(|chosen| Chooser::of(chosen, &head.dictionary));
        let (mut buffer, mut last_group) = (Vec::new(), None);
        for (index, id) in matching_any(&head.dictionary, sets).into_iter().enumerate() {
            if index.is_multiple_of(CHECK_INTERVAL) {
                options.check()?;
            }
            let record = head.dictionary.record(id).expect("the index lists known series");
            let newest = if options.newest_only { head.newest_in(record) } else { None };
            let newest = newest.filter(|(at, _)| options.range.contains(*at));
            let memory = match newest {
                Some((at, value)) => Memory::Newest(at, value),
                None => match head.view_series(record, options.range) {
                    Some(view) => Memory::View(view),
                    None => continue,
                },
            };
            if let Memory::View(view) = &memory
                && last_group.replace(view.group) != Some(view.group)
            {
                groups.entry(view.group).or_insert_with(|| head.view_group(view.group, options.range));
            }
            let pairs = head.dictionary.pair_ids(record);
            let labels = match &mut chooser {
                Some(chooser) => chooser.labels(pairs),
                None => head.dictionary.labels_in(record, &mut buffer),
            };
            series.push((labels, Sources { memory, blocks: Vec::new() }));
            if let Some(order) = &mut order {
                order.push(pairs);
            }
        }
        Ok(HeadFound { groups, series, order })
    }

    /// Whether a range may have samples that memory has not.
    pub(super) fn need_blocks(&self, range: TimeRange) -> bool {
        self.blocks.overlap(range) && range.start < self.read_head().kept_since()
    }

    /// What blocks have, if they are needed. An unreadable database is noted and has nothing.
    fn select_blocks(&self, sets: &[Vec<Matcher>], options: &ReadOptions) -> Result<Option<Found<'_>>, StoreError> {
        if !self.need_blocks(options.range) {
            return Ok(None);
        }
        match self.blocks.select(sets, options) {
            Ok(found) => Ok(Some(found)),
            Err(error @ (StoreError::DeadlineExceeded | StoreError::Cancelled)) => Err(error),
            Err(error) => {
                self.note_read_failure(&error);
                Ok(None)
            }
        }
    }

    pub(super) fn note_read_failure(&self, error: &StoreError) {
        // What is read now lacks samples that a later read may find again.
        self.changes.note_removal();
        self.metrics.read_failures.inc();
        self.metrics.note_blocks(Err(describe(error)), self.clock.now());
    }

    /// Whether bytes could be unpacked; if not, that is counted and logged.
    pub(super) fn is_sound(&self, outcome: Result<(), CodecError>, what: &str) -> bool {
        if let Err(error) = outcome {
            tracing::error!(%error, what, "damage: samples are left out");
            self.changes.note_removal();
            self.metrics.corruptions.inc();
        }
        outcome.is_ok()
    }

    fn newest(&self, sets: &[Vec<Matcher>], options: &ReadOptions) -> Result<Vec<NewestSample>, StoreError> {
        let known = self.newest_in_memory(sets, options)?;
        let is_older_needed = known.iter().any(|(_, (timestamp, _))| *timestamp > options.range.end);
        let is_in_range = |(_, (timestamp, _)): &Newest| options.range.contains(*timestamp);
        let mut found: Vec<Newest> = known.into_iter().filter(is_in_range).collect();
        if is_older_needed || self.need_blocks(options.range) {
            found.extend(self.find_older_newest(sets, options, &found)?);
            found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        }
        let living = found.into_iter().filter(|(_, (_, value))| !is_stale_marker(*value));
        Ok(living.map(|(labels, (timestamp, value))| NewestSample { labels, timestamp, value }).collect())
    }

    /// What memory can tell, as of one instant: under one lock.
    fn newest_in_memory(&self, sets: &[Vec<Matcher>], options: &ReadOptions) -> Result<Vec<Newest>, StoreError> {
        let (census, order, mut series) = {
            let head = self.read_head();
            let census = head.dictionary.census();
            if let Some(listed) = self.listed.find(sets, census) {
                let newest = listed.iter().filter_map(|(labels, id)| Some((labels.clone(), head.newest_of(*id)?)));
                return Ok(newest.collect());
            }
            let ids = matching_any(&head.dictionary, sets);
            let mut order = LabelOrder::by(self.ranks.of(&head.dictionary));
            let mut buffer = Vec::new();
            let series = ids.into_iter().map(|id| {
                let record = head.dictionary.record(id).expect("the index lists known series");
                order.push(head.dictionary.pair_ids(record));
                (head.dictionary.labels_in(record, &mut buffer), (id, head.newest_in(record)))
            });
            let series: Vec<_> = series.collect();
            (census, order, series)
        };
        order.sort(&mut series, options)?;
        self.listed.keep(sets, census, series.iter().map(|(labels, (id, _))| (labels.clone(), *id)));
        Ok(series.into_iter().filter_map(|(labels, (_, newest))| Some((labels, newest?))).collect())
    }

    /// Reads the series whose newest sample memory did not know, or which lies behind the range. Of those in `answered`,
    /// which is in label order, it did.
    fn find_older_newest(
        &self,
        sets: &[Vec<Matcher>],
        options: &ReadOptions,
        answered: &[Newest],
    ) -> Result<Vec<Newest>, StoreError> {
        let mut set = self.select(sets, options)?;
        let is_unanswered = |labels: &Labels| answered.binary_search_by(|(known, _)| known.cmp(labels)).is_err();
        let unanswered: Vec<_> = set.series.filter(|(labels, _)| is_unanswered(labels)).collect();
        set.series = unanswered.into_iter();
        let (mut found, mut samples) = (Vec::new(), Samples::default());
        while let Some(labels) = set.next(&mut samples)? {
            found.push((labels, (samples.timestamps[samples.len() - 1], samples.values[samples.len() - 1])));
        }
        Ok(found)
    }

    /// The label sets in memory with samples around the range: told by what their groups hold, as the
    /// samples themselves are not looked at.
    fn head_labels(&self, sets: &[Vec<Matcher>], options: &ReadOptions) -> Result<Vec<Labels>, StoreError> {
        let head = self.read_head();
        let mut found = Vec::new();
        let mut groups: HashMap<GroupId, bool, FixedState> = HashMap::default();
        for (index, id) in matching_any(&head.dictionary, sets).into_iter().enumerate() {
            if index.is_multiple_of(CHECK_INTERVAL) {
                options.check()?;
            }
            let record = head.dictionary.record(id).expect("the index lists known series");
            let Some(view) = head.view_series(record, options.range) else { continue };
            let has_rows =
                *groups.entry(view.group).or_insert_with(|| !head.view_group(view.group, options.range).is_empty());
            if view.stray.is_some() || (has_rows && record.column != crate::store::dictionary::NO_COLUMN) {
                found.push(head.dictionary.labels(record));
            }
        }
        Ok(found)
    }

    fn visit_labels(
        &self,
        sets: &[Vec<Matcher>],
        options: &ReadOptions,
        mut visit: impl FnMut(&str, &str),
    ) -> Result<(), StoreError> {
        for labels in self.head_labels(sets, options)? {
            labels.iter().for_each(|(name, value)| visit(name, value));
        }
        if let Some((_, found)) = self.select_blocks(sets, options)? {
            for labels in found.keys() {
                labels.iter().for_each(|(name, value)| visit(name, value));
            }
        }
        Ok(())
    }

    fn stats(&self, most: usize) -> StoreStats {
        let blocks = self.blocks.list();
        let head = self.read_head();
        let span = head.time_span();
        let by_metric =
            head.dictionary.values(METRIC_NAME).map(|(value, series)| (value.to_owned(), series.len() as u64));
        let mut stats = StoreStats {
            series: head.dictionary.len() as u64,
            label_pairs: head.dictionary.pair_count() as u64,
            samples_in_memory: head.samples(),
            chunks: head.chunk_count(),
            oldest: blocks.iter().map(|block| block.oldest).chain(span.map(|span| span.0)).min(),
            newest: blocks.iter().map(|block| block.newest).chain(span.map(|span| span.1)).max(),
            series_by_metric: top(by_metric.collect(), most),
            ..StoreStats::default()
        };
        let (mut values, mut bytes, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
        for (name, listed) in head.dictionary.names() {
            let (mut count, mut len) = (0, 0);
            for (value, series) in listed {
                count += 1;
                len += value.len() as u64;
                pairs.push((name, value, series.len() as u64));
            }
            values.push((name.to_owned(), count));
            bytes.push((name.to_owned(), len));
        }
        // Texts are made for those that are shown only.
        crate::model::sort_by(&mut pairs, |a, b| b.2.cmp(&a.2).then_with(|| (a.0, a.1).cmp(&(b.0, b.1))));
        stats.series_by_pair =
            pairs.iter().take(most).map(|(name, value, series)| (format!("{name}={value}"), *series)).collect();
        stats.values_by_label = top(values, most);
        stats.bytes_by_label = top(bytes, most);
        stats
    }
}

fn top(mut counts: Vec<(String, u64)>, most: usize) -> Vec<(String, u64)> {
    crate::model::sort_by(&mut counts, |a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts.truncate(most);
    counts
}

#[cfg(test)]
mod tests {
    use super::super::tests::{START, open, read_all, scrape};
    use super::*;
    use crate::clock::Clock;
    use crate::model::stale_marker;
    use crate::store::ChosenLabels;

    /// Names, whether those of all others are meant, and whether the metric's is.
    type Choice = (&'static [&'static str], bool, bool);

    /// Labels that nobody looks at are left out of memory's series, and neither samples nor their order change.
    #[test]
    fn chosen_labels_leave_everything_else_as_it_is() {
        let folder = tempfile::tempdir().expect("writable");
        let clock = Clock::manual(Timestamp(START));
        let store = open(folder.path(), &clock);
        let scrape_once = |row: i64| {
            let at = START + row * 15_000;
            clock.set(Timestamp(at));
            for group in 0..3 {
                let values: Vec<(usize, f64)> = (0..120).map(|series| (series, (row * series as i64) as f64)).collect();
                scrape(&*store, group, at, &values);
            }
        };
        (0..50).for_each(scrape_once);
        let read = |labels: Option<(Choice, &'static [&'static str])>, newest_only: bool| {
            let labels = labels.map(|((names, is_without, has_metric_name), unless)| ChosenLabels {
                names: names.iter().map(|name| (*name).to_owned()).collect(),
                is_without,
                has_metric_name,
                unless,
            });
            let options = ReadOptions { labels, newest_only, ..ReadOptions::over(TimeRange::ALL) };
            let mut set = store.select_any(&[], &options).expect("reading succeeds");
            let (mut found, mut samples) = (Vec::new(), Samples::default());
            while let Some(labels) = set.next(&mut samples).expect("reading succeeds") {
                found.push((labels, samples.clone()));
            }
            found
        };
        // With a choice, the labels that are kept.
        let choices: [(Choice, &[&str]); 8] = [
            ((&[], false, false), &[]),
            ((&["instance"], false, false), &["instance"]),
            ((&["part", "nowhere"], false, false), &["part"]),
            ((&["__name__", "part"], false, false), &["part"]),
            ((&["part"], false, true), &["__name__", "part"]),
            ((&["part"], true, false), &["instance"]),
            ((&[], true, false), &["instance", "part"]),
            ((&["__name__", "part"], true, true), &["__name__", "instance"]),
        ];
        for newest_only in [false, true] {
            let whole = read(None, newest_only);
            assert_eq!(whole.len(), 360);
            for (choice, kept) in choices {
                let chosen = read(Some((choice, &["__unit__"])), newest_only);
                let expected: Vec<(Labels, Samples)> = whole
                    .iter()
                    .map(|(labels, samples)| (labels.filtered(|name| kept.contains(&name)), samples.clone()))
                    .collect();
                assert!(chosen == expected, "{choice:?}");
                assert!(read(Some((choice, &["__unit__", "part"])), newest_only) == whole, "{choice:?}");
            }
        }
        // With blocks, series are merged by all of them.
        (50..900).for_each(scrape_once);
        store.maintain().expect("the disk works");
        assert!(!store.shared.blocks.list().is_empty());
        assert!(read(Some((choices[1].0, &[])), false) == read(None, false));
    }

    /// Series that ended give their columns up, and those behind them move: in the same minute rows have both layouts.
    #[test]
    fn rows_of_two_layouts_are_read_as_one() {
        let folder = tempfile::tempdir().expect("writable");
        let clock = Clock::manual(Timestamp(START));
        let store = open(folder.path(), &clock);
        let value = |row: i64, series: usize| (row * 100) as f64 + series as f64;
        let time_of = |row: i64| START + row * 15_000;
        let (mut rows, mut moved) = (0, i64::MAX);
        // Of ten series the first five end early, and two come when columns have moved.
        let is_there = |row: i64, moved: i64, series: usize| match series {
            0..5 => row < 40,
            5..10 => true,
            _ => row > moved,
        };
        while rows < moved.saturating_add(6) {
            assert!(rows < 2_000, "columns are given up within hours");
            clock.set(Timestamp(time_of(rows)));
            let there = (0..12).filter(|series| is_there(rows, moved, *series));
            let values: Vec<(usize, f64)> = there.map(|series| (series, value(rows, series))).collect();
            scrape(&*store, 0, time_of(rows), &values);
            if moved == i64::MAX {
                let has_moved = store.shared.read_head().view_group(GroupId(0), TimeRange::ALL).runs().count() > 1;
                moved = if has_moved { rows } else { moved };
                store.maintain().expect("the disk works");
            }
            rows += 1;
        }
        for first in moved - 10..rows {
            for last in first..rows {
                let range = TimeRange { start: Timestamp(time_of(first)), end: Timestamp(time_of(last)) };
                let mut expected: Vec<Vec<(i64, u64)>> = (0..12)
                    .map(|series| {
                        let rows = (first..=last).filter(|row| is_there(*row, moved, series));
                        rows.map(|row| (time_of(row), value(row, series).to_bits())).collect()
                    })
                    .filter(|samples: &Vec<_>| !samples.is_empty())
                    .collect();
                let mut found: Vec<_> = read_all(&*store, &[], range).into_iter().map(|(_, samples)| samples).collect();
                expected.sort();
                found.sort();
                assert!(found == expected, "{first} to {last}: {found:?}");
            }
        }
    }

    /// However values wait, and whoever unpacks them, all come back.
    #[test]
    fn all_ways_of_fetching_give_the_same_samples() {
        let folder = tempfile::tempdir().expect("writable");
        let clock = Clock::manual(Timestamp(START));
        let store = open(folder.path(), &clock);
        let value = |row: i64, series: usize| match series % 6 {
            0 => row as f64 * 3.0,
            1 => (row * 7 % 1000) as f64 / 1000.0,
            2 => (row as f64).sqrt(),
            3 if row % 50 == 17 => stale_marker(),
            3 => row as f64 * 0.1,
            4 => 42.5,
            _ => (row / 9 * 4096) as f64,
        };
        for row in 0..2_000 {
            let at = START + row * 15_000;
            clock.set(Timestamp(at));
            for group in 0..2 {
                let there = (0..90).filter(|series| series % 7 != 0 || row % 400 < 120);
                let values: Vec<(usize, f64)> = there.map(|series| (series, value(row, series))).collect();
                scrape(&*store, group, at, &values);
            }
            if row % 240 == 239 {
                store.maintain().expect("the disk works");
            }
        }
        let read = |range: TimeRange, plain_bytes_max: usize, shared_samples_min: usize| {
            let mut set = store.shared.select(&[], &ReadOptions::over(range)).expect("reading succeeds");
            set.fetcher.plain_bytes_max = plain_bytes_max;
            set.fetcher.shared_samples_min = shared_samples_min;
            let (mut found, mut samples) = (Vec::new(), Samples::default());
            while let Some(labels) = set.next(&mut samples).expect("reading succeeds") {
                let bits: Vec<u64> = samples.values.iter().map(|value| value.to_bits()).collect();
                found.push((labels, samples.timestamps.clone(), bits));
            }
            found
        };
        for (from, to) in [(0, 2_000), (333, 334), (100, 1_717), (1_900, 2_100)] {
            let range = TimeRange { start: Timestamp(START + from * 15_000), end: Timestamp(START + to * 15_000 - 1) };
            let expected = read(range, usize::MAX, usize::MAX);
            assert!(!expected.is_empty());
            let rows = (to.min(2_000) - from) as usize;
            assert!(expected.iter().any(|(_, times, _)| times.len() == rows), "{from} to {to}");
            for (plain_bytes_max, shared_samples_min) in [(0, usize::MAX), (0, 0), (usize::MAX, 0)] {
                let found = read(range, plain_bytes_max, shared_samples_min);
                assert!(found == expected, "{from} to {to}: {plain_bytes_max} {shared_samples_min}");
            }
        }
    }
}
