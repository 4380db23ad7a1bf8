//! Reading, verifying, copying and repairing a store that lies in a folder.

use std::path::Path;
use std::sync::Arc;

use super::tests::{Found, START, copy_folder, open, read_all, scrape};
use super::{DiskStore, OfflineStore, copy_store, repair, verify};
use crate::clock::Clock;
use crate::model::{TimeRange, Timestamp};
use crate::store::Select;
use crate::store::blocks::damage_first_row;

const HOUR: i64 = 3_600_000;

/// A store with some hours in blocks and the rest in the log.
fn filled(path: &Path) -> (Arc<DiskStore>, Clock) {
    let clock = Clock::manual(Timestamp(START));
    let store = open(path, &clock);
    for step in 0..5 * 60 {
        let at = START + step * 60_000;
        clock.set(Timestamp(at));
        for group in 0..2 {
            let values: Vec<(usize, f64)> =
                (0..8).map(|series| (series, (at / 7 % 1000) as f64 + series as f64)).collect();
            scrape(&*store, group, at, &values);
        }
        if step % 30 == 5 {
            store.maintain().expect("the disk works");
        }
    }
    (store, clock)
}

fn content(store: &dyn Select) -> Found {
    read_all(store, &[], TimeRange::ALL)
}

fn offline(path: &Path) -> Found {
    content(&**OfflineStore::open(path).expect("it opens").store())
}

fn count(found: &Found) -> usize {
    found.iter().map(|(_, samples)| samples.len()).sum()
}

#[test]
fn a_store_is_read_as_it_lies_also_while_it_is_open() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store");
    assert!(OfflineStore::open(&path).is_err_and(|error| error.to_string().contains("no store")));
    let (store, _clock) = filled(&path);
    let expected = content(&*store);
    assert_eq!(offline(&path), expected, "the tail has what the log has not");
    assert!(OfflineStore::open(&path).expect("it opens").is_in_use);
    store.flush().expect("the disk works");
    drop(store);
    let before: Vec<Vec<u8>> = files(&path);
    let offline = OfflineStore::open(&path).expect("it opens");
    assert!(!offline.is_in_use);
    assert_eq!(content(&**offline.store()), expected);
    let survey = offline.survey(|_, _| ()).expect("readable");
    let share = &survey.jobs[""];
    assert_eq!((share.series, survey.log_series), (16, 16));
    assert_eq!(share.samples.round() as u64 + survey.log_samples, count(&expected) as u64);
    assert!(survey.bytes >= survey.block_bytes + survey.log_bytes && survey.free_bytes > 0);
    drop(offline);
    assert_eq!(files(&path), before, "reading has changed a file");
}

/// The bytes of all files.
fn files(path: &Path) -> Vec<Vec<u8>> {
    let mut paths = vec![path.join("blocks.db")];
    paths.extend(std::fs::read_dir(path.join("log")).expect("readable").map(|entry| entry.expect("readable").path()));
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("readable")).collect()
}

#[test]
fn snapshots_and_backups_are_stores() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store");
    let (store, clock) = filled(&path);
    let expected = content(&*store);
    let name = store.snapshot(true).expect("the disk works");
    let snapshot = path.join("snapshots").join(&name);
    let in_blocks = path.join("snapshots").join(store.snapshot(false).expect("the disk works"));
    let backup = folder.path().join("backup");
    let verified = copy_store(&path, &backup).expect("the disk works");
    assert!(verified.damage.is_empty() && verified.notes.is_empty() && verified.records > 0, "{verified:?}");
    assert!(copy_store(&path, &backup).is_err(), "what is there is not written over");
    for copy in [&snapshot, &backup, &in_blocks] {
        let verified = verify(copy, |_, _| ()).expect("readable");
        assert!(verified.damage.is_empty() && verified.segments > 0, "{verified:?}");
    }
    assert_eq!((offline(&snapshot), offline(&backup)), (expected.clone(), expected.clone()));
    let stored = count(&offline(&in_blocks));
    assert!(stored > 0 && stored < count(&expected));
    // Copies are written on, and keep what is written, also behind what is in blocks.
    for copy in [snapshot, in_blocks] {
        let before = count(&offline(&copy));
        let store = open(&copy, &clock);
        assert_eq!(scrape(&*store, 7, START + HOUR, &[(0, 1.0)]), 1);
        assert_eq!(scrape(&*store, 7, START + 5 * HOUR, &[(0, 1.0)]), 1);
        store.flush().expect("the disk works");
        drop(store);
        assert_eq!(count(&content(&*open(&copy, &clock))), before + 2);
    }
    drop(store);
}

#[test]
fn verifying_finds_every_flipped_bit_that_matters() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store");
    drop(filled(&path));
    let expected = offline(&path);
    let verified = verify(&path, |_, _| ()).expect("readable");
    assert!(verified.damage.is_empty() && verified.notes.is_empty(), "{verified:?}");
    let mut named = 0;
    for file in ["blocks.db".to_owned(), newest_log(&path)] {
        let bytes = std::fs::read(path.join(&file)).expect("readable");
        let used = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
        for at in (0..used).step_by(used / 60) {
            let copy = folder.path().join("copy");
            copy_folder(&path, &copy);
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            std::fs::write(copy.join(&file), damaged).expect("writable");
            let verified = verify(&copy, |_, _| ()).expect("readable");
            if verified.damage.is_empty() && verified.notes.is_empty() {
                assert!(offline(&copy) == expected, "{file} at {at} of {used}");
            } else {
                named += 1;
            }
            std::fs::remove_dir_all(&copy).expect("removable");
        }
    }
    assert!(named > 8, "only {named} flips were named");
}

/// The log file with the newest record, relative to the store.
fn newest_log(path: &Path) -> String {
    let names = std::fs::read_dir(path.join("log")).expect("readable");
    let names = names.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned());
    let filled = names
        .filter(|name| std::fs::read(path.join("log").join(name)).expect("readable").iter().any(|byte| *byte != 0));
    format!("log/{}", filled.max().expect("a log"))
}

#[test]
fn repair_sets_aside_what_is_damaged_and_keeps_the_rest() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store");
    let (store, clock) = filled(&path);
    assert!(repair(&path).is_err_and(|error| error.to_string().contains("in use")));
    drop(store);
    let expected = count(&offline(&path));
    let untouched = repair(&path).expect("the disk works");
    assert!(untouched.before.damage.is_empty() && untouched.set_aside.is_empty(), "{untouched:?}");

    damage_first_row(&path.join("blocks.db"));
    let log = newest_log(&path);
    let mut bytes = std::fs::read(path.join(&log)).expect("readable");
    // Not the first record of the file, which defines everything.
    let second = (1..bytes.len() / 4096).find(|page| bytes[page * 4096..].starts_with(b"OPL1")).expect("two records");
    bytes[second * 4096 + 60] ^= 1;
    std::fs::write(path.join(&log), bytes).expect("writable");
    let damaged = offline(&path);

    let repaired = repair(&path).expect("the disk works");
    assert!(repaired.before.damage.iter().any(|damage| damage.contains("blocks.db: block ")), "{repaired:?}");
    assert!(repaired.before.damage.iter().any(|damage| damage.starts_with(&log)), "{repaired:?}");
    assert!(repaired.after.damage.is_empty(), "{repaired:?}");
    assert_eq!(repaired.set_aside.len(), 2, "{repaired:?}");
    assert!(repaired.set_aside.iter().all(|file| file.exists()));
    assert_eq!(offline(&path), damaged, "what could be read before can be read now");
    assert!(count(&damaged) < expected && count(&damaged) > expected / 4, "{} of {expected}", count(&damaged));
    assert_eq!(content(&*open(&path, &clock)), damaged);
}
