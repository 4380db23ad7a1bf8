//! Writes samples as a page, in any of the formats.
//!
//! Give a family, then its samples; consecutive samples of one family need not share a name, so
//! that `x_bucket`, `x_sum` and `x_count` follow one TYPE line. A family without samples leaves no
//! trace. Spelling follows prometheus/common/expfmt. Writing cannot fail; the page grows in memory, and
//! [`PageWriter::take`] hands out what is finished, so that a long page need not be held whole.

use super::encode::MessageWriter;
use super::number::push_openmetrics;
use super::{EscapingScheme, Format, ResponseFormat, escape_label_name, escape_metric_name};
use crate::model::{
    METRIC_NAME, MetricType, Timestamp, is_legacy_label_name, is_legacy_metric_name, push_general_bytes,
};

/// A page being written.
#[derive(Clone, Debug)]
pub struct PageWriter {
    response: ResponseFormat,
    page: Vec<u8>,
    family: Family,
    series: SeriesText,
    messages: MessageWriter,
}

/// What is known of the family in hand.
#[derive(Clone, Debug, Default)]
struct Family {
    name: String,
    metric_type: MetricType,
    help: Option<String>,
    unit: String,
    /// Whether its header has still to be written: it waits for the first sample.
    is_due: bool,
}

impl PageWriter {
    /// An empty page.
    pub fn new(response: ResponseFormat) -> Self {
        Self {
            response,
            page: Vec::new(),
            family: Family::default(),
            series: SeriesText::new(response.escaping),
            messages: MessageWriter::default(),
        }
    }

    /// Starts a family. `unit` may be empty; it is only written in OpenMetrics.
    pub fn family(&mut self, name: &str, metric_type: MetricType, help: Option<&str>, unit: &str) {
        self.messages.finish_family(&mut self.page);
        self.family = Family {
            name: name.to_owned(),
            metric_type,
            help: help.map(str::to_owned),
            unit: unit.to_owned(),
            is_due: true,
        };
    }

    /// Writes a sample of the family in hand.
    pub fn sample<'l>(
        &mut self,
        name: &str,
        labels: impl IntoIterator<Item = (&'l str, &'l str)>,
        value: f64,
        timestamp: Option<Timestamp>,
    ) {
        self.samples(name, labels, [(timestamp, value)]);
    }

    /// Writes the samples of one series of the family in hand. A label called `__name__` is passed over.
    pub fn samples<'l>(
        &mut self,
        name: &str,
        labels: impl IntoIterator<Item = (&'l str, &'l str)>,
        samples: impl IntoIterator<Item = (Option<Timestamp>, f64)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let labels = labels.into_iter().filter(|(label, _)| *label != METRIC_NAME);
        match self.response.format {
            Format::PrometheusProto => {
                self.open_message(name, labels);
                samples.for_each(|(timestamp, value)| self.messages.push_sample(value, timestamp));
            }
            Format::PrometheusText004 | Format::PrometheusText100 => {
                self.write_text_header(name);
                let push_time = |page: &mut Vec<u8>, timestamp: Timestamp| {
                    page.extend_from_slice(itoa::Buffer::new().format(timestamp.0).as_bytes());
                };
                self.write_lines(name, labels, samples, push_general_bytes, push_time);
            }
            Format::OpenMetricsText001 | Format::OpenMetricsText100 => {
                self.write_openmetrics_header();
                let push_time = |page: &mut Vec<u8>, timestamp: Timestamp| push_openmetrics(page, timestamp.seconds());
                self.write_lines(name, labels, samples, push_openmetrics, push_time);
            }
        }
    }

    /// How many bytes wait to be taken.
    pub fn pending_bytes(&self) -> usize {
        self.page.len()
    }

    /// Hands out what is finished and goes on behind it.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.page)
    }

    /// Ends the page and hands out the rest of it.
    pub fn finish(mut self) -> Vec<u8> {
        self.messages.finish_family(&mut self.page);
        if matches!(self.response.format, Format::OpenMetricsText001 | Format::OpenMetricsText100) {
            self.page.extend_from_slice(b"# EOF\n");
        }
        self.page
    }

    /// A counter of an OpenMetrics source is called `x` and its series `x_total`; here the family bears
    /// the name of the series.
    fn write_text_header(&mut self, sample_name: &str) {
        if !std::mem::take(&mut self.family.is_due) {
            return;
        }
        let family = std::mem::take(&mut self.family);
        let is_total =
            family.metric_type == MetricType::Counter && sample_name.strip_suffix("_total") == Some(&family.name);
        let name = if is_total { sample_name } else { &family.name };
        if let Some(help) = &family.help {
            self.write_header_line("HELP", name, |page| push_escaped(page, help, false));
        }
        let word = match family.metric_type {
            // Words that the format does not have.
            MetricType::Unknown => "untyped",
            MetricType::GaugeHistogram => "histogram",
            MetricType::Info | MetricType::StateSet => "gauge",
            other => other.as_str(),
        };
        self.write_header_line("TYPE", name, |page| page.extend_from_slice(word.as_bytes()));
        self.family = family;
    }

    /// A counter's family goes without `_total`; one whose name lacks it is no counter here.
    fn write_openmetrics_header(&mut self) {
        if !std::mem::take(&mut self.family.is_due) {
            return;
        }
        let family = std::mem::take(&mut self.family);
        let is_counter = family.metric_type == MetricType::Counter;
        let (name, word) = match family.name.strip_suffix("_total") {
            Some(name) if is_counter => (name, "counter"),
            None if is_counter => (family.name.as_str(), "unknown"),
            _ => (family.name.as_str(), family.metric_type.as_str()),
        };
        if let Some(help) = &family.help {
            self.write_header_line("HELP", name, |page| push_escaped(page, help, true));
        }
        self.write_header_line("TYPE", name, |page| page.extend_from_slice(word.as_bytes()));
        let is_suffix = name.strip_suffix(family.unit.as_str()).is_some_and(|rest| rest.ends_with('_'));
        if !family.unit.is_empty() && is_suffix {
            self.write_header_line("UNIT", name, |page| push_escaped(page, &family.unit, true));
        }
        self.family = family;
    }

    fn write_header_line(&mut self, keyword: &str, name: &str, text: impl FnOnce(&mut Vec<u8>)) {
        self.page.extend_from_slice(format!("# {keyword} ").as_bytes());
        let name = escape_metric_name(name, self.response.escaping);
        push_name(&mut self.page, &name, is_legacy_metric_name(&name));
        self.page.push(b' ');
        text(&mut self.page);
        self.page.push(b'\n');
    }

    /// A line per sample. What they begin with is spelled once.
    fn write_lines<'l>(
        &mut self,
        name: &str,
        labels: impl Iterator<Item = (&'l str, &'l str)>,
        samples: impl Iterator<Item = (Option<Timestamp>, f64)>,
        push_value: fn(&mut Vec<u8>, f64),
        push_time: fn(&mut Vec<u8>, Timestamp),
    ) {
        let beginning = self.series.spell(name, labels);
        for (timestamp, value) in samples {
            self.page.extend_from_slice(beginning);
            push_value(&mut self.page, value);
            if let Some(timestamp) = timestamp {
                self.page.push(b' ');
                push_time(&mut self.page, timestamp);
            }
            self.page.push(b'\n');
        }
    }

    /// Series that make up one histogram or summary come one by one here, so that they go out as
    /// Prometheus's `/federate` sends them: untyped families named like the series.
    fn open_message<'l>(&mut self, name: &str, labels: impl Iterator<Item = (&'l str, &'l str)>) {
        let is_family = name == self.family.name || name.strip_suffix("_total") == Some(&self.family.name);
        let metric_type = match self.family.metric_type {
            MetricType::Counter if is_family => MetricType::Counter,
            MetricType::Gauge if is_family => MetricType::Gauge,
            _ => MetricType::Unknown,
        };
        let escaping = self.response.escaping;
        let help = self.family.help.as_deref().filter(|_| is_family);
        self.messages.open_family(&mut self.page, &escape_metric_name(name, escaping), metric_type, help);
        self.messages.open_metric(labels.map(|(label, value)| (escape_label_name(label, escaping), value)));
    }
}

/// How a line begins: name, labels, and the blank before the value. Series come in label order, where most of it is as it was
/// in the line before: what is the same up to the first label that differs is not spelled again.
#[derive(Clone, Debug)]
struct SeriesText {
    escaping: EscapingScheme,
    text: Vec<u8>,
    name: String,
    /// Where the text of the name ends.
    name_end: usize,
    is_legacy: bool,
    /// Names and values, one behind the other.
    labels: String,
    pairs: Vec<Pair>,
}

#[derive(Clone, Copy, Debug)]
struct Pair {
    name_end: usize,
    value_end: usize,
    /// Where its text ends.
    text_end: usize,
}

impl SeriesText {
    fn new(escaping: EscapingScheme) -> Self {
        let (text, name, labels, pairs) = (Vec::new(), String::new(), String::new(), Vec::new());
        Self { escaping, text, name, name_end: 0, is_legacy: true, labels, pairs }
    }

    fn spell<'l>(&mut self, name: &str, labels: impl Iterator<Item = (&'l str, &'l str)>) -> &[u8] {
        if self.name != name || self.text.is_empty() {
            self.spell_name(name);
        }
        let (mut same, mut is_same) = (0, true);
        for (label, value) in labels {
            is_same = is_same && self.is_pair(same, label, value);
            if is_same {
                same += 1;
                continue;
            }
            self.keep(same);
            same += 1;
            self.push_pair(label, value);
        }
        self.keep(same);
        self.text.extend_from_slice(if self.pairs.is_empty() && self.is_legacy { b" " } else { b"} " });
        &self.text
    }

    fn spell_name(&mut self, name: &str) {
        name.clone_into(&mut self.name);
        self.keep(0);
        self.text.clear();
        let name = escape_metric_name(name, self.escaping);
        self.is_legacy = is_legacy_metric_name(&name);
        self.text.extend_from_slice(if self.is_legacy { b"" } else { b"{" });
        push_name(&mut self.text, &name, self.is_legacy);
        self.name_end = self.text.len();
    }

    /// Whether this is what stands at a position.
    fn is_pair(&self, position: usize, label: &str, value: &str) -> bool {
        let start = position.checked_sub(1).map_or(0, |before| self.pairs[before].value_end);
        self.pairs.get(position).is_some_and(|pair| {
            self.labels[start..pair.name_end] == *label && self.labels[pair.name_end..pair.value_end] == *value
        })
    }

    /// Forgets all but the first pairs.
    fn keep(&mut self, count: usize) {
        self.pairs.truncate(count);
        let (labels_end, text_end) =
            self.pairs.last().map_or((0, self.name_end), |pair| (pair.value_end, pair.text_end));
        self.labels.truncate(labels_end);
        self.text.truncate(text_end);
    }

    fn push_pair(&mut self, label: &str, value: &str) {
        self.text.push(if self.pairs.is_empty() && self.is_legacy { b'{' } else { b',' });
        if is_legacy_label_name(label) {
            self.text.extend_from_slice(label.as_bytes());
        } else {
            let label = escape_label_name(label, self.escaping);
            push_name(&mut self.text, &label, is_legacy_label_name(&label));
        }
        self.text.extend_from_slice(b"=\"");
        push_escaped(&mut self.text, value, true);
        self.text.push(b'"');
        self.labels.push_str(label);
        let name_end = self.labels.len();
        self.labels.push_str(value);
        self.pairs.push(Pair { name_end, value_end: self.labels.len(), text_end: self.text.len() });
    }
}

/// A name as it is, or in quotes.
fn push_name(page: &mut Vec<u8>, name: &str, is_legacy: bool) {
    if is_legacy {
        return page.extend_from_slice(name.as_bytes());
    }
    page.push(b'"');
    push_escaped(page, name, true);
    page.push(b'"');
}

fn push_escaped(page: &mut Vec<u8>, text: &str, quotes_too: bool) {
    let mut rest = text.as_bytes();
    let is_special = |byte: &u8| matches!(byte, b'\\' | b'\n') || (quotes_too && *byte == b'"');
    while let Some(at) = rest.iter().position(is_special) {
        page.extend_from_slice(&rest[..at]);
        page.extend_from_slice(match rest[at] {
            b'\\' => br"\\",
            b'\n' => br"\n",
            _ => br#"\""#,
        });
        rest = &rest[at + 1..];
    }
    page.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::super::{Entry, EscapingScheme, Parser};
    use super::*;

    fn writer(format: Format, escaping: EscapingScheme) -> PageWriter {
        PageWriter::new(ResponseFormat { format, escaping })
    }

    /// One page with everything that is special about a format.
    fn sample_page(format: Format, escaping: EscapingScheme) -> Vec<u8> {
        let mut page = writer(format, escaping);
        page.family("unused", MetricType::Gauge, Some("Leaves no trace."), "");
        page.family("a_total", MetricType::Counter, Some("Quotes \" and \\ and\nlines."), "");
        page.sample("a_total", [("__name__", "a_total"), ("path", "C:\\\"x\"\n")], 1.0, Some(Timestamp(1_500)));
        page.samples("a_total", [], [(Some(Timestamp(16_500)), 1e9), (None, 2.0)]);
        page.samples("a_total", [], []);
        page.family("b", MetricType::Counter, None, "");
        page.sample("b_total", [], f64::INFINITY, None);
        page.family("h_seconds", MetricType::Histogram, None, "seconds");
        page.sample("h_seconds_bucket", [("le", "+Inf")], 2.0, None);
        page.sample("h_seconds_count", [], 2.0, None);
        page.family("dotted.name", MetricType::Unknown, None, "");
        page.sample("dotted.name", [("a.b", "c")], 0.5, None);
        page.sample("dotted.name", [], 0.5, None);
        page.finish()
    }

    #[track_caller]
    fn check(format: Format, escaping: EscapingScheme, expected: &str) {
        assert_eq!(String::from_utf8_lossy(&sample_page(format, escaping)), expected);
    }

    /// What is kept of the line before does not show.
    #[test]
    fn a_line_begins_alike_whatever_comes_before() {
        let all: [(&str, &[(&str, &str)]); 11] = [
            ("a", &[]),
            ("a", &[("b", "c")]),
            ("a", &[("b", "c"), ("d", "e")]),
            ("a", &[("b", "c"), ("d", "e\"")]),
            ("a", &[("b", "c"), ("f", "e")]),
            ("a", &[("b", "cd"), ("", "e")]),
            ("a", &[("b", ""), ("cd", "e")]),
            ("a", &[("b.c", "d")]),
            ("ab", &[("b", "c"), ("d", "e")]),
            ("a.b", &[("b", "c"), ("d", "é")]),
            ("a.b", &[]),
        ];
        let formats = [Format::PrometheusText004, Format::OpenMetricsText100, Format::PrometheusProto];
        for (format, escaping) in
            formats.into_iter().zip([EscapingScheme::Underscores, EscapingScheme::AllowUtf8, EscapingScheme::Dots])
        {
            let page = |series: &[(&str, &[(&str, &str)])]| {
                let mut page = writer(format, escaping);
                series.iter().for_each(|(name, labels)| page.sample(name, labels.iter().copied(), 1.0, None));
                page.messages.finish_family(&mut page.page);
                String::from_utf8_lossy(&page.page).into_owned()
            };
            for (first, second) in all.iter().flat_map(|first| all.iter().map(move |second| (*first, *second))) {
                // A message holds all of a metric's series.
                if format == Format::PrometheusProto && first.0 == second.0 {
                    continue;
                }
                assert_eq!(page(&[first, second]), page(&[first]) + &page(&[second]), "{first:?} {second:?}");
                assert_eq!(
                    page(&[first, second, first]),
                    page(&[first, second]) + &page(&[first]),
                    "{first:?} {second:?}"
                );
            }
        }
    }

    #[test]
    fn prometheus_text() {
        let expected = r##"# HELP a_total Quotes " and \\ and\nlines.
# TYPE a_total counter
a_total{path="C:\\\"x\"\n"} 1 1500
a_total 1e+09 16500
a_total 2
# TYPE b_total counter
b_total +Inf
# TYPE h_seconds histogram
h_seconds_bucket{le="+Inf"} 2
h_seconds_count 2
# TYPE "dotted.name" untyped
{"dotted.name","a.b"="c"} 0.5
{"dotted.name"} 0.5
"##;
        check(Format::PrometheusText100, EscapingScheme::AllowUtf8, expected);
        let escaped = expected
            .replace("# TYPE \"dotted.name\"", "# TYPE dotted_name")
            .replace("{\"dotted.name\",\"a.b\"", "dotted_name{a_b")
            .replace("{\"dotted.name\"}", "dotted_name");
        check(Format::PrometheusText004, EscapingScheme::Underscores, &escaped);
    }

    #[test]
    fn openmetrics_text() {
        let expected = r##"# HELP a Quotes \" and \\ and\nlines.
# TYPE a counter
a_total{path="C:\\\"x\"\n"} 1.0 1.5
a_total 1e+09 16.5
a_total 2.0
# TYPE b unknown
b_total +Inf
# TYPE h_seconds histogram
# UNIT h_seconds seconds
h_seconds_bucket{le="+Inf"} 2.0
h_seconds_count 2.0
# TYPE "dotted.name" unknown
{"dotted.name","a.b"="c"} 0.5
{"dotted.name"} 0.5
# EOF
"##;
        check(Format::OpenMetricsText100, EscapingScheme::AllowUtf8, expected);
    }

    #[test]
    fn protobuf() {
        let page = sample_page(Format::PrometheusProto, EscapingScheme::Underscores);
        let mut parser = Parser::new(Format::PrometheusProto, &page);
        let mut shown = String::new();
        while let Some(entry) = parser.next_entry().expect("well formed") {
            shown += &super::super::tests::show(&entry);
        }
        let expected = "HELP a_total Quotes \" and \\ and\nlines.|TYPE a_total counter|a_total path=C:\\\"x\"\n = 1 @1500|\
                        a_total = 1000000000 @16500|a_total = 2|TYPE b_total counter|b_total = inf|\
                        TYPE h_seconds_bucket unknown|h_seconds_bucket le=+Inf = 2|\
                        TYPE h_seconds_count unknown|h_seconds_count = 2|\
                        TYPE dotted_name unknown|dotted_name a_b=c = 0.5|dotted_name = 0.5|";
        assert_eq!(shown, expected);
    }

    type Sample = (String, Vec<(String, String)>, f64, Option<i64>);

    fn samples() -> impl Strategy<Value = Vec<Sample>> {
        let name = prop_oneof!["[a-z_:][a-z0-9_:]{0,8}", "[^\\x00]{1,8}"];
        let label =
            prop_oneof!["[a-z][a-z0-9_]{0,8}", "[^\\x00]{1,8}"].prop_filter("own name", |name| name != "__name__");
        let labels = btree_map(label, "[^\\x00]{0,12}", 0..4).prop_map(|labels| labels.into_iter().collect());
        vec((name, labels, any::<f64>(), proptest::option::of(1_i64..4_102_444_800_000)), 0..8)
    }

    fn write(format: Format, samples: &[Sample]) -> Vec<u8> {
        let mut page = writer(format, EscapingScheme::AllowUtf8);
        for (name, labels, value, timestamp) in samples {
            page.family(name, MetricType::Gauge, Some(name), "");
            let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            page.sample(name, labels, *value, timestamp.map(Timestamp));
        }
        page.finish()
    }

    fn read(format: Format, page: &[u8]) -> Vec<Sample> {
        let mut samples = Vec::new();
        let mut parser = Parser::new(format, page);
        while let Some(entry) = parser.next_entry().expect("what is written can be read") {
            if let Entry::Series(series) = entry {
                let mut labels: Vec<(String, String)> =
                    series.labels().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
                let name = labels.remove(0).1;
                samples.push((name, labels, series.value, series.timestamp));
            }
        }
        samples
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(samples in samples()) {
            use Format::{OpenMetricsText100, PrometheusProto, PrometheusText100};
            for format in [PrometheusText100, OpenMetricsText100, PrometheusProto] {
                // OpenMetrics has no raw line end in a label's value, and neither do we write one.
                let found = read(format, &write(format, &samples));
                prop_assert_eq!(found.len(), samples.len());
                for (found, given) in found.iter().zip(&samples) {
                    prop_assert_eq!((&found.0, &found.1), (&given.0, &given.1));
                    prop_assert!(found.2 == given.2 || (found.2.is_nan() && given.2.is_nan()), "{} {}", found.2, given.2);
                    // Seconds as a double, cut off to milliseconds, may lose one.
                    let lost = given.3.unwrap_or(-1) - found.3.unwrap_or(-1);
                    prop_assert!(lost == 0 || (lost == 1 && format == OpenMetricsText100), "{lost} ms");
                }
            }
        }
    }
}
