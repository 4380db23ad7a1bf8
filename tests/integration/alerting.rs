//! A real Alertmanager receives, groups and resolves an alert.

use serde_json::Value;

use super::support::{Outpost, PATIENCE, PageServer, WebhookServer, alertmanager, eventually, get_json, query_value};

const RULES: &str = r#"
groups:
  - name: disks
    interval: 1s
    rules:
      - alert: DiskHot
        expr: disk_celsius > 50
        for: 2s
        labels: {severity: page}
        annotations:
          summary: 'disk {{ $labels.disk }} is at {{ $value }} degrees'
"#;

#[test]
fn an_alert_goes_through_its_states_and_reaches_a_real_alertmanager() {
    let target = PageServer::start("disk_celsius{disk=\"sda\"} 61.5\ndisk_celsius{disk=\"sdb\"} 30\n");
    let webhook = WebhookServer::start();
    let peer_folder = tempfile::TempDir::new().unwrap();
    let (_alertmanager, alertmanager_address) = alertmanager(
        peer_folder.path(),
        &format!(
            "route: {{receiver: hook, group_by: [alertname], group_wait: 1s, group_interval: 1s}}\n\
             receivers:\n  - name: hook\n    webhook_configs: [{{url: 'http://{}/', send_resolved: true}}]\n",
            webhook.address
        ),
    );

    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("rules.yml"), RULES).unwrap();
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s, external_labels: {{site: garage}}}}\n\
         rule_files: ['*rules.yml']\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{alertmanager_address}']}}]}}]}}\n\
         scrape_configs: [{{job_name: disks, static_configs: [{{targets: ['{}']}}]}}]\n",
        target.address
    );
    let outpost = Outpost::start_in(folder, Some(&config), &[]);

    let pending = r#"count_over_time(ALERTS{alertstate="pending",disk="sda"}[1m])"#;
    eventually(PATIENCE, "the alert is pending first", || query_value(&outpost.address, pending));
    let firing = eventually(PATIENCE, "the alert reaches the receiver", || notified(&webhook, "firing"));
    let alert = &firing["alerts"][0];
    assert_eq!(alert["labels"]["alertname"], "DiskHot");
    assert_eq!(alert["labels"]["disk"], "sda");
    assert_eq!(alert["labels"]["severity"], "page");
    assert_eq!(alert["labels"]["site"], "garage");
    assert_eq!(alert["annotations"]["summary"], "disk sda is at 61.5 degrees");
    assert_eq!(firing["groupLabels"]["alertname"], "DiskHot");
    assert_eq!(firing["alerts"].as_array().unwrap().len(), 1, "{firing}");

    let known = get_json(&alertmanager_address, "/api/v2/alerts").unwrap();
    assert_eq!(known[0]["labels"]["disk"], "sda", "{known}");
    let alerts = get_json(&outpost.address, "/api/v1/alerts").unwrap();
    assert_eq!(alerts["data"]["alerts"][0]["state"], "firing", "{alerts}");
    let rules = get_json(&outpost.address, "/api/v1/rules").unwrap();
    assert_eq!(rules["data"]["groups"][0]["rules"][0]["name"], "DiskHot", "{rules}");
    assert_eq!(rules["data"]["groups"][0]["rules"][0]["health"], "ok", "{rules}");

    target.set("disk_celsius{disk=\"sda\"} 40\ndisk_celsius{disk=\"sdb\"} 30\n");
    let resolved = eventually(PATIENCE, "the end reaches the receiver", || notified(&webhook, "resolved"));
    assert_eq!(resolved["alerts"][0]["labels"]["disk"], "sda");
}

fn notified(webhook: &WebhookServer, status: &str) -> Result<Value, String> {
    let bodies = webhook.bodies();
    bodies
        .iter()
        .find(|body| body["status"] == status)
        .cloned()
        .ok_or_else(|| format!("{} bodies: {bodies:?}", bodies.len()))
}

/// What ended while no Alertmanager answered is told to the one that answers after a crash.
#[test]
fn an_end_that_nobody_took_outlives_a_kill() {
    let target = PageServer::start("disk_celsius{disk=\"sda\"} 61.5\n");
    // Nobody listens there any more.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let config = |alertmanager: &str| {
        format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: ['*rules.yml']\n\
             alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{alertmanager}']}}]}}]}}\n\
             scrape_configs: [{{job_name: disks, static_configs: [{{targets: ['{}']}}]}}]\n",
            target.address
        )
    };
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("rules.yml"), RULES).unwrap();
    let mut outpost = Outpost::start_in(folder, Some(&config(&nobody)), &[]);
    let firing = r#"ALERTS{alertstate="firing"}"#;
    eventually(PATIENCE, "the alert fires", || query_value(&outpost.address, firing));
    target.set("disk_celsius{disk=\"sda\"} 40\n");
    let waiting = outpost.folder().join("data/waiting-alerts");
    eventually(PATIENCE, "the end is on the disk", || {
        let text = std::fs::read_to_string(&waiting).map_err(|error| error.to_string())?;
        if text.contains("\"resolved\":true") { Ok(()) } else { Err(text) }
    });
    outpost.process.signal("KILL");
    outpost.process.wait();

    let listens = WebhookServer::start();
    std::fs::write(outpost.folder().join("outpost.yml"), config(&listens.address)).unwrap();
    outpost.restart();
    let told = eventually(PATIENCE, "the end is told", || {
        listens.bodies().first().cloned().ok_or_else(|| "nothing yet".to_owned())
    });
    assert_eq!(told[0]["labels"]["alertname"], "DiskHot", "{told}");
    let [starts, ends] = ["startsAt", "endsAt"].map(|name| told[0][name].as_str().unwrap().to_owned());
    assert!(starts < ends, "{told}");
    eventually(PATIENCE, "nothing waits any more", || {
        let text = std::fs::read_to_string(&waiting).map_err(|error| error.to_string())?;
        if text == "[]\n" { Ok(()) } else { Err(text) }
    });
    // The rule knows of it too, and repeats it as every resolution is repeated.
    for body in listens.bodies() {
        let times = ["startsAt", "endsAt"].map(|name| body[0][name].as_str().unwrap().to_owned());
        assert_eq!(times, [starts.clone(), ends.clone()], "one end, whoever tells it: {body}");
    }
}
