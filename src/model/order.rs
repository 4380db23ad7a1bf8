//! Sorting where code size matters more than speed: lists that are shown, read from a file, or short.

use std::cmp::Ordering;

/// Sorts like [`slice::sort_by`], stably. The algorithm is there once for all types; the standard library's is five
/// kilobytes of code for each type and each order.
pub fn sort_by<T>(items: &mut [T], mut compare: impl FnMut(&T, &T) -> Ordering) {
    let mut order: Vec<usize> = (0..items.len()).collect();
    sort_positions(&mut order, &mut |a, b| compare(&items[a], &items[b]));
    const DONE: usize = usize::MAX;
    for start in 0..items.len() {
        // Around one cycle of positions: each takes what belongs there and passes on what it had.
        let mut at = start;
        loop {
            let from = std::mem::replace(&mut order[at], DONE);
            if from == start || from == DONE {
                break;
            }
            items.swap(at, from);
            at = from;
        }
    }
}

fn sort_positions(order: &mut [usize], compare: &mut dyn FnMut(usize, usize) -> Ordering) {
    order.sort_by(|a, b| compare(*a, *b));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn as_the_standard_library(mut items: Vec<(u8, u16)>) {
            let mut expected = items.clone();
            expected.sort_by_key(|(key, _)| *key);
            sort_by(&mut items, |a, b| a.0.cmp(&b.0));
            prop_assert_eq!(items, expected);
        }
    }
}
