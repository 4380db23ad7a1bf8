//! The bounds on one query: samples and memory held at a time, time, and whether anybody still waits.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::promql::QueryError;
use crate::promql::memory::Memory;

/// Samples and steps between two looks at the clock: well under a millisecond of work.
const CHECK_WORK: u64 = 1 << 12;
/// What a series counts as besides its samples and steps.
const SERIES_WORK: u64 = 1 << 6;

/// Counts samples and watches the clock for one query.
pub(super) struct Budget {
    samples_max: u64,
    memory: Memory,
    held: Cell<u64>,
    peak: Cell<u64>,
    read: Cell<u64>,
    /// Work since the last look at the clock.
    unchecked: Cell<u64>,
    /// When to give up.
    pub deadline: Option<Instant>,
    /// Set by whoever no longer wants the answer.
    pub cancelled: Option<Arc<AtomicBool>>,
}

impl Budget {
    pub fn new(
        samples_max: u64,
        memory: Memory,
        deadline: Option<Instant>,
        cancelled: Option<Arc<AtomicBool>>,
    ) -> Self {
        let [held, peak, read, unchecked] = [const { Cell::new(0) }; 4];
        Self { samples_max, memory, held, peak, read, unchecked, deadline, cancelled }
    }

    /// Samples that were looked at so far.
    pub fn samples_read(&self) -> u64 {
        self.read.get()
    }

    /// The most samples held at a time so far.
    pub fn peak_samples(&self) -> u64 {
        self.peak.get()
    }

    /// Counts samples as looked at.
    pub fn count_read(&self, samples: u64) {
        self.read.set(self.read.get().saturating_add(samples));
    }

    /// Counts from the beginning, for another way to the same answer. The peak stays.
    pub fn restart(&self) {
        self.read.set(0);
    }

    /// Fails once the time is up or nobody waits any more. Called between series.
    pub fn check_time(&self) -> Result<(), QueryError> {
        if self.cancelled.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            return Err(QueryError::Cancelled);
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(QueryError::Timeout);
        }
        Ok(())
    }

    /// The same before a series of so many samples and steps, as often as is worth a look at the clock.
    pub fn check_time_before(&self, work: u64) -> Result<(), QueryError> {
        let unchecked = self.unchecked.get().saturating_add(work).saturating_add(SERIES_WORK);
        let is_due = unchecked >= CHECK_WORK;
        self.unchecked.set(if is_due { 0 } else { unchecked });
        if is_due { self.check_time() } else { Ok(()) }
    }

    /// Holds samples until they are given back.
    pub fn keep(&self, samples: u64) -> Result<(), QueryError> {
        self.reserve(samples).map(std::mem::forget)
    }

    /// Gives back samples that were kept.
    pub fn give_back(&self, samples: u64) {
        drop(Reservation { budget: self, samples });
    }

    /// Starts to hold samples; they are given back when the reservation is dropped.
    pub fn reserve(&self, samples: u64) -> Result<Reservation<'_>, QueryError> {
        let mut reservation = Reservation { budget: self, samples: 0 };
        reservation.grow(samples)?;
        Ok(reservation)
    }
}

/// Samples that are held.
pub(super) struct Reservation<'b> {
    budget: &'b Budget,
    samples: u64,
}

impl Reservation<'_> {
    /// Holds more samples.
    pub fn grow(&mut self, samples: u64) -> Result<(), QueryError> {
        let held = self.budget.held.get().saturating_add(samples);
        if held > self.budget.samples_max {
            return Err(QueryError::TooManySamples { max: self.budget.samples_max });
        }
        self.budget.memory.take(samples, held)?;
        self.samples += samples;
        self.budget.held.set(held);
        self.budget.peak.set(self.budget.peak.get().max(held));
        Ok(())
    }

    /// Holds exactly this many samples from now on.
    pub fn resize(&mut self, samples: u64) -> Result<(), QueryError> {
        if samples == self.samples {
            return Ok(());
        }
        self.release();
        self.grow(samples)
    }

    fn release(&mut self) {
        self.budget.memory.give_back(self.samples);
        self.budget.held.set(self.budget.held.get() - self.samples);
        self.samples = 0;
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.release();
    }
}
