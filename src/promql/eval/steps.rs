//! The instants at which an expression is evaluated.

/// Equally spaced instants, at least one. Milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::promql) struct Steps {
    /// The first instant.
    pub start: i64,
    /// The distance, positive.
    pub step: i64,
    /// How many.
    pub count: usize,
}

impl Steps {
    /// From `start` up to `end`, which is a step only if it happens to be one. `None` where `end` is
    /// before `start`, or where there are more steps than an address can count.
    pub fn between(start: i64, end: i64, step: i64) -> Option<Self> {
        let span = end.checked_sub(start).filter(|span| *span >= 0)?;
        let count = usize::try_from(span / step.max(1)).ok()?.checked_add(1)?;
        Some(Self { start, step: step.max(1), count })
    }

    /// One instant.
    pub fn single(at: i64) -> Self {
        Self { start: at, step: 1, count: 1 }
    }

    /// The instant of a step.
    pub fn at(self, index: usize) -> i64 {
        self.start + self.step * index as i64
    }

    /// The last instant.
    pub fn end(self) -> i64 {
        self.at(self.count - 1)
    }
}

/// Where a selector looks at each step: the step's own time, or a fixed one, minus an offset.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference {
    /// The time of `@`, if any.
    pub fixed: Option<i64>,
    /// Milliseconds back, possibly negative.
    pub offset: i64,
}

impl Reference {
    /// The time looked at from a step at `at`.
    pub fn at(self, at: i64) -> i64 {
        self.fixed.unwrap_or(at).saturating_sub(self.offset)
    }

    /// The earliest and the latest time looked at.
    pub fn bounds(self, steps: Steps) -> (i64, i64) {
        (self.at(steps.start), self.at(steps.end()))
    }
}
