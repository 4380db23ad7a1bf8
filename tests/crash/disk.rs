//! Disks that fail under a running server: scraping, rules, alerts, queries and `/federate` go on from memory, and all of it
//! is on the disk once that is back.

use std::path::Path;
use std::time::{Duration, Instant};

use super::image::{Image, run};
use super::ledger::{self, Ledger};
use super::parameter;
use super::support::{Outpost, PATIENCE, WebhookServer, eventually, get, query_value, run_to_end};

/// Seconds of scrapes before the disk fails, and while it does, by default; the long proof takes 45 and 75.
const BEFORE_SECONDS: u64 = 6;
const FAILING_SECONDS: u64 = 15;

struct Site {
    target: Ledger,
    alertmanager: WebhookServer,
    outpost: Outpost,
    /// Stands for `RUNTIME_DIRECTORY`: the tail is in it.
    runtime: std::path::PathBuf,
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
        Self { target, alertmanager, outpost, runtime }
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

    fn wait_for_alert(&self) {
        eventually(PATIENCE, "the alert", || {
            let text = self.alertmanager.bodies().iter().map(ToString::to_string).collect::<String>();
            if text.contains("DiskFails") { Ok(()) } else { Err(text) }
        });
    }

    /// Waits for a flush that began after now.
    fn wait_until_durable(&self) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        eventually(PATIENCE, "a flush", || {
            let page = get(&self.outpost.address, "/metrics")?.body;
            let line = page.lines().find(|line| line.starts_with("outpost_store_last_durable_timestamp_seconds "));
            let durable: f64 = line.and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or("no such metric")?;
            if durable > now { Ok(()) } else { Err(format!("{durable}, now is {now}")) }
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

/// One disk that fails for a while, and comes back.
fn disk_fails(kind: &'static str, fail: impl Fn(&Image), mend: impl Fn(&Image)) {
    let Some(image) = Image::new(kind, 48) else { return };
    let site = Site::start(&image.path().join("store"));
    std::thread::sleep(Duration::from_secs(before_seconds()));
    let before = site.settled();
    fail(&image);
    goes_on(site, &image, before, mend);
}

/// One disk that fails already when the server starts.
fn disk_fails_at_the_start(kind: &'static str, fail: impl Fn(&Image), mend: impl Fn(&Image)) {
    let Some(image) = Image::new(kind, 48) else { return };
    fail(&image);
    let site = Site::start(&image.path().join("store"));
    goes_on(site, &image, 0, mend);
}

fn failing_seconds() -> u64 {
    parameter("OUTPOST_DISK_SECONDS", FAILING_SECONDS)
}

fn before_seconds() -> u64 {
    if failing_seconds() > FAILING_SECONDS { 45 } else { BEFORE_SECONDS }
}

/// Everything goes on while the disk fails, and all of it is on the disk once that is back.
fn goes_on(site: Site, image: &Image, before: u64, mend: impl Fn(&Image)) {
    let failed = Instant::now();
    eventually(PATIENCE, "the first scrape", || query_value(&site.outpost.address, "max(ledger)"));
    site.wait_for_alert();
    site.wait_for_health("log", true);
    eprintln!("the alert came {:?} after the failure", failed.elapsed());
    while site.target.served().newest < before + failing_seconds() {
        std::thread::sleep(Duration::from_millis(100));
        // Queries, /federate and /metrics answer all along.
        let asked = Instant::now();
        query_value(&site.outpost.address, "max(ledger)").unwrap();
        assert!(get(&site.outpost.address, "/federate?match[]=ledger").unwrap().body.contains("ledger{"));
        let page = get(&site.outpost.address, "/metrics").unwrap().body;
        assert!(page.contains("outpost_store_disk_healthy{part=\"log\"}"));
        assert!(asked.elapsed() < Duration::from_secs(5), "answers wait for the disk: {:?}", asked.elapsed());
    }
    let until = site.settled();
    site.check_scrapes(1, until, "while the disk fails");
    eprintln!("{0} of {0} scrapes while the disk failed can be queried", until - before);
    mend(image);
    let mended = Instant::now();
    site.wait_for_health("cannot write", false);
    eprintln!("good again {:?} after the disk was back", mended.elapsed());
    // A flush that was under way all along has what was there when it began.
    site.wait_until_durable();
    is_on_disk(site, image, until);
}

/// That all scrapes up to one come back from the disk alone: the tail is gone, as after a power cut.
fn is_on_disk(mut site: Site, image: &Image, until: u64) {
    site.outpost.process.signal("KILL");
    site.outpost.process.wait();
    std::fs::remove_dir_all(&site.runtime).unwrap();
    std::fs::create_dir(&site.runtime).unwrap();
    image.unmount().unwrap();
    image.mount().unwrap();
    site.outpost.restart();
    site.check_scrapes(1, until, "after the disk was back");
    eprintln!("all {until} scrapes were on the disk alone");
    site.outpost.process.signal("KILL");
    site.outpost.process.wait();
    std::fs::remove_dir_all(&site.runtime).unwrap();
}

fn fill(image: &Image) {
    // Both end with an error: that no room is left.
    for (name, block) in [("filler", "bs=64k"), ("filler2", "bs=1k")] {
        drop(run("dd", &["if=/dev/zero", &format!("of={}", image.path().join(name).display()), block]));
    }
}

fn free(image: &Image) {
    for name in ["filler", "filler2"] {
        std::fs::remove_file(image.path().join(name)).unwrap();
    }
}

#[test]
fn a_disk_is_full_at_the_start() {
    disk_fails_at_the_start("ext4", fill, free);
}

#[test]
fn a_disk_is_read_only_at_the_start() {
    disk_fails_at_the_start("ext4", |image| image.remount("ro").unwrap(), |image| image.remount("rw").unwrap());
}

/// The log writes over files that it has: a disk that fills up later costs nothing, and nothing fails.
#[test]
fn a_disk_fills_up() {
    let Some(image) = Image::new("ext4", 48) else { return };
    let site = Site::start(&image.path().join("store"));
    std::thread::sleep(Duration::from_secs(before_seconds()));
    let before = site.settled();
    fill(&image);
    eventually(Duration::from_secs(failing_seconds() + 60), "scrapes on a full disk", || {
        let newest = site.target.served().newest;
        if newest >= before + failing_seconds() { Ok(()) } else { Err(format!("{newest} of {before} and more")) }
    });
    let until = site.settled();
    site.check_scrapes(1, until, "while the disk is full");
    eprintln!("{0} of {0} scrapes on a full disk can be queried", until - before);
    site.wait_until_durable();
    site.wait_for_health("cannot write", false);
    is_on_disk(site, &image, until);
}

/// As ext4 does by itself when it meets an error; it takes a new mount to be written again.
#[test]
fn a_disk_turns_read_only() {
    disk_fails("ext4", |image| image.trigger_error().unwrap(), |image| image.replace().unwrap());
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

/// A command that has to write ends with an error that names the disk and the way out, and leaves all as it was.
#[test]
fn commands_name_the_disk_that_cannot_be_written() {
    let Some(image) = Image::new("ext4", 48) else { return };
    let folder = tempfile::TempDir::new().unwrap();
    let text = |lines: u64| {
        let value = |at: u64| (at.wrapping_mul(6_364_136_223_846_793_005) >> 11) as f64 / 7.0;
        let line = |at: u64| format!("a{{part=\"{}\"}} {} {}\n", at % 3, value(at), 1_767_225_600 + at);
        (0..lines).map(line).collect::<String>() + "# EOF\n"
    };
    std::fs::write(folder.path().join("first.txt"), text(20_000)).unwrap();
    std::fs::write(folder.path().join("second.txt"), text(100_000)).unwrap();
    let store = image.path().join("store").display().to_string();
    let run = |arguments: &[&str], file: &[&str]| {
        run_to_end(folder.path(), &[&["store"], arguments, &[store.as_str()], file].concat())
    };
    assert_eq!(run(&["import"], &["first.txt"]).0, 0);
    let all = run(&["export"], &[]).1;
    // A byte of the schema: repairing takes a new database.
    let database = image.path().join("store/blocks.db");
    let sound = std::fs::read(&database).unwrap();
    let mut damaged = sound.clone();
    let at = memchr::memmem::find(&damaged, b"CREATE TABLE part").unwrap();
    damaged[at] ^= 1;
    let refused = |words: &str| {
        for (content, arguments, file) in
            [(&sound, vec!["import"], vec!["second.txt"]), (&damaged, vec!["repair"], vec![])]
        {
            if std::fs::read(&database).unwrap() != *content {
                std::fs::write(&database, content).unwrap();
            }
            let (code, said) = run(&arguments, &file);
            assert_eq!(code, 1, "{arguments:?}: {said}");
            assert!(
                said.contains(words) && said.contains(&image.path().display().to_string()),
                "{arguments:?}: {said}"
            );
            assert!(!said.contains("memory"), "{arguments:?}: {said}");
        }
    };
    fill(&image);
    refused("is full");
    assert!(std::fs::read(&database).unwrap() == damaged, "the database has its name and its content");
    image.remount("ro").unwrap();
    let (code, said) = run(&["repair"], &[]);
    assert!(code == 1 && said.contains("is read-only") && !said.contains("memory"), "{said}");
    image.remount("rw").unwrap();
    free(&image);
    // All is there once there is room.
    assert_eq!(run(&["repair"], &[]).0, 0);
    assert!(run(&["export"], &[]).1 == all);
    image.remount("ro").unwrap();
    let (code, said) = run(&["import"], &["second.txt"]);
    assert!(code == 1 && said.contains("is read-only") && !said.contains("memory"), "{said}");
}
