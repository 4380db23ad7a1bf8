//! Natural order of texts: runs of digits compare as numbers, so that `node9` is before `node10`.

use std::cmp::Ordering;

/// Compares run by run. Numbers that are equal with and without leading zeros compare as text.
pub(super) fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (runs(a), runs(b));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (Some(a), Some(b)) => compare_runs(a, b),
            (a, b) => a.is_some().cmp(&b.is_some()),
        };
        if order.is_ne() {
            return order;
        }
    }
}

fn compare_runs(a: &str, b: &str) -> Ordering {
    if is_number(a) && is_number(b) {
        let (x, y) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
        return x.len().cmp(&y.len()).then_with(|| x.cmp(y)).then_with(|| a.cmp(b));
    }
    a.cmp(b)
}

fn is_number(run: &str) -> bool {
    run.starts_with(|first: char| first.is_ascii_digit())
}

/// Runs of digits and runs of anything else.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?.is_ascii_digit();
        let end = rest.find(|char: char| char.is_ascii_digit() != first).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        rest = after;
        Some(run)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_compare_as_numbers() {
        let cases = [
            ("node9", "node10", Ordering::Less),
            ("node10", "node9", Ordering::Greater),
            ("a", "b", Ordering::Less),
            ("", "1", Ordering::Less),
            ("1", "a", Ordering::Less),
            ("a1b2", "a1b10", Ordering::Less),
            ("4m5", "4m1000", Ordering::Less),
            ("x", "x", Ordering::Equal),
            ("99999999999999999999999", "100000000000000000000000", Ordering::Less),
        ];
        for (a, b, expected) in cases {
            assert_eq!(natural_order(a, b), expected, "{a} {b}");
        }
    }
}
