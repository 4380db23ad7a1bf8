//! `outpost store import`: samples from OpenMetrics text, block by block, in bounded memory.
//!
//! The text is read once to see what it holds and where, then once more for each set of blocks that fits memory (an
//! export of outpost lies in the order of its blocks: it is read twice in all). Each block is kept in one stroke
//! with the count of blocks that are done, so that an import that was stopped goes on behind the last one.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use foldhash::fast::FixedState;

use super::text_chunks::{Chunk, TextChunks};
use super::{Progress, described, disk};
use crate::clock::Clock;
use crate::commands::print;
use crate::exposition::Series;
use crate::model::{Labels, LabelsBuilder, METRIC_NAME, Timestamp, format_rfc3339};
use crate::store::{DiskStore, ImportGroup, Samples, StoreSettings};
use crate::telemetry::Registry;

/// A block spans at least this, the span of a block that the server makes.
const SPAN_MS: i64 = 2 * 3_600_000;
/// A block spans at most this many spans, as a merged one of the server.
const MERGED_SPANS: i64 = 6;
/// Samples in memory at a time: 24 bytes each while they are gathered, as many while a block is made.
const SAMPLES_MAX: u64 = 1 << 20;
/// Nothing expires while an import runs.
const RETENTION_TIME: Duration = Duration::from_secs(1000 * 365 * 24 * 3600);
/// The server's default: what is older goes soon after it starts.
const RETENTION_DEFAULT_MS: i64 = 30 * 24 * 3_600_000;
/// Bytes at either end of the file that tell it from others.
const IDENTITY_BYTES: usize = 64 * 1024;

pub fn run(path: &Path, file: &Path) -> Result<bool, String> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let mut text = File::open(file).map_err(|error| named(&error))?;
    check_is_file(&text).map_err(|error| named(&error))?;
    let name = identity(&mut text).map_err(|error| named(&error))?;
    // Looked at as a whole before there is a store: a text with a mistake leaves nothing behind.
    let mut text = TextChunks::new(text);
    let (chunks, plans) = survey(&mut text, Clock::system().now()).map_err(|error| named(&error))?;
    let settings = StoreSettings {
        must_write: true,
        is_threaded: false,
        retention_time: RETENTION_TIME,
        ..StoreSettings::new(path)
    };
    let store =
        DiskStore::open(settings, Clock::system(), &Registry::new()).map_err(|error| disk::told(&error, path))?;
    let done = store.noted(&name).map_err(|error| described(&error))?.unwrap_or(0).max(0) as usize;
    let mut import = Import { store: &store, path, text, name, samples: 0, dropped: 0, bytes: 0 };
    let outcome = import.run(&chunks, &plans, done).map_err(|error| named(&error));
    let closed = store.close().map_err(|error| disk::told(&error, path));
    outcome.and(closed)?;
    import.tell();
    Ok(true)
}

/// The text is read more than once, here and there in it.
fn check_is_file(file: &File) -> Result<(), String> {
    let data = file.metadata().map_err(|error| error.to_string())?;
    match (data.is_file(), data.len()) {
        (true, 0) => Err("the file is empty".to_owned()),
        (true, _) => Ok(()),
        (false, _) => Err("it is no regular file, and must be read twice: write the text into a file first".to_owned()),
    }
}

/// What tells this file from others: its length and both its ends.
fn identity(file: &mut File) -> std::io::Result<String> {
    let len = file.seek(SeekFrom::End(0))?;
    let mut bytes = len.to_le_bytes().to_vec();
    for start in [0, len.saturating_sub(IDENTITY_BYTES as u64)] {
        file.seek(SeekFrom::Start(start))?;
        file.take(IDENTITY_BYTES as u64).read_to_end(&mut bytes)?;
    }
    Ok(format!("import:{:016x}", xxhash_rust::xxh3::xxh3_64(&bytes)))
}

struct Import<'a> {
    store: &'a DiskStore,
    /// The store's folder.
    path: &'a Path,
    text: TextChunks,
    name: String,
    samples: u64,
    dropped: u64,
    bytes: u64,
}

/// What the text holds of one span.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    samples: u64,
    first_chunk: usize,
    last_chunk: usize,
}

/// One block to be made: a stretch of time and, where that holds too much, one share of its series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    start: i64,
    until: i64,
    share: u64,
    shares: u64,
    samples: u64,
    first_chunk: usize,
    last_chunk: usize,
}

/// The pieces of the text, and the blocks to make of them. A sample ahead of the clock is refused: a server would take its
/// time for the present where nothing else tells it.
fn survey(text: &mut TextChunks, now: Timestamp) -> Result<(Vec<Chunk>, Vec<Plan>), String> {
    let latest = now.0.saturating_add(StoreSettings::AHEAD_MAX.as_millis() as i64);
    let mut spans: BTreeMap<i64, Span> = BTreeMap::new();
    let chunks = text.scan(|chunk, series| {
        let at = series.timestamp.ok_or("a sample without a time: history needs one on each line")?;
        if at > latest {
            let (at, now) = (format_rfc3339(Timestamp(at)), format_rfc3339(now));
            return Err(format!("a sample at {at} lies ahead of this machine's clock, which says {now}: set the clock or correct the time"));
        }
        let span = spans.entry(at.div_euclid(SPAN_MS)).or_insert(Span { first_chunk: chunk, ..Span::default() });
        span.samples += 1;
        span.last_chunk = chunk;
        Ok(())
    });
    Ok((chunks.map_err(|error| error.to_string())?, plan(&spans)))
}

impl Import<'_> {
    fn run(&mut self, chunks: &[Chunk], plans: &[Plan], done: usize) -> Result<(), String> {
        announce(plans, done);
        let mut progress = Progress::new("importing");
        let mut next = done.min(plans.len());
        while next < plans.len() {
            progress.show(next as u64, plans.len() as u64);
            let count = together(&plans[next..]);
            self.make(&plans[next..next + count], next, chunks)?;
            next += count;
        }
        progress.clear();
        Ok(())
    }

    /// Makes some blocks with one reading of the text.
    fn make(&mut self, plans: &[Plan], number: usize, chunks: &[Chunk]) -> Result<(), String> {
        let mut gathered: Vec<Gathered> = plans.iter().map(|_| Gathered::default()).collect();
        let first = plans.iter().map(|plan| plan.first_chunk).min().unwrap_or(0);
        let last = plans.iter().map(|plan| plan.last_chunk).max().unwrap_or(0);
        for (index, chunk) in chunks.iter().enumerate().take(last + 1).skip(first) {
            let read = self.text.read(chunk, index + 1 == chunks.len(), |series| {
                let at = series.timestamp.unwrap_or(0);
                let wanted = plans.iter().position(|plan| plan.wants(at, series.raw));
                wanted.map_or(Ok(()), |wanted| gathered[wanted].push(series, at))
            });
            read.map_err(|error| error.to_string())?;
        }
        for (index, (plan, gathered)) in plans.iter().zip(gathered).enumerate() {
            let (groups, samples, dropped) = gathered.into_groups();
            let (start, until) = (Timestamp(plan.start), Timestamp(plan.until));
            let note = (self.name.as_str(), (number + index + 1) as i64);
            let made = self.store.import_block(start, until, &groups, note);
            self.bytes += made.map_err(|error| disk::told(&error, self.path))?;
            self.samples += samples;
            self.dropped += dropped;
        }
        Ok(())
    }

    fn tell(&self) {
        let Self { samples, bytes, dropped, .. } = self;
        print(&format!("{samples} samples imported, {bytes} bytes\n"));
        if *dropped > 0 {
            print(&format!("{dropped} samples were left out: their series has another one at the same time\n"));
        }
    }
}

fn announce(plans: &[Plan], done: usize) {
    let Some(first) = plans.first() else { return };
    if done >= plans.len() {
        print("this text is in the store already\n");
    } else if done > 0 {
        let at = format_rfc3339(Timestamp(plans[done].start));
        print(&format!("going on at block {} of {}, {at}: what is older is in the store\n", done + 1, plans.len()));
    }
    if first.start < Clock::system().now().0 - RETENTION_DEFAULT_MS {
        print(&format!(
            "note: it begins at {}: a server keeps it only with a --storage.tsdb.retention.time that is long enough\n",
            format_rfc3339(Timestamp(first.start))
        ));
    }
}

/// The blocks to make: long ones where they fit memory.
fn plan(spans: &BTreeMap<i64, Span>) -> Vec<Plan> {
    let mut windows: BTreeMap<i64, Vec<(i64, Span)>> = BTreeMap::new();
    for (&number, &span) in spans {
        windows.entry(number.div_euclid(MERGED_SPANS)).or_default().push((number, span));
    }
    let mut plans = Vec::new();
    for (number, parts) in windows {
        let samples: u64 = parts.iter().map(|(_, span)| span.samples).sum();
        if samples <= SAMPLES_MAX {
            let first_chunk = parts.iter().map(|(_, span)| span.first_chunk).min().unwrap_or(0);
            let last_chunk = parts.iter().map(|(_, span)| span.last_chunk).max().unwrap_or(0);
            let whole = Span { samples, first_chunk, last_chunk };
            plans.extend(shares(number * MERGED_SPANS, MERGED_SPANS, whole));
        } else {
            parts.into_iter().for_each(|(number, span)| plans.extend(shares(number, 1, span)));
        }
    }
    plans
}

/// One block, or several with a share of the series each.
fn shares(number: i64, spans: i64, span: Span) -> impl Iterator<Item = Plan> {
    let shares = span.samples.div_ceil(SAMPLES_MAX).max(1);
    (0..shares).map(move |share| Plan {
        start: number * SPAN_MS,
        until: (number + spans) * SPAN_MS,
        share,
        shares,
        samples: span.samples / shares,
        first_chunk: span.first_chunk,
        last_chunk: span.last_chunk,
    })
}

/// How many of the first blocks are made with one reading: those that fit memory together and lie close together.
fn together(plans: &[Plan]) -> usize {
    let mut samples = 0;
    let fitting = plans.iter().take_while(|plan| {
        samples += plan.samples;
        samples <= SAMPLES_MAX
    });
    fitting.count().max(1)
}

impl Plan {
    fn wants(&self, at: i64, raw: &[u8]) -> bool {
        let is_in_time = self.start <= at && at < self.until;
        is_in_time && (self.shares == 1 || xxhash_rust::xxh3::xxh3_64(raw) % self.shares == self.share)
    }
}

/// Samples of one block, as the text gives them.
#[derive(Default)]
struct Gathered {
    ids: HashMap<Vec<u8>, u32, FixedState>,
    labels: Vec<Labels>,
    samples: Vec<(u32, Timestamp, f64)>,
}

impl Gathered {
    fn push(&mut self, series: &Series<'_>, at: i64) -> Result<(), String> {
        let id = match self.ids.get(series.raw) {
            Some(id) => *id,
            None => {
                self.labels.push(labels_of(series)?);
                let id = self.labels.len() as u32 - 1;
                self.ids.insert(series.raw.to_vec(), id);
                id
            }
        };
        self.samples.push((id, Timestamp(at), series.value));
        Ok(())
    }

    /// By target, series in label order; also how many samples there are, and how many were there twice.
    fn into_groups(mut self) -> (Vec<ImportGroup>, u64, u64) {
        // Two spellings may be one series.
        let mut order: Vec<u32> = (0..self.labels.len() as u32).collect();
        crate::model::sort_by(&mut order, |a, b| self.labels[*a as usize].cmp(&self.labels[*b as usize]));
        let mut rank = vec![0u32; order.len()];
        let mut sorted: Vec<Labels> = Vec::with_capacity(order.len());
        for id in order {
            let labels = &self.labels[id as usize];
            if sorted.last() != Some(labels) {
                sorted.push(labels.clone());
            }
            rank[id as usize] = sorted.len() as u32 - 1;
        }
        self.samples.iter_mut().for_each(|sample| sample.0 = rank[sample.0 as usize]);
        // Stable: of two at the same time the first in the text stays.
        self.samples.sort_by_key(|(id, at, _)| (*id, *at));
        let before = self.samples.len();
        self.samples.dedup_by_key(|(id, at, _)| (*id, *at));
        let (count, dropped) = (self.samples.len() as u64, (before - self.samples.len()) as u64);
        let mut groups: BTreeMap<String, ImportGroup> = BTreeMap::new();
        for chunk in self.samples.chunk_by(|a, b| a.0 == b.0) {
            let labels = sorted[chunk[0].0 as usize].clone();
            let mut samples = Samples::default();
            chunk.iter().for_each(|(_, at, value)| samples.push(*at, *value));
            let label = |name| labels.get(name).unwrap_or("");
            let key = format!("import {} {}", label("job"), label("instance"));
            groups.entry(key).or_default().series.push((labels, samples));
        }
        let named = groups.into_iter().map(|(key, group)| ImportGroup { key, ..group });
        (named.collect(), count, dropped)
    }
}

fn labels_of(series: &Series<'_>) -> Result<Labels, String> {
    let mut labels = LabelsBuilder::default();
    for (name, value) in series.labels() {
        if name.is_empty() {
            return Err("a label without a name".to_owned());
        }
        if labels.get(&name).is_some() {
            return Err(format!("label {name:?} is there twice"));
        }
        labels.set(name, value);
    }
    if labels.get(METRIC_NAME).is_none_or(str::is_empty) {
        return Err("a series without a name".to_owned());
    }
    Ok(labels.build())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn planned(spans: &[(i64, u64)]) -> Vec<(i64, i64, u64)> {
        let spans = spans.iter().map(|(number, samples)| (*number, Span { samples: *samples, ..Span::default() }));
        let plans = plan(&spans.collect());
        plans.iter().map(|plan| (plan.start / SPAN_MS, plan.until / SPAN_MS, plan.shares)).collect()
    }

    /// Imports three days, with `done` blocks done before; gives what is told and what the store notes then.
    fn imported(store: &DiskStore, text: &File, done: usize) -> (u64, usize) {
        let mut text = TextChunks::new(text.try_clone().expect("a file"));
        let (chunks, plans) = survey(&mut text, Clock::system().now()).expect("a good text");
        let path = Path::new("store");
        let mut import = Import { store, path, text, name: "import:test".to_owned(), samples: 0, dropped: 0, bytes: 0 };
        import.run(&chunks, &plans, done).expect("a good text");
        (import.samples, store.noted("import:test").expect("readable").unwrap_or(0) as usize)
    }

    #[test]
    fn an_import_goes_on_behind_what_is_done() {
        let mut text = tempfile::tempfile().expect("a temporary file");
        for minute in 0..3 * 24 * 60 {
            writeln!(text, "a{{job=\"x\"}} {minute} {}\na{{job=\"x\"}} 7 {}", minute * 60, minute * 60)
                .expect("writable");
        }
        writeln!(text, "# EOF").expect("writable");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = StoreSettings { is_threaded: false, ..StoreSettings::new(folder.path()) };
        let store = DiskStore::open(settings, Clock::system(), &Registry::new()).expect("it opens");
        // Six blocks of twelve hours; the first four are done already.
        assert_eq!(imported(&store, &text, 4), (24 * 60, 6));
        assert_eq!(imported(&store, &text, 6), (0, 6));
        assert_eq!(imported(&store, &text, 0), (3 * 24 * 60, 6));
    }

    #[test]
    fn blocks_are_as_long_as_memory_allows() {
        assert_eq!(planned(&[]), []);
        assert_eq!(planned(&[(0, 5), (5, 5), (6, 5)]), [(0, 6, 1), (6, 12, 1)]);
        assert_eq!(planned(&[(-1, 5)]), [(-6, 0, 1)]);
        assert_eq!(planned(&[(0, SAMPLES_MAX), (1, 1)]), [(0, 1, 1), (1, 2, 1)]);
        assert_eq!(planned(&[(1, 2 * SAMPLES_MAX)]), [(1, 2, 2), (1, 2, 2)]);
        let plans = plan(&BTreeMap::from([(0, Span { samples: 3 * SAMPLES_MAX, ..Span::default() })]));
        for raw in [&b"a"[..], b"b{c=\"d\"}", b"e"] {
            assert_eq!(plans.iter().filter(|plan| plan.wants(0, raw)).count(), 1, "each series has one share");
        }
    }
}
