//! What is no longer kept: whole blocks by age and by size, but for the series that rules keep longer.
//!
//! A block that has expired goes as a whole; nothing that stays is rewritten. Where rules keep some of its series
//! longer, those alone are written into a block of their own in its place, which is then merged to a week
//! with its like, and left alone until the last of their rules has run out.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use rusqlite::OptionalExtension;

use super::read::Wanted;
use super::write::BlockWriter;
use super::{Block, Blocks};
use crate::model::{Matcher, TimeRange, Timestamp};
use crate::store::disk::RetentionRule;
use crate::store::{ReadOptions, StoreError};

/// Until when blocks hold nothing but what rules keep, by block.
pub(super) type KeptUntil = HashMap<i64, Timestamp, FixedState>;

/// What is asked for.
pub(in crate::store) struct Retention<'a> {
    pub now: Timestamp,
    /// Blocks that end before are too old.
    pub horizon: Timestamp,
    /// Series that are kept longer.
    pub rules: &'a [RetentionRule],
    /// Bytes that the database may use, if there is a bound.
    pub bytes_max: Option<u64>,
}

/// What was done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Expired {
    /// Blocks that went, in part or as a whole.
    pub blocks: usize,
    /// Bytes written for what rules keep.
    pub bytes_written: u64,
    /// Even without all blocks but the newest the bound is exceeded.
    pub is_bound_too_small: bool,
}

/// What became of one block.
enum Outcome {
    /// It holds nothing but what is kept.
    Kept,
    /// It went; this many bytes were written for what stays of it.
    Gone { bytes_written: u64 },
}

impl Blocks {
    /// Takes out of force what is too old, then the oldest until the rest is within the bound: first what
    /// no rule keeps, then, if that is not enough, whole blocks.
    pub fn expire(&self, retention: &Retention<'_>) -> Result<Expired, StoreError> {
        let mut expired = Expired::default();
        for block in self.list().iter().filter(|block| block.newest < retention.horizon) {
            if let Outcome::Gone { bytes_written } = self.thin(block, retention)? {
                expired.blocks += 1;
                expired.bytes_written += bytes_written;
            }
        }
        if let Some(bytes_max) = retention.bytes_max {
            self.shrink_to(bytes_max, retention, &mut expired)?;
        }
        Ok(expired)
    }

    fn shrink_to(&self, bytes_max: u64, retention: &Retention<'_>, expired: &mut Expired) -> Result<(), StoreError> {
        let in_use = self.disk_bytes()?.0.saturating_sub(self.retired_bytes());
        let mut excess = in_use.saturating_sub(bytes_max);
        for is_whole in [false, true] {
            let list = self.list();
            let older = list.len().saturating_sub(1);
            for block in &list[..older] {
                if excess == 0 {
                    return Ok(());
                }
                let outcome = if is_whole { self.drop_whole(block)? } else { self.thin(block, retention)? };
                if let Outcome::Gone { bytes_written } = outcome {
                    expired.blocks += 1;
                    expired.bytes_written += bytes_written;
                    excess = excess.saturating_sub(block.bytes.saturating_sub(bytes_written));
                }
            }
        }
        expired.is_bound_too_small = excess > 0;
        Ok(())
    }

    /// Bytes of blocks that are out of force and not deleted yet.
    fn retired_bytes(&self) -> u64 {
        let retired = self.retired.lock().expect("no holder of the lock panics");
        let bytes_of =
            |list: &[Block], id: i64| list.iter().find(|block| block.id == id).map_or(0, |block| block.bytes);
        retired.iter().flat_map(|entry| entry.blocks.iter().map(|id| bytes_of(&entry.list, *id))).sum()
    }

    fn drop_whole(&self, block: &Block) -> Result<Outcome, StoreError> {
        self.retire(&[block.id])?;
        Ok(Outcome::Gone { bytes_written: 0 })
    }

    /// Leaves of a block what rules keep.
    fn thin(&self, block: &Block, retention: &Retention<'_>) -> Result<Outcome, StoreError> {
        let kept_until = self.kept_until.lock().expect("no holder of the lock panics").get(&block.id).copied();
        if kept_until.is_some_and(|until| retention.now <= until) {
            return Ok(Outcome::Kept);
        }
        let ends_of = |rule: &RetentionRule| Timestamp(block.newest.0.saturating_add(millis(rule.keep)));
        let rules: Vec<&RetentionRule> = retention.rules.iter().filter(|rule| ends_of(rule) >= retention.now).collect();
        let Some(until) = rules.iter().map(|rule| ends_of(rule)).min() else { return self.drop_whole(block) };
        let sets: Vec<Vec<Matcher>> = rules.iter().map(|rule| rule.matchers.clone()).collect();
        let options = ReadOptions::over(TimeRange::ALL);
        let found = self.select_in(self.list(), &[block.id], None, &Wanted::InAny(&sets), &options)?.1;
        // Counted by target, as all series are below: one may be in two.
        let kept = found.values().map(|places| places.len() as u64).sum::<u64>();
        if kept == 0 {
            return self.drop_whole(block);
        }
        if kept >= self.series_count(block.id)? {
            self.kept_until.lock().expect("no holder of the lock panics").insert(block.id, until);
            return Ok(Outcome::Kept);
        }
        let mut writer = BlockWriter::begin(self, block.start, block.until);
        for target in self.targets_of(&[block.id])? {
            if let Err(error) = self.merge_target(&[block.id], target, &sets, &mut writer) {
                writer.abandon();
                return Err(error);
            }
        }
        let bytes_written = writer.finish(&[block.id], None)?;
        Ok(Outcome::Gone { bytes_written })
    }

    /// The series of all parts of a block.
    fn series_count(&self, block: i64) -> Result<u64, StoreError> {
        let reading = self.reader()?;
        let query = "SELECT sum(names.series) FROM part JOIN names ON names.id = part.names WHERE part.block = ?1";
        let count = reading.query_row(query, [block], |row| row.get::<_, Option<i64>>(0)).optional();
        Ok(count.map_err(|error| self.error("read", &error))?.flatten().unwrap_or(0) as u64)
    }

    /// Gives free pages back to the file system, at most `bytes` of them: where the file is larger than it may be.
    /// The pages at its end move into its holes. Databases made before 0.1 keep their size and reuse it.
    pub fn release_free(&self, bytes: u64) -> Result<(), StoreError> {
        let connection = self.lock()?;
        let released =
            connection.pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0)).and_then(|page_size| {
                let pages = bytes.div_ceil(page_size.max(512) as u64);
                let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
                let mut rows = statement.query([])?;
                while rows.next()?.is_some() {}
                Ok(())
            });
        released.map_err(|error| self.error("shrink", &error))
    }
}

fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
