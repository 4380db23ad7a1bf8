//! Prometheus and outpost, asked the same.

use outpost::promql::Features;
use serde_json::Value;
use tempfile::TempDir;

use super::world::Series;
use super::{local, remote_write};
use crate::support::{Process, Reply, encode, get, post, prometheus_with};

/// Two servers with the same samples.
pub struct Pair {
    /// Prometheus's address.
    pub prometheus: String,
    /// outpost's address.
    pub outpost: String,
}

/// Where two answers differ, in words.
pub type Difference = String;

/// How close numbers must be.
#[derive(Clone, Copy)]
pub enum Closeness {
    /// The same bits.
    Exact,
    /// This far from each other, relative to the larger.
    Relative(f64),
    /// Whatever they are: the verdict, warnings and infos must be the same.
    Verdict,
    /// Nothing must be the same.
    Any,
}

impl Pair {
    /// Starts both with the same samples and every experimental function; Prometheus lives as long as what comes first.
    pub fn start(series: Vec<Series>) -> ((Process, TempDir), Self) {
        let folder = TempDir::new().unwrap();
        let arguments = [
            "--web.enable-remote-write-receiver",
            "--enable-feature=promql-experimental-functions,native-histograms",
            "--storage.tsdb.retention.time=100y",
        ];
        let (process, prometheus) = prometheus_with(folder.path(), "global: {evaluation_interval: 1m}\n", &arguments);
        let headers = "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n\
                       X-Prometheus-Remote-Write-Version: 0.1.0\r\n";
        for request in remote_write::requests(&series) {
            let reply = post(&prometheus, "/api/v1/write", headers, &request).unwrap();
            assert_eq!(reply.status, 204, "{}", reply.body);
        }
        let features = Features { experimental_functions: true, ..Features::default() };
        let outpost = local::serve(series, features);
        ((process, folder), Self { prometheus, outpost })
    }

    /// Asks both for this path.
    pub fn ask(&self, path: &str) -> (Reply, Reply) {
        let both = [&self.prometheus, &self.outpost].map(|address| get(address, path));
        let [prometheus, outpost] = both.map(|reply| reply.unwrap_or_else(|error| panic!("{path}: {error}")));
        (prometheus, outpost)
    }

    /// Compares the answers to a query: result, verdict, warnings and infos.
    pub fn compare(&self, query: &Query, closeness: Closeness) -> Result<Outcome, Difference> {
        let (prometheus, outpost) = self.ask(&query.path());
        compare(&prometheus, &outpost, closeness, query.keeps_order())
    }
}

/// A query at a time or over a range; times in milliseconds.
#[derive(Clone, Debug)]
pub struct Query {
    /// The expression.
    pub text: String,
    /// The time, or the range's start.
    pub start_ms: i64,
    /// End and step of a range query.
    pub range: Option<(i64, i64)>,
}

impl Query {
    fn path(&self) -> String {
        let (text, start) = (encode(&self.text), seconds(self.start_ms));
        match self.range {
            None => format!("/api/v1/query?query={text}&time={start}"),
            Some((end_ms, step_ms)) => {
                let (end, step) = (seconds(end_ms), seconds(step_ms));
                format!("/api/v1/query_range?query={text}&start={start}&end={end}&step={step}")
            }
        }
    }

    fn keeps_order(&self) -> bool {
        self.range.is_none() && self.text.starts_with("sort")
    }
}

fn seconds(millis: i64) -> String {
    format!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000))
}

/// What both agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// An error.
    Error,
    /// Nothing found.
    Empty,
    /// Something.
    Result,
}

/// Compares two answers of the query endpoints.
fn compare(
    prometheus: &Reply,
    outpost: &Reply,
    closeness: Closeness,
    keeps_order: bool,
) -> Result<Outcome, Difference> {
    let differs = |what: &str| format!("{what}\n  prometheus: {}\n  outpost:    {}", cut(prometheus), cut(outpost));
    if let Closeness::Any = closeness {
        return Ok(Outcome::Error);
    }
    let parse = |reply: &Reply| serde_json::from_str::<Value>(&reply.body).unwrap_or(Value::Null);
    let (expected, found) = (parse(prometheus), parse(outpost));
    if prometheus.status != outpost.status || expected["errorType"] != found["errorType"] {
        return Err(differs("verdict"));
    }
    for notes in ["warnings", "infos"] {
        let (expected, found) = (sorted_texts(&expected[notes]), sorted_texts(&found[notes]));
        let masked = |texts: &[&str]| {
            texts.iter().map(|text| text.replace(|c: char| c.is_ascii_digit() || c == '.', "")).collect::<Vec<_>>()
        };
        // Beyond ten, Prometheus shows ten in no order; how many more there are must be the same.
        let is_cut = |texts: &[&str]| texts.iter().any(|text| text.ends_with("annotations omitted"));
        let is_same = match is_cut(&expected) {
            true => {
                expected.len() == found.len() && expected.iter().all(|text| !is_cut(&[text]) || found.contains(text))
            }
            false if matches!(closeness, Closeness::Verdict) => masked(&expected) == masked(&found),
            false => expected == found,
        };
        if !is_same {
            return Err(differs(&format!("{notes}: {expected:?} and {found:?}")));
        }
    }
    if expected["status"] == "error" {
        return Ok(Outcome::Error);
    }
    if expected["data"]["resultType"] != found["data"]["resultType"] {
        return Err(differs("result type"));
    }
    if let Closeness::Verdict = closeness {
        return Ok(Outcome::Result);
    }
    let (expected, found) = (&expected["data"]["result"], &found["data"]["result"]);
    let is_vector = expected.as_array().is_some_and(|all| all.iter().all(Value::is_object));
    let difference = if is_vector && !keeps_order {
        first_difference(&by_metric(expected), &by_metric(found), closeness)
    } else if keeps_order {
        order_difference(expected, found, closeness)
    } else {
        first_difference(expected, found, closeness)
    };
    match (difference, expected.as_array()) {
        (Some(difference), _) => Err(differs(&format!("result: {difference}"))),
        (None, Some(all)) if all.is_empty() => Ok(Outcome::Empty),
        _ => Ok(Outcome::Result),
    }
}

/// Up to twelve elements, Prometheus's order is determined; beyond, equal ones are in any order.
fn order_difference(a: &Value, b: &Value, closeness: Closeness) -> Option<Difference> {
    if a.as_array().is_some_and(|all| all.len() <= 12) {
        return first_difference(a, b, closeness);
    }
    let values = |all: &Value| all.as_array().into_iter().flatten().map(|one| one["value"].clone()).collect();
    first_difference(&values(a), &values(b), closeness)
        .or_else(|| first_difference(&by_metric(a), &by_metric(b), closeness))
}

fn cut(reply: &Reply) -> String {
    let text: String = reply.body.chars().take(1_200).collect();
    format!("{} {text}", reply.status)
}

fn sorted_texts(notes: &Value) -> Vec<&str> {
    let mut texts: Vec<&str> = notes.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    texts.sort_unstable();
    texts
}

fn by_metric(result: &Value) -> Value {
    result.as_array().into_iter().flatten().map(|series| (series["metric"].to_string(), series.clone())).collect()
}

/// Where trees of JSON first differ; numbers are written as texts.
fn first_difference(a: &Value, b: &Value, closeness: Closeness) -> Option<Difference> {
    match (a, b) {
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            left.iter().zip(right).find_map(|(a, b)| first_difference(a, b, closeness))
        }
        (Value::Object(left), Value::Object(right)) if left.keys().eq(right.keys()) => {
            left.values().zip(right.values()).find_map(|(a, b)| first_difference(a, b, closeness))
        }
        (Value::String(left), Value::String(right)) if is_close_number(left, right, closeness) => None,
        _ if a == b => None,
        _ => Some(format!("{a} and {b}").chars().take(600).collect()),
    }
}

fn is_close_number(a: &str, b: &str, closeness: Closeness) -> bool {
    let Closeness::Relative(tolerance) = closeness else { return false };
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => (a - b).abs() <= tolerance * a.abs().max(b.abs()) || (a.abs() < 1e-300 && b.abs() < 1e-300),
        _ => false,
    }
}
