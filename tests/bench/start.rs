//! How long a start takes with a week of data: `cargo bench --bench start` (or `-- SERIES DAYS`).
//!
//! Builds a store of 5,000 series at 15 s through the library, with a clock that runs from a week ago to now and a
//! flush every 30 s as in service, then starts the real program on it: after a clean end, and on what a kill -9
//! in the middle of a flush interval left. Reports the time to 200 on `/-/ready` and to the first answer to a query,
//! the median and the worst of five starts each, with the system's file cache emptied before where that is allowed, and
//! the resident memory when it is ready and the most there ever was (of the worst start each).
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a bench reports on stdout and times itself")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use outpost::clock::Clock;
use outpost::model::{Labels, Timestamp};
use outpost::store::{Append, Batch, DiskStore, StoreSettings};
use outpost::telemetry::Registry;

const STEP_MS: i64 = 15_000;
const STARTS: usize = 5;

fn main() {
    let numbers: Vec<i64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let (series, days) = (numbers.first().copied().unwrap_or(5_000), numbers.get(1).copied().unwrap_or(7));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (killed, ended) = (folder.path().join("killed"), folder.path().join("ended"));
    let began = Instant::now();
    let store = build(&ended, series, days);
    copy(&ended, &killed);
    println!(
        "{series} series, {days} days at 15 s: built in {:?}, {} bytes on disk",
        began.elapsed(),
        store.disk_bytes().expect("readable")
    );
    drop(store);
    report("after a clean end", &ended);
    report("after kill -9", &killed);
}

/// Fills a store up to now and leaves it open, with a part of a flush interval in the tail.
fn build(path: &Path, series: i64, days: i64) -> Arc<DiskStore> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    let (steps, clock) = (days * 86_400_000 / STEP_MS, Clock::manual(Timestamp(0)));
    let start = now - steps * STEP_MS;
    clock.set(Timestamp(start));
    let settings = StoreSettings { is_threaded: false, ..StoreSettings::new(path) };
    let store = DiskStore::open(settings, clock.clone(), &Registry::new()).expect("opening succeeds");
    let mut targets: Vec<Batch> = (0..(series + 999) / 1000)
        .map(|target| {
            let group = store.group(&format!("made/host-{target}:9100")).expect("room");
            let samples = (target * 1000..series.min(target * 1000 + 1000)).map(|number| {
                let labels = Labels::from_pairs([
                    ("__name__", format!("made_metric_{}_total", number % 100)),
                    ("instance", format!("host-{target}:9100")),
                    ("job", "made".to_owned()),
                    ("part", format!("part-{}", number / 100 % 10)),
                ]);
                (store.series(group, &labels).expect("room"), number as f64)
            });
            Batch { group, timestamp: Timestamp(0), samples: samples.collect(), explicit: Vec::new() }
        })
        .collect();
    let mut random = 1u64;
    for step in 1..=steps {
        let at = Timestamp(start + step * STEP_MS);
        clock.set(at);
        for batch in &mut targets {
            batch.timestamp = at;
            // A third stands still, a third counts, a third wanders.
            for (position, (_, value)) in batch.samples.iter_mut().enumerate() {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *value += match position % 3 {
                    0 => 0.0,
                    1 => (random >> 60) as f64,
                    _ => ((random >> 58) as f64 - 32.0) / 10.0,
                };
            }
            store.append(batch);
        }
        if step % 480 == 0 {
            store.maintain().expect("the disk works");
        } else if step % 2 == 0 && step + 480 > steps && step < steps {
            store.flush().expect("the disk works");
        }
    }
    store
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("writable");
    for entry in std::fs::read_dir(from).expect("readable").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("writable");
        }
    }
}

fn report(what: &str, store: &Path) {
    let run = store.with_extension("run");
    let (mut ready, mut answered, mut resident_kb, mut peak_kb) = (Vec::new(), Vec::new(), 0, 0);
    for _ in 0..STARTS {
        drop(std::fs::remove_dir_all(&run));
        copy(store, &run);
        // Allowed to root alone; elsewhere the files come from memory.
        drop(Command::new("sync").status());
        drop(std::fs::write("/proc/sys/vm/drop_caches", "1"));
        let started = start(&run);
        ready.push(started.ready);
        answered.push(started.answered);
        resident_kb = resident_kb.max(started.resident_kb);
        peak_kb = peak_kb.max(started.peak_kb);
    }
    ready.sort_unstable();
    answered.sort_unstable();
    println!(
        "{what}: ready {:?} (worst {:?}), first query answered {:?} (worst {:?}); {resident_kb} kB resident when ready, \
         {peak_kb} kB at most",
        ready[STARTS / 2],
        ready[STARTS - 1],
        answered[STARTS / 2],
        answered[STARTS - 1]
    );
}

/// One start.
struct Started {
    /// Until it is ready.
    ready: Duration,
    /// Until a query over a day was answered.
    answered: Duration,
    /// Memory when it was ready.
    resident_kb: u64,
    /// The most memory until then, reading the store included.
    peak_kb: u64,
}

/// Starts the program on a store, and ends it.
fn start(store: &Path) -> Started {
    let config = store.with_extension("yml");
    std::fs::write(&config, "scrape_configs: []\n").expect("writable");
    let began = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_outpost"))
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.path={}", store.display()))
        .arg("--web.listen-address=127.0.0.1:0")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let address = address_of(&mut child);
    while !get(&address, "/-/ready").starts_with("HTTP/1.1 200") {
        std::thread::sleep(Duration::from_millis(2));
    }
    let ready = began.elapsed();
    let (resident_kb, peak_kb) = (memory_kb(child.id(), "VmRSS:"), memory_kb(child.id(), "VmHWM:"));
    // Reading memory takes its own moment.
    let pause = began.elapsed().saturating_sub(ready);
    let answer = get(&address, "/api/v1/query?query=count(count_over_time(made_metric_7_total%5B1d%5D))");
    let answered = began.elapsed().saturating_sub(pause);
    assert!(answer.contains("\"success\"") && answer.contains("value"), "{answer}");
    child.kill().expect("it runs");
    drop(child.wait());
    Started { ready, answered, resident_kb, peak_kb }
}

/// A figure of a process's memory.
fn memory_kb(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn address_of(child: &mut Child) -> String {
    let (sender, receiver) = std::sync::mpsc::channel();
    for pipe in [
        Box::new(child.stdout.take().expect("piped")) as Box<dyn Read + Send>,
        Box::new(child.stderr.take().expect("piped")),
    ] {
        let sender = sender.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                if let Some(address) = line.split("address=").nth(1).filter(|_| line.contains("listening")) {
                    drop(sender.send(address.split_whitespace().next().unwrap_or_default().to_owned()));
                }
            }
        });
    }
    receiver.recv_timeout(Duration::from_secs(60)).expect("it says where it listens")
}

fn get(address: &str, path: &str) -> String {
    let mut answer = String::new();
    let sent = TcpStream::connect(address).and_then(|mut stream| {
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        stream.read_to_string(&mut answer)
    });
    drop(sent);
    answer
}
