//! Plain values that every other module speaks in: labels, matchers, samples, timestamps,
//! metadata, alerts. Nothing here does I/O, reads a clock or spawns a task.

mod alert;
mod base64;
mod duration;
mod hexadecimal;
mod histogram;
mod labels;
mod matcher;
mod metadata;
mod number;
mod order;
mod quote;
mod regex;
mod relabel;
mod rfc3339;
mod secret;
mod time;
mod value;

pub use alert::Alert;
pub use base64::{decode_base64_digits, encode_base64};
pub use duration::{DurationError, format_duration, parse_duration};
pub use hexadecimal::hexadecimal;
pub use histogram::{Bucket, CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, HistogramError, Span};
pub use labels::{Labels, LabelsBuilder, METRIC_NAME, is_legacy_label_name, is_legacy_metric_name};
pub use matcher::{MatchOp, Matcher, metric_name_of};
pub use metadata::{Metadata, MetadataLookup, MetricType};
pub use number::{
    format_float, format_float_json, format_general, parse_float, push_float, push_float_json, push_general,
    push_general_bytes,
};
pub use order::sort_by;
pub use quote::{quote, quote_to};
pub use regex::{AnchoredRegex, RegexError, SearchRegex};
pub use relabel::{RelabelAction, RelabelRule, relabel};
pub use rfc3339::{date_of, format_rfc3339, parse_rfc3339, push_rfc3339};
pub use secret::Secret;
pub use time::{TimeRange, Timestamp};
pub use value::{STALE_NAN_BITS, is_stale_marker, stale_marker};
