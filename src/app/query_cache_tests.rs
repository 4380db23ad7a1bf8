//! The cache of query results beside an engine without one, over a store on disk: whatever happens between refreshes,
//! the answers are the same.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::model::{Labels, Timestamp, stale_marker};
use crate::promql::{Engine, EngineSettings, Features, QueryOptions, QueryResult, parse};
use crate::store::{Append, Batch, DiskStore, GroupId, Select, SeriesId, StoreSettings};
use crate::telemetry::Registry;

const MINUTE: i64 = 60_000;
const START: i64 = 1_800_014_400_000;
const STEP: Duration = Duration::from_secs(60);

const QUERIES: [&str; 9] = [
    "sum by (job) (rate(c_total[5m]))",
    "c_total",
    "max_over_time(g[10m])",
    "g offset 7m",
    "g offset -3m",
    "topk(1, g)",
    "sum(g) or vector(0)",
    "sum(rate(c_total[5m])) / count(g)",
    "max_over_time(sum(g)[10m:1m])",
];

/// A site with a clock of its own, and the two engines.
struct Site {
    store: Arc<DiskStore>,
    clock: Clock,
    group: GroupId,
    counters: Vec<SeriesId>,
    gauges: Vec<SeriesId>,
    cached: Engine,
    plain: Engine,
    _folder: tempfile::TempDir,
}

impl Site {
    fn new(cache_bytes: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let clock = Clock::manual(Timestamp(START));
        let settings = StoreSettings {
            is_threaded: false,
            retention_time: Duration::from_secs(24 * 3600),
            ..StoreSettings::new(folder.path())
        };
        let store = DiskStore::open(settings, clock.clone(), &Registry::new()).expect("a store");
        let group = store.group("a").expect("room");
        let series = |name: &str, job: &str| {
            let labels = Labels::from_pairs([("__name__", name), ("job", job)]);
            store.series(group, &labels).expect("room")
        };
        let counters = ["x", "y"].map(|job| series("c_total", job)).to_vec();
        let gauges = ["x", "y", "z"].map(|job| series("g", job)).to_vec();
        Self {
            store,
            clock,
            group,
            counters,
            gauges,
            cached: engine().with_cache(cache_bytes),
            plain: engine(),
            _folder: folder,
        }
    }

    /// A scrape each half minute, up to a minute of the run.
    fn scrape(&self, minutes: std::ops::Range<i64>) {
        for half in minutes.start * 2..minutes.end * 2 {
            let timestamp = Timestamp(START + half * MINUTE / 2);
            self.clock.set(timestamp);
            let counters = self.counters.iter().map(|id| (*id, (half * (1 + i64::from(id.0))) as f64));
            let gauges = self.gauges.iter().map(|id| match half % 50 {
                40 if id.0 % 3 == 0 => (*id, stale_marker()),
                _ => (*id, (half * 7 % (11 + i64::from(id.0))) as f64),
            });
            let samples = counters.chain(gauges).collect();
            self.store.append(&Batch { group: self.group, timestamp, samples, explicit: Vec::new() });
        }
    }

    fn append_late(&self, name: &str, minute: i64, value: f64) {
        let labels = Labels::from_pairs([("__name__", name), ("job", "late")]);
        let id = self.store.series(self.group, &labels).expect("room");
        let explicit = vec![(id, Timestamp(START + minute * MINUTE), value)];
        let batch = Batch { group: self.group, timestamp: self.clock.now(), samples: Vec::new(), explicit };
        assert_eq!(self.store.append(&batch).appended, 1);
    }

    fn ask(&self, engine: &Engine, query: &str, minutes: (i64, i64)) -> QueryResult {
        let expr = parse(query, Features::default()).expect(query);
        let options = QueryOptions { text: Some(query.into()), ..QueryOptions::default() };
        let at = |minute: i64| Timestamp(START + minute * MINUTE);
        engine.range(self.store.as_ref(), &expr, at(minutes.0), at(minutes.1), STEP, &options).expect(query)
    }

    /// Asks all queries of both engines; gives how many steps the cache saved.
    fn compare(&self, minutes: (i64, i64)) -> u64 {
        let before = self.cached.cache_stats().steps_reused;
        for query in QUERIES {
            let (ours, plain) = (self.ask(&self.cached, query, minutes), self.ask(&self.plain, query, minutes));
            assert_eq!(ours.value, plain.value, "{query} {minutes:?}");
            assert_eq!((ours.warnings, ours.infos), (plain.warnings, plain.infos), "{query}");
        }
        self.cached.cache_stats().steps_reused - before
    }
}

fn engine() -> Engine {
    Engine::new(EngineSettings {
        lookback: Duration::from_secs(300),
        samples_max: 1_000_000,
        default_step: STEP,
        features: Features::default(),
    })
}

const ROOM: usize = 1 << 20;

#[test]
fn refreshes_reuse_what_is_settled() {
    let site = Site::new(ROOM);
    site.scrape(0..120);
    assert_eq!(site.compare((0, 119)), 0);
    // The last scrape was at 119:30, so minutes up to 118 are settled, and three fewer for the offset.
    assert_eq!(site.compare((0, 119)), 8 * 119 + 116);
    site.scrape(120..125);
    assert_eq!(site.compare((5, 124)), 8 * 114 + 111);
    assert_eq!(site.compare((50, 60)), 9 * 11, "within");
    assert!(site.compare((-30, 160)) > 0, "on both sides");
    assert_eq!(site.compare((-300, -200)), 0, "nowhere near");
}

#[test]
fn other_grids_and_lookbacks_share_nothing() {
    let site = Site::new(ROOM);
    site.scrape(0..60);
    let expr = parse("g", Features::default()).expect("a selector");
    for (phase, step, lookback) in [(0, 60, None), (1, 60, None), (0, 30, None), (0, 60, Some(STEP))] {
        let options = QueryOptions { text: Some("g".into()), lookback, ..QueryOptions::default() };
        let ask = |engine: &Engine| {
            let (start, end) = (Timestamp(START + phase), Timestamp(START + 50 * MINUTE));
            let step = Duration::from_secs(step);
            engine.range(site.store.as_ref(), &expr, start, end, step, &options).expect("a selector").value
        };
        assert_eq!(ask(&site.cached), ask(&site.plain));
    }
    assert_eq!(site.cached.cache_stats().steps_reused, 0);
}

#[test]
fn a_reload_that_changes_the_default_step_shares_nothing_with_before() {
    let site = Site::new(ROOM);
    site.scrape(0..60);
    let query = "count_over_time(sum(g)[10m:])";
    site.ask(&site.cached, query, (0, 50));
    for engine in [&site.cached, &site.plain] {
        engine.set_default_step(Duration::from_secs(30));
    }
    assert_eq!(site.ask(&site.cached, query, (0, 50)).value, site.ask(&site.plain, query, (0, 50)).value);
    assert_eq!(site.cached.cache_stats().steps_reused, 0);
}

#[test]
fn late_samples_cut_what_is_kept() {
    let site = Site::new(ROOM);
    site.scrape(0..120);
    site.compare((0, 119));
    site.append_late("g", 60, 1000.0);
    let reused = site.compare((0, 119));
    assert_eq!(reused, 8 * 60 + 57, "up to the late sample");
    assert!(site.compare((0, 119)) > reused, "kept again");
    // A rule that fills its past, sample by sample.
    for minute in 0..30 {
        site.append_late("c_total", minute, minute as f64);
        site.compare((0, 119));
    }
}

#[test]
fn retention_and_blocks_are_seen() {
    let site = Site::new(ROOM);
    for hour in (0..60).step_by(2) {
        site.scrape(hour * 60..(hour + 2) * 60);
        site.store.maintain().expect("the disk works");
        let end = (hour + 2) * 60 - 1;
        site.compare((0, end));
        site.compare((end - 119, end));
    }
    assert!(site.store.stats().oldest > Some(Timestamp(START)), "something has expired");
}

#[test]
fn the_bound_on_bytes_holds_and_large_results_are_not_kept() {
    let site = Site::new(16 << 10);
    site.scrape(0..120);
    for _ in 0..3 {
        site.compare((0, 119));
        let stats = site.cached.cache_stats();
        assert!(stats.bytes <= 16 << 10 && stats.entries > 0, "{stats:?}");
    }
    let small = Site::new(1 << 10);
    small.scrape(0..120);
    assert_eq!(small.compare((0, 119)) + small.compare((0, 119)), 0);
    assert_eq!(small.cached.cache_stats().entries, 0);
}
