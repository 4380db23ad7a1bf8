//! Targets that misbehave in every way at once, beside ones that behave: each hostile one is down with its reason,
//! memory stays within its bound, and the others are scraped on time.

use std::fmt::Write;

use serde_json::Value;

use super::support::{HostileServer, Outpost, PATIENCE, PageServer, eventually, get, get_json, query_value};

/// What the process may take at most: one page of 64 MiB (decompressed, one at a time), what growing to it takes, up
/// to 4 MiB of each page that waits for its turn, and what a small site takes anyway. docs/configuration.md says the
/// same.
const RSS_KIB_MAX: u64 = 192 * 1024;
const GOOD_TARGETS: usize = 5;
const GOOD_INTERVAL_MS: i64 = 2_000;

/// Path and the words that its `lastError` must hold.
const DOWN: [(&str, &str); 15] = [
    ("endless_body", "body size limit exceeded: more than 67108864 bytes"),
    ("gzip_bomb", "body size limit exceeded: more than 67108864 bytes"),
    ("one_byte_a_second", "timed out after 4s while reading the body"),
    ("endless_headers", "the response's headers are too large"),
    ("million_series", "the page has more than 500000 samples"),
    ("long_label", "the labels of one series are longer than 32768 bytes (metric: long)"),
    ("invalid_utf8", "not valid UTF-8"),
    ("redirect_loop", "stopped after 10 redirects"),
    ("truncated_chunks", "reading the body: the server closed the connection before the end"),
    ("reset", "reading the body: connection reset by the server"),
    ("html", "received unsupported Content-Type \"text/html\""),
    ("no_content_type", "blank Content-Type"),
    ("silent", "timed out after 4s while waiting for the response"),
    ("expired_tls", "the server's certificate has expired"),
    ("refused", "connection refused"),
];

/// Path, and an expression with its value: what Prometheus takes too, without the samples that it drops.
const UP: [(&str, &str, f64); 8] = [
    ("http10", "old_protocol", 1.0),
    ("duplicates", "twice", 1.0),
    ("duplicates", "once", 4.0),
    ("duplicates", "scrape_samples_post_metric_relabeling{job=\"duplicates\"}", 4.0),
    ("far_future", "future_now + on() absent(future)", 2.0),
    ("far_past", "past_now + on() absent(past)", 2.0),
    // Every NaN is the plain one: no target can forge a stale marker.
    ("nan_payloads", "count(nan_stale != nan_stale)", 1.0),
    ("nan_payloads", "count(nan_odd != nan_odd)", 1.0),
];

#[test]
fn hostile_targets_hurt_only_themselves() {
    let hostile = HostileServer::start();
    let good: Vec<PageServer> =
        (0..GOOD_TARGETS).map(|number| PageServer::start(&format!("good {number}\n"))).collect();
    let outpost = Outpost::start(&configuration(&hostile, &good));
    for (job, words) in DOWN {
        eventually(PATIENCE, &format!("{job} is down with its reason"), || is_down(&outpost, job, words));
    }
    for (job, expr, expected) in UP {
        eventually(PATIENCE, expr, || match query_value(&outpost.address, expr)? {
            value if value == expected => Ok(()),
            other => Err(format!("{job}: {other}")),
        });
        assert_eq!(query_value(&outpost.address, &format!("up{{job=\"{job}\"}}")), Ok(1.0), "{job}");
    }
    for reason in ["duplicate", "too_far_ahead", "too_old"] {
        let line = format!("outpost_scrape_samples_rejected_total{{reason=\"{reason}\"}} ");
        let page = get(&outpost.address, "/metrics").unwrap().body;
        let count = page.lines().find_map(|found| found.strip_prefix(&line)).expect("the reason is counted");
        assert_ne!(count, "0", "{reason}");
    }
    eventually(PATIENCE, "ten good scrapes each", || scrape_times(&outpost).map(drop));
    for times in scrape_times(&outpost).unwrap() {
        let late = times.windows(2).find(|pair| pair[1] - pair[0] >= 2 * GOOD_INTERVAL_MS);
        assert!(late.is_none(), "a scrape is missing: {times:?}");
    }
    let peak = peak_kib(&outpost);
    assert!(peak < RSS_KIB_MAX, "{peak} KiB were resident at the peak");
}

fn configuration(hostile: &HostileServer, good: &[PageServer]) -> String {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls");
    let targets: Vec<String> = good.iter().map(|server| format!("'{}'", server.address)).collect();
    let mut config = format!(
        "global: {{scrape_interval: 4s, scrape_timeout: 4s}}\nscrape_configs:\n\
         - {{job_name: good, scrape_interval: {GOOD_INTERVAL_MS}ms, scrape_timeout: 1s, static_configs: [{{targets: [{}]}}]}}\n",
        targets.join(", ")
    );
    let mut jobs: Vec<&str> = DOWN.iter().map(|(job, _)| *job).chain(UP.iter().map(|(job, ..)| *job)).collect();
    jobs.dedup();
    for job in jobs {
        let (address, more) = match job {
            "expired_tls" => (
                hostile.expired_tls_address.as_str(),
                format!("scheme: https, tls_config: {{ca_file: '{fixtures}/ca.pem'}}, "),
            ),
            "refused" => ("127.0.0.1:1", String::new()),
            "nan_payloads" => (hostile.address.as_str(), "scrape_protocols: [PrometheusProto], ".to_owned()),
            _ => (hostile.address.as_str(), String::new()),
        };
        writeln!(
            config,
            "- {{job_name: {job}, metrics_path: /{job}, {more}static_configs: [{{targets: ['{address}']}}]}}"
        )
        .unwrap();
    }
    config
}

fn is_down(outpost: &Outpost, job: &str, words: &str) -> Result<(), String> {
    let answer = get_json(&outpost.address, &format!("/api/v1/targets?state=active&scrapePool={job}"))?;
    let target = &answer["data"]["activeTargets"][0];
    let error = target["lastError"].as_str().unwrap_or_default();
    if target["health"] == "down" && error.contains(words) { Ok(()) } else { Err(target.to_string()) }
}

/// When each good target was scraped, in milliseconds, once there are ten scrapes of each.
fn scrape_times(outpost: &Outpost) -> Result<Vec<Vec<i64>>, String> {
    let answer = get_json(&outpost.address, "/api/v1/query?query=good%5B5m%5D")?;
    let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
    let times = |one: &Value| -> Vec<i64> {
        let samples = one["values"].as_array().cloned().unwrap_or_default();
        samples.iter().filter_map(|pair| Some((pair[0].as_f64()? * 1000.0) as i64)).collect()
    };
    let all: Vec<Vec<i64>> = series.iter().map(times).collect();
    match all.len() == GOOD_TARGETS && all.iter().all(|times| times.len() >= 10) {
        true => Ok(all),
        false => Err(answer.to_string()),
    }
}

/// The largest resident size so far.
fn peak_kib(outpost: &Outpost) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", outpost.process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel says so");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
