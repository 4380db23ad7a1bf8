//! The labels of a series, decoded from its raw bytes when somebody asks.

use std::borrow::Cow;

use super::cursor::{Cursor, Escapes, lossy, unescape};
use super::number::{parse_value, push_openmetrics};
use crate::model::{METRIC_NAME, MetricType};

/// In front of, and between, the parts of a protobuf series: a byte that UTF-8 never has.
pub(super) const SEPARATOR: u8 = 0xff;

/// Name and value of a label.
type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Gives name and value of each label, in the order of the page.
#[derive(Clone, Debug)]
pub struct LabelIter<'a> {
    cursor: Cursor<'a>,
    /// The label whose value is a number in a spelling of its own.
    numeric_label: Option<&'static str>,
    at_start: bool,
    is_protobuf: bool,
}

impl<'a> LabelIter<'a> {
    /// Over bytes that a parser of this module has checked; other bytes give odd labels, no panic.
    pub(super) fn new(raw: &'a [u8], metric_type: MetricType) -> Self {
        let numeric_label = match metric_type {
            MetricType::Histogram => Some("le"),
            MetricType::Summary => Some("quantile"),
            _ => None,
        };
        let is_protobuf = raw.first() == Some(&SEPARATOR);
        let mut cursor = Cursor::new(raw);
        cursor.advance(usize::from(is_protobuf));
        Self { cursor, numeric_label, at_start: true, is_protobuf }
    }

    fn next_part(&mut self) -> Option<Pair<'a>> {
        if self.at_start {
            self.at_start = false;
            return Some((METRIC_NAME.into(), lossy(self.cursor.take_until(SEPARATOR))));
        }
        self.cursor.peek()?;
        let name = lossy(self.cursor.take_until(SEPARATOR));
        Some((name, lossy(self.cursor.take_until(SEPARATOR))))
    }

    /// The syntax was checked before, so that punctuation can simply be skipped.
    fn next_label(&mut self) -> Option<Pair<'a>> {
        if std::mem::take(&mut self.at_start) {
            let name = self.cursor.metric_name();
            if !name.is_empty() {
                return Some((METRIC_NAME.into(), lossy(name)));
            }
        }
        self.cursor.skip_while(|byte| matches!(byte, b'{' | b'}' | b',' | b' ' | b'\t'));
        let name = match self.cursor.peek()? {
            b'"' => unescape(self.cursor.quoted(true)?, Escapes::Label),
            _ => lossy(self.cursor.label_name()),
        };
        self.cursor.skip_blanks();
        if !self.cursor.eat(b'=') {
            // A quoted string without a value is the metric's name.
            return Some((METRIC_NAME.into(), name));
        }
        self.cursor.skip_blanks();
        let value = unescape(self.cursor.quoted(true)?, Escapes::Label);
        let value = if Some(name.as_ref()) == self.numeric_label { normalize(value) } else { value };
        Some((name, value))
    }
}

impl<'a> Iterator for LabelIter<'a> {
    type Item = Pair<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_protobuf { self.next_part() } else { self.next_label() }
    }
}

/// Spells a number as OpenMetrics does: `0.5`, `1.0`, `+Inf`. Other texts stay as they are.
fn normalize(value: Cow<'_, str>) -> Cow<'_, str> {
    let Some(number) = parse_value(value.as_bytes()) else { return value };
    let mut spelled = Vec::with_capacity(24);
    push_openmetrics(&mut spelled, number);
    if spelled == value.as_bytes() {
        return value;
    }
    Cow::Owned(String::from_utf8_lossy(&spelled).into_owned())
}
