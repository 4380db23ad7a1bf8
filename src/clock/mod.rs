//! Wall time. Everything that needs the time of day asks a [`Clock`], so that tests can set it.
//!
//! A board without a battery starts with a clock in the past. Such a clock is not believed: from
//! [`Clock::hold`] to [`Clock::settle`] the time of day is *provisional*, a start that is surely not too late plus
//! the monotonic time since. It goes on evenly, and by how much it was wrong is known in the end.
//!
//! Monotonic time (timeouts, intervals) comes from `tokio::time` and is not this module's business.

mod kernel;
mod steps;

pub use kernel::{KernelClock, read_kernel_clock};
pub use steps::Steps;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::model::Timestamp;

/// No clock is right that shows an earlier day: 2026-11-01, before this version. Raised with each release.
pub const RELEASED: Timestamp = Timestamp(1_793_491_200_000);

/// A source of wall time. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Source,
    provisional: RwLock<Option<Provisional>>,
    corrected_ms: AtomicI64,
}

#[derive(Debug)]
enum Source {
    System,
    Manual { now: AtomicI64, synchronised: AtomicBool },
}

/// Time that counts from an assumed start.
#[derive(Clone, Copy, Debug)]
struct Provisional {
    start: Timestamp,
    since: Instant,
}

impl Provisional {
    fn now(self) -> Timestamp {
        self.start + self.since.elapsed()
    }
}

/// By how much a span of provisional time was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Correction {
    /// The first provisional instant.
    pub from: Timestamp,
    /// The last provisional instant.
    pub until: Timestamp,
    /// What is to be added to those instants, in milliseconds.
    pub by_ms: i64,
}

impl Correction {
    /// The right time for one that the clock gave: provisional ones are moved, others are right.
    pub fn apply(&self, at: Timestamp) -> Timestamp {
        match (self.from..=self.until).contains(&at) {
            true => Timestamp(at.0.saturating_add(self.by_ms)),
            false => at,
        }
    }
}

impl Clock {
    /// The machine's own clock.
    pub fn system() -> Self {
        Self::over(Source::System)
    }

    /// A clock that stands at `now` until it is set, and that nothing keeps right.
    pub fn manual(now: Timestamp) -> Self {
        Self::over(Source::Manual { now: AtomicI64::new(now.0), synchronised: AtomicBool::new(false) })
    }

    fn over(source: Source) -> Self {
        Self(Arc::new(Inner { source, provisional: RwLock::new(None), corrected_ms: AtomicI64::new(0) }))
    }

    /// The time of day, or what stands for it until it is known.
    pub fn now(&self) -> Timestamp {
        self.provisional().map_or_else(|| self.wall(), Provisional::now)
    }

    /// What the machine says the time of day is, right or wrong.
    pub fn wall(&self) -> Timestamp {
        match &self.0.source {
            Source::System => system_now(),
            Source::Manual { now, .. } => Timestamp(now.load(Ordering::Relaxed)),
        }
    }

    /// Whether something (an NTP client, a hypervisor) keeps the machine's clock right.
    pub fn is_synchronised(&self) -> bool {
        match &self.0.source {
            Source::System => read_kernel_clock().is_some_and(|clock| clock.is_synchronised()),
            Source::Manual { synchronised, .. } => synchronised.load(Ordering::Relaxed),
        }
    }

    /// Stops believing the machine: the time of day is `start`, and counts from there.
    pub fn hold(&self, start: Timestamp) {
        let mut provisional = self.0.provisional.write().unwrap_or_else(PoisonError::into_inner);
        *provisional = Some(Provisional { start, since: Instant::now() });
    }

    /// Whether the time of day is provisional.
    pub fn is_held(&self) -> bool {
        self.provisional().is_some()
    }

    /// Whether the machine's clock may be believed again: it is kept right, or it has caught up with the provisional time.
    pub fn can_settle(&self) -> bool {
        self.is_synchronised() || self.provisional().is_none_or(|provisional| self.wall() >= provisional.now())
    }

    /// Believes the machine again. Gives how wrong the provisional time was, `None` if there was none.
    pub fn settle(&self) -> Option<Correction> {
        let mut provisional = self.0.provisional.write().unwrap_or_else(PoisonError::into_inner);
        let held = provisional.take()?;
        let until = held.now();
        let by_ms = self.wall().since(until);
        self.0.corrected_ms.fetch_add(by_ms, Ordering::Relaxed);
        Some(Correction { from: held.start, until, by_ms })
    }

    /// All corrections so far, in milliseconds: whoever remembers instants adds what has come since it remembered.
    pub fn corrected_ms(&self) -> i64 {
        self.0.corrected_ms.load(Ordering::Relaxed)
    }

    /// Sets a manual clock; the system's clock is left alone.
    pub fn set(&self, to: Timestamp) {
        if let Source::Manual { now, .. } = &self.0.source {
            now.store(to.0, Ordering::Relaxed);
        }
    }

    /// Says of a manual clock that something keeps it right.
    pub fn set_synchronised(&self) {
        if let Source::Manual { synchronised, .. } = &self.0.source {
            synchronised.store(true, Ordering::Relaxed);
        }
    }

    fn provisional(&self) -> Option<Provisional> {
        *self.0.provisional.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
fn system_now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn provisional_time_goes_on_and_is_corrected() {
        let clock = Clock::manual(Timestamp(0));
        assert!(!clock.is_held() && clock.now() == Timestamp(0));
        clock.hold(Timestamp(100_000));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(clock.now(), Timestamp(105_000), "the monotonic clock moves it, not the machine's");
        assert!(!clock.can_settle());
        clock.set(Timestamp(105_000));
        assert!(clock.can_settle(), "the machine's clock has caught up");

        clock.set(Timestamp(7_000));
        clock.set_synchronised();
        assert!(clock.can_settle(), "a clock that is kept right is believed whatever it says");
        clock.set(Timestamp(900_000));
        let correction = clock.settle().expect("the time was provisional");
        assert_eq!(correction, Correction { from: Timestamp(100_000), until: Timestamp(105_000), by_ms: 795_000 });
        assert_eq!((clock.now(), clock.corrected_ms()), (Timestamp(900_000), 795_000));
        assert_eq!(clock.settle(), None);
        let moved = [99_999, 100_000, 105_000, 105_001].map(|at| correction.apply(Timestamp(at)).0);
        assert_eq!(moved, [99_999, 895_000, 900_000, 105_001]);
    }
}
