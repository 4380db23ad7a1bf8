//! PromQL: text to tree, tree to result. Reads samples through [`crate::store::Select`] alone.

pub mod ast;
pub mod functions;
mod result;
pub mod series_notation;

// Text to tree and back.
mod check;
mod extent;
mod keyword;
mod lexer;
mod literal;
mod parser;
mod printer;
mod selector;

// Tree to result.
mod cache;
mod engine;
mod eval;
mod memory;

pub use cache::CacheStats;
pub use engine::Engine;
pub use literal::unquote;
pub use memory::MemoryBounds;
pub use parser::{NESTING_MAX, NODE_DEPTH_MAX, TEXT_BYTES_MAX, parse};
pub use printer::prettify;
pub use result::{MatrixSeries, ParseError, QueryError, QueryResult, QueryValue, Value, VectorSample};
pub use selector::{parse_any_selector, parse_selector, parse_series_description, parse_wide_selector};

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Which parts of the language beyond the stable ones are allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// `--enable-feature=promql-experimental-functions`
    pub experimental_functions: bool,
    /// `--enable-feature=promql-delayed-name-removal`
    pub delayed_name_removal: bool,
    /// `--enable-feature=promql-duration-expr`
    pub duration_expressions: bool,
    /// `--enable-feature=promql-extended-range-selectors`
    pub extended_range_selectors: bool,
    /// `--enable-feature=promql-binop-fill-modifiers`
    pub fill_modifiers: bool,
}

/// The engine's settings.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// `--query.lookback-delta`: how old a sample may be to stand for "now".
    pub lookback: Duration,
    /// `--query.max-samples`: samples one query may hold at a time.
    pub samples_max: u64,
    /// The step of subqueries that name none: the global evaluation interval.
    pub default_step: Duration,
    /// Language features.
    pub features: Features,
}

/// Settings of one query that override the engine's.
#[derive(Clone, Debug, Default)]
pub struct QueryOptions {
    /// Another lookback.
    pub lookback: Option<Duration>,
    /// When to give up.
    pub deadline: Option<Instant>,
    /// Set by whoever no longer wants the answer.
    pub cancelled: Option<Arc<AtomicBool>>,
    /// What the expression was parsed from: annotations name lines in it. Without it, a query counts as
    /// one line.
    pub text: Option<Arc<str>>,
    /// The counts of samples are wanted: nothing is taken from kept results, which do not have them.
    pub counts_samples: bool,
}
