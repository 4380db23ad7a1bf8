//! `outpost` alone, without a configuration.

use std::time::Instant;

use super::support::{Outpost, PATIENCE, eventually, get, get_json, query_value};

#[test]
fn scrapes_its_host_and_itself_and_says_so() {
    let started = Instant::now();
    let mut outpost = Outpost::start_with(None, &[]);
    eprintln!("ready after {:?}", started.elapsed());
    let screen = outpost.process.output();
    for word in ["node", "docker", "outpost", "data", "http://"] {
        assert!(screen.contains(word), "the first screen names {word}: {screen}");
    }

    eventually(PATIENCE, "host metrics", || query_value(&outpost.address, "node_load1"));
    for expr in [
        r#"up{job="node"}"#,
        r#"up{job="outpost"}"#,
        "count(count by (cpu) (node_cpu_seconds_total))",
        "node_memory_MemTotal_bytes",
        "node_boot_time_seconds",
        "node_uname_info",
        "node_os_info",
        "count(node_filesystem_size_bytes) > 0",
        "count(node_network_receive_bytes_total) > 0",
    ] {
        let value = eventually(PATIENCE, expr, || query_value(&outpost.address, expr));
        assert!(value > 0.0, "{expr} is {value}");
    }

    let page = get(&outpost.address, "/metrics").unwrap();
    assert_eq!(page.status, 200);
    assert!(page.body.contains("\noutpost_"), "{}", page.body);

    outpost.process.signal("TERM");
    assert_eq!(outpost.process.wait().code(), Some(0), "{}", outpost.process.output());
}

#[test]
fn a_missing_engine_is_a_target_that_is_down() {
    let outpost = Outpost::start(
        "scrape_configs:\n  - job_name: docker\n    collector: docker\n    scrape_interval: 1s\n    scrape_timeout: 1s\n    docker_host: unix:///nonexistent/docker.sock\n",
    );
    let down = eventually(PATIENCE, "docker is down", || query_value(&outpost.address, r#"up{job="docker"}"#));
    assert_eq!(down, 0.0);
    let targets = get_json(&outpost.address, "/api/v1/targets").unwrap();
    let target = &targets["data"]["activeTargets"][0];
    assert_eq!(target["health"], "down");
    assert!(target["lastError"].as_str().unwrap().contains("/nonexistent/docker.sock"), "{target}");
}
