//! `outpost query`: questions to a running outpost or Prometheus, answered as promtool prints them.

use std::time::Duration;

use serde_json::Value;

use super::{ask, fail, print, print_error};
use crate::cli::{Query, QueryFormat, QueryKind};
use crate::client::url::{encode_query, push_query_part};
use crate::clock::Clock;
use crate::model::{Timestamp, is_legacy_label_name, parse_rfc3339};

/// Without `--start`, a range begins this long before its end.
const RANGE_DEFAULT: Duration = Duration::from_secs(5 * 60);

/// Without `--step`, a range has about this many points.
const POINTS_DEFAULT: i64 = 250;

/// Whether the server had an answer.
pub fn run(query: &Query) -> bool {
    match answer(query, Clock::system().now()) {
        Ok(text) => {
            print(&text);
            true
        }
        Err(reason) => fail(&reason),
    }
}

fn answer(query: &Query, now: Timestamp) -> Result<String, String> {
    let settings = ask::client_settings(query.http_config.as_deref())?;
    let reply = ask::get(&query.server, &path(&query.kind, now)?, &settings)?;
    let document: Value = serde_json::from_slice(&reply.body).map_err(|_| no_answer(&query.server, reply.status))?;
    if document["status"] != "success" {
        let text = |key: &str| document[key].as_str().unwrap_or("unknown").to_owned();
        return Err(format!("{}: {}: {}", query.server, text("errorType"), text("error")));
    }
    for note in ["warnings", "infos"].iter().flat_map(|key| document[*key].as_array().into_iter().flatten()) {
        print_error(&format!("{}\n", note.as_str().unwrap_or_default()));
    }
    let data = &document["data"];
    match query.format {
        QueryFormat::Json => Ok(format!("{}\n", json_part(&query.kind, data))),
        QueryFormat::Promql => shown(&query.kind, data).ok_or_else(|| format!("{}: unexpected JSON", query.server)),
    }
}

/// Why there is no JSON.
fn no_answer(server: &str, status: u16) -> String {
    match status {
        401 => format!("{server}: status 401: name and password are needed; give them by --http.config.file"),
        _ => format!("{server}: status {status}, and no JSON: is this a Prometheus API?"),
    }
}

/// What is asked for, with its parameters.
fn path(kind: &QueryKind, now: Timestamp) -> Result<String, String> {
    let mut pairs: Vec<(&str, String)> = Vec::new();
    let endpoint = match kind {
        QueryKind::Instant { expr, time } => {
            pairs.push(("query", expr.clone()));
            pairs.extend(time.iter().map(|time| ("time", time.clone())));
            "query".to_owned()
        }
        QueryKind::Range { expr, start, end, step } => {
            let end = end.as_deref().map_or(Ok(now), parse_time)?;
            let before = Timestamp(end.0 - i64::try_from(RANGE_DEFAULT.as_millis()).unwrap_or(i64::MAX));
            let start = start.as_deref().map_or(Ok(before), parse_time)?;
            let seconds = (end.0 - start.0).max(0) / 1000 / POINTS_DEFAULT;
            pairs.push(("query", expr.clone()));
            pairs.push(("start", seconds_text(start)));
            pairs.push(("end", seconds_text(end)));
            pairs.push(("step", step.clone().unwrap_or_else(|| seconds.max(1).to_string())));
            "query_range".to_owned()
        }
        QueryKind::Series { matches, start, end } => {
            push_selection(&mut pairs, matches, start.as_ref(), end.as_ref());
            "series".to_owned()
        }
        QueryKind::Labels { name, matches, start, end } => {
            push_selection(&mut pairs, matches, start.as_ref(), end.as_ref());
            let mut endpoint = "label/".to_owned();
            push_query_part(&mut endpoint, name);
            endpoint + "/values"
        }
    };
    let parameters = encode_query(pairs.iter().map(|(name, value)| (*name, value.as_str())));
    Ok(format!("/api/v1/{endpoint}?{parameters}"))
}

fn push_selection(pairs: &mut Vec<(&str, String)>, matches: &[String], start: Option<&String>, end: Option<&String>) {
    pairs.extend(matches.iter().map(|selector| ("match[]", selector.clone())));
    pairs.extend(start.map(|start| ("start", start.clone())));
    pairs.extend(end.map(|end| ("end", end.clone())));
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.abs() < 1e12);
    seconds
        .map(|seconds| Timestamp((seconds * 1000.0).round() as i64))
        .or_else(|| parse_rfc3339(text))
        .ok_or_else(|| format!("{text:?} is not a time; write for example 2026-01-31T12:00:00Z or 1769860800"))
}

fn seconds_text(at: Timestamp) -> String {
    format!("{}.{:03}", at.0.div_euclid(1000), at.0.rem_euclid(1000))
}

/// What promtool gives as JSON: a query's result without its type.
fn json_part<'d>(kind: &QueryKind, data: &'d Value) -> &'d Value {
    match kind {
        QueryKind::Instant { .. } | QueryKind::Range { .. } => &data["result"],
        _ => data,
    }
}

fn shown(kind: &QueryKind, data: &Value) -> Option<String> {
    match kind {
        QueryKind::Instant { .. } | QueryKind::Range { .. } => result(data),
        QueryKind::Series { .. } => data.as_array()?.iter().map(|labels| Some(label_set(labels)? + "\n")).collect(),
        QueryKind::Labels { .. } => {
            data.as_array()?.iter().map(|value| Some(value.as_str()?.to_owned() + "\n")).collect()
        }
    }
}

fn result(data: &Value) -> Option<String> {
    let result = &data["result"];
    match data["resultType"].as_str()? {
        "scalar" => Some(format!("scalar: {}\n", point(result, false)?)),
        "string" => Some(format!("{}\n", result[1].as_str()?)),
        "vector" => result
            .as_array()?
            .iter()
            .map(|sample| Some(format!("{} => {}\n", metric(&sample["metric"])?, sample_point(sample)?)))
            .collect(),
        "matrix" => result.as_array()?.iter().map(series).collect(),
        _ => None,
    }
}

fn series(series: &Value) -> Option<String> {
    let points = series["values"].as_array().into_iter().flatten().map(|it| point(it, false));
    let histograms = series["histograms"].as_array().into_iter().flatten().map(|it| point(it, true));
    let lines: Option<Vec<String>> = points.chain(histograms).collect();
    Some(format!("{} =>\n{}\n", metric(&series["metric"])?, lines?.join("\n")))
}

fn sample_point(sample: &Value) -> Option<String> {
    if sample["value"].is_null() { point(&sample["histogram"], true) } else { point(&sample["value"], false) }
}

/// `VALUE @[TIME]`
fn point(pair: &Value, is_histogram: bool) -> Option<String> {
    let (time, value) = (pair[0].as_number()?, &pair[1]);
    let value = if is_histogram { value.to_string() } else { value.as_str()?.to_owned() };
    Some(format!("{value} @[{time}]"))
}

/// `name{label="value", …}`
fn metric(labels: &Value) -> Option<String> {
    let labels = labels.as_object()?;
    let name = labels.get("__name__").and_then(Value::as_str).unwrap_or("");
    let pairs: Vec<String> =
        labels.iter().filter(|(label, _)| *label != "__name__").map(|(label, value)| pair(label, value)).collect();
    Some(match (name.is_empty(), pairs.is_empty()) {
        (false, true) => name.to_owned(),
        _ => format!("{name}{{{}}}", pairs.join(", ")),
    })
}

fn label_set(labels: &Value) -> Option<String> {
    let pairs: Vec<String> = labels.as_object()?.iter().map(|(label, value)| pair(label, value)).collect();
    Some(format!("{{{}}}", pairs.join(", ")))
}

fn pair(label: &str, value: &Value) -> String {
    let value = value.as_str().unwrap_or_default();
    if is_legacy_label_name(label) { format!("{label}={value:?}") } else { format!("{label:?}={value:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_carry_the_question() {
        let now = Timestamp(1_700_000_000_500);
        let range = QueryKind::Range { expr: "up == 1".to_owned(), start: None, end: None, step: None };
        let expected = "/api/v1/query_range?query=up+%3D%3D+1&start=1699999700.500&end=1700000000.500&step=1";
        assert_eq!(path(&range, now).as_deref(), Ok(expected));
        let labels = QueryKind::Labels {
            name: "job".to_owned(),
            matches: vec!["{a=\"b\"}".to_owned()],
            start: None,
            end: Some("5".to_owned()),
        };
        assert_eq!(path(&labels, now).as_deref(), Ok("/api/v1/label/job/values?match%5B%5D=%7Ba%3D%22b%22%7D&end=5"));
        let bad = QueryKind::Range { expr: String::new(), start: Some("soon".to_owned()), end: None, step: None };
        assert!(path(&bad, now).expect_err("no time").contains("soon"));
    }

    #[test]
    fn results_look_like_promtools() {
        let cases = [
            (r#"{"resultType":"scalar","result":[1.5,"2"]}"#, "scalar: 2 @[1.5]\n"),
            (r#"{"resultType":"string","result":[1,"x"]}"#, "x\n"),
            (
                r#"{"resultType":"vector","result":[{"metric":{"__name__":"up","a":"b","c":"d"},"value":[1,"NaN"]},{"metric":{},"value":[1,"0"]}]}"#,
                "up{a=\"b\", c=\"d\"} => NaN @[1]\n{} => 0 @[1]\n",
            ),
            (
                r#"{"resultType":"matrix","result":[{"metric":{"__name__":"up"},"values":[[1,"2"],[3,"4"]]}]}"#,
                "up =>\n2 @[1]\n4 @[3]\n",
            ),
        ];
        for (data, expected) in cases {
            let data: Value = serde_json::from_str(data).expect(data);
            assert_eq!(result(&data).as_deref(), Some(expected));
        }
        assert_eq!(result(&Value::Null), None);
    }
}
