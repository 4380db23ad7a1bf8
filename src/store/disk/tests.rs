//! The store against its double: whatever happens in between, both give the same samples.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::{DiskStore, ImportGroup, StoreSettings};
use crate::clock::Clock;
use crate::model::{Labels, MatchOp, Matcher, TimeRange, Timestamp, stale_marker};
use crate::store::{Append, Batch, MemoryStore, ReadOptions, Rejection, Samples, Select, StoreError};
use crate::telemetry::Registry;

pub(super) const START: i64 = 1_800_000_000_000;
const HOUR: i64 = 3_600_000;

pub(super) fn settings(path: &Path) -> StoreSettings {
    StoreSettings { log_segment_bytes: 64 * 1024, is_threaded: false, ..StoreSettings::new(path) }
}

pub(super) fn open(path: &Path, clock: &Clock) -> Arc<DiskStore> {
    DiskStore::open(settings(path), clock.clone(), &Registry::new()).expect("opening succeeds")
}

fn labels(group: usize, series: usize) -> Labels {
    Labels::from_pairs([
        ("__name__", format!("metric_{}", series % 5)),
        ("instance", format!("host-{group}")),
        ("part", format!("{}", series / 5)),
    ])
}

pub(super) type Found = Vec<(Labels, Vec<(i64, u64)>)>;

pub(super) fn read_all(store: &dyn Select, matchers: &[Matcher], range: TimeRange) -> Found {
    let mut set = store.select(matchers, &ReadOptions::over(range)).expect("reading succeeds");
    let (mut found, mut samples) = (Vec::new(), Samples::default());
    while let Some(labels) = set.next(&mut samples).expect("reading succeeds") {
        let pairs = samples.timestamps.iter().zip(&samples.values).map(|(at, value)| (at.0, value.to_bits()));
        found.push((labels, pairs.collect()));
    }
    found
}

/// Appends one scrape to a store: values by group and series number.
pub(super) fn scrape(store: &dyn Append, group: usize, at: i64, values: &[(usize, f64)]) -> usize {
    let id = store.group(&format!("group-{group}")).expect("groups are not bounded");
    let sample = |(series, value): &(usize, f64)| (store.series(id, &labels(group, *series)).expect("room"), *value);
    let samples = values.iter().map(sample).collect();
    store.append(&Batch { group: id, timestamp: Timestamp(at), samples, explicit: Vec::new() }).appended
}

/// A copy of all files, as a killed process leaves them.
pub(super) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("writable");
    for entry in std::fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("readable").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("writable");
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// A scrape of a group: seconds since the last step, and values per series.
    Scrape {
        group: usize,
        after_ms: i64,
        values: Vec<(usize, f64)>,
    },
    /// Samples with their own times, some seconds back, through any group.
    Explicit {
        through: usize,
        group: usize,
        series: usize,
        back_ms: i64,
        value: f64,
    },
    /// A scrape of a group of its own that lies back: its clock, or this machine's, was wrong.
    Late {
        group: usize,
        back_ms: i64,
        values: Vec<(usize, f64)>,
    },
    /// A series of its own comes straight into a block: one sample a minute.
    Import {
        back_ms: i64,
        count: i64,
    },
    /// Time passes.
    Wait {
        ms: i64,
    },
    /// The clock is set back.
    SetBack {
        ms: i64,
    },
    Flush,
    Maintain,
    /// A clean end and a new start.
    Restart,
    /// Kill -9 and a new start.
    Kill,
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (0i32..100).prop_map(f64::from),
        2 => (0i32..100).prop_map(|value| f64::from(value) / 10.0),
        1 => Just(f64::NAN),
        1 => Just(stale_marker()),
        1 => Just(f64::INFINITY),
        1 => any::<f64>(),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let values = || proptest::collection::vec((0usize..12, any_value()), 0..12);
    prop_oneof![
        20 => (0usize..3, prop_oneof![Just(0i64), Just(15_000), 1i64..60_000], values())
            .prop_map(|(group, after_ms, values)| Step::Scrape { group, after_ms, values }),
        3 => (3usize..6, prop_oneof![0i64..HOUR, 0i64..12 * HOUR], values())
            .prop_map(|(group, back_ms, values)| Step::Late { group, back_ms, values }),
        4 => (0usize..3, 0usize..3, 0usize..14, prop_oneof![4 => 0i64..600_000, 1 => 0i64..12 * HOUR], any_value())
            .prop_map(|(through, group, series, back_ms, value)| Step::Explicit { through, group, series, back_ms, value }),
        1 => (-600_000..12 * HOUR, 1i64..60).prop_map(|(back_ms, count)| Step::Import { back_ms, count }),
        2 => (0i64..3 * HOUR).prop_map(|ms| Step::Wait { ms }),
        1 => (0i64..9 * HOUR).prop_map(|ms| Step::SetBack { ms }),
        2 => Just(Step::Flush),
        2 => Just(Step::Maintain),
        1 => Just(Step::Restart),
        1 => Just(Step::Kill),
    ]
}

struct Pair {
    folder: tempfile::TempDir,
    generation: u32,
    imports: usize,
    clock: Clock,
    now: i64,
    disk: Arc<DiskStore>,
    memory: MemoryStore,
}

impl Pair {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let clock = Clock::manual(Timestamp(START));
        let disk = open(&folder.path().join("0"), &clock);
        Self { folder, generation: 0, imports: 0, clock, now: START, disk, memory: MemoryStore::new() }
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Scrape { group, after_ms, values } => {
                self.pass(*after_ms);
                self.scrape(*group, self.now, values);
            }
            Step::Late { group, back_ms, values } => self.scrape(*group, self.now - back_ms, values),
            Step::Explicit { through, group, series, back_ms, value } => {
                let at = self.now - back_ms;
                let outcomes = [&*self.disk as &dyn Append, &self.memory].map(|store| {
                    let own = store.group(&format!("group-{group}")).expect("groups are not bounded");
                    let series = store.series(own, &labels(*group, *series)).expect("room");
                    let through = store.group(&format!("group-{through}")).expect("groups are not bounded");
                    let explicit = vec![(series, Timestamp(at), *value)];
                    store.append(&Batch {
                        group: through,
                        timestamp: Timestamp(self.now),
                        samples: Vec::new(),
                        explicit,
                    })
                });
                assert_eq!(outcomes[0], outcomes[1], "{step:?}");
            }
            Step::Import { back_ms, count } => self.import(self.now - back_ms, *count),
            Step::Wait { ms } => self.pass(*ms),
            Step::SetBack { ms } => self.pass(-ms),
            Step::Flush => self.disk.flush().expect("the disk works"),
            Step::Maintain => self.disk.maintain().expect("the disk works"),
            Step::Restart => {
                self.disk.close().expect("the disk works");
                let path = self.path();
                // The lock goes with the last handle.
                self.disk = open(&self.folder.path().join("other"), &self.clock);
                self.disk = open(&path, &self.clock);
            }
            Step::Kill => {
                let from = self.path();
                self.generation += 1;
                copy_folder(&from, &self.path());
                self.disk = open(&self.path(), &self.clock);
            }
        }
    }

    fn scrape(&self, group: usize, at: i64, values: &[(usize, f64)]) {
        let mut unique = values.to_vec();
        unique.sort_by_key(|(series, _)| *series);
        unique.dedup_by_key(|(series, _)| *series);
        let taken = scrape(&*self.disk, group, at, &unique);
        assert_eq!(taken, scrape(&self.memory, group, at, &unique), "{group} {at} {values:?}");
    }

    fn import(&mut self, until: i64, count: i64) {
        self.imports += 1;
        let labels = labels(7, self.imports);
        let mut samples = Samples::default();
        (0..count).rev().for_each(|minute| samples.push(Timestamp(until - minute * 60_000), minute as f64));
        let group = self.memory.group("imported").expect("groups are not bounded");
        let series = self.memory.series(group, &labels).expect("room");
        let explicit =
            samples.timestamps.iter().zip(&samples.values).map(|(at, value)| (series, *at, *value)).collect();
        self.memory.append(&Batch { group, timestamp: Timestamp(until), samples: Vec::new(), explicit });
        let imported = ImportGroup { key: "imported".to_owned(), series: vec![(labels, samples)] };
        let (start, end) = (Timestamp(until - count * 60_000), Timestamp(until + 1));
        self.disk.import_block(start, end, &[imported], ("import", 1)).expect("the disk works");
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join(self.generation.to_string())
    }

    fn pass(&mut self, ms: i64) {
        self.now += ms;
        self.clock.set(Timestamp(self.now));
    }

    fn compare(&self) {
        let middle = (START + self.now) / 2;
        for range in [
            TimeRange::ALL,
            TimeRange { start: Timestamp(middle), end: Timestamp(self.now) },
            TimeRange { start: Timestamp(START), end: Timestamp(middle) },
            TimeRange { start: Timestamp(self.now - 300_000), end: Timestamp(self.now) },
            // What memory keeps, all of it or from its middle on.
            TimeRange { start: Timestamp(self.now - HOUR / 2), end: Timestamp::MAX },
            TimeRange { start: self.disk.shared.read_head().kept_since(), end: Timestamp::MAX },
            TimeRange { start: Timestamp(self.now - 3 * HOUR), end: Timestamp(self.now - HOUR / 3) },
        ] {
            for matchers in [
                vec![],
                vec![Matcher::equal("__name__", "metric_1")],
                vec![
                    Matcher::new(MatchOp::Regex, "instance", "host-[12]").expect("valid"),
                    Matcher::new(MatchOp::NotEqual, "part", "1").expect("valid"),
                ],
            ] {
                assert_eq!(read_all(&*self.disk, &matchers, range), read_all(&self.memory, &matchers, range));
                let last = |store: &dyn Select, newest_only| {
                    let options = ReadOptions { newest_only, ..ReadOptions::over(range) };
                    let mut set = store.select(&matchers, &options).expect("readable");
                    let (mut found, mut samples) = (Vec::new(), Samples::default());
                    while let Some(labels) = set.next(&mut samples).expect("readable") {
                        found.push((
                            labels,
                            samples.timestamps.last().copied(),
                            samples.values.last().map(|v| v.to_bits()),
                        ));
                    }
                    found
                };
                assert_eq!(last(&*self.disk, true), last(&self.memory, false));
                let newest = |store: &dyn Select| {
                    let found =
                        store.newest(std::slice::from_ref(&matchers), &ReadOptions::over(range)).expect("readable");
                    found
                        .into_iter()
                        .map(|sample| (sample.labels, sample.timestamp, sample.value.to_bits()))
                        .collect::<Vec<_>>()
                };
                assert_eq!(newest(&*self.disk), newest(&self.memory));
            }
        }
        let all = ReadOptions::over(TimeRange::ALL);
        assert_eq!(self.disk.series_labels(&[], &all, None).ok(), self.memory.series_labels(&[], &all, None).ok());
        assert_eq!(self.disk.label_names(&[], &all, None).ok(), self.memory.label_names(&[], &all, None).ok());
        let values = |store: &dyn Select| store.label_values("instance", &[], &all, Some(2)).expect("readable");
        assert_eq!(values(&*self.disk), values(&self.memory));
    }
}

/// Forty-eight, unless `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(48)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 300, ..ProptestConfig::default() })]
    #[test]
    fn agrees_with_the_double(steps in proptest::collection::vec(any_step(), 1..60)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.apply(step);
        }
        pair.compare();
        pair.apply(&Step::Kill);
        pair.compare();
    }
}

#[test]
fn a_day_of_scrapes_comes_back_from_blocks_log_and_memory() {
    let mut pair = Pair::new();
    for minute in 0..26 * 60 {
        for group in 0..2 {
            let values: Vec<(usize, f64)> = (0..10).map(|series| (series, (minute * (series + 1)) as f64)).collect();
            pair.apply(&Step::Scrape { group, after_ms: 30_000, values });
        }
        if minute % 30 == 0 {
            pair.apply(&Step::Maintain);
        }
    }
    pair.apply(&Step::Maintain);
    let blocks = pair.disk.shared.blocks.list();
    assert!(blocks.len() < 10, "{blocks:?}");
    assert!(blocks.iter().any(|block| block.until.since(block.start) == 12 * HOUR), "{blocks:?}");
    pair.compare();
    pair.apply(&Step::Kill);
    pair.compare();
}

/// Rules ask for half an hour up to now every few seconds: a block that has just been made is not read for that, and what
/// memory keeps for it goes to no block a second time.
#[test]
fn half_an_hour_up_to_now_needs_no_blocks() {
    let mut pair = Pair::new();
    let (mut samples, mut most) = (0, 0);
    for quarter in 0..4 * (5 * 60 + 2) {
        for group in 0..2 {
            let values: Vec<(usize, f64)> = (0..6).map(|series| (series, (quarter * series) as f64)).collect();
            pair.apply(&Step::Scrape { group, after_ms: 7_500, values });
            samples += 6;
        }
        // Some with times of their own, some of which are late.
        if quarter % 8 == 7 {
            let back_ms = if quarter % 48 == 47 { 1_200_000 } else { 1_000 };
            pair.apply(&Step::Explicit { through: 1, group: 0, series: 12, back_ms, value: quarter as f64 });
            samples += usize::from(back_ms == 1_000);
        }
        if quarter % 4 == 3 {
            pair.apply(&Step::Maintain);
            let window = TimeRange { start: Timestamp(pair.now - 30 * 60 * 1000), end: Timestamp(pair.now) };
            assert!(!pair.disk.shared.need_blocks(window), "{quarter}");
            assert_eq!(read_all(&*pair.disk, &[], window), read_all(&pair.memory, &[], window), "{quarter}");
            if quarter < 4 * 120 {
                most = pair.disk.shared.read_head().samples();
            }
            assert!(pair.disk.shared.read_head().samples() <= most + 200, "{quarter}");
        }
    }
    let (blocks, head) = (pair.disk.shared.blocks.list(), pair.disk.shared.read_head());
    assert_eq!(blocks.iter().map(|block| block.until.0).max(), Some(START + 4 * HOUR));
    assert_eq!(head.oldest_unstored(), Some(Timestamp(START + 4 * HOUR)));
    assert_eq!(head.time_span().map(|(oldest, _)| oldest), head.oldest_unstored(), "what was kept is given up in time");
    assert_eq!(blocks.iter().map(|block| block.samples).sum::<u64>() + head.samples(), samples as u64);
    drop(head);
    pair.compare();
}

/// A clock that ran ahead while a block was made, and was set back: what is scraped from then on is all late, for hours, and
/// goes to several blocks at once in the end.
#[test]
fn what_is_late_for_several_blocks_goes_to_all_of_them() {
    let mut pair = Pair::new();
    pair.apply(&Step::Scrape { group: 0, after_ms: 0, values: vec![(0, 1.0)] });
    for step in [Step::Wait { ms: 9 * HOUR }, Step::Maintain, Step::SetBack { ms: 9 * HOUR }] {
        pair.apply(&step);
    }
    let mut samples = 1;
    while pair.now < START + 11 * HOUR {
        pair.apply(&Step::Scrape { group: 0, after_ms: 60_000, values: vec![(0, samples as f64), (1, 2.0)] });
        pair.apply(&Step::Explicit { through: 0, group: 1, series: 12, back_ms: 1, value: samples as f64 });
        samples += 3;
        if pair.now % HOUR == 0 {
            pair.apply(&Step::Maintain);
        }
    }
    pair.compare();
    pair.apply(&Step::Wait { ms: 2 * HOUR });
    pair.apply(&Step::Maintain);
    pair.compare();
    let stored: u64 = pair.disk.shared.blocks.list().iter().map(|block| block.samples).sum();
    assert_eq!((pair.disk.shared.read_head().samples(), stored), (0, samples as u64));
    pair.apply(&Step::Kill);
    pair.compare();
}

/// Which series selectors name is kept between pulls, until one comes or goes.
#[test]
fn the_newest_are_right_while_series_come_and_go() {
    let mut pair = Pair::new();
    let scrape =
        |group: usize, values: &[(usize, f64)]| Step::Scrape { group, after_ms: 15_000, values: values.to_vec() };
    let long_after = [Step::Wait { ms: 4 * HOUR }, scrape(1, &[(1, 1.0)]), Step::Maintain];
    let named = [vec![Matcher::equal("__name__", "metric_1")]];
    for (steps, series) in [
        (vec![scrape(0, &[(1, 1.0), (2, 2.0)])], 1),
        (vec![scrape(0, &[(1, 3.0), (2, 4.0)])], 1),
        // One comes, one ends, all but one go, and one comes back.
        (vec![scrape(0, &[(1, 5.0), (6, 6.0)])], 2),
        (vec![scrape(0, &[(1, stale_marker()), (6, 7.0)])], 2),
        (long_after.to_vec(), 1),
        (vec![scrape(0, &[(6, 8.0)])], 2),
    ] {
        steps.iter().for_each(|step| pair.apply(step));
        pair.compare();
        let census = pair.disk.shared.read_head().dictionary.census();
        let kept = pair.disk.shared.listed.find(&named, census);
        assert_eq!(kept.map(|list| list.len()), Some(series), "{steps:?}");
    }
}

#[test]
fn rules_of_appending() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Clock::manual(Timestamp(START));
    let store = open(folder.path(), &clock);
    let group = store.group("g").expect("room");
    let series = store.series(group, &labels(0, 0)).expect("room");
    let append = |at: i64, value: f64| {
        let batch = Batch { group, timestamp: Timestamp(at), samples: vec![(series, value)], explicit: vec![] };
        let report = store.append(&batch);
        report.rejected.first().map_or(Ok(report.appended), |(_, rejection)| Err(*rejection))
    };
    assert_eq!(append(START, 1.0), Ok(1));
    assert_eq!(append(START, 1.0), Ok(1));
    assert_eq!(append(START, 2.0), Err(Rejection::DuplicateTimestamp));
    assert_eq!(append(START - 1, 1.0), Err(Rejection::OutOfOrder));
    assert_eq!(append(START + 600_000, 3.0), Ok(1));
    assert_eq!(append(START + 600_001, 3.0), Err(Rejection::TooFarAhead));
    assert_eq!(append(START - 31 * 24 * HOUR, 3.0), Err(Rejection::TooOld));
    let unknown = Batch {
        group,
        timestamp: Timestamp(START),
        samples: vec![(crate::store::SeriesId(99), 1.0)],
        explicit: vec![],
    };
    assert_eq!(store.append(&unknown).rejected, [(0, Rejection::UnknownSeries)]);
}

/// Whatever memory forgets when it starts anew or when a series has ended, blocks still know.
#[test]
fn samples_are_compared_with_blocks_where_memory_knows_no_newer_one() {
    let forget: [fn(&mut Pair); 3] = [
        |pair| pair.apply(&Step::Kill),
        |pair| pair.apply(&Step::Restart),
        // So long after the end of its series that it is dropped.
        |pair| {
            pair.apply(&Step::Wait { ms: 4 * HOUR });
            pair.apply(&Step::Scrape { group: 1, after_ms: 0, values: vec![(0, 1.0)] });
            pair.apply(&Step::Maintain);
            assert_eq!(pair.disk.stats().series, 1);
        },
    ];
    for forget in forget {
        let mut pair = Pair::new();
        // All of it goes to blocks: two series, one of them ended, one with a time of its own.
        pair.apply(&Step::Scrape { group: 0, after_ms: 0, values: vec![(0, 1.0), (1, 2.0)] });
        pair.apply(&Step::Scrape { group: 0, after_ms: 15_000, values: vec![(0, 3.0), (1, stale_marker())] });
        pair.apply(&Step::Explicit { through: 0, group: 0, series: 2, back_ms: 5_000, value: 4.0 });
        let end = pair.now;
        pair.apply(&Step::Wait { ms: 3 * HOUR });
        pair.apply(&Step::Maintain);
        assert_eq!(pair.disk.stats().samples_in_memory, 0);
        forget(&mut pair);
        // Older ones, repetitions, other values at the same time, and newer ones.
        for (series, before_end_ms, value) in [
            (0, 1_000, 5.0),
            (0, 0, 3.0),
            (1, 1, 2.0),
            (1, 0, stale_marker()),
            (1, 0, 2.0),
            (2, 5_001, 4.0),
            (2, 5_000, 4.0),
            (2, 5_000, 6.0),
            (2, 4_000, 6.0),
            (3, 10_000, 7.0),
            (1, -1_000, 8.0),
        ] {
            let back_ms = pair.now - end + before_end_ms;
            pair.apply(&Step::Explicit { through: 0, group: 0, series, back_ms, value });
        }
        // A whole scrape that is late, as after a step of the clock.
        let values = vec![(0, 5.0), (1, 6.0), (2, 7.0), (4, 8.0)];
        assert_eq!(scrape(&*pair.disk, 0, end, &values), scrape(&pair.memory, 0, end, &values));
        pair.compare();
        pair.apply(&Step::Maintain);
        pair.apply(&Step::Kill);
        pair.compare();
    }
}

#[test]
fn the_absent_pattern_becomes_an_ordinary_nan() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Clock::manual(Timestamp(START));
    let store = open(folder.path(), &clock);
    assert_eq!(scrape(&*store, 0, START, &[(0, crate::codec::absent())]), 1);
    let found = read_all(&*store, &[], TimeRange::ALL);
    assert_eq!(found[0].1, [(START, f64::NAN.to_bits())]);
}

#[test]
fn a_second_instance_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Clock::manual(Timestamp(START));
    let first = open(folder.path(), &clock);
    let second = DiskStore::open(settings(folder.path()), clock.clone(), &Registry::new());
    assert!(matches!(second.map(|_| ()), Err(StoreError::Locked { .. })));
    drop(first);
    open(folder.path(), &clock);
}

#[test]
fn a_tail_that_cannot_be_written_is_shown_until_it_can() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Clock::manual(Timestamp(START));
    let blocked = ["tail-a", "tail-b"].map(|name| folder.path().join("tail").join(name));
    blocked.iter().for_each(|path| std::fs::create_dir_all(path).expect("writable"));
    let store = open(folder.path(), &clock);
    assert_eq!(scrape(store.as_ref(), 0, START, &[(0, 1.0)]), 1, "appending goes on");
    assert!(store.health().tail_error.is_some() && !store.health().is_good());

    blocked.iter().for_each(|path| std::fs::remove_dir(path).expect("writable"));
    clock.set(Timestamp(START + 30_000));
    store.flush().expect("the log can be written");
    scrape(store.as_ref(), 0, START + 30_000, &[(0, 2.0)]);
    assert!(store.health().is_good(), "{:?}", store.health());
}

#[test]
fn series_are_bounded() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = StoreSettings { series_max: 3, ..settings(folder.path()) };
    let store = DiskStore::open(settings, Clock::manual(Timestamp(START)), &Registry::new()).expect("opening succeeds");
    let group = store.group("g").expect("room");
    let outcomes: Vec<bool> = (0..5).map(|series| store.series(group, &labels(0, series)).is_ok()).collect();
    assert_eq!(outcomes, [true, true, true, false, false]);
    assert!(store.series(group, &labels(0, 1)).is_ok());
}

#[test]
fn ended_series_leave_memory_and_stay_in_blocks() {
    let mut pair = Pair::new();
    for step in 0..16 * 60 {
        // Every series lives for an hour.
        let first = step / 60;
        pair.apply(&Step::Scrape { group: 0, after_ms: 60_000, values: vec![(first, 1.0), (first + 20, 2.0)] });
        if step % 10 == 0 {
            pair.apply(&Step::Maintain);
        }
    }
    assert!(pair.disk.stats().series <= 12, "{}", pair.disk.stats().series);
    pair.compare();
}

#[test]
fn retention_by_time_drops_whole_blocks_but_no_clock_jump_does() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Clock::manual(Timestamp(START));
    let settings = StoreSettings { retention_time: Duration::from_secs(48 * 3600), ..settings(folder.path()) };
    let store = DiskStore::open(settings, clock.clone(), &Registry::new()).expect("opening succeeds");
    let mut at = START;
    let mut run = |hours: i64, from: i64| {
        at = from;
        for _ in 0..hours * 12 {
            at += 300_000;
            clock.set(Timestamp(at));
            scrape(&*store, 0, at, &[(0, 1.0), (1, at as f64)]);
            if at % HOUR == 0 {
                store.maintain().expect("the disk works");
            }
        }
        at
    };
    let first = run(30, START / HOUR * HOUR);
    let oldest = store.stats().oldest;
    // A jump by a year, for a few hours: nothing goes.
    let jumped = run(5, first + 365 * 24 * HOUR);
    assert_eq!(store.stats().oldest, oldest);
    // It was no jump: after a day what is old goes.
    let end = run(40, jumped);
    assert!(store.stats().oldest.expect("there are samples") > Timestamp(first), "still {:?}", store.stats().oldest);
    assert_eq!(store.stats().newest, Some(Timestamp(end)));
}

#[test]
fn retention_by_size_drops_the_oldest() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Clock::manual(Timestamp(START));
    let settings = StoreSettings { retention_bytes: Some(400 * 1024), ..settings(folder.path()) };
    let store = DiskStore::open(settings, clock.clone(), &Registry::new()).expect("opening succeeds");
    let mut random = 1u64;
    for step in 0..48 * 60 {
        let at = START + step * 60_000;
        clock.set(Timestamp(at));
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 11) as f64
        };
        let values: Vec<(usize, f64)> = (0..30).map(|series| (series, next())).collect();
        scrape(&*store, 0, at, &values);
        if step % 60 == 0 {
            store.maintain().expect("the disk works");
        }
    }
    store.maintain().expect("the disk works");
    let bytes: u64 = store.shared.blocks.list().iter().map(|block| block.bytes).sum();
    assert!(bytes <= 400 * 1024, "{bytes}");
    assert!(store.stats().oldest > Some(Timestamp(START + 4 * HOUR)));
}

#[test]
fn own_metrics_and_statistics_are_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let registry = Registry::new();
    let store = DiskStore::open(settings(folder.path()), Clock::manual(Timestamp(START)), &registry).expect("opens");
    scrape(&*store, 0, START, &[(0, 1.0), (1, 2.0), (5, 3.0)]);
    store.flush().expect("the disk works");
    let mut page = Vec::new();
    registry.render(&mut page);
    let page = String::from_utf8(page).expect("text");
    for line in
        ["outpost_store_head_series 3", "outpost_store_samples_appended_total 3", "outpost_store_flushes_total 2"]
    {
        assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
    }
    let stats = store.stats();
    assert_eq!((stats.series, stats.samples_in_memory, stats.newest), (3, 3, Some(Timestamp(START))));
    assert_eq!(stats.series_by_metric[0], ("metric_0".to_owned(), 2));
    assert_eq!(stats.series_by_pair[0], ("instance=host-0".to_owned(), 3));
}

/// A month of 3 x 150 series, every half hour; of one series it must read one segment a block.
#[test]
fn a_month_of_one_series_reads_its_own_segments() {
    const SERIES: usize = 150;
    let folder = tempfile::tempdir().expect("writable");
    let clock = Clock::manual(Timestamp(START));
    let store = open(folder.path(), &clock);
    let rows = 30 * 48;
    for row in 0..rows {
        let at = START + row * HOUR / 2;
        clock.set(Timestamp(at));
        for group in 0..3 {
            let values: Vec<(usize, f64)> = (0..SERIES).map(|series| (series, (row + series as i64) as f64)).collect();
            assert_eq!(scrape(&*store, group, at, &values), SERIES);
        }
        if row % 8 == 7 {
            store.maintain().expect("the disk works");
        }
    }
    store.maintain().expect("the disk works");
    let range = TimeRange { start: Timestamp(START), end: Timestamp(START + 30 * 24 * HOUR) };
    let segments_read = |matchers: &[Matcher]| {
        let before = store.shared.metrics.segments_read.value();
        let found = read_all(&*store, matchers, range);
        (found, store.shared.metrics.segments_read.value() - before)
    };
    let one: Vec<Matcher> = (labels(1, 77).iter())
        .map(|(name, value)| Matcher::new(MatchOp::Equal, name, value).expect("no pattern"))
        .collect();
    let (found, read) = segments_read(&one);
    let expected: Vec<(i64, u64)> =
        (0..rows).map(|row| (START + row * HOUR / 2, ((row + 77) as f64).to_bits())).collect();
    assert_eq!(found, [(labels(1, 77), expected)]);
    let places = store.shared.blocks.list().len() as u64 + 2;
    assert!(read > 50 && read <= places, "{read} segments of {places} places");
    let (all, read_for_all) = segments_read(&[]);
    assert_eq!(all.len(), 3 * SERIES);
    assert!(read_for_all > 8 * read, "{read_for_all} in all");
}

/// The threads look every 20 s, also between the end of a window and the making of its last block.
#[test]
fn a_window_is_merged_as_a_whole() {
    const ALIGNED: i64 = 1_800_014_400_000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Clock::manual(Timestamp(ALIGNED));
    let store = open(folder.path(), &clock);
    for step in 0..(12 * 120 + 10) {
        let at = ALIGNED + step * 30_000;
        clock.set(Timestamp(at));
        scrape(&*store, 0, at, &[(0, step as f64)]);
        if step % 240 < 5 {
            store.maintain().expect("the disk works");
        }
    }
    let list = store.shared.blocks.list();
    let spans: Vec<i64> = list.iter().map(|block| block.until.since(block.start)).collect();
    assert_eq!(spans, [12 * HOUR]);
    assert_eq!(list[0].samples, 12 * 120);
}
