//! Taking samples from outside, straight into blocks: history goes behind what a store has already.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::DiskStore;
use crate::model::{Labels, Timestamp};
use crate::store::blocks::BlockWriter;
use crate::store::{Samples, StoreError};

/// A time that fewer than one in this many series have is no common time of a group: it would cost every
/// other series a place in its column.
const COMMON_SHARE: usize = 4;

/// What is stored together: a target, as far as labels tell.
#[derive(Debug, Default)]
pub struct ImportGroup {
    /// Its name.
    pub key: String,
    /// Its series in label order, each with its samples in time order.
    pub series: Vec<(Labels, Samples)>,
}

impl DiskStore {
    /// Writes one block. `note` is kept with it in one stroke, so that an import that is killed knows what it has
    /// done. Where the store has a sample at the same time already, an older block's stays. Gives the bytes.
    pub fn import_block(
        &self,
        start: Timestamp,
        until: Timestamp,
        groups: &[ImportGroup],
        note: (&str, i64),
    ) -> Result<u64, StoreError> {
        let _compaction = self.shared.compaction.lock().expect("no holder of the lock panics");
        let mut writer = BlockWriter::begin(&self.shared.blocks, start, until);
        for group in groups {
            let labels: Vec<Labels> = group.series.iter().map(|(labels, _)| labels.clone()).collect();
            let added = writer.add_part(&group.key, &labels, common_times(&group.series), |position, samples| {
                let found = &group.series[position].1;
                samples.timestamps.extend_from_slice(&found.timestamps);
                samples.values.extend_from_slice(&found.values);
                Ok(())
            });
            if let Err(error) = added {
                writer.abandon();
                return Err(error);
            }
        }
        writer.note(note.0, note.1);
        self.shared.write_head().note_imported();
        let bytes = writer.finish(&[], None)?;
        self.shared.note_block_written(bytes);
        Ok(bytes)
    }

    /// A number that [`Self::import_block`] has noted.
    pub fn noted(&self, name: &str) -> Result<Option<i64>, StoreError> {
        self.shared.blocks.noted(name)
    }
}

fn common_times(series: &[(Labels, Samples)]) -> Vec<Timestamp> {
    let mut counts: HashMap<Timestamp, usize, FixedState> = HashMap::default();
    for at in series.iter().flat_map(|(_, samples)| &samples.timestamps) {
        *counts.entry(*at).or_default() += 1;
    }
    let mut times: Vec<Timestamp> =
        counts.into_iter().filter(|(_, count)| count * COMMON_SHARE >= series.len()).map(|(at, _)| at).collect();
    times.sort_unstable();
    times
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::model::{Matcher, TimeRange};
    use crate::store::disk::tests::{START, open, read_all, scrape};

    fn group(offset_ms: i64, count: i64) -> ImportGroup {
        let series = (0..6).map(|index| {
            let mut samples = Samples::default();
            // The last one keeps its own time.
            let shift = if index == 5 { 7 } else { 0 };
            (0..count).for_each(|row| samples.push(Timestamp(START + offset_ms + row * 15_000 + shift), row as f64));
            (Labels::from_pairs([("__name__", "imported"), ("index", &index.to_string())]), samples)
        });
        ImportGroup { key: "import".to_owned(), series: series.collect() }
    }

    #[test]
    fn what_is_imported_after_a_block_was_made_is_read_at_once() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let clock = Clock::manual(Timestamp(START));
        let store = open(folder.path(), &clock);
        scrape(&*store, 0, START - 1, &[(0, 1.0)]);
        clock.set(Timestamp(START + 60_000));
        store.maintain().expect("the disk works");
        assert_eq!(store.shared.blocks.list().len(), 1);
        let until = Timestamp(START + 7_200_000);
        store.import_block(Timestamp(START), until, &[group(60_000, 1)], ("import:1", 1)).expect("the disk works");
        let recent = TimeRange { start: Timestamp(START + 30_000), end: until };
        assert_eq!(read_all(&*store, &[], recent).len(), 6);
    }

    #[test]
    fn imported_blocks_are_read_with_the_rest_and_noted_once() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let clock = Clock::manual(Timestamp(START));
        let store = open(folder.path(), &clock);
        scrape(&*store, 0, START, &[(0, 1.0)]);
        let day = 86_400_000;
        let (start, until) = (Timestamp(START - day), Timestamp(START - day / 2));
        let groups = [group(-day, 100)];
        store.import_block(start, until, &groups, ("import:1", 7)).expect("the disk works");
        // Again, as a careless user would: no sample is there twice.
        store.import_block(start, until, &groups, ("import:1", 8)).expect("the disk works");
        drop(store);
        let store = open(folder.path(), &clock);
        assert_eq!((store.noted("import:1").ok(), store.noted("import:2").ok()), (Some(Some(8)), Some(None)));
        let found = read_all(&*store, &[Matcher::equal("__name__", "imported")], TimeRange::ALL);
        assert_eq!(found.iter().map(|(_, samples)| samples.len()).collect::<Vec<_>>(), [100; 6]);
        assert_eq!(found[5].1[1], (START - day + 15_007, 1f64.to_bits()));
        assert_eq!(read_all(&*store, &[Matcher::equal("__name__", "metric_0")], TimeRange::ALL).len(), 1);
    }

    /// Memory has all that is newer than a block that was just made, save what was imported.
    #[test]
    fn what_is_imported_beyond_the_next_block_is_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let span = 2 * 3_600_000;
        let clock = Clock::manual(Timestamp(START + span));
        let store = open(folder.path(), &clock);
        store
            .import_block(Timestamp(START + span), Timestamp(START + 2 * span), &[group(span, 20)], ("import:1", 1))
            .expect("the disk works");
        for before_ms in [60_000, 0] {
            scrape(&*store, 0, START + span - before_ms, &[(0, 1.0)]);
        }
        clock.set(Timestamp(START + span + 61_000));
        store.maintain().expect("the disk works");
        assert_eq!(store.shared.blocks.list().len(), 2);
        let range = TimeRange { start: Timestamp(START + span), end: Timestamp::MAX };
        let found = read_all(&*store, &[Matcher::equal("__name__", "imported")], range);
        assert_eq!(found.iter().map(|(_, samples)| samples.len()).collect::<Vec<_>>(), [20; 6]);
    }
}
