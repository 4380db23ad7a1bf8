//! The time of day on a board without a battery: whether the machine's clock is believed at the start, and since when.
//!
//! A clock is not believed that nothing keeps right and that is far behind the newest stored sample or behind this version's
//! release. Until it is, time counts from there and samples are held back ([`HeldStore`]); queries, rules and alerts
//! go on with the assumed time. Resync waits: its cursors would move past samples that are not stored
//! yet, and a central would keep the wrong times.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep};

use crate::clock::{Clock, RELEASED, Steps};
use crate::model::MetricType;
use crate::store::{Append, DiskStore, HELD_SAMPLES_MAX, HeldStore, Select, Settled, StoreSettings};
use crate::telemetry::{Counter, Gauge, Registry};

/// While samples wait for the time of day.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// While the clock is believed: each look wakes an idle process three times, since tokio's timers come nearer in steps.
const LOOK_INTERVAL_BELIEVED: Duration = Duration::from_secs(15);
/// The assumed time begins so much behind the newest stored sample.
const MARGIN: Duration = Duration::from_secs(1);

/// Keeps an eye on the machine's clock.
pub struct ClockKeeper {
    clock: Clock,
    held: Option<Arc<HeldStore<DiskStore>>>,
    watching: Option<JoinHandle<()>>,
    metrics: Metrics,
}

#[derive(Clone)]
struct Metrics {
    forward: Counter,
    backward: Counter,
    correction: Gauge,
}

impl ClockKeeper {
    /// Looks at the clock for the first time, before anything is stamped with it.
    pub fn new(clock: Clock, store: &Arc<DiskStore>, registry: &Registry) -> Self {
        let newest = store.stats_with(0).newest.unwrap_or(RELEASED);
        let earliest = (newest + MARGIN).max(RELEASED);
        // Targets may stamp their samples so far ahead: a clock that is right would never catch up with them.
        let surely_past = (newest - StoreSettings::AHEAD_MAX).max(RELEASED);
        let is_believed = clock.is_synchronised() || clock.wall() >= surely_past;
        let held = (!is_believed).then(|| {
            let behind_seconds = earliest.since(clock.wall()) / 1000;
            tracing::warn!(behind_seconds, "the time of day is not known yet: samples are held back until it is");
            clock.hold(earliest);
            Arc::new(HeldStore::new(Arc::clone(store), HELD_SAMPLES_MAX))
        });
        let metrics = Metrics::new(&clock, held.clone(), registry);
        Self { clock, held, watching: None, metrics }
    }

    /// The store to append to and to read from: in front of `store` while samples are held back.
    pub fn in_front_of(&self, store: &Arc<DiskStore>) -> (Arc<dyn Append>, Arc<dyn Select>) {
        match &self.held {
            Some(held) => (Arc::clone(held) as _, Arc::clone(held) as _),
            None => (Arc::clone(store) as _, Arc::clone(store) as _),
        }
    }

    /// Whether samples are held back: the store behind lacks them. Waits while they are being moved and stored.
    pub fn holds_back(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let held = self.held.clone();
        move || held.as_ref().is_some_and(|held| held.held_samples().is_some())
    }

    /// What is wrong at the moment, for people.
    pub fn problem(&self) -> impl Fn() -> Option<String> + Send + Sync + 'static {
        let (clock, held) = (self.clock.clone(), self.held.clone());
        move || {
            let samples = held.as_ref().and_then(|held| held.held_samples()).unwrap_or_default();
            clock.is_held().then(|| format!("the time of day is not known: {samples} samples wait for it in memory"))
        }
    }

    /// Looks again and again from now on.
    pub fn start(&mut self) {
        let (clock, held, metrics) = (self.clock.clone(), self.held.clone(), self.metrics.clone());
        self.watching = Some(tokio::spawn(watch(clock, held, metrics)));
    }

    /// Stops looking. What still waits is stored with the assumed times.
    pub async fn stop(self) {
        if let Some(watching) = self.watching {
            watching.abort();
            // Cancelled, or ended by a panic that has been reported: both end it.
            drop(watching.await);
        }
        if let Some(held) = self.held
            && let Ok(Some(Settled { stored, refused })) = spawn_blocking(move || held.settle(|| None)).await
        {
            tracing::warn!(stored, refused, "the time of day was never known: samples keep the assumed times");
        }
    }
}

async fn watch(clock: Clock, held: Option<Arc<HeldStore<DiskStore>>>, metrics: Metrics) {
    let began = Instant::now();
    let mut steps = Steps::default();
    loop {
        if let Some(by_ms) = steps.look(clock.wall(), began.elapsed()) {
            metrics.note_step(by_ms);
            let seconds = by_ms as f64 / 1000.0;
            tracing::warn!(seconds, synchronised = clock.is_synchronised(), "the machine's clock was set");
        }
        if clock.is_held() && clock.can_settle() {
            settle(&clock, held.clone(), &metrics).await;
        }
        sleep(if clock.is_held() { LOOK_INTERVAL } else { LOOK_INTERVAL_BELIEVED }).await;
    }
}

/// The time is known: what waits gets its right times. A thread of its own does it, and the event loop goes on.
async fn settle(clock: &Clock, held: Option<Arc<HeldStore<DiskStore>>>, metrics: &Metrics) {
    let (clock, metrics) = (clock.clone(), metrics.clone());
    let work = spawn_blocking(move || {
        let correct = || {
            let correction = clock.settle()?;
            metrics.correction.set(correction.by_ms as f64 / 1000.0);
            Some(correction)
        };
        let settled = match held {
            Some(held) => held.settle(correct),
            None => correct().and(None),
        };
        let Settled { stored, refused } = settled.unwrap_or_default();
        let seconds = metrics.correction.value();
        tracing::info!(seconds, stored, refused, "the time of day is known; held samples were moved to it and stored");
    });
    // Panics abort; a cancelled task means that the runtime is ending.
    drop(work.await);
}

impl Metrics {
    fn new(clock: &Clock, held: Option<Arc<HeldStore<DiskStore>>>, registry: &Registry) -> Self {
        let clock = clock.clone();
        registry.family(
            "outpost_clock_trusted",
            "1 while the machine's clock is believed, 0 while an assumed time of day stands in for it.",
            MetricType::Gauge,
            move |emit| emit(&[], if clock.is_held() { 0.0 } else { 1.0 }),
        );
        registry.family(
            "outpost_clock_held_samples",
            "Samples that wait in memory for the time of day.",
            MetricType::Gauge,
            move |emit| emit(&[], held.as_ref().and_then(|held| held.held_samples()).unwrap_or_default() as f64),
        );
        let (forward, backward) = (Counter::default(), Counter::default());
        let shown = (forward.clone(), backward.clone());
        registry.family(
            "outpost_clock_steps_total",
            "How often the machine's clock was set by two seconds or more.",
            MetricType::Counter,
            move |emit| {
                emit(&[("direction", "backward")], shown.1.value() as f64);
                emit(&[("direction", "forward")], shown.0.value() as f64);
            },
        );
        let correction =
            registry.gauge("outpost_clock_correction_seconds", "How wrong the assumed time of day was in the end.");
        Self { forward, backward, correction }
    }

    fn note_step(&self, by_ms: i64) {
        let counter = if by_ms > 0 { &self.forward } else { &self.backward };
        counter.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Labels, Timestamp};
    use crate::store::Batch;

    #[tokio::test]
    async fn a_clock_is_believed_unless_it_is_behind_the_newest_sample() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let newest = RELEASED + Duration::from_secs(3_600);
        let clock = Clock::manual(newest);
        let settings = StoreSettings { is_threaded: false, ..StoreSettings::new(folder.path()) };
        let store = DiskStore::open(settings, clock.clone(), &Registry::new()).expect("opening succeeds");
        let group = store.group("g").expect("room");
        let series = store.series(group, &Labels::from_pairs([("__name__", "up")])).expect("room");
        store.append(&Batch { group, timestamp: newest, samples: vec![(series, 1.0)], explicit: Vec::new() });
        // Killed and back within the second: what is scraped from then on must not wait in memory. Nor where a target
        // has stamped the newest sample ten minutes ahead: a right clock would never catch up with the assumed time.
        let far = newest - StoreSettings::AHEAD_MAX;
        for (wall, is_held) in [(newest, false), (far, false), (Timestamp(far.0 - 1), true)] {
            let clock = Clock::manual(wall);
            ClockKeeper::new(clock.clone(), &store, &Registry::new());
            assert_eq!(clock.is_held(), is_held, "{wall:?}");
        }
    }
}
