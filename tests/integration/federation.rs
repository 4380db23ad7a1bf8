//! A stock Prometheus federates from outpost.

use super::support::{Outpost, PATIENCE, PageServer, eventually, get, prometheus, query_value, run_to_end};

const RULES: &str = r#"
groups:
  - name: site
    interval: 1s
    rules:
      - record: job:temperature:max
        expr: max by (job) (temperature_celsius)
      - alert: TooWarm
        expr: temperature_celsius > 30
        labels: {severity: page}
"#;

#[test]
fn a_real_central_gets_labels_values_rules_and_alerts() {
    let target = PageServer::start(
        "# TYPE temperature_celsius gauge\ntemperature_celsius{room=\"attic\"} 35.5\ntemperature_celsius{room=\"cellar\"} 12\n\
         # TYPE requests_total counter\nrequests_total{job=\"from-the-page\"} 7\n",
    );
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("rules.yml"), RULES).unwrap();
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s, external_labels: {{site: garage}}}}\n\
         rule_files: [rules.yml]\n\
         scrape_configs:\n\
         \x20 - job_name: house\n    honor_labels: true\n    static_configs: [{{targets: ['{0}'], labels: {{floor: ground}}}}]\n\
         \x20   metric_relabel_configs: [{{source_labels: [room], regex: attic, target_label: hot, replacement: 'yes'}}]\n",
        target.address
    );
    let outpost = Outpost::start_in(folder, Some(&config), &[]);

    let central_folder = tempfile::TempDir::new().unwrap();
    let central_config = format!(
        "global: {{scrape_interval: 1s}}\n\
         scrape_configs:\n\
         \x20 - job_name: federate-garage\n    honor_labels: true\n    metrics_path: /federate\n\
         \x20   params: {{'match[]': ['{{__name__=~\"job:.*|temperature_celsius|requests_total\"}}', 'up', 'ALERTS']}}\n\
         \x20   static_configs: [{{targets: ['{}']}}]\n",
        outpost.address
    );
    let (_central_process, central) = prometheus(central_folder.path(), &central_config);

    let site = format!("instance=\"{}\",site=\"garage\"", target.address);
    let cases = [
        (format!(r#"temperature_celsius{{room="attic",job="house",floor="ground",hot="yes",{site}}}"#), 35.5),
        (format!(r#"temperature_celsius{{room="cellar",job="house",floor="ground",hot="",{site}}}"#), 12.0),
        (format!(r#"requests_total{{job="from-the-page",{site}}}"#), 7.0),
        (format!(r#"up{{job="house",{site}}}"#), 1.0),
        (r#"job:temperature:max{job="house",site="garage",instance=""}"#.to_owned(), 35.5),
        (
            r#"ALERTS{alertname="TooWarm",alertstate="firing",room="attic",severity="page",site="garage"}"#.to_owned(),
            1.0,
        ),
        (r#"up{job="federate-garage"}"#.to_owned(), 1.0),
    ];
    for (expr, expected) in cases {
        let value = eventually(PATIENCE, &expr, || query_value(&central, &expr));
        assert_eq!(value, expected, "{expr}");
    }

    // Its settings are told apart from good ones, and the site's page is looked at.
    let folder = outpost.folder();
    let (code, said) = run_to_end(&folder, &["check", "federation", &format!("http://{central}")]);
    assert!(code == 1 && said.contains("ok       version: Prometheus") && said.contains("parameter resync"), "{said}");
    let site_url = format!("http://{}/federate?match[]=temperature_celsius&resync=home", outpost.address);
    let (code, said) = run_to_end(&folder, &["check", "federation", &site_url]);
    assert!(code == 0 && said.contains("match[]: 2 series") && said.contains("site=\"garage\""), "{said}");
    let (_, said) = run_to_end(&folder, &["check", "federation", &site_url.replace("temperature_celsius", "none")]);
    assert!(said.contains("problem  match[]: 0 series") && !said.contains("puller"), "no cursor is made: {said}");

    // A new value arrives with the time that the site gave it, and an ended series is no longer given.
    target.set("temperature_celsius{room=\"attic\"} 20\n");
    eventually(PATIENCE, "the new value at the central", || {
        match query_value(&central, r#"temperature_celsius{room="attic"}"#)? {
            20.0 => Ok(()),
            other => Err(format!("still {other}")),
        }
    });
    eventually(PATIENCE, "the ended series is not given any more", || {
        let page = get(&outpost.address, "/federate?match[]=temperature_celsius")?.body;
        if page.contains("attic") && !page.contains("cellar") { Ok(()) } else { Err(page) }
    });
}
