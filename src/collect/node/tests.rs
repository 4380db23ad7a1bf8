//! The whole page on a tree of recorded kernel files, and on the machine that runs the test.

use std::path::{Path, PathBuf};

use super::{
    CollectError, Collector, Host, Level, NodeCollector, NodeCollectorSettings, NodeError, NodeFlags, UnderWay,
    write_page,
};
use crate::clock::Clock;
use crate::exposition::{Format, Parser};
use crate::model::Timestamp;

/// The pages under tests/fixtures are compared to the byte, durations left out. To accept a change on
/// purpose: OUTPOST_REWRITE=1 cargo test --lib collect::node
#[test]
fn recorded_trees_give_their_golden_pages() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/node");
    let mut trees = 0;
    for entry in std::fs::read_dir(&folder).expect("the fixtures are part of the project") {
        let tree = entry.expect("readable").path();
        if !tree.is_dir() {
            continue;
        }
        trees += 1;
        let page = page_of(&tree);
        let golden = tree.with_extension("txt");
        if std::env::var_os("OUTPOST_REWRITE").is_some() {
            std::fs::write(&golden, &page).expect("writable");
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        for (number, (got, wanted)) in page.lines().zip(expected.lines()).enumerate() {
            assert_eq!(got, wanted, "{} line {}", golden.display(), number + 1);
        }
        assert_eq!(page.lines().count(), expected.lines().count(), "{}", golden.display());
    }
    assert!(trees > 0, "no fixture tree in {}", folder.display());
}

/// A read that hangs holds one thread, not one more at each scrape.
#[tokio::test]
async fn one_collection_at_a_time() {
    let collector = NodeCollector::new(NodeCollectorSettings::default(), Clock::manual(Timestamp(0)));
    let hanging = UnderWay::begin(&collector.is_under_way).expect("nothing is under way");
    let refused = collector.collect(&mut Vec::new()).await;
    assert!(matches!(refused, Err(CollectError::UnderWay)), "{refused:?}");
    drop(hanging);
    collector.collect(&mut Vec::new()).await.expect("this host has a /proc");
}

/// Cut and garbled files lead to a page that the scraper takes, and to no panic.
#[test]
fn damaged_trees_give_pages() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/node");
    let copy = tempfile::TempDir::new().expect("a folder");
    let mut random = Random(7);
    for tree in ["nas", "pi4"] {
        let files: Vec<(PathBuf, Vec<u8>)> = files_below(&folder.join(tree))
            .into_iter()
            .map(|path| {
                (copy.path().join(path.strip_prefix(&folder).expect("below")), std::fs::read(&path).expect("readable"))
            })
            .collect();
        for _ in 0..10 {
            for (path, bytes) in &files {
                std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
                std::fs::write(path, random.damaged(bytes)).expect("writable");
            }
            let page = page_of(&copy.path().join(tree));
            let mut parser = Parser::new(Format::PrometheusText004, page.as_bytes());
            loop {
                match parser.next_entry() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path());
    entries
        .flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] })
        .filter(|path| path.is_file())
        .collect()
}

/// A generator of numbers that is the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).expect("below a usize")
    }

    /// The bytes, cut or with some of them replaced, most of the time.
    fn damaged(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        match self.below(4) {
            0 => bytes.truncate(self.below(bytes.len() + 1)),
            1 | 2 => {
                for _ in 0..=self.below(4) {
                    let at = self.below(bytes.len());
                    let replacement = b" \n:.-/[](=0x9\"\\\xff{,k"[self.below(19)];
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = replacement;
                    }
                }
            }
            _ => {}
        }
        bytes
    }
}

#[test]
fn a_host_without_proc_is_an_error_that_names_the_path() {
    let settings = NodeCollectorSettings {
        procfs: "/nonexistent/proc".into(),
        sysfs: "/nonexistent/sys".into(),
        rootfs: "/nonexistent".into(),
        flags: NodeFlags::default(),
    };
    let refused = write_page(&Host::new(settings, Clock::manual(Timestamp(0))), &mut Vec::new()).expect_err("no /proc");
    assert!(refused.to_string().contains("/nonexistent/proc"), "{refused}");
}

#[test]
fn what_was_switched_on_is_told_aloud_once() {
    let flags = NodeFlags::parse(vec!["--collector.wifi".to_owned(), "--no-collector.arp".to_owned()]).expect("valid");
    let host =
        Host::new(NodeCollectorSettings { flags, ..NodeCollectorSettings::default() }, Clock::manual(Timestamp(0)));
    let failure = || NodeError::Unanswered { path: "nl80211".into(), reason: "refused".to_owned() };
    for (subsystem, failure, expected) in [
        ("wifi", NodeError::Nothing, Level::DEBUG),
        ("cpu", failure(), Level::DEBUG),
        ("wifi", failure(), Level::WARN),
        ("wifi", failure(), Level::DEBUG),
    ] {
        assert_eq!(host.level_of(subsystem, &failure), expected, "{subsystem} {failure}");
    }
}

/// Whatever does not run without being asked for.
const FLAGS: [&str; 4] =
    ["--collector.interrupts", "--collector.softirqs", "--collector.bcache.priorityStats", "--collector.stat.softirq"];

/// What depends on the machine that runs the test is left out.
fn page_of(tree: &Path) -> String {
    let settings = NodeCollectorSettings {
        procfs: tree.join("proc"),
        sysfs: tree.join("sys"),
        rootfs: tree.join("rootfs"),
        flags: NodeFlags::parse(FLAGS.map(str::to_owned).to_vec()).expect("valid"),
    };
    let mut page = Vec::new();
    write_page(&Host::new(settings, Clock::manual(Timestamp(1_700_000_000_123))), &mut page).expect("a page");
    let page = String::from_utf8(page).expect("text").replace(&tree.display().to_string(), "TREE");
    let varies =
        ["collector_duration_seconds{", "node_filesystem_", "node_uname_info{", "node_timex_", "node_time_zone_"];
    page.lines()
        .filter(|line| line.starts_with('#') || !varies.iter().any(|part| line.contains(part)))
        .map(|line| format!("{line}\n"))
        .collect()
}
