//! A database that an early version made opens, is read, and is merged into today's formats.
//!
//! `tests/fixtures/store/blocks-1.db`: ten hours of two targets, a scrape a minute, in five blocks. Segments, names
//! and directories are all in format 1. Each target has a counter, square roots with six samples at times of their own,
//! eighths with NaN and -0.0 among them, and a series that ends with a stale marker after half an hour.

use super::*;
use crate::model::{MatchOp, Matcher, TimeRange, stale_marker};
use crate::store::{ReadOptions, Samples, Select};

const START: i64 = 1_800_014_400_000;
const MINUTE_MS: i64 = 60_000;
const TARGETS: [&str; 2] = ["one", "two"];

/// What was appended: time and bits of each sample.
fn expected(name: &str, target: usize) -> Vec<(i64, u64)> {
    let mut samples = Vec::new();
    for step in 0..600i64 {
        let (at, count, number) = (START + step * MINUTE_MS, step as f64, target as f64);
        let value = match name {
            "made_total" => (step * 7) as f64 + number,
            "made_seconds" => count.sqrt() + number,
            "made_odd" if step % 10 == 3 => f64::NAN,
            "made_odd" if step % 10 == 4 => -0.0,
            "made_odd" => count / 8.0,
            _ if step < 30 => 5.0,
            _ if step == 30 => stale_marker(),
            _ => break,
        };
        samples.push((at, value.to_bits()));
        if name == "made_seconds" && step % 100 == 50 {
            samples.push((at + 500, (-1.5f64).to_bits()));
        }
    }
    samples
}

fn check(store: &DiskStore) {
    let mut found = 0;
    for (target, job) in TARGETS.iter().enumerate() {
        let matcher = Matcher::new(MatchOp::Equal, "job", *job).expect("a plain matcher");
        let mut set = store.select(&[matcher], &ReadOptions::over(TimeRange::ALL)).expect("readable");
        let mut samples = Samples::default();
        while let Some(labels) = set.next(&mut samples).expect("readable") {
            let name = labels.get("__name__").expect("all have one").to_owned();
            let read: Vec<(i64, u64)> =
                samples.timestamps.iter().zip(&samples.values).map(|(at, value)| (at.0, value.to_bits())).collect();
            assert_eq!(read, expected(&name, target), "{name} of {job}");
            found += 1;
        }
    }
    assert_eq!((found, store.corruptions()), (8, 0));
}

#[test]
fn blocks_of_an_early_version_are_read_and_merged() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fixture = include_bytes!("../../../tests/fixtures/store/blocks-1.db");
    std::fs::write(folder.path().join("blocks.db"), fixture).expect("writable");
    let clock = Clock::manual(Timestamp(START + 600 * MINUTE_MS));
    let settings = StoreSettings { is_threaded: false, ..StoreSettings::new(folder.path()) };
    let store = DiskStore::open(settings, clock.clone(), &Registry::new()).expect("opening succeeds");
    check(&store);
    assert_eq!(store.shared.blocks.list().len(), 5);
    clock.set(Timestamp(START + 13 * 60 * MINUTE_MS));
    store.maintain().expect("the disk works");
    assert_eq!(store.shared.blocks.list().len(), 1, "merged");
    check(&store);
}
