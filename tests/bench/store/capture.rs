//! Recorded scrapes of ../shared/capture, as the store takes them.
#![allow(dead_code, reason = "each bench that includes this uses a part of it")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;

use outpost::codec::absent;
use outpost::exposition::{Entry, Format, Parser};
use outpost::model::{Labels, Timestamp, stale_marker};
use outpost::store::{Append, Batch, DiskStore, GroupId, SeriesId};

const TARGETS: [&str; 6] = ["node", "docker", "ctr", "prom", "blackbox", "bbhttp"];
/// A multiple of twelve hours, long past: no peer refuses it.
pub const START: i64 = 1_700_006_400_000;
pub const STEP_MS: i64 = 15_000;

/// One target's scrapes: time after the start, and page.
pub struct Target {
    pub name: String,
    pub scrapes: Vec<(i64, Vec<u8>)>,
}

impl Target {
    /// All targets of a capture that was taken at one scrape per `recorded_ms`, played at 15 s.
    pub fn load_all(folder: &str, recorded_ms: i64) -> Vec<Self> {
        TARGETS.iter().map(|name| Self::load(folder, name, recorded_ms)).collect()
    }

    fn load(folder: &str, name: &str, recorded_ms: i64) -> Self {
        let path = format!("{}/../shared/{folder}/{name}.cap.zst", env!("CARGO_MANIFEST_DIR"));
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
        let late = |number: i64, start: f64| start - (recorded_ms * number) as f64;
        let earliest = records.iter().map(|(number, start, _)| late(*number, *start)).fold(f64::MAX, f64::min);
        let scrapes = records.into_iter().map(|(number, start, body)| {
            let jitter = (late(number, start) - earliest).round() as i64;
            (number * STEP_MS + jitter.clamp(0, STEP_MS - 1), body)
        });
        Self { name: name.to_owned(), scrapes: scrapes.collect() }
    }

    fn last_step(&self) -> Option<i64> {
        self.scrapes.last().map(|(offset, _)| offset / STEP_MS)
    }
}

/// Plays one target.
pub struct Player {
    target: Target,
    /// The scrape to play next.
    cursor: usize,
    group: GroupId,
    known: HashMap<Vec<u8>, SeriesId>,
    alive: HashMap<SeriesId, i64>,
    pub labels: HashMap<SeriesId, Labels>,
}

impl Player {
    pub fn new(target: Target, store: &DiskStore) -> Self {
        let group = store.group(&target.name).expect("room");
        Self { target, cursor: 0, group, known: HashMap::new(), alive: HashMap::new(), labels: HashMap::new() }
    }

    /// One more than the last step that has a scrape.
    pub fn steps(&self) -> i64 {
        self.target.scrapes.last().map_or(0, |(offset, _)| offset / STEP_MS + 1)
    }

    /// The scrape of a step, with stale markers for what is gone; a recording may have none.
    pub fn next(&mut self, step: i64, store: &DiskStore) -> Option<Batch> {
        let (offset, body) = self.target.scrapes.get(self.cursor).filter(|(offset, _)| offset / STEP_MS == step)?;
        self.cursor += 1;
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
                    self.labels.insert(id, labels);
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

/// Recorded scrapes forth and back, parsed once, for as many days as are wanted: begun anew, a recording would repeat what
/// a block holds already, and pack to next to nothing.
pub struct Recording {
    targets: Vec<Recorded>,
    steps: i64,
}

struct Recorded {
    group: GroupId,
    labels: Vec<Labels>,
    /// The ids in use: a series that has ended is looked up again when it comes back.
    ids: Vec<Option<SeriesId>>,
    /// By step, if there is a scrape: how late it is, and series with values.
    scrapes: HashMap<i64, (i64, Vec<(u32, f64)>)>,
    /// The series of the scrape before.
    alive: BTreeSet<u32>,
}

impl Recording {
    /// All scrapes of all targets.
    pub fn new(targets: &[Target], store: &DiskStore) -> Self {
        let steps = targets.iter().filter_map(Target::last_step).max().map_or(0, |last| last + 1);
        Self { targets: targets.iter().map(|target| Recorded::new(target, store)).collect(), steps }
    }

    /// Appends the scrapes of a step, with stale markers for what is gone; gives the samples.
    pub fn play(&mut self, step: i64, store: &DiskStore) -> usize {
        let (pass, within) = (step / self.steps, step % self.steps);
        let recorded = if pass % 2 == 0 { within } else { self.steps - 1 - within };
        self.targets.iter_mut().map(|target| target.play(START + step * STEP_MS, recorded, store)).sum()
    }
}

impl Recorded {
    fn new(target: &Target, store: &DiskStore) -> Self {
        let group = store.group(&target.name).expect("room");
        let (mut labels, mut known, mut scrapes) = (Vec::new(), HashMap::new(), HashMap::new());
        for (offset, body) in &target.scrapes {
            let mut samples: Vec<(u32, f64)> = Vec::new();
            let mut seen = BTreeSet::new();
            let mut parser = Parser::new(Format::PrometheusText004, body);
            while let Some(entry) = parser.next_entry().expect("the page is well formed") {
                let Entry::Series(series) = entry else { continue };
                let index = *known.entry(series.raw.to_vec()).or_insert_with(|| {
                    labels.push(labels_of(&target.name, &series));
                    labels.len() as u32 - 1
                });
                if seen.insert(index) {
                    samples.push((index, series.value));
                }
            }
            scrapes.entry(offset / STEP_MS).or_insert((offset % STEP_MS, samples));
        }
        Self { group, ids: vec![None; labels.len()], labels, scrapes, alive: BTreeSet::new() }
    }

    fn play(&mut self, start: i64, recorded: i64, store: &DiskStore) -> usize {
        let Some((late, recorded)) = self.scrapes.get(&recorded) else { return 0 };
        let mut samples = Vec::with_capacity(recorded.len());
        for (index, value) in recorded {
            let id = &mut self.ids[*index as usize];
            let labels = &self.labels[*index as usize];
            samples.push((*id.get_or_insert_with(|| store.series(self.group, labels).expect("room")), *value));
        }
        let alive: BTreeSet<u32> = recorded.iter().map(|(index, _)| *index).collect();
        for ended in self.alive.difference(&alive) {
            samples.push((self.ids[*ended as usize].take().expect("it was alive"), stale_marker()));
        }
        self.alive = alive;
        let batch = Batch { group: self.group, timestamp: Timestamp(start + late), samples, explicit: Vec::new() };
        store.append(&batch).appended
    }
}

/// A target's series in its first `rows` scrapes, in label order, absent values included.
pub fn columns(target: &Target, rows: usize) -> Vec<Vec<f64>> {
    let mut columns: BTreeMap<Vec<u8>, Vec<f64>> = BTreeMap::new();
    for (row, (_, body)) in target.scrapes.iter().take(rows).enumerate() {
        let mut parser = Parser::new(Format::PrometheusText004, body);
        while let Some(entry) = parser.next_entry().expect("the page is well formed") {
            if let Entry::Series(series) = entry {
                let column = columns.entry(series.raw.to_vec()).or_insert_with(|| vec![absent(); rows]);
                column[row] = series.value;
            }
        }
    }
    columns.into_values().collect()
}

fn labels_of(target: &str, series: &outpost::exposition::Series<'_>) -> Labels {
    let own =
        [("job", target), ("instance", "localhost:9100")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let labels = series.labels().map(|(name, value)| (name.to_string(), value.to_string()));
    Labels::from_pairs(labels.chain(own))
}
