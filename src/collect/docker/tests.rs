//! Recorded answers against a golden page, and engines that do not answer.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::api::Inspected;
use super::engine::Container;
use super::{DockerCollector, LABELS_MAX, LabelChoice, families};
use crate::clock::Clock;
use crate::collect::{Collector, DockerCollectorSettings};
use crate::glob::NamePattern;
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
            Container {
                listed,
                inspected: Some(Arc::new(inspected)),
                stats,
                image_created: super::api::unix_seconds("2026-11-01T08:00:00.5Z"),
                sized: Some(super::api::Sized { size_rw: Some(1536.0), size_root_fs: Some(2e6), ..Default::default() }),
            }
        })
        .collect();
    let mut page = Vec::new();
    families::write(&mut page, &containers, &LabelChoice::default(), 0, 1_700_000_000.5);
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

fn bare(listed: super::api::Listed) -> Container {
    Container { listed, inspected: None, stats: None, image_created: None, sized: None }
}

fn first_listed() -> super::api::Listed {
    let listed: Vec<super::api::Listed> = fixture("list.json");
    listed.into_iter().next().expect("a container")
}

/// Engines leave out the usage or write 0, beside keys of the kernel's that are all 0.
#[test]
fn without_the_memory_cgroup_memory_is_absent_and_not_zero() {
    for (memory, counts) in [
        ("{}", Some(false)),
        (r#"{"usage": 0, "max_usage": 0, "stats": {"anon": 0, "file": 0}}"#, Some(false)),
        (r#"{"stats": {"anon": 0, "file": 0}, "limit": 4096}"#, Some(false)),
        (r#"{"usage": 4096, "stats": {"anon": 4096}}"#, Some(true)),
        ("", None),
    ] {
        let stats = format!(r#"{{"memory_stats": {memory}, "cpu_stats": {{"cpu_usage": {{"total_usage": 5}}}}}}"#);
        let stats = (!memory.is_empty()).then(|| serde_json::from_str(&stats).expect("valid"));
        let container = [Container { stats, ..bare(first_listed()) }];
        let mut page = Vec::new();
        let told = families::write(&mut page, &container, &LabelChoice::default(), 3, 0.0);
        assert_eq!(told.counts_memory, counts, "{memory}");
        let page = String::from_utf8(page).expect("text");
        assert_eq!(page.contains("\ncontainer_memory_"), counts == Some(true), "{memory}: {page}");
        let gauge = counts.map(|counts| format!("\noutpost_docker_memory_counted {}\n", u8::from(counts)));
        assert!(gauge.is_none_or(|line| page.contains(&line)), "{memory}: {page}");
        assert!(page.contains("\noutpost_docker_containers_left_out 3\n"), "{page}");
    }
}

#[test]
fn labels_are_chosen_by_their_names() {
    let patterns = |texts: &[&str]| -> Vec<NamePattern> {
        texts.iter().map(|text| NamePattern::parse(text).expect("valid")).collect()
    };
    let labels = ["com.docker.compose.project", "com.docker.compose.service", "maintainer", "team"];
    for (include, exclude, expected) in [
        (None, &[][..], &labels[..]),
        (Some(&["com.docker.compose.*"][..]), &[], &labels[..2]),
        (Some(&["com.docker.compose.*", "team"]), &["*.service"], &["com.docker.compose.project", "team"]),
        (None, &["com.*", "maintainer"], &["team"]),
        (None, &["*"], &[]),
        (Some(&[]), &[], &[]),
        // The whole name, as the engine writes it.
        (Some(&["compose", "com_docker_compose_project"]), &[], &[]),
    ] {
        let choice = LabelChoice { include: include.map(patterns), exclude: patterns(exclude) };
        let mut listed = first_listed();
        listed.labels = Some(labels.map(|name| (name.to_owned(), "x".to_owned())).into());
        let container = [bare(listed)];
        let mut page = Vec::new();
        let told = families::write(&mut page, &container, &choice, 0, 0.0);
        // What nobody wants was not left out for its length.
        assert!(told.shortened.is_empty(), "{include:?} {exclude:?}");
        let page = String::from_utf8(page).expect("text");
        let series = page.lines().find(|line| line.starts_with("container_state{")).expect("a container");
        for label in labels {
            let written = format!("container_label_{}=\"x\"", label.replace('.', "_"));
            assert_eq!(series.contains(&written), expected.contains(&label), "{include:?} {exclude:?}: {series}");
        }
    }
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
        let mut listed = first_listed();
        listed.labels = Some(labels.into_iter().collect());
        let containers = [bare(listed)];
        let mut page = Vec::new();
        let shortened = families::write(&mut page, &containers, &LabelChoice::default(), 0, 0.0).shortened;
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
    let mut listed = first_listed();
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
        let container = [Container { inspected: Some(Arc::new(inspected)), ..bare(listed.clone()) }];
        let mut page = Vec::new();
        families::write(&mut page, &container, &LabelChoice::default(), 0, 0.0);
        let page = String::from_utf8(page).expect("text");
        assert!(page.contains(&format!("state=\"{status}\"}} 1\n")), "{status}: {page}");
        assert!(!page.contains("as-listed"), "{status}: {page}");
        assert_eq!(page.contains("\ncontainer_health_status{"), has_health, "{status}: {page}");
        assert_eq!(page.contains("\ncontainer_exit_code{"), has_exit_code, "{status}: {page}");
    }
}

#[test]
fn hits_of_the_limit_are_zero_where_they_are_counted() {
    for (memory, expected) in [
        (r#"{"usage": 7, "max_usage": 9}"#, Some("0")),
        (r#"{"usage": 7, "max_usage": 9, "failcnt": 2}"#, Some("2")),
        (r#"{"usage": 7}"#, None),
        ("{}", None),
    ] {
        let stats = serde_json::from_str(&format!(r#"{{"memory_stats": {memory}}}"#)).expect("valid");
        let container = [Container { stats: Some(stats), ..bare(first_listed()) }];
        let mut page = Vec::new();
        families::write(&mut page, &container, &LabelChoice::default(), 0, 0.0);
        let page = String::from_utf8(page).expect("text");
        let line = page.lines().find(|line| line.starts_with("container_memory_failcnt{"));
        assert_eq!(line.and_then(|line| line.rsplit(' ').next()), expected, "{memory}: {page}");
    }
}

#[test]
fn where_nobody_checks_no_health_is_told() {
    for (status, is_told) in [("healthy", true), ("starting", true), ("none", false), ("", false)] {
        let state = format!(r#"{{"State": {{"Status": "running", "Health": {{"Status": "{status}"}}}}}}"#);
        let inspected = serde_json::from_str(&state).expect("valid");
        let container = [Container { inspected: Some(Arc::new(inspected)), ..bare(first_listed()) }];
        let mut page = Vec::new();
        families::write(&mut page, &container, &LabelChoice::default(), 0, 0.0);
        let page = String::from_utf8(page).expect("text");
        assert_eq!(page.contains("\ncontainer_health_status{"), is_told, "{status:?}: {page}");
    }
}

/// It was running when the list was made.
#[tokio::test]
async fn a_container_that_ends_in_between_uses_nothing_rather_than_zero() {
    const LIST: &str = r#"[{"Id": "ab", "Names": ["/web"], "State": "running"}]"#;
    const STATS: &str = "/containers/ab/stats?stream=false&one-shot=true";
    const ENDED: &str = r#"{"read": "0001-01-01T00:00:00Z", "pids_stats": {}, "memory_stats": {},
        "cpu_stats": {"cpu_usage": {"total_usage": 0}}}"#;
    const RUNNING: &str = r#"{"read": "2026-11-26T18:19:14.7Z", "memory_stats": {"usage": 7},
        "cpu_stats": {"cpu_usage": {"total_usage": 0}}}"#;
    type Answers = &'static [(&'static str, &'static str)];
    let cases: [(Answers, bool); 2] = [
        (&[("/containers/json?all=1", LIST), (STATS, ENDED)], false),
        (&[("/containers/json?all=1", LIST), (STATS, RUNNING)], true),
    ];
    for (answers, is_running) in cases {
        let (docker_host, _) = engine(answers).await;
        let settings = DockerCollectorSettings { docker_host, ..Default::default() };
        let mut page = Vec::new();
        let collector = DockerCollector::new(&settings, Clock::manual(Timestamp(0)));
        collector.collect(&mut page).await.expect("it answers");
        let page = String::from_utf8(page).expect("text");
        assert!(page.contains("\ncontainer_state{"), "{page}");
        for family in ["container_last_seen", "container_cpu_usage_seconds_total", "outpost_docker_memory_counted"] {
            assert_eq!(page.contains(&format!("# TYPE {family} ")), is_running, "{family}: {page}");
        }
    }
}

#[test]
fn sizes_of_nothing_are_left_out_by_the_engine() {
    for (answer, expected) in [
        (r#"{"SizeRw": 10, "SizeRootFs": 1000}"#, [Some("10"), Some("1000")]),
        (r#"{"SizeRootFs": 1000}"#, [Some("0"), Some("1000")]),
        (r#"{"SizeRw": -1, "SizeRootFs": 1000}"#, [None, Some("1000")]),
        (r#"{"SizeRw": -1, "SizeRootFs": -1}"#, [None, None]),
        ("{}", [None, None]),
    ] {
        let container = [Container { sized: serde_json::from_str(answer).ok(), ..bare(first_listed()) }];
        let mut page = Vec::new();
        families::write(&mut page, &container, &LabelChoice::default(), 0, 0.0);
        let page = String::from_utf8(page).expect("text");
        for (family, expected) in ["container_fs_usage_bytes{", "container_fs_rootfs_bytes{"].iter().zip(expected) {
            let series = page.lines().find(|line| line.starts_with(family));
            assert_eq!(series.and_then(|series| series.rsplit(' ').next()), expected, "{answer}: {family}");
        }
    }
}

/// An engine, or a proxy before it, that answers paths; the others are forbidden. Gives its address and what it was asked.
async fn engine(answers: &'static [(&'static str, &'static str)]) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = format!("tcp://{}", listener.local_addr().expect("bound"));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = String::new();
            let mut reader = BufReader::new(&mut stream);
            while !request.ends_with("\r\n\r\n") && reader.read_line(&mut request).await.is_ok_and(|len| len > 0) {}
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let answer = answers.iter().find(|(known, _)| *known == path);
            log.lock().expect("not poisoned").push(path);
            let (status, body) = answer.map_or(("403 Forbidden", "no"), |(_, body)| ("200 OK", *body));
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    (address, asked)
}

const LIST: &str = r#"[{"Id": "ab", "Names": ["/web"], "State": "created", "ImageID": "sha256:1"}]"#;
const IMAGE: &str = r#"{"Created": "2026-11-01T08:00:00Z"}"#;
const SIZES: &str = r#"[{"Id": "ab", "SizeRw": 10, "SizeRootFs": 1000}]"#;

/// What two collections ask an engine for, sorted, and the lines that the second one gives of `families`.
#[tokio::test]
async fn images_are_asked_for_once_and_sizes_beside_the_scrapes() {
    const ALL: &str = "/containers/json?all=1";
    const SIZE: &str = "/containers/json?all=1&size=1";
    const ONE: &str = "/containers/ab/json";
    const IMAGE_PATH: &str = "/images/sha256:1/json";
    let minute = Some(Duration::from_secs(60));
    type Case = (&'static [(&'static str, &'static str)], Option<Duration>, &'static [&'static str], [bool; 2]);
    let cases: [Case; 4] = [
        (&[(ALL, LIST), (IMAGE_PATH, IMAGE)], None, &[ONE, ONE, ALL, ALL, IMAGE_PATH], [true, false]),
        (&[(ALL, LIST)], None, &[ONE, ONE, ALL, ALL, IMAGE_PATH], [false, false]),
        (
            &[(ALL, LIST), (IMAGE_PATH, IMAGE), (SIZE, SIZES)],
            minute,
            &[ONE, ONE, ALL, ALL, SIZE, IMAGE_PATH],
            [true, true],
        ),
        (&[(ALL, LIST)], minute, &[ONE, ONE, ALL, ALL, SIZE, IMAGE_PATH], [false, false]),
    ];
    for (answers, size_interval, expected, [has_image, has_sizes]) in cases {
        let (docker_host, asked) = engine(answers).await;
        let settings = DockerCollectorSettings { docker_host, size_interval, ..Default::default() };
        let collector = DockerCollector::new(&settings, Clock::manual(Timestamp(0)));
        let mut page = Vec::new();
        collector.collect(&mut page).await.expect("it answers");
        // What is asked for beside the scrape comes in time.
        let is_answered = || {
            let known = |sizes: &super::sizes::Sizes| has_sizes == sizes.knows("ab");
            collector.sizes.as_ref().is_none_or(known)
                && asked.lock().expect("not poisoned").len() == expected.len() - 2
        };
        while !is_answered() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        page.clear();
        collector.collect(&mut page).await.expect("it answers");
        let mut asked = asked.lock().expect("not poisoned").clone();
        asked.sort();
        assert_eq!(asked, expected);
        let page = String::from_utf8(page).expect("text");
        for (family, is_there) in [
            ("container_image_created_seconds", has_image),
            ("container_fs_usage_bytes", has_sizes),
            ("container_fs_rootfs_bytes", has_sizes),
        ] {
            assert_eq!(page.contains(&format!("\n{family}{{")), is_there, "{answers:?}: {page}");
        }
    }
}

/// Engines with too much, or with something else to say than containers. Each of these costs itself alone.
#[tokio::test]
async fn strange_engines_are_survived() {
    let entry = |number: usize| format!(r#"{{"Id": "c{number}", "Names": ["/n{number:05}"], "State": "created"}}"#);
    let many = format!("[{}]", (0..10_000).map(entry).collect::<Vec<_>>().join(","));
    let cases: [(Option<&'static str>, Result<&str, &str>); 6] = [
        (Some(many.leak()), Ok("name=\"n00499\",state=\"created\"} 1\n# HELP")),
        (Some("[]"), Ok("outpost_docker_containers_left_out 0\n")),
        (Some(r#"[{"Id": "x"}]"#), Ok("outpost_docker_containers_left_out 0\n")),
        (Some(r#"{"message": "not today"}"#), Err("/containers/json?all=1 is not understood")),
        (Some("\0\u{fffd}[["), Err("/containers/json?all=1 is not understood")),
        (None, Err("/containers/json?all=1 gave 403 Forbidden: no")),
    ];
    for (list, expected) in cases {
        let answers: Vec<(&str, &str)> = list.into_iter().map(|list| ("/containers/json?all=1", list)).collect();
        let (docker_host, _) = engine(answers.leak()).await;
        let settings = DockerCollectorSettings { docker_host, ..Default::default() };
        let mut page = Vec::new();
        let collected = DockerCollector::new(&settings, Clock::manual(Timestamp(0))).collect(&mut page).await;
        let page = String::from_utf8(page).expect("text");
        match (expected, collected) {
            (Ok(words), Ok(())) => assert!(page.contains(words), "{words}: {page}"),
            (Err(words), Err(error)) => assert!(error.to_string().contains(words), "{words}: {error}"),
            (expected, other) => panic!("{other:?} instead of {expected:?}"),
        }
        assert!(list.is_none_or(|list| list.len() < 1000) || page.contains("containers_left_out 9500\n"), "{page}");
    }
}

/// As Docker 20.10 does once a second: usage is told to all who have asked.
#[tokio::test]
async fn fifty_containers_are_asked_for_at_once() {
    const COUNT: usize = 50;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let docker_host = format!("tcp://{}", listener.local_addr().expect("bound"));
    let all = Arc::new(tokio::sync::Barrier::new(COUNT));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let all = Arc::clone(&all);
            tokio::spawn(async move {
                let mut request = String::new();
                let mut reader = BufReader::new(&mut stream);
                while !request.ends_with("\r\n\r\n") && reader.read_line(&mut request).await.is_ok_and(|len| len > 0) {}
                let entry =
                    |number: usize| format!(r#"{{"Id": "c{number}", "Names": ["/c{number}"], "State": "running"}}"#);
                let body = if request.contains("/containers/json") {
                    format!("[{}]", (0..COUNT).map(entry).collect::<Vec<_>>().join(","))
                } else if request.contains("/stats") {
                    all.wait().await;
                    r#"{"read": "2026-11-26T19:00:00Z", "pids_stats": {"current": 7}}"#.to_owned()
                } else {
                    "{}".to_owned()
                };
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            });
        }
    });
    let settings = DockerCollectorSettings { docker_host, ..Default::default() };
    let mut page = Vec::new();
    DockerCollector::new(&settings, Clock::manual(Timestamp(0))).collect(&mut page).await.expect("it answers");
    let page = String::from_utf8(page).expect("text");
    assert_eq!(page.lines().filter(|line| line.starts_with("container_threads{")).count(), COUNT, "{page}");
}

/// Time goes by itself while nothing else happens.
#[tokio::test(start_paused = true)]
async fn an_engine_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let docker_host = format!("tcp://{}", listener.local_addr().expect("bound"));
    let settings = DockerCollectorSettings { docker_host, ..Default::default() };
    let collector = DockerCollector::new(&settings, Clock::manual(Timestamp(0)));
    let given_up = collector.collect(&mut Vec::new()).await.expect_err("it says nothing");
    assert!(given_up.to_string().contains("timed out after 10s"), "{given_up}");
}
