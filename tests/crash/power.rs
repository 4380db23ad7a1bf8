//! Power cuts at random moments while a store is written as fast as it can be: every store opens, verifies clean, and has
//! all that a flush had acknowledged.
//!
//! The store runs in a process of its own: this test binary again, as [`writer`].

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use outpost::clock::Clock;
use outpost::model::{Labels, TimeRange, Timestamp};
use outpost::store::{Append, Batch, DiskStore, ReadOptions, Samples, Select, StoreSettings};
use outpost::telemetry::Registry;

use super::image::Image;
use super::{parameter, random};

/// A hundred rounds per file system at about half a second.
const ROUNDS: u64 = 100;
/// A multiple of a block's span.
const START: i64 = 1_800_014_400_000;
const STEP_MS: i64 = 60_000;
const SERIES: i64 = 50;

fn value(series: i64, step: i64) -> f64 {
    (series * 1_000_000 + step) as f64
}

fn labels(series: i64) -> Labels {
    Labels::from_pairs([("__name__", "cut".to_owned()), ("series", series.to_string())])
}

fn open(path: &Path, clock: &Clock) -> Arc<DiskStore> {
    let settings = StoreSettings {
        is_threaded: false,
        log_segment_bytes: 64 << 10,
        block_span: Duration::from_secs(3600),
        ..StoreSettings::new(path)
    };
    DiskStore::open(settings, clock.clone(), &Registry::new()).unwrap()
}

/// The newest step in a store, whose samples are all right and without a hole.
fn check(store: &DiskStore) -> i64 {
    let mut set = store.select(&[], &ReadOptions::over(TimeRange::ALL)).unwrap();
    let (mut samples, mut newest, mut count) = (Samples::default(), -1, 0);
    while let Some(found) = set.next(&mut samples).unwrap() {
        let series: i64 = found.get("series").unwrap().parse().unwrap();
        for (index, (at, given)) in samples.timestamps.iter().zip(&samples.values).enumerate() {
            let step = index as i64;
            assert_eq!(at.0, START + step * STEP_MS, "series {series}: a hole before {}", (at.0 - START) / STEP_MS);
            assert_eq!(*given, value(series, step), "series {series} at step {step}");
        }
        newest = newest.max(samples.len() as i64 - 1);
        count += samples.len() as i64;
    }
    assert_eq!(count, SERIES * (newest + 1), "some series end before others");
    newest
}

/// Writes steps until it is killed, telling each one that is durable.
#[test]
fn writer() {
    let Some(path) = std::env::var_os("OUTPOST_CRASH_WRITER") else { return };
    let clock = Clock::manual(Timestamp(START));
    let store = open(Path::new(&path), &clock);
    let newest = check(&store);
    let group = store.group("cut").unwrap();
    for step in newest + 1.. {
        let at = Timestamp(START + step * STEP_MS);
        clock.set(at);
        let samples = (0..SERIES).map(|series| (store.series(group, &labels(series)).unwrap(), value(series, step)));
        store.append(&Batch { group, timestamp: at, samples: samples.collect(), explicit: Vec::new() });
        if store.flush().is_ok() {
            let mut out = std::io::stdout();
            writeln!(out, "durable {step}").and_then(|()| out.flush()).unwrap();
        }
        if step % 15 == 0 {
            drop(store.maintain());
        }
    }
}

fn cut_power_often(kind: &'static str, megabytes: u64) {
    let rounds = parameter("OUTPOST_CUT_ROUNDS", ROUNDS);
    let Some(image) = Image::new(kind, megabytes) else { return };
    let path = image.path().join("store");
    let (began, mut acknowledged, mut beyond) = (Instant::now(), -1, 0);
    for round in 0..rounds {
        let durable = run_and_cut(&image, &path, round).max(acknowledged);
        image.unmount().unwrap();
        image.mount().unwrap();
        // Not the store itself: opening must not depend on an opening before.
        let store = open(&path, &Clock::manual(Timestamp(START)));
        assert_eq!(store.corruptions(), 0, "round {round}: not clean");
        let newest = check(&store);
        assert!(newest >= durable, "round {round}: step {durable} was durable, {newest} is the newest");
        beyond += newest - durable;
        // What the tail brought back is durable now too.
        acknowledged = newest;
        drop(store);
        if newest > 5_000 {
            std::fs::remove_dir_all(&path).unwrap();
            acknowledged = -1;
        }
    }
    eprintln!("{kind}: {rounds} power cuts in {:?}, no durable step lost, {beyond} more were there", began.elapsed());
}

/// Gives the newest step that was acknowledged as durable.
fn run_and_cut(image: &Image, path: &Path, round: u64) -> i64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "power::writer", "--nocapture"])
        .env("OUTPOST_CRASH_WRITER", path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let newest = Arc::new(AtomicI64::new(-1));
    let (noted, output) = (Arc::clone(&newest), child.stdout.take().unwrap());
    let reading = std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(step) = line.rsplit("durable ").next().and_then(|step| step.parse().ok()) {
                noted.store(step, Ordering::Relaxed);
            }
        }
    });
    std::thread::sleep(Duration::from_millis(30 + random(300)));
    image.cut_power().unwrap_or_else(|error| panic!("round {round}: {error}"));
    child.kill().unwrap();
    child.wait().unwrap();
    reading.join().unwrap();
    newest.load(Ordering::Relaxed)
}

#[test]
fn power_cuts_on_ext4() {
    cut_power_often("ext4", 64);
}

#[test]
fn power_cuts_on_xfs() {
    cut_power_often("xfs", 320);
}
