//! Queries, measured: `cargo bench --bench query [-- FILTER…]`.
//!
//! Beside a real Prometheus (`OUTPOST_PEERS`, or `target/peers/bin`) that holds the same samples, through
//! HTTP on both sides: a week of 1,000 series at 15 s, and six hours of 50,000. Each query finds both
//! servers freshly started; the first run gives the growth of the peak resident memory, further ones the
//! time (best) and the CPU (mean). `-- memory-store` instead times the engine alone.

#![allow(clippy::print_stdout, reason = "a bench reports on stdout")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a bench may stop, and times itself")]

mod answer;
mod http;
mod load;
mod memory;
mod server;
mod site;

use std::path::Path;
use std::time::{Duration, Instant};

use server::Server;
use site::{Shape, WEEK, WIDE};

const RUNS: u32 = 3;
/// The distance of points in range queries, in seconds.
const STEP: i64 = 300;

/// The queries that are measured one by one.
const SINGLE: [(&str, &str); 5] = [
    ("rate, sum by", "sum by (job, handler) (rate(http_requests_total[5m]))"),
    ("avg_over_time 1h", "avg_over_time(temperature_celsius[1h])"),
    (
        "histogram_quantile",
        "histogram_quantile(0.9, sum by (job, le) (rate(http_request_duration_seconds_bucket[5m])))",
    ),
    ("topk", "topk(5, rate(http_requests_total[5m]))"),
    (
        "binary join",
        "rate(http_request_duration_seconds_sum[5m]) / on (instance, handler) group_left rate(http_request_duration_seconds_count[5m])",
    ),
];

const DASHBOARD: [&str; 20] = [
    "sum by (job) (rate(http_requests_total[5m]))",
    "sum by (code) (rate(http_requests_total[5m]))",
    "sum by (instance) (rate(http_requests_total{code=\"500\"}[5m])) / sum by (instance) (rate(http_requests_total[5m]))",
    "topk(5, sum by (handler, instance) (rate(http_requests_total[5m])))",
    "histogram_quantile(0.5, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))",
    "histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))",
    "histogram_quantile(0.9, sum by (job, le) (rate(http_request_duration_seconds_bucket[5m])))",
    "sum(rate(http_request_duration_seconds_sum[5m])) / sum(rate(http_request_duration_seconds_count[5m]))",
    "1 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[5m])) / 15",
    "sum by (mode) (rate(node_cpu_seconds_total[5m]))",
    "sum by (instance) (process_resident_memory_bytes)",
    "max by (job) (process_resident_memory_bytes)",
    "topk(3, process_resident_memory_bytes)",
    "max_over_time(temperature_celsius{sensor=\"core-0\"}[1h])",
    "avg by (instance) (avg_over_time(temperature_celsius[1h]))",
    "max by (instance) (temperature_celsius)",
    "quantile(0.95, temperature_celsius)",
    "sum by (job) (increase(http_requests_total{code=~\"4..|5..\"}[1h]))",
    "count by (job) (temperature_celsius > 60)",
    "sum(rate(http_requests_total[5m])) - sum(rate(http_requests_total[5m] offset 1d))",
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.as_slice() {
        [word, now, flags @ ..] if word == "serve" => server::serve(now.parse().unwrap(), flags),
        [word] if word == "memory-store" => memory::main(),
        filters => beside_prometheus(filters),
    }
}

fn beside_prometheus(filters: &[String]) {
    let is_wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    println!("{:20} {:>25} {:>25} {:>25}", "", "time", "CPU", "growth of peak memory");
    for (name, query) in SINGLE {
        if is_wanted(name) {
            Comparison::of(WEEK, &[over_week(query, 0)]).print(name);
        }
    }
    if is_wanted("dashboard") {
        let dashboard: Vec<String> = DASHBOARD.iter().map(|query| over_week(query, 0)).collect();
        Comparison::of(WEEK, &dashboard).print("dashboard");
    }
    if is_wanted("instant") {
        let query = http::encode("sum by (job) (rate(http_requests_total[5m]))");
        // A rate would take the names away, and series of several metrics would be the same.
        let all = http::encode("sum by (job) (last_over_time({__name__=~\".+\"}[5m]))");
        for (name, query) in [("instant, 10,000", query), ("instant, 50,000", all)] {
            let path = format!("/api/v1/query?query={query}&time={}", WIDE.end() / 1000);
            Comparison::of(WIDE, &[path]).print(name);
        }
    }
    if is_wanted("refresh") {
        refresh(&load::prepared(WEEK));
    }
}

/// A range query over a week that ends `steps_ago` steps before the samples do.
fn over_week(query: &str, steps_ago: i64) -> String {
    let end = WEEK.end() / 1000 - steps_ago * STEP;
    let start = end - WEEK.hours * 3600;
    format!("/api/v1/query_range?query={}&start={start}&end={end}&step={STEP}", http::encode(query))
}

/// The dashboard again, one step later.
fn refresh(folder: &Path) {
    let ask = |server: &Server, steps_ago: i64| {
        let (began, cpu) = (Instant::now(), server.cpu());
        let answers: Vec<String> =
            DASHBOARD.iter().map(|query| http::get(&server.address, &over_week(query, steps_ago))).collect();
        (answers, began.elapsed(), server.cpu() - cpu)
    };
    let refreshes = [("one step later", 1), ("the same again", 1), ("to the very end", 0)];
    // One after the other: a store has one server.
    let plain = Server::outpost(folder, WEEK.end(), "0");
    let expected = refreshes.map(|(_, steps_ago)| ask(&plain, steps_ago).0);
    plain.stop();
    let cached = Server::outpost(folder, WEEK.end(), "16MB");
    let (_, first, first_cpu) = ask(&cached, 2);
    for ((name, steps_ago), expected) in refreshes.into_iter().zip(expected) {
        let (answers, took, cpu) = ask(&cached, steps_ago);
        let same = if answers == expected { "identical" } else { "DIFFERENT" };
        println!(
            "refresh, {name}: {} after {} ms ({:.3}), CPU {} after {} ms, {same} to without a cache",
            took.as_millis(),
            first.as_millis(),
            took.as_secs_f64() / first.as_secs_f64(),
            cpu.as_millis(),
            first_cpu.as_millis()
        );
    }
    println!("refresh: peak {} KiB resident in all", cached.peak());
}

/// What some requests cost one server.
struct Cost {
    answers: Vec<String>,
    best: Duration,
    cpu: Duration,
    growth: u64,
    peak: u64,
}

impl Cost {
    fn of(server: &Server, paths: &[String]) -> Self {
        let before = server.rss();
        server.reset_peak();
        let answers: Vec<String> = paths.iter().map(|path| http::get(&server.address, path)).collect();
        let peak = server.peak();
        let cpu_before = server.cpu();
        let times = (0..RUNS).map(|_| {
            let began = Instant::now();
            paths.iter().for_each(|path| drop(http::get(&server.address, path)));
            began.elapsed()
        });
        let best = times.min().unwrap();
        let cpu = (server.cpu() - cpu_before) / RUNS;
        Self { answers, best, cpu, growth: peak.saturating_sub(before), peak }
    }
}

struct Comparison {
    ours: Cost,
    theirs: Cost,
}

impl Comparison {
    fn of(shape: Shape, paths: &[String]) -> Self {
        let folder = load::prepared(shape);
        let theirs = Cost::of(&Server::prometheus(&folder), paths);
        let ours = Cost::of(&Server::outpost(&folder, shape.end(), "0"), paths);
        Self { ours, theirs }
    }

    fn print(&self, name: &str) {
        let Self { ours, theirs } = self;
        let pair = |ours: f64, theirs: f64, unit: &str| format!("{ours:.0}/{theirs:.0} {unit} = {:.2}", ours / theirs);
        let millis = |time: Duration| time.as_secs_f64() * 1000.0;
        println!(
            "{name:20} {:>25} {:>25} {:>25}  all {} KiB",
            pair(millis(ours.best), millis(theirs.best), "ms"),
            pair(millis(ours.cpu), millis(theirs.cpu), "ms"),
            pair(ours.growth as f64, theirs.growth as f64, "KiB"),
            ours.peak,
        );
        for (number, (ours, theirs)) in ours.answers.iter().zip(&theirs.answers).enumerate() {
            if let Some(difference) = answer::difference(ours, theirs) {
                println!("    DIFFERENT, query {number}: {difference}");
            }
        }
    }
}
