//! The world as remote-write requests, for a Prometheus that takes them.
//!
//! Source of the layout: prometheus/prompb/remote.proto and types.proto; snappy's block format.

use outpost::model::{CounterResetHint, FloatHistogram, Span};

use super::world::{END, FIRST, START, Sample, Series};

/// Milliseconds of samples per request. One sample per series and request: in one request, a series' floats are
/// taken before its histograms.
const SLICE_MS: i64 = 15_000;

/// The requests' bodies, in the order in which they must be sent.
pub fn requests(series: &[Series]) -> Vec<Vec<u8>> {
    let starts = (START.0..END.0 + SLICE_MS).step_by(SLICE_MS as usize);
    std::iter::once(FIRST.0).chain(starts).map(|start| snappy(&request(series, start..start + SLICE_MS))).collect()
}

fn request(series: &[Series], times: std::ops::Range<i64>) -> Vec<u8> {
    let mut request = Message::default();
    for one in series {
        let mut message = Message::default();
        for (name, value) in one.labels.iter() {
            let mut label = Message::default();
            label.bytes(1, name.as_bytes());
            label.bytes(2, value.as_bytes());
            message.bytes(1, &label.0);
        }
        for (at, sample) in one.samples.iter().filter(|(at, _)| times.contains(&at.0)) {
            match sample {
                Sample::Float(value) => {
                    let mut sample = Message::default();
                    sample.double(1, *value);
                    sample.varint(2, at.0 as u64);
                    message.bytes(2, &sample.0);
                }
                Sample::Native(native) => message.bytes(4, &histogram(native, at.0).0),
            }
        }
        request.bytes(1, &message.0);
    }
    request.0
}

fn histogram(native: &FloatHistogram, at: i64) -> Message {
    let mut message = Message::default();
    message.double(2, native.count);
    message.double(3, native.sum);
    message.varint(4, zigzag(native.schema));
    message.double(5, native.zero_threshold);
    message.double(7, native.zero_count);
    message.spans(8, &native.negative_spans);
    message.doubles(10, &native.negative_buckets);
    message.spans(11, &native.positive_spans);
    message.doubles(13, &native.positive_buckets);
    message.varint(14, if native.counter_reset_hint == CounterResetHint::Gauge { 3 } else { 0 });
    message.varint(15, at as u64);
    message.doubles(16, &native.custom_values);
    message
}

fn zigzag(value: i32) -> u64 {
    u64::from((value.cast_unsigned() << 1) ^ (value >> 31).cast_unsigned())
}

/// A protobuf message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn raw(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn varint(&mut self, field: u64, value: u64) {
        self.raw(field << 3);
        self.raw(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.raw(field << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.raw(field << 3 | 2);
        self.raw(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn doubles(&mut self, field: u64, values: &[f64]) {
        let packed: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.bytes(field, &packed);
    }

    fn spans(&mut self, field: u64, spans: &[Span]) {
        for span in spans {
            let mut message = Self::default();
            message.varint(1, zigzag(span.offset));
            message.varint(2, u64::from(span.length));
            self.bytes(field, &message.0);
        }
    }
}

/// Snappy's block format with nothing compressed: the length, then literals.
fn snappy(bytes: &[u8]) -> Vec<u8> {
    let mut message = Message::default();
    message.raw(bytes.len() as u64);
    for piece in bytes.chunks(65_536) {
        message.0.push(61 << 2);
        message.0.extend_from_slice(&((piece.len() - 1) as u16).to_le_bytes());
        message.0.extend_from_slice(piece);
    }
    message.0
}
