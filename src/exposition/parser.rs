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

    /// The value and the time of the next line's sample, if the line begins with `len` bytes that `is_expected` knows:
    /// the spelling of a series as an earlier entry gave it ([`super::Series::raw`]), which is not read again. `None`
    /// leaves the line to [`Self::next_entry`].
    #[inline]
    pub fn expected_sample(
        &mut self,
        len: usize,
        is_expected: impl FnOnce(&[u8]) -> bool,
    ) -> Result<Option<(f64, Option<i64>)>, ParseError> {
        match self {
            Self::Text(parser) => parser.expected_sample(len, is_expected),
            Self::OpenMetrics(parser) => parser.expected_sample(len, is_expected),
            Self::Protobuf(_) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of a page when every series is expected under its own spelling: as many samples as without.
    fn check(format: Format, page: &[u8]) {
        let mut spellings: Vec<Vec<u8>> = Vec::new();
        let mut samples = Vec::new();
        let mut parser = Parser::new(format, page);
        let outcome = loop {
            match parser.next_entry() {
                Ok(Some(Entry::Series(series))) => {
                    spellings.push(series.raw.to_vec());
                    samples.push((series.value.to_bits(), series.timestamp));
                }
                Ok(Some(_)) => {}
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let mut parser = Parser::new(format, page);
        let (mut found, mut expected) = (Vec::new(), 0);
        let again = loop {
            let spelling = spellings.get(found.len()).map_or(&[][..], Vec::as_slice);
            match parser.expected_sample(spelling.len(), |raw| raw == spelling) {
                Ok(Some((value, timestamp))) => {
                    expected += 1;
                    found.push((value.to_bits(), timestamp));
                    continue;
                }
                Ok(None) => {}
                Err(error) => break Err(error),
            }
            match parser.next_entry() {
                Ok(Some(Entry::Series(series))) => found.push((series.value.to_bits(), series.timestamp)),
                Ok(Some(_)) => {}
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let page = String::from_utf8_lossy(page);
        assert_eq!((found, again), (samples, outcome), "{format:?} {page:?}");
        assert!(expected > 0 || !page.starts_with("a 1"), "{format:?} {page:?}: nothing was expected");
    }

    #[test]
    fn what_is_expected_is_read_alike() {
        let pages = [
            "a 1\na{b=\"c\"} 2 3\n# TYPE b counter\nb{x=\"}\",y=\"\\\"\"} NaN\n{\"q.r\",s=\"t\"} 1e3\n# EOF\n",
            "a 1\na{b=\"c\"} 2 # {id=\"1\"} 3 4\na 2\na{b=\"c\"} x\n# EOF\n",
            "a 1\na  2\na\t3\na+4\na {b=\"c\"} 5\na{ b = \"c\" , } 6\n\n a 7\n",
            "a 1\nab 2\na{b=\"c\"}3\na{b=\"c\"} 4 5 6\n",
            "a 1\na{b=\"c\nd\"} 2\na",
            "a 1\na{b=\"\u{e9}\"} 2",
            "a 1\n\0a 2",
        ];
        for page in pages {
            for format in [Format::PrometheusText004, Format::OpenMetricsText100] {
                check(format, page.as_bytes());
            }
        }
        check(Format::PrometheusText004, b"a 1\na{b=\"\xff\"} 2\n");
        check(Format::OpenMetricsText100, b"a 1\na 2 # {b=\"\xff\"} 2\n# EOF\n");
    }

    #[test]
    fn what_may_go_on_is_read_whole() {
        // The bytes are those of a series that was seen, but the line has another one.
        for page in ["a {b=\"c\"} 1\n", "ab 1\n", "a  {b=\"c\"} 1\n", "a\t{b=\"c\"} 1\n", "a:b 1\n", "a", ""] {
            let mut parser = Parser::new(Format::PrometheusText004, page.as_bytes());
            assert_eq!(parser.expected_sample(1, |raw| raw == b"a"), Ok(None), "{page:?}");
            assert_eq!(parser.expected_sample(0, |_| true), Ok(None), "{page:?}");
        }
    }
}
