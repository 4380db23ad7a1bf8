//! The bound on size holds all along, and what rules keep outlives the rest.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::fault_tests::folder as memory_folder;
use super::tests::{START, copy_folder, read_all, settings};
use super::{DiskStore, RetentionRule, StoreSettings};
use crate::clock::Clock;
use crate::model::{Labels, Matcher, TimeRange, Timestamp};
use crate::store::{Append, Batch, GroupId, Select, SeriesId};
use crate::telemetry::Registry;

const HOUR: i64 = 3_600_000;

fn folder_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable"));
    entries
        .map(|entry| match entry.file_type().expect("readable").is_dir() {
            true => folder_bytes(&entry.path()),
            false => entry.metadata().map_or(0, |metadata| metadata.len()),
        })
        .sum()
}

fn reopen(settings: &StoreSettings, clock: &Clock) -> Arc<DiskStore> {
    DiskStore::open(settings.clone(), clock.clone(), &Registry::new()).expect("opening succeeds")
}

/// A number that no codec makes smaller.
fn noise(seed: u64) -> f64 {
    let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    f64::from_bits(0x3ff0_0000_0000_0000 | ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 12))
}

fn recorded_labels() -> Labels {
    Labels::from_pairs([("__name__", "job:raw:sum"), ("job", "a")])
}

/// What is scraped: some series named `raw`, and one recorded series. Each is asked for once, as scraping does.
struct Site {
    groups: [GroupId; 2],
    raw: Vec<SeriesId>,
    recorded: SeriesId,
}

impl Site {
    fn new(store: &DiskStore, series: usize) -> Self {
        let groups = ["target", "rules"].map(|key| store.group(key).expect("groups are not bounded"));
        let labels = |index: usize| Labels::from_pairs([("__name__", "raw"), ("index", &index.to_string())]);
        let raw = (0..series).map(|index| store.series(groups[0], &labels(index)).expect("room")).collect();
        Self { groups, raw, recorded: store.series(groups[1], &recorded_labels()).expect("room") }
    }

    fn scrape(&self, store: &DiskStore, at: i64) {
        let raw = self.raw.iter().enumerate();
        let raw = raw.map(|(index, id)| (*id, noise(at as u64 ^ (index as u64) << 48))).collect();
        for (group, samples) in self.groups.into_iter().zip([raw, vec![(self.recorded, at as f64)]]) {
            let count = samples.len();
            let report = store.append(&Batch { group, timestamp: Timestamp(at), samples, explicit: Vec::new() });
            assert_eq!(report.appended, count);
        }
    }
}

/// Runs for some hours, one scrape a minute; `after` is called after each maintenance.
fn run(store: &DiskStore, clock: &Clock, hours: std::ops::Range<i64>, series: usize, mut after: impl FnMut()) {
    let site = Site::new(store, series);
    for hour in hours {
        for minute in 0..60 {
            let at = START + hour * HOUR + minute * 60_000;
            clock.set(Timestamp(at));
            site.scrape(store, at);
            if minute % 20 == 1 {
                store.maintain().expect("the disk works");
                after();
            }
        }
    }
}

fn rule(matcher: Matcher, hours: u64) -> RetentionRule {
    RetentionRule { matchers: vec![matcher], keep: Duration::from_secs(hours * 3600) }
}

fn kept_rules() -> Vec<RetentionRule> {
    vec![rule(Matcher::equal("__name__", "job:raw:sum"), 24 * 365)]
}

#[test]
fn the_folder_stays_within_its_bound_all_along() {
    const BOUND: u64 = 2 << 20;
    let folder = memory_folder();
    let clock = Clock::manual(Timestamp(START));
    let bounded =
        StoreSettings { retention_bytes: Some(BOUND), retention_rules: kept_rules(), ..settings(folder.path()) };
    let store = reopen(&bounded, &clock);
    let (mut largest, mut is_full) = (0, false);
    run(&store, &clock, 0..72, 100, || {
        let bytes = folder_bytes(folder.path());
        largest = largest.max(bytes);
        is_full |= bytes > BOUND * 6 / 10;
    });
    assert!(largest <= BOUND * 105 / 100, "the folder had {largest} bytes");
    assert!(is_full, "the bound was never tried: {largest} bytes");
    let raw = read_all(&*store, &[Matcher::equal("__name__", "raw")], TimeRange::ALL);
    assert!(raw.iter().all(|(_, samples)| samples[0].0 > START + 24 * HOUR && samples.len() > 6 * 60));
    let recorded = read_all(&*store, &[Matcher::equal("__name__", "job:raw:sum")], TimeRange::ALL);
    assert_eq!(recorded[0].1.len(), 72 * 60, "what rules keep goes last");
}

#[test]
fn a_lowered_bound_shrinks_the_file() {
    let folder = memory_folder();
    let clock = Clock::manual(Timestamp(START));
    let free = settings(folder.path());
    let store = reopen(&free, &clock);
    run(&store, &clock, 0..48, 40, || ());
    drop(store);
    let before = folder_bytes(folder.path());
    let bound = before / 2;
    let store = reopen(&StoreSettings { retention_bytes: Some(bound), ..free }, &clock);
    store.maintain().expect("the disk works");
    let after = folder_bytes(folder.path());
    assert!(after <= bound * 105 / 100, "{before} bytes shrank to {after}, not to {bound}");
}

#[test]
fn what_rules_keep_outlives_the_rest_through_merges_and_restarts() {
    let folder = memory_folder();
    let clock = Clock::manual(Timestamp(START));
    let mut rules = kept_rules();
    // Runs out before the end.
    rules.push(rule(Matcher::equal("index", "3"), 60));
    let kept = StoreSettings {
        retention_time: Duration::from_secs(36 * 3600),
        retention_rules: rules,
        ..settings(folder.path())
    };
    for day in 0..5 {
        let store = reopen(&kept, &clock);
        run(&store, &clock, day * 24..(day + 1) * 24, 5, || ());
    }
    let count = |store: &DiskStore, matcher| {
        let found = read_all(store, &[matcher], TimeRange::ALL);
        found.iter().map(|(_, samples)| samples.len()).collect::<Vec<usize>>()
    };
    let store = reopen(&kept, &clock);
    assert_eq!(count(&store, Matcher::equal("__name__", "job:raw:sum")), [5 * 24 * 60]);
    let hours = |index: &str| count(&store, Matcher::equal("index", index))[0] / 60;
    assert!((36..=49).contains(&hours("0")), "{} hours", hours("0"));
    assert!((60..=73).contains(&hours("3")), "{} hours", hours("3"));
    drop(store);
    // Without the rules, they go like all others.
    let copy = folder.path().join("copy");
    copy_folder(&folder.path().join("log"), &copy.join("log"));
    std::fs::copy(folder.path().join("blocks.db"), copy.join("blocks.db")).expect("writable");
    let store = reopen(&StoreSettings { path: copy, retention_rules: Vec::new(), ..kept }, &clock);
    store.maintain().expect("the disk works");
    assert!(count(&store, Matcher::equal("__name__", "job:raw:sum"))[0] <= 49 * 60);
}

#[test]
fn what_rules_keep_is_merged_to_weeks_and_written_once() {
    let folder = memory_folder();
    let clock = Clock::manual(Timestamp(START));
    let kept = StoreSettings {
        block_span: Duration::from_secs(3600),
        retention_time: Duration::from_secs(24 * 3600),
        retention_rules: kept_rules(),
        ..settings(folder.path())
    };
    let store = reopen(&kept, &clock);
    // The first block has the recorded series from two targets: it ended, and came back with another one.
    let target = store.group("target").expect("groups are not bounded");
    let series = store.series(target, &recorded_labels()).expect("room");
    let before = Timestamp(START - 2 * HOUR + 60_000);
    clock.set(before);
    store.append(&Batch { group: target, timestamp: before, samples: vec![(series, 1.0)], explicit: Vec::new() });
    clock.set(Timestamp(START));
    store.maintain().expect("the disk works");
    assert_eq!(store.stats().series, 0);
    let site = Site::new(&store, 2);
    let steps = 10 * 48;
    for step in 0..steps {
        let at = START + step * HOUR / 2;
        clock.set(Timestamp(at));
        site.scrape(&store, at);
        if step % 4 == 3 {
            store.maintain().expect("the disk works");
        }
    }
    // A window is 84 blocks of an hour: 3.5 days. Two are over since more than a day.
    let blocks = store.shared.blocks.list();
    let long: Vec<i64> =
        blocks.iter().map(|block| block.until.since(block.start) / HOUR).filter(|hours| *hours > 6).collect();
    assert_eq!(long, [84; 2], "{blocks:?}");
    let recorded = read_all(&*store, &[Matcher::equal("__name__", "job:raw:sum")], TimeRange::ALL);
    assert_eq!(recorded[0].1.len() as i64, steps + 1);
    let written = store.shared.metrics.block_bytes_written.value();
    store.maintain().expect("the disk works");
    assert_eq!(store.shared.metrics.block_bytes_written.value(), written, "nothing more is written");
}
