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

    std::fs::write(&file, config_for(&second.address)).unwrap();
    outpost.process.signal("HUP");
    eventually(PATIENCE, "the second target", || query_value(&outpost.address, "second"));
    eventually(PATIENCE, "the first target has ended", || query_value(&outpost.address, "absent(first)"));
    assert_eq!(query_own(&outpost, "outpost_config_last_reload_successful"), Ok(1.0));
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
