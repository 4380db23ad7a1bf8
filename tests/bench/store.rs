//! What the store takes on recorded scrapes: `cargo bench --bench store`, and what memory a number of made
//! series takes: `cargo bench --bench store -- memory 50000`.
//!
//! Plays ../shared/capture (25 minutes at one scrape a second) as scrapes 15 s apart, stale markers
//! included, with a flush every 30 s as in service, and reports bytes per sample in blocks and log, memory
//! per series when the head is at its fullest, and the time that appending, flushing, making blocks and
//! reading take per sample.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a bench reports on stdout and times itself")]

use std::collections::HashMap;
use std::io::Read;
use std::time::{Duration, Instant};

use outpost::clock::Clock;
use outpost::codec::{Segment, encode_segment};
use outpost::exposition::{Entry, Format, Parser};
use outpost::model::{Labels, TimeRange, Timestamp, stale_marker};
use outpost::store::{Append, Batch, DiskStore, GroupId, ReadOptions, Samples, Select, SeriesId, StoreSettings};
use outpost::telemetry::Registry;

const TARGETS: [&str; 6] = ["node", "docker", "ctr", "prom", "blackbox", "bbhttp"];
/// A multiple of twelve hours.
const START: i64 = 1_800_014_400_000;
const STEP_MS: i64 = 15_000;
/// Scrapes in two hours.
const SPAN_STEPS: i64 = 480;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let [word, series] = arguments.as_slice()
        && word == "memory"
    {
        return memory_of(series.parse().expect("a number of series"));
    }
    let targets: Vec<Target> = TARGETS.iter().map(|name| Target::load(name)).collect();
    codec_speed(&targets[0]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Clock::manual(Timestamp(START));
    let settings = StoreSettings { is_threaded: false, ..StoreSettings::new(folder.path()) };
    let registry = Registry::new();
    let store = DiskStore::open(settings, clock.clone(), &registry).expect("opening succeeds");
    let mut players: Vec<Player> = targets.into_iter().map(|target| Player::new(target, &store)).collect();
    let steps = players.iter().map(|player| player.target.scrapes.len()).max().unwrap_or(0) as i64;
    let (mut appending, mut flushing, mut samples) = (Duration::ZERO, Duration::ZERO, 0);
    for step in 0..steps {
        clock.set(Timestamp(START + (step + 1) * STEP_MS));
        for player in &mut players {
            if let Some(batch) = player.next(step, &store) {
                let began = Instant::now();
                samples += store.append(&batch).appended;
                appending += began.elapsed();
            }
        }
        if step % 2 == 1 {
            let began = Instant::now();
            store.flush().expect("the disk works");
            flushing += began.elapsed();
        }
        if step % 20 == 19 {
            timed("seal, and make blocks where due", || store.maintain().expect("the disk works"));
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
    clock.set(Timestamp(START + steps * STEP_MS + 3 * 3_600_000));
    store.maintain().expect("the disk works");
    show(&registry, &["block_bytes_per_sample", "log_written_bytes_total", "disk_bytes", "block_written"]);
    let file = std::fs::metadata(folder.path().join("blocks.db")).expect("there is a database").len();
    println!("blocks.db: {:.4} B/sample, all counted", file as f64 / samples as f64);
    let began = Instant::now();
    let read = read_all(&store);
    println!("reading everything: {read} samples, {:.0} ns each", began.elapsed().as_nanos() as f64 / read as f64);
    drop(store);
    let began = Instant::now();
    let settings = StoreSettings { is_threaded: false, ..StoreSettings::new(folder.path()) };
    let store = DiskStore::open(settings, clock, &Registry::new()).expect("opening succeeds");
    println!("opening again: {:?}", began.elapsed());
    drop(store);
}

/// Two hours of made series, in targets of 1,000: a third stands still, a third counts, a third
/// wanders. Threads run as in service.
fn memory_of(series: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Clock::manual(Timestamp(START));
    let store = DiskStore::open(
        StoreSettings { is_threaded: false, ..StoreSettings::new(folder.path()) },
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
    let began = Instant::now();
    store.maintain().expect("the disk works");
    println!("made a block in {:?}, RSS then {} KiB", began.elapsed(), rss());
}

struct Target {
    name: String,
    scrapes: Vec<(i64, Vec<u8>)>,
}

impl Target {
    fn load(name: &str) -> Self {
        let path = format!("{}/../shared/capture/{name}.cap.zst", env!("CARGO_MANIFEST_DIR"));
        let file = std::fs::File::open(&path).expect("the capture is there");
        let mut decoder = zstd::stream::read::Decoder::new(file).expect("zstd");
        decoder.window_log_max(27).expect("a valid window");
        let mut bytes = Vec::new();
        decoder.read_to_end(&mut bytes).expect("the capture unpacks");
        let mut records = Vec::new();
        let mut rest = bytes.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let head = std::str::from_utf8(&rest[..end]).expect("text");
            let fields: Vec<&str> = head.split(' ').collect();
            let (number, start): (i64, f64) =
                (fields[1].parse().expect("a number"), fields[2].parse().expect("a time"));
            let len: usize = fields[4].parse().expect("a length");
            records.push((number, start, rest[end + 1..end + 1 + len].to_vec()));
            rest = &rest[end + 1 + len..];
        }
        let earliest =
            records.iter().map(|(number, start, _)| start - 1000.0 * *number as f64).fold(f64::MAX, f64::min);
        let scrapes = records.into_iter().map(|(number, start, body)| {
            let jitter = (start - earliest - 1000.0 * number as f64).round() as i64;
            (number * STEP_MS + jitter.clamp(0, STEP_MS - 1), body)
        });
        Self { name: name.to_owned(), scrapes: scrapes.collect() }
    }
}

struct Player {
    target: Target,
    group: GroupId,
    known: HashMap<Vec<u8>, SeriesId>,
    alive: HashMap<SeriesId, i64>,
}

impl Player {
    fn new(target: Target, store: &DiskStore) -> Self {
        let group = store.group(&target.name).expect("room");
        Self { target, group, known: HashMap::new(), alive: HashMap::new() }
    }

    fn next(&mut self, step: i64, store: &DiskStore) -> Option<Batch> {
        let (offset, body) = self.target.scrapes.get(step as usize)?;
        let mut samples = Vec::new();
        let mut parser = Parser::new(Format::PrometheusText004, body);
        while let Some(entry) = parser.next_entry().expect("the page is well formed") {
            let Entry::Series(series) = entry else { continue };
            let id = match self.known.get(series.raw) {
                Some(id) => *id,
                None => {
                    let labels = labels_of(&self.target.name, &series);
                    let id = store.series(self.group, &labels).expect("room");
                    self.known.insert(series.raw.to_vec(), id);
                    id
                }
            };
            if self.alive.insert(id, step) != Some(step) {
                samples.push((id, series.value));
            }
        }
        let ended: Vec<SeriesId> = self.alive.iter().filter(|(_, seen)| **seen < step).map(|(id, _)| *id).collect();
        for id in ended {
            self.alive.remove(&id);
            self.known.retain(|_, known| *known != id);
            samples.push((id, stale_marker()));
        }
        Some(Batch { group: self.group, timestamp: Timestamp(START + offset), samples, explicit: Vec::new() })
    }
}

fn codec_speed(target: &Target) {
    let mut columns: HashMap<Vec<u8>, Vec<f64>> = HashMap::new();
    for (_, body) in target.scrapes.iter().take(SPAN_STEPS as usize) {
        let mut parser = Parser::new(Format::PrometheusText004, body);
        while let Some(entry) = parser.next_entry().expect("the page is well formed") {
            if let Entry::Series(series) = entry {
                columns.entry(series.raw.to_vec()).or_default().push(series.value);
            }
        }
    }
    let mut columns: Vec<(Vec<u8>, Vec<f64>)> =
        columns.into_iter().filter(|(_, values)| values.len() == SPAN_STEPS as usize).collect();
    columns.sort_by(|a, b| a.0.cmp(&b.0));
    let times: Vec<Timestamp> = (0..SPAN_STEPS).map(|row| Timestamp(row * STEP_MS)).collect();
    let (mut encoding, mut decoding, mut bytes) = (Duration::MAX, Duration::MAX, 0);
    for _ in 0..5 {
        let (mut segments, began) = (Vec::new(), Instant::now());
        for chunk in columns.chunks(64) {
            let slices: Vec<&[f64]> = chunk.iter().map(|(_, values)| values.as_slice()).collect();
            let mut segment = Vec::new();
            encode_segment(&times, &slices, &mut segment);
            segments.push(segment);
        }
        encoding = encoding.min(began.elapsed());
        bytes = segments.iter().map(Vec::len).sum::<usize>();
        let (mut values, began) = (Vec::new(), Instant::now());
        for segment in &segments {
            let segment = Segment::open(segment).expect("just encoded");
            for column in 0..segment.column_count() {
                values.clear();
                segment.column(column, &mut values).expect("just encoded");
            }
        }
        decoding = decoding.min(began.elapsed());
    }
    let samples = (columns.len() * SPAN_STEPS as usize) as f64;
    println!(
        "codec on {}: {:.4} B/sample, encoding {:.1} ns, decoding {:.1} ns a sample",
        target.name,
        bytes as f64 / samples,
        encoding.as_nanos() as f64 / samples,
        decoding.as_nanos() as f64 / samples
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
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    line.and_then(|line| line.split_whitespace().nth(1)).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

fn labels_of(target: &str, series: &outpost::exposition::Series<'_>) -> Labels {
    let own =
        [("job", target), ("instance", "localhost:9100")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let labels = series.labels().map(|(name, value)| (name.to_string(), value.to_string()));
    Labels::from_pairs(labels.chain(own))
}
