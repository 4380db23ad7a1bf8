//! Outages of a minute to more than a day, each for three centrals at once: without an out-of-order window, with one,
//! and with one and the newest samples first.

use std::fmt::Write;
use std::time::Duration;

use super::link::Link;
use super::scene::{Central, FEDERATED, REACH, Setting, Site, now_ms, wait_for_failed_pull};
use super::support::{PATIENCE, eventually, query_value};
use super::together;

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;

/// The interval of the samples that the site has from the time of the outage.
const STEP: i64 = 15;

/// Series in the page of the time of the outage that go on to its end, and those that end half-way.
const WHOLE_SERIES: [&str; 5] = [
    "temperature_celsius{room=\"attic\"}",
    "temperature_celsius{room=\"cellar\"}",
    "requests_total",
    "job:old:sum{job=\"old\"}",
    "ALERTS{alertname=\"Old\",alertstate=\"firing\",job=\"house\"}",
];
const ENDED_SERIES: &str = "ended{room=\"shed\"}";

#[test]
fn outages_of_every_length_are_filled() {
    together(&[
        ("a minute", || check(MINUTE, &["prometheus"; 3])),
        ("twenty minutes", || check(20 * MINUTE, &["prometheus"; 3])),
        ("twenty minutes, older central", || check(20 * MINUTE, &["prometheus-packaged"; 2])),
        ("three hours", || check(3 * HOUR, &["prometheus"; 3])),
        ("twenty-six hours", || check(26 * HOUR, &["prometheus"; 3])),
    ]);
}

fn check(seconds: i64, programs: &[&str]) {
    let settings = [
        Setting { resync: "plain", ..Setting::default() },
        Setting { resync: "window", window: "30h", params: "resync_max_age: [30h]", ..Setting::default() },
        Setting { resync: "newest", window: "30h", params: "resync_order: [newest]", ..Setting::default() },
    ];
    let settings: Vec<Setting<'_>> =
        settings.into_iter().zip(programs).map(|(setting, program)| Setting { program, ..setting }).collect();
    let Some(links) = settings.iter().map(|_| Link::new()).collect::<Option<Vec<Link>>>() else { return };
    // The site lives as long ago as the outage will be long; what the central gets now is from then.
    let began = now_ms() - seconds * 1000;
    let site = Site::start(&links.iter().collect::<Vec<_>>(), -seconds);
    let centrals: Vec<Central<'_>> =
        links.iter().zip(&settings).map(|(link, setting)| Central::start_unpulled(link, setting)).collect();
    centrals.iter().for_each(Central::wait_for_pulls);
    links.iter().for_each(Link::cut);
    centrals.iter().for_each(|central| wait_for_failed_pull(&central.address));

    // Samples of now, or the end of a series, would make the older ones come too late.
    site.target.set("");
    eventually(PATIENCE, "the series end", || query_value(&site.outpost.address, "absent(requests_total)"));
    site.clock.set(0, true);
    let (page, samples) = history(now_ms() / 1000 - seconds + 45, now_ms() / 1000);
    site.scrape_once(&page, "sum(count_over_time(requests_total[40h]))", (samples / 6) as f64);
    let joined = now_ms();
    links.iter().for_each(Link::join);

    for (central, setting) in centrals.iter().zip(&settings) {
        let age_max = Duration::from_secs(if setting.params.contains("30h") { 30 * 3600 } else { 24 * 3600 });
        let oldest = if setting.window.is_empty() { REACH } else { age_max };
        let found = central.check_complete(&site, FEDERATED, oldest);
        let expected = found.since(began);
        assert!(expected >= samples, "the site has samples of the outage: {expected} of {samples}");
        let caught_up = (now_ms() - joined) as f64 / 1000.0;
        let (refused, resent) = (central.refused(), site.own("outpost_resync_resent_samples_total"));
        let is_within = setting.window == "30h" && setting.params.contains("30h") || seconds < HOUR;
        assert!(!is_within || found.central >= expected, "all of it is within the contract");
        eprintln!(
            "{seconds} s, {} {}: {} of {expected} samples of the outage at the central {caught_up:.1} s after the link was \
             joined; {resent} samples sent again to all; {refused:?}",
            setting.program, setting.resync, found.central
        );
    }
}

/// A page with samples of every `STEP` between two times, and their number.
fn history(start: i64, end: i64) -> (String, usize) {
    let (mut page, mut number) = (String::new(), 0);
    for (index, series) in WHOLE_SERIES.iter().chain([&ENDED_SERIES]).enumerate() {
        let end = if *series == ENDED_SERIES { start + (end - start) / 2 } else { end };
        for at in (start..end).step_by(STEP as usize) {
            writeln!(page, "{series} {} {}", at % 1000 + index as i64, at * 1000 + index as i64).unwrap();
            number += 1;
        }
    }
    (page, number)
}
