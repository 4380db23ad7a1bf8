//! Reading, verifying, copying and repairing a store that lies in a folder.

use std::path::Path;
use std::sync::Arc;

use super::tests::{Found, START, copy_folder, open, read_all, scrape};
use super::{DiskStore, OfflineStore, copy_store, repair, verify};
use crate::clock::Clock;
use crate::model::{TimeRange, Timestamp};
use crate::store::blocks::damage_first_row;
use crate::store::{Select, StoreError};

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
    assert_eq!((share.series, survey.log_series, share.log_samples), (16, 16, survey.log_samples));
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
    let Err(StoreError::Io { source, .. }) = copy_store(&path, &backup) else {
        panic!("what is there is not written over")
    };
    assert!(source.to_string().contains("give a folder that does not"), "{source}");
    for inside in [path.clone(), path.join("backup"), path.join("log/../new/backup"), path.join("snapshots/mine")] {
        let error = copy_store(&path, &inside).expect_err("refused").to_string();
        assert!(error.contains("lies in the store"), "{error}");
        assert!(!path.join("new").exists() && !inside.with_file_name(".backup.unfinished").exists());
    }
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

/// A byte of the first page: SQLite's header, or the schema.
fn check_first_page(what: &str, change: impl Fn(&mut [u8]), is_backup: bool) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store");
    let (store, clock) = filled(&path);
    let expected = content(&*store);
    drop(store);
    if is_backup {
        let backup = folder.path().join("backup");
        copy_store(&path, &backup).expect("the disk works");
        std::fs::remove_dir_all(&path).expect("removable");
        std::fs::rename(backup, &path).expect("writable");
    }
    let database = path.join("blocks.db");
    let mut bytes = std::fs::read(&database).expect("readable");
    change(&mut bytes);
    std::fs::write(&database, &bytes).expect("writable");
    let copy = folder.path().join("copy");
    copy_folder(&path, &copy);

    let verified = verify(&path, |_, _| ()).expect("readable");
    assert!(!verified.damage.is_empty(), "{what}");
    let repaired = repair(&path).expect("the disk works");
    assert!(repaired.after.damage.is_empty(), "{what}: {repaired:?}");
    let [rescue] = &repaired.rescues[..] else { panic!("{what}: {repaired:?}") };
    assert!(rescue.parts_taken > 0 && rescue.parts_lost == 0 && !rescue.is_more_lost, "{what}: {rescue:?}");
    let aside: Vec<String> = repaired.set_aside.iter().map(|path| path.display().to_string()).collect();
    assert!(aside.iter().all(|path| path.ends_with(".aside-1") || path.ends_with("-journal")), "{what}: {aside:?}");
    assert!(std::fs::read(&repaired.set_aside[0]).expect("readable") == bytes, "{what}: it is kept as it was");
    assert!(offline(&path) == expected, "{what}: nothing is lost");
    // A server does so at its start.
    let store = open(&copy, &clock);
    assert!(content(&*store) == expected && store.health().is_good(), "{what}");
}

#[test]
fn damage_in_the_first_page_of_the_database_costs_nothing() {
    let flip = |text: &'static str| {
        move |bytes: &mut [u8]| {
            let found = memchr::memmem::find(&bytes[..4096], text.as_bytes()).expect("it is in the schema");
            bytes[found + 2] ^= 0x20;
        }
    };
    // A copy has its tables at other pages.
    for is_backup in [false, true] {
        check_first_page("a keyword", flip("CREATE TABLE part"), is_backup);
        check_first_page("a column's name", flip("first_row"), is_backup);
        check_first_page("a table's name", flip("data (id"), is_backup);
        check_first_page("SQLite's own name", |bytes| bytes[3] ^= 1, is_backup);
        check_first_page("the page size", |bytes| bytes[16] ^= 2, is_backup);
        check_first_page("whose it is", |bytes| bytes[70] ^= 2, is_backup);
        check_first_page("all of it", |bytes| bytes[1..4096].fill(0), is_backup);
    }
}

#[test]
fn a_database_of_which_nothing_is_known_is_said_to_be_lost() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store");
    drop(filled(&path));
    let len = std::fs::metadata(path.join("blocks.db")).expect("readable").len();
    std::fs::write(path.join("blocks.db"), vec![7; len as usize]).expect("writable");
    let repaired = repair(&path).expect("the disk works");
    let [rescue] = &repaired.rescues[..] else { panic!("{repaired:?}") };
    assert!(rescue.is_more_lost && rescue.parts_taken == 0, "{rescue:?}");
    assert_eq!(rescue.from, path.join("blocks.db.aside-1"));
}
