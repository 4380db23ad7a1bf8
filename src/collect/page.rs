//! Writes families in the Prometheus text format, one at a time.
//!
//! A page is one buffer from the collector to the store: the scrape looks each line's text up in its cache, so that neither
//! side makes a label set of a series that it knows.

use std::io::Write;
use std::ops::Range;

use crate::model::MetricType;

/// Whole numbers up to here are exact in a float and are written without a float's care.
const WHOLE_MAX: f64 = 1e15;

/// A page under construction.
pub struct Page<'a> {
    bytes: &'a mut Vec<u8>,
    /// Where the last family's lines begin, and where its samples do.
    last: Option<(usize, usize)>,
}

impl<'a> Page<'a> {
    /// Appends to `bytes`.
    pub fn new(bytes: &'a mut Vec<u8>) -> Self {
        Self { bytes, last: None }
    }

    /// Begins a family; its samples must follow before the next family begins. Without samples nothing stays of it.
    pub fn family(&mut self, name: &str, metric_type: MetricType, help: &str) -> Family<'_> {
        self.family_of(&[name], metric_type, help)
    }

    /// Begins a family whose name is put together of parts; what may not stand in a name becomes an underscore.
    pub fn family_of(&mut self, name: &[&str], metric_type: MetricType, help: &str) -> Family<'_> {
        self.settle();
        let start = self.bytes.len();
        self.bytes.extend_from_slice(b"# HELP ");
        let from = self.bytes.len();
        // Parts of names are words of the kernel: whatever stands there, the page stays one of the format.
        let is_of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
        for part in name {
            self.bytes.extend(part.bytes().map(|byte| if is_of_a_name(byte) { byte } else { b'_' }));
        }
        let name = from..self.bytes.len();
        self.bytes.push(b' ');
        push_escaped(self.bytes, help, false);
        self.bytes.extend_from_slice(b"\n# TYPE ");
        self.bytes.extend_from_within(name.clone());
        self.bytes.push(b' ');
        let word = if metric_type == MetricType::Unknown { "untyped" } else { metric_type.as_str() };
        self.bytes.extend_from_slice(word.as_bytes());
        self.bytes.push(b'\n');
        self.last = Some((start, self.bytes.len()));
        Family { bytes: self.bytes, name }
    }

    /// A counter with one sample without labels.
    pub fn counter(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, MetricType::Counter, help).sample(&[], value);
    }

    /// A gauge with one sample without labels.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, MetricType::Gauge, help).sample(&[], value);
    }

    /// How much has been written: a mark for [`Page::rewind`].
    pub fn mark(&mut self) -> usize {
        self.settle();
        self.bytes.len()
    }

    /// Takes back what was written since the mark, so that a failed collector leaves nothing half.
    pub fn rewind(&mut self, mark: usize) {
        self.last = None;
        self.bytes.truncate(mark);
    }

    /// Appends lines that are text of the format already.
    pub fn append(&mut self, lines: &[u8]) {
        self.settle();
        self.bytes.extend_from_slice(lines);
    }

    /// Takes back the lines of a family that no sample followed.
    fn settle(&mut self) {
        if let Some((start, body)) = self.last.take()
            && self.bytes.len() == body
        {
            self.bytes.truncate(start);
        }
    }
}

impl Drop for Page<'_> {
    fn drop(&mut self) {
        self.settle();
    }
}

/// One family of a page.
pub struct Family<'p> {
    bytes: &'p mut Vec<u8>,
    /// Where the name stands in the page: each sample copies it from there.
    name: Range<usize>,
}

impl Family<'_> {
    /// Adds a sample. Label values may hold any text.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        self.sample_of(&mut labels.iter().copied(), value)
    }

    /// Adds a sample whose labels come one by one.
    pub fn sample_of(&mut self, labels: &mut dyn Iterator<Item = (&str, &str)>, value: f64) -> &mut Self {
        self.sample_with(&Labels::default(), labels, value)
    }

    /// Adds a sample with labels that are written already, and more behind them.
    pub fn sample_with(
        &mut self,
        labels: &Labels,
        more: &mut dyn Iterator<Item = (&str, &str)>,
        value: f64,
    ) -> &mut Self {
        self.bytes.extend_from_within(self.name.clone());
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&labels.0);
        push_labels(self.bytes, start, more);
        if self.bytes.len() > start {
            self.bytes.push(b'}');
        }
        self.bytes.push(b' ');
        push_value(self.bytes, value);
        self.bytes.push(b'\n');
        self
    }
}

/// Labels as they stand in a line, from its brace on: written once for all lines that begin with them.
#[derive(Default)]
pub struct Labels(Vec<u8>);

impl Labels {
    /// Writes them. Values may hold any text.
    pub fn new(labels: &mut dyn Iterator<Item = (&str, &str)>) -> Self {
        let mut bytes = Vec::new();
        push_labels(&mut bytes, 0, labels);
        Self(bytes)
    }
}

/// Appends labels to those that begin at `start`.
fn push_labels(bytes: &mut Vec<u8>, start: usize, labels: &mut dyn Iterator<Item = (&str, &str)>) {
    for (label, text) in labels {
        bytes.push(if bytes.len() == start { b'{' } else { b',' });
        bytes.extend_from_slice(label.as_bytes());
        bytes.extend_from_slice(b"=\"");
        push_escaped(bytes, text, true);
        bytes.push(b'"');
    }
}

fn push_value(bytes: &mut Vec<u8>, value: f64) {
    if (0.0..WHOLE_MAX).contains(&value) && value.fract() == 0.0 {
        push_whole(bytes, value as u64);
    } else if value.is_finite() {
        write!(bytes, "{value}").expect("writing to memory does not fail");
    } else {
        bytes.extend_from_slice(crate::model::format_float(value).as_bytes());
    }
}

fn push_whole(bytes: &mut Vec<u8>, mut value: u64) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len() - 1;
    loop {
        digits[first] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
        first -= 1;
    }
    bytes.extend_from_slice(&digits[first..]);
}

fn push_escaped(bytes: &mut Vec<u8>, text: &str, is_quoted: bool) {
    let is_plain = |byte: u8| byte != b'\\' && byte != b'\n' && byte != b'"';
    if text.bytes().all(is_plain) {
        return bytes.extend_from_slice(text.as_bytes());
    }
    for byte in text.bytes() {
        match byte {
            b'\\' => bytes.extend_from_slice(b"\\\\"),
            b'\n' => bytes.extend_from_slice(b"\\n"),
            b'"' if is_quoted => bytes.extend_from_slice(b"\\\""),
            other => bytes.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_samples() {
        let mut bytes = Vec::new();
        let mut page = Page::new(&mut bytes);
        page.gauge("a", "A \"\\\".", 1.5);
        page.family_of(&["b", "-total"], MetricType::Counter, "B.")
            .sample(&[("x", "1\"\\\n"), ("y", "")], f64::INFINITY);
        let mark = page.mark();
        page.gauge("c", "C.", 1.0);
        page.rewind(mark);
        page.family("without_samples", MetricType::Gauge, "None.");
        drop(page);
        let expected = "# HELP a A \"\\\\\".\n# TYPE a gauge\na 1.5\n# HELP b_total B.\n# TYPE b_total counter\n\
                        b_total{x=\"1\\\"\\\\\\n\",y=\"\"} +Inf\n";
        assert_eq!(String::from_utf8(bytes).expect("text"), expected);
    }

    #[test]
    fn values() {
        let cases = [
            (0.0, "0"),
            (-1.0, "-1"),
            (1_000_000.0, "1000000"),
            (999_999_999_999_999.0, "999999999999999"),
            (9_007_199_254_740_993.0, "9007199254740992"),
            (0.1, "0.1"),
            (1e-9, "0.000000001"),
        ];
        for (value, expected) in cases {
            let mut bytes = Vec::new();
            push_value(&mut bytes, value);
            assert_eq!(String::from_utf8(bytes).expect("text"), expected);
        }
    }
}
