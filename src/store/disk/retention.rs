//! How long samples stay, and how much room they take.

use std::time::Duration;

use super::Shared;
use super::footprint::{file_len, footprint};
use super::metrics::describe;
use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::blocks::Retention;

/// Free pages given back to the file system at a time: the lock is held meanwhile.
const RELEASED_BYTES_MAX: u64 = 8 << 20;
/// Data is expired by time only when this much newer data exists (or half the retention): a clock
/// that jumps ahead and back expires nothing.
const EXPIRY_PROOF: Duration = Duration::from_secs(24 * 3600);

impl Shared {
    /// Drops what the retention does not keep, and keeps the folder within its bound.
    pub(super) fn expire(&self) -> Result<(), StoreError> {
        let settings = &self.settings;
        let retention = Retention {
            now: self.clock.now(),
            horizon: self.horizon(),
            rules: &settings.retention_rules,
            bytes_max: settings.retention_bytes.map(|max| self.block_bytes_max(max)),
        };
        let expired = self.blocks.expire(&retention)?;
        if expired.blocks > 0 || expired.bytes_written > 0 {
            self.changes.note_removal();
        }
        if expired.blocks > 0 {
            tracing::info!(blocks = expired.blocks, "what is beyond the retention is dropped");
            self.metrics.blocks_expired.add(expired.blocks as u64);
        }
        if expired.bytes_written > 0 {
            self.note_block_written(expired.bytes_written);
        }
        self.note_bound(expired.is_bound_too_small);
        self.blocks.delete_retired()?;
        self.shrink_file()
    }

    /// Merges what rules keep beyond the retention. It can wait: a disk without room for it must not keep anything else
    /// from being written or deleted, so that only damage is an error here.
    pub(super) fn merge_kept(&self) -> Result<(), StoreError> {
        match self.try_merge_kept() {
            Err(error) if !matches!(error, StoreError::Damaged { .. }) => {
                self.metrics.block_failures.inc();
                tracing::warn!(error = describe(&error), "what rules keep is not merged; it will be tried again");
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn try_merge_kept(&self) -> Result<(), StoreError> {
        if let Some(bytes) = self.blocks.merge_kept(self.settings.span_ms(), self.horizon())? {
            self.metrics.merges.inc();
            self.note_block_written(bytes);
            self.blocks.delete_retired()?;
        }
        Ok(())
    }

    /// What is older is beyond the retention by time.
    fn horizon(&self) -> Timestamp {
        let settings = &self.settings;
        let by_clock = self.clock.now() - settings.retention_time;
        let newer = self
            .blocks
            .list()
            .iter()
            .filter(|block| block.newest >= by_clock)
            .fold(0i64, |sum, block| sum.saturating_add(block.until.since(block.start)));
        let proof = EXPIRY_PROOF.min(settings.retention_time / 2);
        let is_proven = u128::from(newer.unsigned_abs()) >= proof.as_millis();
        if is_proven { by_clock } else { Timestamp::MIN }
    }

    /// What the block database may use of the bound: the rest, and room for what is written next. A merged block
    /// stands beside those that it replaces until they are deleted.
    fn block_bytes_max(&self, bytes_max: u64) -> u64 {
        let log_file = self.log.lock().expect("no holder of the lock panics").log.file_bytes();
        let upcoming = self.blocks.merge_bytes(self.settings.span_ms()) + log_file;
        bytes_max.saturating_sub(self.other_bytes() + upcoming)
    }

    /// Bytes of the store's files beside the database: log, tail, journal.
    fn other_bytes(&self) -> u64 {
        footprint(&self.settings.path).saturating_sub(file_len(self.blocks.path()))
    }

    fn note_bound(&self, is_too_small: bool) {
        if self.metrics.is_bound_too_small.replace(is_too_small) != is_too_small && is_too_small {
            tracing::warn!(
                bytes = self.settings.retention_bytes,
                "the bound on size has no room for more than the log and one block: allow more"
            );
        }
    }

    /// Free pages are written again soon; only a file beyond its bound (which was lowered) gives them back.
    fn shrink_file(&self) -> Result<(), StoreError> {
        let Some(bytes_max) = self.settings.retention_bytes else { return Ok(()) };
        let excess = footprint(&self.settings.path).saturating_sub(bytes_max);
        let (in_use, file) = self.blocks.disk_bytes()?;
        match excess.min(file - in_use) {
            0 => Ok(()),
            bytes => self.blocks.release_free(bytes.min(RELEASED_BYTES_MAX)),
        }
    }
}
