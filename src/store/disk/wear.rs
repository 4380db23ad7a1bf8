//! What reaches the device, estimated, and how the write budget stretches the flush interval.
//!
//! A file system writes more than it is given. On ext4 in its default mount a flush costs the record plus
//! a journal transaction for the file's time (12 KiB) and the inode itself (4 KiB); a transaction of the block
//! database costs its pages plus its own journal's. What a flush costs is measured at a block device, so is what
//! a block of 2,500 series costs; other file systems differ. All of it is an estimate.

use std::sync::Mutex;
use std::time::Duration;

use super::Shared;
use crate::model::Timestamp;
use crate::store::blocks::Block;

/// What a flush costs besides its record: journal and inode.
const FLUSH_OVERHEAD_BYTES: u64 = 16 * 1024;
/// What a block costs besides its samples: names, directories, inner pages, journals, pages that are not full.
const TRANSACTION_OVERHEAD_BYTES: u64 = 160 * 1024;
/// The longest that a budget stretches the interval to: what a power cut may take is worth more than wear.
const FLUSH_INTERVAL_MAX: Duration = Duration::from_secs(600);
/// A sample is written into a short block, then once more into a merged one.
const BLOCK_WRITINGS: f64 = 2.0;
const DAY_SECONDS: f64 = 86_400.0;
const DAY_MS: i64 = 86_400_000;
/// Blocks that cover less are not extrapolated to a day any further.
const COVERED_MS_MIN: i64 = 2 * 3_600_000;
/// How much a single flush moves the running mean of what a flush costs.
const SMOOTHING: f64 = 0.1;

/// The running estimate.
pub(super) struct Wear {
    budget_bytes: Option<u64>,
    configured: Duration,
    state: Mutex<State>,
}

struct State {
    /// What a flush costs, as a running mean.
    flush_bytes: f64,
    pace: Pace,
}

/// How often is flushed, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    pub interval: Duration,
    /// The budget makes the interval longer than it is configured.
    pub is_stretched: bool,
    /// Even the longest interval does not keep the budget.
    pub is_over_budget: bool,
}

impl Wear {
    pub fn new(configured: Duration, budget_bytes: Option<u64>) -> Self {
        let pace = Pace { interval: configured, is_stretched: false, is_over_budget: false };
        let flush_bytes = (FLUSH_OVERHEAD_BYTES + 4096) as f64;
        Self { budget_bytes, configured, state: Mutex::new(State { flush_bytes, pace }) }
    }

    /// How often is flushed at present.
    pub fn pace(&self) -> Pace {
        self.state.lock().expect("no holder of the lock panics").pace
    }

    /// The budget, if there is one.
    pub fn budget_bytes(&self) -> Option<u64> {
        self.budget_bytes
    }

    /// What a flush has cost the device: `record_bytes` written into a file, `new_file_bytes` to make files.
    pub fn note_flush(&self, record_bytes: u64, new_file_bytes: u64) -> u64 {
        let bytes = record_bytes + FLUSH_OVERHEAD_BYTES;
        let mut state = self.state.lock().expect("no holder of the lock panics");
        state.flush_bytes += (bytes as f64 - state.flush_bytes) * SMOOTHING;
        bytes + new_file_bytes
    }

    /// Finds the pace anew. Says the new one if it is of another kind than the one before.
    pub fn adapt(&self, blocks: &[Block], now: Timestamp) -> Option<Pace> {
        let budget_bytes = self.budget_bytes?;
        let left_bytes = budget_bytes as f64 - block_bytes_per_day(blocks, now);
        let mut state = self.state.lock().expect("no holder of the lock panics");
        let needed_seconds = DAY_SECONDS * state.flush_bytes / left_bytes.max(1.0);
        let (configured, longest) = (self.configured.as_secs_f64(), FLUSH_INTERVAL_MAX.as_secs_f64());
        let seconds = needed_seconds.clamp(configured, longest.max(configured));
        let before = state.pace;
        state.pace = Pace {
            interval: Duration::from_secs_f64(seconds),
            is_stretched: needed_seconds > configured,
            is_over_budget: needed_seconds > longest,
        };
        let is_other = |pace: Pace| (pace.is_stretched, pace.is_over_budget);
        (is_other(before) != is_other(state.pace)).then_some(state.pace)
    }
}

impl Shared {
    /// Counts what a flush has written, and finds how long to wait for the next one.
    pub(super) fn note_flushed(&self, record_bytes: u64, new_file_bytes: u64, now: Timestamp) {
        self.metrics.log_bytes_written.add(record_bytes);
        self.metrics.device_bytes_written.add(self.wear.note_flush(record_bytes, new_file_bytes));
        if self.wear.adapt(&self.blocks.list(), now).is_some() {
            match self.budget_text() {
                Some(text) => tracing::warn!("{text}"),
                None => tracing::info!("the write budget suffices for the configured flush interval again"),
            }
        }
    }

    /// What the write budget leads to at present, if to anything.
    pub(super) fn budget_text(&self) -> Option<String> {
        let (pace, budget) = (self.wear.pace(), self.wear.budget_bytes()?);
        let (megabytes, seconds) = (budget >> 20, pace.interval.as_secs());
        match (pace.is_over_budget, pace.is_stretched) {
            (true, _) => Some(format!(
                "max_writes_per_day ({megabytes} MB) cannot be kept, not even with a flush every {} s: allow more, \
                 scrape less often, or drop series",
                FLUSH_INTERVAL_MAX.as_secs()
            )),
            (false, true) => Some(format!(
                "max_writes_per_day ({megabytes} MB) stretches the flush interval to {seconds} s: a power cut costs \
                 up to that"
            )),
            (false, false) => None,
        }
    }

    /// Counts what a block has written.
    pub(super) fn note_block_written(&self, bytes: u64) {
        self.metrics.block_bytes_written.add(bytes);
        self.metrics.device_bytes_written.add(block_cost(bytes));
    }
}

/// What writing a block has cost the device.
fn block_cost(bytes: u64) -> u64 {
    bytes + TRANSACTION_OVERHEAD_BYTES
}

/// What blocks cost in a day, by those of the last day: each sample is written twice.
fn block_bytes_per_day(blocks: &[Block], now: Timestamp) -> f64 {
    let recent = blocks.iter().filter(|block| block.newest.0 > now.0.saturating_sub(DAY_MS));
    let (bytes, covered) = recent.fold((0u64, 0i64), |(bytes, covered), block| {
        (bytes + block_cost(block.bytes), covered.saturating_add(block.newest.since(block.oldest).max(0)))
    });
    let days = covered.max(COVERED_MS_MIN) as f64 / DAY_MS as f64;
    bytes as f64 * BLOCK_WRITINGS / days.max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    /// A block of two hours that ends `hours_ago`.
    fn block(hours_ago: i64, bytes: u64) -> Block {
        let until = Timestamp(NOW.0 - hours_ago * 3_600_000);
        let start = Timestamp(until.0 - 2 * 3_600_000);
        Block { id: hours_ago, start, until, oldest: start, newest: until, samples: 1, bytes }
    }

    /// Interval in seconds, stretched, over budget.
    fn check(budget: Option<u64>, blocks: &[Block], record_bytes: u64, expected: (u64, bool, bool)) {
        let wear = Wear::new(Duration::from_secs(30), budget);
        for _ in 0..200 {
            wear.note_flush(record_bytes, 0);
        }
        wear.adapt(blocks, NOW);
        let pace = wear.pace();
        let found = (pace.interval.as_secs(), pace.is_stretched, pace.is_over_budget);
        assert_eq!(found, expected, "{budget:?} {record_bytes}");
    }

    #[test]
    fn the_budget_stretches_the_interval() {
        check(None, &[], 4096, (30, false, false));
        // 20 KiB every 30 s are 59 MB a day.
        check(Some(60_000_000), &[], 4096, (30, false, false));
        check(Some(30_000_000), &[], 4096, (58, true, false));
        check(Some(30_000_000), &[], 8192, (70, true, false));
        check(Some(1_000_000), &[], 4096, (600, true, true));
    }

    #[test]
    fn blocks_take_their_share_of_the_budget() {
        // 12 blocks of 1 MB a day, each written twice, leave less than half of 50 MB.
        let blocks: Vec<Block> = (0..12).map(|index| block(2 * index, 1_000_000)).collect();
        check(Some(50_000_000), &blocks, 4096, (80, true, false));
        let single = [block(0, 1_000_000)];
        check(Some(50_000_000), &single, 4096, (80, true, false));
        check(Some(50_000_000), &[block(30, 1_000_000)], 4096, (35, true, false));
        check(Some(20_000_000), &blocks, 4096, (600, true, true));
    }

    #[test]
    fn a_change_of_kind_is_told_once() {
        let wear = Wear::new(Duration::from_secs(30), Some(30_000_000));
        assert!(wear.adapt(&[], NOW).is_some_and(|pace| pace.is_stretched && !pace.is_over_budget));
        wear.note_flush(8192, 0);
        assert_eq!(wear.adapt(&[], NOW), None);
        let blocks: Vec<Block> = (0..12).map(|index| block(2 * index, 2_000_000)).collect();
        assert!(wear.adapt(&blocks, NOW).is_some_and(|pace| pace.is_over_budget));
        assert_eq!(wear.adapt(&blocks, NOW), None);
    }
}
