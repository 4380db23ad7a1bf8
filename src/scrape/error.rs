//! Why a scrape failed: the text is what `/api/v1/targets` shows as `lastError`.

use std::time::Duration;

use crate::client::ClientError;
use crate::collect::CollectError;
use crate::exposition::{ContentTypeError, ParseError};

/// A failed scrape.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    /// The page could not be fetched.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Another status than 200.
    #[error("server returned HTTP status {0}")]
    Status(hyper::StatusCode),
    /// A built-in collector gave nothing.
    #[error(transparent)]
    Collect(#[from] CollectError),
    /// A built-in collector took too long.
    #[error("timed out after {} while collecting", crate::model::format_duration(*.0))]
    CollectTimeout(Duration),
    /// The target does not say what its page is.
    #[error(transparent)]
    ContentType(#[from] ContentTypeError),
    /// The page does not follow its format.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A sample's labels are not valid, or past a limit.
    #[error(transparent)]
    Labels(#[from] LabelError),
    /// `sample_limit`
    #[error("sample limit exceeded: {count} samples, limit {limit}")]
    SampleLimit {
        /// Samples after relabeling.
        count: usize,
        /// The limit.
        limit: u64,
    },
    /// More samples than [`SAMPLES_PER_PAGE_MAX`](super::bounds::SAMPLES_PER_PAGE_MAX).
    #[error("the page has more than {0} samples")]
    TooManySamples(usize),
    /// `target_limit`: no target of the job is scraped.
    #[error("target_limit exceeded (number of targets: {count}, limit: {limit})")]
    TargetLimit {
        /// Targets found.
        count: usize,
        /// The limit.
        limit: u64,
    },
}

/// Labels of a sample that cannot be taken. Texts as in Prometheus, where it has them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// No metric name is left.
    #[error("missing metric name (__name__ label)")]
    NoName,
    /// A name that the validation scheme does not allow.
    #[error("invalid metric name or label names: {0}")]
    InvalidName(String),
    /// A label occurs twice.
    #[error("label name {0:?} is not unique: invalid sample")]
    Duplicate(String),
    /// `label_limit`
    #[error("label_limit exceeded (metric: {metric}, number of labels: {count}, limit: {limit})")]
    TooMany {
        /// The metric.
        metric: String,
        /// Its labels.
        count: usize,
        /// The limit.
        limit: u64,
    },
    /// `label_name_length_limit`
    #[error("label_name_length_limit exceeded (metric: {metric}, label name: {label}, length: {len}, limit: {limit})")]
    NameTooLong {
        /// The metric.
        metric: String,
        /// The label's beginning.
        label: String,
        /// Its length in bytes.
        len: usize,
        /// The limit.
        limit: u64,
    },
    /// `label_value_length_limit`
    #[error(
        "label_value_length_limit exceeded (metric: {metric}, label name: {label}, value: {value:?}, length: {len}, limit: {limit})"
    )]
    ValueTooLong {
        /// The metric.
        metric: String,
        /// The label.
        label: String,
        /// The value's beginning.
        value: String,
        /// Its length in bytes.
        len: usize,
        /// The limit.
        limit: u64,
    },
    /// All labels together are longer than [`SERIES_BYTES_MAX`](super::bounds::SERIES_BYTES_MAX).
    #[error("the labels of one series are longer than {limit} bytes (metric: {metric})")]
    TooLong {
        /// The metric.
        metric: String,
        /// The bound.
        limit: usize,
    },
}
