//! Outpost as the central: it pulls from another outpost and from a Prometheus, and fills its own holes.

use tempfile::TempDir;

use super::compare::{count, difference, samples};
use super::faults::outage;
use super::relay::{Harm, Relay};
use super::scene::{FEDERATED, PAGE, Site, now_ms, wait_for_failed_pull};
use super::support::{Outpost, PATIENCE, PageServer, eventually, prometheus, query_value};

/// Pulls as a central does.
fn hub(site: &str, params: &str) -> Outpost {
    let folder = TempDir::new().unwrap();
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
         scrape_configs:\n\
         \x20 - job_name: federate\n    honor_labels: true\n    metrics_path: /federate\n\
         \x20   params: {{'match[]': ['{{job=\"house\"}}', '{{__name__=~\"job:.*\"}}', ALERTS]{params}}}\n\
         \x20   static_configs: [{{targets: ['{site}']}}]\n"
    );
    Outpost::start_in(folder, Some(&config), &[])
}

fn check_complete(site: &Outpost, hub: &Outpost, began: i64, what: &str) {
    let until = now_ms();
    let number = eventually(PATIENCE, what, || {
        let expected = samples(&site.address, FEDERATED, "1h", until, "site")?;
        let there = samples(&hub.address, &FEDERATED.replace('}', ",site=\"garage\"}"), "1h", until, "site")?;
        difference(&expected, &there, began)?;
        Ok(count(&there))
    });
    eprintln!("{what}: {number} samples in {} s are all there", (until - began) / 1000);
    assert!(number as i64 > 3 * (until - began) / 1000, "{number} samples");
}

#[test]
fn an_outpost_fills_its_holes_from_another_one() {
    let site = Site::start(&[], 0);
    let relay = Relay::start("127.0.0.1", &site.outpost.address);
    let began = now_ms();
    let mut hub = hub(&relay.address, ", resync: [hub]");
    eventually(PATIENCE, "the hub pulls", || query_value(&hub.address, "requests_total{site=\"garage\"}"));
    std::thread::sleep(outage());
    check_complete(&site.outpost, &hub, began, "an outpost pulls from an outpost");
    assert_eq!(site.own("outpost_resync_resent_samples_total"), 0.0, "each reply is confirmed by the next request");

    relay.set(Harm::StopHalfWay);
    wait_for_failed_pull(&hub.address);
    std::thread::sleep(outage());
    relay.set(Harm::None);
    check_complete(&site.outpost, &hub, began, "after an outage");

    hub.process.signal("KILL");
    hub.process.wait();
    std::thread::sleep(outage());
    hub.restart();
    check_complete(&site.outpost, &hub, began, "after the hub was away");
}

#[test]
fn an_outpost_pulls_from_a_prometheus() {
    let target = PageServer::start(PAGE);
    let folder = TempDir::new().unwrap();
    let config = format!(
        "global: {{scrape_interval: 1s, external_labels: {{site: garage}}}}\n\
         scrape_configs: [{{job_name: house, static_configs: [{{targets: ['{}']}}]}}]\n",
        target.address
    );
    let (_process, site) = prometheus(folder.path(), &config);
    // A Prometheus does not know the parameter, and takes no offence.
    let hub = hub(&site, ", resync: [hub]");
    let expr =
        format!("temperature_celsius{{room=\"attic\",job=\"house\",instance=\"{}\",site=\"garage\"}}", target.address);
    let value = eventually(PATIENCE, "the value", || query_value(&hub.address, &expr));
    assert_eq!(value, 35.5);
    // Each with the time that the site gave it, and nothing twice.
    eventually(PATIENCE, "five samples", || {
        let there = samples(&hub.address, "temperature_celsius{site=\"garage\"}", "1h", now_ms(), "site")?;
        let here = samples(&site, "temperature_celsius", "1h", now_ms(), "site")?;
        for (series, found) in &there {
            let known = here.get(series).ok_or_else(|| format!("{series} is not the site's"))?;
            if let Some(time) = found.keys().find(|time| !known.contains_key(time)) {
                return Err(format!("{series} at {time} is not the site's"));
            }
        }
        if count(&there) >= 10 { Ok(()) } else { Err(format!("{}", count(&there))) }
    });
}
