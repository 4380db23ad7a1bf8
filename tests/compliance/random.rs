//! Queries drawn from the grammar, compared with Prometheus's answers.

use std::collections::BTreeMap;

use super::choices::{Choices, shrink};
use super::pair::{Closeness, Outcome, Pair, Query};
use super::{SHOWN_MAX, first_seed, grammar, reasons, rounds, world};

#[test]
fn random_queries_have_prometheus_answers() {
    let (_prometheus, pair) = Pair::start(world::series());
    let (first, count) = (first_seed(), rounds(400));
    let mut outcomes = BTreeMap::<String, u64>::new();
    let mut differences = Vec::new();
    for seed in first..first + count {
        match check(&pair, &mut Choices::drawn(seed)) {
            Ok(outcome) => *outcomes.entry(format!("{outcome:?}")).or_default() += 1,
            Err(difference) => differences.push(shrunk(&pair, seed, difference)),
        }
        if differences.len() >= SHOWN_MAX {
            break;
        }
    }
    eprintln!("{count} queries from seed {first}: {outcomes:?}");
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

/// One query at a time or over a range, both drawn.
fn draw(choices: &mut Choices) -> Query {
    let text = grammar::query(choices);
    let span = (world::END.0 - world::START.0) as usize + 300_000;
    let start_ms = world::START.0 - 60_000
        + match choices.below(3) {
            0 => choices.below(span / 60_000) as i64 * 60_000,
            1 => choices.below(span / 1_000) as i64 * 1_000,
            _ => choices.below(span) as i64,
        };
    let range = (choices.below(2) == 1).then(|| {
        let step_ms = [60_000, 15_000, 30_000, 61_500, 300_000, 7_000][choices.below(6)];
        (start_ms + step_ms * choices.below(25) as i64, step_ms)
    });
    Query { text, start_ms, range }
}

/// What came of a comparison that did not fail.
#[derive(Debug)]
enum Verdict {
    /// The same.
    Same(#[allow(dead_code, reason = "shown in the summary")] Outcome),
    /// Different for a known reason.
    Explained(#[allow(dead_code, reason = "shown in the summary")] &'static str),
}

fn check(pair: &Pair, choices: &mut Choices) -> Result<Verdict, String> {
    let query = draw(choices);
    let difference = match pair.compare(&query, closeness(&query)) {
        Ok(outcome) => return Ok(Verdict::Same(outcome)),
        Err(difference) => difference,
    };
    match reasons::reason(&query.text, query.range.is_some()) {
        Some(reason) if pair.compare(&query, reason.closeness).is_ok() => Ok(Verdict::Explained(reason.text)),
        _ => Err(format!("{query:?}\n  {difference}")),
    }
}

fn shrunk(pair: &Pair, seed: u64, full: String) -> String {
    let mut choices = Choices::drawn(seed);
    draw(&mut choices);
    let smallest = shrink(choices.taken(), 400, |taken| check(pair, &mut Choices::replayed(taken.to_vec())).is_err());
    let small = check(pair, &mut Choices::replayed(smallest)).err().unwrap_or(full);
    format!("seed {seed}: {small}")
}

/// Go's functions and the C library's differ in the last bits; everything else must be the same bits.
///
/// Over a range, Prometheus sums up computed series in an order that differs from time to time.
fn closeness(query: &Query) -> Closeness {
    let is_range = query.range.is_some() || reasons::has_subquery(&query.text);
    let is_unordered = is_range && reasons::has_unordered_aggregation(&query.text);
    match is_unordered || reasons::has_rounded_function(&query.text) {
        true => Closeness::Relative(1e-12),
        false => Closeness::Exact,
    }
}
