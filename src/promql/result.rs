//! What a query gives.

use std::sync::Arc;

use crate::model::{FloatHistogram, Labels, Timestamp};
use crate::store::StoreError;

use super::ast::Span;

/// The outcome of a query.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryResult {
    /// The value.
    pub value: QueryValue,
    /// What may be wrong with the result, worded as Prometheus words it, each once.
    pub warnings: Vec<String>,
    /// What may be worth knowing, each once.
    pub infos: Vec<String>,
    /// Samples that were looked at.
    pub samples_read: u64,
    /// The largest number of samples held at a time.
    pub peak_samples: u64,
}

/// A value of one of PromQL's types.
#[derive(Clone, Debug, PartialEq)]
pub enum QueryValue {
    /// One number.
    Scalar(Timestamp, f64),
    /// One text.
    String(Timestamp, String),
    /// One sample per series. Order matters after `sort`, `topk` and the like.
    Vector(Vec<VectorSample>),
    /// Several samples per series, sorted by labels.
    Matrix(Vec<MatrixSeries>),
}

/// A float or a native histogram.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<FloatHistogram>),
}

/// One series at one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSample {
    /// The series.
    pub labels: Labels,
    /// When.
    pub timestamp: Timestamp,
    /// What.
    pub value: Value,
}

/// One series over a range.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSeries {
    /// The series.
    pub labels: Labels,
    /// Its points in time order.
    pub points: Vec<(Timestamp, Value)>,
}

/// A query that failed.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The text is not PromQL, or its types do not fit.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A length of time in it, which its step and range decide, cannot be one.
    #[error("{0}")]
    Duration(&'static str),
    /// It cannot be evaluated on this data (many-to-many matching, duplicate series).
    #[error("{0}")]
    Execution(String),
    /// More samples than `--query.max-samples`.
    #[error(
        "query processing would load too many samples into memory in query execution (limit {max}); ask for fewer series, a shorter range or a longer step, or raise --query.max-samples"
    )]
    TooManySamples {
        /// The bound.
        max: u64,
    },
    /// More memory than one query may hold.
    #[error(
        "query would hold more than {max} bytes of memory (outpost.query.memory_per_query); ask for fewer series, a shorter range or a longer step"
    )]
    TooMuchMemory {
        /// The bound.
        max: u64,
    },
    /// More memory than all queries may hold together.
    #[error(
        "all queries together would hold more than {max} bytes of memory (outpost.query.memory_total); ask again when others have ended, or ask for fewer series, a shorter range or a longer step"
    )]
    TooMuchMemoryInAll {
        /// The bound.
        max: u64,
    },
    /// `--query.timeout` passed.
    #[error("query timed out in expression evaluation; ask for less, or raise --query.timeout")]
    Timeout,
    /// The client left.
    #[error("query was canceled in query execution")]
    Cancelled,
    /// The store failed.
    #[error("reading samples failed: {0}")]
    Storage(StoreError),
}

impl QueryError {
    /// Whether it is about what may be held at a time.
    pub(super) fn is_too_large(&self) -> bool {
        matches!(self, Self::TooManySamples { .. } | Self::TooMuchMemory { .. } | Self::TooMuchMemoryInAll { .. })
    }
}

/// A text that is not PromQL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: parse error: {message}")]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The bytes concerned.
    pub span: Span,
    /// What is wrong.
    pub message: String,
}

impl ParseError {
    /// An error about the bytes `span` of `text`.
    pub(super) fn at(text: &str, span: Span, message: impl Into<String>) -> Self {
        let before = &text[..text.floor_char_boundary(span.start)];
        let line_start = before.rfind('\n').map_or(0, |index| index + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            span,
            message: message.into(),
        }
    }
}
