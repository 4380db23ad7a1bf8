//! OpenMetrics text, 1.0.0 and 0.0.1, read exactly as strictly as Prometheus 3.5 reads it: single
//! spaces, no blanks inside braces, no free comments, `# EOF` at the end. Beyond the syntax only the
//! unit's being a suffix of the name is checked; `_created` lines are ordinary series.
//! Source: prometheus/model/textparse (openmetricslex.l, openmetricsparse.go).

use super::cursor::{Cursor, Escapes, is_metric_name_start, unescape};
use super::number::parse_value;
use super::{Entry, Exemplar, ParseError, Series};
use crate::model::MetricType;

/// Gives the entries of a page one by one.
#[derive(Clone, Debug)]
pub struct OpenMetricsParser<'a> {
    cursor: Cursor<'a>,
    metric_type: MetricType,
    is_utf8: bool,
    is_at_end: bool,
}

/// Whose labels are read: only a series may carry a metric's name among them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Braces {
    Named,
    Unnamed,
    Exemplar,
}

impl<'a> OpenMetricsParser<'a> {
    /// A parser at the start of `page`. An empty page needs no `# EOF`: Prometheus takes an empty body
    /// for a scrape without samples.
    pub fn new(page: &'a [u8]) -> Self {
        let is_utf8 = std::str::from_utf8(page).is_ok();
        Self { cursor: Cursor::new(page), metric_type: MetricType::Unknown, is_utf8, is_at_end: page.is_empty() }
    }

    /// The next entry, or `None` after `# EOF`.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        if self.is_at_end {
            return Ok(None);
        }
        match self.cursor.peek() {
            None => Err(self.no_eof()),
            Some(b'#') => self.hash_line(),
            Some(b'{') => self.sample_line().map(Some),
            Some(byte) if is_metric_name_start(byte) => self.sample_line().map(Some),
            Some(_) => Err(self.cursor.expected("a metric name, \"# HELP\", \"# TYPE\", \"# UNIT\" or \"# EOF\"")),
        }
    }

    fn no_eof(&self) -> ParseError {
        self.cursor.error("the page does not end with \"# EOF\"; it may be cut off")
    }

    fn hash_line(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        if self.cursor.eat_all(b"# HELP ") {
            return self.help().map(Some);
        }
        if self.cursor.eat_all(b"# TYPE ") {
            return self.metric_type().map(Some);
        }
        if self.cursor.eat_all(b"# UNIT ") {
            return self.unit().map(Some);
        }
        if !self.cursor.eat_all(b"# EOF") {
            return Err(self.cursor.expected("\"# HELP\", \"# TYPE\", \"# UNIT\" or \"# EOF\""));
        }
        self.cursor.eat(b'\n');
        if self.cursor.peek().is_some() {
            return Err(self.cursor.error("there is something after \"# EOF\""));
        }
        self.is_at_end = true;
        Ok(None)
    }

    fn help(&mut self) -> Result<Entry<'a>, ParseError> {
        let (name, text) = self.metadata("HELP")?;
        self.end_of_line()?;
        Ok(Entry::Help { name: unescape(name, Escapes::Label), help: unescape(text, Escapes::Label) })
    }

    fn metric_type(&mut self) -> Result<Entry<'a>, ParseError> {
        let (name, text) = self.metadata("TYPE")?;
        let word = String::from_utf8_lossy(text);
        // The word of the Prometheus format for unknown is not one of OpenMetrics.
        self.metric_type = MetricType::parse(&word)
            .filter(|_| word != "untyped")
            .ok_or_else(|| self.cursor.error(format!("invalid metric type {word:?}")))?;
        self.end_of_line()?;
        Ok(Entry::Type { name: unescape(name, Escapes::Label), metric_type: self.metric_type })
    }

    fn unit(&mut self) -> Result<Entry<'a>, ParseError> {
        let (name, unit) = self.metadata("UNIT")?;
        let is_suffix = || name.strip_suffix(unit).is_some_and(|rest| rest.ends_with(b"_"));
        if !unit.is_empty() && !is_suffix() {
            let (unit, name) = (String::from_utf8_lossy(unit), String::from_utf8_lossy(name));
            return Err(self.cursor.error(format!("unit {unit:?} is not a suffix of metric {name:?}")));
        }
        self.end_of_line()?;
        Ok(Entry::Unit { name: unescape(name, Escapes::Label), unit: unescape(unit, Escapes::Label) })
    }

    /// The name and the text after a keyword, up to the end of the line.
    fn metadata(&mut self, keyword: &str) -> Result<(&'a [u8], &'a [u8]), ParseError> {
        let start = self.cursor.position();
        let name = match self.cursor.peek() {
            Some(b'"') => self.cursor.quoted(true),
            _ => Some(self.cursor.metric_name()).filter(|name| !name.is_empty()),
        };
        let name = name.ok_or_else(|| self.cursor.expected(&format!("a metric name after {keyword}")))?;
        if !self.cursor.eat(b' ') {
            return Err(self.cursor.expected(&format!("a space and a text after {keyword} and the name")));
        }
        let text = self.cursor.line();
        self.check_utf8(start)?;
        if self.cursor.peek().is_none() {
            return Err(self.no_eof());
        }
        Ok((name, text))
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
        let start = self.cursor.position();
        self.cursor.advance(len);
        let (value, timestamp, _) = self.sample(start)?;
        Ok(Some((value, timestamp)))
    }

    fn sample_line(&mut self) -> Result<Entry<'a>, ParseError> {
        let start = self.cursor.position();
        let is_named = !self.cursor.metric_name().is_empty();
        if self.cursor.eat(b'{') {
            self.skip_labels(if is_named { Braces::Named } else { Braces::Unnamed })?;
        }
        let raw = self.cursor.since(start);
        let (value, timestamp, exemplar) = self.sample(start)?;
        Ok(Entry::Series(Series { raw, value, timestamp, exemplar, metric_type: self.metric_type }))
    }

    /// What follows the labels, up to the end of the line that began at `start`.
    fn sample(&mut self, start: usize) -> Result<(f64, Option<i64>, Option<Exemplar<'a>>), ParseError> {
        let value = self.number("a space and a value after the metric")?;
        let mut timestamp = None;
        if self.cursor.peek() == Some(b' ') && !self.cursor.rest().starts_with(b" # {") {
            timestamp = Some(self.timestamp()?);
        }
        let exemplar = if self.cursor.eat_all(b" # ") { Some(self.exemplar()?) } else { None };
        self.check_utf8(start)?;
        self.end_of_line()?;
        Ok((value, timestamp, exemplar))
    }

    fn exemplar(&mut self) -> Result<Exemplar<'a>, ParseError> {
        let start = self.cursor.position();
        if !self.cursor.eat(b'{') {
            return Err(self.cursor.expected("the labels of an exemplar"));
        }
        self.skip_labels(Braces::Exemplar)?;
        let raw = self.cursor.since(start);
        let value = self.number("a space and a value after the exemplar's labels")?;
        let timestamp = if self.cursor.peek() == Some(b' ') { Some(self.timestamp()?) } else { None };
        Ok(Exemplar { raw, value, timestamp })
    }

    /// Goes past the closing brace.
    fn skip_labels(&mut self, braces: Braces) -> Result<(), ParseError> {
        let mut is_named = braces != Braces::Unnamed;
        while !self.cursor.eat(b'}') {
            let is_quoted = self.cursor.peek() == Some(b'"');
            if is_quoted {
                // Names may span lines, values may not; those of exemplars may not either.
                self.skip_quoted(braces != Braces::Exemplar, "a closing quote")?;
            } else if self.cursor.label_name().is_empty() {
                return Err(self.cursor.expected("a label name or \"}\""));
            }
            if self.cursor.eat(b'=') {
                self.skip_quoted(false, "a quoted label value")?;
            } else if !is_quoted || braces == Braces::Exemplar || !matches!(self.cursor.peek(), Some(b',' | b'}')) {
                return Err(self.cursor.expected("\"=\" after the label name"));
            } else if is_named {
                return Err(self.cursor.error("the metric has two names"));
            } else {
                is_named = true;
            }
            if !self.cursor.eat(b',') && self.cursor.peek() != Some(b'}') {
                return Err(self.cursor.expected("\",\" or \"}\" after the label"));
            }
        }
        if is_named { Ok(()) } else { Err(self.cursor.error("the metric has no name")) }
    }

    fn skip_quoted(&mut self, may_span_lines: bool, what: &str) -> Result<(), ParseError> {
        match self.cursor.quoted(may_span_lines) {
            Some(_) => Ok(()),
            None => Err(self.cursor.expected(what)),
        }
    }

    /// One space and a number.
    fn number(&mut self, what: &str) -> Result<f64, ParseError> {
        let start = self.cursor.clone();
        self.cursor.eat(b' ');
        let token = self.cursor.take_while(|byte| !matches!(byte, b' ' | b'\n'));
        if token.is_empty() || start.peek() != Some(b' ') {
            return Err(start.expected(what));
        }
        parse_value(token).ok_or_else(|| start.expected("a number"))
    }

    /// Seconds, given in milliseconds; what is finer is cut off, as in Prometheus.
    fn timestamp(&mut self) -> Result<i64, ParseError> {
        let start = self.cursor.clone();
        let seconds = self.number("a space and a timestamp or the end of the line")?;
        if !seconds.is_finite() {
            return Err(start.expected("a finite timestamp"));
        }
        Ok((seconds * 1000.0) as i64)
    }

    fn end_of_line(&mut self) -> Result<(), ParseError> {
        if self.cursor.eat(b'\n') {
            return Ok(());
        }
        if self.cursor.peek().is_none() {
            return Err(self.no_eof());
        }
        Err(self.cursor.expected("the end of the line"))
    }

    /// Whether all from `start` to here is text.
    fn check_utf8(&self, start: usize) -> Result<(), ParseError> {
        if self.is_utf8 || std::str::from_utf8(self.cursor.since(start)).is_ok() {
            return Ok(());
        }
        Err(self.cursor.error("the line is not valid UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page as one line per entry, or the error.
    fn read(page: &[u8]) -> String {
        let mut parser = OpenMetricsParser::new(page);
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

    const STARTS: &str = "\"# HELP\", \"# TYPE\", \"# UNIT\" or \"# EOF\"";

    #[test]
    fn well_formed_pages() {
        check("", "");
        check("# EOF", "");
        check("# EOF\n", "");
        check("a 1\n# EOF\n", "a = 1|");
        check("a{b=\"c\",d=\"e\",} 1 1.5\n# EOF\n", "a b=c d=e = 1 @1500|");
        check("a 1 -0.0019\n# EOF\n", "a = 1 @-1|");
        check("a 1 1520879607.789\n# EOF\n", "a = 1 @1520879607789|");
        check("a 1 # {t=\"x\"} 0.5\n# EOF\n", "a = 1 {t=x = 0.5}|");
        check("a 1 2 # {} 0.5 3.25\n# EOF\n", "a = 1 @2000 { = 0.5 @3250}|");
        check("a 1 # {\"t.u\"=\"x\"} 1\n# EOF\n", "a = 1 {t.u=x = 1}|");
        check("{\"a.b\",c=\"d\"} 1\n# EOF\n", "a.b c=d = 1|");
        check("a_created 1.5e9\n# EOF\n", "a_created = 1500000000|");
        check(
            "# HELP a x \\\"y\\\"\n# TYPE a stateset\n# UNIT a_s s\n# EOF",
            "HELP a x \"y\"|TYPE a stateset|UNIT a_s s|",
        );
        check("# UNIT a \n# EOF", "UNIT a |");
        check("# TYPE a histogram\na_bucket{le=\"5\"} 1\n# EOF\n", "TYPE a histogram|a_bucket le=5.0 = 1|");
    }

    #[test]
    fn errors_name_the_line_and_what_is_wrong() {
        let no_eof = "the page does not end with \"# EOF\"; it may be cut off";
        check("\n", &format!("line 1: expected a metric name, {STARTS}, found the end of the line"));
        check("a 1\n", &format!("a = 1|line 2: {no_eof}"));
        check("a 1", &format!("line 1: {no_eof}"));
        check("# HELP a b", &format!("line 1: {no_eof}"));
        check("# EOF\n\n", "line 2: there is something after \"# EOF\"");
        check("# EOF\na 1", "line 2: there is something after \"# EOF\"");
        check("# HELP a\n", "line 1: expected a space and a text after HELP and the name, found the end of the line");
        check("# TYPE a untyped\n", "line 1: invalid metric type \"untyped\"");
        check("# TYPE a x\n", "line 1: invalid metric type \"x\"");
        check("# UNIT a_seconds s\n", "line 1: unit \"s\" is not a suffix of metric \"a_seconds\"");
        check("# UNIT s s\n", "line 1: unit \"s\" is not a suffix of metric \"s\"");
        check("a{b=\"c\" } 1\n", "line 1: expected \",\" or \"}\" after the label, found \" } 1\"");
        check("a{ b=\"c\"} 1\n", "line 1: expected a label name or \"}\", found \" b=\\\"c\\\"} 1\"");
        check("a{b=\"\n\"} 1\n", "line 1: expected a quoted label value, found \"\\\"\"");
        check("a {b=\"c\"} 1\n", "line 1: expected a number, found \" {b=\\\"c\\\"} 1\"");
        check("a  1\n", "line 1: expected a space and a value after the metric, found \"  1\"");
        check("a\t1\n", "line 1: expected a space and a value after the metric, found \"\\t1\"");
        check("a 1 \n", "line 1: expected a space and a timestamp or the end of the line, found \" \"");
        check("a 1 NaN\n", "line 1: expected a finite timestamp, found \" NaN\"");
        check("a 1 1 1\n", "line 1: expected the end of the line, found \" 1\"");
        check(
            "a 1 # {b=\"c\"}\n",
            "line 1: expected a space and a value after the exemplar's labels, found the end of the line",
        );
        check("a 1 # {\"b\"} 1\n", "line 1: expected \"=\" after the label name, found \"} 1\"");
        check("{b=\"c\"} 1\n", "line 1: the metric has no name");
        check("a{\"b\"} 1\n", "line 1: the metric has two names");
        check("# x\n", &format!("line 1: expected {STARTS}, found \"# x\""));
        check("\na 1\n", &format!("line 1: expected a metric name, {STARTS}, found the end of the line"));
        assert_eq!(read(b"a{b=\"\xff\"} 1\n"), "line 1: the line is not valid UTF-8");
    }
}
