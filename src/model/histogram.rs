//! Native histograms with float buckets.

/// Whether a counter histogram may have been reset before this sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CounterResetHint {
    /// Nothing is known: compare with the sample before.
    #[default]
    Unknown,
    /// There was a reset.
    CounterReset,
    /// There was none.
    NotCounterReset,
    /// A gauge histogram, which has no resets.
    Gauge,
}

/// A run of consecutive buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Gap to the end of the span before; for the first span, the index of its first bucket.
    pub offset: i32,
    /// How many buckets.
    pub length: u32,
}

/// The schema number that stands for custom bucket bounds.
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;

/// A native histogram whose counts are absolute floats (not deltas).
/// Source of the data model: prometheus/model/histogram/float_histogram.go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FloatHistogram {
    /// Whether a reset came before.
    pub counter_reset_hint: CounterResetHint,
    /// Resolution: buckets grow by 2^(2^-schema); -4 to 8, or [`CUSTOM_BUCKETS_SCHEMA`].
    pub schema: i32,
    /// Observations with an absolute value up to this are in the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations.
    pub count: f64,
    /// Sum of all observations.
    pub sum: f64,
    /// Where the positive buckets are.
    pub positive_spans: Vec<Span>,
    /// Where the negative buckets are.
    pub negative_spans: Vec<Span>,
    /// Counts of the positive buckets, in span order.
    pub positive_buckets: Vec<f64>,
    /// Counts of the negative buckets, in span order.
    pub negative_buckets: Vec<f64>,
    /// Upper bounds with [`CUSTOM_BUCKETS_SCHEMA`], ascending, without +Inf.
    pub custom_values: Vec<f64>,
}
