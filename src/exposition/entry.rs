//! What the parsers give: one [`Entry`] after the other, borrowed from the page.

use std::borrow::Cow;

use super::labels::LabelIter;
use super::native::NativeHistogram;
use crate::model::MetricType;

/// A page that does not follow its format. The scrape fails as a whole, as in Prometheus.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A text page.
    #[error("line {line}: {reason}")]
    Text {
        /// The line, counted from 1.
        line: usize,
        /// What was expected and what was found.
        reason: String,
    },
    /// A protobuf page.
    #[error("metric family {family}, at byte {offset}: {reason}")]
    Protobuf {
        /// Which message of the page, counted from 1.
        family: usize,
        /// Where that message starts.
        offset: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// One statement of a page.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry<'a> {
    /// A sample.
    Series(Series<'a>),
    /// A native histogram (protobuf only). What can be said of it in classic series follows as
    /// [`Entry::Series`], so that a store without native histograms may pass it over.
    NativeHistogram(NativeHistogram<'a>),
    /// The help text of a family, unescaped.
    Help {
        /// The family.
        name: Cow<'a, str>,
        /// The text.
        help: Cow<'a, str>,
    },
    /// The type of a family.
    Type {
        /// The family.
        name: Cow<'a, str>,
        /// Its type.
        metric_type: MetricType,
    },
    /// The unit of a family (OpenMetrics and protobuf).
    Unit {
        /// The family.
        name: Cow<'a, str>,
        /// Its unit.
        unit: Cow<'a, str>,
    },
    /// A comment line as written, with its `#`; not necessarily UTF-8.
    Comment(&'a [u8]),
}

/// A sample and the series it belongs to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Series<'a> {
    /// The series as the page spells it, name and labels, byte for byte: a cache key, equal from
    /// page to page as long as the target keeps its spelling. Protobuf pages have a spelling of
    /// their own (it starts with the byte 0xff), so that the two never collide.
    pub raw: &'a [u8],
    /// The value; every NaN is the same plain NaN, never the stale marker.
    pub value: f64,
    /// Milliseconds since the epoch, if the page gives a time.
    pub timestamp: Option<i64>,
    /// The exemplar, if there is one (OpenMetrics).
    pub exemplar: Option<Exemplar<'a>>,
    /// The type that the page declared last; it decides how `le` and `quantile` are spelled.
    pub metric_type: MetricType,
}

impl<'a> Series<'a> {
    /// The labels in the order of the page, the metric's name as `__name__`. Values of `le` (in a
    /// histogram) and `quantile` (in a summary) come in OpenMetrics spelling (`1` becomes `1.0`), as
    /// in Prometheus 3. Names may be empty or occur twice: to judge that is the caller's part.
    pub fn labels(&self) -> LabelIter<'a> {
        LabelIter::new(self.raw, self.metric_type)
    }
}

/// An exemplar of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar<'a> {
    /// The labels as written, with their braces.
    pub raw: &'a [u8],
    /// The exemplar's value.
    pub value: f64,
    /// Milliseconds since the epoch, if given.
    pub timestamp: Option<i64>,
}

impl<'a> Exemplar<'a> {
    /// The labels in the order of the page.
    pub fn labels(&self) -> LabelIter<'a> {
        LabelIter::new(self.raw, MetricType::Unknown)
    }
}
