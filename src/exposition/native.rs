//! Native histograms of protobuf pages, kept as bytes until somebody wants them decoded.

use super::labels::LabelIter;
use super::wire::{Field, Fields, Value, WireError, zigzag};
use crate::model::{CounterResetHint, FloatHistogram, MetricType, Span};

/// A native histogram of a protobuf page.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NativeHistogram<'a> {
    /// The series, spelled as in [`super::Series::raw`].
    pub raw: &'a [u8],
    /// Milliseconds since the epoch, if the page gives a time.
    pub timestamp: Option<i64>,
    /// Whether the family is a gauge histogram.
    pub is_gauge: bool,
    /// The `io.prometheus.client.Histogram` message.
    pub message: &'a [u8],
}

/// Why a native histogram cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NativeHistogramError {
    /// The bytes are not a message of this kind.
    #[error("the histogram message is malformed")]
    Malformed,
    /// A resolution that does not exist.
    #[error("histogram schema {0} is not between -4 and 8")]
    Schema(i64),
    /// Spans and buckets contradict each other.
    #[error("the spans describe {spanned} {side} buckets, the message has {given}")]
    Buckets {
        /// `positive` or `negative`.
        side: &'static str,
        /// How many buckets the spans describe.
        spanned: u64,
        /// How many there are.
        given: usize,
    },
}

impl From<WireError> for NativeHistogramError {
    fn from(_: WireError) -> Self {
        Self::Malformed
    }
}

/// Field numbers of io.prometheus.client.Histogram (prometheus/client_model, metrics.proto).
mod field {
    pub(super) const SAMPLE_COUNT: u32 = 1;
    pub(super) const SAMPLE_SUM: u32 = 2;
    pub(super) const SAMPLE_COUNT_FLOAT: u32 = 4;
    pub(super) const SCHEMA: u32 = 5;
    pub(super) const ZERO_THRESHOLD: u32 = 6;
    pub(super) const ZERO_COUNT: u32 = 7;
    pub(super) const ZERO_COUNT_FLOAT: u32 = 8;
    pub(super) const NEGATIVE_SPAN: u32 = 9;
    pub(super) const NEGATIVE_DELTA: u32 = 10;
    pub(super) const NEGATIVE_COUNT: u32 = 11;
    pub(super) const POSITIVE_SPAN: u32 = 12;
    pub(super) const POSITIVE_DELTA: u32 = 13;
    pub(super) const POSITIVE_COUNT: u32 = 14;
}

impl<'a> NativeHistogram<'a> {
    /// The labels, the metric's name as `__name__` first.
    pub fn labels(&self) -> LabelIter<'a> {
        LabelIter::new(self.raw, MetricType::Unknown)
    }

    /// The histogram with absolute float counts. Its size is bounded by that of the message.
    pub fn decode(&self) -> Result<FloatHistogram, NativeHistogramError> {
        let hint = if self.is_gauge { CounterResetHint::Gauge } else { CounterResetHint::Unknown };
        let mut parts = Parts::default();
        let mut fields = Fields::new(self.message);
        while let Some(field) = fields.next_field()? {
            parts.read(&field)?;
        }
        parts.build(hint)
    }

    /// Whether a message has native parts: a span, a zero bucket with a width, or one with a count.
    pub(super) fn is_native(message: &[u8]) -> Result<bool, WireError> {
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next_field()? {
            let is_native = match field.number {
                field::NEGATIVE_SPAN | field::POSITIVE_SPAN => true,
                field::ZERO_THRESHOLD => field.double()? > 0.0,
                field::ZERO_COUNT => field.varint()? > 0,
                _ => false,
            };
            if is_native {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The fields as they come.
#[derive(Default)]
struct Parts {
    histogram: FloatHistogram,
    count: u64,
    zero_count: u64,
    positive: Side,
    negative: Side,
}

/// One side's buckets, as deltas of integers or as absolute floats.
#[derive(Default)]
struct Side {
    spans: Vec<Span>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

impl Parts {
    fn read(&mut self, field: &Field<'_>) -> Result<(), NativeHistogramError> {
        match field.number {
            field::SAMPLE_COUNT => self.count = field.varint()?,
            field::SAMPLE_SUM => self.histogram.sum = field.double()?,
            field::SAMPLE_COUNT_FLOAT => self.histogram.count = field.double()?,
            field::SCHEMA => self.histogram.schema = schema(zigzag(field.varint()?))?,
            field::ZERO_THRESHOLD => self.histogram.zero_threshold = field.double()?,
            field::ZERO_COUNT => self.zero_count = field.varint()?,
            field::ZERO_COUNT_FLOAT => self.histogram.zero_count = field.double()?,
            field::NEGATIVE_SPAN => self.negative.spans.push(read_span(field.bytes()?)?),
            field::NEGATIVE_DELTA => push_deltas(field, &mut self.negative.deltas)?,
            field::NEGATIVE_COUNT => push_counts(field, &mut self.negative.counts)?,
            field::POSITIVE_SPAN => self.positive.spans.push(read_span(field.bytes()?)?),
            field::POSITIVE_DELTA => push_deltas(field, &mut self.positive.deltas)?,
            field::POSITIVE_COUNT => push_counts(field, &mut self.positive.counts)?,
            _ => {}
        }
        Ok(())
    }

    fn build(self, hint: CounterResetHint) -> Result<FloatHistogram, NativeHistogramError> {
        let mut histogram = self.histogram;
        let is_float = histogram.count > 0.0 || histogram.zero_count > 0.0;
        if !is_float {
            histogram.count = self.count as f64;
            histogram.zero_count = self.zero_count as f64;
        }
        histogram.counter_reset_hint = hint;
        histogram.positive_buckets = self.positive.buckets("positive", is_float)?;
        histogram.negative_buckets = self.negative.buckets("negative", is_float)?;
        histogram.positive_spans = self.positive.spans;
        histogram.negative_spans = self.negative.spans;
        Ok(histogram)
    }
}

impl Side {
    fn buckets(&self, side: &'static str, is_float: bool) -> Result<Vec<f64>, NativeHistogramError> {
        let spanned = self.spans.iter().map(|span| u64::from(span.length)).sum();
        let given = if is_float { self.counts.len() } else { self.deltas.len() };
        if spanned != given as u64 {
            return Err(NativeHistogramError::Buckets { side, spanned, given });
        }
        if is_float {
            return Ok(self.counts.clone());
        }
        let absolute = self.deltas.iter().scan(0_i64, |count, delta| {
            *count = count.wrapping_add(*delta);
            Some(*count as f64)
        });
        Ok(absolute.collect())
    }
}

fn schema(number: i64) -> Result<i32, NativeHistogramError> {
    i32::try_from(number).ok().filter(|schema| (-4..=8).contains(schema)).ok_or(NativeHistogramError::Schema(number))
}

fn read_span(message: &[u8]) -> Result<Span, WireError> {
    let mut span = Span { offset: 0, length: 0 };
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next_field()? {
        match field.number {
            1 => span.offset = zigzag(field.varint()?) as i32,
            2 => span.length = field.varint()? as u32,
            _ => {}
        }
    }
    Ok(span)
}

/// Repeated numbers come one by one or packed.
fn push_deltas(field: &Field<'_>, deltas: &mut Vec<i64>) -> Result<(), WireError> {
    let Value::Bytes(packed) = field.value else {
        deltas.push(zigzag(field.varint()?));
        return Ok(());
    };
    let mut packed = Fields::new(packed);
    while !packed.rest().is_empty() {
        deltas.push(zigzag(packed.varint()?));
    }
    Ok(())
}

fn push_counts(field: &Field<'_>, counts: &mut Vec<f64>) -> Result<(), WireError> {
    let Value::Bytes(packed) = field.value else {
        counts.push(field.double()?);
        return Ok(());
    };
    let mut packed = Fields::new(packed);
    while !packed.rest().is_empty() {
        counts.push(packed.double()?);
    }
    Ok(())
}
