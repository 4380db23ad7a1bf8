//! When a group is evaluated: at fixed slots of wall time, spread over the interval by the group's
//! name, so that a restart keeps the rhythm and groups do not all run at once. Pure.
//! Source: `EvalTimestamp` in prometheus/rules/group.go (3.5); the slots are the same as Prometheus's.

use std::time::Duration;

use crate::model::{Labels, Timestamp};

const NANOS_PER_MILLI: i64 = 1_000_000;

/// The slots of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    interval_nanos: i64,
    offset_nanos: i64,
}

impl Slots {
    /// The slots of the group `name` in `file`. An interval below a millisecond counts as one.
    pub fn new(file: &str, name: &str, interval: Duration) -> Self {
        let nanos = i64::try_from(interval.as_nanos()).unwrap_or(i64::MAX).max(NANOS_PER_MILLI);
        let hash = Labels::from_sorted([("file", file), ("name", name)]).prometheus_hash();
        let offset = hash % nanos.unsigned_abs();
        Self { interval_nanos: nanos, offset_nanos: i64::try_from(offset).expect("smaller than the interval") }
    }

    /// The distance of two slots.
    pub fn interval(self) -> Duration {
        Duration::from_nanos(self.interval_nanos.unsigned_abs())
    }

    /// The last slot not after `now`.
    pub fn before(self, now: Timestamp) -> Timestamp {
        self.start_of(self.index(now))
    }

    /// The first slot after `now`.
    pub fn after(self, now: Timestamp) -> Timestamp {
        self.start_of(self.index(now) + 1)
    }

    /// How many slots lie between `from` and `to`, neither counted; 0 if `to` is not later.
    pub fn skipped(self, from: Timestamp, to: Timestamp) -> u64 {
        u64::try_from(self.index(to) - self.index(from) - 1).unwrap_or(0)
    }

    fn index(self, at: Timestamp) -> i64 {
        // The millisecond that a slot begins in belongs to the slot, hence its last nanosecond.
        let nanos = at.0.saturating_mul(NANOS_PER_MILLI).saturating_add(NANOS_PER_MILLI - 1);
        nanos.saturating_sub(self.offset_nanos).div_euclid(self.interval_nanos)
    }

    fn start_of(self, index: i64) -> Timestamp {
        let nanos = index.saturating_mul(self.interval_nanos).saturating_add(self.offset_nanos);
        Timestamp(nanos.div_euclid(NANOS_PER_MILLI))
    }
}

/// Which slot comes next, given what the clock says. It survives a clock that jumps: a jump ahead is
/// no missed slot, and a small step back does not evaluate a slot twice.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    slots: Slots,
    last: Option<Timestamp>,
}

impl Schedule {
    /// A schedule that has had no slot yet; the first is the one after now.
    pub fn new(slots: Slots) -> Self {
        Self { slots, last: None }
    }

    /// When the next slot is due; in the past if it has been missed.
    pub fn due(&self, now: Timestamp) -> Timestamp {
        match self.last {
            // The clock was set back by more than an interval: begin again from what it says now.
            Some(last) if last > now + self.slots.interval() => self.slots.after(now),
            Some(last) => self.slots.after(last),
            None => self.slots.after(now),
        }
    }

    /// Takes the slot that was `due`, or a later one if several have passed by `now`. `elapsed` is
    /// the monotonic time since the slot before was taken. Gives the slot and how many were missed.
    pub fn take(&mut self, due: Timestamp, now: Timestamp, elapsed: Duration) -> (Timestamp, u64) {
        let slot = self.slots.before(now).max(due);
        let passed = self.last.map_or(0, |last| self.slots.skipped(last, slot));
        let could_pass = (elapsed.as_nanos() / self.slots.interval().as_nanos()).saturating_sub(1);
        self.last = Some(slot);
        (slot, passed.min(u64::try_from(could_pass).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_steady_and_complete() {
        let slots = Slots::new("rules.yml", "node", Duration::from_secs(15));
        let now = Timestamp(1_700_000_000_123);
        let (before, after) = (slots.before(now), slots.after(now));
        assert!(before <= now && now < after, "{before} {now} {after}");
        assert_eq!(after.since(before), 15_000);
        assert_eq!(slots.before(before), before, "a slot belongs to itself");
        assert_eq!(slots.before(Timestamp(after.0 - 1)), before);
        assert_eq!(slots.after(before), after);
        assert_eq!(slots.skipped(before, after), 0);
        assert_eq!(slots.skipped(before, Timestamp(after.0 + 60_000)), 4);
        assert_eq!(slots.skipped(after, before), 0);
        let other = Slots::new("rules.yml", "other", Duration::from_secs(15));
        assert_ne!(other.before(now), before, "groups are spread");
    }

    #[test]
    fn the_schedule_survives_the_clock() {
        let slots = Slots { interval_nanos: 10 * 1_000_000_000, offset_nanos: 3 * 1_000_000_000 };
        let at = |seconds: i64| Timestamp(seconds * 1000);
        // Last slot, clock, seconds since the last slot was taken; expected: due, slot, missed.
        let cases = [
            ("first", None, 1000, 0, 1003, 1003, 0),
            ("steady", Some(1003), 1005, 10, 1013, 1013, 0),
            ("late within the slot", Some(1003), 1015, 12, 1013, 1013, 0),
            ("too slow", Some(1003), 1035, 32, 1013, 1033, 2),
            ("set ahead", Some(1003), 900_001, 10, 1013, 899_993, 0),
            ("set back a little", Some(1003), 1001, 10, 1013, 1013, 0),
            ("set back by far", Some(900_003), 1001, 10, 1003, 1003, 0),
        ];
        for (name, last, clock, elapsed, due, slot, missed) in cases {
            let mut schedule = Schedule { slots, last: last.map(at) };
            assert_eq!(schedule.due(at(clock)), at(due), "{name}");
            let taken = schedule.take(at(due), at(clock), Duration::from_secs(elapsed));
            assert_eq!(taken, (at(slot), missed), "{name}");
        }
    }
}
