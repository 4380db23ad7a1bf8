//! From a fetched page to the store: read, append, report, note what others may see.
//!
//! Owns what a target keeps from page to page: the cache of its series, the report, the digest of its metadata.

use std::sync::{Arc, PoisonError};

use tokio::time::Instant;

use super::bounds::{BODY_BYTES_ORDINARY, SAMPLES_PER_PAGE_MAX};
use super::cache::SeriesCache;
use super::error::ScrapeError;
use super::metadata::{Digest, empty_digest};
use super::metrics::Rejections;
use super::page::{PageCounts, PageReader, PageSettings, Scratch};
use super::report::{Outcome, Report};
use super::sample_labels::LabelRules;
use super::scrape_loop::{Shared, TargetState};
use super::{JobSettings, TargetHealth};
use crate::client::ClientError;
use crate::exposition::Format;
use crate::model::Timestamp;
use crate::store::{AppendReport, Batch, GroupId, Rejection, SeriesId};

/// Bytes of a series' labels in the log.
const NAMED_BYTES_MAX: usize = 300;

/// Takes in the pages of one target.
pub(super) struct Intake {
    shared: Shared,
    state: Arc<TargetState>,
    cache: SeriesCache,
    group: GroupId,
    settings: PageSettings,
    rules: LabelRules,
    report: Report,
    digest: Digest,
    last_lost: Option<String>,
    /// Whether the last page gave a series twice.
    has_duplicates: bool,
}

impl Intake {
    /// An intake that goes on with a cache.
    pub(super) fn new(
        shared: Shared,
        job: &JobSettings,
        state: Arc<TargetState>,
        cache: SeriesCache,
        group: GroupId,
    ) -> Self {
        let settings = PageSettings::new(job);
        let rules = LabelRules::new(job, &state.target.labels);
        let report = Report::new(job, state.target.timeout);
        Self {
            shared,
            state,
            cache,
            group,
            settings,
            rules,
            report,
            digest: empty_digest(),
            last_lost: None,
            has_duplicates: false,
        }
    }

    /// What the next loop goes on with.
    pub(super) fn into_cache(self: Box<Self>) -> SeriesCache {
        self.cache
    }

    /// Takes in what a scrape gave: a page, or the reason why there is none.
    pub(super) fn take_in(
        &mut self,
        at: Timestamp,
        started: Instant,
        fetched: Result<Format, ScrapeError>,
        page: &[u8],
        scratch: &mut Scratch,
    ) {
        let mut counts = PageCounts::default();
        let format = fetched.as_ref().ok().copied().unwrap_or(Format::PrometheusText004);
        let result = fetched.and_then(|_| self.read(scratch, format, page, &mut counts));
        let outcome = Outcome {
            up: result.is_ok(),
            duration: started.elapsed(),
            scraped: counts.scraped,
            post_relabel: counts.post_relabel,
            // Nothing of a bad page is kept, so it adds nothing, however often it comes.
            series_added: if result.is_ok() { counts.series_added } else { 0 },
            body_bytes: body_bytes(&result, page),
        };
        let lost = self.append(scratch, at, format, page, &outcome, &counts);
        let duplicate = self.duplicate(scratch, format, page, &lost);
        self.log(&result, &lost, duplicate);
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
        if page.len() > BODY_BYTES_ORDINARY && format != Format::PrometheusProto && has_too_many_samples(page) {
            return Err(ScrapeError::TooManySamples(SAMPLES_PER_PAGE_MAX));
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
    pub(super) fn end(&mut self) {
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
    fn log(&mut self, result: &Result<(), ScrapeError>, rejections: &Rejections, duplicate: Option<String>) {
        let target = &self.state.target;
        if let Err(error) = result {
            let text = error.to_string();
            if self.state.last().error != text {
                tracing::warn!(url = target.url, labels = %target.labels, error = text, "scrape failed");
            }
        }
        self.shared.metrics.reject(rejections);
        let lost = rejections.text();
        if lost != self.last_lost
            && let Some(lost) = &lost
        {
            tracing::warn!(url = target.url, labels = %target.labels, lost, duplicate = duplicate.map(tracing::field::display), "samples were not kept");
        }
        self.last_lost = lost;
        self.has_duplicates = rejections.has_duplicates();
    }

    /// One of the series that were given twice, when that begins: the page may have to be read again for it.
    fn duplicate(&mut self, scratch: &mut Scratch, format: Format, page: &[u8], lost: &Rejections) -> Option<String> {
        if self.has_duplicates || !lost.has_duplicates() {
            return None;
        }
        let repeated = scratch.repeated.take();
        let labels = repeated.or_else(|| self.reader(scratch).labels_of(format, page, lost.duplicate?))?;
        let mut text = labels.to_string();
        text.truncate(text.floor_char_boundary(NAMED_BYTES_MAX));
        Some(text)
    }
}

/// Counts what was rejected and gives the series that are to be asked for again.
fn sort_out(batch: &Batch, report: &AppendReport, lost: &mut Rejections, is_last_try: bool) -> Vec<SeriesId> {
    let mut gone = Vec::new();
    for (position, rejection) in &report.rejected {
        let id = match batch.samples.get(*position) {
            Some((id, _)) => Some(*id),
            None => batch.explicit.get(position - batch.samples.len()).map(|(id, ..)| *id),
        };
        if *rejection != Rejection::UnknownSeries || is_last_try {
            lost.add(*rejection, id);
        } else {
            gone.extend(id);
        }
    }
    gone
}

/// Whether a large text has more lines that begin as samples do than a page may have: counting takes little time and
/// no memory, learning half a million new series takes much of both.
fn has_too_many_samples(page: &[u8]) -> bool {
    let starts = std::iter::once(0).chain(memchr::memchr_iter(b'\n', page).map(|end| end + 1));
    let is_sample = |start: &usize| {
        page.get(*start).is_some_and(|first| first.is_ascii_alphabetic() || matches!(first, b'_' | b':' | b'{'))
    };
    starts.filter(is_sample).nth(SAMPLES_PER_PAGE_MAX).is_some()
}

fn body_bytes(result: &Result<(), ScrapeError>, page: &[u8]) -> f64 {
    match result {
        Err(ScrapeError::Client(ClientError::BodyTooLarge { .. })) => -1.0,
        _ => page.len() as f64,
    }
}
