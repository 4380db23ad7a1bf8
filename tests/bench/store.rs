//! What the store takes on recorded scrapes: `cargo bench --bench store` plays ../shared/capture (25 minutes at
//! one scrape a second) as scrapes 15 s apart, `-- true15` plays ../shared/capture/true15 (45 minutes at 15 s, with
//! thousands of short-lived series), `-- codec` the codec alone, `-- memory 50000` measures what a number of made series takes.
//!
//! Stale markers included, with a flush every 30 s as in service. Reported: bytes per sample, everything
//! counted, beside Prometheus and VictoriaMetrics with the same samples in the same run (see `store/peers.rs`);
//! memory per series when the head is at its fullest; what making blocks and merging them holds above that at most; the time that appending, flushing, making blocks and
//! reading take; what the codec takes per sample.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a bench reports on stdout and times itself")]

#[path = "store/capture.rs"]
mod capture;
#[path = "store/codec.rs"]
mod codec;
#[path = "store/held.rs"]
mod held;
#[path = "store/peers.rs"]
mod peers;

use std::time::{Duration, Instant};

use outpost::clock::Clock;
use outpost::model::{Labels, STALE_NAN_BITS, TimeRange, Timestamp};
use outpost::store::{Append, Batch, DiskStore, ReadOptions, Samples, Select, StoreSettings};
use outpost::telemetry::Registry;

use self::capture::{Player, START, STEP_MS, Target};
use self::peers::{Line, Peers};

/// Scrapes in two hours.
const SPAN_STEPS: i64 = 480;
/// A year is longer than any bench and shorter than the age of its data.
const RETENTION: Duration = Duration::from_secs(3650 * 24 * 3600);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["memory", series] => memory_of(series.parse().expect("a number of series")),
        ["codec"] => codec::report(),
        ["codec", what] => codec::once(what),
        ["true15"] => play(Target::load_all("capture/true15", STEP_MS)),
        _ => {
            codec::report();
            play(Target::load_all("capture", 1000));
        }
    }
}

fn play(targets: Vec<Target>) {
    let mut peers = Peers::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Clock::manual(Timestamp(START));
    let settings = StoreSettings { is_threaded: false, retention_time: RETENTION, ..StoreSettings::new(folder.path()) };
    let registry = Registry::new();
    let store = DiskStore::open(settings.clone(), clock.clone(), &registry).expect("opening succeeds");
    let mut players: Vec<Player> = targets.into_iter().map(|target| Player::new(target, &store)).collect();
    let steps = players.iter().map(Player::steps).max().unwrap_or(0);
    let (mut appending, mut flushing, mut samples) = (Duration::ZERO, Duration::ZERO, 0);
    let mut block_kib = 0;
    for step in 0..steps {
        clock.set(Timestamp(START + (step + 1) * STEP_MS));
        for player in &mut players {
            if let Some(batch) = player.next(step, &store) {
                let began = Instant::now();
                samples += store.append(&batch).appended;
                appending += began.elapsed();
                if let Some(peers) = &mut peers {
                    tell(peers, player, &batch);
                }
            }
        }
        if step % 2 == 1 {
            let began = Instant::now();
            store.flush().expect("the disk works");
            flushing += began.elapsed();
        }
        if step % 20 == 19 {
            let held_kib = held::peak_of(|| {
                timed("seal, and make blocks where due", || store.maintain().expect("the disk works"));
            });
            block_kib = block_kib.max(held_kib);
        }
        if step == SPAN_STEPS - 1 {
            let series = store.stats().series;
            let memory = store.memory();
            println!("memory with two hours: {series} series, {} bytes each", memory / series as usize);
        }
    }
    let per_sample = |time: Duration| time.as_nanos() as f64 / samples as f64;
    println!(
        "{samples} samples: appending {:.0} ns, flushing {:.0} ns each",
        per_sample(appending),
        per_sample(flushing)
    );
    clock.set(Timestamp(START + steps * STEP_MS + 13 * 3_600_000));
    let merge_kib = held::peak_of(|| timed("merge", || store.maintain().expect("the disk works")));
    println!(
        "held above what was there before: making a block {block_kib} KiB at most, merging {merge_kib} KiB at most"
    );
    show(&registry, &["block_bytes_per_sample", "log_written_bytes_total", "disk_bytes", "block_written"]);
    let began = Instant::now();
    let read = read_all(&store);
    println!("reading everything: {read} samples, {:.0} ns each", began.elapsed().as_nanos() as f64 / read as f64);
    drop(store);
    let began = Instant::now();
    let store = DiskStore::open(settings, clock, &Registry::new()).expect("opening succeeds");
    println!("opening again: {:?}", began.elapsed());
    drop(store);
    report_disk(folder.path(), samples);
    if let Some(peers) = peers {
        let (prometheus, victoria_metrics) = peers.finish();
        println!("Prometheus {prometheus:.4} B/sample, VictoriaMetrics {victoria_metrics:.4} B/sample, all counted");
    }
}

/// Gives the peers what they can be told: the text format has no stale markers.
fn tell(peers: &mut Peers, player: &Player, batch: &Batch) {
    for (series, value) in batch.samples.iter().filter(|(_, value)| value.to_bits() != STALE_NAN_BITS) {
        peers.add(&Line { labels: &player.labels[series], timestamp: batch.timestamp, value: *value });
    }
}

/// The log is recycled: its files are the same for an hour and for a year, so they are told apart.
fn report_disk(folder: &std::path::Path, samples: usize) {
    let file = std::fs::metadata(folder.join("blocks.db")).expect("there is a database").len();
    let connection = rusqlite::Connection::open(folder.join("blocks.db")).expect("a database");
    let number = |query: &str| connection.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap_or(0) as f64;
    let used = (number("SELECT page_count - freelist_count FROM pragma_page_count, pragma_freelist_count")
        * number("SELECT page_size FROM pragma_page_size"))
        / samples as f64;
    println!("blocks.db: {used:.4} B/sample in use, {:.4} with free pages", file as f64 / samples as f64);
    for (what, query) in [
        ("segments", "SELECT sum(length(bytes)) FROM data"),
        ("directories", "SELECT sum(length(directory)) FROM part"),
        ("names", "SELECT sum(length(bytes)) FROM names"),
    ] {
        println!("  {what} {:.4} B/sample", number(query) / samples as f64);
    }
    let log = std::fs::read_dir(folder.join("log")).expect("there is a log").flatten();
    let log: u64 = log.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum();
    println!("log: {log} bytes, whatever the retention");
}

/// Two hours of made series, in targets of 1,000: a third stands still, a third counts, a third
/// wanders. Threads run as in service.
fn memory_of(series: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Clock::manual(Timestamp(START));
    let store = DiskStore::open(
        StoreSettings { is_threaded: false, retention_time: RETENTION, ..StoreSettings::new(folder.path()) },
        clock.clone(),
        &Registry::new(),
    )
    .expect("opening succeeds");
    println!("RSS when open {} KiB", rss());
    let mut targets = Vec::new();
    for target in 0..series.div_ceil(1000) {
        let group = store.group(&format!("job/host-{target}:9100")).expect("room");
        let samples = (target * 1000..series.min((target + 1) * 1000)).map(|number| {
            let labels = Labels::from_pairs([
                ("__name__", format!("made_metric_{}_total", number % 100)),
                ("instance", format!("host-{target}:9100")),
                ("job", "made".to_owned()),
                ("part", format!("part-{}", number / 100 % 10)),
                ("mode", "usual".to_owned()),
            ]);
            (store.series(group, &labels).expect("room"), number as f64)
        });
        targets.push(Batch { group, timestamp: Timestamp(START), samples: samples.collect(), explicit: Vec::new() });
    }
    println!("RSS with the series known {} KiB", rss());
    let (mut random, mut appending) = (1u64, Duration::ZERO);
    for step in 0..SPAN_STEPS - 1 {
        clock.set(Timestamp(START + step * STEP_MS));
        for batch in &mut targets {
            batch.timestamp = clock.now();
            for (index, (_, value)) in batch.samples.iter_mut().enumerate() {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                match index % 3 {
                    0 => {}
                    1 => *value += (random >> 58) as f64,
                    _ => *value = (*value * 100.0 + (random >> 59) as f64 - 16.0).round() / 100.0,
                }
            }
            let began = Instant::now();
            store.append(batch);
            appending += began.elapsed();
        }
        if step % 2 == 1 {
            store.maintain().expect("the disk works");
        }
    }
    let samples = series as i64 * (SPAN_STEPS - 1);
    println!(
        "{series} series, two hours: {} bytes each in the store, RSS {} KiB, appending {:.0} ns a sample",
        store.memory() / series,
        rss(),
        appending.as_nanos() as f64 / samples as f64
    );
    clock.set(Timestamp(START + 2 * SPAN_STEPS * STEP_MS));
    // 5 resets the peak that the kernel keeps.
    drop(std::fs::write("/proc/self/clear_refs", "5"));
    let before = rss();
    let began = Instant::now();
    let held_kib = held::peak_of(|| store.maintain().expect("the disk works"));
    println!(
        "made a block in {:?}, {held_kib} KiB at most above what was held before, RSS then {} KiB, at most {} KiB above the \
         {before} KiB before",
        began.elapsed(),
        rss(),
        status("VmHWM").saturating_sub(before)
    );
}

fn read_all(store: &DiskStore) -> usize {
    let mut set = store.select(&[], &ReadOptions::over(TimeRange::ALL)).expect("readable");
    let (mut samples, mut total) = (Samples::default(), 0);
    while set.next(&mut samples).expect("readable").is_some() {
        total += samples.len();
    }
    total
}

fn timed(what: &str, work: impl FnOnce()) {
    let began = Instant::now();
    work();
    let took = began.elapsed();
    if took > Duration::from_millis(200) {
        println!("{what}: {took:?}");
    }
}

fn show(registry: &Registry, names: &[&str]) {
    let mut page = Vec::new();
    registry.render(&mut page);
    for line in String::from_utf8_lossy(&page).lines().filter(|line| !line.starts_with('#')) {
        if names.iter().any(|name| line.contains(name)) {
            println!("{line}");
        }
    }
}

fn rss() -> u64 {
    status("VmRSS")
}

/// A size in KiB that the kernel tells of this process.
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_whitespace().nth(1)).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}
