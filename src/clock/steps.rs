//! Steps of the machine's clock: where wall time and monotonic time part. Pure.

use std::time::Duration;

use crate::model::Timestamp;

/// Less is slewing, or a look that came late.
const STEP_MIN_MS: i64 = 2_000;

/// Looks at both clocks again and again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Steps {
    last: Option<(Timestamp, Duration)>,
}

impl Steps {
    /// Takes what the clocks say now, `monotonic` counting from anywhere; gives the step since the last look, if
    /// any, in milliseconds: negative backwards.
    pub fn look(&mut self, wall: Timestamp, monotonic: Duration) -> Option<i64> {
        let (last_wall, last_monotonic) = self.last.replace((wall, monotonic))?;
        let passed = i64::try_from(monotonic.saturating_sub(last_monotonic).as_millis()).unwrap_or(i64::MAX);
        let by_ms = wall.since(last_wall).saturating_sub(passed);
        (by_ms.saturating_abs() >= STEP_MIN_MS).then_some(by_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_monotonic_time_does_not_explain_is_a_step() {
        let mut steps = Steps::default();
        // Wall and monotonic milliseconds at each look; the step expected.
        let looks = [
            (5_000, 0, None),
            (6_000, 1_000, None),
            (7_900, 2_000, None),
            (60_000, 54_100, None),
            (90_000, 55_000, Some(29_100)),
            (91_000, 56_000, None),
            (80_000, 57_000, Some(-12_000)),
            (i64::MAX, 58_000, Some(i64::MAX - 81_000)),
            (0, 59_000, Some(-i64::MAX - 1)),
        ];
        for (wall, monotonic, by_ms) in looks {
            let seen = steps.look(Timestamp(wall), Duration::from_millis(monotonic));
            assert_eq!(seen, by_ms, "{wall}");
        }
    }
}
