//! A page as families, read as strictly as promtool reads it.
//! Source of the grammar: prometheus/common/expfmt/text_parse.go.

use std::collections::{BTreeMap, BTreeSet};

use super::super::ParseError;
use super::super::cursor::{Cursor, Escapes, is_blank, unescape};
use super::super::number::parse_value;
use crate::model::{METRIC_NAME, MetricType, is_legacy_label_name, is_legacy_metric_name};

/// The families of a page that have samples.
#[derive(Debug, Default)]
pub(super) struct Families(BTreeMap<String, Family>);

/// One family.
#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) name: String,
    pub(super) help: Option<String>,
    /// `None` until a TYPE line or a sample settles it.
    metric_type: Option<MetricType>,
    /// The label sets, `le` of a histogram and `quantile` of a summary left out.
    pub(super) metrics: BTreeSet<Vec<(String, String)>>,
    /// Whether two samples had the same labels.
    pub(super) has_duplicates: bool,
    /// Names of labels that any sample has, likewise.
    pub(super) label_names: BTreeSet<String>,
    /// Buckets or quantiles of the first metric.
    points: usize,
}

impl Family {
    pub(super) fn metric_type(&self) -> MetricType {
        self.metric_type.unwrap_or_default()
    }

    /// How many series the family has, reckoned as promtool does from its first metric.
    pub(super) fn series(&self) -> usize {
        match self.metric_type() {
            MetricType::Histogram | MetricType::GaugeHistogram | MetricType::Summary => {
                self.metrics.len() * (2 + self.points)
            }
            _ => self.metrics.len(),
        }
    }

    /// The label that tells the parts of one metric apart.
    fn part_label(&self) -> Option<&'static str> {
        match self.metric_type() {
            MetricType::Histogram | MetricType::GaugeHistogram => Some("le"),
            MetricType::Summary => Some("quantile"),
            _ => None,
        }
    }

    fn add(&mut self, labels: Vec<(String, String)>, is_point: bool) {
        self.metric_type.get_or_insert_default();
        let is_first = self.metrics.is_empty() || (self.metrics.len() == 1 && self.metrics.contains(&labels));
        self.points += usize::from(is_point && is_first);
        self.label_names.extend(labels.iter().map(|(name, _)| name.clone()));
        let is_new = self.metrics.insert(labels);
        self.has_duplicates |= !is_new && self.part_label().is_none();
    }
}

impl Families {
    /// Reads a page.
    pub(super) fn read(page: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Reader { cursor: Cursor::new(page), families: Self::default() };
        while reader.read_line()? {}
        reader.families.0.retain(|_, family| !family.metrics.is_empty());
        Ok(reader.families)
    }

    /// The families by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Family> {
        self.0.values()
    }

    /// The family that a name in the page belongs to: `x_sum` is part of summary `x`.
    fn family(&mut self, name: &str) -> &mut Family {
        let owner = if self.0.contains_key(name) { name } else { self.owner(name).unwrap_or(name) };
        let family = self.0.entry(owner.to_owned()).or_default();
        if family.name.is_empty() {
            owner.clone_into(&mut family.name);
        }
        family
    }

    fn owner<'n>(&self, name: &'n str) -> Option<&'n str> {
        let parts = [
            ("_count", MetricType::Summary),
            ("_sum", MetricType::Summary),
            ("_count", MetricType::Histogram),
            ("_sum", MetricType::Histogram),
            ("_bucket", MetricType::Histogram),
            ("_count", MetricType::GaugeHistogram),
            ("_sum", MetricType::GaugeHistogram),
            ("_bucket", MetricType::GaugeHistogram),
        ];
        parts.into_iter().find_map(|(suffix, metric_type)| {
            let owner = name.strip_suffix(suffix).filter(|owner| !owner.is_empty())?;
            (self.0.get(owner)?.metric_type == Some(metric_type)).then_some(owner)
        })
    }
}

struct Reader<'a> {
    cursor: Cursor<'a>,
    families: Families,
}

impl Reader<'_> {
    /// Reads a line; `false` at the end of the page.
    fn read_line(&mut self) -> Result<bool, ParseError> {
        self.cursor.skip_blanks();
        match self.cursor.peek() {
            None => return Ok(false),
            Some(b'\n') => {}
            Some(b'#') => self.read_comment()?,
            Some(_) => self.read_sample()?,
        }
        if self.cursor.eat(b'\n') { Ok(true) } else { Err(self.unexpected_end()) }
    }

    fn unexpected_end(&self) -> ParseError {
        self.cursor.error("unexpected end of the page: every line ends with a line feed")
    }

    fn read_comment(&mut self) -> Result<(), ParseError> {
        self.cursor.advance(1);
        self.cursor.skip_blanks();
        let keyword = self.cursor.take_while(|byte| !is_blank(byte) && byte != b'\n');
        self.cursor.skip_blanks();
        if !matches!(keyword, b"HELP" | b"TYPE") || self.cursor.peek() == Some(b'\n') {
            self.cursor.line();
            return Ok(());
        }
        let name = self.metric_name()?;
        match self.cursor.peek() {
            Some(b'\n') | None => return Ok(()),
            Some(byte) if is_blank(byte) => self.cursor.skip_blanks(),
            Some(_) => return Err(self.cursor.error("invalid metric name in the comment")),
        }
        self.check_name("metric", &name, is_legacy_metric_name)?;
        let start = self.cursor.clone();
        let text = self.cursor.line();
        let family = self.families.family(&name);
        if text.is_empty() {
            return Ok(());
        }
        if keyword == b"TYPE" {
            return set_type(family, text, &start);
        }
        if family.help.is_some() {
            return Err(start.error(format!("second HELP line for metric {name:?}")));
        }
        check_escapes(text, &start)?;
        family.help = Some(unescape(text, Escapes::Label).into_owned());
        Ok(())
    }

    /// A name as it is or quoted; empty if there is none.
    fn metric_name(&mut self) -> Result<String, ParseError> {
        if self.cursor.peek() == Some(b'"') {
            return self.quoted("a quoted metric name");
        }
        Ok(String::from_utf8_lossy(self.cursor.metric_name()).into_owned())
    }

    /// Quotes are taken, names that need them are not.
    fn check_name(&self, kind: &str, name: &str, is_valid: fn(&str) -> bool) -> Result<(), ParseError> {
        if is_valid(name) {
            return Ok(());
        }
        Err(self.cursor.error(format!("invalid {kind} name {name:?}: this check takes only names that need no quotes")))
    }

    fn quoted(&mut self, what: &str) -> Result<String, ParseError> {
        let start = self.cursor.clone();
        let text = self.cursor.quoted(false).ok_or_else(|| start.expected(what))?;
        check_escapes(text, &start)?;
        if std::str::from_utf8(text).is_err() {
            return Err(start.error(format!("{:?} is not valid UTF-8", String::from_utf8_lossy(text))));
        }
        Ok(unescape(text, Escapes::Label).into_owned())
    }

    fn read_sample(&mut self) -> Result<(), ParseError> {
        let start = self.cursor.clone();
        let mut name = String::from_utf8_lossy(self.cursor.metric_name()).into_owned();
        let is_in_braces = name.is_empty();
        self.cursor.skip_blanks();
        let mut labels = Vec::new();
        if self.cursor.eat(b'{') {
            self.read_labels(&mut name, is_in_braces, &mut labels)?;
        } else if is_in_braces {
            return Err(start.expected("a metric name"));
        }
        if name.is_empty() {
            return Err(self.cursor.error("the metric has no name"));
        }
        self.cursor.skip_blanks();
        let value = self.read_value_and_timestamp()?;
        let family = self.families.family(&name);
        let is_point = take_part_label(family, &mut labels, &start)?;
        if value < 0.0 {
            check_population(family, &name, is_point, &start)?;
        }
        family.add(labels, is_point);
        Ok(())
    }

    fn read_labels(
        &mut self,
        name: &mut String,
        is_in_braces: bool,
        labels: &mut Vec<(String, String)>,
    ) -> Result<(), ParseError> {
        loop {
            self.cursor.skip_blanks();
            if self.cursor.eat(b'}') {
                return Ok(());
            }
            let is_quoted = self.cursor.peek() == Some(b'"');
            let label = match is_quoted {
                true => self.quoted("a quoted label name")?,
                false => String::from_utf8_lossy(self.cursor.label_name()).into_owned(),
            };
            if label.is_empty() {
                return Err(self.cursor.expected("a label name"));
            }
            self.cursor.skip_blanks();
            if self.cursor.eat(b'=') {
                self.read_label_value(name, label, labels)?;
            } else if !is_in_braces || !is_quoted || !matches!(self.cursor.peek(), Some(b',' | b'}')) {
                return Err(self.cursor.expected("\"=\" after the label name"));
            } else if !name.is_empty() {
                return Err(self.cursor.error("the metric has two names"));
            } else {
                self.check_name("metric", &label, is_legacy_metric_name)?;
                *name = label;
            }
            self.cursor.skip_blanks();
            if !self.cursor.eat(b',') && self.cursor.peek() != Some(b'}') {
                return Err(self.cursor.expected("\",\" or \"}\" after the label value"));
            }
        }
    }

    fn read_label_value(
        &mut self,
        metric: &str,
        label: String,
        labels: &mut Vec<(String, String)>,
    ) -> Result<(), ParseError> {
        if label == METRIC_NAME {
            return Err(self.cursor.error(format!("label name {METRIC_NAME:?} is reserved")));
        }
        if labels.iter().any(|(name, _)| *name == label) {
            return Err(self.cursor.error(format!("duplicate label name {label:?} in metric {metric:?}")));
        }
        self.check_name("label", &label, is_legacy_label_name)?;
        self.cursor.skip_blanks();
        let value = self.quoted("a quoted label value")?;
        labels.push((label, value));
        Ok(())
    }

    fn read_value_and_timestamp(&mut self) -> Result<f64, ParseError> {
        let mut token = || self.cursor.take_while(|byte| !is_blank(byte) && byte != b'\n');
        let value = token();
        if self.cursor.peek().is_none() {
            return Err(self.unexpected_end());
        }
        let Some(value) = parse_value(value) else {
            let value = String::from_utf8_lossy(value);
            return Err(self.cursor.error(format!("expected a float as the value, found {value:?}")));
        };
        if self.cursor.peek() == Some(b'\n') {
            return Ok(value);
        }
        self.cursor.skip_blanks();
        let timestamp = String::from_utf8_lossy(self.cursor.take_while(|byte| !is_blank(byte) && byte != b'\n'));
        if timestamp.parse::<i64>().is_err() {
            return Err(self.cursor.error(format!("expected an integer as the timestamp, found {timestamp:?}")));
        }
        let here = self.cursor.clone();
        let rest = String::from_utf8_lossy(self.cursor.line());
        if !rest.is_empty() {
            return Err(here.error(format!("spurious text after the timestamp: {rest:?}")));
        }
        Ok(value)
    }
}

fn set_type(family: &mut Family, word: &[u8], start: &Cursor<'_>) -> Result<(), ParseError> {
    if family.metric_type.is_some() {
        let name = &family.name;
        return Err(start.error(format!("second TYPE line for metric {name:?}, or TYPE after its samples")));
    }
    let word = String::from_utf8_lossy(word);
    family.metric_type = Some(match word.to_ascii_lowercase().as_str() {
        "counter" => MetricType::Counter,
        "gauge" => MetricType::Gauge,
        "summary" => MetricType::Summary,
        "histogram" => MetricType::Histogram,
        "gauge_histogram" | "gaugehistogram" => MetricType::GaugeHistogram,
        "untyped" => MetricType::Unknown,
        _ => return Err(start.error(format!("unknown metric type {word:?}"))),
    });
    Ok(())
}

/// Removes the label that tells the parts of a metric apart, and says whether there was one.
fn take_part_label(
    family: &Family,
    labels: &mut Vec<(String, String)>,
    start: &Cursor<'_>,
) -> Result<bool, ParseError> {
    let Some(part) = family.part_label() else { return Ok(false) };
    let Some(at) = labels.iter().position(|(name, _)| name == part) else { return Ok(false) };
    let (_, value) = labels.remove(at);
    if parse_value(value.as_bytes()).is_none() {
        return Err(start.error(format!("expected a float as the value of label {part:?}, found {value:?}")));
    }
    Ok(true)
}

/// What a histogram counts is not negative; whatever has an `le` is a bucket.
fn check_population(family: &Family, name: &str, is_point: bool, start: &Cursor<'_>) -> Result<(), ParseError> {
    let is_histogram = matches!(family.metric_type(), MetricType::Histogram | MetricType::GaugeHistogram);
    let what = match name.strip_prefix(&family.name) {
        Some("_count") => "count",
        Some("_sum") => return Ok(()),
        _ if is_point => "bucket population",
        _ => return Ok(()),
    };
    if is_histogram {
        return Err(start.error(format!("negative {what} for histogram {:?}", family.name)));
    }
    Ok(())
}

/// Only `\\`, `\n` and `\"` are known here; a scrape takes others as they are.
fn check_escapes(text: &[u8], start: &Cursor<'_>) -> Result<(), ParseError> {
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'\\' {
            continue;
        }
        let escaped = bytes.next().copied().unwrap_or(b'\n');
        if !matches!(escaped, b'\\' | b'n' | b'"') {
            return Err(start.error(format!("invalid escape sequence \\{}", char::from(escaped))));
        }
    }
    Ok(())
}
