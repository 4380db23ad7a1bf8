//! What happens behind appending and reading: flush, seal, compact.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;

use super::Shared;
use super::metrics::describe;
use crate::model::{Labels, TimeRange, Timestamp};
use crate::store::blocks::BlockWriter;
use crate::store::head::{CutSet, GroupView, SegmentCache, SeriesView, read_series};
use crate::store::log::Stored;
use crate::store::{GroupId, SeriesId, StoreError};

/// How often rows are looked at for compressing.
const SEAL_INTERVAL: Duration = Duration::from_secs(5);
/// How often blocks are looked at.
const COMPACT_INTERVAL: Duration = Duration::from_secs(20);
/// After a failure: each attempt costs a sync on a disk that is in trouble.
const COMPACT_RETRY_INTERVAL: Duration = Duration::from_secs(60);
/// A span is closed this long after its end: slow scrapes still make it.
const CUT_DELAY: Duration = Duration::from_secs(60);
/// So long memory keeps what a block made by this run has too: windows of half an hour that end now, as rules have them, need
/// no blocks then. A frame goes as a whole: of targets scraped every minute all of the last span stays for that time.
const KEPT_MS: i64 = 35 * 60 * 1000;
/// Unpacked segments kept while a block is made.
const CUT_CACHE_BYTES: usize = 2 << 20;
/// The flush thread.
pub(super) fn run_flush(shared: &Shared) {
    while shared.wait(shared.wear.pace().interval) {
        // Noted in health and metrics; the next round repeats it.
        drop(shared.flush());
    }
}

/// The thread that compresses in memory.
pub(super) fn run_seal(shared: &Shared) {
    while shared.wait(SEAL_INTERVAL) {
        shared.seal();
    }
}

/// The thread that makes, merges and drops blocks.
pub(super) fn run_compact(shared: &Shared) {
    let mut pause = COMPACT_INTERVAL;
    while shared.wait(pause) {
        pause = if shared.compact().is_ok() { COMPACT_INTERVAL } else { COMPACT_RETRY_INTERVAL };
    }
}

impl Shared {
    /// Waits for `pause`; false when the store is closing.
    fn wait(&self, pause: Duration) -> bool {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.stopping.wait_timeout_while(stop, pause, |stop| !*stop);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn is_stopping(&self) -> bool {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes durable what is not.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.flush_and(|_| ()).map(|((), _)| ())
    }

    /// The same, with something done to the head at the very moment up to which the flush reaches.
    /// Gives the newest record of the log too.
    fn flush_and<T>(&self, also: impl FnOnce(&mut crate::store::head::Head) -> T) -> Result<(T, u64), StoreError> {
        let mut side = self.log.lock().expect("no holder of the lock panics");
        let (began, clock_began) = (Instant::now(), self.clock.now());
        self.metrics.note_flush(Some(clock_began));
        let in_place = self.ensure_in_place(&mut side, false);
        let (unlogged, has_notes, value) = {
            let mut tail = self.tail.lock().expect("no holder of the lock panics");
            let mut head = self.write_head();
            let unlogged = head.unlogged(side.durable);
            let value = also(&mut head);
            let has_notes = std::mem::take(&mut head.has_new_notes);
            // Notes alone are worth a record at the end only.
            if in_place.is_ok() && unlogged.is_empty() && side.has_begun && !(has_notes && self.is_stopping()) {
                head.has_new_notes |= has_notes;
                self.metrics.note_flush(None);
                self.metrics.durable_until.set(clock_began.seconds());
                return Ok((value, side.log.last_sequence()));
            }
            tail.turn();
            (unlogged, has_notes, value)
        };
        let made_bytes = side.log.made_bytes();
        let outcome = in_place.and_then(|()| side.log.write(&self.head, &unlogged));
        self.metrics.note_flush(None);
        match outcome {
            Ok(bytes) => {
                self.note_flushed(bytes, side.log.made_bytes() - made_bytes, clock_began);
                side.durable = unlogged.sequence;
                let mut tail = self.tail.lock().expect("no holder of the lock panics");
                if side.has_begun {
                    tail.release();
                } else {
                    side.has_begun = true;
                    tail.begin(side.log.scribe());
                }
                self.metrics.flushes.inc();
                self.metrics.flush_seconds.set(began.elapsed().as_secs_f64());
                self.metrics.durable_until.set(clock_began.seconds());
                self.metrics.note_log(Ok(()), clock_began);
                Ok((value, side.log.last_sequence()))
            }
            Err(error) => {
                let mut head = self.write_head();
                head.restore_unlogged(unlogged.strays);
                head.has_new_notes |= has_notes;
                drop(head);
                self.metrics.flush_failures.inc();
                self.metrics.note_log(Err(describe(&error)), clock_began);
                Err(error)
            }
        }
    }

    /// Compresses what is due, and keeps memory within its bound.
    pub(super) fn seal(&self) {
        let mut from = GroupId(0);
        loop {
            let Some(job) = self.read_head().plan_seal(from) else { break };
            from = job.group();
            match job.run() {
                Ok(frame) => self.write_head().install(&job, frame),
                Err(error) => {
                    tracing::error!(%error, "memory is damaged: frames do not unpack");
                    self.metrics.corruptions.inc();
                    from = GroupId(from.0 + 1);
                }
            }
        }
        let mut head = self.write_head();
        head.seal_strays();
        let dropped = head.drop_oldest(self.settings.memory_bytes_max);
        drop(head);
        if dropped > 0 {
            self.changes.note_removal();
            tracing::error!(
                samples = dropped,
                "memory is full and the disk takes nothing: the oldest samples are lost"
            );
            self.metrics.samples_dropped.add(dropped);
        }
    }

    /// Makes the blocks that are due, merges, expires, deletes.
    pub(super) fn compact(&self) -> Result<(), StoreError> {
        let _compaction = self.compaction.lock().expect("no holder of the lock panics");
        let outcome = self.try_compact();
        let noted = outcome.as_ref().map(|_| ()).map_err(|error| describe(error));
        if outcome.is_err() {
            self.metrics.block_failures.inc();
        }
        if matches!(outcome, Err(StoreError::Damaged { .. })) {
            // What the head holds goes to the new file at the next attempt.
            self.changes.note_removal();
            self.blocks.start_over()?;
            self.note_lost_blocks();
        }
        self.metrics.note_blocks(noted, self.clock.now());
        outcome
    }

    fn try_compact(&self) -> Result<(), StoreError> {
        self.ensure_in_place(&mut self.log.lock().expect("no holder of the lock panics"), true)?;
        self.blocks.ensure_open()?;
        self.note_lost_blocks();
        // First of all room: a full disk then has some.
        self.expire()?;
        self.blocks.delete_retired()?;
        self.write_head().release(Timestamp(self.clock.now().0.saturating_sub(KEPT_MS)));
        self.merge_kept()?;
        // A window is merged when its last span is in blocks too: a block that comes later would stay alone.
        let closed_until = self.clock.now() - CUT_DELAY;
        self.cut()?;
        while let Some(bytes) = self.blocks.merge_one(self.settings.span_ms(), closed_until)? {
            self.metrics.merges.inc();
            self.note_block_written(bytes);
            self.blocks.delete_retired()?;
            self.expire()?;
        }
        Ok(())
    }

    /// What blocks may have lost, and memory has, goes to blocks once more.
    fn note_lost_blocks(&self) {
        if self.blocks.take_replaced() {
            self.write_head().forget_stored();
            self.changes.note_removal();
        }
    }

    /// Makes blocks of all spans that have ended, oldest first.
    fn cut(&self) -> Result<(), StoreError> {
        let span_ms = self.settings.span_ms();
        let Some((_, newest)) = self.read_head().time_span() else { return Ok(()) };
        // A clock that has fallen back must not keep blocks from being made.
        let now = self.clock.now().max(newest) - CUT_DELAY;
        let boundary = Timestamp(now.0.div_euclid(span_ms) * span_ms);
        let cut = self.read_head().cut();
        if cut >= boundary {
            return Ok(());
        }
        // What was imported is in blocks only, and so will be what was late for the cut before.
        let since = self.blocks.newest().map_or(Timestamp::MIN, |newest| Timestamp(newest.0.saturating_add(1)));
        let since = since.max(cut).max(Timestamp(now.0.saturating_sub(KEPT_MS)));
        while let Some(oldest) = self.oldest_unstored().filter(|oldest| *oldest < boundary) {
            let start = Timestamp(oldest.0.div_euclid(span_ms) * span_ms);
            self.cut_span(start, Timestamp(start.0 + span_ms), since)?;
            self.expire()?;
        }
        let mut head = self.write_head();
        head.set_cut(boundary);
        head.drop_ended(Timestamp(boundary.0.saturating_sub(span_ms / 2)));
        Ok(())
    }

    fn oldest_unstored(&self) -> Option<Timestamp> {
        self.read_head().oldest_unstored()
    }

    /// Makes one block of everything older than `until`, which the log holds durably first. What is not older than `since`
    /// stays in memory too.
    fn cut_span(&self, start: Timestamp, until: Timestamp, since: Timestamp) -> Result<(), StoreError> {
        let mut set = None;
        let flushed = self.flush_and(|head| set = Some(head.begin_cut(until)));
        let set = set.expect("the flush always gets to the head");
        let outcome = flushed.and_then(|(_, sequence)| {
            let stored = Stored { sequence, until };
            self.write_block(&set, start, stored).map(|bytes| (bytes, stored))
        });
        match &outcome {
            Ok(_) => self.write_head().finish_cut(set, since),
            Err(_) => self.write_head().abandon_cut(),
        }
        let (bytes, stored) = outcome?;
        self.log.lock().expect("no holder of the lock panics").log.recycle(stored);
        self.metrics.compactions.inc();
        self.note_block_written(bytes);
        Ok(())
    }

    fn write_block(&self, set: &CutSet, start: Timestamp, stored: Stored) -> Result<u64, StoreError> {
        let mut writer = BlockWriter::begin(&self.blocks, start, stored.until);
        for (group, view) in self.groups_of(set) {
            if let Err(error) = self.write_part(&mut writer, set, group, &view) {
                writer.abandon();
                return Err(error);
            }
        }
        writer.finish(&[], Some(stored))
    }

    /// The groups of a set, those that have nothing but strays included.
    pub(super) fn groups_of(&self, set: &CutSet) -> Vec<(GroupId, GroupView)> {
        let mut groups: HashMap<GroupId, GroupView, FixedState> = set.groups.iter().cloned().collect();
        let head = self.read_head();
        for id in set.strays.keys() {
            if let Some(record) = head.dictionary.record(*id) {
                groups.entry(record.group).or_default();
            }
        }
        let mut groups: Vec<(GroupId, GroupView)> = groups.into_iter().collect();
        groups.sort_unstable_by_key(|(group, _)| *group);
        groups
    }

    fn write_part(
        &self,
        writer: &mut BlockWriter<'_>,
        set: &CutSet,
        group: GroupId,
        view: &GroupView,
    ) -> Result<(), StoreError> {
        let (key, series) = self.series_of(set, group, view);
        let (labels, views): (Vec<Labels>, Vec<SeriesView>) = series.into_iter().unzip();
        let mut cache = SegmentCache::new(CUT_CACHE_BYTES);
        writer.add_part(&key, &labels, view.times(), |position, samples| {
            // Frames were checked when they were made: an error here is a fault of the memory itself.
            if let Err(error) = read_series(&views[position], view, TimeRange::ALL, &mut cache, samples) {
                tracing::error!(%error, labels = %labels[position], "memory is damaged: a series is cut short");
                self.metrics.corruptions.inc();
            }
            Ok(())
        })
    }

    /// A group's name and all its series in label order.
    pub(super) fn series_of(
        &self,
        set: &CutSet,
        group: GroupId,
        view: &GroupView,
    ) -> (String, Vec<(Labels, SeriesView)>) {
        let head = self.read_head();
        let is_of_group = |id: &SeriesId| head.dictionary.record(*id).is_some_and(|record| record.group == group);
        let mut ids: Vec<SeriesId> = view.series().chain(set.strays.keys().copied().filter(is_of_group)).collect();
        ids.sort_unstable();
        ids.dedup();
        let records = ids.iter().filter_map(|id| head.dictionary.record(*id));
        let mut series: Vec<(Labels, SeriesView)> = records
            .map(|record| {
                let stray = set.strays.get(&record.id).cloned().map(Box::new);
                let view = SeriesView { series: record.id, group, hint: record.column, stray };
                (head.dictionary.labels(record), view)
            })
            .collect();
        series.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        (head.group_key(group).map_or_else(String::new, |key| key.to_string()), series)
    }
}
