//! A list of queries over all of the language, asked of the real binaries after both scraped the same target.

use std::collections::HashMap;
use std::fmt::Write;

use outpost::clock::Clock;
use outpost::model::{format_float, is_stale_marker};
use tempfile::TempDir;

use super::pair::{Closeness, Outcome, Pair, Query};
use super::world::{self, END, Sample};
use crate::support::{Outpost, PATIENCE, PageServer, Process, eventually, prometheus_with, query_value};

/// How much of the world the target shows: what an empty Prometheus takes of one page.
const SHOWN_MS: i64 = 40 * 60_000;

/// Both see the series in another order, which shows in the last digits of sums.
const CLOSENESS: Closeness = Closeness::Relative(1e-9);

#[test]
fn listed_queries_over_scraped_samples_have_prometheus_answers() {
    let (_servers, pair, end_ms) = scraped();
    let mut differences = Vec::new();
    let cases = cases();
    for (text, must_fail) in &cases {
        let whole = Query { text: text.clone(), start_ms: end_ms - SHOWN_MS, range: Some((end_ms, 60_000)) };
        let fine = Query { text: text.clone(), start_ms: end_ms - 600_000, range: Some((end_ms, 10_000)) };
        let instant = Query { text: text.clone(), start_ms: end_ms - 60_000, range: None };
        for query in [whole, fine, instant] {
            match pair.compare(&query, CLOSENESS) {
                Ok(outcome) if *must_fail && query.range.is_some() && outcome != Outcome::Error => {
                    differences.push(format!("{query:?} must fail"));
                }
                Ok(_) => {}
                Err(difference) => differences.push(format!("{query:?}\n  {difference}")),
            }
        }
    }
    eprintln!("{} queries, three times each", cases.len());
    let shown = &differences[..differences.len().min(super::SHOWN_MAX)];
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), shown.join("\n"));
}

/// Each query of the list with its words put in, and whether it must fail.
fn cases() -> Vec<(String, bool)> {
    let mut words: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut cases = Vec::new();
    for line in include_str!("queries.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.split_once(" = ") {
            Some((name, list)) if name.bytes().all(|byte| byte.is_ascii_lowercase()) => {
                words.insert(name, list.split(' ').collect());
            }
            _ => cases.extend(expand(line.trim_start_matches('!'), &words).map(|text| (text, line.starts_with('!')))),
        }
    }
    cases
}

fn expand<'a>(line: &'a str, words: &HashMap<&str, Vec<&'a str>>) -> Box<dyn Iterator<Item = String> + 'a> {
    let named = words.iter().find_map(|(name, list)| {
        let place = format!("{{{name}}}");
        line.contains(&place).then(|| list.iter().map(|word| line.replace(&place, word)).collect::<Vec<_>>())
    });
    let Some(lines) = named else { return Box::new(std::iter::once(line.to_owned())) };
    let expanded: Vec<String> = lines.iter().flat_map(|line| expand(line, words).collect::<Vec<_>>()).collect();
    Box::new(expanded.into_iter())
}

/// The processes, both servers, and the newest sample's time, once both hold the page.
fn scraped() -> ((Process, Outpost, PageServer, TempDir), Pair, i64) {
    let end_ms = Clock::system().now().0 / 60_000 * 60_000;
    let page = PageServer::start(&page(end_ms));
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n- job_name: world\n  \
         honor_labels: true\n  static_configs: [{{targets: ['{}']}}]\n",
        page.address
    );
    let folder = TempDir::new().unwrap();
    let (process, prometheus) = prometheus_with(folder.path(), &config, &[]);
    let outpost = Outpost::start(&config);
    let pair = Pair { prometheus, outpost: outpost.address.clone() };
    for address in [&pair.prometheus, &pair.outpost] {
        eventually(PATIENCE, "the page is scraped", || {
            let expr = format!("timestamp(last_success_timestamp_seconds @ {})", end_ms / 1000);
            let newest = query_value(address, &expr)?;
            (newest > (end_ms / 1000 - 30) as f64).then_some(()).ok_or_else(|| newest.to_string())
        });
    }
    ((process, outpost, page, folder), pair, end_ms)
}

/// The end of the world, moved to `end_ms`, as one page with a time at every sample. Native histograms and markers
/// cannot be written in text.
fn page(end_ms: i64) -> String {
    let mut page = String::new();
    for series in world::series() {
        let floats = series.samples.iter().filter_map(|(at, sample)| match sample {
            Sample::Float(value) if at.0 > END.0 - SHOWN_MS && !is_stale_marker(*value) => Some((at.0, *value)),
            _ => None,
        });
        for (at, value) in floats {
            let (time, value) = (end_ms - END.0 + at, format_float(value));
            writeln!(page, "{} {value} {time}", in_braces(&series.labels)).unwrap();
        }
    }
    page
}

/// `{"name",label="value"}`, which holds any name.
fn in_braces(labels: &outpost::model::Labels) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let pairs = labels.iter().filter(|(name, _)| *name != "__name__");
    let pairs: Vec<String> = pairs.map(|(name, value)| format!("{}={}", quoted(name), quoted(value))).collect();
    format!("{{{}}}", [vec![quoted(labels.metric_name())], pairs].concat().join(","))
}
