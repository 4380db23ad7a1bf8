//! What reaches the device: `cargo bench --bench writes -- MINUTES` (30 if nothing is said), as root.
//!
//! The live program scrapes 2,500 series every 15 s in real time and stores on an ext4 image of its own, whose
//! loop device counts what is written; once with a flush every 30 s and once every 60 s, beside a Prometheus with the same
//! targets if `OUTPOST_PEERS` names its folder. Blocks come too seldom for that: a day of the same series is
//! played into a store on another image, and what making and merging its blocks writes is added.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a bench reports on stdout and times itself")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use outpost::clock::Clock;
use outpost::model::{Labels, Timestamp};
use outpost::store::{Append, Batch, DiskStore, SeriesId, StoreSettings};
use outpost::telemetry::Registry;

const TARGETS: usize = 5;
const SERIES: usize = 500;
const STEP_S: u64 = 15;
const DAY_S: f64 = 86_400.0;
/// Before this much has passed, files are made that are written over later.
const WARM_UP: Duration = Duration::from_secs(75);
const IMAGE_BYTES: u64 = 1 << 30;
const SECTOR_BYTES: u64 = 512;

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<f64>().ok());
    let minutes = numbers.next().unwrap_or(30.0);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let blocks = blocks_per_day(folder.path());
    println!("blocks of a day: {:.1} MB written, merging included", blocks / 1e6);
    let targets: Vec<String> = (0..TARGETS).map(serve).collect();
    let mut runs = vec![
        Run::start(folder.path(), "outpost-30s", &targets, Server::Outpost(30)),
        Run::start(folder.path(), "outpost-60s", &targets, Server::Outpost(60)),
    ];
    if let Some(peers) = std::env::var_os("OUTPOST_PEERS") {
        let program = Path::new(&peers).join("prometheus");
        runs.push(Run::start(folder.path(), "prometheus", &targets, Server::Prometheus(program)));
    }
    std::thread::sleep(WARM_UP);
    let began = Instant::now();
    let before: Vec<u64> = runs.iter().map(|run| run.image.written()).collect();
    std::thread::sleep(Duration::from_secs_f64(minutes * 60.0));
    let after: Vec<u64> = runs.iter().map(|run| run.image.written()).collect();
    let seconds = began.elapsed().as_secs_f64();
    for ((run, before), after) in runs.iter().zip(before).zip(after) {
        let live = (after - before) as f64 / seconds * DAY_S;
        let note = if run.is_outpost {
            format!(", {:.1} with blocks", (live + blocks) / 1e6)
        } else {
            " without its blocks".to_owned()
        };
        println!("{}: {:.1} MB a day at the device{note}{}", run.name, live / 1e6, run.own_estimate(seconds));
    }
}

/// A running server on an image of its own.
struct Run {
    name: &'static str,
    is_outpost: bool,
    address: String,
    child: Child,
    image: Image,
}

enum Server {
    /// With this flush interval in seconds.
    Outpost(u64),
    Prometheus(PathBuf),
}

impl Run {
    fn start(folder: &Path, name: &'static str, targets: &[String], server: Server) -> Self {
        let image = Image::mount(folder, name);
        let config = folder.join(format!("{name}.yml"));
        let list = targets.iter().map(|target| format!("'{target}'")).collect::<Vec<_>>().join(",");
        let mut text = format!(
            "global: {{scrape_interval: {STEP_S}s}}\nscrape_configs: [{{job_name: made, static_configs: [{{targets: [{list}]}}]}}]\n"
        );
        if let Server::Outpost(seconds) = &server {
            text.push_str(&format!("outpost: {{store: {{flush_interval: {seconds}s}}}}\n"));
        }
        std::fs::write(&config, text).expect("writable");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let is_outpost = matches!(server, Server::Outpost(_));
        let mut command = match server {
            Server::Outpost(_) => {
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
        Self { name, is_outpost, address: port.to_string(), child, image }
    }

    /// What the program itself believes to have written, without the files that it made at first.
    fn own_estimate(&self, seconds: f64) -> String {
        let page = page_of(&self.address).unwrap_or_default();
        let value = |name: &str| {
            let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.parse::<f64>().ok())
        };
        let written = value("outpost_store_log_written_bytes_total").zip(value("outpost_store_flushes_total"));
        written.map_or_else(String::new, |(bytes, flushes)| {
            let per_flush = bytes / flushes;
            format!("; {flushes} flushes of {per_flush:.0} bytes in {:.0} s", seconds + WARM_UP.as_secs_f64())
        })
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

/// An ext4 file system in a file, whose loop device counts.
struct Image {
    device: String,
    folder: PathBuf,
}

impl Image {
    fn mount(parent: &Path, name: &str) -> Self {
        let (file, folder) = (parent.join(format!("{name}.img")), parent.join(name));
        std::fs::create_dir(&folder).expect("writable");
        std::fs::File::create_new(&file).and_then(|image| image.set_len(IMAGE_BYTES)).expect("writable");
        // Without lazy initialisation, which would write in the background.
        let options = "lazy_itable_init=0,lazy_journal_init=0";
        run(Command::new("mkfs.ext4").args(["-q", "-E", options]).arg(&file));
        let device = run(Command::new("losetup").args(["--find", "--show"]).arg(&file)).trim().to_owned();
        run(Command::new("mount").arg(&device).arg(&folder));
        Self { device, folder }
    }

    /// Bytes written to the device so far.
    fn written(&self) -> u64 {
        let name = self.device.trim_start_matches("/dev/");
        let text = std::fs::read_to_string(format!("/sys/block/{name}/stat")).expect("a block device");
        let sectors: u64 = text.split_whitespace().nth(6).and_then(|field| field.parse().ok()).expect("a count");
        sectors * SECTOR_BYTES
    }

    fn sync(&self) {
        run(Command::new("sync").arg("-f").arg(&self.folder));
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.folder).status();
        let _ = Command::new("losetup").arg("-d").arg(&self.device).status();
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("the program is installed");
    assert!(output.status.success(), "{command:?} (as root?): {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The value of a series at a step: constants, counters, gauges and sums of floats in the proportions of real targets.
fn value(series: usize, step: u64) -> f64 {
    let mixed = |step: u64| {
        let mixed = (series as u64 ^ (step << 20)).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 31)) % 1000
    };
    match series % 10 {
        0..4 => series as f64,
        4..7 => (step * (series as u64 % 50 + 1) + mixed(step) / 100) as f64,
        7..9 => 1e6 + mixed(step) as f64,
        _ => step as f64 * 0.731 + mixed(step) as f64 / 997.0,
    }
}

fn name(series: usize) -> String {
    format!("made_metric_{}_total", series / 10)
}

/// Serves one target's page in the background; gives its address.
fn serve(target: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream, target));
        }
    });
    address
}

fn answer(mut stream: TcpStream, target: usize) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    loop {
        while !lines.next()?.ok()?.is_empty() {}
        let step = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs() / STEP_S;
        let body: String = (0..SERIES)
            .map(|series| {
                format!("{}{{part=\"{}\"}} {}\n", name(series), series % 10, value(target * SERIES + series, step))
            })
            .collect();
        let length = body.len();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}").ok()?;
    }
}

/// Plays a day and gives what blocks have written to the device, flushes aside.
fn blocks_per_day(folder: &Path) -> f64 {
    let image = Image::mount(folder, "blocks");
    let start = 1_800_014_400_000i64;
    let clock = Clock::manual(Timestamp(start));
    let settings = StoreSettings { is_threaded: false, ..StoreSettings::new(image.folder.join("data")) };
    let store = DiskStore::open(settings, clock.clone(), &Registry::new()).expect("opening succeeds");
    let targets: Vec<_> = (0..TARGETS).map(|target| add_target(&store, target)).collect();
    let mut written = 0;
    for step in 0..(25 * 3600 / STEP_S) {
        let at = Timestamp(start + (step * STEP_S * 1000) as i64);
        clock.set(at);
        for (target, (group, series)) in targets.iter().enumerate() {
            let samples =
                series.iter().enumerate().map(|(index, id)| (*id, value(target * SERIES + index, step))).collect();
            store.append(&Batch { group: *group, timestamp: at, samples, explicit: Vec::new() });
        }
        // Ten minutes after each second hour.
        if step % 480 == 40 {
            store.flush().expect("the disk works");
            image.sync();
            let before = image.written();
            store.maintain().expect("the disk works");
            image.sync();
            if (480..86_400 / STEP_S + 480).contains(&step) {
                written += image.written() - before;
            }
        } else if step % 40 == 39 {
            store.flush().expect("the disk works");
        }
    }
    drop(store);
    written as f64
}

fn add_target(store: &Arc<DiskStore>, target: usize) -> (outpost::store::GroupId, Vec<SeriesId>) {
    let group = store.group(&format!("target-{target}")).expect("groups are not bounded");
    let series = (0..SERIES).map(|series| {
        let labels = Labels::from_pairs([
            ("__name__", name(series)),
            ("instance", format!("host-{target}:9100")),
            ("job", "made".to_owned()),
            ("part", (series % 10).to_string()),
        ]);
        store.series(group, &labels).expect("room")
    });
    (group, series.collect())
}
