//! What a template computes with, and how Go names, weighs and reaches into it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use super::time::Instant;
use crate::model::{FloatHistogram, Labels};
use crate::promql;

/// A value. Cloning is cheap.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Nothing: an absent key, `nil`.
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    Labels(Labels),
    /// What `args` gives.
    Map(Rc<BTreeMap<String, Value>>),
    /// What `query` gives.
    Samples(Rc<[Rc<Sample>]>),
    Sample(Rc<Sample>),
    Histogram(Arc<FloatHistogram>),
    Instant(Instant),
    /// Nanoseconds.
    Duration(i64),
    /// The dot at the top.
    Data(Rc<Data>),
}

/// One series of a query's result.
#[derive(Debug)]
pub(super) struct Sample {
    pub labels: Labels,
    pub value: Value,
}

/// What the dot at the top holds.
#[derive(Debug)]
pub(super) struct Data {
    pub labels: Labels,
    pub external_labels: Labels,
    pub external_url: Rc<str>,
    pub value: Value,
}

impl From<&promql::Value> for Value {
    fn from(value: &promql::Value) -> Self {
        match value {
            promql::Value::Float(value) => Self::Float(*value),
            promql::Value::Histogram(histogram) => Self::Histogram(Arc::clone(histogram)),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

/// What a field gives.
pub(super) struct Field {
    pub value: Value,
    /// Whether Go keeps the value behind an interface, which its errors then name.
    pub is_interface: bool,
}

impl Value {
    /// Go's name of the type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::Labels(_) => "map[string]string",
            Self::Map(_) => "map[string]interface {}",
            Self::Samples(_) => "template.queryResult",
            Self::Sample(_) => "*template.sample",
            Self::Histogram(_) => "*histogram.FloatHistogram",
            Self::Instant(_) => "*time.Time",
            Self::Duration(_) => "*time.Duration",
            Self::Data(_) => {
                "struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL string; Value interface {} }"
            }
        }
    }

    /// Whether `if` takes the first branch: anything but zero and empty things.
    pub fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::Labels(labels) => !labels.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Samples(samples) => !samples.is_empty(),
            Self::Sample(_) | Self::Histogram(_) | Self::Instant(_) | Self::Duration(_) | Self::Data(_) => true,
        }
    }

    /// The field or key `name`, or nothing where the type has no such field. A key that a map lacks
    /// is the zero value of its elements.
    pub fn field(&self, name: &str) -> Option<Field> {
        let plain = |value| Some(Field { value, is_interface: false });
        let interface = |value| Some(Field { value, is_interface: true });
        match self {
            Self::Labels(labels) => plain(labels.get(name).unwrap_or_default().into()),
            Self::Map(map) => interface(map.get(name).cloned().unwrap_or(Self::Nil)),
            Self::Sample(sample) => match name {
                "Labels" => plain(Self::Labels(sample.labels.clone())),
                "Value" => interface(sample.value.clone()),
                _ => None,
            },
            Self::Data(data) => match name {
                "Labels" => plain(Self::Labels(data.labels.clone())),
                "ExternalLabels" => plain(Self::Labels(data.external_labels.clone())),
                "ExternalURL" => plain(Self::Text(Rc::clone(&data.external_url))),
                "Value" => interface(data.value.clone()),
                _ => None,
            },
            Self::Histogram(histogram) => match name {
                "Count" => plain(Self::Float(histogram.count)),
                "Sum" => plain(Self::Float(histogram.sum)),
                "ZeroCount" => plain(Self::Float(histogram.zero_count)),
                _ => None,
            },
            // Nothing has no fields, and asking it for one gives nothing.
            Self::Nil => plain(Self::Nil),
            _ => None,
        }
    }

    /// The number that the value is or spells, as the humanising functions take it.
    pub fn to_float(&self) -> Result<f64, String> {
        match self {
            Self::Float(value) => Ok(*value),
            Self::Int(value) => Ok(*value as f64),
            Self::Text(text) => crate::model::parse_float(text)
                .ok_or_else(|| format!("strconv.ParseFloat: parsing {text:?}: invalid syntax")),
            // A pointer is not what Go converts, but what it points to can only be meant.
            Self::Duration(nanos) => Ok(*nanos as f64 / 1e9),
            other => Err(format!("can't convert {} to float", other.type_name())),
        }
    }
}
