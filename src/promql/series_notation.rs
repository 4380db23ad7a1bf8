//! The notation of sample sequences in rule unit tests: `1+2x3 _ stale {{count:3 buckets:[1 2]}}x4`.
//!
//! Pure: text in, values out; every expansion is bounded by [`VALUES_MAX`]. Source of the notation:
//! Prometheus's documentation of unit testing for rules and promql/parser/generated_parser.y.

use std::sync::Arc;

use crate::model::{CounterResetHint, FloatHistogram, HistogramError, Span, parse_float};

/// Values one sequence may expand to: a hundred days at one second.
pub const VALUES_MAX: usize = 10_000_000;

/// Bucket offsets beyond this are outside of what floats can hold at the finest schema.
const BUCKET_OFFSET_MAX: i32 = 1 << 19;

/// What a sequence holds at one position.
#[derive(Clone, Debug, PartialEq)]
pub enum SequenceValue {
    /// A float sample.
    Float(f64),
    /// A native histogram sample.
    Histogram(Arc<FloatHistogram>),
    /// `stale`: the series ends here.
    Stale,
    /// `_`: no sample.
    Omitted,
}

/// A text that is not a sequence of samples.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("series values, character {}: {message}", .position + 1)]
pub struct NotationError {
    /// The byte concerned.
    pub position: usize,
    /// What is wrong.
    pub message: String,
}

/// Reads a sequence: items separated by white space, each of which may stand for several values.
pub fn parse_series_values(text: &str) -> Result<Vec<SequenceValue>, NotationError> {
    let mut reader = Reader { text, position: 0 };
    let mut values = Vec::new();
    loop {
        let has_space = reader.skip_space();
        if reader.rest().is_empty() {
            return Ok(values);
        }
        if !has_space && !values.is_empty() {
            return Err(reader.error("values must be separated by spaces"));
        }
        reader.item(&mut values)?;
    }
}

/// Reads one histogram: `{{schema:1 count:3 buckets:[1 2]}}`.
pub fn parse_histogram(text: &str) -> Result<FloatHistogram, NotationError> {
    let mut reader = Reader { text: text.trim(), position: 0 };
    let histogram = reader.histogram()?;
    if reader.rest().is_empty() { Ok(histogram) } else { Err(reader.error("nothing may follow the histogram")) }
}

struct Reader<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Reader<'a> {
    fn item(&mut self, values: &mut Vec<SequenceValue>) -> Result<(), NotationError> {
        if self.rest().starts_with("{{") {
            return self.histogram_item(values);
        }
        if self.accept("_") {
            let count = self.times()?.unwrap_or(1);
            return self.repeat(values, count, || Ok(SequenceValue::Omitted));
        }
        if self.word() == "stale" {
            self.position += "stale".len();
            values.push(SequenceValue::Stale);
            return Ok(());
        }
        let mut value = self.number()?;
        let step = if self.rest().starts_with(['+', '-']) { Some(self.number()?) } else { None };
        let Some(times) = self.times()? else {
            return match step {
                Some(_) => Err(self.error("expected x and how often the step is repeated, as in 1+2x3")),
                None => {
                    values.push(SequenceValue::Float(value));
                    Ok(())
                }
            };
        };
        self.repeat(values, times.saturating_add(1), || {
            let present = value;
            value += step.unwrap_or(0.0);
            Ok(SequenceValue::Float(present))
        })
    }

    fn histogram_item(&mut self, values: &mut Vec<SequenceValue>) -> Result<(), NotationError> {
        type Change = fn(&mut FloatHistogram, &FloatHistogram) -> Result<(), HistogramError>;
        let mut histogram = Arc::new(self.histogram()?);
        let change: Option<Change> = match self.rest().as_bytes() {
            [b'+', b'{', ..] => Some(FloatHistogram::add),
            [b'-', b'{', ..] => Some(FloatHistogram::subtract),
            _ => None,
        };
        let Some(change) = change else {
            let times = self.times()?;
            return self.repeat(values, times.map_or(1, |times| times.saturating_add(1)), || {
                Ok(SequenceValue::Histogram(Arc::clone(&histogram)))
            });
        };
        self.position += 1;
        let step = self.histogram()?;
        let Some(times) = self.times()? else {
            return Err(self.error("expected x and how often the step is repeated"));
        };
        if histogram.schema > step.schema {
            let schemas = (step.schema, histogram.schema);
            return Err(self.error(&format!("cannot merge from schema {} to {}", schemas.0, schemas.1)));
        }
        self.repeat(values, times.saturating_add(1), || {
            let present = Arc::clone(&histogram);
            change(Arc::make_mut(&mut histogram), &step)?;
            Ok(SequenceValue::Histogram(present))
        })
    }

    /// Pushes `count` values, within the bound.
    fn repeat(
        &self,
        values: &mut Vec<SequenceValue>,
        count: usize,
        mut next: impl FnMut() -> Result<SequenceValue, HistogramError>,
    ) -> Result<(), NotationError> {
        if values.len().saturating_add(count) > VALUES_MAX {
            return Err(self.error(&format!("the sequence expands to more than {VALUES_MAX} values")));
        }
        for _ in 0..count {
            values.push(next().map_err(|error| self.error(&error.to_string()))?);
        }
        Ok(())
    }

    /// `x5`, if it is there.
    fn times(&mut self) -> Result<Option<usize>, NotationError> {
        if !self.accept("x") {
            return Ok(None);
        }
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        digits.parse().map(Some).map_err(|_| self.error("expected a whole number of repetitions after x"))
    }

    /// A number with an optional sign. `0x5` is "0, five more times", so there are no hexadecimals.
    fn number(&mut self) -> Result<f64, NotationError> {
        let start = self.position;
        let negative = self.accept("-");
        if !negative {
            self.accept("+");
        }
        let word = self.word();
        if word.eq_ignore_ascii_case("inf") || word.eq_ignore_ascii_case("nan") {
            self.position += word.len();
        } else {
            self.take_while(|byte| byte.is_ascii_digit() || byte == b'.');
            if self.accept("e") || self.accept("E") {
                let _ = self.accept("-") || self.accept("+");
                self.take_while(|byte| byte.is_ascii_digit());
            }
        }
        parse_float(&self.text[start..self.position]).ok_or_else(|| self.error("expected a number, _ or stale"))
    }

    fn histogram(&mut self) -> Result<FloatHistogram, NotationError> {
        if !self.accept("{{") {
            return Err(self.error("expected {{ and a histogram"));
        }
        let mut histogram = FloatHistogram::default();
        let mut offsets = [0, 0];
        let mut seen = Vec::new();
        loop {
            self.skip_space();
            if self.accept("}}") {
                break;
            }
            let name = self.take_while(|byte| byte.is_ascii_alphabetic() || byte == b'_').to_ascii_lowercase();
            if !self.accept(":") {
                return Err(self.error("expected a part of a histogram with its value, as in buckets:[5 10 7]"));
            }
            self.histogram_part(&mut histogram, &mut offsets, &name)?;
            if seen.contains(&name) {
                return Err(self.error(&format!("{name} is given twice")));
            }
            seen.push(name);
        }
        histogram.positive_spans = spans(offsets[0], &histogram.positive_buckets);
        histogram.negative_spans = spans(offsets[1], &histogram.negative_buckets);
        self.check_layout(&histogram)?;
        Ok(histogram)
    }

    fn histogram_part(
        &mut self,
        histogram: &mut FloatHistogram,
        offsets: &mut [i32; 2],
        name: &str,
    ) -> Result<(), NotationError> {
        match name {
            "schema" => histogram.schema = self.integer()?,
            "sum" => histogram.sum = self.number()?,
            "count" => histogram.count = self.number()?,
            "z_bucket" => histogram.zero_count = self.number()?,
            "z_bucket_w" => histogram.zero_threshold = self.number()?,
            "custom_values" => histogram.custom_values = self.numbers()?,
            "buckets" => histogram.positive_buckets = self.numbers()?,
            "n_buckets" => histogram.negative_buckets = self.numbers()?,
            "offset" => offsets[0] = self.integer()?,
            "n_offset" => offsets[1] = self.integer()?,
            "counter_reset_hint" => histogram.counter_reset_hint = self.hint()?,
            other => return Err(self.error(&format!("unknown part of a histogram: {other:?}"))),
        }
        Ok(())
    }

    /// Refuses what no histogram can be, so that arithmetic may rely on it.
    fn check_layout(&self, histogram: &FloatHistogram) -> Result<(), NotationError> {
        let offsets = histogram.positive_spans.iter().chain(&histogram.negative_spans).map(|span| span.offset);
        if !FloatHistogram::is_valid_schema(histogram.schema) {
            return Err(self.error("schema must be -53 (custom buckets) or between -4 and 8"));
        }
        if !(histogram.zero_threshold >= 0.0 && histogram.zero_threshold.is_finite()) {
            return Err(self.error("z_bucket_w must be zero or a positive number"));
        }
        if offsets.into_iter().any(|offset| offset.abs() > BUCKET_OFFSET_MAX) {
            return Err(self.error("bucket offset out of range"));
        }
        Ok(())
    }

    fn integer(&mut self) -> Result<i32, NotationError> {
        let text = self.take_while(|byte| byte.is_ascii_digit() || byte == b'-' || byte == b'+');
        text.parse().map_err(|_| self.error("expected a whole number"))
    }

    fn hint(&mut self) -> Result<CounterResetHint, NotationError> {
        match self.take_while(|byte| byte.is_ascii_alphabetic() || byte == b'_') {
            "unknown" => Ok(CounterResetHint::Unknown),
            "reset" => Ok(CounterResetHint::CounterReset),
            "not_reset" => Ok(CounterResetHint::NotCounterReset),
            "gauge" => Ok(CounterResetHint::Gauge),
            _ => Err(self.error("counter_reset_hint must be unknown, reset, not_reset or gauge")),
        }
    }

    /// `[1 2.5 -3]`
    fn numbers(&mut self) -> Result<Vec<f64>, NotationError> {
        if !self.accept("[") {
            return Err(self.error("expected [ and numbers"));
        }
        // At least one number, and space between them, as upstream.
        let mut numbers = vec![self.number()?];
        loop {
            let has_space = self.skip_space();
            if self.accept("]") {
                return Ok(numbers);
            }
            if !has_space {
                return Err(self.error("expected a space or ]"));
            }
            numbers.push(self.number()?);
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    /// The letters, digits and underscores that come next.
    fn word(&self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(rest.len());
        &rest[..end]
    }

    fn accept(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.position += token.len();
        }
        found
    }

    fn take_while(&mut self, keep: impl Fn(u8) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.bytes().position(|byte| !keep(byte)).unwrap_or(rest.len());
        self.position += end;
        &rest[..end]
    }

    fn skip_space(&mut self) -> bool {
        !self.take_while(|byte| byte.is_ascii_whitespace()).is_empty()
    }

    fn error(&self, message: &str) -> NotationError {
        NotationError { position: self.position, message: message.to_owned() }
    }
}

fn spans(offset: i32, buckets: &[f64]) -> Vec<Span> {
    match u32::try_from(buckets.len()) {
        Ok(0) | Err(_) => Vec::new(),
        Ok(length) => vec![Span { offset, length }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One word per value, for tables.
    fn shown(values: &[SequenceValue]) -> String {
        let words = values.iter().map(|value| match value {
            SequenceValue::Float(number) => crate::model::format_general(*number),
            SequenceValue::Histogram(histogram) => histogram.test_notation(),
            SequenceValue::Stale => "stale".to_owned(),
            SequenceValue::Omitted => "_".to_owned(),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn sequences_expand() {
        let cases = [
            ("", ""),
            (" 1  2\t3 ", "1 2 3"),
            ("1x2", "1 1 1"),
            ("0x2 5", "0 0 0 5"),
            ("-1.5+2x2", "-1.5 0.5 2.5"),
            ("1-2x1", "1 -1"),
            ("1e2 -Inf +inf NaN", "100 -Inf +Inf NaN"),
            ("_ _x2 stale 1", "_ _ _ stale 1"),
            ("{{}}", "{{}}"),
            (
                "{{schema:1 sum:-0.3 count:3.1 z_bucket:7.1 z_bucket_w:0.05 buckets:[5.1 10 7] offset:-3 n_buckets:[4.1 5] n_offset:-5}}x1",
                "{{schema:1 count:3.1 sum:-0.3 z_bucket:7.1 z_bucket_w:0.05 offset:-3 buckets:[5.1 10 7] n_offset:-5 n_buckets:[4.1 5]}} \
              {{schema:1 count:3.1 sum:-0.3 z_bucket:7.1 z_bucket_w:0.05 offset:-3 buckets:[5.1 10 7] n_offset:-5 n_buckets:[4.1 5]}}",
            ),
            ("{{buckets:[1 2]}}+{{buckets:[1 0 4] }}x1", "{{buckets:[1 2]}} {{buckets:[2 2 4]}}"),
            (
                "{{schema:-53 custom_values:[5 10] buckets:[1 4] counter_reset_hint:gauge}}",
                "{{schema:-53 custom_values:[5 10] counter_reset_hint:gauge buckets:[1 4]}}",
            ),
        ];
        for (text, expected) in cases {
            let values = parse_series_values(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert_eq!(shown(&values), expected, "{text:?}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let cases = [
            ("1+2", "expected x"),
            ("1x", "whole number of repetitions"),
            ("1x2x3", "separated by spaces"),
            ("1x-2", "whole number of repetitions"),
            ("stalex3", "expected a number"),
            ("abc", "expected a number"),
            ("1x99999999999999999999", "whole number of repetitions"),
            ("1x10000000", "more than 10000000"),
            ("{{bucket:[1]}}", "unknown part"),
            ("{{sum:1 sum:2}}", "given twice"),
            ("{{schema:9}}", "schema must be"),
            ("{{offset:2000000 buckets:[1]}}", "offset out of range"),
            ("{{buckets:[]}}", "expected a number"),
            ("{{buckets:[ 1]}}", "expected a number"),
            ("{{buckets:[1-2]}}", "expected a space or ]"),
            ("{{sum:1", "expected a part of a histogram"),
            ("{{schema:1}}+{{schema:0}}x3", "cannot merge from schema 0 to 1"),
            ("{{schema:0}}-{{schema:-53 custom_values:[1]}}x3", "cannot merge"),
        ];
        for (text, expected) in cases {
            let error = parse_series_values(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }
}
