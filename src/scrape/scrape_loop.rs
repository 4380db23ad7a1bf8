//! One target's task: wait for the slot, fetch, read, append, report.
//!
//! The loop owns what belongs to its target alone: the cache, the report, the fetcher. Fetching may be abandoned at
//! any moment; reading and appending happen at one go, so that a stopped loop never leaves half a scrape.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::cache::SeriesCache;
use super::error::ScrapeError;
use super::fetch::{Fetch, Pages};
use super::metadata::{Digest, MetadataTable, Tables, empty_digest};
use super::metrics::{Rejections, ScrapeMetrics};
use super::page::{PageCounts, PageReader, PageSettings, Scratch};
use super::report::{Outcome, Report};
use super::sample_labels::LabelRules;
use super::target::Target;
use super::{JobSettings, TargetHealth};
use crate::client::ClientError;
use crate::clock::Clock;
use crate::exposition::Format;
use crate::model::Timestamp;
use crate::store::{Append, AppendReport, Batch, GroupId, Rejection, SeriesId};

/// A scrape that starts this much late, at most, gets its slot's exact time: even steps compress better. Never more
/// than a hundredth of the interval. The value is Prometheus's.
const ALIGNMENT_MS: i64 = 2;

/// What all loops share. Cloning shares it.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) store: Arc<dyn Append>,
    pub(super) clock: Clock,
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

    fn lock(&self) -> MutexGuard<'_, LastScrape> {
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
    pub(super) shared: Shared,
    pub(super) state: Arc<TargetState>,
    pub(super) fetcher: Box<dyn Fetch>,
    pub(super) cache: SeriesCache,
    /// Why no target of the job is to be scraped, if so.
    pub(super) refusal: Arc<Mutex<Option<(usize, u64)>>>,
    pub(super) group: GroupId,
    settings: PageSettings,
    rules: LabelRules,
    report: Report,
    digest: Digest,
    last_lost: Option<String>,
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
        let settings = PageSettings::new(job);
        let rules = LabelRules::new(job, &state.target.labels);
        let report = Report::new(job, state.target.timeout);
        let digest = empty_digest();
        Self { shared, state, fetcher, cache, refusal, group, settings, rules, report, digest, last_lost: None }
    }

    /// Scrapes until it is stopped; gives the cache to whoever goes on.
    pub(super) async fn run(mut self, offset: Duration, mut stop: oneshot::Receiver<Stop>) -> SeriesCache {
        let interval = self.state.target.interval;
        let mut ticks = interval_at(Instant::now() + offset, interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut slots = Slots::new(interval);
        let how = loop {
            tokio::select! {
                biased;
                how = &mut stop => break how.unwrap_or(Stop::End),
                _ = ticks.tick() => {}
            }
            let at = slots.scrape_time(self.shared.clock.now());
            tokio::select! {
                biased;
                how = &mut stop => break how.unwrap_or(Stop::End),
                () = self.scrape(at) => {}
            }
        };
        if how == Stop::End {
            self.end();
        }
        self.cache
    }

    /// One scrape, stamped `at`.
    pub(super) async fn scrape(&mut self, at: Timestamp) {
        let started = Instant::now();
        let mut page = self.shared.pages.take();
        let refusal = *self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        let fetched = match refusal {
            Some((count, limit)) => Err(ScrapeError::TargetLimit { count, limit }),
            None => self.fetcher.fetch(&mut page).await,
        };
        self.finish(at, started, fetched, &page);
        self.shared.pages.put(page);
    }

    fn finish(&mut self, at: Timestamp, started: Instant, fetched: Result<Format, ScrapeError>, page: &[u8]) {
        let shared = Arc::clone(&self.shared.scratch);
        let mut scratch = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = PageCounts::default();
        let format = fetched.as_ref().ok().copied().unwrap_or(Format::PrometheusText004);
        let result = fetched.and_then(|_| self.read(&mut scratch, format, page, &mut counts));
        let outcome = Outcome {
            up: result.is_ok(),
            duration: started.elapsed(),
            scraped: counts.scraped,
            post_relabel: counts.post_relabel,
            series_added: counts.series_added,
            body_bytes: body_bytes(&result, page),
        };
        let lost = self.append(&mut scratch, at, format, page, &outcome, &counts);
        self.log(&result, &lost);
        self.note_metadata(&result, counts.metadata, format, page);
        self.note(at, &outcome, result);
        scratch.clear();
    }

    /// Reads the page, or ends all series if there is none or it is bad.
    fn read(
        &mut self,
        scratch: &mut Scratch,
        format: Format,
        page: &[u8],
        counts: &mut PageCounts,
    ) -> Result<(), ScrapeError> {
        let mut reader = self.reader(scratch);
        if page.is_empty() {
            reader.end_all();
            return Ok(());
        }
        reader.read(format, page, counts)
    }

    fn reader<'a>(&'a mut self, scratch: &'a mut Scratch) -> PageReader<'a> {
        PageReader {
            settings: &self.settings,
            rules: &self.rules,
            cache: &mut self.cache,
            scratch,
            store: &*self.shared.store,
            group: self.group,
        }
    }

    /// Gives the samples and the report to the store.
    fn append(
        &mut self,
        scratch: &mut Scratch,
        at: Timestamp,
        format: Format,
        page: &[u8],
        outcome: &Outcome,
        counts: &PageCounts,
    ) -> Rejections {
        if !outcome.up {
            self.reader(scratch).end_all();
        }
        let mut lost = Rejections::default();
        lost.add_duplicates(counts.duplicates);
        lost.add_refused(counts.refused);
        self.push_report(outcome, scratch, &mut lost);
        let gone = self.give(scratch, at, &mut lost, false);
        if gone.is_empty() {
            return lost;
        }
        // The store has dropped series that were long silent. They come back under new ids.
        if gone.iter().any(|id| self.report.contains(*id)) {
            self.report.forget();
        }
        if outcome.up && self.reader(scratch).read_again(format, page, &gone).is_err() {
            scratch.clear();
        }
        self.push_report(outcome, scratch, &mut lost);
        self.give(scratch, at, &mut lost, true);
        lost
    }

    fn push_report(&mut self, outcome: &Outcome, scratch: &mut Scratch, lost: &mut Rejections) {
        let store = &*self.shared.store;
        if self.report.push(outcome, store, self.group, &self.rules, &mut scratch.samples).is_err() {
            lost.add_refused(1);
        }
    }

    /// Appends the scratch's samples and gives the series that the store no longer knows, unless this is the last try.
    fn give(
        &self,
        scratch: &mut Scratch,
        timestamp: Timestamp,
        lost: &mut Rejections,
        is_last_try: bool,
    ) -> Vec<SeriesId> {
        let batch = Batch {
            group: self.group,
            timestamp,
            samples: std::mem::take(&mut scratch.samples),
            explicit: std::mem::take(&mut scratch.explicit),
        };
        let report = self.shared.store.append(&batch);
        self.shared.metrics.samples.add(report.appended as u64);
        let gone = if report.rejected.is_empty() { Vec::new() } else { sort_out(&batch, &report, lost, is_last_try) };
        (scratch.samples, scratch.explicit) = (batch.samples, batch.explicit);
        scratch.samples.clear();
        scratch.explicit.clear();
        gone
    }

    /// The target is gone: a stale marker for each of its series.
    fn end(&mut self) {
        if self.state.last().at.is_none() {
            return;
        }
        let shared = Arc::clone(&self.shared.scratch);
        let mut scratch = shared.lock().unwrap_or_else(PoisonError::into_inner);
        self.reader(&mut scratch).end_all();
        let mut lost = Rejections::default();
        let store = &*self.shared.store;
        if self.report.push_end(store, self.group, &self.rules, &mut scratch.samples).is_err() {
            lost.add_refused(1);
        }
        self.give(&mut scratch, self.shared.clock.now(), &mut lost, true);
        scratch.clear();
    }

    fn note_metadata(&mut self, result: &Result<(), ScrapeError>, digest: Digest, format: Format, page: &[u8]) {
        if result.is_ok() && !page.is_empty() && digest != self.digest {
            let table = self.shared.tables.table(digest, format, page);
            self.state.lock().metadata = table;
            self.digest = digest;
        }
    }

    fn note(&self, at: Timestamp, outcome: &Outcome, result: Result<(), ScrapeError>) {
        self.shared.metrics.scrapes.inc();
        let mut last = self.state.lock();
        last.at = Some(at);
        last.duration = outcome.duration;
        match result {
            Ok(()) => {
                last.health = TargetHealth::Up;
                last.error.clear();
            }
            Err(error) => {
                self.shared.metrics.failures.inc();
                last.health = TargetHealth::Down;
                last.error = error.to_string();
            }
        }
    }

    /// A failure is logged when it begins, a loss when it changes: both can last for days.
    fn log(&mut self, result: &Result<(), ScrapeError>, lost: &Rejections) {
        let target = &self.state.target;
        if let Err(error) = result {
            let text = error.to_string();
            if self.state.last().error != text {
                tracing::warn!(url = target.url, labels = %target.labels, error = text, "scrape failed");
            }
        }
        self.shared.metrics.reject(lost);
        let lost = lost.text();
        if lost != self.last_lost
            && let Some(lost) = &lost
        {
            tracing::warn!(url = target.url, labels = %target.labels, lost, "samples were not kept");
        }
        self.last_lost = lost;
    }
}

/// Counts what was rejected and gives the series that are to be asked for again.
fn sort_out(batch: &Batch, report: &AppendReport, lost: &mut Rejections, is_last_try: bool) -> Vec<SeriesId> {
    let mut gone = Vec::new();
    for (position, rejection) in &report.rejected {
        if *rejection != Rejection::UnknownSeries || is_last_try {
            lost.add(*rejection);
            continue;
        }
        let id = match batch.samples.get(*position) {
            Some((id, _)) => Some(*id),
            None => batch.explicit.get(position - batch.samples.len()).map(|(id, ..)| *id),
        };
        gone.extend(id);
    }
    gone
}

fn body_bytes(result: &Result<(), ScrapeError>, page: &[u8]) -> f64 {
    match result {
        Err(ScrapeError::Client(ClientError::BodyTooLarge { .. })) => -1.0,
        _ => page.len() as f64,
    }
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
