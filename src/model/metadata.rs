//! What an exposition says of a metric family besides its samples.

use std::fmt;

/// The type of a metric family, in Prometheus's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MetricType {
    /// Only goes up, or restarts at zero.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, `_sum` and `_count`.
    Histogram,
    /// Buckets of a present distribution (OpenMetrics).
    GaugeHistogram,
    /// Quantiles, `_sum` and `_count`.
    Summary,
    /// Constant 1 with facts as labels (OpenMetrics).
    Info,
    /// One of a set of states (OpenMetrics).
    StateSet,
    /// Nothing was said.
    #[default]
    Unknown,
}

impl MetricType {
    /// The word of the HTTP API and of OpenMetrics; the text format says `untyped` for unknown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
            Self::Unknown => "unknown",
        }
    }

    /// Reads the word of any text format; `None` for an unknown word.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "counter" => Self::Counter,
            "gauge" => Self::Gauge,
            "histogram" => Self::Histogram,
            "gaugehistogram" => Self::GaugeHistogram,
            "summary" => Self::Summary,
            "info" => Self::Info,
            "stateset" => Self::StateSet,
            "unknown" | "untyped" => Self::Unknown,
            _ => return None,
        })
    }
}

impl fmt::Display for MetricType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// TYPE, HELP and UNIT of a metric family.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// The family's type.
    pub metric_type: MetricType,
    /// The family's help text, unescaped.
    pub help: String,
    /// The family's unit, or empty.
    pub unit: String,
}

/// Looks up what a target said of a metric: `/federate` keeps the TYPE that the source gave.
pub trait MetadataLookup: Send + Sync {
    /// The type of the family that a series named `metric_name` belongs to (`x_bucket` belongs to
    /// histogram `x`), if any target that has it said so. The second value is the family's name.
    fn metric_type(&self, metric_name: &str) -> Option<(MetricType, String)>;
}
