//! Limits of 32-bit processors: file offsets beyond 2 and 4 GiB, and times past January 2038.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::import::ImportGroup;
use super::offline::verify;
use super::tests::{open, read_all, scrape};
use crate::clock::Clock;
use crate::model::{Labels, Matcher, TimeRange, Timestamp};
use crate::store::Samples;

/// 2040-01-01, in milliseconds.
const LATE: i64 = 2_208_988_800_000;
const HOUR: i64 = 3_600_000;

#[test]
fn times_past_2038_are_kept_by_log_and_blocks() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Clock::manual(Timestamp(LATE));
    let times: Vec<i64> = (0..600).map(|row| LATE + row * 30_000).collect();
    let store = open(folder.path(), &clock);
    for at in &times {
        clock.set(Timestamp(*at));
        assert_eq!(scrape(&*store, 0, *at, &[(0, *at as f64)]), 1);
    }
    let expected: Vec<(i64, u64)> = times.iter().map(|at| (*at, (*at as f64).to_bits())).collect();
    let late = TimeRange { start: Timestamp(LATE), end: Timestamp(LATE + 24 * HOUR) };
    let check = |store: &super::DiskStore| {
        let found = read_all(store, &[Matcher::equal("__name__", "metric_0")], late);
        let samples: Vec<_> = found.iter().map(|(_, samples)| samples).collect();
        assert_eq!(samples, [&expected]);
    };
    store.flush().expect("the disk works");
    drop(store);
    let store = open(folder.path(), &clock);
    check(&store);
    store.maintain().expect("the disk works");
    assert!(store.shared.blocks.newest() > Some(Timestamp(LATE)), "a block is written");
    drop(store);
    check(&open(folder.path(), &clock));
    assert!(verify(folder.path(), |_, _| {}).expect("readable").damage.is_empty());
}

#[test]
fn blocks_beyond_4_gib_are_written_and_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Clock::manual(Timestamp(LATE));
    open(folder.path(), &clock).import_block_of("before", LATE - 48 * HOUR);
    let first_page_beyond = spread(&folder.path().join("blocks.db"), (4 << 30) + (64 << 20));
    open(folder.path(), &clock).import_block_of("beyond", LATE - 24 * HOUR);
    assert!(
        used_behind(&folder.path().join("blocks.db"), first_page_beyond),
        "nothing of the second block lies beyond 4 GiB"
    );
    let store = open(folder.path(), &clock);
    for name in ["before", "beyond"] {
        let found = read_all(&*store, &[Matcher::equal("__name__", name)], TimeRange::ALL);
        let values: Vec<u64> = found[0].1.iter().map(|(_, bits)| *bits).collect();
        assert_eq!(values, noise().map(f64::to_bits).collect::<Vec<_>>(), "{name}");
    }
    drop(store);
    assert!(verify(folder.path(), |_, _| {}).expect("readable").damage.is_empty());
}

impl super::DiskStore {
    fn import_block_of(&self, name: &str, start: i64) {
        let mut samples = Samples::default();
        noise().enumerate().for_each(|(row, value)| samples.push(Timestamp(start + row as i64 * 1_000), value));
        let series = vec![(Labels::from_pairs([("__name__", name)]), samples)];
        let until = Timestamp(start + 2 * HOUR);
        let groups = [ImportGroup { key: name.to_owned(), series }];
        self.import_block(Timestamp(start), until, &groups, (name, 1)).expect("the disk works");
    }
}

/// Values that no codec makes smaller: several pages of them.
fn noise() -> impl Iterator<Item = f64> {
    let mut state = 1_u64;
    std::iter::from_fn(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some(f64::from_bits(state >> 2))
    })
    .take(5_000)
}

const PAGE: u64 = 4096;
/// So many pages stand in one page of SQLite's pointer map, which lies before them.
const MAPPED: u32 = PAGE as u32 / 5;
/// SQLite's locks lie at 1 GiB: that page is never used.
const LOCKED: u32 = (1 << 30) / PAGE as u32 + 1;

/// Makes the database a sparse file of so many bytes whose new pages are all free, the last ones to be used first.
/// Gives the first of those. See "The Freelist" and "Pointer Map" in SQLite's description of its file format.
fn spread(path: &Path, bytes: u64) -> u64 {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("writable");
    let mut header = [0; 100];
    file.read_exact_at(&mut header, 0).expect("a header");
    let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes"));
    assert_eq!((u64::from(number(16) >> 16), number(36)), (PAGE, 0), "no page is free");
    let write = |page: u32, bytes: &[u8]| {
        file.write_all_at(bytes, (u64::from(page) - 1) * PAGE).expect("writable");
    };
    let (used, pages) = (number(28), u32::try_from(bytes / PAGE).expect("few enough pages"));
    file.set_len(bytes).expect("sparse files");
    let is_map = |page: u32| page % (MAPPED + 1) == 2;
    for map in (2..=pages).filter(|page| is_map(*page)) {
        // Kind 2 is a free page, which has no parent.
        let mapped = (map + 1..=pages.min(map + MAPPED)).filter(|page| *page > used);
        let entries: Vec<u8> = mapped.clone().flat_map(|_| [2, 0, 0, 0, 0]).collect();
        let known = mapped.min().map_or(0, |first| u64::from(first - map - 1) * 5);
        file.write_all_at(&entries, (u64::from(map) - 1) * PAGE + known).expect("writable");
    }
    let free: Vec<u32> = (used + 1..=pages).filter(|page| *page != LOCKED && !is_map(*page)).collect();
    let mut next = 0;
    for chunk in free.chunks(1_000) {
        let (trunk, leaves) = chunk.split_first().expect("chunks are not empty");
        let words = [next, leaves.len() as u32].into_iter().chain(leaves.iter().copied());
        write(*trunk, &words.flat_map(u32::to_be_bytes).collect::<Vec<u8>>());
        next = *trunk;
    }
    for (at, word) in [(28, pages), (32, next), (36, free.len() as u32), (92, number(24))] {
        file.write_all_at(&word.to_be_bytes(), at).expect("writable");
    }
    u64::from(next)
}

/// Whether something has been written behind the page.
fn used_behind(path: &Path, page: u64) -> bool {
    let file = File::open(path).expect("readable");
    assert!(page * PAGE > 4 << 30);
    let mut rest = Vec::new();
    let length = file.metadata().expect("readable").len();
    rest.resize((length - page * PAGE) as usize, 0);
    file.read_exact_at(&mut rest, page * PAGE).expect("readable");
    rest.iter().any(|byte| *byte != 0)
}
