//! Sorting whose result shows where equal elements go.

/// Up to this many, Go sorts by insertion, which decides where equal elements go.
const INSERTION_MAX: usize = 12;

/// Sorts by an order that need not be one: neither of two elements may be less, or both. By insertion as Go does
/// with few elements, so that these come out the same; more of them are merged.
pub(super) fn sort<T>(items: &mut Vec<T>, is_less: &impl Fn(&T, &T) -> bool) {
    if items.len() > INSERTION_MAX {
        let mut right = items.split_off(items.len() / 2);
        sort(items, is_less);
        sort(&mut right, is_less);
        *items = merged(std::mem::take(items), right, is_less);
        return;
    }
    for end in 1..items.len() {
        for place in (1..=end).rev() {
            if !is_less(&items[place], &items[place - 1]) {
                break;
            }
            items.swap(place, place - 1);
        }
    }
}

fn merged<T>(left: Vec<T>, right: Vec<T>, is_less: &impl Fn(&T, &T) -> bool) -> Vec<T> {
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(first), Some(second)) = (left.peek(), right.peek()) {
        let next = if is_less(second, first) { right.next() } else { left.next() };
        merged.extend(next);
    }
    merged.extend(left);
    merged.extend(right);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_few_and_many() {
        for count in [0, 1, 5, 12, 13, 100] {
            let mut items: Vec<usize> = (0..count).map(|item| item * 37 % 101).collect();
            let mut expected = items.clone();
            expected.sort_unstable();
            sort(&mut items, &|a, b| a < b);
            assert_eq!(items, expected);
        }
        // No order at all ends, too, and loses nothing.
        let mut items: Vec<usize> = (0..40).collect();
        sort(&mut items, &|_, _| true);
        items.sort_unstable();
        assert_eq!(items, (0..40).collect::<Vec<_>>());
    }
}
