//! Answers of smartctl against a golden page, and a program of the tests' own in its place.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::report::{self, Report};
use super::smartctl::{Answer, Device, judge, scanned};
use super::{Poll, SmartCollector, State};
use crate::clock::Clock;
use crate::collect::page::Page;
use crate::collect::{Collector, SmartCollectorSettings};
use crate::model::Timestamp;

fn fixture_path(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/smart").join(name)
}

fn fixture(name: &str) -> Value {
    let text = std::fs::read_to_string(fixture_path(name)).expect("a fixture of the project");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// To accept a change on purpose: OUTPOST_REWRITE=1 cargo test --lib collect::smart
#[test]
fn answers_give_their_golden_page() {
    let answers = ["sata.json", "nvme.json", "sas.json"].map(fixture);
    let devices = ["sda", "nvme0", "bus_0_megaraid_1"];
    let reports: Vec<Report<'_>> =
        devices.iter().zip(&answers).map(|(device, answer)| Report { device, answer }).collect();
    let mut bytes = Vec::new();
    report::write(&mut Page::new(&mut bytes), &reports);
    let page = String::from_utf8(bytes).expect("text");
    let golden = fixture_path("page.txt");
    if std::env::var_os("OUTPOST_REWRITE").is_some() {
        std::fs::write(&golden, &page).expect("writable");
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    for (number, (got, wanted)) in page.lines().zip(expected.lines()).enumerate() {
        assert_eq!(got, wanted, "line {}", number + 1);
    }
    assert_eq!(page.lines().count(), expected.lines().count());
}

#[test]
fn labels_are_those_of_smartctl_exporter() {
    for (device, label, device_type) in [
        ("/dev/sda", "sda", "auto"),
        ("/dev/sda;sat", "sda", "sat"),
        ("/dev/bus/0;megaraid,1", "bus_0_megaraid_1", "megaraid,1"),
        ("/dev/disk/by-id/ata-EX_1", "ata-EX_1", "auto"),
    ] {
        let device = Device::parse(device);
        assert_eq!((device.label().as_str(), device.device_type.as_str()), (label, device_type));
    }
}

#[test]
fn scans_name_disks() {
    let answer = json!({"devices": [
        {"name": "/dev/sda", "type": "scsi", "protocol": "SCSI"},
        {"name": "/dev/nvme0", "type": "nvme"},
        {"name": "--help", "type": "scsi"},
        {"type": "nvme"},
        7,
    ]});
    let labels: Vec<String> = scanned(&answer).iter().map(|one| format!("{};{}", one.name, one.device_type)).collect();
    assert_eq!(labels, ["/dev/sda;auto", "/dev/nvme0;nvme"]);
    for nothing in [json!({}), json!([]), json!({"devices": 1})] {
        assert_eq!(scanned(&nothing), []);
    }
}

#[test]
fn exit_statuses_and_messages() {
    let with = |status: i64, messages: Value| json!({"smartctl": {"exit_status": status, "messages": messages}});
    let standby = json!([{"string": "Device is in STANDBY mode, exit(2)", "severity": "information"}]);
    let denied = json!([{"string": "Smartctl open device: /dev/sda failed: Permission denied", "severity": "error"}]);
    let failed = |reason: &str| Answer::Failed(reason.to_owned());
    assert_eq!(judge(with(2, standby.clone())), Answer::Asleep);
    assert_eq!(judge(with(2, json!([]))), failed("smartctl ended with status 2"));
    assert_eq!(judge(with(2, denied)), failed("Smartctl open device: /dev/sda failed: Permission denied"));
    assert_eq!(judge(json!({})), failed("the answer has no exit status"));
    for status in [0, 4, 8, 64, 252] {
        let answer = with(status, json!([]));
        assert_eq!(judge(answer.clone()), Answer::Read(answer), "{status}: the disk told of itself");
    }
}

/// A program that answers as smartctl does from the files of `folder`.
fn program(folder: &Path) -> SmartCollectorSettings {
    use std::os::unix::fs::PermissionsExt;
    let program = folder.join("smartctl");
    let script = format!(
        "#!/bin/sh\ncd {}\nfor last; do :; done\ncase $last in --scan) cat scan.json;; *) cat ${{last##*/}}.json;; esac\n",
        folder.display()
    );
    std::fs::write(&program, script).expect("writable");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("ours");
    SmartCollectorSettings {
        smartctl: program.display().to_string(),
        interval: Duration::from_secs(10),
        ..SmartCollectorSettings::default()
    }
}

#[tokio::test]
async fn a_disk_that_falls_asleep_keeps_its_figures() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, value: &Value| {
        std::fs::write(folder.path().join(name), value.to_string()).expect("writable");
    };
    write(
        "scan.json",
        &json!({"devices": [{"name": "/dev/sda", "type": "scsi"}, {"name": "/dev/sdb", "type": "scsi"}]}),
    );
    write("sda.json", &fixture("sata.json"));
    write(
        "sdb.json",
        &json!({"smartctl": {"exit_status": 2, "messages": [{"string": "no rights", "severity": "error"}]}}),
    );
    let settings = program(folder.path());
    let clock = Clock::manual(Timestamp(1_000_000));
    let mut poll = Poll::new(settings, clock);
    let (sender, state) = tokio::sync::watch::channel::<State>(None);
    let page = || match &*state.borrow() {
        Some(Ok(page)) => String::from_utf8(page.to_vec()).expect("text"),
        other => panic!("no page but {other:?}"),
    };
    poll.look_around(&sender).await;
    // Nothing is said of a disk before it has been looked at.
    let unread = String::from_utf8(poll.render()).expect("text");
    assert!(unread.contains("\nsmartctl_devices 2\n") && !unread.contains("outpost_smart_"), "{unread}");
    poll.round(&sender).await;
    let first = page();
    for line in [
        "smartctl_devices 2",
        "outpost_smart_last_read_timestamp_seconds{device=\"sda\"} 1000",
        "outpost_smart_standby{device=\"sda\"} 0",
        "outpost_smart_read_success{device=\"sda\"} 1",
        "outpost_smart_read_success{device=\"sdb\"} 0",
        "smartctl_device_smart_status{device=\"sda\"} 1",
    ] {
        assert!(first.lines().any(|found| found == line), "{line} in {first}");
    }
    let standby = json!([{"string": "Device is in STANDBY mode, exit(2)", "severity": "information"}]);
    write("sda.json", &json!({"smartctl": {"exit_status": 2, "messages": standby}}));
    // A scan that fails changes nothing of what is known.
    std::fs::write(folder.path().join("scan.json"), "no JSON").expect("writable");
    poll.look_around(&sender).await;
    poll.round(&sender).await;
    let asleep = first.replace("standby{device=\"sda\"} 0", "standby{device=\"sda\"} 1");
    assert_eq!(page(), asleep);
}

#[tokio::test]
async fn a_page_once_it_is_there_and_the_reason_while_it_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("sda.json"), fixture("sata.json").to_string()).expect("writable");
    let there = SmartCollectorSettings { devices: vec!["/dev/sda".to_owned()], ..program(folder.path()) };
    let collector = SmartCollector::new(there, Clock::system());
    let mut page = Vec::new();
    collector.collect(&mut page).await.expect("a page");
    assert!(String::from_utf8(page).expect("text").contains("smartctl_device_attribute{device=\"sda\""));
    let missing = SmartCollectorSettings { smartctl: "/nowhere/smartctl".to_owned(), ..Default::default() };
    let error =
        SmartCollector::new(missing, Clock::system()).collect(&mut Vec::new()).await.expect_err("nothing there");
    assert_eq!(
        error.to_string(),
        "/nowhere/smartctl cannot be run: No such file or directory (os error 2); smartctl is in the package \
         smartmontools, and wants to be root or to have the rights of root"
    );
}
