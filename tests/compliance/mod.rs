//! outpost beside a live Prometheus with the same samples: the same queries must have the same answers.
//!
//! `OUTPOST_COMPLIANCE_ROUNDS` says how many random cases each test draws, `OUTPOST_COMPLIANCE_SEED` where they
//! begin. A difference is shrunk and printed with its seed.

/// Drawing and shrinking.
mod choices;
/// What the fuzz targets check.
mod fuzzed;
/// Random queries.
mod grammar;
/// Any bytes as a query.
mod hostile;
/// outpost over a store in memory.
mod local;
/// Native histograms in rule unit tests.
mod notation;
/// Two servers, and comparing what they answer.
mod pair;
/// Queries drawn from the grammar.
mod random;
/// Differences that are known and why.
mod reasons;
/// Samples for Prometheus.
mod remote_write;
/// A list of queries over scraped samples.
mod suite;
/// Queries broken here and there.
mod syntax;
/// The samples.
mod world;

/// Differences shown before a test gives up.
const SHOWN_MAX: usize = 25;

/// How many cases to draw: `OUTPOST_COMPLIANCE_ROUNDS`, or the few of an ordinary run.
fn rounds(ordinary: u64) -> u64 {
    number("OUTPOST_COMPLIANCE_ROUNDS").unwrap_or(ordinary)
}

/// The first seed.
fn first_seed() -> u64 {
    number("OUTPOST_COMPLIANCE_SEED").unwrap_or(1)
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}
