//! An answer of the API as typed values, for the formats that need columns.

use std::collections::BTreeMap;

use serde_json::Value;

/// What was answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// A scalar or a string: its time and text.
    Single(Point),
    /// Series with their points: one each for an instant.
    Series(Vec<Series>),
    /// Label sets.
    Sets(Vec<Labels>),
    /// Values of the label of this name.
    Values(String, Vec<String>),
}

/// A label set.
pub type Labels = BTreeMap<String, String>;

/// A series of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its labels, the name among them.
    pub labels: Labels,
    /// Its points, oldest first.
    pub points: Vec<Point>,
}

/// A point in time, in seconds, and its value as the API spells it; a histogram is JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Unix seconds.
    pub time: f64,
    /// The value.
    pub value: String,
}

impl Point {
    /// The value as a number; none for histograms and texts.
    pub fn number(&self) -> Option<f64> {
        self.value.parse().ok()
    }
}

impl Document {
    /// Reads a query's answer.
    pub fn of_query(data: &Value) -> Option<Self> {
        let result = &data["result"];
        match data["resultType"].as_str()? {
            "scalar" | "string" => point(result).map(Self::Single),
            "vector" | "matrix" => result.as_array()?.iter().map(series).collect::<Option<_>>().map(Self::Series),
            _ => None,
        }
    }

    /// Reads a list of label sets.
    pub fn of_sets(data: &Value) -> Option<Self> {
        data.as_array()?.iter().map(labels).collect::<Option<_>>().map(Self::Sets)
    }

    /// Reads the values of a label.
    pub fn of_values(name: &str, data: &Value) -> Option<Self> {
        let values = data.as_array()?.iter().map(|value| value.as_str().map(str::to_owned));
        values.collect::<Option<_>>().map(|values| Self::Values(name.to_owned(), values))
    }
}

fn series(value: &Value) -> Option<Series> {
    let list = |key: &str| value[key].as_array().map(Vec::as_slice).unwrap_or_default();
    let single = |key: &str| Some(&value[key]).filter(|found| found.is_array());
    let lists = list("values").iter().chain(list("histograms"));
    let pairs = lists.chain(["value", "histogram"].into_iter().filter_map(single));
    let mut points: Vec<Point> = Vec::new();
    // An instant's `value` is a pair, a range's `values` a list of them.
    for pair in pairs.filter(|pair| pair[0].is_number()) {
        points.push(point(pair)?);
    }
    crate::model::sort_by(&mut points, |left, right| left.time.total_cmp(&right.time));
    Some(Series { labels: labels(&value["metric"])?, points })
}

fn point(pair: &Value) -> Option<Point> {
    let value = pair.get(1)?;
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Some(Point { time: pair[0].as_f64()?, value })
}

/// A JSON object of texts.
pub fn labels(value: &Value) -> Option<Labels> {
    let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
    value.as_object()?.iter().map(text).collect()
}

/// The names of all labels that any of the sets has, the metric's own first.
pub fn label_names<'l>(sets: impl IntoIterator<Item = &'l Labels>) -> Vec<&'l str> {
    let mut names: Vec<&str> = sets.into_iter().flat_map(|labels| labels.keys().map(String::as_str)).collect();
    names.sort_unstable_by_key(|name| (*name != "__name__", *name));
    names.dedup();
    names
}
