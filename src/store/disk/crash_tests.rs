//! Crashes and failing disks: what was durable comes back, whatever else is lost or broken.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::tests::{START, copy_folder, open, read_all, scrape, settings};
use super::{DiskStore, StoreSettings};
use crate::clock::Clock;
use crate::model::{TimeRange, Timestamp};
use crate::store::file_id::FileId;
use crate::store::log::{DiskFolder, Folder, LogFile};
use crate::store::{NOTE_BYTES_MAX, Notes, Select};
use crate::telemetry::Registry;

/// How many samples of the one series there are, and the newest one.
fn extent(store: &DiskStore) -> (usize, i64) {
    let found = read_all(store, &[], TimeRange::ALL);
    found.first().map_or((0, 0), |(_, samples)| (samples.len(), samples[samples.len() - 1].0))
}

fn log_file(path: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(path.join("log")).expect("readable").map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    files.swap_remove(0)
}

#[test]
fn notes_outlive_a_power_cut_from_the_flush_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Clock::manual(Timestamp(START));
    let path = folder.path().join("store");
    let store = open(&path, &clock);
    // Alone they are worth no record while the store is open.
    store.set_note("a", b"1").expect("short");
    store.flush().expect("the disk works");
    scrape(&*store, 0, START, &[(0, 1.0)]);
    store.set_note("a", b"2").expect("short");
    store.set_note("b", b"").expect("short");
    store.flush().expect("the disk works");
    store.set_note("a", b"3").expect("short");
    assert!(store.set_note("a", &[0; NOTE_BYTES_MAX + 1]).is_err());
    let copy = folder.path().join("copy");
    copy_folder(&path, &copy);
    let after_the_cut = open(&copy, &clock);
    assert_eq!((after_the_cut.note("a"), after_the_cut.note("b")), (Some(b"2".to_vec()), Some(Vec::new())));
    assert_eq!(after_the_cut.note("c"), None);
    // Each run's first record has them, and a clean end keeps the newest.
    drop(after_the_cut);
    assert_eq!(open(&copy, &clock).note("a"), Some(b"2".to_vec()));
    drop(store);
    assert_eq!(open(&path, &clock).note("a"), Some(b"3".to_vec()));
}

#[test]
fn a_log_cut_anywhere_gives_all_whole_records() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Clock::manual(Timestamp(START));
    let original = folder.path().join("original");
    let store = open(&original, &clock);
    for step in 0..6 {
        scrape(&*store, 0, START + step * 15_000, &[(0, step as f64), (1, 7.0)]);
        store.flush().expect("the disk works");
    }
    let copy = folder.path().join("copy");
    copy_folder(&original, &copy);
    let file = log_file(&copy);
    let bytes = std::fs::read(&file).expect("readable");
    // Record 0 is the empty checkpoint of the opening; each takes one page here.
    for cut in (0..7 * 4096).step_by(97) {
        std::fs::remove_dir_all(&copy).expect("there was one");
        copy_folder(&original, &copy);
        // A power cut: what is not in the log is gone.
        std::fs::remove_dir_all(copy.join("tail")).expect("there was a tail");
        let mut torn = bytes.clone();
        torn[cut..].fill(0);
        std::fs::write(&file, &torn).expect("writable");
        let reopened = open(&copy, &clock);
        let whole = (0..6).filter(|record| is_whole(&bytes, &torn, record + 1)).count();
        assert_eq!(extent(&reopened).0, whole, "cut at {cut}");
        // It goes on as usual.
        scrape(&*reopened, 0, START + 600_000, &[(0, 1.0)]);
        reopened.flush().expect("the disk works");
        drop(reopened);
        std::fs::remove_dir_all(copy.join("tail")).expect("there was a tail");
        let again = open(&copy, &clock);
        assert_eq!(extent(&again), (whole + 1, START + 600_000), "cut at {cut}");
    }
}

/// Whether tearing has changed nothing of a record that matters.
fn is_whole(bytes: &[u8], torn: &[u8], record: usize) -> bool {
    bytes[record * 4096..(record + 1) * 4096] == torn[record * 4096..(record + 1) * 4096]
}

/// Damages pages of a log of 150 flushes of one sample each; gives what is left, and the count of damage.
fn damage_log(damage: impl Fn(&mut Vec<u8>)) -> (usize, i64, u64) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Clock::manual(Timestamp(START));
    let settings = StoreSettings { log_segment_bytes: 2 << 20, ..settings(&folder.path().join("store")) };
    let store = DiskStore::open(settings.clone(), clock.clone(), &Registry::new()).expect("opening succeeds");
    for step in 0..150 {
        // The second series begins in the record that is damaged.
        let values = [(0, step as f64 * 1.25), (1, 7.0)];
        scrape(&*store, 0, START + step * 1_000, &values[..if step < 9 { 1 } else { 2 }]);
        store.flush().expect("the disk works");
    }
    drop(store);
    let file = log_file(&folder.path().join("store"));
    let mut bytes = std::fs::read(&file).expect("readable");
    damage(&mut bytes);
    std::fs::write(&file, &bytes).expect("writable");
    let reopened = DiskStore::open(settings, clock, &Registry::new()).expect("opening succeeds");
    let found = read_all(&*reopened, &[], TimeRange::ALL);
    for (_, samples) in &found {
        for (at, bits) in samples {
            let right = [(at - START) as f64 / 1000.0 * 1.25, 7.0];
            assert!(right.contains(&f64::from_bits(*bits)), "{at} {}", f64::from_bits(*bits));
        }
    }
    let count = found.iter().map(|(_, samples)| samples.len()).sum();
    let newest = found.iter().map(|(_, samples)| samples[samples.len() - 1].0).max();
    (count, newest.unwrap_or(0) - START, reopened.corruptions())
}

const WHOLE: usize = 150 + 141;

#[test]
fn a_damaged_record_costs_itself_alone() {
    // Page 0 is the opening's checkpoint, page 10 the tenth sample.
    assert_eq!(damage_log(|_| ()), (WHOLE, 149_000, 0));
    let flip = |page: usize| move |bytes: &mut Vec<u8>| bytes[page * 4096 + 50] ^= 1;
    assert_eq!(damage_log(flip(10)), (WHOLE - 2, 149_000, 1));
    assert_eq!(damage_log(flip(120)), (WHOLE - 2, 149_000, 1));
    // The first checkpoint and the ones in the middle: what they define is defined again.
    for page in [0, 1, 2, 63, 64, 65, 66, 128, 129] {
        let (left, newest, damaged) = damage_log(flip(page));
        assert!(left >= WHOLE - 2 && newest == 149_000 && damaged == 1, "page {page}: {left} {newest} {damaged}");
    }
    let two = |bytes: &mut Vec<u8>| [20, 90].iter().for_each(|page| bytes[page * 4096 + 9] ^= 4);
    assert_eq!(damage_log(two), (WHOLE - 4, 149_000, 2));
}

/// What is done to the last record of a log, and whether that is damage.
fn check_last_record(what: &str, change: impl Fn(&mut [u8]), is_damage: bool) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (path, clock) = (folder.path().join("store"), Clock::manual(Timestamp(START)));
    let store = open(&path, &clock);
    for step in 0..9i64 {
        // Nothing that a record could leave out.
        let values =
            (0..600).map(|series| (series, ((step + 1) * (series as i64 + 7)) as f64 * std::f64::consts::SQRT_2));
        let values: Vec<(usize, f64)> = values.collect();
        scrape(&*store, 0, START + step * 15_000, &values);
        store.flush().expect("the disk works");
    }
    drop(store);
    let file = log_file(&path);
    let mut bytes = std::fs::read(&file).expect("readable");
    let last = (0..bytes.len()).step_by(4096).filter(|at| bytes[*at..].starts_with(b"OPL1")).max().expect("records");
    let used = bytes.iter().rposition(|byte| *byte != 0).expect("records") + 1;
    change(&mut bytes[last..used]);
    std::fs::write(&file, &bytes).expect("writable");

    let verified = super::verify(&path, |_, _| ()).expect("readable");
    let said = if is_damage { &verified.damage } else { &verified.notes };
    assert_eq!((verified.damage.len(), said.len()), (usize::from(is_damage), 1), "{what}: {verified:?}");
    assert!(said[0].contains("segment-00000001") && said[0].contains(&format!("at byte {last}")), "{what}: {said:?}");
    let store = open(&path, &clock);
    assert_eq!((extent(&store).0, store.corruptions()), (8, u64::from(is_damage)), "{what}");
    scrape(&*store, 0, START + 600_000, &[(0, 1.0)]);
    store.flush().expect("the disk works");
    drop(store);
    assert!(std::fs::read(&file).expect("readable") == bytes, "{what}: nothing is written over it");
    // Once what is sound in it is in blocks, the file is used again.
    clock.set(Timestamp(START + 5 * 3_600_000));
    let store = open(&path, &clock);
    assert_eq!((extent(&store).0, store.corruptions()), (9, u64::from(is_damage)), "{what}");
    scrape(&*store, 0, START + 5 * 3_600_000, &[(0, 1.0)]);
    store.maintain().expect("the disk works");
    drop(store);
    let store = open(&path, &clock);
    assert_eq!((extent(&store).0, store.corruptions()), (10, 0), "{what}");
}

#[test]
fn a_damaged_last_record_is_told_from_a_torn_one() {
    check_last_record("a byte of the payload", |record| record[200] ^= 4, true);
    check_last_record("a byte of the header", |record| record[9] ^= 1, true);
    check_last_record("the magic number", |record| record[0] = 0, true);
    check_last_record("the length", |record| record[37] ^= 0x40, true);
    check_last_record("its last byte", |record| *record.last_mut().expect("some") ^= 0x80, true);
    check_last_record("some bytes", |record| record[300..340].fill(9), true);
    check_last_record("a sector did not arrive", |record| record[512..1024].fill(0), false);
    check_last_record("only the first did", |record| record[512..].fill(0), false);
}

#[test]
fn a_log_of_one_damaged_record_is_kept() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (path, clock) = (folder.path().join("store"), Clock::manual(Timestamp(START)));
    drop(open(&path, &clock));
    let file = log_file(&path);
    let mut bytes = std::fs::read(&file).expect("readable");
    bytes[60] ^= 1;
    std::fs::write(&file, &bytes).expect("writable");
    let store = open(&path, &clock);
    assert_eq!(store.corruptions(), 1);
    scrape(&*store, 0, START, &[(0, 1.0)]);
    store.flush().expect("the disk works");
    assert!(std::fs::read(&file).expect("readable") == bytes, "nothing is written over it");
}

#[test]
fn a_cut_log_file_is_damage() {
    let (left, newest, damaged) = damage_log(|bytes| bytes.truncate(100 * 4096 + 50));
    assert_eq!((left, newest, damaged), (99 + 90, 98_000, 1));
}

#[test]
fn a_folder_in_the_place_of_the_database_is_set_aside() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store");
    std::fs::create_dir_all(path.join("blocks.db/inner")).expect("writable");
    let store = open(&path, &Clock::manual(Timestamp(START)));
    assert!(store.health().is_good());
    assert!(path.join("blocks.db.aside-1/inner").is_dir() && store.corruptions() > 0);
}

#[test]
fn a_second_instance_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Clock::manual(Timestamp(START));
    let _store = open(folder.path(), &clock);
    let second = DiskStore::open(settings(folder.path()), clock, &Registry::new());
    let error = second.err().expect("refused").to_string();
    assert!(error.contains("in use by another process") && error.contains("--storage.path"), "{error}");
}

#[test]
fn a_torn_tail_gives_all_whole_appends() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Clock::manual(Timestamp(START));
    let store = open(&folder.path().join("original"), &clock);
    for step in 0..5 {
        scrape(&*store, 0, START + step * 15_000, &[(0, step as f64)]);
    }
    let copy = folder.path().join("copy");
    copy_folder(&folder.path().join("original"), &copy);
    let tail = copy.join("tail").join("tail-a");
    let bytes = std::fs::read(&tail).expect("readable");
    let mut seen = Vec::new();
    for cut in 0..=bytes.len() {
        let _ = std::fs::remove_dir_all(&copy);
        copy_folder(&folder.path().join("original"), &copy);
        std::fs::write(&tail, &bytes[..cut]).expect("writable");
        seen.push(extent(&open(&copy, &clock)).0);
    }
    assert!(seen.is_sorted(), "{seen:?}");
    assert_eq!((seen[0], seen[bytes.len()]), (0, 5));
}

#[test]
fn a_damaged_database_is_kept_and_the_log_still_answers() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Clock::manual(Timestamp(START));
    let path = folder.path().join("store");
    let store = open(&path, &clock);
    for step in 0..600 {
        clock.set(Timestamp(START + step * 60_000));
        scrape(&*store, 0, START + step * 60_000, &[(0, step as f64)]);
        if step % 60 == 0 {
            store.maintain().expect("the disk works");
        }
    }
    let before = extent(&store);
    drop(store);
    let database = std::fs::read(path.join("blocks.db")).expect("readable");
    std::fs::write(path.join("blocks.db"), &database[..database.len() / 2]).expect("writable");
    let reopened = open(&path, &clock);
    let after = extent(&reopened);
    assert_eq!(after.1, before.1);
    assert!(after.0 > 60, "{after:?}");
    assert_eq!(std::fs::read(path.join("blocks.db.aside-1")).expect("kept").len(), database.len() / 2);
    clock.set(Timestamp(START + 20 * 3_600_000));
    reopened.maintain().expect("blocks are made anew");
    assert_eq!(extent(&reopened).1, before.1);
}

#[test]
fn a_damaged_segment_costs_itself_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Clock::manual(Timestamp(START));
    let path = folder.path().join("store");
    // At the start of a merged span, so that the blocks stay apart.
    let start = START + 4 * 3_600_000;
    let store = open(&path, &clock);
    for step in 0..300 {
        clock.set(Timestamp(start + step * 60_000));
        scrape(&*store, 0, start + step * 60_000, &[(0, (step * step) as f64)]);
    }
    store.maintain().expect("the disk works");
    let blocks = store.shared.blocks.list().len();
    assert!(blocks >= 2);
    let all = extent(&store).0;
    drop(store);
    crate::store::blocks::damage_first_row(&path.join("blocks.db"));
    let registry = Registry::new();
    let reopened = DiskStore::open(settings(&path), clock, &registry).expect("opening succeeds");
    let (left, newest) = extent(&reopened);
    assert!(left < all && left >= all / 3, "{left} of {all}");
    assert_eq!(newest, start + 299 * 60_000);
    let mut page = Vec::new();
    registry.render(&mut page);
    assert!(String::from_utf8_lossy(&page).contains("outpost_store_corruptions_total 1\n"));
}

/// A log folder that fails on demand.
struct Faulty {
    inner: DiskFolder,
    mode: Arc<AtomicU8>,
}

const GOOD: u8 = 0;
const FULL: u8 = 1;
const SYNC_FAILS: u8 = 2;

struct FaultyFile {
    inner: Box<dyn LogFile>,
    mode: Arc<AtomicU8>,
}

fn check_mode(mode: &AtomicU8, failing: &[u8]) -> io::Result<()> {
    if failing.contains(&mode.load(Ordering::Relaxed)) { Err(io::Error::other("injected")) } else { Ok(()) }
}

impl Folder for Faulty {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.inner.read(name)
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(FaultyFile { inner: self.inner.open(name)?, mode: Arc::clone(&self.mode) }))
    }
    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn LogFile>> {
        check_mode(&self.mode, &[FULL])?;
        Ok(Box::new(FaultyFile { inner: self.inner.create(name, len)?, mode: Arc::clone(&self.mode) }))
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }
    fn id(&self, name: &str) -> io::Result<FileId> {
        self.inner.id(name)
    }
    fn path(&self, name: &str) -> PathBuf {
        self.inner.path(name)
    }
}

impl LogFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn id(&self) -> io::Result<FileId> {
        self.inner.id()
    }
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        check_mode(&self.mode, &[FULL])?;
        // The page cache takes it and the device never gets it: what a failed sync leaves behind.
        if self.mode.load(Ordering::Relaxed) == SYNC_FAILS {
            return Ok(());
        }
        self.inner.write_at(bytes, offset)
    }
    fn sync(&mut self) -> io::Result<()> {
        check_mode(&self.mode, &[FULL, SYNC_FAILS])?;
        self.inner.sync()
    }
    fn read_back(&mut self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.inner.read_back(offset, len)
    }
}

#[test]
fn memory_goes_on_while_the_disk_fails_and_is_written_when_it_is_back() {
    for failure in [FULL, SYNC_FAILS] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let clock = Clock::manual(Timestamp(START));
        let path = folder.path().join("store");
        let mode = Arc::new(AtomicU8::new(GOOD));
        let log = Faulty { inner: DiskFolder::new(&path.join("log")), mode: Arc::clone(&mode) };
        let store =
            DiskStore::open_with(settings(&path), clock.clone(), &Registry::new(), Box::new(log)).expect("opens");
        let run = |from: i64, to: i64, is_good: bool| {
            for step in from..to {
                clock.set(Timestamp(START + step * 15_000));
                scrape(&*store, 0, START + step * 15_000, &[(0, step as f64), (1, 1.5)]);
                assert_eq!(store.flush().is_ok(), is_good);
                store.shared.seal();
            }
        };
        run(0, 20, true);
        assert!(store.health().is_good());
        mode.store(failure, Ordering::Relaxed);
        run(20, 200, false);
        assert!(store.health().log_error.is_some_and(|error| error.contains("injected")));
        assert_eq!(extent(&store).0, 200);
        mode.store(GOOD, Ordering::Relaxed);
        store.flush().expect("the disk is back");
        assert!(store.health().is_good());
        // A power cut now costs nothing.
        let copy = folder.path().join("copy");
        copy_folder(&path, &copy);
        std::fs::remove_dir_all(copy.join("tail")).expect("there was a tail");
        assert_eq!(extent(&open(&copy, &clock)).0, 200, "failure {failure}");
    }
}

#[test]
fn memory_is_bounded_when_nothing_can_be_written() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Clock::manual(Timestamp(START));
    let path = folder.path().join("store");
    let mode = Arc::new(AtomicU8::new(FULL));
    let log = Faulty { inner: DiskFolder::new(&path.join("log")), mode };
    let settings = StoreSettings { memory_bytes_max: 128 * 1024, ..settings(&path) };
    let store = DiskStore::open_with(settings, clock.clone(), &Registry::new(), Box::new(log)).expect("opens");
    let mut random = 1u64;
    for step in 0..20_000i64 {
        clock.set(Timestamp(START + step * 15_000));
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        scrape(&*store, 0, START + step * 15_000, &[(0, random as f64), (1, (random >> 9) as f64)]);
        if step % 64 == 0 {
            store.shared.seal();
        }
    }
    assert!(store.memory() < 256 * 1024, "{}", store.memory());
    assert_eq!(extent(&store).1, START + 19_999 * 15_000);
    assert!(store.stats().samples_in_memory > 5_000);
}
