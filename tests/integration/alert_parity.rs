//! The same rules here and in a live Prometheus, a recorder in the place of each one's Alertmanager: the same alerts.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::support::{Outpost, PATIENCE, PageServer, WebhookServer, eventually, prometheus_with};

/// Firing alerts are to be believed for four minutes; an alert of this test lives for seconds.
const LIVES_AT_MOST_SECONDS: f64 = 200.0;

const COOL: &str = "disk_celsius{disk=\"sda\",room=\"attic\"} 40\ndisk_celsius{disk=\"sdb\",room=\"attic\"} 30\n";
const HOT: &str = "disk_celsius{disk=\"sda\",room=\"attic\"} 61.5\ndisk_celsius{disk=\"sdb\",room=\"attic\"} 1e3\n";
const STEADY: &str = "{\"disk.celsius\",\"disk.name\"=\"a b\",room=\"büro\"} 0.1\n\
    number{n=\"1\"} 12.5\nnumber{n=\"2\"} 123456789\nnumber{n=\"3\"} -0.000015\nnumber{n=\"4\"} NaN\nnumber{n=\"5\"} +Inf\n\
    number{n=\"6\"} 0\nnumber{n=\"7\"} 1e15\nnumber{n=\"8\"} 93784.25\nnumber{n=\"9\"} 1700000000.123\nnumber{n=\"10\"} 0.5\n\
    text{text=\"a-B c<&>'\\\"\",host=\"nas.home.example:9100\"} 3\n";

#[test]
fn alerts_are_those_of_prometheus() {
    let target = PageServer::start(&format!("{COOL}{STEADY}"));
    let folder = tempfile::TempDir::new().unwrap();
    // One path for both: it decides when a group is evaluated.
    let rules = folder.path().join("rules.yml");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/alert_parity/rules.yml");
    std::fs::copy(source, &rules).unwrap();
    let (ours, theirs) = (WebhookServer::start(), WebhookServer::start());
    let config = |recorder: &WebhookServer| {
        format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s, external_labels: {{site: garage, region: eu}}}}\n\
             rule_files: ['{}']\n\
             alerting:\n  alert_relabel_configs: [{{source_labels: [drop], regex: me, action: drop}}]\n  \
             alertmanagers: [{{static_configs: [{{targets: ['{}']}}]}}]\n\
             scrape_configs: [{{job_name: page, static_configs: [{{targets: ['{}']}}]}}]\n",
            rules.display(),
            recorder.address,
            target.address
        )
    };
    let url = "--web.external-url=http://site.example:9090/";
    let _outpost = Outpost::start_with(Some(&config(&ours)), &[url]);
    let peer_folder = tempfile::TempDir::new().unwrap();
    let _prometheus = prometheus_with(peer_folder.path(), &config(&theirs), &[url]);

    // Steady alerts: numbers and texts, those without labels and the UTF-8 name.
    same_alerts("from the start", &ours, &theirs, |alert| alert.contains("Üñí"));
    target.set(format!("{HOT}{STEADY}"));
    same_alerts("when it is hot", &ours, &theirs, |alert| alert.contains("\"Waits\""));
    target.set(format!("{COOL}{STEADY}"));
    let seen = same_alerts("when it is cool again", &ours, &theirs, |alert| {
        alert.starts_with("resolved") && alert.contains("\"KeepsFiring\"")
    });
    assert!(!seen.iter().any(|alert| alert.contains("DroppedByRelabeling")), "{seen:#?}");
    let resolved = seen.iter().filter(|alert| alert.starts_with("resolved")).count();
    // Two disks in four rules, and the recorded series of one room.
    assert!(resolved >= 9, "{resolved}: {seen:#?}");
}

/// Waits until both have been told the same, and `until` is among it.
fn same_alerts(
    when: &str,
    ours: &WebhookServer,
    theirs: &WebhookServer,
    until: impl Fn(&String) -> bool,
) -> BTreeSet<String> {
    eventually(PATIENCE, when, || {
        let (ours, theirs) = (told(ours), told(theirs));
        let differences: Vec<_> = ours.symmetric_difference(&theirs).collect();
        match ours == theirs && ours.iter().any(&until) {
            true => Ok(ours),
            false => Err(format!("{} and {} alerts, different: {differences:#?}", ours.len(), theirs.len())),
        }
    })
}

/// Each alert in each state as one line: all but the times, which depend on the second that a target was scraped in.
fn told(recorder: &WebhookServer) -> BTreeSet<String> {
    let bodies = recorder.bodies();
    let alerts = bodies.iter().flat_map(|body| body.as_array().expect("a list of alerts"));
    let state = |alert: &Value| match (seconds(&alert["endsAt"]) - seconds(&alert["startsAt"])).rem_euclid(86_400.0) {
        lived if lived > LIVES_AT_MOST_SECONDS => "firing",
        _ => "resolved",
    };
    alerts
        .map(|alert| {
            let (state, mut rest) = (state(alert), alert.clone());
            rest.as_object_mut().unwrap().retain(|key, _| !key.ends_with("At"));
            format!("{state} {rest}")
        })
        .collect()
}

/// Seconds since midnight of a time in RFC 3339 with milliseconds, in UTC.
fn seconds(time: &Value) -> f64 {
    let text = time.as_str().expect("a time");
    assert!(text.ends_with('Z') && text.len() == "2026-01-01T00:00:00.000Z".len(), "{text}");
    let part = |range: std::ops::Range<usize>| text[range].parse::<f64>().unwrap();
    part(11..13) * 3600.0 + part(14..16) * 60.0 + part(17..23)
}
