//! Recorded answers against a golden page, and engines that do not answer.

use std::path::Path;

use super::api::Inspected;
use super::engine::Container;
use super::{DockerCollector, LABELS_MAX, families};
use crate::clock::Clock;
use crate::collect::{Collector, DockerCollectorSettings};
use crate::model::Timestamp;

fn fixture<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/docker").join(name);
    let text = std::fs::read_to_string(&path).expect("a fixture of the project");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// To accept a change on purpose: OUTPOST_REWRITE=1 cargo test --lib collect::docker
#[test]
fn recorded_answers_give_their_golden_page() {
    let listed: Vec<super::api::Listed> = fixture("list.json");
    let containers: Vec<Container> = listed
        .into_iter()
        .map(|listed| {
            let stats = match (listed.state.as_deref(), listed.names.as_deref()) {
                (Some("running"), Some([name])) if name == "/second" => Some(fixture("stats-cgroup2.json")),
                (Some("running"), _) => Some(fixture("stats-cgroup1.json")),
                _ => None,
            };
            // One recorded answer for all of them, each in its own state.
            let mut inspected: Inspected = fixture("inspect.json");
            let state = inspected.state.as_mut().expect("recorded");
            state.status.clone_from(&listed.state);
            Container { listed, inspected: Some(inspected), stats }
        })
        .collect();
    let mut page = Vec::new();
    families::write(&mut page, &containers, 0, 1_700_000_000.5);
    let page = String::from_utf8(page).expect("text");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/docker/page.txt");
    if std::env::var_os("OUTPOST_REWRITE").is_some() {
        std::fs::write(&golden, &page).expect("writable");
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    for (number, (got, wanted)) in page.lines().zip(expected.lines()).enumerate() {
        assert_eq!(got, wanted, "page.txt line {}", number + 1);
    }
    assert_eq!(page.lines().count(), expected.lines().count());
}

#[test]
fn without_the_memory_cgroup_memory_is_absent_and_not_zero() {
    let listed: Vec<super::api::Listed> = fixture("list.json");
    let stats = serde_json::from_str(r#"{"memory_stats": {}, "cpu_stats": {"cpu_usage": {"total_usage": 5}}}"#);
    let container = Container {
        listed: listed.into_iter().next().expect("a container"),
        inspected: None,
        stats: Some(stats.expect("valid")),
    };
    let mut page = Vec::new();
    families::write(&mut page, &[container], 3, 0.0);
    let page = String::from_utf8(page).expect("text");
    assert!(!page.contains("\ncontainer_memory_usage_bytes{"), "{page}");
    assert!(!page.contains("\ncontainer_memory_working_set_bytes{"), "{page}");
    assert!(page.contains("\noutpost_docker_containers_left_out 3\n"), "{page}");
}

/// Labels are as many and as long as images' makers like; a series may not be.
#[test]
fn labels_beyond_their_bounds_are_left_out() {
    let numbered = |count: usize, value: &str| -> Vec<(String, String)> {
        (0..count).map(|number| (format!("n{number:04}"), value.to_owned())).collect()
    };
    let named = |labels: &[(&str, usize)]| -> Vec<(String, String)> {
        labels.iter().map(|(name, len)| ((*name).to_owned(), "v".repeat(*len))).collect()
    };
    for (labels, shown, left_out) in [
        (numbered(LABELS_MAX, "v"), "n0099", 0),
        (numbered(150, "v"), "n0099", 50),
        (numbered(90, &"v".repeat(200)), "n0038", 51),
        (named(&[("a", 33_000), ("b", 5)]), "b", 1),
        // Of two that become the same name the first one stays.
        (named(&[("a.b", 3), ("a-b", 2)]), "a_b=\"vv\"", 1),
    ] {
        let mut listed: Vec<super::api::Listed> = fixture("list.json");
        listed.truncate(1);
        listed[0].labels = Some(labels.into_iter().collect());
        let containers = [Container { listed: listed.remove(0), inspected: None, stats: None }];
        let mut page = Vec::new();
        let shortened = families::write(&mut page, &containers, 0, 0.0);
        assert_eq!(shortened.iter().map(|(_, count)| count).sum::<usize>(), left_out, "{shown}: {shortened:?}");
        let page = String::from_utf8(page).expect("text");
        assert!(page.contains(&format!("\noutpost_docker_labels_left_out {left_out}\n")), "{shown}: {page}");
        let series = page.lines().find(|line| line.starts_with("container_state{")).expect("a container");
        let last = series.split("container_label_").last().expect("a label");
        assert!(last.starts_with(shown), "{shown}: {series}");
        assert!(series.matches("=\"").count() <= LABELS_MAX + 4 && series.len() < 16 << 10, "{shown}: {series}");
    }
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_named() {
    let settings =
        DockerCollectorSettings { docker_host: "unix:///nonexistent/engine.sock".to_owned(), ..Default::default() };
    let collector = DockerCollector::new(&settings, Clock::manual(Timestamp(0)));
    let refused = collector.collect(&mut Vec::new()).await.expect_err("there is no such socket");
    assert!(refused.to_string().contains("unix:///nonexistent/engine.sock"), "{refused}");
}

/// What the engine says of a container's health and end holds in some states alone, whatever the list said before.
#[test]
fn health_and_exit_code_belong_to_a_state() {
    let listed: Vec<super::api::Listed> = fixture("list.json");
    let mut listed = listed.into_iter().next().expect("a container");
    listed.state = Some("as-listed".to_owned());
    for (status, has_health, has_exit_code) in [
        ("created", false, false),
        ("running", true, false),
        ("paused", false, false),
        ("restarting", false, true),
        ("removing", false, false),
        ("exited", false, true),
        ("dead", false, true),
    ] {
        let mut inspected: Inspected = fixture("inspect.json");
        inspected.state.as_mut().expect("recorded").status = Some(status.to_owned());
        let container = Container { listed: listed.clone(), inspected: Some(inspected), stats: None };
        let mut page = Vec::new();
        families::write(&mut page, &[container], 0, 0.0);
        let page = String::from_utf8(page).expect("text");
        assert!(page.contains(&format!("state=\"{status}\"}} 1\n")), "{status}: {page}");
        assert!(!page.contains("as-listed"), "{status}: {page}");
        assert_eq!(page.contains("\ncontainer_health_status{"), has_health, "{status}: {page}");
        assert_eq!(page.contains("\ncontainer_exit_code{"), has_exit_code, "{status}: {page}");
    }
}
