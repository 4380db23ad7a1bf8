//! How long to wait before the next try: longer after each failure, never the same for all.
//!
//! Pure but for the seed of its jitter: many boxes that lost the same server must not come back at
//! the same moment.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Waits that double from a first one to a longest one.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
    seed: u64,
}

impl Backoff {
    /// Waits between `first` and `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        // The standard library's hash keys are the one source of randomness that needs no crate.
        let seed = RandomState::new().hash_one(0_u8);
        Self { first, longest, failures: 0, seed }
    }

    /// The wait after one more failure: between half of the present length and all of it.
    pub fn next_wait(&mut self) -> Duration {
        let doublings = self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        let full = (self.first * 2_u32.pow(doublings)).min(self.longest);
        full.mul_f64(0.5 + 0.5 * self.fraction())
    }

    /// After a success the next wait is the first one again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// A number in `0..1`, evenly spread (the splitmix64 generator).
    fn fraction(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_bound_and_differ() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        for full in [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0] {
            let wait = backoff.next_wait().as_secs_f64();
            assert!((full * 0.5..=full).contains(&wait), "{wait} of {full}");
        }
        backoff.reset();
        assert!(backoff.next_wait() <= Duration::from_secs(1));
        let waits: Vec<Duration> =
            (0..4).map(|_| Backoff::new(Duration::from_secs(1), Duration::MAX).next_wait()).collect();
        assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
    }
}
