//! A sequence of choices: drawn from a seed, or replayed and shortened to find the smallest failing case.

/// Answers "which of n?" again and again.
pub struct Choices {
    taken: Vec<u32>,
    position: usize,
    /// The state of the generator; `None` replays only, and answers 0 beyond the end.
    state: Option<u64>,
}

impl Choices {
    /// Draws from a seed.
    pub fn drawn(seed: u64) -> Self {
        Self { taken: Vec::new(), position: 0, state: Some(seed ^ 0x5851_f42d_4c95_7f2d) }
    }

    /// Replays choices; the first of the alternatives is taken beyond their end.
    pub fn replayed(taken: Vec<u32>) -> Self {
        Self { taken, position: 0, state: None }
    }

    /// A number below `count`.
    pub fn below(&mut self, count: usize) -> usize {
        let choice = match (self.taken.get(self.position), self.state.as_mut()) {
            (Some(choice), _) => *choice,
            (None, None) => 0,
            (None, Some(state)) => {
                let choice = next(state);
                self.taken.push(choice);
                choice
            }
        };
        self.position += 1;
        choice as usize % count
    }

    /// One of `items`; the first is the simplest.
    pub fn one_of<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }

    /// True in `part` of a hundred cases.
    pub fn percent(&mut self, part: usize) -> bool {
        self.below(100) >= 100 - part
    }

    /// What was chosen so far.
    pub fn taken(&self) -> &[u32] {
        &self.taken[..self.position.min(self.taken.len())]
    }
}

/// SplitMix64.
fn next(state: &mut u64) -> u32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 32) as u32
}

/// The shortest and smallest choices found that still fail.
pub fn shrink(taken: &[u32], attempts_max: usize, mut fails: impl FnMut(&[u32]) -> bool) -> Vec<u32> {
    let mut best = taken.to_vec();
    let mut attempts = 0;
    let mut try_candidate = |candidate: Vec<u32>, best: &mut Vec<u32>| {
        attempts += 1;
        let fails = attempts <= attempts_max && fails(&candidate);
        if fails {
            *best = candidate;
        }
        fails
    };
    let mut length = best.len().next_power_of_two();
    while length > 0 {
        let mut start = 0;
        while start < best.len() {
            let end = (start + length).min(best.len());
            let shorter = [&best[..start], &best[end..]].concat();
            let zeroed = [&best[..start], &vec![0; end - start], &best[end..]].concat();
            let is_zero = best[start..end].iter().all(|choice| *choice == 0);
            if !try_candidate(shorter, &mut best) && (is_zero || !try_candidate(zeroed, &mut best)) {
                start += length;
            }
        }
        length /= 2;
    }
    best
}
