//! Natural order of texts: runs of digits compare as numbers, so that `node9` is before `node10`.
//!
//! Source of the order, its oddities included: the library `facette/natsort` that Prometheus uses.

/// Whether `a` precedes `b`. Not an order in every case: nothing at all neither precedes a text nor is preceded by
/// one, and numbers that are equal but for leading zeros precede each other.
pub(super) fn precedes(a: &str, b: &str) -> bool {
    let (mut left, mut right) = (runs(a).peekable(), runs(b).peekable());
    loop {
        let (Some(x), Some(y)) = (left.next(), right.next()) else { return false };
        let are_equal = match (number(x), number(y)) {
            (Some(x), Some(y)) if x != y => return x < y,
            (Some(_), Some(_)) => true,
            _ if x != y => return x < y,
            _ => true,
        };
        if are_equal && left.peek().is_none() {
            return true;
        }
    }
}

/// A run of digits, if it fits into 64 bits.
fn number(run: &str) -> Option<i64> {
    run.parse().ok()
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
        // Does the first precede the second, and the second the first?
        let cases = [
            ("node9", "node10", (true, false)),
            ("a", "b", (true, false)),
            ("1", "a", (true, false)),
            ("a", "ab", (true, false)),
            ("node", "node1", (true, false)),
            ("a1b2", "a1b10", (true, false)),
            ("4m5", "4m1000", (true, false)),
            ("", "1", (false, false)),
            ("01", "1", (true, true)),
            ("x", "x", (true, true)),
            // Too large for numbers: as text.
            ("100000000000000000000000", "99999999999999999999999", (true, false)),
        ];
        for (a, b, expected) in cases {
            assert_eq!((precedes(a, b), precedes(b, a)), expected, "{a} {b}");
        }
    }
}
