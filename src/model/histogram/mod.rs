//! Native histograms with float buckets: the value, and the arithmetic that PromQL does with it.
//!
//! A side (positive or negative) is stored as spans and counts, and worked on as pairs of bucket
//! index and count in index order. Source of the data model: prometheus/model/histogram.

mod arithmetic;
mod bounds;
mod buckets;
mod reset;
mod text;

pub use arithmetic::HistogramError;
pub use buckets::Bucket;

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

impl FloatHistogram {
    /// Whether the bounds are listed instead of growing exponentially.
    pub fn uses_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// Whether `schema` is one that a histogram may have.
    pub fn is_valid_schema(schema: i32) -> bool {
        schema == CUSTOM_BUCKETS_SCHEMA || (-4..=bounds::SCHEMA_MAX).contains(&schema)
    }

    /// How many float samples (16 bytes each) the histogram counts for against the bound on samples
    /// that a query may hold. Prometheus's measure, so that the same bound means the same.
    pub fn sample_weight(&self) -> u64 {
        let spans = self.positive_spans.len() + self.negative_spans.len();
        let floats = self.positive_buckets.len() + self.negative_buckets.len() + self.custom_values.len();
        ((168 + 8 * (spans + floats) + 8) / 16) as u64
    }

    /// Whether both hold the same data, bit for bit, whatever their reset hints say: what `==` means
    /// in PromQL.
    pub fn is_same_data(&self, other: &Self) -> bool {
        let same = |a: f64, b: f64| a.to_bits() == b.to_bits();
        let all_same = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(*a, *b));
        let indexes = |spans: &[Span]| buckets::indexes(spans).collect::<Vec<_>>();
        self.schema == other.schema
            && same(self.count, other.count)
            && same(self.sum, other.sum)
            && same(self.zero_count, other.zero_count)
            && self.zero_threshold == other.zero_threshold
            && (!self.uses_custom_buckets() || all_same(&self.custom_values, &other.custom_values))
            && all_same(&self.positive_buckets, &other.positive_buckets)
            && all_same(&self.negative_buckets, &other.negative_buckets)
            && indexes(&self.positive_spans) == indexes(&other.positive_spans)
            && indexes(&self.negative_spans) == indexes(&other.negative_spans)
    }
}
