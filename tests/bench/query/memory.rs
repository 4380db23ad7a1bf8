//! The engine alone on a store in memory, a week long: time per query, and the samples held at the peak.

use std::time::{Duration, Instant};

use outpost::model::{Labels, Timestamp};
use outpost::promql::{Engine, EngineSettings, Features, QueryOptions, parse};
use outpost::store::{Append, Batch, MemoryStore};

const SERIES: usize = 1_000;
const SCRAPE_MS: i64 = 60_000;
const WEEK_MS: i64 = 7 * 24 * 3_600_000;

const QUERIES: [&str; 8] = [
    "sum by (instance) (rate(requests_total[5m]))",
    "sum(rate(requests_total[1h]))",
    "requests_total",
    "avg by (job) (requests_total)",
    "max_over_time(requests_total[1h])",
    "rate(requests_total[5m]) / on (instance, path) group_left sum by (instance, path) (rate(requests_total[5m]))",
    "topk(5, rate(requests_total[5m]))",
    "histogram_quantile(0.9, sum by (le) (rate(requests_total[5m])))",
];

pub fn main() {
    let store = store();
    let settings = EngineSettings {
        lookback: Duration::from_secs(300),
        samples_max: 50_000_000,
        default_step: Duration::from_secs(60),
        features: Features::default(),
    };
    let engine = Engine::new(settings);
    for query in QUERIES {
        let expr = parse(query, Features::default()).unwrap();
        let step = Duration::from_secs(600);
        let started = Instant::now();
        let options = QueryOptions::default();
        let result = engine.range(&store, &expr, Timestamp(0), Timestamp(WEEK_MS), step, &options).unwrap();
        let took = started.elapsed();
        println!("{:8.1} ms  {:9} samples held  {query}", took.as_secs_f64() * 1000.0, result.peak_samples);
    }
}

/// Counters with a reset now and then, `le` included so that they also make histograms.
fn store() -> MemoryStore {
    let store = MemoryStore::new();
    let group = store.group("bench").unwrap();
    let ids: Vec<_> = (0..SERIES)
        .map(|number| {
            let le = ["0.1", "0.5", "1", "5", "+Inf"][number % 5];
            let labels = Labels::from_pairs([
                ("__name__", "requests_total".to_owned()),
                ("instance", format!("host-{}", number % 20)),
                ("job", "bench".to_owned()),
                ("le", le.to_owned()),
                ("path", format!("/path/{}", number / 20)),
            ]);
            store.series(group, &labels).unwrap()
        })
        .collect();
    for scrape in 0..WEEK_MS / SCRAPE_MS {
        let value = |number: usize| (scrape % 5_000 * (1 + number as i64 % 7)) as f64;
        let samples = ids.iter().enumerate().map(|(number, id)| (*id, value(number))).collect();
        store.append(&Batch { group, timestamp: Timestamp(scrape * SCRAPE_MS), samples, explicit: Vec::new() });
    }
    store
}
