//! Restart, kill, stop and reload.

use super::support::{Outpost, PATIENCE, PageServer, eventually, get_json, node_exporter, query_value};

fn config_for(address: &str) -> String {
    format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: page, static_configs: [{{targets: ['{address}']}}]}}]\n"
    )
}

#[test]
fn samples_survive_a_restart_and_a_kill() {
    let target = PageServer::start("battery_volts 12.5\n");
    let mut outpost = Outpost::start(&config_for(&target.address));
    let count = "count_over_time(battery_volts[1h])";
    let before = eventually(PATIENCE, "three samples", || at_least(&outpost, count, 3.0));
    outpost.process.signal("TERM");
    assert_eq!(outpost.process.wait().code(), Some(0));
    outpost.restart();
    let after = eventually(PATIENCE, "samples after the restart", || at_least(&outpost, count, before));

    let before_kill = eventually(PATIENCE, "more samples", || at_least(&outpost, count, after + 2.0));
    outpost.process.signal("KILL");
    outpost.process.wait();
    outpost.restart();
    // At most the scrape in flight is lost, and this count was taken after that scrape was answered for.
    eventually(PATIENCE, "samples after the kill", || at_least(&outpost, count, before_kill));
}

#[test]
fn a_clean_stop_ends_the_series() {
    let target = PageServer::start("battery_volts 12.5\n");
    let mut outpost = Outpost::start(&config_for(&target.address));
    eventually(PATIENCE, "a sample", || query_value(&outpost.address, "battery_volts"));
    outpost.process.signal("TERM");
    assert_eq!(outpost.process.wait().code(), Some(0));
    // The same store without the target: within the lookback, yet ended.
    std::fs::write(outpost.folder().join("outpost.yml"), "scrape_configs: []\n").unwrap();
    outpost.restart();
    let kept =
        eventually(PATIENCE, "kept samples", || query_value(&outpost.address, "count_over_time(battery_volts[5m])"));
    assert!(kept >= 1.0);
    query_value(&outpost.address, "absent(battery_volts)").unwrap();
}

#[test]
fn a_reload_takes_a_good_file_and_refuses_a_bad_one() {
    let first = PageServer::start("first 1\n");
    let second = PageServer::start("second 1\n");
    let outpost = Outpost::start(&config_for(&first.address));
    let file = outpost.folder().join("outpost.yml");
    eventually(PATIENCE, "the first target", || query_value(&outpost.address, "first"));

    std::fs::write(&file, "scrape_configs: [{job_name: page, static_config: []}]\n").unwrap();
    outpost.process.signal("HUP");
    let said = eventually(PATIENCE, "the refusal is logged", || {
        let output = outpost.process.output();
        output.lines().find(|line| line.contains("static_config")).map(str::to_owned).ok_or(output)
    });
    assert!(said.contains("outpost.yml"), "the message names the file: {said}");
    eventually(PATIENCE, "the refusal is a metric", || {
        match query_own(&outpost, "outpost_config_last_reload_successful")? {
            0.0 => Ok(()),
            other => Err(format!("{other}")),
        }
    });
    let targets = get_json(&outpost.address, "/api/v1/targets").unwrap();
    assert_eq!(targets["data"]["activeTargets"].as_array().unwrap().len(), 1, "the old set runs on: {targets}");
    let notices = get_json(&outpost.address, "/api/v1/notifications").unwrap();
    assert_eq!(notices["data"][0]["text"], "Configuration reload has failed.", "{notices}");

    std::fs::write(&file, config_for(&second.address)).unwrap();
    outpost.process.signal("HUP");
    eventually(PATIENCE, "the second target", || query_value(&outpost.address, "second"));
    eventually(PATIENCE, "the first target has ended", || query_value(&outpost.address, "absent(first)"));
    assert_eq!(query_own(&outpost, "outpost_config_last_reload_successful"), Ok(1.0));
    let notices = get_json(&outpost.address, "/api/v1/notifications").unwrap();
    assert_eq!(notices["data"].as_array().map(Vec::len), Some(0), "{notices}");
}

#[test]
fn reloads_cost_no_scrape() {
    const INTERVAL_MS: i64 = 1_000;
    let (kept, other) = (PageServer::start("kept 1\n"), PageServer::start("other 1\n"));
    let config = |number: usize| {
        let more = if number.is_multiple_of(2) { String::new() } else { format!(", '{}'", other.address) };
        format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n\
             - {{job_name: same, static_configs: [{{targets: ['{kept}']}}]}}\n\
             - {{job_name: grows, static_configs: [{{targets: ['{kept}'{more}]}}]}}\n\
             - {{job_name: changes, metric_relabel_configs: [{{target_label: n, replacement: '{number}'}}], \
                static_configs: [{{targets: ['{kept}']}}]}}\n",
            kept = kept.address
        )
    };
    let outpost = Outpost::start(&config(0));
    let up = "sum(count_over_time(up{instance=\"%\"}[1h]))".replace('%', &kept.address);
    for number in 1..=8 {
        std::fs::write(outpost.folder().join("outpost.yml"), config(number)).unwrap();
        outpost.process.signal("HUP");
        // A few scrapes of the three between two reloads, at no fixed distance.
        let so_far = query_value(&outpost.address, &up).unwrap_or(0.0);
        eventually(PATIENCE, "more scrapes", || at_least(&outpost, &up, so_far + 4.0));
    }
    let answer = get_json(&outpost.address, "/api/v1/query?query=up%5B1h%5D").unwrap();
    for one in answer["data"]["result"].as_array().unwrap() {
        if one["metric"]["instance"] != kept.address.as_str() {
            continue;
        }
        let samples = one["values"].as_array().unwrap();
        let times: Vec<i64> = samples.iter().map(|pair| (pair[0].as_f64().unwrap() * 1000.0) as i64).collect();
        let gap = times.windows(2).find(|pair| pair[1] - pair[0] >= 2 * INTERVAL_MS);
        assert!(times.len() >= 8 && gap.is_none(), "{}: {times:?}", one["metric"]);
    }
}

#[test]
fn a_real_node_exporter_is_scraped_behind_its_name() {
    let folder = tempfile::TempDir::new().unwrap();
    let (_exporter, address) = node_exporter(folder.path());
    let outpost = Outpost::start(&config_for(&address));
    let goroutines = eventually(PATIENCE, "the exporter's series", || query_value(&outpost.address, "go_goroutines"));
    assert!(goroutines > 1.0);
    let targets = get_json(&outpost.address, "/api/v1/targets").unwrap();
    assert_eq!(targets["data"]["activeTargets"][0]["health"], "up", "{targets}");
}

fn at_least(outpost: &Outpost, expr: &str, least: f64) -> Result<f64, String> {
    let value = query_value(&outpost.address, expr)?;
    if value >= least { Ok(value) } else { Err(format!("{expr} is {value}, not {least} yet")) }
}

/// A metric from outpost's own page.
fn query_own(outpost: &Outpost, name: &str) -> Result<f64, String> {
    let page = super::support::get(&outpost.address, "/metrics")?;
    let line = page.body.lines().find(|line| line.starts_with(name) && !line.starts_with('#'));
    line.and_then(|line| line.split_whitespace().last()?.parse().ok()).ok_or_else(|| format!("no {name}"))
}
