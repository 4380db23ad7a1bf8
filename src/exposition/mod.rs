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
pub use native::{NativeHistogram, NativeHistogramError};
pub use negotiate::{ResponseFormat, negotiate, negotiate_including_openmetrics};
pub use openmetrics::OpenMetricsParser;
pub use parser::Parser;
pub use protobuf::ProtobufParser;
pub use text::TextParser;
pub use writer::PageWriter;

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry as one short text, for tables of expectations.
    pub(super) fn show(entry: &Entry<'_>) -> String {
        match entry {
            Entry::Series(series) => format!("{}|", show_series(series)),
            Entry::NativeHistogram(histogram) => format!("NATIVE {}|", show_labels(histogram.labels())),
            Entry::Help { name, help } => format!("HELP {name} {help}|"),
            Entry::Type { name, metric_type } => format!("TYPE {name} {metric_type}|"),
            Entry::Unit { name, unit } => format!("UNIT {name} {unit}|"),
            Entry::Comment(text) => format!("# {}|", String::from_utf8_lossy(text)),
        }
    }

    fn show_series(series: &Series<'_>) -> String {
        let at = |timestamp: Option<i64>| timestamp.map(|ms| format!(" @{ms}")).unwrap_or_default();
        let mut text = format!("{} = {}{}", show_labels(series.labels()), series.value, at(series.timestamp));
        if let Some(exemplar) = series.exemplar {
            let labels = show_labels(exemplar.labels());
            text += &format!(" {{{labels} = {}{}}}", exemplar.value, at(exemplar.timestamp));
        }
        text
    }

    fn show_labels(labels: LabelIter<'_>) -> String {
        let mut is_first = true;
        let shown = labels.map(|(name, value)| {
            let is_name = name == "__name__" && std::mem::take(&mut is_first);
            if is_name { value.into_owned() } else { format!("{name}={value}") }
        });
        shown.collect::<Vec<_>>().join(" ")
    }
}
