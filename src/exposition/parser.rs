//! One parser for all formats, so that whoever reads a page need not know which it is.

use super::{Entry, Format, OpenMetricsParser, ParseError, ProtobufParser, TextParser};

/// Gives the entries of a page in any format.
#[derive(Clone, Debug)]
pub enum Parser<'a> {
    /// The Prometheus text format.
    Text(TextParser<'a>),
    /// OpenMetrics text.
    OpenMetrics(OpenMetricsParser<'a>),
    /// Delimited protobuf.
    Protobuf(Box<ProtobufParser<'a>>),
}

impl<'a> Parser<'a> {
    /// A parser at the start of `page`.
    pub fn new(format: Format, page: &'a [u8]) -> Self {
        match format {
            Format::PrometheusText004 | Format::PrometheusText100 => Self::Text(TextParser::new(page)),
            Format::OpenMetricsText001 | Format::OpenMetricsText100 => Self::OpenMetrics(OpenMetricsParser::new(page)),
            Format::PrometheusProto => Self::Protobuf(Box::new(ProtobufParser::new(page))),
        }
    }

    /// The next entry, or `None` at the end of the page. An entry lives until the next call.
    #[inline]
    pub fn next_entry(&mut self) -> Result<Option<Entry<'_>>, ParseError> {
        match self {
            Self::Text(parser) => parser.next_entry(),
            Self::OpenMetrics(parser) => parser.next_entry(),
            Self::Protobuf(parser) => parser.next_entry(),
        }
    }
}
