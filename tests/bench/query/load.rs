//! The same samples into both: into outpost through the library under a manual clock, into Prometheus
//! through its remote-write receiver. What was made is kept under `target/` and used again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use outpost::clock::Clock;
use outpost::codec::write_unsigned;
use outpost::model::{Labels, Timestamp};
use outpost::store::{Append, Batch, DiskStore, SeriesId, StoreSettings};
use outpost::telemetry::Registry;

use super::http;
use super::server::Server;
use super::site::{START, STEP_MS, Shape, Target};

/// Scrapes that go to Prometheus in one request per target: half an hour, less than it takes late.
const CHUNK_STEPS: i64 = 120;
/// Retention that no clock reaches.
pub const RETENTION: &str = "100y";

/// Where both stores of a shape are, filled.
pub fn prepared(shape: Shape) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-query").join(shape.name);
    let done = folder.join("complete-1");
    if done.exists() {
        return folder;
    }
    if folder.exists() {
        std::fs::remove_dir_all(&folder).expect("an unfinished data set can be removed");
    }
    std::fs::create_dir_all(&folder).expect("target/ is writable");
    let began = Instant::now();
    fill(shape, &folder);
    println!("{}: both stores filled in {:?}", shape.name, began.elapsed());
    settle(shape, &folder);
    std::fs::write(done, "").expect("target/ is writable");
    folder
}

fn fill(shape: Shape, folder: &Path) {
    let clock = Clock::manual(Timestamp(START));
    let settings = StoreSettings {
        is_threaded: false,
        retention_time: Duration::from_secs(100 * 365 * 86_400),
        ..StoreSettings::new(folder.join("outpost"))
    };
    let store = DiskStore::open(settings, clock.clone(), &Registry::new()).expect("a store");
    let prometheus = Server::prometheus(folder);
    let mut players: Vec<Player> = (0..shape.targets).map(|number| Player::new(number, &store)).collect();
    for step in 0..shape.steps() {
        clock.set(Timestamp(START + (step + 1) * STEP_MS));
        for player in &mut players {
            player.play(step, &store);
        }
        if step % 2 == 1 {
            store.flush().expect("the disk works");
        }
        if step % 20 == 19 {
            store.maintain().expect("the disk works");
        }
        if step % CHUNK_STEPS == CHUNK_STEPS - 1 {
            players.iter_mut().for_each(|player| player.send(&prometheus.address));
        }
    }
    store.close().expect("the disk works");
    prometheus.stop();
}

/// Waits until Prometheus has made its blocks.
fn settle(shape: Shape, folder: &Path) {
    let server = Server::prometheus(folder);
    let until = Instant::now() + Duration::from_secs(900);
    loop {
        let page = http::get(&server.address, "/metrics");
        let span = metric(&page, "prometheus_tsdb_head_max_time ") - metric(&page, "prometheus_tsdb_head_min_time ");
        if span <= 3.1 * 3_600_000.0 || Instant::now() > until {
            println!("{}: the head of Prometheus spans {:.1} h", shape.name, span / 3_600_000.0);
            break;
        }
        std::thread::sleep(Duration::from_secs(5));
    }
    server.stop();
}

fn metric(page: &str, name: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(f64::NAN)
}

/// A target on its way into both stores.
struct Player {
    target: Target,
    ids: Vec<SeriesId>,
    batch: Batch,
    times: Vec<i64>,
    columns: Vec<Vec<f64>>,
}

impl Player {
    fn new(number: usize, store: &DiskStore) -> Self {
        let target = Target::new(number);
        let group = store.group(&target.key).expect("room");
        let ids = target.labels.iter().map(|labels| store.series(group, labels).expect("room")).collect();
        let columns = vec![Vec::new(); target.labels.len()];
        let batch = Batch { group, timestamp: Timestamp(0), samples: Vec::new(), explicit: Vec::new() };
        Self { target, ids, batch, times: Vec::new(), columns }
    }

    fn play(&mut self, step: i64, store: &DiskStore) {
        self.target.advance();
        self.batch.timestamp = self.target.scrape_time(step);
        self.batch.samples.clear();
        self.batch.samples.extend(self.ids.iter().copied().zip(self.target.values.iter().copied()));
        let report = store.append(&self.batch);
        assert!(report.rejected.is_empty(), "{report:?}");
        self.times.push(self.batch.timestamp.0);
        self.columns.iter_mut().zip(&self.target.values).for_each(|(column, value)| column.push(*value));
    }

    fn send(&mut self, address: &str) {
        let mut body = Vec::new();
        for (labels, column) in self.target.labels.iter().zip(&mut self.columns) {
            let mut series = Vec::new();
            push_labels(&mut series, labels);
            for (time, value) in self.times.iter().zip(column.drain(..)) {
                push_sample(&mut series, *time, value);
            }
            push_message(&mut body, 1, &series);
        }
        self.times.clear();
        http::post_remote_write(address, &snappy(&body));
    }
}

fn push_message(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    write_unsigned(out, field << 3 | 2);
    write_unsigned(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn push_labels(out: &mut Vec<u8>, labels: &Labels) {
    for (name, value) in labels.iter() {
        let mut label = Vec::new();
        push_message(&mut label, 1, name.as_bytes());
        push_message(&mut label, 2, value.as_bytes());
        push_message(out, 1, &label);
    }
}

fn push_sample(out: &mut Vec<u8>, time: i64, value: f64) {
    let mut sample = vec![1 << 3 | 1];
    sample.extend_from_slice(&value.to_le_bytes());
    sample.push(2 << 3);
    write_unsigned(&mut sample, time as u64);
    push_message(out, 2, &sample);
}

/// One literal: valid, though it saves nothing.
fn snappy(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 10);
    write_unsigned(&mut out, body.len() as u64);
    out.push(63 << 2);
    out.extend_from_slice(&(body.len() as u32 - 1).to_le_bytes());
    out.extend_from_slice(body);
    out
}
