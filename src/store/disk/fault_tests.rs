//! Every single operation of a fixed workload fails, once and from then on; and bits flip anywhere.
//!
//! Always: the store opens, nothing that it gives is wrong, and what a flush has acknowledged is there.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::tests::{START, copy_folder, read_all, settings};
use super::{DiskStore, StoreSettings};
use crate::clock::Clock;
use crate::model::{Labels, TimeRange, Timestamp};
use crate::store::blocks::faults::{self, Op, Plan};
use crate::store::file_id::FileId;
use crate::store::log::{DiskFolder, Folder, LogFile, count_records, payloads, read_entries};
use crate::store::mutation::mutate;
use crate::store::{Append, Batch, Notes};
use crate::telemetry::Registry;

/// Steps of the workload: seven hours of two targets, so that blocks are made, merged and replaced.
const STEPS: i64 = 84;
const STEP_MS: i64 = 300_000;
const SERIES: i64 = 6;

/// What a series has at a step: unlike that of any other series and step.
fn value(target: i64, series: i64, step: i64) -> f64 {
    ((target * SERIES + series) * 10_000 + step) as f64 + if series % 2 == 0 { 0.5 } else { 0.0 }
}

fn labels(target: i64, series: i64) -> Labels {
    Labels::from_pairs([("__name__", format!("series_{series}")), ("instance", format!("host-{target}"))])
}

/// A temporary folder in memory where there is one: syncs cost nothing there.
pub(super) fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary folder")
}

fn step_to(store: &DiskStore, clock: &Clock, step: i64) {
    let at = Timestamp(START + step * STEP_MS);
    clock.set(at);
    for target in 0..2 {
        let group = store.group(&format!("host-{target}")).expect("groups are not bounded");
        // A series comes and goes, so that layouts and names change.
        let present = (0..SERIES).filter(|series| *series != 3 || step % 7 < 4);
        let samples = present
            .map(|series| (store.series(group, &labels(target, series)).expect("room"), value(target, series, step)));
        let batch = Batch { group, timestamp: at, samples: samples.collect(), explicit: Vec::new() };
        store.append(&batch);
    }
}

/// Runs all steps; gives the newest step that a flush acknowledged.
fn work(store: &DiskStore, clock: &Clock) -> i64 {
    let mut durable = -1;
    for step in 0..STEPS {
        step_to(store, clock, step);
        if step % 3 == 0 && store.flush().is_ok() {
            durable = step;
        }
        if step % 10 == 9 {
            drop(store.maintain());
        }
    }
    durable
}

/// That nothing is wrong; gives how many samples there are up to a step.
fn check(store: &DiskStore, until_step: i64, what: &dyn std::fmt::Debug) -> usize {
    let mut expected: HashMap<Labels, (i64, i64)> = HashMap::new();
    for target in 0..2 {
        expected.extend((0..SERIES).map(|series| (labels(target, series), (target, series))));
    }
    let mut count = 0;
    for (labels, samples) in read_all(store, &[], TimeRange::ALL) {
        let (target, series) = *expected.get(&labels).unwrap_or_else(|| panic!("{what:?}: a foreign series {labels}"));
        for (at, bits) in samples {
            let step = (at - START) / STEP_MS;
            assert_eq!(START + step * STEP_MS, at, "{what:?}: a foreign time for {labels}");
            assert_eq!(f64::from_bits(bits), value(target, series, step), "{what:?}: {labels} at step {step}");
            count += usize::from(step <= until_step);
        }
    }
    count
}

/// Samples of all steps up to one.
fn expected(until_step: i64) -> usize {
    (0..=until_step).map(|step| 2 * (SERIES as usize - usize::from(step % 7 >= 4))).sum()
}

/// A log folder ruled by a plan.
struct Ruled(DiskFolder, Arc<Plan>);

struct RuledFile(Box<dyn LogFile>, Arc<Plan>);

fn rule(plan: &Plan, op: Op) -> io::Result<()> {
    if plan.fails(op) { Err(io::Error::other("injected")) } else { Ok(()) }
}

impl Folder for Ruled {
    fn list(&self) -> io::Result<Vec<String>> {
        rule(&self.1, Op::Read)?;
        self.0.list()
    }
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        rule(&self.1, Op::Read)?;
        self.0.read(name)
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        rule(&self.1, Op::Open)?;
        Ok(Box::new(RuledFile(self.0.open(name)?, Arc::clone(&self.1))))
    }
    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn LogFile>> {
        rule(&self.1, Op::Open)?;
        Ok(Box::new(RuledFile(self.0.create(name, len)?, Arc::clone(&self.1))))
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        rule(&self.1, Op::Open)?;
        self.0.remove(name)
    }
    fn id(&self, name: &str) -> io::Result<FileId> {
        self.0.id(name)
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }
}

impl LogFile for RuledFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn id(&self) -> io::Result<FileId> {
        self.0.id()
    }
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.1.fails(Op::Write) {
            // Torn, and in another order: the end reaches the device, the beginning does not.
            self.0.write_at(&bytes[bytes.len() / 2..], offset + bytes.len() as u64 / 2)?;
            return Err(io::Error::other("injected"));
        }
        self.0.write_at(bytes, offset)
    }
    fn sync(&mut self) -> io::Result<()> {
        rule(&self.1, Op::Sync)?;
        self.0.sync()
    }
    fn read_back(&mut self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        rule(&self.1, Op::Read)?;
        self.0.read_back(offset, len)
    }
}

fn small(path: &Path) -> StoreSettings {
    // The tail goes to a folder of its own, which a power cut empties.
    let block_span = std::time::Duration::from_secs(3600);
    StoreSettings { runtime_dir: Some(path.with_extension("run")), block_span, ..settings(path) }
}

/// A store whose log or database is under a plan, and the other one under none.
fn opened_under(plan: &Arc<Plan>, is_log: bool, path: &Path, clock: &Clock) -> Arc<DiskStore> {
    let quiet = Plan::new(Op::Open, 0, false);
    faults::rule(path, if is_log { &quiet } else { plan });
    let log = Ruled(DiskFolder::new(&path.join("log")), Arc::clone(if is_log { plan } else { &quiet }));
    let store = DiskStore::open_with(small(path), clock.clone(), &Registry::new(), Box::new(log));
    store.unwrap_or_else(|error| panic!("{plan:?} {is_log}: {error}"))
}

/// Runs the workload under a plan for the log or the database, then cuts the power, mends the disk and looks.
fn run_under(plan: &Arc<Plan>, is_log: bool) {
    let folder = folder();
    let path = folder.path().join("store");
    let clock = Clock::manual(Timestamp(START));
    let what = (&**plan, if is_log { "log" } else { "database" });
    let store = opened_under(plan, is_log, &path, &clock);
    let durable = work(&store, &clock);
    let found = check(&store, STEPS, &what);
    // A database that cannot be opened, or not be rolled back, is not read until it can.
    assert!(!is_log || found == expected(STEPS - 1), "{what:?}: all is there while it runs");
    let copy = folder.path().join("copy");
    copy_folder(&path, &copy);
    plan.mend();
    let reopened = DiskStore::open(small(&copy), clock.clone(), &Registry::new());
    let reopened = reopened.unwrap_or_else(|error| panic!("{what:?}: {error}"));
    assert_eq!(check(&reopened, durable, &what), expected(durable), "{what:?}: what was durable is there");
    // Back to normal by itself, as soon as the disk is.
    store.flush().unwrap_or_else(|error| panic!("{what:?}: {error}"));
    drop(store.maintain());
    store.maintain().unwrap_or_else(|error| panic!("{what:?}: {error}"));
    assert!(store.health().is_good(), "{what:?}: {:?}", store.health());
    assert_eq!(check(&store, STEPS, &what), expected(STEPS - 1), "{what:?}: all is there afterwards");
}

/// How often the workload does `op`.
fn count(op: Op, is_log: bool) -> u64 {
    let plan = Plan::new(op, 0, false);
    run_under(&plan, is_log);
    plan.seen()
}

fn every_operation_fails(op: Op, is_log: bool) {
    let total = count(op, is_log);
    assert!(total > 0, "the workload does it");
    for nth in 1..=total {
        run_under(&Plan::new(op, nth, false), is_log);
        run_under(&Plan::new(op, nth, true), is_log);
    }
}

#[test]
fn every_write_to_the_log_fails() {
    every_operation_fails(Op::Write, true);
}

#[test]
fn every_sync_of_the_log_fails() {
    every_operation_fails(Op::Sync, true);
}

/// The first close fails; no sample comes until the next.
#[test]
fn notes_that_a_flush_could_not_write_wait_for_the_next() {
    let folder = folder();
    let (path, clock) = (folder.path().join("store"), Clock::manual(Timestamp(START)));
    let plan = Plan::new(Op::Sync, 0, false);
    let store = opened_under(&plan, true, &path, &clock);
    step_to(&store, &clock, 0);
    store.flush().expect("the disk works");
    store.set_note("word", b"kept").expect("it is short");
    plan.fail_next();
    store.close().expect_err("the disk does not");
    store.close().expect("it does again");
    drop(store);
    let store = DiskStore::open(small(&path), clock, &Registry::new()).expect("opening succeeds");
    assert_eq!(store.note("word").as_deref(), Some(&b"kept"[..]));
}

#[test]
fn every_read_and_open_of_the_log_fails() {
    every_operation_fails(Op::Open, true);
}

#[test]
fn every_write_to_the_database_fails() {
    every_operation_fails(Op::Write, false);
}

#[test]
fn every_sync_of_the_database_fails() {
    every_operation_fails(Op::Sync, false);
}

#[test]
fn every_open_of_the_database_fails() {
    every_operation_fails(Op::Open, false);
}

#[test]
fn every_read_of_the_database_fails() {
    every_operation_fails(Op::Read, false);
}

/// Memory that SQLite is refused, once and from then on: of more than a thousand times each with
/// `OUTPOST_ALLOCATION_STEP=1`; else every seventh.
#[test]
fn every_allocation_of_the_database_fails() {
    let step = std::env::var("OUTPOST_ALLOCATION_STEP").map_or(7, |text| text.parse().expect("a number from 1 on"));
    let run = |nth: u64, is_lasting: bool| {
        let plan = Plan::new(Op::Allocate, nth, is_lasting);
        faults::rule_memory(Some(&plan));
        run_under(&plan, false);
        faults::rule_memory(None);
        plan.seen()
    };
    let total = run(0, false);
    assert!(total > 0, "SQLite allocates");
    for nth in (1..=total).step_by(step) {
        run(nth, false);
        run(nth, true);
    }
}

/// What a store that was closed holds, opened while a device fails to give some of it.
#[test]
fn every_read_while_opening_fails() {
    let folder = folder();
    let (original, clock) = (folder.path().join("original"), Clock::manual(Timestamp(START)));
    let store = DiskStore::open(small(&original), clock.clone(), &Registry::new()).expect("opening succeeds");
    work(&store, &clock);
    store.close().expect("the disk works");
    drop(store);
    for is_log in [true, false] {
        let whole = Plan::new(Op::Read, 0, false);
        open_under(&whole, is_log, &original, &clock);
        assert!(whole.seen() > 1, "something is read");
        for nth in 1..=whole.seen() {
            open_under(&Plan::new(Op::Read, nth, false), is_log, &original, &clock);
            open_under(&Plan::new(Op::Read, nth, true), is_log, &original, &clock);
        }
    }
}

fn open_under(plan: &Arc<Plan>, is_log: bool, original: &Path, clock: &Clock) {
    let folder = folder();
    let path = folder.path().join("store");
    copy_folder(original, &path);
    let what = (&**plan, if is_log { "log" } else { "database" });
    let store = opened_under(plan, is_log, &path, clock);
    check(&store, STEPS, &what);
    step_to(&store, clock, STEPS);
    drop(store.flush());
    plan.mend();
    // What could not be read of the log is there with the next start.
    let store = if is_log {
        store.flush().unwrap_or_else(|error| panic!("{what:?}: {error}"));
        drop(store);
        DiskStore::open(small(&path), clock.clone(), &Registry::new())
            .unwrap_or_else(|error| panic!("{what:?}: {error}"))
    } else {
        store
    };
    drop(store.maintain());
    store.maintain().unwrap_or_else(|error| panic!("{what:?}: {error}"));
    assert!(store.health().is_good(), "{what:?}: {:?}", store.health());
    assert_eq!(check(&store, STEPS, &what), expected(STEPS), "{what:?}: all is there");
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Flips per round differ, ten on average: a thousand rounds are ten thousand flips.
const FLIP_ROUNDS: u64 = 1_000;

#[test]
fn flipped_bits_give_a_right_value_or_a_gap() {
    let rounds = std::env::var("OUTPOST_FLIP_ROUNDS").map_or(FLIP_ROUNDS, |text| text.parse().expect("a number"));
    let folder = folder();
    let original = folder.path().join("original");
    let clock = Clock::manual(Timestamp(START));
    let store = DiskStore::open(settings(&original), clock.clone(), &Registry::new()).expect("opening succeeds");
    work(&store, &clock);
    // The tail holds something too.
    step_to(&store, &clock, STEPS);
    let copy = folder.path().join("copy");
    copy_folder(&original, &copy);
    drop(store);
    let all = expected(STEPS);
    let (mut random, mut least) = (9u64, all);
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    for round in 0..rounds {
        let broken = folder.path().join("broken");
        copy_folder(&copy, &broken);
        let candidates: Vec<PathBuf> =
            files(&broken).into_iter().filter(|path| path.metadata().is_ok_and(|data| data.len() > 0)).collect();
        for _ in 0..=round % 19 {
            let file = &candidates[next(candidates.len())];
            let mut bytes = std::fs::read(file).expect("readable");
            // The log's files are zeros behind their records: half of the flips go where something is.
            let used = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
            let len = if next(2) == 0 { used } else { bytes.len() };
            let bit = next(len * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(file, bytes).expect("writable");
        }
        let store = DiskStore::open(settings(&broken), clock.clone(), &Registry::new());
        let store = store.unwrap_or_else(|error| panic!("round {round}: {error}"));
        least = least.min(check(&store, STEPS, &round));
        drop(store.maintain());
        check(&store, STEPS, &(round, "after maintenance"));
        drop(store);
        std::fs::remove_dir_all(&broken).expect("removable");
    }
    assert!(least < all, "the flips hit something");
}

#[test]
fn damage_behind_the_logs_checksums_never_panics() {
    let folder = folder();
    let path = folder.path().join("store");
    let clock = Clock::manual(Timestamp(START));
    let store = DiskStore::open(small(&path), clock.clone(), &Registry::new()).expect("opening succeeds");
    work(&store, &clock);
    drop(store);
    let mut count = 0;
    for file in files(&path.join("log")) {
        let bytes = std::fs::read(file).expect("readable");
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        mutate(&bytes[..used.min(8 << 10)], |bytes| {
            count_records(bytes);
        });
        // A checkpoint, a record that says its definitions again, and one of rows.
        for payload in payloads(&bytes).iter().take(3) {
            mutate(payload, |payload| {
                read_entries(payload);
            });
            count += 1;
        }
    }
    assert!(count >= 3, "the log has records");
}
