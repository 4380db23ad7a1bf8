//! The protobuf side of the writer: MetricFamily messages, each behind its length.
//!
//! A family's length stands in front of it, so that a family is held until it is complete.

use std::borrow::Cow;

use super::wire::{push_bytes_field, push_double_field, push_varint, push_varint_field};
use crate::model::{MetricType, Timestamp};

/// Builds one family at a time. The buffers are kept from family to family.
#[derive(Clone, Debug, Default)]
pub(super) struct MessageWriter {
    /// The fields of the family in hand; empty where there is none.
    family: Vec<u8>,
    name: String,
    metric_type: MetricType,
    /// The metric in hand: its labels, and behind them one of its samples.
    metric: Vec<u8>,
    labels_bytes: usize,
    part: Vec<u8>,
}

impl MessageWriter {
    /// Goes on with the family of that name, or ends the one in hand and starts it.
    pub(super) fn open_family(&mut self, page: &mut Vec<u8>, name: &str, metric_type: MetricType, help: Option<&str>) {
        if !self.family.is_empty() && self.name == name && self.metric_type == metric_type {
            return;
        }
        self.finish_family(page);
        self.name.clear();
        self.name.push_str(name);
        self.metric_type = metric_type;
        push_bytes_field(&mut self.family, 1, name.as_bytes());
        if let Some(help) = help {
            push_bytes_field(&mut self.family, 2, help.as_bytes());
        }
        push_varint_field(&mut self.family, 3, type_number(metric_type));
    }

    /// Starts a metric of the family in hand.
    pub(super) fn open_metric<'l>(&mut self, labels: impl Iterator<Item = (Cow<'l, str>, &'l str)>) {
        self.metric.clear();
        for (name, value) in labels {
            self.part.clear();
            push_bytes_field(&mut self.part, 1, name.as_bytes());
            push_bytes_field(&mut self.part, 2, value.as_bytes());
            push_bytes_field(&mut self.metric, 1, &self.part);
        }
        self.labels_bytes = self.metric.len();
    }

    /// Appends a sample of the metric in hand, as a metric of its own.
    pub(super) fn push_sample(&mut self, value: f64, timestamp: Option<Timestamp>) {
        self.metric.truncate(self.labels_bytes);
        self.part.clear();
        push_double_field(&mut self.part, 1, value);
        push_bytes_field(&mut self.metric, value_field(self.metric_type), &self.part);
        if let Some(Timestamp(ms)) = timestamp {
            // Two's complement: that is how the format spells a negative int64.
            push_varint_field(&mut self.metric, 6, ms as u64);
        }
        push_bytes_field(&mut self.family, 4, &self.metric);
    }

    /// Appends the family in hand to the page, if there is one.
    pub(super) fn finish_family(&mut self, page: &mut Vec<u8>) {
        if self.family.is_empty() {
            return;
        }
        push_varint(page, self.family.len() as u64);
        page.append(&mut self.family);
    }
}

fn type_number(metric_type: MetricType) -> u64 {
    match metric_type {
        MetricType::Counter => 0,
        MetricType::Gauge => 1,
        _ => 3,
    }
}

/// The field of a metric that holds its value.
fn value_field(metric_type: MetricType) -> u32 {
    match metric_type {
        MetricType::Gauge => 2,
        MetricType::Counter => 3,
        _ => 5,
    }
}
