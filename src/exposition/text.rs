//! The Prometheus text format, 0.0.4 and 1.0.0 (which adds quoted UTF-8 names), read exactly as
//! leniently as Prometheus 3.5 reads it.
//!
//! Worth knowing, since it surprises: blanks may stand anywhere between tokens, commas between labels
//! may be left out, label values may span lines, timestamps are unsigned, a carriage return is an
//! error, and a zero byte at the start of a line ends the page. One deviation: blanks in front of a
//! name do not become part of the name. Source: prometheus/model/textparse (promlex.l, promparse.go).

use super::cursor::{Cursor, Escapes, is_blank, is_metric_name_start, unescape};
use super::number::{parse_simple, parse_value};
use super::{Entry, ParseError, Series};
use crate::model::MetricType;

/// Gives the entries of a page one by one.
#[derive(Clone, Debug)]
pub struct TextParser<'a> {
    cursor: Cursor<'a>,
    metric_type: MetricType,
    /// Checked once for the whole page, so that a line needs no check of its own.
    is_utf8: bool,
}

impl<'a> TextParser<'a> {
    /// A parser at the start of `page`.
    pub fn new(page: &'a [u8]) -> Self {
        let is_utf8 = std::str::from_utf8(page).is_ok();
        Self { cursor: Cursor::new(page), metric_type: MetricType::Unknown, is_utf8 }
    }

    /// The next entry, or `None` at the end of the page.
    #[inline]
    pub fn next_entry(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        loop {
            self.cursor.skip_blanks();
            match self.cursor.peek() {
                None | Some(0) => return Ok(None),
                Some(b'\n') => self.cursor.advance(1),
                Some(b'#') => return self.comment_line(),
                Some(b'{') => return self.sample_line().map(Some),
                Some(byte) if is_metric_name_start(byte) => return self.sample_line().map(Some),
                Some(_) => return Err(self.cursor.expected("a metric name, a comment or an empty line")),
            }
        }
    }

    /// See [`super::Parser::expected_sample`].
    #[inline]
    pub fn expected_sample(
        &mut self,
        len: usize,
        is_expected: impl FnOnce(&[u8]) -> bool,
    ) -> Result<Option<(f64, Option<i64>)>, ParseError> {
        if !self.cursor.is_series(len, is_expected) {
            return Ok(None);
        }
        self.cursor.advance(len);
        Ok(Some((self.value()?, self.timestamp()?)))
    }

    fn sample_line(&mut self) -> Result<Entry<'a>, ParseError> {
        let start = self.cursor.position();
        let is_named = !self.cursor.metric_name().is_empty();
        let mut raw = self.cursor.since(start);
        self.cursor.skip_blanks();
        if self.cursor.eat(b'{') {
            self.skip_labels(is_named)?;
            raw = self.cursor.since(start);
        }
        if !self.is_utf8 && std::str::from_utf8(raw).is_err() {
            return Err(self.cursor.error(format!("{:?} is not valid UTF-8", String::from_utf8_lossy(raw))));
        }
        let value = self.value()?;
        let timestamp = self.timestamp()?;
        Ok(Entry::Series(Series { raw, value, timestamp, exemplar: None, metric_type: self.metric_type }))
    }

    /// Goes past the closing brace.
    fn skip_labels(&mut self, is_named: bool) -> Result<(), ParseError> {
        let mut is_named = is_named;
        loop {
            self.cursor.skip_blanks();
            let is_quoted = self.cursor.peek() == Some(b'"');
            if is_quoted {
                self.skip_quoted("a closing quote")?;
            } else if self.cursor.eat(b'}') {
                break;
            } else if self.cursor.label_name().is_empty() {
                return Err(self.cursor.expected("a label name or \"}\""));
            }
            self.cursor.skip_blanks();
            if self.cursor.eat(b'=') {
                self.cursor.skip_blanks();
                self.skip_quoted("a quoted label value")?;
                self.cursor.skip_blanks();
                self.cursor.eat(b',');
                continue;
            }
            let ends = self.cursor.peek() == Some(b'}');
            if !is_quoted || !(ends || self.cursor.peek() == Some(b',')) {
                return Err(self.cursor.expected("\"=\" after the label name"));
            }
            if is_named {
                return Err(self.cursor.error("the metric has two names"));
            }
            is_named = true;
            self.cursor.advance(1);
            if ends {
                break;
            }
        }
        if is_named { Ok(()) } else { Err(self.cursor.error("the metric has no name")) }
    }

    #[inline]
    fn skip_quoted(&mut self, what: &str) -> Result<(), ParseError> {
        match self.cursor.quoted(true) {
            Some(_) => Ok(()),
            None => Err(self.cursor.expected(what)),
        }
    }

    #[inline]
    fn value(&mut self) -> Result<f64, ParseError> {
        self.cursor.skip_blanks();
        if let Some((value, len)) = parse_simple(self.cursor.rest())
            && matches!(self.cursor.rest().get(len), None | Some(b' ' | b'\t' | b'\n'))
        {
            self.cursor.advance(len);
            return Ok(value);
        }
        let start = self.cursor.clone();
        let token = self.cursor.take_while(|byte| !is_blank(byte) && !matches!(byte, b'\n' | b'{'));
        if token.is_empty() {
            return Err(self.cursor.expected("a value after the metric"));
        }
        parse_value(token).ok_or_else(|| start.expected("a number as the value"))
    }

    #[inline]
    fn timestamp(&mut self) -> Result<Option<i64>, ParseError> {
        // Nearly always the line ends behind the value.
        if self.cursor.eat(b'\n') {
            return Ok(None);
        }
        self.stated_timestamp()
    }

    fn stated_timestamp(&mut self) -> Result<Option<i64>, ParseError> {
        self.cursor.skip_blanks();
        if matches!(self.cursor.peek(), None | Some(b'\n')) {
            self.cursor.advance(1);
            return Ok(None);
        }
        let start = self.cursor.clone();
        let digits = self.cursor.take_while(|byte| byte.is_ascii_digit());
        if digits.is_empty() {
            return Err(self.cursor.expected("a timestamp or the end of the line after the value"));
        }
        let timestamp = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        let timestamp = timestamp.ok_or_else(|| start.error("the timestamp is out of range"))?;
        self.cursor.skip_blanks();
        match self.cursor.peek() {
            None | Some(b'\n') => self.cursor.advance(1),
            Some(_) => return Err(self.cursor.expected("the end of the line after the timestamp")),
        }
        Ok(Some(timestamp))
    }

    /// A comment, or HELP or TYPE in the shape of one.
    fn comment_line(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        let start = self.cursor.position();
        self.cursor.advance(1);
        if !self.cursor.peek().is_some_and(is_blank) {
            // Only here, where no blank follows the "#", a zero byte ends the page.
            let ends_page = self.cursor.line().contains(&0);
            return Ok((!ends_page).then(|| Entry::Comment(self.cursor.since(start))));
        }
        self.cursor.skip_blanks();
        let rest = self.cursor.rest();
        let has_keyword = |word: &[u8]| rest.starts_with(word) && rest.get(4).copied().is_some_and(is_blank);
        if has_keyword(b"HELP") {
            return self.help().map(Some);
        }
        if has_keyword(b"TYPE") {
            return self.metric_type().map(Some);
        }
        self.cursor.line();
        Ok(Some(Entry::Comment(self.cursor.since(start))))
    }

    fn help(&mut self) -> Result<Entry<'a>, ParseError> {
        let (name, text) = self.metadata("HELP")?;
        // The byte in front of the text may have been the first one of a character.
        let is_checked = self.is_utf8 && text.first().is_none_or(|byte| byte & 0xc0 != 0x80);
        if !is_checked && std::str::from_utf8(text).is_err() {
            return Err(self.cursor.error("the help text is not valid UTF-8"));
        }
        Ok(Entry::Help { name: unescape(name, Escapes::Label), help: unescape(text, Escapes::Help) })
    }

    fn metric_type(&mut self) -> Result<Entry<'a>, ParseError> {
        let (name, text) = self.metadata("TYPE")?;
        self.metric_type = match text {
            b"counter" => MetricType::Counter,
            b"gauge" => MetricType::Gauge,
            b"histogram" => MetricType::Histogram,
            b"summary" => MetricType::Summary,
            b"untyped" => MetricType::Unknown,
            _ => {
                let word = String::from_utf8_lossy(text);
                return Err(self.cursor.error(format!("invalid metric type {word:?}")));
            }
        };
        Ok(Entry::Type { name: unescape(name, Escapes::Label), metric_type: self.metric_type })
    }

    /// The name and the text after a keyword. The byte between them is dropped, whatever it is.
    fn metadata(&mut self, keyword: &str) -> Result<(&'a [u8], &'a [u8]), ParseError> {
        self.cursor.advance(keyword.len());
        self.cursor.skip_blanks();
        let name = match self.cursor.peek() {
            Some(b'"') => self.cursor.quoted(true),
            _ => Some(self.cursor.metric_name()).filter(|name| !name.is_empty()),
        };
        let name = name.ok_or_else(|| self.cursor.expected(&format!("a metric name after {keyword}")))?;
        if !self.is_utf8 && std::str::from_utf8(name).is_err() {
            return Err(self.cursor.error(format!("the name after {keyword} is not valid UTF-8")));
        }
        let text = self.cursor.line();
        let text = if text.iter().copied().all(is_blank) { &[] } else { &text[1..] };
        Ok((name, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page as one line per entry, or the error.
    fn read(page: &[u8]) -> String {
        let mut parser = TextParser::new(page);
        let mut output = String::new();
        loop {
            match parser.next_entry() {
                Ok(Some(entry)) => output.push_str(&super::super::tests::show(&entry)),
                Ok(None) => return output,
                Err(error) => return format!("{output}{error}"),
            }
        }
    }

    #[track_caller]
    fn check(page: &str, expected: &str) {
        assert_eq!(read(page.as_bytes()), expected, "{page:?}");
    }

    #[test]
    fn series() {
        check("a 1\n", "a = 1|");
        check("a 1", "a = 1|");
        check("a{} 1", "a = 1|");
        check("\n \n\t a \t 1 \t 2 \n\n", "a = 1 @2|");
        check("a+1", "a = 1|");
        check("a{b=\"c\"}1 0", "a b=c = 1 @0|");
        check("a { b = \"c\" , d=\"e\" , } NaN", "a b=c d=e = NaN|");
        check("a{b=\"c\"d=\"e\"} -Inf 1520879607789", "a b=c d=e = -inf @1520879607789|");
        check("a{b=\"\\\"\\\\\\n\\t\"} 1", "a b=\"\\\n\\t = 1|");
        check("a{b=\"x\ny\"} 1\nc 2", "a b=x\ny = 1|c = 2|");
        check("a{b=\"}\"} 1", "a b=} = 1|");
        check("a{b=\"\0\"} 1", "a b=\0 = 1|");
        check("a:b_1{le=\"1\"} 0x", "line 1: expected a number as the value, found \"0x\"");
        check("__name__{__name__=\"x\"} 1", "__name__ __name__=x = 1|");
        check("{\"a.b\",\"c d\"=\"é\"} 1e3", "a.b c d=é = 1000|");
        check("{b=\"c\",\"a\"} 1", "b=c a = 1|");
        check("{\"a\\\"b\"}1", "a\"b = 1|");
        check("{\"a\",} 1", "a = 1|");
    }

    #[test]
    fn metadata() {
        check("# TYPE a counter\na 1", "TYPE a counter|a = 1|");
        check("#\tTYPE\ta\tuntyped", "TYPE a unknown|");
        check("# HELP a some \\\\ \\n \\\" text ", "HELP a some \\ \n \\\" text |");
        check("# HELP a", "HELP a |");
        check("# HELP a  \n", "HELP a |");
        check("# HELP \"a.b\" text\n# TYPE \"a.b\" gauge", "HELP a.b text|TYPE a.b gauge|");
        check("# HELP a-b c", "HELP a b c|");
        check("# HELP a\u{e9} c", "line 1: the help text is not valid UTF-8");
        check("# HELP\n#HELP a b\n# TYPEa\n# x\n#", "# # HELP|# #HELP a b|# # TYPEa|# # x|# #|");
        check("# TYPE a histogram\na{le=\"1\"} 1\na{le=\"x\"} 1", "TYPE a histogram|a le=1.0 = 1|a le=x = 1|");
        check("# TYPE a summary\na{quantile=\"1e-3\"} 1", "TYPE a summary|a quantile=0.001 = 1|");
        check("a{\"\"=\"1\"} 1", "a =1 = 1|");
        check("# TYPE a gauge\na{le=\"1\"} 1", "TYPE a gauge|a le=1 = 1|");
    }

    #[test]
    fn a_zero_byte_where_a_line_or_a_bare_comment_stands_ends_the_page() {
        check("a 1\n\0b 2\nc 3", "a = 1|");
        check("a 1\n#x\0\nc 3", "a = 1|");
        check("# x\0\nc 3", "# # x\0|c = 3|");
    }

    #[test]
    fn errors_name_the_line_and_what_is_wrong() {
        check("a", "line 1: expected a value after the metric, found the end of the page");
        check("\n\na\n", "line 3: expected a value after the metric, found the end of the line");
        check("a{b=\"c\"\n", "line 1: expected a label name or \"}\", found the end of the line");
        check("a{b}", "line 1: expected \"=\" after the label name, found \"}\"");
        check("a{b=c} 1", "line 1: expected a quoted label value, found \"c} 1\"");
        check("a{b=\"c} 1\n", "line 1: expected a quoted label value, found \"\\\"c} 1\"");
        check("a{b=\"c\\\n\"} 1\n", "line 1: expected a quoted label value, found \"\\\"c\\\\\"");
        check("a{,} 1", "line 1: expected a label name or \"}\", found \",} 1\"");
        check("a{b=\"c\",,} 1", "line 1: expected a label name or \"}\", found \",} 1\"");
        check("a{\"b\"} 1", "line 1: the metric has two names");
        check("{\"a\",\"b\"} 1", "line 1: the metric has two names");
        check("{b=\"c\"} 1", "line 1: the metric has no name");
        check("{} 1", "line 1: the metric has no name");
        check("a{}{} 1", "line 1: expected a value after the metric, found \"{} 1\"");
        check("a 1\r\n", "line 1: expected a number as the value, found \"1\\r\"");
        check("a 1 -1", "line 1: expected a timestamp or the end of the line after the value, found \"-1\"");
        check("a 1 1.5", "line 1: expected the end of the line after the timestamp, found \".5\"");
        check("a 1 2 3", "line 1: expected the end of the line after the timestamp, found \"3\"");
        check("a 1 99999999999999999999", "line 1: the timestamp is out of range");
        check("a 1{", "line 1: expected a timestamp or the end of the line after the value, found \"{\"");
        check("1a 1", "line 1: expected a metric name, a comment or an empty line, found \"1a 1\"");
        check("a-b 1", "line 1: expected a number as the value, found \"-b 1\"");
        check("# TYPE a count", "line 1: invalid metric type \"count\"");
        check("# TYPE a counter \n", "line 1: invalid metric type \"counter \"");
        check("# TYPE a", "line 1: invalid metric type \"\"");
        check("# HELP 1", "line 1: expected a metric name after HELP, found \"1\"");
    }

    #[test]
    fn invalid_utf8_is_refused_save_in_comments() {
        assert_eq!(read(b"# \xff\na 1"), "# # \u{fffd}|a = 1|");
        assert_eq!(read(b"a{b=\"\xff\"} 1"), "line 1: \"a{b=\\\"\u{fffd}\\\"}\" is not valid UTF-8");
        assert_eq!(read(b"# HELP a \xff"), "line 1: the help text is not valid UTF-8");
    }
}
