//! What is left of a column's differences once predictions are taken off: by earlier columns of the same
//! segment, and by the column's own past.
//!
//! A histogram's buckets rise together, `_count` is the last bucket, one counter is the sum of two others:
//! what a column shares with earlier ones is taken off first (*references*), then what its own course
//! tells (*order*), then what all that is left have in common (*unit*).

use super::numbers::{BIT, cost};

/// References of one column at most.
pub(super) const REFERENCES_MAX: usize = 3;
/// Columns that a reader of one column decodes at most, itself and all that it refers to included.
pub(super) const CHAIN_MAX: u32 = 8;
/// What a reference has to win.
const REFERENCE_COST: u32 = 14 * BIT;

/// How a column's own past predicts its next difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Not at all: the difference itself is small.
    First,
    /// As the last difference.
    Second,
    /// As the average of the last ones, weighing recent ones more.
    Average,
}

/// An earlier column whose differences are taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// How many columns before.
    pub distance: u32,
    /// Added instead.
    pub is_negative: bool,
}

/// A column's differences, taken apart.
#[derive(Debug)]
pub(super) struct Residual {
    pub references: Vec<Reference>,
    pub order: Order,
    pub unit: i64,
    /// The first difference in units, if the order is not the first one; `rest` begins behind it then.
    pub lead: i64,
    pub rest: Vec<i64>,
}

/// A column that later ones may refer to.
#[derive(Debug)]
pub(super) struct Candidate {
    pub index: usize,
    /// Only columns with the same rows can refer to one another.
    pub presence: u32,
    pub differences: Vec<i64>,
    pub unit: u64,
    /// Columns that decoding it takes.
    pub chain: u32,
    hash: u64,
}

impl Candidate {
    /// A column with these differences.
    pub fn new(index: usize, presence: u32, differences: Vec<i64>) -> Self {
        let unit = common_unit(&differences);
        let hash = differences.iter().fold(u64::from(presence), |hash, difference| {
            (hash ^ *difference as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
        });
        Self { index, presence, differences, unit, chain: 1, hash }
    }
}

/// Takes a column apart that has at least one difference; `earlier` are the varying columns before it, the
/// last `candidates_max` of which it may refer to. Sets the column's chain.
pub(super) fn take_apart(column: &mut Candidate, earlier: &[Candidate], candidates_max: usize) -> Residual {
    let mut left = column.differences.clone();
    let references = take_off_earlier(column, earlier, candidates_max, &mut left);
    Residual { references, ..own_course(left) }
}

/// The same of at least one difference where no other column is looked at.
pub(super) fn own_course(mut left: Vec<i64>) -> Residual {
    let unit = common_unit(&left);
    if unit > 1 {
        left.iter_mut().for_each(|difference| *difference /= unit as i64);
    }
    let order = best_order(&left);
    let mut lead = 0;
    if order != Order::First {
        lead = left[0];
        predict(order, &mut left);
        left.remove(0);
    }
    Residual { references: Vec::new(), order, unit: unit as i64, lead, rest: left }
}

/// Undoes the order: the differences in units.
pub(super) fn undo_order(order: Order, differences: &mut [i64]) {
    let Some(&first) = differences.first() else { return };
    match order {
        Order::First => {}
        Order::Second => {
            let mut last = 0i64;
            for difference in differences {
                last = last.wrapping_add(*difference);
                *difference = last;
            }
        }
        Order::Average => {
            let mut average = Average::new(first);
            for difference in &mut differences[1..] {
                *difference = difference.wrapping_add(average.value());
                average.push(*difference);
            }
        }
    }
}

fn predict(order: Order, differences: &mut [i64]) {
    let first = differences[0];
    match order {
        Order::First => {}
        Order::Second => {
            let mut last = first;
            for difference in &mut differences[1..] {
                (last, *difference) = (*difference, difference.wrapping_sub(last));
            }
        }
        Order::Average => {
            let mut average = Average::new(first);
            for difference in &mut differences[1..] {
                let predicted = average.value();
                average.push(*difference);
                *difference = difference.wrapping_sub(predicted);
            }
        }
    }
}

/// A running average with four binary digits behind the point.
struct Average(i64);

impl Average {
    /// Larger differences predict nothing anyway, and must not overflow.
    const LIMIT: i64 = 1 << 56;

    fn new(first: i64) -> Self {
        Self(first.clamp(-Self::LIMIT, Self::LIMIT) << 4)
    }

    #[inline]
    fn value(&self) -> i64 {
        self.0 >> 4
    }

    #[inline]
    fn push(&mut self, difference: i64) {
        self.0 += ((difference.clamp(-Self::LIMIT, Self::LIMIT) << 4) - self.0) >> 3;
    }
}

fn best_order(differences: &[i64]) -> Order {
    if differences.len() < 3 {
        return Order::First;
    }
    let (mut first, mut second, mut averaged) = (0u32, 0u32, 0u32);
    let (mut last, mut average) = (differences[0], Average::new(differences[0]));
    for &difference in &differences[1..] {
        first += cost(difference);
        second += cost(difference.wrapping_sub(last));
        averaged += cost(difference.wrapping_sub(average.value()));
        last = difference;
        average.push(difference);
    }
    // A tie goes to the lower order, whose bytes repeat more.
    if averaged + 16 * BIT < first.min(second) {
        Order::Average
    } else if second < first - first / 50 {
        Order::Second
    } else {
        Order::First
    }
}

/// Takes off what earlier columns tell, greedily.
fn take_off_earlier(
    column: &mut Candidate,
    earlier: &[Candidate],
    candidates_max: usize,
    left: &mut Vec<i64>,
) -> Vec<Reference> {
    let fits = |candidate: &&Candidate| {
        candidate.presence == column.presence && candidate.unit.is_multiple_of(column.unit.max(1))
    };
    let mut references = Vec::new();
    let own_cost = total(left, column.unit);
    if own_cost < REFERENCE_COST + left.len() as u32 * cost(0) {
        return references;
    }
    let twin = earlier.iter().find(|candidate| {
        candidate.hash == column.hash
            && candidate.presence == column.presence
            && candidate.chain < CHAIN_MAX
            && candidate.differences == column.differences
    });
    if let Some(twin) = twin {
        column.chain = 1 + twin.chain;
        left.fill(0);
        return vec![Reference { distance: (column.index - twin.index) as u32, is_negative: false }];
    }
    let best_own = own_cost.min(own_order_cost(left, column.unit));
    let candidates: Vec<&Candidate> = earlier.iter().rev().filter(fits).take(candidates_max).collect();
    let (mut current, mut trial, mut chain) = (own_cost, left.clone(), 1);
    while references.len() < REFERENCES_MAX {
        let Some((best, candidate, is_negative)) = best_reference(&trial, &candidates, column.unit, current, chain)
        else {
            break;
        };
        current = best;
        chain += candidate.chain;
        take_off(&mut trial, &candidate.differences, is_negative);
        references.push(Reference { distance: (column.index - candidate.index) as u32, is_negative });
    }
    if current + REFERENCE_COST.max(best_own / 25) < best_own {
        column.chain = chain;
        *left = trial;
        references
    } else {
        Vec::new()
    }
}

fn best_reference<'a>(
    left: &[i64],
    candidates: &[&'a Candidate],
    unit: u64,
    current: u32,
    chain: u32,
) -> Option<(u32, &'a Candidate, bool)> {
    let mut best = current.checked_sub(REFERENCE_COST)?;
    let mut found = None;
    let affordable = candidates.iter().filter(|candidate| candidate.chain + chain <= CHAIN_MAX);
    for candidate in affordable {
        for is_negative in [false, true] {
            if let Some(cost) = cost_without(left, &candidate.differences, is_negative, unit, best) {
                best = cost;
                found = Some((cost, *candidate, is_negative));
            }
        }
    }
    found
}

/// What would be left after a reference, if it is less than `limit`.
fn cost_without(left: &[i64], reference: &[i64], is_negative: bool, unit: u64, limit: u32) -> Option<u32> {
    let scale = unit.max(1).ilog2();
    let mut sum = 0;
    for (left, reference) in left.chunks(16).zip(reference.chunks(16)) {
        for (left, reference) in left.iter().zip(reference) {
            let rest = if is_negative { left.wrapping_add(*reference) } else { left.wrapping_sub(*reference) };
            sum += cost(rest >> scale);
        }
        if sum >= limit {
            return None;
        }
    }
    Some(sum)
}

/// Takes the differences of an earlier column off.
fn take_off(left: &mut [i64], reference: &[i64], is_negative: bool) {
    add(left, reference, !is_negative);
}

/// Adds the differences of an earlier column, or takes them off.
pub(super) fn add(differences: &mut [i64], reference: &[i64], is_negative: bool) {
    let pairs = differences.iter_mut().zip(reference);
    if is_negative {
        pairs.for_each(|(difference, reference)| *difference = difference.wrapping_sub(*reference));
    } else {
        pairs.for_each(|(difference, reference)| *difference = difference.wrapping_add(*reference));
    }
}

fn total(differences: &[i64], unit: u64) -> u32 {
    let scale = unit.max(1).ilog2();
    differences.iter().map(|difference| cost(difference >> scale)).sum()
}

fn own_order_cost(differences: &[i64], unit: u64) -> u32 {
    let scale = unit.max(1).ilog2();
    let mut last = differences[0];
    let mut sum = 0;
    for difference in differences {
        sum += cost(difference.wrapping_sub(last) >> scale);
        last = *difference;
    }
    sum
}

/// What all differences are multiples of; 1 if there is nothing.
fn common_unit(differences: &[i64]) -> u64 {
    let mut unit = 0u64;
    for difference in differences {
        // In this order one division says that the unit stays.
        unit = common_divisor(difference.unsigned_abs(), unit);
        if unit == 1 {
            return 1;
        }
    }
    // 2^63 is the one unit that does not fit a signed integer.
    if unit == 0 || unit > i64::MAX as u64 { 1 } else { unit }
}

fn common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
