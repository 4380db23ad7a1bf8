//! `outpost query`: questions to a running outpost or Prometheus, answered as promtool prints them, as JSON or CSV, as
//! a table or as a picture.

mod csv;
mod document;
mod plot;
mod promql;
mod table;

use std::io::IsTerminal;
use std::time::Duration;

use serde_json::Value;

use super::{ask, fail, print, print_error};
use crate::cli::{Query, QueryFormat, QueryKind};
use crate::client::url::{encode_query, push_query_part};
use crate::clock::Clock;
use crate::model::{Timestamp, parse_rfc3339};

use document::Document;

/// Without `--start`, a range begins this long before its end.
const RANGE_DEFAULT: Duration = Duration::from_secs(5 * 60);

/// Without `--step`, a range has about this many points.
const POINTS_DEFAULT: i64 = 250;

/// Where neither `COLUMNS` nor a terminal says how wide it is.
const WIDTH_DEFAULT: usize = 80;

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
    formatted(query, data).ok_or_else(|| format!("{}: unexpected JSON", query.server))
}

/// Why there is no JSON.
fn no_answer(server: &str, status: u16) -> String {
    match status {
        401 => format!("{server}: status 401: name and password are needed; give them by --http.config.file"),
        _ => format!("{server}: status {status}, and no JSON: is this a Prometheus API?"),
    }
}

fn formatted(query: &Query, data: &Value) -> Option<String> {
    let typed = || document(&query.kind, data);
    match query.format.unwrap_or_else(|| usual_format(&query.kind)) {
        QueryFormat::Json => Some(format!("{}\n", json_part(&query.kind, data))),
        QueryFormat::Promql => promql::shown(&query.kind, data),
        QueryFormat::Csv => typed().map(|document| csv::csv(&document)),
        QueryFormat::Table => typed().map(|document| table::table(&document, width())),
        QueryFormat::Plot => typed().map(|document| {
            let width = width();
            plot::plot(&document, width).unwrap_or_else(|| table::table(&document, width))
        }),
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

pub(super) fn parse_time(text: &str) -> Result<Timestamp, String> {
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

fn document(kind: &QueryKind, data: &Value) -> Option<Document> {
    match kind {
        QueryKind::Instant { .. } | QueryKind::Range { .. } => Document::of_query(data),
        QueryKind::Series { .. } => Document::of_sets(data),
        QueryKind::Labels { name, .. } => Document::of_values(name, data),
    }
}

/// What to print where nothing was asked for: pictures and tables for people, promtool's lines for programs.
fn usual_format(kind: &QueryKind) -> QueryFormat {
    match (std::io::stdout().is_terminal(), kind) {
        (false, _) => QueryFormat::Promql,
        (true, QueryKind::Range { .. }) => QueryFormat::Plot,
        (true, _) => QueryFormat::Table,
    }
}

/// The terminal's width: what `COLUMNS` says, or what it says itself.
fn width() -> usize {
    let told = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).filter(|width| *width > 0);
    let found = || rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| usize::from(size.ws_col));
    told.or_else(|| found().filter(|width| *width > 0)).unwrap_or(WIDTH_DEFAULT)
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
}
