//! One target's task: wait for the slot, fetch, hand the page to the intake.
//!
//! Fetching may be abandoned at any moment; reading and appending happen at one go, so that a stopped loop never
//! leaves half a scrape.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Alarm;
use super::cache::SeriesCache;
use super::error::ScrapeError;
use super::fetch::{Fetch, Fetched};
use super::intake::Intake;
use super::metadata::{MetadataTable, Tables};
use super::metrics::ScrapeMetrics;
use super::page::Scratch;
use super::pages::{Hold, Pages};
use super::target::Target;
use super::{JobSettings, TargetHealth};
use crate::clock::Clock;
use crate::model::Timestamp;
use crate::store::{Append, GroupId};

/// A scrape that starts this much late, at most, gets its slot's exact time: even steps compress better. Never more
/// than a hundredth of the interval. The value is Prometheus's.
const ALIGNMENT_MS: i64 = 2;

/// How long a scrape that is under way may still take when another loop is to go on.
pub(super) const HAND_OVER_PATIENCE: Duration = Duration::from_secs(5);

/// What all loops share. Cloning shares it.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) store: Arc<dyn Append>,
    pub(super) clock: Clock,
    pub(super) alarm: Alarm,
    pub(super) pages: Pages,
    pub(super) scratch: Arc<Mutex<Scratch>>,
    pub(super) tables: Tables,
    pub(super) metrics: ScrapeMetrics,
}

/// What others may see of a target.
#[derive(Debug)]
pub(super) struct TargetState {
    pub(super) target: Target,
    last: Mutex<LastScrape>,
}

/// The last scrape, as it is shown.
#[derive(Clone, Debug, Default)]
pub(super) struct LastScrape {
    pub(super) health: TargetHealth,
    pub(super) error: String,
    pub(super) at: Option<Timestamp>,
    pub(super) duration: Duration,
    pub(super) metadata: Arc<MetadataTable>,
}

impl TargetState {
    /// A target, with what is known of it from before.
    pub(super) fn new(target: Target, last: LastScrape) -> Self {
        Self { target, last: Mutex::new(last) }
    }

    pub(super) fn last(&self) -> LastScrape {
        self.lock().clone()
    }

    /// To be changed.
    pub(super) fn lock(&self) -> MutexGuard<'_, LastScrape> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a loop ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The target is gone: its series end here.
    End,
    /// Another loop goes on with the cache.
    HandOver,
}

/// A loop that has not started yet.
pub(super) struct ScrapeLoop {
    pub(super) fetcher: Box<dyn Fetch>,
    /// Why no target of the job is to be scraped, if so.
    pub(super) refusal: Arc<Mutex<Option<(usize, u64)>>>,
    pub(super) shared: Shared,
    pub(super) state: Arc<TargetState>,
    /// Everything that pages are read with. Away while another thread reads a large one.
    intake: Option<Box<Intake>>,
}

impl ScrapeLoop {
    pub(super) fn new(
        shared: Shared,
        job: &JobSettings,
        state: Arc<TargetState>,
        fetcher: Box<dyn Fetch>,
        cache: SeriesCache,
        refusal: Arc<Mutex<Option<(usize, u64)>>>,
        group: GroupId,
    ) -> Self {
        let intake = Some(Box::new(Intake::new(shared.clone(), job, Arc::clone(&state), cache, group)));
        Self { fetcher, refusal, shared, state, intake }
    }

    /// Scrapes until it is stopped; gives the cache to whoever goes on.
    pub(super) async fn run(mut self, offset: Duration, mut stop: oneshot::Receiver<Stop>) -> Option<SeriesCache> {
        let interval = self.state.target.interval;
        let mut next = Instant::now() + offset;
        let mut slots = Slots::new(interval);
        let how = loop {
            tokio::select! {
                biased;
                how = &mut stop => break how.unwrap_or(Stop::End),
                () = self.shared.alarm.sleep_until(next) => {}
            }
            next = next_tick(next, Instant::now(), interval);
            let at = slots.scrape_time(self.shared.clock.now());
            if let Some(how) = self.scrape_unless_stopped(at, &mut stop).await {
                break how;
            }
        };
        let mut intake = self.intake?;
        if how == Stop::End {
            intake.end();
        }
        Some(intake.into_cache())
    }

    /// One scrape, stamped `at`.
    #[cfg(test)]
    pub(super) async fn scrape(&mut self, at: Timestamp) {
        let (_keep, mut stop) = oneshot::channel();
        self.scrape_unless_stopped(at, &mut stop).await;
    }

    /// One scrape, stamped `at`. Fetching may be abandoned when the loop is told to stop, the rest is always done.
    async fn scrape_unless_stopped(&mut self, at: Timestamp, stop: &mut oneshot::Receiver<Stop>) -> Option<Stop> {
        let started = Instant::now();
        let mut page = self.shared.pages.take();
        let mut told = None;
        let fetched = {
            let mut fetch = std::pin::pin!(fetch(&mut *self.fetcher, &self.refusal, &mut page));
            tokio::select! {
                biased;
                how = stop => {
                    let how = *told.insert(how.unwrap_or(Stop::End));
                    match how {
                        Stop::End => None,
                        // A reload costs no scrape that has begun, unless it is a slow one.
                        Stop::HandOver => tokio::time::timeout(HAND_OVER_PATIENCE, fetch).await.ok(),
                    }
                }
                fetched = &mut fetch => Some(fetched),
            }
        };
        if let Some(fetched) = fetched {
            page = self.take_in(at, started, fetched, page).await;
        }
        self.shared.pages.put(page);
        told
    }

    /// Reads and stores a page. A large one is read on a thread of its own: thousands of new series would hold up all
    /// other scrapes. There is one such page at a time.
    async fn take_in(&mut self, at: Timestamp, started: Instant, fetched: Fetched, page: Vec<u8>) -> Vec<u8> {
        let Some(mut intake) = self.intake.take() else { return page };
        let (result, hold) = match fetched {
            Ok((format, hold)) => (Ok(format), hold),
            Err(error) => (Err(error), Hold::default()),
        };
        if !hold.has_turn() {
            let scratch = Arc::clone(&self.shared.scratch);
            intake.take_in(at, started, result, &page, &mut scratch.lock().unwrap_or_else(PoisonError::into_inner));
            self.intake = Some(intake);
            return page;
        }
        let work = tokio::task::spawn_blocking(move || {
            // The shared one would make the others wait.
            intake.take_in(at, started, result, &page, &mut Scratch::default());
            (intake, page)
        });
        // The pages that wait for their turn must not come before this one is gone.
        let (intake, page) = work.await.map_or_else(|_| (None, Vec::new()), |(intake, page)| (Some(intake), page));
        self.intake = intake;
        page
    }
}

async fn fetch(fetcher: &mut dyn Fetch, refusal: &Mutex<Option<(usize, u64)>>, page: &mut Vec<u8>) -> Fetched {
    let refusal = *refusal.lock().unwrap_or_else(PoisonError::into_inner);
    match refusal {
        Some((count, limit)) => Err(ScrapeError::TargetLimit { count, limit }),
        None => fetcher.fetch(page).await,
    }
}

/// The first moment after `now` that is whole intervals after `tick`: scrapes that were slept through are left out.
fn next_tick(tick: Instant, now: Instant, interval: Duration) -> Instant {
    let since_tick = (now - tick).as_nanos() % interval.as_nanos().max(1);
    now + interval - Duration::from_nanos(u64::try_from(since_tick).unwrap_or(u64::MAX))
}

/// Stamps scrapes with their slot's time where they are close to it.
struct Slots {
    interval_ms: i64,
    slot: Option<Timestamp>,
}

impl Slots {
    fn new(interval: Duration) -> Self {
        Self { interval_ms: i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1), slot: None }
    }

    fn scrape_time(&mut self, now: Timestamp) -> Timestamp {
        let tolerance = ALIGNMENT_MS.min(self.interval_ms / 100);
        let Some(slot) = self.slot else {
            self.slot = Some(now);
            return now;
        };
        let passed = now.since(slot).saturating_add(tolerance) / self.interval_ms;
        let slot = Timestamp(slot.0.saturating_add(passed * self.interval_ms));
        let late = now.since(slot);
        if late.abs() <= tolerance {
            self.slot = Some(slot);
            return slot;
        }
        // After a step of the clock, or a scrape that had to wait: slots count from here if it is far off.
        self.slot = Some(if late < 0 { now } else { slot });
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrapes_that_were_slept_through_are_left_out() {
        let start = Instant::now();
        let seconds = |count: u64| start + Duration::from_secs(count);
        for (now, expected) in [(5, 15), (6, 15), (14, 15), (15, 25), (44, 45), (45, 55)] {
            assert_eq!(next_tick(seconds(5), seconds(now), Duration::from_secs(10)), seconds(expected), "{now}");
        }
    }

    #[test]
    fn scrape_times_are_evened_out() {
        let mut slots = Slots::new(Duration::from_secs(15));
        let cases = [
            (1_000, 1_000),
            (16_001, 16_000),
            (31_002, 31_000),
            (46_003, 46_003),
            (60_999, 61_000),
            (91_001, 91_000),
            // The clock steps back, then goes on.
            (50_000, 50_000),
            (65_001, 65_000),
        ];
        for (now, expected) in cases {
            assert_eq!(slots.scrape_time(Timestamp(now)), Timestamp(expected), "{now}");
        }
    }
}
