//! Files that are removed or replaced under an open store: noticed by the next flush, and written anew.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::DiskStore;
use super::tests::{Found, START, copy_folder, open, read_all, scrape, settings};
use crate::clock::Clock;
use crate::model::{Labels, TimeRange, Timestamp};
use crate::store::{Append, Batch};
use crate::telemetry::Registry;

const MINUTE: i64 = 60_000;

struct Site {
    folder: tempfile::TempDir,
    clock: Clock,
    registry: Registry,
    store: Arc<DiskStore>,
    steps: i64,
}

impl Site {
    /// Five hours in a folder `store`: some in blocks, the rest in the log.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (clock, registry) = (Clock::manual(Timestamp(START)), Registry::new());
        let settings = settings(&folder.path().join("store"));
        let store = DiskStore::open(settings, clock.clone(), &registry).expect("opening succeeds");
        let mut site = Self { folder, clock, registry, store, steps: 0 };
        site.run(300);
        site.store.maintain().expect("the disk works");
        site.run(3);
        site.store.flush().expect("the disk works");
        site
    }

    fn run(&mut self, steps: i64) {
        for step in self.steps..self.steps + steps {
            self.clock.set(Timestamp(START + step * MINUTE));
            scrape(&*self.store, 0, START + step * MINUTE, &[(0, step as f64), (1, (step % 7) as f64)]);
        }
        self.steps += steps;
    }

    fn content(&self) -> Found {
        read_all(&*self.store, &[], TimeRange::ALL)
    }

    /// What a power cut leaves now.
    fn on_disk(&self) -> Found {
        let copy = self.folder.path().join("copy");
        copy_folder(&self.folder.path().join("store"), &copy);
        let _ = std::fs::remove_dir_all(copy.join("tail"));
        let found = read_all(&*open(&copy, &self.clock), &[], TimeRange::ALL);
        std::fs::remove_dir_all(&copy).expect("removable");
        found
    }

    fn replacements(&self) -> u64 {
        let mut page = Vec::new();
        self.registry.render(&mut page);
        let page = String::from_utf8_lossy(&page).into_owned();
        let value = page.lines().find_map(|line| line.strip_prefix("outpost_store_files_replaced_total "));
        value.and_then(|value| value.parse().ok()).expect("the metric is there")
    }
}

fn count(found: &Found) -> usize {
    found.iter().map(|(_, samples)| samples.len()).sum()
}

fn has_all(found: &Found, wanted: &Found) -> bool {
    wanted.iter().all(|(labels, samples)| {
        let found = found.iter().find(|(other, _)| other == labels);
        found.is_some_and(|(_, found)| samples.iter().all(|sample| found.contains(sample)))
    })
}

/// Whether blocks outlive what `replace` does to the store's folder.
fn check(what: &str, replace: impl Fn(&Path), keeps_blocks: bool) {
    let mut site = Site::new();
    let before = count(&site.content());
    assert_eq!(before, 2 * site.steps as usize);
    site.store.flush().expect("the disk works");
    assert_eq!((site.replacements(), site.store.health().replaced), (0, None), "{what}");
    replace(&site.folder.path().join("store"));
    site.run(1);
    site.store.flush().unwrap_or_else(|error| panic!("{what}: {error}"));
    let said = site.store.health().replaced.unwrap_or_else(|| panic!("{what}: it was not noticed"));
    assert_eq!((site.replacements(), said.contains("blocks lost: ")), (1, !keeps_blocks), "{what}: {said}");
    let held = site.content();
    // The log may still have what was in blocks.
    assert!(has_all(&site.on_disk(), &held), "{what}: what memory holds is on the disk");
    let left = count(&held);
    assert!(if keeps_blocks { left == before + 2 } else { left > 60 && left < before }, "{what}: {left} of {before}");
    // As usual from here on, blocks included; a day later it is no longer told.
    site.run(24 * 60);
    site.store.maintain().unwrap_or_else(|error| panic!("{what}: {error}"));
    site.store.flush().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(count(&site.content()), left + 2 * 24 * 60, "{what}");
    assert!(has_all(&site.on_disk(), &site.content()), "{what}");
    assert_eq!((site.replacements(), site.store.health().replaced), (1, None), "{what}");
    assert!(site.store.health().is_good(), "{what}");
}

#[test]
fn what_is_removed_under_a_store_is_written_anew() {
    let remove = |path: &Path| std::fs::remove_dir_all(path).expect("removable");
    check("the folder is removed", remove, false);
    check("the folder is empty", |path| (remove(path), std::fs::create_dir(path).expect("writable")).1, false);
    check("the log is removed", |path| remove(&path.join("log")), true);
    check("the blocks are removed", |path| std::fs::remove_file(path.join("blocks.db")).expect("removable"), false);
}

/// What memory keeps of a block that is gone goes to the next one.
#[test]
fn the_last_half_hour_of_a_lost_block_is_written_anew() {
    let mut site = Site::new();
    site.run(6 * 60 - site.steps);
    for minute in 0..3 {
        site.run(1);
        let group = site.store.group("other").expect("groups are not bounded");
        let series = site.store.series(group, &Labels::from_pairs([("__name__", "own_time")])).expect("room");
        let at = Timestamp(START + (5 * 60 + 55 + minute) * MINUTE);
        let batch =
            Batch { group, timestamp: site.clock.now(), samples: Vec::new(), explicit: vec![(series, at, 1.0)] };
        assert_eq!(site.store.append(&batch).appended, 1);
    }
    site.store.maintain().expect("the disk works");
    let since = site.clock.now() - Duration::from_secs(35 * 60);
    let recent = || read_all(&*site.store, &[], TimeRange { start: since, end: Timestamp::MAX });
    let before = recent();
    assert!(before.iter().map(|(_, samples)| samples.len()).sum::<usize>() == 2 * 36 + 3);
    std::fs::remove_dir_all(site.folder.path().join("store")).expect("removable");
    site.store.flush().expect("the disk works");
    assert!(recent() == before && has_all(&site.on_disk(), &before));
    site.store.maintain().expect("the disk works");
    assert_eq!(site.store.shared.blocks.list().len(), 1);
    assert!(recent() == before && has_all(&site.on_disk(), &before));
}

/// The same where the device fails, and its answer turns out to be a damaged database.
#[test]
fn the_last_half_hour_of_a_damaged_database_is_written_anew() {
    let mut site = Site::new();
    site.run(6 * 60 + 3 - site.steps);
    site.store.maintain().expect("the disk works");
    let range = TimeRange { start: site.clock.now() - Duration::from_secs(35 * 60), end: Timestamp::MAX };
    let before = read_all(&*site.store, &[], range);
    let path = site.folder.path().join("store/blocks.db");
    let bytes = std::fs::read(&path).expect("readable");
    std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("writable");
    site.store.shared.blocks.distrust();
    site.store.maintain().expect("the disk works");
    // Memory gives it up.
    site.clock.set(site.clock.now() + Duration::from_secs(3600));
    site.store.maintain().expect("the disk works");
    assert!(count(&before) == 2 * 36 && read_all(&*site.store, &[], range) == before);
}

/// What memory keeps of a block that is there goes to no log, which would bring it to a block once more.
#[test]
fn a_new_log_has_nothing_that_blocks_have() {
    let mut site = Site::new();
    site.run(6 * 60 + 3 - site.steps);
    site.store.maintain().expect("the disk works");
    let path = site.folder.path().join("store");
    std::fs::remove_dir_all(path.join("log")).expect("removable");
    site.store.flush().expect("the disk works");
    let copy = site.folder.path().join("copy");
    copy_folder(&path, &copy);
    let _ = std::fs::remove_dir_all(copy.join("tail"));
    let store = open(&copy, &site.clock);
    let (blocks, in_memory) = (store.shared.blocks.list(), store.shared.read_head().samples());
    assert_eq!(in_memory, 2 * 3, "what has been scraped since the block");
    assert_eq!(blocks.iter().map(|block| block.samples).sum::<u64>() + in_memory, 2 * site.steps as u64);
}

#[test]
fn a_folder_that_cannot_be_made_anew_is_a_failing_disk_until_it_can() {
    let mut site = Site::new();
    let (path, away) = (site.folder.path().join("store"), site.folder.path().join("away"));
    std::fs::rename(&path, away).expect("writable");
    std::fs::write(&path, "in the way").expect("writable");
    site.run(1);
    assert!(site.store.flush().is_err());
    assert!(!site.store.health().is_good());
    std::fs::remove_file(&path).expect("removable");
    site.store.flush().expect("the folder can be made");
    assert!(site.store.health().is_good() && site.replacements() == 1);
    assert!(has_all(&site.on_disk(), &site.content()));
}

#[test]
fn a_folder_that_comes_back_brings_its_blocks() {
    let mut site = Site::new();
    let (path, away) = (site.folder.path().join("store"), site.folder.path().join("away"));
    std::fs::rename(&path, &away).expect("writable");
    site.run(2);
    site.store.flush().expect("the disk works");
    std::fs::rename(&path, site.folder.path().join("meanwhile")).expect("writable");
    std::fs::rename(&away, &path).expect("writable");
    site.run(1);
    site.store.flush().expect("the disk works");
    assert_eq!(site.replacements(), 2);
    assert_eq!(count(&site.content()), 2 * site.steps as usize, "all is there");
    assert!(has_all(&site.on_disk(), &site.content()));
}

/// As one who restores a backup without stopping the server first.
#[test]
fn another_store_in_the_place_of_a_store_hides_nothing() {
    let mut site = Site::new();
    let (path, other) = (site.folder.path().join("store"), site.folder.path().join("other"));
    // Its log is further on, and its blocks reach further than what is written here next.
    let clock = Clock::manual(Timestamp(START));
    let store = open(&other, &clock);
    for step in 0..600 {
        clock.set(Timestamp(START + step * MINUTE));
        scrape(&*store, 7, START + step * MINUTE, &[(0, -1.0)]);
        store.flush().expect("the disk works");
    }
    store.maintain().expect("the disk works");
    drop(store);
    std::fs::remove_dir_all(&path).expect("removable");
    std::fs::rename(&other, &path).expect("writable");
    site.run(1);
    site.store.flush().expect("the disk works");
    let own = |found: Found| {
        found.into_iter().filter(|(labels, _)| labels.get("instance") == Some("host-0")).collect::<Found>()
    };
    assert!(count(&own(site.content())) > 60);
    assert!(has_all(&site.on_disk(), &own(site.content())), "what memory holds is on the disk");
    assert!(count(&site.content()) > count(&own(site.content())) + 400, "and what its blocks hold");
}
