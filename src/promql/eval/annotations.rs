//! Warnings and infos about a result, in Prometheus's words. Source: prometheus/util/annotations.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::model::format_general;
use crate::promql::ast::Span;

/// Annotations kept per query. Most carry a metric's name, so data can make many.
const ANNOTATIONS_MAX: usize = 1_000;

/// One thing to say about a result.
#[derive(Clone, Copy, Debug)]
pub(super) enum Annotation<'a> {
    InvalidQuantile(f64),
    InvalidRatio { ratio: f64, cap: f64 },
    BadBucketLabel { metric: &'a str, label: &'a str },
    MixedFloatsHistograms { metric: &'a str },
    MixedFloatsHistogramsInAggregation,
    MixedClassicNative { metric: &'a str },
    NotACounter { metric: &'a str },
    NotAGauge { metric: &'a str },
    MixedExponentialCustom { metric: &'a str },
    IncompatibleCustomBuckets { metric: &'a str },
    IncompatibleBucketLayout { operator: &'a str },
    PossibleNonCounter { metric: &'a str },
    ForcedMonotonicity { metric: &'a str },
    IncompatibleTypes { left: &'a str, operator: &'a str, right: &'a str },
    HistogramIgnoredInAggregation { operator: &'a str },
    HistogramIgnoredInMixedRange { metric: &'a str },
    QuantileOfNanIsNan { metric: &'a str },
    QuantileSkewedByNan { metric: &'a str },
    FractionExcludesNan { metric: &'a str },
}

impl Annotation<'_> {
    fn is_info(self) -> bool {
        matches!(
            self,
            Self::PossibleNonCounter { .. }
                | Self::ForcedMonotonicity { .. }
                | Self::IncompatibleTypes { .. }
                | Self::HistogramIgnoredInAggregation { .. }
                | Self::HistogramIgnoredInMixedRange { .. }
                | Self::QuantileOfNanIsNan { .. }
                | Self::QuantileSkewedByNan { .. }
                | Self::FractionExcludesNan { .. }
        )
    }

    fn text(self) -> String {
        let level = if self.is_info() { "PromQL info" } else { "PromQL warning" };
        format!("{level}: {}", self.message())
    }

    fn message(self) -> String {
        match self {
            Self::InvalidQuantile(quantile) => {
                format!("quantile value should be between 0 and 1, got {}", format_general(quantile))
            }
            Self::InvalidRatio { ratio, cap } => format!(
                "ratio value should be between -1 and 1, got {}, capping to {}",
                format_general(ratio),
                format_general(cap)
            ),
            Self::BadBucketLabel { metric, label } => format!(
                "bucket label \"le\" is missing or has a malformed value of {label:?} for metric name {metric:?}"
            ),
            Self::MixedFloatsHistograms { metric } => {
                format!("encountered a mix of histograms and floats for metric name {metric:?}")
            }
            Self::MixedFloatsHistogramsInAggregation => {
                "encountered a mix of histograms and floats for aggregation".to_owned()
            }
            Self::MixedClassicNative { metric } => {
                format!("vector contains a mix of classic and native histograms for metric name {metric:?}")
            }
            Self::NotACounter { metric } => format!("this native histogram metric is not a counter: {metric:?}"),
            Self::NotAGauge { metric } => format!("this native histogram metric is not a gauge: {metric:?}"),
            Self::MixedExponentialCustom { metric } => format!(
                "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {metric:?}"
            ),
            Self::IncompatibleCustomBuckets { metric } => {
                format!("vector contains histograms with incompatible custom buckets for metric name {metric:?}")
            }
            Self::IncompatibleBucketLayout { operator } => {
                format!("incompatible bucket layout encountered for binary operator {operator}")
            }
            Self::PossibleNonCounter { metric } => {
                format!("metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {metric:?}")
            }
            Self::ForcedMonotonicity { metric } => format!(
                "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) for metric name {metric:?}"
            ),
            Self::IncompatibleTypes { left, operator, right } => format!(
                "incompatible sample types encountered for binary operator {operator:?}: {left} {operator} {right}"
            ),
            Self::HistogramIgnoredInAggregation { operator } => {
                format!("ignored histogram in {operator} aggregation")
            }
            Self::HistogramIgnoredInMixedRange { metric } => format!(
                "ignored histograms in a range containing both floats and histograms for metric name {metric:?}"
            ),
            Self::QuantileOfNanIsNan { metric } => {
                format!("input to histogram_quantile has NaN observations, result is NaN for metric name {metric:?}")
            }
            Self::QuantileSkewedByNan { metric } => format!(
                "input to histogram_quantile has NaN observations, result is skewed higher for metric name {metric:?}"
            ),
            Self::FractionExcludesNan { metric } => format!(
                "input to histogram_fraction has NaN observations, which are excluded from all fractions for metric name {metric:?}"
            ),
        }
    }
}

/// The annotations of one query, each text once, in the order of their first occasion.
#[derive(Default)]
pub(super) struct Annotations(RefCell<Inner>);

#[derive(Default)]
struct Inner {
    positions: HashMap<String, usize>,
    found: Vec<(String, bool, Span)>,
}

impl Annotations {
    /// Notes an annotation about the expression at `span`. The same text at another place moves there.
    pub fn add(&self, annotation: Annotation<'_>, span: Span) {
        let text = annotation.text();
        let mut inner = self.0.borrow_mut();
        if let Some(position) = inner.positions.get(&text).copied() {
            inner.found[position].2 = span;
        } else if inner.found.len() < ANNOTATIONS_MAX {
            let position = inner.found.len();
            inner.positions.insert(text.clone(), position);
            inner.found.push((text, annotation.is_info(), span));
        }
    }

    /// The texts with their places, `query` being what the spans point into: warnings, then infos.
    pub fn into_texts(self, query: &str) -> (Vec<String>, Vec<String>) {
        let (mut warnings, mut infos) = (Vec::new(), Vec::new());
        for (text, is_info, span) in self.0.into_inner().found {
            let (line, column) = line_and_column(query, span.start);
            let target = if is_info { &mut infos } else { &mut warnings };
            target.push(format!("{text} ({line}:{column})"));
        }
        (warnings, infos)
    }
}

/// Line and column in bytes, both from 1, as Prometheus counts them.
fn line_and_column(query: &str, position: usize) -> (usize, usize) {
    let before = &query.as_bytes()[..position.min(query.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    (line, position - line_start + 1)
}
