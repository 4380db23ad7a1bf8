//! Which times are settled, and what has changed nevertheless: what a cache of results must know.
//!
//! Scrapes and rules append around now. Times a minute back are settled: hardly anything is added
//! there any more. What still is (a late sample, a rule that writes into the past) is noted with its
//! time, and so is everything that takes samples away. Whoever took a [`StoreMark`] before reading can
//! ask later from which time on what was read is no longer so.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use super::StoreMark;
use crate::model::Timestamp;

/// Longer than a scrape may take by default; slower ones are noted as late, which costs no more than
/// a cache.
const SETTLE_TIME: Duration = Duration::from_secs(60);
/// A clock that falls back by more begins anew: otherwise all that it brings would be late.
const CLOCK_STEP_MAX_MS: i64 = 3_600_000;
/// Changes remembered one by one; older ones are taken together.
const CHANGES_MAX: usize = 256;

/// The changes of one store, for as long as the process lives.
pub(super) struct Changes {
    store: u64,
    state: Mutex<State>,
}

struct State {
    settled: Timestamp,
    sequence: u64,
    /// Sequence and time: of two changes the older one is dropped if the newer one reaches further
    /// back, so that times rise.
    changes: VecDeque<(u64, Timestamp)>,
}

impl Changes {
    /// Of a store with this number, which no other in the process has.
    pub fn new(store: u64) -> Self {
        let state = State { settled: Timestamp::MIN, sequence: 0, changes: VecDeque::new() };
        Self { store, state: Mutex::new(state) }
    }

    /// Notes an append whose oldest sample has this time. To be called after the samples can be read.
    pub fn note_append(&self, now: Timestamp, oldest: Timestamp) {
        let mut state = self.state.lock().expect("no holder of the lock panics");
        state.advance(now);
        if oldest <= state.settled {
            state.record(oldest);
        }
    }

    /// Notes that samples of any time were taken away.
    pub fn note_removal(&self) {
        self.state.lock().expect("no holder of the lock panics").record(Timestamp::MIN);
    }

    /// Where the store stands. To be called before reading.
    pub fn mark(&self, now: Timestamp) -> StoreMark {
        let mut state = self.state.lock().expect("no holder of the lock panics");
        state.advance(now);
        StoreMark { store: self.store, sequence: state.sequence, settled: state.settled }
    }

    /// The oldest time at which something settled has changed since; [`Timestamp::MAX`] if nothing has.
    pub fn changed_since(&self, mark: &StoreMark) -> Timestamp {
        if mark.store != self.store {
            return Timestamp::MIN;
        }
        let state = self.state.lock().expect("no holder of the lock panics");
        let newer = state.changes.iter().find(|(sequence, _)| *sequence > mark.sequence);
        newer.map_or(Timestamp::MAX, |(_, oldest)| *oldest)
    }
}

impl State {
    fn advance(&mut self, now: Timestamp) {
        let settled = now - SETTLE_TIME;
        if settled > self.settled {
            self.settled = settled;
        } else if self.settled.0.saturating_sub(settled.0) > CLOCK_STEP_MAX_MS {
            self.settled = settled;
            self.record(Timestamp::MIN);
        }
    }

    fn record(&mut self, oldest: Timestamp) {
        self.sequence += 1;
        while self.changes.back().is_some_and(|(_, time)| *time >= oldest) {
            self.changes.pop_back();
        }
        self.changes.push_back((self.sequence, oldest));
        if self.changes.len() > CHANGES_MAX {
            // Whoever has not seen the second one has to take it for the first.
            let (_, oldest) = self.changes.pop_front().expect("there are many");
            self.changes[0].1 = oldest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn at(minutes: i64) -> Timestamp {
        Timestamp(minutes * MINUTE)
    }

    #[test]
    fn late_samples_are_told_and_timely_ones_are_not() {
        let changes = Changes::new(1);
        let mark = changes.mark(at(100));
        assert_eq!(mark.settled, at(99));
        changes.note_append(at(101), at(101));
        assert_eq!(changes.changed_since(&mark), Timestamp::MAX);
        changes.note_append(at(101), at(90));
        changes.note_append(at(101), at(95));
        assert_eq!(changes.changed_since(&mark), at(90));
        let later = changes.mark(at(102));
        assert_eq!(changes.changed_since(&later), Timestamp::MAX);
        changes.note_append(at(102), at(97));
        assert_eq!((changes.changed_since(&mark), changes.changed_since(&later)), (at(90), at(97)));
        changes.note_removal();
        assert_eq!(changes.changed_since(&later), Timestamp::MIN);
        assert_eq!(Changes::new(2).changed_since(&later), Timestamp::MIN);
    }

    #[test]
    fn a_clock_that_falls_back_invalidates_once() {
        let changes = Changes::new(1);
        let mark = changes.mark(at(1000));
        changes.note_append(at(999), at(999));
        assert_eq!(changes.changed_since(&mark), at(999), "settled before");
        changes.note_append(at(500), at(500));
        assert_eq!(changes.changed_since(&mark), Timestamp::MIN);
        let mark = changes.mark(at(501));
        assert_eq!(mark.settled, at(500));
        changes.note_append(at(501), at(501));
        assert_eq!(changes.changed_since(&mark), Timestamp::MAX);
    }

    #[test]
    fn many_changes_are_taken_together_without_losing_any() {
        let changes = Changes::new(1);
        let mark = changes.mark(at(10_000));
        for minute in 0..1_000 {
            changes.note_append(at(10_000), at(minute));
            assert_eq!(changes.changed_since(&mark), at(0));
        }
    }
}
