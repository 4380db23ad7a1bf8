//! Length-delimited `io.prometheus.client.MetricFamily` messages as the same entries that the text
//! parsers give: histograms and summaries become `_count`, `_sum`, and one series per bucket or quantile.
//!
//! Order and spelling follow prometheus/model/textparse/protobufparse.go. Exemplars are passed over. A
//! native histogram is given as such, and after it whatever classic series its message allows (at
//! least `_count`, `_sum` and the `+Inf` bucket), as Prometheus does with native histograms turned off.
//! A message that is not well formed fails the page; nothing in it is trusted, lengths least of all.

use super::labels::SEPARATOR;
use super::native::NativeHistogram;
use super::number::{canonical, push_openmetrics};
use super::wire::{Fields, WireError};
use super::{Entry, ParseError, Series};
use crate::model::MetricType;

/// Gives the entries of a page one by one. They borrow from the parser, which spells series anew.
#[derive(Clone, Debug)]
pub struct ProtobufParser<'a> {
    page_len: usize,
    page: Fields<'a>,
    family_count: usize,
    family_offset: usize,
    family: Family<'a>,
    metrics: Fields<'a>,
    metric: Metric<'a>,
    step: Step,
    /// The series given last.
    raw: Vec<u8>,
    /// The labels of the metric in hand, spelled as in `raw`.
    labels: Vec<u8>,
}

/// What a family says of itself.
#[derive(Clone, Copy, Debug, Default)]
struct Family<'a> {
    name: &'a str,
    help: &'a str,
    unit: &'a str,
    metric_type: MetricType,
    has_metrics: bool,
}

/// What remains to be given of the metric in hand.
#[derive(Clone, Copy, Debug, Default)]
struct Metric<'a> {
    timestamp: Option<i64>,
    count: f64,
    sum: f64,
    /// Buckets or quantiles not given yet.
    points: Fields<'a>,
    /// Whether the `+Inf` bucket is still to come.
    inf_is_due: bool,
}

/// What is given next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Family,
    Unit,
    Type,
    Metric,
    Count,
    Sum,
    Points,
}

/// Field numbers of io.prometheus.client (prometheus/client_model, metrics.proto).
mod field {
    pub(super) const FAMILY_NAME: u32 = 1;
    pub(super) const FAMILY_HELP: u32 = 2;
    pub(super) const FAMILY_TYPE: u32 = 3;
    pub(super) const FAMILY_METRIC: u32 = 4;
    pub(super) const FAMILY_UNIT: u32 = 5;
    pub(super) const METRIC_LABEL: u32 = 1;
    pub(super) const METRIC_GAUGE: u32 = 2;
    pub(super) const METRIC_COUNTER: u32 = 3;
    pub(super) const METRIC_SUMMARY: u32 = 4;
    pub(super) const METRIC_UNTYPED: u32 = 5;
    pub(super) const METRIC_TIMESTAMP_MS: u32 = 6;
    pub(super) const METRIC_HISTOGRAM: u32 = 7;
    pub(super) const SAMPLE_COUNT: u32 = 1;
    pub(super) const SAMPLE_SUM: u32 = 2;
    /// Buckets of a histogram, quantiles of a summary.
    pub(super) const POINT: u32 = 3;
    pub(super) const SAMPLE_COUNT_FLOAT: u32 = 4;
    pub(super) const BUCKET_COUNT: u32 = 1;
    pub(super) const BUCKET_BOUND: u32 = 2;
    pub(super) const BUCKET_COUNT_FLOAT: u32 = 4;
    pub(super) const QUANTILE: u32 = 1;
    pub(super) const QUANTILE_VALUE: u32 = 2;
}

impl<'a> ProtobufParser<'a> {
    /// A parser at the start of `page`.
    pub fn new(page: &'a [u8]) -> Self {
        Self {
            page_len: page.len(),
            page: Fields::new(page),
            family_count: 0,
            family_offset: 0,
            family: Family::default(),
            metrics: Fields::default(),
            metric: Metric::default(),
            step: Step::Family,
            raw: Vec::new(),
            labels: Vec::new(),
        }
    }

    /// The next entry, or `None` at the end of the page.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'_>>, ParseError> {
        loop {
            match self.step {
                Step::Family => {
                    if self.page.rest().is_empty() {
                        return Ok(None);
                    }
                    self.start_family()?;
                    if self.family.has_metrics && !self.family.help.is_empty() {
                        let Family { name, help, .. } = self.family;
                        return Ok(Some(Entry::Help { name: name.into(), help: help.into() }));
                    }
                }
                Step::Unit => {
                    self.step = Step::Type;
                    let Family { name, unit, .. } = self.family;
                    if !unit.is_empty() {
                        return Ok(Some(Entry::Unit { name: name.into(), unit: unit.into() }));
                    }
                }
                Step::Type => {
                    self.step = Step::Metric;
                    let Family { name, metric_type, .. } = self.family;
                    return Ok(Some(Entry::Type { name: name.into(), metric_type }));
                }
                Step::Metric => match self.start_metric() {
                    Ok(Started::End) => self.step = Step::Family,
                    Ok(Started::Simple(value)) => return Ok(Some(self.series("", None, value))),
                    Ok(Started::Parts) => self.step = Step::Count,
                    Ok(Started::Native(message)) => {
                        self.step = Step::Count;
                        return Ok(Some(self.native(message)));
                    }
                    Err(error) => return Err(self.error(error)),
                },
                Step::Count => {
                    self.step = Step::Sum;
                    return Ok(Some(self.series("_count", None, self.metric.count)));
                }
                Step::Sum => {
                    self.step = Step::Points;
                    return Ok(Some(self.series("_sum", None, self.metric.sum)));
                }
                Step::Points => match self.next_point() {
                    Ok(None) => self.step = Step::Metric,
                    Ok(Some((bound, value))) => return Ok(Some(self.point(bound, value))),
                    Err(error) => return Err(self.error(error)),
                },
            }
        }
    }

    fn error(&self, error: impl ToString) -> ParseError {
        ParseError::Protobuf { family: self.family_count, offset: self.family_offset, reason: error.to_string() }
    }

    /// Reads what a family says of itself, wherever in its message that stands.
    fn start_family(&mut self) -> Result<(), ParseError> {
        self.family_offset = self.page_len - self.page.rest().len();
        self.family_count += 1;
        let message = self.page.delimited().map_err(|error| self.error(error))?;
        self.family = read_family(message).map_err(|error| self.error(error))?;
        if self.family.name.is_empty() {
            return Err(self.error("the metric family has no name"));
        }
        self.metrics = Fields::new(message);
        self.step = if self.family.has_metrics { Step::Unit } else { Step::Family };
        Ok(())
    }

    fn start_metric(&mut self) -> Result<Started<'a>, FamilyError> {
        loop {
            match self.metrics.next_field()? {
                None => return Ok(Started::End),
                Some(field) if field.number == field::FAMILY_METRIC => return self.read_metric(field.bytes()?),
                Some(_) => {}
            }
        }
    }

    fn read_metric(&mut self, message: &'a [u8]) -> Result<Started<'a>, FamilyError> {
        let wanted = match self.family.metric_type {
            MetricType::Counter => field::METRIC_COUNTER,
            MetricType::Gauge => field::METRIC_GAUGE,
            MetricType::Summary => field::METRIC_SUMMARY,
            MetricType::Histogram | MetricType::GaugeHistogram => field::METRIC_HISTOGRAM,
            _ => field::METRIC_UNTYPED,
        };
        self.labels.clear();
        self.metric = Metric::default();
        // A missing message is one with all defaults, as in Prometheus.
        let mut body: &'a [u8] = &[];
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next_field()? {
            match field.number {
                field::METRIC_LABEL => push_label(&mut self.labels, field.bytes()?)?,
                // Zero cannot be told from "not given" and is taken as that, as in Prometheus.
                field::METRIC_TIMESTAMP_MS => {
                    self.metric.timestamp = Some(field.varint()? as i64).filter(|timestamp| *timestamp != 0);
                }
                number if number == wanted => body = field.bytes()?,
                _ => {}
            }
        }
        match wanted {
            field::METRIC_HISTOGRAM => self.start_histogram(body),
            field::METRIC_SUMMARY => self.start_summary(body),
            _ => Ok(Started::Simple(read_value(body)?)),
        }
    }

    fn start_summary(&mut self, body: &'a [u8]) -> Result<Started<'a>, FamilyError> {
        self.read_totals(body)?;
        Ok(Started::Parts)
    }

    fn start_histogram(&mut self, body: &'a [u8]) -> Result<Started<'a>, FamilyError> {
        self.read_totals(body)?;
        self.metric.inf_is_due = true;
        Ok(if NativeHistogram::is_native(body)? { Started::Native(body) } else { Started::Parts })
    }

    /// Count and sum of a histogram or a summary; a float count counts if it is not zero.
    fn read_totals(&mut self, body: &'a [u8]) -> Result<(), FamilyError> {
        let (mut count, mut count_float) = (0, 0.0);
        let mut fields = Fields::new(body);
        while let Some(field) = fields.next_field()? {
            match field.number {
                field::SAMPLE_COUNT => count = field.varint()?,
                field::SAMPLE_SUM => self.metric.sum = canonical(field.double()?),
                // In a summary this number is a timestamp.
                field::SAMPLE_COUNT_FLOAT if self.family.metric_type != MetricType::Summary => {
                    count_float = field.double()?;
                }
                _ => {}
            }
        }
        self.metric.count = float_or_integer(count_float, count);
        self.metric.points = Fields::new(body);
        Ok(())
    }

    /// Bound (or quantile) and value of the next bucket or quantile.
    fn next_point(&mut self) -> Result<Option<(f64, f64)>, FamilyError> {
        while let Some(field) = self.metric.points.next_field()? {
            if field.number != field::POINT {
                continue;
            }
            if self.family.metric_type == MetricType::Summary {
                return Ok(Some(read_quantile(field.bytes()?)?));
            }
            let (bound, value) = read_bucket(field.bytes()?)?;
            if bound == f64::INFINITY {
                // What stands behind the last bucket is nothing.
                self.metric.inf_is_due = false;
                self.metric.points = Fields::default();
            }
            return Ok(Some((bound, value)));
        }
        let inf_is_due = std::mem::take(&mut self.metric.inf_is_due);
        Ok(inf_is_due.then_some((f64::INFINITY, self.metric.count)))
    }

    fn point(&mut self, bound: f64, value: f64) -> Entry<'_> {
        if self.family.metric_type == MetricType::Summary {
            return self.series("", Some(("quantile", bound)), value);
        }
        self.series("_bucket", Some(("le", bound)), value)
    }

    fn series(&mut self, suffix: &str, extra: Option<(&str, f64)>, value: f64) -> Entry<'_> {
        self.spell(suffix, extra);
        Entry::Series(Series {
            raw: &self.raw,
            value,
            timestamp: self.metric.timestamp,
            exemplar: None,
            metric_type: self.family.metric_type,
        })
    }

    fn native(&mut self, message: &'a [u8]) -> Entry<'_> {
        self.spell("", None);
        Entry::NativeHistogram(NativeHistogram {
            raw: &self.raw,
            timestamp: self.metric.timestamp,
            is_gauge: self.family.metric_type == MetricType::GaugeHistogram,
            message,
        })
    }

    /// Writes the series to `raw`.
    fn spell(&mut self, suffix: &str, extra: Option<(&str, f64)>) {
        self.raw.clear();
        self.raw.push(SEPARATOR);
        self.raw.extend_from_slice(self.family.name.as_bytes());
        self.raw.extend_from_slice(suffix.as_bytes());
        self.raw.push(SEPARATOR);
        self.raw.extend_from_slice(&self.labels);
        if let Some((name, number)) = extra {
            self.raw.extend_from_slice(name.as_bytes());
            self.raw.push(SEPARATOR);
            push_openmetrics(&mut self.raw, number);
            self.raw.push(SEPARATOR);
        }
    }
}

/// What the next metric is.
enum Started<'a> {
    /// There is none.
    End,
    /// One series with this value.
    Simple(f64),
    /// Several series.
    Parts,
    /// A native histogram, given before its classic series.
    Native(&'a [u8]),
}

/// Why a family cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum FamilyError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("unknown metric type {0}")]
    Type(u64),
}

fn read_family(message: &[u8]) -> Result<Family<'_>, FamilyError> {
    // Type 0, the default, is a counter.
    let mut family = Family { metric_type: MetricType::Counter, ..Family::default() };
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next_field()? {
        match field.number {
            field::FAMILY_NAME => family.name = field.string()?,
            field::FAMILY_HELP => family.help = field.string()?,
            field::FAMILY_UNIT => family.unit = field.string()?,
            field::FAMILY_TYPE => family.metric_type = metric_type(field.varint()?)?,
            field::FAMILY_METRIC => family.has_metrics = true,
            _ => {}
        }
    }
    Ok(family)
}

fn metric_type(number: u64) -> Result<MetricType, FamilyError> {
    Ok(match number {
        0 => MetricType::Counter,
        1 => MetricType::Gauge,
        2 => MetricType::Summary,
        3 => MetricType::Unknown,
        4 => MetricType::Histogram,
        5 => MetricType::GaugeHistogram,
        other => return Err(FamilyError::Type(other)),
    })
}

/// Appends a LabelPair to the spelling of a series.
fn push_label(labels: &mut Vec<u8>, message: &[u8]) -> Result<(), WireError> {
    let (mut name, mut value) = ("", "");
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next_field()? {
        match field.number {
            1 => name = field.string()?,
            2 => value = field.string()?,
            _ => {}
        }
    }
    for part in [name, value] {
        labels.extend_from_slice(part.as_bytes());
        labels.push(SEPARATOR);
    }
    Ok(())
}

/// The value of a counter, gauge or untyped metric.
fn read_value(message: &[u8]) -> Result<f64, WireError> {
    let mut value = 0.0;
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next_field()? {
        if field.number == 1 {
            value = field.double()?;
        }
    }
    Ok(canonical(value))
}

fn read_bucket(message: &[u8]) -> Result<(f64, f64), WireError> {
    let (mut bound, mut count, mut count_float) = (0.0, 0, 0.0);
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next_field()? {
        match field.number {
            field::BUCKET_COUNT => count = field.varint()?,
            field::BUCKET_BOUND => bound = field.double()?,
            field::BUCKET_COUNT_FLOAT => count_float = field.double()?,
            _ => {}
        }
    }
    Ok((bound, float_or_integer(count_float, count)))
}

fn read_quantile(message: &[u8]) -> Result<(f64, f64), WireError> {
    let (mut quantile, mut value) = (0.0, 0.0);
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next_field()? {
        match field.number {
            field::QUANTILE => quantile = field.double()?,
            field::QUANTILE_VALUE => value = field.double()?,
            _ => {}
        }
    }
    Ok((quantile, canonical(value)))
}

fn float_or_integer(float: f64, integer: u64) -> f64 {
    if float == 0.0 { integer as f64 } else { canonical(float) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A length-delimited field.
    fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
        assert!(content.len() < 128, "one byte of length is enough here");
        [&[number << 3 | 2, content.len() as u8], content].concat()
    }

    fn double(number: u8, value: f64) -> Vec<u8> {
        [&[number << 3 | 1], &value.to_le_bytes()[..]].concat()
    }

    fn varint(number: u8, value: u8) -> Vec<u8> {
        vec![number << 3, value]
    }

    fn family(name: &str, metric_type: u8, metrics: &[Vec<u8>]) -> Vec<u8> {
        let metrics: Vec<u8> = metrics.iter().flat_map(|metric| bytes(4, metric)).collect();
        // The type stands behind the metrics: order must not matter.
        let message = [bytes(1, name.as_bytes()), metrics, varint(3, metric_type)].concat();
        [vec![message.len() as u8], message].concat()
    }

    fn label(name: &str, value: &str) -> Vec<u8> {
        bytes(1, &[bytes(1, name.as_bytes()), bytes(2, value.as_bytes())].concat())
    }

    fn read(page: &[u8]) -> String {
        let mut parser = ProtobufParser::new(page);
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
    fn check(page: &[u8], expected: &str) {
        assert_eq!(read(page), expected);
    }

    #[test]
    fn simple_metrics() {
        let counter = [label("b", "c"), bytes(3, &double(1, 1.5))].concat();
        check(&family("a_total", 0, &[counter]), "TYPE a_total counter|a_total b=c = 1.5|");
        let gauge = [bytes(2, &double(1, f64::NAN)), varint(6, 5)].concat();
        check(&family("a", 1, &[gauge.clone(), gauge]), "TYPE a gauge|a = NaN @5|a = NaN @5|");
        check(&family("a", 3, &[bytes(5, &[])]), "TYPE a unknown|a = 0|");
        check(&family("a", 3, &[]), "");
        check(b"", "");
    }

    #[test]
    fn summaries_and_classic_histograms() {
        let quantile = |at: f64, value: f64| bytes(3, &[double(1, at), double(2, value)].concat());
        let summary = [varint(1, 7), double(2, 3.5), quantile(0.5, 1.0), quantile(1.0, 2.0)].concat();
        check(
            &family("s", 2, &[bytes(4, &summary)]),
            "TYPE s summary|s_count = 7|s_sum = 3.5|s quantile=0.5 = 1|s quantile=1.0 = 2|",
        );
        let bucket = |bound: f64, count: u8| bytes(3, &[varint(1, count), double(2, bound)].concat());
        let histogram = [varint(1, 7), double(2, 3.5), bucket(1.0, 4), bucket(2.5, 6)].concat();
        let expected = "h_count = 7|h_sum = 3.5|h_bucket le=1.0 = 4|h_bucket le=2.5 = 6|h_bucket le=+Inf = 7|";
        check(&family("h", 4, &[bytes(7, &histogram)]), &format!("TYPE h histogram|{expected}"));
        let with_inf = [histogram, bucket(f64::INFINITY, 7)].concat();
        check(&family("h", 5, &[bytes(7, &with_inf)]), &format!("TYPE h gaugehistogram|{expected}"));
        let floats = [double(4, 7.5), bytes(3, &[double(4, 1.5), double(2, 1.0)].concat())].concat();
        check(
            &family("h", 4, &[bytes(7, &floats)]),
            "TYPE h histogram|h_count = 7.5|h_sum = 0|h_bucket le=1.0 = 1.5|h_bucket le=+Inf = 7.5|",
        );
    }

    #[test]
    fn native_histograms_come_with_their_classic_series() {
        let span = [varint(1, 2), varint(2, 2)].concat();
        let deltas = bytes(13, &[2, 1]);
        let native = [varint(1, 3), double(2, 9.0), varint(5, 6), bytes(12, &span), deltas].concat();
        let page = family("n", 4, &[bytes(7, &native)]);
        check(&page, "TYPE n histogram|NATIVE n|n_count = 3|n_sum = 9|n_bucket le=+Inf = 3|");

        let mut parser = ProtobufParser::new(&page);
        parser.next_entry().expect("TYPE");
        let Ok(Some(Entry::NativeHistogram(found))) = parser.next_entry() else { panic!("no native histogram") };
        let histogram = found.decode().expect("well formed");
        assert_eq!((histogram.schema, histogram.count, histogram.sum), (3, 3.0, 9.0));
        assert_eq!(histogram.positive_buckets, [1.0, 0.0]);
        let short = NativeHistogram { message: &[bytes(12, &span), bytes(13, &[2])].concat(), ..found };
        assert!(short.decode().is_err(), "two buckets described, one given");
    }

    #[test]
    fn hostile_bytes_are_errors() {
        let at_start = "metric family 1, at byte 0: ";
        check(&[5], &format!("{at_start}the message is cut off"));
        check(&[0xff; 11], &format!("{at_start}a varint has more than 64 bits"));
        check(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], &format!("{at_start}the message is cut off"));
        check(&[2, 0x0b, 0], &format!("{at_start}wire type 3 is not supported"));
        check(&[2, 0x02, 0], &format!("{at_start}field number 0 or beyond 2^29"));
        check(&[2, 0x08, 0], &format!("{at_start}field 1 has the wrong wire type"));
        check(&[3, 0x0a, 1, 0xff], &format!("{at_start}a string is not valid UTF-8"));
        check(&[0], &format!("{at_start}the metric family has no name"));
        check(&family("a", 9, &[]), &format!("{at_start}unknown metric type 9"));
        let metric = bytes(1, &bytes(1, &[0xff]));
        check(&family("a", 1, &[metric]), &format!("TYPE a gauge|{at_start}a string is not valid UTF-8"));
    }
}
