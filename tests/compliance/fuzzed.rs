//! What the fuzz targets check of one input. The ordinary tests replay the kept inputs through the same code.

#![allow(dead_code, reason = "each fuzz target uses one half")]

use std::time::{Duration, Instant};

use outpost::model::{Labels, Timestamp, stale_marker};
use outpost::promql::series_notation::parse_histogram;
use outpost::promql::{Engine, EngineSettings, Features, QueryOptions, parse};
use outpost::store::MemoryStore;

/// Every extension at once: the largest language.
const FEATURES: Features = Features {
    experimental_functions: true,
    delayed_name_removal: false,
    duration_expressions: true,
    extended_range_selectors: true,
    fill_modifiers: true,
};

/// How long one query may take; far beyond what its bound on samples allows.
const PATIENCE: Duration = Duration::from_secs(20);

/// An error stands within the text; what is accepted prints to something that is read as the same.
pub fn check_text(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let tree = match parse(&text, FEATURES) {
        Ok(tree) => tree,
        Err(error) => {
            assert!(error.to_string().contains(": parse error: "), "{text:?}: {error}");
            return;
        }
    };
    let printed = tree.to_string();
    let again = parse(&printed, FEATURES).unwrap_or_else(|error| panic!("{text:?} prints {printed:?}: {error}"));
    let again = again.to_string();
    // As upstream, infinity is printed with its sign, which in front of `^` is read as a sign of the whole power.
    let is_signed_again = printed.contains("Inf") && again.replace('+', "") == printed.replace('+', "");
    assert!(again == printed || is_signed_again, "{text:?} prints {printed:?}, and that {again:?}");
}

/// The first eight bytes choose samples, the rest is the query. It ends within the bounds, without a panic.
pub fn check_evaluation(bytes: &[u8]) {
    let Some((seed, text)) = bytes.split_at_checked(8) else { return };
    let text = String::from_utf8_lossy(text);
    let Ok(tree) = parse(&text, FEATURES) else { return };
    let store = store_of(seed);
    let settings = EngineSettings {
        lookback: Duration::from_secs(300),
        samples_max: 20_000,
        default_step: Duration::from_secs(60),
        features: FEATURES,
    };
    let engine = Engine::new(settings);
    let started = Instant::now();
    let deadline = Some(started + Duration::from_secs(2));
    let options = QueryOptions { deadline, ..QueryOptions::default() };
    let _ = engine.instant(&store, &tree, Timestamp(600_000), &options);
    let step = Duration::from_secs(1 + u64::from(seed[7]));
    let _ = engine.range(&store, &tree, Timestamp(300_000), Timestamp(900_000), step, &options);
    assert!(started.elapsed() < PATIENCE, "{text:?} took {:?}", started.elapsed());
}

/// Series `a` to `d` with labels, and classic and native histograms, of which the seed chooses the values.
fn store_of(seed: &[u8]) -> MemoryStore {
    const VALUES: [f64; 10] =
        [0.0, -0.0, 1.0, -1.5, 1e308, 5e-324, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 9_007_199_254_740_993.0];
    const NATIVE: [&str; 4] = [
        "{{schema:0 count:6 sum:10 buckets:[1 2 3]}}",
        "{{schema:3 count:4 sum:-1 z_bucket:1 z_bucket_w:0.001 n_buckets:[1 1] buckets:[1]}}",
        "{{schema:-53 count:3 sum:4 custom_values:[1 5] buckets:[1 1 1]}}",
        "{{}}",
    ];
    let store = MemoryStore::new();
    for (index, name) in ["a", "b", "c", "d", "h_bucket", "info"].into_iter().enumerate() {
        let le = ["0.1", "1", "+Inf", "x"][index % 4];
        for job in ["x", "y"] {
            let labels = Labels::from_pairs([("__name__", name), ("job", job), ("instance", "i"), ("le", le)]);
            for step in 0..20_usize {
                let chosen = usize::from(seed[(index + step) % 8]) + step * index;
                let at = Timestamp(i64::try_from(step).unwrap_or(0) * 45_000);
                match chosen % 13 {
                    10 => drop(store.append_float(&labels, at, stale_marker())),
                    11 => {}
                    12 => {
                        let text = NATIVE[(chosen / 13) % NATIVE.len()];
                        store.append_histogram(&labels, at, parse_histogram(text).unwrap_or_default());
                    }
                    value => drop(store.append_float(&labels, at, VALUES[value])),
                }
            }
        }
    }
    store
}
