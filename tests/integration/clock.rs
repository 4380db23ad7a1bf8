//! A board without a battery: the clock starts in the past, and is set while outpost runs.

use std::fs;

use tempfile::TempDir;

use super::support::{Outpost, PATIENCE, PageServer, WrongClock, eventually, get, query_value};

const DAY: i64 = 86_400;
const HOUR: i64 = 3_600;

const CONFIG: &str = "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [rules.yml]\n";
const RULES: &str = "groups: [{name: g, rules: [{alert: Low, expr: battery_volts < 13}]}]\n";

#[test]
fn samples_wait_for_the_time_of_day_and_alerts_do_not() {
    let target = PageServer::start("battery_volts 12.5\n");
    let folder = TempDir::new().unwrap();
    let clock = WrongClock::new(folder.path());
    fs::write(folder.path().join("rules.yml"), RULES).unwrap();
    let job = format!("scrape_configs: [{{job_name: page, static_configs: [{{targets: ['{}']}}]}}]\n", target.address);
    let config = format!("{CONFIG}{job}");
    let mut outpost = Outpost::start_with_environment(folder, Some(&config), &[], &clock.environment());
    eventually(PATIENCE, "three samples", || at_least(&outpost, "count_over_time(battery_volts[1h])", 3.0));
    outpost.process.signal("TERM");
    assert_eq!(outpost.process.wait().code(), Some(0));

    // The power comes back, the network does not: the clock is ten days behind what is stored.
    clock.set(-10 * DAY, false);
    outpost.restart();
    eventually(PATIENCE, "the clock is not believed", || own(&outpost, "outpost_clock_trusted", 0.0));
    eventually(PATIENCE, "samples are held", || {
        let page = get(&outpost.address, "/metrics")?.body;
        let line = page.lines().find(|line| line.starts_with("outpost_clock_held_samples "));
        let held: f64 = line.and_then(|line| line.split(' ').nth(1)).unwrap_or("0").parse().unwrap();
        if held >= 10.0 { Ok(()) } else { Err(format!("{held}")) }
    });
    let health = get(&outpost.address, "/-/healthy").unwrap().body;
    assert!(health.contains("the time of day is not known"), "{health}");
    eventually(PATIENCE, "alerts go on", || query_value(&outpost.address, "ALERTS{alertstate=\"firing\"}"));
    let before = query_value(&outpost.address, "count_over_time(battery_volts[1h])").unwrap();
    let federated = get(&outpost.address, "/federate?match[]=battery_volts").unwrap().body;
    assert!(!federated.contains("battery_volts{"), "a central is not told assumed times: {federated}");
    let resync = "/federate?match[]=battery_volts&resync=home";
    let waiting = get(&outpost.address, resync).unwrap();
    assert_eq!(waiting.status, 503, "no cursor moves past samples that wait: {}", waiting.body);

    // The network is back: NTP sets the clock. It was two hours.
    clock.set(2 * HOUR, true);
    eventually(PATIENCE, "the clock is believed", || own(&outpost, "outpost_clock_trusted", 1.0));
    let moved = query_value(&outpost.address, "count_over_time(battery_volts[30m])").unwrap();
    let old = query_value(&outpost.address, "count_over_time(battery_volts[1h] offset 90m)").unwrap();
    assert!(old >= 3.0, "what was stored before stays where it was: {old}");
    assert!(moved + old >= before, "no sample is lost: {moved} and {old} of {before}");
    assert!(moved >= 2.0, "the held samples lie before now: {moved}");
    query_value(&outpost.address, "absent(count_over_time(battery_volts[50m] offset 35m))").unwrap();
    eventually(PATIENCE, "the alert goes on", || query_value(&outpost.address, "ALERTS{alertstate=\"firing\"}"));
    own(&outpost, "outpost_clock_held_samples", 0.0).unwrap();
    own(&outpost, "outpost_clock_steps_total{direction=\"forward\"}", 1.0).unwrap();
    let federated = get(&outpost.address, "/federate?match[]=battery_volts").unwrap().body;
    assert!(federated.contains("battery_volts{"), "now it is: {federated}");
    let all = get(&outpost.address, resync).unwrap().body;
    assert!(all.matches("battery_volts{").count() >= 2, "and the held samples are given: {all}");

    // And it is all on the disk.
    outpost.process.signal("KILL");
    outpost.process.wait();
    outpost.restart();
    eventually(PATIENCE, "the samples after a kill", || {
        at_least(&outpost, "count_over_time(battery_volts[30m])", moved)
    });
}

fn at_least(outpost: &Outpost, expr: &str, least: f64) -> Result<f64, String> {
    let value = query_value(&outpost.address, expr)?;
    if value >= least { Ok(value) } else { Err(format!("{value}")) }
}

fn own(outpost: &Outpost, name: &str, expected: f64) -> Result<(), String> {
    let page = get(&outpost.address, "/metrics")?.body;
    let wanted = format!("{name} {expected}");
    if page.lines().any(|line| line == wanted) { Ok(()) } else { Err(format!("no line {wanted:?}: {page}")) }
}
