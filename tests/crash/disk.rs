//! Disks that fail under a running server: scraping, rules, alerts, queries and `/federate` go on from memory, and all of it
//! is on the disk once that is back.

use std::path::Path;
use std::time::{Duration, Instant};

use super::image::{Image, run};
use super::ledger::{self, Ledger};
use super::parameter;
use super::support::{Outpost, PATIENCE, WebhookServer, eventually, get, query_value};

/// Seconds of scrapes before the disk fails, and while it does, by default; the long proof takes 45 and 75.
const BEFORE_SECONDS: u64 = 6;
const FAILING_SECONDS: u64 = 15;

struct Site {
    target: Ledger,
    alertmanager: WebhookServer,
    outpost: Outpost,
}

impl Site {
    /// A server with its store in `folder` (in `base` once joined), scraping each second, with an alert on its own disk.
    fn start(base: &Path) -> Self {
        let (target, alertmanager) = (Ledger::start(), WebhookServer::start());
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::write(
            folder.path().join("rules.yml"),
            "groups: [{name: disk, interval: 1s, rules: [\
             {alert: DiskFails, expr: 'min by (part) (outpost_store_disk_healthy{part=\"log\"}) == 0'}]}]\n",
        )
        .unwrap();
        let config = format!(
            "outpost: {{store: {{flush_interval: 5s}}}}\nglobal: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [rules.yml]\n\
             alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{}']}}]}}]}}\n\
             scrape_configs:\n- {{job_name: ledger, static_configs: [{{targets: ['{}']}}]}}\n- {{job_name: outpost, collector: outpost}}\n",
            alertmanager.address, target.address
        );
        let path = format!("--storage.path={}", base.display());
        let runtime = tempfile::TempDir::new_in("/dev/shm").unwrap().keep();
        let outpost = Outpost::start_with_environment(
            folder,
            Some(&config),
            &[&path],
            &[("RUNTIME_DIRECTORY", &runtime.display().to_string())],
        );
        Self { target, alertmanager, outpost }
    }

    /// The newest scrape that the target has answered and the server had a second to take.
    fn settled(&self) -> u64 {
        let newest = self.target.served().newest;
        eventually(PATIENCE, "the next scrape", || {
            if self.target.served().newest > newest { Ok(()) } else { Err("none yet".to_owned()) }
        });
        newest
    }

    fn check_scrapes(&self, from: u64, until: u64, when: &str) {
        let found = ledger::numbers(&self.outpost.address, 0).unwrap();
        let missing: Vec<u64> = (from..=until).filter(|number| !found.contains(number)).collect();
        assert!(missing.is_empty(), "{when}: scrapes {missing:?} of {from} to {until} are missing");
    }

    fn wait_for_alert(&self, status: &str) {
        eventually(PATIENCE, &format!("an alert that is {status}"), || {
            let bodies = self.alertmanager.bodies();
            let text = bodies.iter().map(ToString::to_string).collect::<String>();
            let has = text.contains("DiskFails") && (status == "firing" || bodies.iter().any(has_ended));
            if has { Ok(()) } else { Err(text) }
        });
    }

    fn wait_for_health(&self, text: &str, is_expected: bool) {
        eventually(PATIENCE, &format!("/-/healthy with {text:?}: {is_expected}"), || {
            let reply = get(&self.outpost.address, "/-/healthy")?;
            let page = get(&self.outpost.address, "/")?;
            let is_there = reply.body.contains(text) && page.body.contains(text);
            let is_gone = !reply.body.contains(text) && !page.body.contains(text);
            if reply.status == 200 && (if is_expected { is_there } else { is_gone }) { Ok(()) } else { Err(reply.body) }
        });
    }
}

/// Whether an alert's end lies behind it.
fn has_ended(body: &serde_json::Value) -> bool {
    body.as_array()
        .into_iter()
        .flatten()
        .any(|alert| alert["endsAt"].as_str() <= alert["startsAt"].as_str().map(|_| now_text()).as_deref())
}

fn now_text() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    run("date", &["-u", "-d", &format!("@{since}"), "+%Y-%m-%dT%H:%M:%SZ"]).unwrap().trim().to_owned()
}

/// One disk that fails for a while, and comes back.
fn disk_fails(kind: &'static str, fail: impl Fn(&Image), mend: impl Fn(&Image)) {
    let Some(image) = Image::new(kind, 48) else { return };
    let failing_seconds = parameter("OUTPOST_DISK_SECONDS", FAILING_SECONDS);
    let before_seconds = if failing_seconds > FAILING_SECONDS { 45 } else { BEFORE_SECONDS };
    let mut site = Site::start(&image.path().join("store"));
    std::thread::sleep(Duration::from_secs(before_seconds));
    let before = site.settled();
    fail(&image);
    let failed = Instant::now();
    site.wait_for_alert("firing");
    site.wait_for_health("log", true);
    eprintln!("the alert came {:?} after the failure", failed.elapsed());
    while failed.elapsed() < Duration::from_secs(failing_seconds)
        || site.target.served().newest < before + failing_seconds
    {
        std::thread::sleep(Duration::from_millis(100));
        // Queries and /federate answer all along, within a second.
        let asked = Instant::now();
        query_value(&site.outpost.address, "max(ledger)").unwrap();
        assert!(get(&site.outpost.address, "/federate?match[]=ledger").unwrap().body.contains("ledger{"));
        assert!(
            get(&site.outpost.address, "/metrics").unwrap().body.contains("outpost_store_disk_healthy{part=\"log\"}")
        );
        assert!(asked.elapsed() < Duration::from_secs(5), "answers wait for the disk: {:?}", asked.elapsed());
    }
    let until = site.settled();
    site.check_scrapes(1, until, "while the disk fails");
    mend(&image);
    let mended = Instant::now();
    site.wait_for_health("cannot write", false);
    eprintln!("{} scrapes while the disk failed; good again {:?} after it was back", until - before, mended.elapsed());
    // Durable now: a kill, with what a power cut would take of the tail, changes nothing.
    site.outpost.process.signal("KILL");
    site.outpost.process.wait();
    image.unmount().unwrap();
    image.mount().unwrap();
    site.outpost.restart();
    site.check_scrapes(1, until, "after the disk was back");
}

#[test]
fn a_disk_fills_up() {
    disk_fails(
        "ext4",
        |image| {
            // All room is taken, and what the log could use over is taken from it too.
            let log = image.path().join("store/log");
            for entry in std::fs::read_dir(log).unwrap() {
                drop(std::fs::OpenOptions::new().write(true).open(entry.unwrap().path()).unwrap().set_len(0));
            }
            drop(run("dd", &["if=/dev/zero", &format!("of={}", image.path().join("filler").display()), "bs=64k"]));
            drop(run("dd", &["if=/dev/zero", &format!("of={}", image.path().join("filler2").display()), "bs=1k"]));
        },
        |image| {
            std::fs::remove_file(image.path().join("filler")).unwrap();
            std::fs::remove_file(image.path().join("filler2")).unwrap();
        },
    );
}

#[test]
fn a_card_is_removed_and_comes_back() {
    disk_fails("ext4", |image| image.cut_power().unwrap(), |image| image.replace().unwrap());
}

#[test]
fn a_disk_stalls() {
    let freeze = |image: &Image| drop(run("fsfreeze", &["--freeze", &image.path().display().to_string()]).unwrap());
    let thaw = |image: &Image| drop(run("fsfreeze", &["--unfreeze", &image.path().display().to_string()]).unwrap());
    disk_fails("ext4", freeze, thaw);
}
