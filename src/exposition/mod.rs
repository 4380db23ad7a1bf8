//! Exposition formats: the page of a target as a stream of entries, and samples as a page.
//!
//! Everything here is pure: bytes in, entries out (or the reverse). No I/O, no clock, and no
//! allocation per sample. A scraper looks a known series up by [`Series::raw`]; labels are decoded
//! only when [`Series::labels`] is asked for them.
//!
//! A malformed page fails with a [`ParseError`] that names the place; entries before it were given.

/// Advice on the names and types of a page.
pub mod lint;

// What a page says, and in which format.
mod entry;
mod escape;
mod format;
mod labels;
mod media_type;
mod native;

// Reading.
mod openmetrics;
mod parser;
mod protobuf;
mod text;

// Writing.
mod encode;
mod negotiate;
mod writer;

// Pieces of them.
mod cursor;
mod number;
mod wire;

pub use entry::{Entry, Exemplar, ParseError, Series};
pub use escape::{EscapingScheme, escape_label_name, escape_metric_name, escape_name};
pub use format::{ContentTypeError, DetectedFormat, Format, accept_header};
pub use labels::LabelIter;
pub use media_type::{MediaType, parse_media_type};
pub use native::{NativeHistogram, NativeHistogramError};
pub use negotiate::{ResponseFormat, negotiate, negotiate_including_openmetrics};
pub use openmetrics::OpenMetricsParser;
pub use parser::Parser;
pub use protobuf::ProtobufParser;
pub use text::TextParser;
pub use writer::PageWriter;

#[cfg(test)]
mod tests;
