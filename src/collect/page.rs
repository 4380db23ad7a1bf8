//! Writes families in the Prometheus text format, one at a time.

use std::io::Write;

use crate::model::MetricType;

/// A page under construction.
pub struct Page<'a> {
    bytes: &'a mut Vec<u8>,
}

impl<'a> Page<'a> {
    /// Appends to `bytes`.
    pub fn new(bytes: &'a mut Vec<u8>) -> Self {
        Self { bytes }
    }

    /// Begins a family; its samples must follow before the next family begins.
    pub fn family<'p>(&'p mut self, name: &'p str, metric_type: MetricType, help: &str) -> Family<'p> {
        let word = if metric_type == MetricType::Unknown { "untyped" } else { metric_type.as_str() };
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {word}\n"));
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

    /// A sample of unknown type without labels.
    pub fn untyped(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, MetricType::Unknown, help).sample(&[], value);
    }

    /// How much has been written: a mark for [`Page::rewind`].
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes back what was written since the mark, so that a failed collector leaves nothing half.
    pub fn rewind(&mut self, mark: usize) {
        self.bytes.truncate(mark);
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        self.bytes.write_fmt(text).expect("writing to memory does not fail");
    }
}

/// One family of a page.
pub struct Family<'p> {
    bytes: &'p mut Vec<u8>,
    name: &'p str,
}

impl Family<'_> {
    /// Adds a sample. Label values may hold any text.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        self.bytes.extend_from_slice(self.name.as_bytes());
        for (index, (label, text)) in labels.iter().enumerate() {
            self.bytes.push(if index == 0 { b'{' } else { b',' });
            self.bytes.extend_from_slice(label.as_bytes());
            self.bytes.extend_from_slice(b"=\"");
            push_escaped(self.bytes, text);
            self.bytes.push(b'"');
        }
        if !labels.is_empty() {
            self.bytes.push(b'}');
        }
        self.bytes.push(b' ');
        push_value(self.bytes, value);
        self.bytes.push(b'\n');
        self
    }
}

fn push_value(bytes: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        write!(bytes, "{value}").expect("writing to memory does not fail");
    } else {
        bytes.extend_from_slice(crate::model::format_float(value).as_bytes());
    }
}

fn push_escaped(bytes: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'\\' => bytes.extend_from_slice(b"\\\\"),
            b'\n' => bytes.extend_from_slice(b"\\n"),
            b'"' => bytes.extend_from_slice(b"\\\""),
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
        page.gauge("a", "A.", 1.5);
        page.family("b_total", MetricType::Counter, "B.").sample(&[("x", "1\"\\\n"), ("y", "")], f64::INFINITY);
        let mark = page.len();
        page.untyped("c", "C.", 1.0);
        page.rewind(mark);
        let expected = "# HELP a A.\n# TYPE a gauge\na 1.5\n# HELP b_total B.\n# TYPE b_total counter\nb_total{x=\"1\\\"\\\\\\n\",y=\"\"} +Inf\n";
        assert_eq!(String::from_utf8(bytes).expect("text"), expected);
    }
}
