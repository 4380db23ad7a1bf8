//! Bringing the head back from the log and the tail.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::codec::is_absent;
use crate::model::{Labels, Timestamp};
use crate::store::head::{Bounds, Head};
use crate::store::log::{ReplaySink, Sink};
use crate::store::{Batch, GroupId, SeriesId};

/// Appends what the log says to a head. Ids in the log are those of the run that wrote it.
pub(super) struct Replay<'a> {
    pub head: &'a mut Head,
    groups: HashMap<u32, GroupId, FixedState>,
    series: HashMap<u32, SeriesId, FixedState>,
    /// Older samples are in blocks already.
    stored_until: Timestamp,
    batch: Batch,
}

impl<'a> Replay<'a> {
    pub fn new(head: &'a mut Head) -> Self {
        Self {
            head,
            groups: HashMap::default(),
            series: HashMap::default(),
            stored_until: Timestamp::MIN,
            batch: Batch { group: GroupId(0), timestamp: Timestamp(0), samples: Vec::new(), explicit: Vec::new() },
        }
    }

    /// What has been replayed so far is durable; gives the newest append.
    pub fn mark_durable(&mut self) -> u64 {
        self.head.unlogged(u64::MAX).sequence
    }
}

impl ReplaySink for Replay<'_> {
    fn begin_record(&mut self, stored_until: Timestamp, is_checkpoint: bool) {
        self.stored_until = stored_until;
        if is_checkpoint {
            self.groups.clear();
            self.series.clear();
        }
        // Memory stays as small as it was while the log was written.
        seal_all(self.head);
    }
}

/// Compresses all that is due, at once.
fn seal_all(head: &mut Head) {
    let mut from = GroupId(0);
    while let Some(job) = head.plan_seal(from) {
        from = job.group();
        match job.run() {
            Ok(frame) => head.install(&job, frame),
            Err(_) => from = GroupId(from.0 + 1),
        }
    }
    head.seal_strays();
}

impl Sink for Replay<'_> {
    fn group(&mut self, id: u32, key: &str) {
        let group = self.head.group(key);
        self.groups.insert(id, group);
    }

    fn series(&mut self, id: u32, group: u32, labels: &Labels) {
        if let Some(group) = self.groups.get(&group) {
            // The bound was checked when the series was new.
            let series = self.head.dictionary.insert(*group, labels);
            self.series.insert(id, series);
        }
    }

    fn row(&mut self, group: u32, timestamp: Timestamp, layout: &[u32], values: &[f64]) {
        let Some(group) = self.groups.get(&group) else { return };
        if timestamp < self.stored_until {
            return;
        }
        self.batch.group = *group;
        self.batch.timestamp = timestamp;
        self.batch.samples.clear();
        let present = layout.iter().zip(values).filter(|(_, value)| !is_absent(**value));
        let known = present.filter_map(|(id, value)| Some((*self.series.get(id)?, *value)));
        self.batch.samples.extend(known);
        // What was taken once is taken again; a repetition (a row that grew) is silently the same.
        self.head.append(&self.batch, &Bounds::ANY);
    }

    fn stray(&mut self, series: u32, timestamp: Timestamp, value: f64) {
        let Some(series) = self.series.get(&series) else { return };
        if timestamp < self.stored_until {
            return;
        }
        self.head.restore_stray(*series, timestamp, value);
    }

    fn note(&mut self, name: &str, bytes: &[u8]) {
        self.head.notes.insert(name.to_owned(), bytes.to_vec());
    }
}
