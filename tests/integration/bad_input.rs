//! Wrong configurations end with one clear message; broken targets cost nothing but their own samples.

use super::support::{Outpost, PATIENCE, PageServer, eventually, get_json, query_value, run_to_end};

#[test]
fn a_wrong_start_says_what_is_wrong_and_where() {
    let cases: &[(&str, &[&str], i32, &[&str])] = &[
        ("scrape_configs: [", &["--config.file=outpost.yml"], 1, &["outpost.yml"]),
        ("scrape_config: []\n", &["--config.file=outpost.yml"], 1, &["outpost.yml", "scrape_config", "1"]),
        (
            "global:\n  scrape_interval: 15 seconds\n",
            &["--config.file=outpost.yml"],
            1,
            &["outpost.yml", "scrape_interval"],
        ),
        ("{}\n", &["--config.file=missing.yml"], 1, &["missing.yml"]),
        ("{}\n", &["--no.such.flag"], 2, &["--no.such.flag"]),
        ("{}\n", &["--web.config.file=web.yml"], 1, &["web.yml", "--web.config.file"]),
        ("rule_files: [bad-rules.yml]\n", &["--config.file=outpost.yml"], 1, &["bad-rules.yml", "rule 1", "1:5"]),
    ];
    for (config, arguments, code, words) in cases {
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::write(folder.path().join("outpost.yml"), config).unwrap();
        std::fs::write(
            folder.path().join("bad-rules.yml"),
            "groups: [{name: g, rules: [{record: r, expr: 'sum('}]}]\n",
        )
        .unwrap();
        let (got, output) = run_to_end(folder.path(), &[arguments, &["--web.listen-address=127.0.0.1:0"][..]].concat());
        assert_eq!(got, *code, "{config:?} {arguments:?}: {output}");
        for word in *words {
            assert!(output.contains(word), "{config:?} {arguments:?} names {word}: {output}");
        }
        assert!(output.lines().count() < 20, "one message, not a flood: {output}");
    }
}

#[test]
fn a_busy_port_and_a_busy_store_are_named() {
    let outpost = Outpost::start("scrape_configs: []\n");
    let other = tempfile::TempDir::new().unwrap();
    let (code, output) = run_to_end(other.path(), &[&format!("--web.listen-address={}", outpost.address)]);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains(&outpost.address), "{output}");
    let store = outpost.folder().join("data");
    let store = format!("--storage.path={}", store.display());
    let (code, output) = run_to_end(other.path(), &["--web.listen-address=127.0.0.1:0", &store]);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("in use"), "{output}");
}

#[test]
fn a_target_that_sends_garbage_is_down_with_its_reason() {
    let good = PageServer::start("good 1\n");
    let bad = PageServer::start("fine 1\n");
    let outpost = Outpost::start(&format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: pages, static_configs: [{{targets: ['{}', '{}']}}]}}]\n",
        good.address, bad.address
    ));
    let up = format!("up{{instance=\"{}\"}}", bad.address);
    eventually(PATIENCE, "both are up", || query_value(&outpost.address, "sum(up) == 2"));
    let garbage: &[&[u8]] = &[b"fine 1\nthis is { not a page\n", b"fine 1\n\xff\xfe{} 2\n", b"<html></html>\n"];
    for page in garbage {
        bad.set(page);
        eventually(PATIENCE, "the bad one is down", || query_value(&outpost.address, &format!("{up} == 0")));
        let targets = get_json(&outpost.address, "/api/v1/targets").unwrap();
        let targets = targets["data"]["activeTargets"].as_array().unwrap().clone();
        let target = targets.iter().find(|target| target["labels"]["instance"] == bad.address.as_str()).unwrap();
        assert_eq!(target["health"], "down", "{target}");
        assert!(!target["lastError"].as_str().unwrap().is_empty(), "{target}");
        query_value(&outpost.address, "absent(fine)").unwrap();
        query_value(&outpost.address, "good").unwrap();
        bad.set("fine 1\n");
        eventually(PATIENCE, "the bad one is back", || query_value(&outpost.address, &format!("{up} == 1")));
    }
}
