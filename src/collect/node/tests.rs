//! The whole page on a tree of recorded kernel files, and on the machine that runs the test.

use std::path::Path;

use super::{Host, NodeCollectorSettings, NodeFlags, write_page};
use crate::clock::Clock;
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
