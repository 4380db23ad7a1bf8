//! Holding back in front of a store in memory.

use super::*;
use crate::model::{METRIC_NAME, MatchOp, stale_marker};

const START: i64 = 1_000_000;

fn labels(name: &str) -> Labels {
    Labels::from_pairs([(METRIC_NAME, name)])
}

fn sets(name: &str) -> Vec<Vec<Matcher>> {
    vec![vec![Matcher::equal(METRIC_NAME, name)]]
}

/// A store behind that knows `old` (until just before the start), and one in front.
struct Site {
    behind: Arc<MemoryStore>,
    front: HeldStore<MemoryStore>,
    group: GroupId,
}

impl Site {
    fn new(samples_max: usize) -> Self {
        let behind = Arc::new(MemoryStore::new());
        behind.append_float(&labels("old"), Timestamp(START - 1_000), 1.0).expect("in order");
        let front = HeldStore::new(Arc::clone(&behind), samples_max);
        let group = front.group("job").expect("memory takes groups");
        Self { behind, front, group }
    }

    fn append(&self, name: &str, at: i64, value: f64) -> AppendReport {
        let id = self.front.series(self.group, &labels(name)).expect("memory takes series");
        let batch =
            Batch { group: self.group, timestamp: Timestamp(at), samples: vec![(id, value)], explicit: Vec::new() };
        self.front.append(&batch)
    }

    fn append_explicit(&self, name: &str, at: i64, value: f64) {
        let id = self.front.series(self.group, &labels(name)).expect("memory takes series");
        let explicit = vec![(id, Timestamp(at), value)];
        let batch = Batch { group: self.group, timestamp: Timestamp(START), samples: Vec::new(), explicit };
        assert_eq!(self.front.append(&batch).appended, 1);
    }
}

/// `name: time=value …` of everything that `store` gives, times relative to the start, in seconds.
fn all(store: &dyn Select) -> Vec<String> {
    let any = Matcher::new(MatchOp::NotEqual, METRIC_NAME, "").expect("no regex");
    let mut set = store.select(&[any], &ReadOptions::over(TimeRange::ALL)).expect("memory answers");
    let mut samples = Samples::default();
    let mut lines = Vec::new();
    while let Some(labels) = set.next(&mut samples).expect("memory answers") {
        let pairs = samples.timestamps.iter().zip(&samples.values);
        let shown: Vec<String> = pairs.map(|(at, value)| format!("{}={value}", (at.0 - START) / 1000)).collect();
        lines.push(format!("{}: {}", labels.get(METRIC_NAME).unwrap_or_default(), shown.join(" ")));
    }
    lines
}

fn correction(by_ms: i64) -> Correction {
    Correction { from: Timestamp(START), until: Timestamp(START + 60_000), by_ms }
}

#[test]
fn what_is_held_is_seen_and_moved_in_the_end() {
    let site = Site::new(HELD_SAMPLES_MAX);
    assert_eq!(site.append("new", START, 5.0).appended, 1);
    assert_eq!(site.append("old", START, 2.0).appended, 1);
    assert_eq!(site.append("old", START + 15_000, 3.0).appended, 1);
    assert_eq!(site.append("old", START, 9.0).rejected, [(0, Rejection::OutOfOrder)]);
    site.append_explicit("others_clock", START + 9_000_000, 7.0);
    assert_eq!(all(&site.front), ["new: 0=5", "old: -1=1 0=2 15=3", "others_clock: 9000=7"]);
    assert_eq!(all(&*site.behind), ["old: -1=1"], "nothing has gone through");
    assert_eq!(site.front.held_samples(), Some(4));
    assert_eq!(site.front.mark(), None, "what will move is not to be kept");

    let settled = site.front.settle(|| Some(correction(3_600_000)));
    assert_eq!(settled, Some(Settled { stored: 4, refused: 0 }));
    let expected = ["new: 3600=5", "old: -1=1 3600=2 3615=3", "others_clock: 9000=7"];
    assert_eq!(all(&site.front), expected);
    assert_eq!(all(&*site.behind), expected);
    assert_eq!((site.front.held_samples(), site.front.settle(|| None)), (None, None));

    // A scrape that began before, and one that began behind it.
    site.append("old", START + 30_000, 4.0);
    site.append("old", START + 3_645_000, 5.0);
    assert_eq!(all(&*site.behind)[1], "old: -1=1 3600=2 3615=3 3630=4 3645=5");
}

#[test]
fn without_a_correction_times_stay() {
    let site = Site::new(HELD_SAMPLES_MAX);
    site.append("old", START, 2.0);
    assert_eq!(site.front.settle(|| None), Some(Settled { stored: 1, refused: 0 }));
    site.append("old", START + 1_000, 3.0);
    assert_eq!(all(&*site.behind), ["old: -1=1 0=2 1=3"]);
}

#[test]
fn a_full_memory_is_stored_as_it_is() {
    let site = Site::new(2);
    for second in 0..4 {
        assert_eq!(site.append("old", START + second * 1_000, 2.0).appended, 1, "{second}");
    }
    assert_eq!(site.front.held_samples(), None);
    assert_eq!(all(&*site.behind), ["old: -1=1 0=2 1=2 2=2 3=2"]);
}

#[test]
fn a_correction_backwards_counts_what_is_refused() {
    let site = Site::new(HELD_SAMPLES_MAX);
    site.append("old", START, 2.0);
    site.append("new", START, 2.0);
    assert_eq!(site.front.settle(|| Some(correction(-500_000))), Some(Settled { stored: 1, refused: 1 }));
    assert_eq!(all(&*site.behind), ["new: -500=2", "old: -1=1"]);
    // The right time reaches the span that was provisional: it is right now.
    assert_eq!(site.append("new", START + 5_000, 3.0).appended, 1);
    assert_eq!(all(&*site.behind), ["new: -500=2 5=3", "old: -1=1"]);
}

#[test]
fn of_a_series_with_its_own_times_only_those_stay() {
    let site = Site::new(HELD_SAMPLES_MAX);
    site.append_explicit("both", START - 400_000, 7.0);
    site.append("both", START - 100, 8.0);
    assert_eq!(site.front.settle(|| Some(correction(3_600_000))), Some(Settled { stored: 2, refused: 0 }));
    assert_eq!(
        all(&*site.behind),
        ["both: -400=7 3599=8", "old: -1=1"],
        "an offset before the start is provisional too"
    );
}

#[test]
fn lists_unite_both() {
    let site = Site::new(HELD_SAMPLES_MAX);
    site.behind.append_float(&labels("gone"), Timestamp(START - 1), 1.0).expect("in order");
    site.append("new", START, 5.0);
    site.append("gone", START, stale_marker());
    let options = ReadOptions::over(TimeRange::ALL);
    let names = |limit| site.front.label_values(METRIC_NAME, &[], &options, limit).expect("memory answers");
    assert_eq!(names(None), ["gone", "new", "old"]);
    assert_eq!(names(Some(2)), ["gone", "new"]);
    assert_eq!(site.front.label_names(&[], &options, None).expect("memory answers"), [METRIC_NAME]);
    let both = site.front.series_labels(&sets("new"), &options, None).expect("memory answers");
    assert_eq!(both, [labels("new")]);
    let newest = site.front.newest(&[], &options).expect("memory answers");
    let shown: Vec<_> = newest.iter().map(|found| (found.labels.clone(), found.timestamp.0 - START)).collect();
    assert_eq!(shown, [(labels("new"), 0), (labels("old"), -1_000)], "the stale marker ends the series");
    let stats = site.front.stats();
    assert_eq!((stats.samples_in_memory, stats.newest), (4, Some(Timestamp(START))));
}
