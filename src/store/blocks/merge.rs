//! Making few long blocks of many short ones.
//!
//! A longer block compresses better, shares more of its directory, and takes fewer rows to query. Each
//! level costs its samples one more writing, so there is one.

use std::collections::BTreeSet;

use super::read::{Wanted, target_name};
use super::write::BlockWriter;
use super::{Block, Blocks};
use crate::model::{Labels, Matcher, TimeRange, Timestamp};
use crate::store::head::SegmentCache;
use crate::store::{ReadOptions, StoreError};

/// How many block spans make one merged block: 12 hours of 2 hours.
pub(in crate::store) const MERGED_SPANS: i64 = 6;
/// How many merged blocks make one of what rules keep: a week. Each may outlive its rule by that much.
const KEPT_BLOCKS: i64 = 14;
/// Unpacked segments kept while merging.
const CACHE_BYTES: usize = 2 << 20;

impl Blocks {
    /// What the next merge may need besides what it replaces: bytes of the largest merged block, or of what will
    /// become one.
    pub fn merge_bytes(&self, span_ms: i64) -> u64 {
        let list = self.list();
        let is_short = |block: &Block| block.until.since(block.start) <= span_ms;
        let (short, long): (Vec<&Block>, Vec<&Block>) = list.iter().rev().partition(|block| is_short(block));
        let newest_long = long.first().map_or(0, |block| block.bytes);
        let largest_short = short.iter().map(|block| block.bytes).max().unwrap_or(0);
        newest_long.max(largest_short.saturating_mul(MERGED_SPANS as u64))
    }

    /// Merges one set of blocks if there is one: blocks of `span_ms` within a finished multiple of the
    /// merged span that ends at or before `closed_until`. Gives the bytes written, `None` if nothing was to do.
    pub fn merge_one(&self, span_ms: i64, closed_until: Timestamp) -> Result<Option<u64>, StoreError> {
        let merged_ms = span_ms.saturating_mul(MERGED_SPANS);
        let list = self.list();
        let window_of = |block: &Block| block.start.0.div_euclid(merged_ms);
        let is_short = |block: &&Block| block.until.0.saturating_sub(block.start.0) < merged_ms;
        let short: Vec<&Block> = list.iter().filter(is_short).collect();
        let run = short.chunk_by(|a, b| window_of(a) == window_of(b)).find(|run| {
            let end = window_of(run[0]).saturating_add(1).saturating_mul(merged_ms);
            run.len() > 1 && end <= closed_until.0
        });
        let Some(run) = run else { return Ok(None) };
        let start = Timestamp(window_of(run[0]) * merged_ms);
        let ids: Vec<i64> = run.iter().map(|block| block.id).collect();
        self.merge(&ids, start, Timestamp(start.0 + merged_ms)).map(Some)
    }

    /// Merges one set of blocks that hold nothing but what rules keep, all older than `horizon`: a year of them would be
    /// 730 else. Gives the bytes written, `None` if nothing was to do.
    pub fn merge_kept(&self, span_ms: i64, horizon: Timestamp) -> Result<Option<u64>, StoreError> {
        let kept_ms = span_ms.saturating_mul(MERGED_SPANS * KEPT_BLOCKS);
        // The bound on size leaves room for no more.
        let bytes_max = self.merge_bytes(span_ms);
        let list = self.list();
        let window_of = |block: &Block| block.start.0.div_euclid(kept_ms);
        let kept: Vec<&Block> = {
            let kept_until = self.kept_until.lock().expect("no holder of the lock panics");
            list.iter().filter(|block| block.newest < horizon && kept_until.contains_key(&block.id)).collect()
        };
        let run = kept.chunk_by(|a, b| window_of(a) == window_of(b)).find(|run| {
            let end = window_of(run[0]).saturating_add(1).saturating_mul(kept_ms);
            run.len() > 1 && end <= horizon.0 && run.iter().map(|block| block.bytes).sum::<u64>() <= bytes_max
        });
        let Some(run) = run else { return Ok(None) };
        let start = Timestamp(window_of(run[0]) * kept_ms);
        let ids: Vec<i64> = run.iter().map(|block| block.id).collect();
        self.merge(&ids, start, Timestamp(start.0 + kept_ms)).map(Some)
    }

    fn merge(&self, ids: &[i64], start: Timestamp, until: Timestamp) -> Result<u64, StoreError> {
        let mut writer = BlockWriter::begin_merged(self, start, until);
        let targets = self.targets_of(ids)?;
        for target in targets {
            if let Err(error) = self.merge_target(ids, target, &[], &mut writer) {
                writer.abandon();
                return Err(error);
            }
        }
        writer.finish(ids, None)
    }

    /// Writes a block anew with everything of it that can be read.
    pub fn rewrite(&self, block: i64) -> Result<(), StoreError> {
        let list = self.list();
        let Some(block) = list.iter().find(|listed| listed.id == block) else { return Ok(()) };
        self.merge(&[block.id], block.start, block.until).map(drop)
    }

    /// Adds what blocks have of one target: all series, or those that satisfy one of the sets.
    pub(super) fn merge_target(
        &self,
        ids: &[i64],
        target: i64,
        sets: &[Vec<Matcher>],
        writer: &mut BlockWriter<'_>,
    ) -> Result<(), StoreError> {
        let options = ReadOptions::over(TimeRange::ALL);
        let (selection, found) = self.select_in(self.list(), ids, Some(target), &Wanted::InAny(sets), &options)?;
        let (labels, places): (Vec<Labels>, Vec<_>) = found.into_iter().unzip();
        let name = self.reader().and_then(|reading| {
            target_name(&reading, target).map_err(|error| self.error("read a target of", &error))
        })?;
        let mut cache = SegmentCache::new(CACHE_BYTES);
        writer.add_part(&name, &labels, selection.times(), |position, samples| {
            selection.read(&places[position], TimeRange::ALL, &mut cache, samples)
        })
    }

    /// The targets that blocks have something of.
    pub(super) fn targets_of(&self, ids: &[i64]) -> Result<BTreeSet<i64>, StoreError> {
        let reading = self.reader()?;
        let mut targets = BTreeSet::new();
        for id in ids {
            targets.extend(self.parts_of(&reading, *id)?.into_iter().map(|part| part.target));
        }
        Ok(targets)
    }
}
