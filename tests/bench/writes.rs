//! What reaches the device: `cargo bench --bench writes -- MINUTES DAYS` (30 and 2 if nothing is said), as root.
//!
//! The live program scrapes the recorded targets of ../shared/capture, 2,508 series, every 15 s in real time and stores
//! on an ext4 image of its own, whose loop device counts what is written; once with a flush every 30 s and once every
//! 60 s, beside a Prometheus with the same targets if `OUTPOST_PEERS` names its folder. Blocks come too seldom for
//! that: days of the same scrapes, over and over, are played into a store on another image, and what making
//! and merging its blocks writes is added. With MINUTES 0 nothing is scraped, with DAYS 0 nothing is played.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a bench reports on stdout and times itself")]

#[path = "store/capture.rs"]
mod capture;
#[path = "writes/device.rs"]
mod device;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use outpost::clock::Clock;
use outpost::model::Timestamp;
use outpost::store::{DiskStore, StoreSettings};
use outpost::telemetry::Registry;

use self::capture::{Recording, START, STEP_MS, Target};
use self::device::{Image, Journal};

const STEP_S: u64 = 15;
const DAY_S: f64 = 86_400.0;
/// Before this much has passed, files are made that are written over later.
const WARM_UP: Duration = Duration::from_secs(140);
/// Scrapes in two hours.
const SPAN_STEPS: i64 = 480;

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<f64>().ok());
    let (minutes, days) = (numbers.next().unwrap_or(30.0), numbers.next().unwrap_or(2.0));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let targets = Target::load_all("capture", 1000);
    let played = if days > 0.0 {
        [30, 60].map(|flush_s| Played::days(folder.path(), &targets, days, flush_s))
    } else {
        [Played::default(), Played::default()]
    };
    if minutes > 0.0 {
        live(folder.path(), targets, minutes, played);
    }
}

fn live(folder: &Path, targets: Vec<Target>, minutes: f64, [played_30, played_60]: [Played; 2]) {
    let began = Instant::now();
    let targets: Vec<String> = targets.into_iter().map(|target| serve(target, began)).collect();
    let mut runs = vec![
        Run::start(folder, "outpost-30s", &targets, Server::Outpost(30, played_30)),
        Run::start(folder, "outpost-60s", &targets, Server::Outpost(60, played_60)),
    ];
    if let Some(peers) = std::env::var_os("OUTPOST_PEERS") {
        let program = Path::new(&peers).join("prometheus");
        runs.push(Run::start(folder, "prometheus", &targets, Server::Prometheus(program)));
    }
    std::thread::sleep(WARM_UP);
    let began = Instant::now();
    let before: Vec<State> = runs.iter().map(Run::state).collect();
    std::thread::sleep(Duration::from_secs_f64(minutes * 60.0));
    let after: Vec<State> = runs.iter().map(Run::state).collect();
    let days = began.elapsed().as_secs_f64() / DAY_S;
    for ((run, before), after) in runs.iter().zip(before).zip(after) {
        run.report(&before, &after, days);
    }
}

/// A running server on an image of its own.
struct Run {
    name: &'static str,
    server: Server,
    address: String,
    child: Child,
    image: Image,
}

enum Server {
    /// With this flush interval in seconds, and what days of it have written.
    Outpost(u64, Played),
    Prometheus(PathBuf),
}

/// What has been written so far.
struct State {
    device_bytes: u64,
    journal: Journal,
    /// As the program counts them; 0 for others.
    flushes: f64,
    log_bytes: f64,
}

impl Run {
    fn start(folder: &Path, name: &'static str, targets: &[String], server: Server) -> Self {
        let image = Image::mount(folder, name);
        let config = folder.join(format!("{name}.yml"));
        let list = targets.iter().map(|target| format!("'{target}'")).collect::<Vec<_>>().join(",");
        let mut text = format!(
            "global: {{scrape_interval: {STEP_S}s}}\nscrape_configs: [{{job_name: recorded, static_configs: [{{targets: [{list}]}}]}}]\n"
        );
        if let Server::Outpost(seconds, _) = &server {
            text.push_str(&format!("outpost: {{store: {{flush_interval: {seconds}s}}}}\n"));
        }
        std::fs::write(&config, text).expect("writable");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let mut command = match &server {
            Server::Outpost(..) => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_outpost"));
                command.arg(format!("--storage.path={}", image.folder.join("data").display()));
                // As systemd gives it: the tail lies in memory.
                let tail = PathBuf::from(format!("/dev/shm/outpost-bench-{}-{name}", std::process::id()));
                command.env("RUNTIME_DIRECTORY", tail);
                command
            }
            Server::Prometheus(program) => {
                let mut command = Command::new(program);
                command.arg(format!("--storage.tsdb.path={}", image.folder.join("data").display()));
                command
            }
        };
        command.arg(format!("--config.file={}", config.display())).arg(format!("--web.listen-address={port}"));
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        Self { name, server, address: port.to_string(), child, image }
    }

    fn state(&self) -> State {
        let page = page_of(&self.address).unwrap_or_default();
        let value = |name: &str| {
            let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.parse::<f64>().ok()).unwrap_or(0.0)
        };
        State {
            device_bytes: self.image.written(),
            journal: self.image.journal(),
            flushes: value("outpost_store_flushes_total"),
            log_bytes: value("outpost_store_log_written_bytes_total"),
        }
    }

    fn report(&self, before: &State, after: &State, days: f64) {
        let megabytes = |bytes: f64| bytes / days / 1e6;
        let live = megabytes((after.device_bytes - before.device_bytes) as f64);
        let transactions = after.journal.transactions - before.journal.transactions;
        let journal = megabytes(after.journal.bytes() - before.journal.bytes());
        let Server::Outpost(flush_s, played) = &self.server else {
            println!("{}: {live:.1} MB a day, {journal:.1} of it journal; without its blocks", self.name);
            return;
        };
        let (flushes, log) = (after.flushes - before.flushes, after.log_bytes - before.log_bytes);
        let metadata = live - megabytes(log);
        // Some minutes have no checkpoint, or one too many: the days that were played have their share.
        let records = played.record_bytes * DAY_S / *flush_s as f64 / 1e6;
        let blocks = played.block_bytes_per_day / 1e6;
        println!(
            "{}: {:.1} MB a day: records {records:.1}, the file system's own {metadata:.1}, blocks {blocks:.1}",
            self.name,
            records + metadata + blocks,
        );
        println!(
            "  live: {flushes} flushes of {:.0} bytes, {:.0} at the device, about {journal:.1} MB a day of journal in {transactions} \
             transactions",
            log / flushes,
            (after.device_bytes - before.device_bytes) as f64 / flushes
        );
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(format!("/dev/shm/outpost-bench-{}-{}", std::process::id(), self.name));
    }
}

fn page_of(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut page = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Serves one target's pages in the background, one more every 15 s; gives its address.
fn serve(target: Target, began: Instant) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let target = std::sync::Arc::new(target);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let target = std::sync::Arc::clone(&target);
            std::thread::spawn(move || answer(stream, &target, began));
        }
    });
    address
}

fn answer(mut stream: TcpStream, target: &Target, began: Instant) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    loop {
        while !lines.next()?.ok()?.is_empty() {}
        let step = (began.elapsed().as_secs() / STEP_S) as usize % target.scrapes.len();
        let body = &target.scrapes[step].1;
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length:";
        write!(stream, "{head} {}\r\n\r\n", body.len()).ok()?;
        stream.write_all(body).ok()?;
    }
}

/// What playing days has written.
#[derive(Clone, Copy, Default)]
struct Played {
    /// At the device, for blocks alone.
    block_bytes_per_day: f64,
    /// Per flush, checkpoints included.
    record_bytes: f64,
}

impl Played {
    fn days(folder: &Path, targets: &[Target], days: f64, flush_s: u64) -> Self {
        let image = Image::mount(folder, &format!("blocks-{flush_s}"));
        let clock = Clock::manual(Timestamp(START));
        let settings = StoreSettings { is_threaded: false, ..StoreSettings::new(image.folder.join("data")) };
        let registry = Registry::new();
        let store = DiskStore::open(settings, clock.clone(), &registry).expect("opening succeeds");
        let mut recording = Recording::new(targets, &store);
        let value = |name: &str| counter(&registry, &format!("outpost_store_{name}_total"));
        let (mut cuts, mut merges, mut records) = (Cycles::default(), Cycles::default(), Cycles::default());
        // Cycles are counted once merging has begun and its pages are used again.
        let warm_up = 12 * SPAN_STEPS;
        let (steps, mut samples) = (warm_up + (days * DAY_S / STEP_S as f64) as i64, 0);
        for step in 0..steps {
            clock.set(Timestamp(START + (step + 1) * STEP_MS));
            samples += recording.play(step, &store);
            if !((step as u64 + 1) * STEP_S).is_multiple_of(flush_s) {
                continue;
            }
            let (log, cut, merged) = (value("log_written_bytes"), value("compactions"), value("merges"));
            store.flush().expect("the disk works");
            if step >= warm_up {
                records.add((value("log_written_bytes") - log) as u64);
            }
            if step % SPAN_STEPS > 40 {
                store.maintain().expect("the disk works");
                continue;
            }
            // A span is cut off soon after its end.
            image.sync();
            let written = image.written();
            store.maintain().expect("the disk works");
            image.sync();
            if step >= warm_up && value("merges") > merged {
                merges.add(image.written() - written);
            } else if step >= warm_up && value("compactions") > cut {
                cuts.add(image.written() - written);
            }
        }
        let block_bytes_per_day = (cuts.bytes + merges.bytes) as f64 / days;
        println!(
            "{flush_s} s: records of {:.0} bytes; {:.0} at the device when two hours are cut off ({} times), {:.0} when twelve \
             are merged too ({} times): {:.1} MB a day",
            records.mean(),
            cuts.mean(),
            cuts.count,
            merges.mean(),
            merges.count,
            block_bytes_per_day / 1e6,
        );
        let disk_bytes = store.disk_bytes().expect("readable");
        println!(
            "  {} days: {samples} samples in {disk_bytes} bytes of files, {:.4} each; blocks.db {} bytes",
            steps as f64 * STEP_S as f64 / DAY_S,
            disk_bytes as f64 / samples as f64,
            std::fs::metadata(image.folder.join("data/blocks.db")).map_or(0, |metadata| metadata.len()),
        );
        Self { block_bytes_per_day, record_bytes: records.mean() }
    }
}

#[derive(Default)]
struct Cycles {
    count: u64,
    bytes: u64,
}

impl Cycles {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }

    fn mean(&self) -> f64 {
        self.bytes as f64 / self.count.max(1) as f64
    }
}

fn counter(registry: &Registry, name: &str) -> f64 {
    let mut page = Vec::new();
    registry.render(&mut page);
    let page = String::from_utf8_lossy(&page);
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or(0.0)
}
