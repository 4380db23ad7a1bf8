//! What the newest sample of a series was when memory has forgotten it: after a restart, or hours after the series ended.
//!
//! Samples come newer than all blocks; only one that does not, of a series that memory knows no sample of, is worth
//! a look at the disk. What is found stays in memory, so that each series is looked up once.

use std::collections::HashSet;

use foldhash::fast::FixedState;

use super::Shared;
use crate::model::{Labels, Timestamp};
use crate::store::Batch;
use crate::store::head::Bounds;

impl Shared {
    /// Looks up the newest samples that a batch has to be compared with and memory does not know. While blocks cannot
    /// be read, nothing is: such samples are taken then.
    pub(super) fn recall(&self, batch: &Batch, bounds: &Bounds) {
        let Some((series, since)) = self.forgotten(batch, bounds) else { return };
        if self.metrics.health().blocks_error.is_some() {
            return;
        }
        match self.blocks.newest_of(&series, since) {
            Ok(found) => {
                let mut head = self.write_head();
                for (labels, at, value) in found {
                    if let Some(id) = head.dictionary.find(&labels) {
                        head.recall(id, at, value);
                    }
                }
            }
            Err(error) => self.note_read_failure(&error),
        }
    }

    /// The series of a batch of which memory knows no sample, and the oldest time that the batch has for them.
    fn forgotten(&self, batch: &Batch, bounds: &Bounds) -> Option<(HashSet<Labels, FixedState>, Timestamp)> {
        let newest = self.blocks.newest()?;
        let head = self.read_head();
        let shared = batch.samples.iter().map(|(id, _)| (*id, batch.timestamp));
        let all = shared.chain(batch.explicit.iter().map(|(id, at, _)| (*id, *at)));
        let (mut series, mut since) = (HashSet::default(), newest);
        for (id, at) in all.filter(|(_, at)| *at <= newest && bounds.check(*at).is_ok()) {
            let Some(record) = head.dictionary.record(id).filter(|_| head.newest_of(id).is_none()) else { continue };
            series.insert(head.dictionary.labels(record));
            since = since.min(at);
        }
        (!series.is_empty()).then_some((series, since))
    }
}
