//! A page into a batch of samples: everything or nothing.
//!
//! The whole page is read before anything is kept. New series are asked of the store only once the page has proved
//! good, so that a bad or hostile page leaves no trace: neither samples, nor series, nor cache entries.

use xxhash_rust::xxh3::Xxh3;

use super::JobSettings;
use super::bounds::SAMPLES_PER_PAGE_MAX;
use super::cache::{Found, Pass, Place, SeriesCache};
use super::error::ScrapeError;
use super::metadata::{Digest, digest_entry};
use super::sample_labels::LabelRules;
use crate::exposition::{Entry, Format, Parser, Series};
use crate::model::{Labels, MetricType, Timestamp, stale_marker};
use crate::store::{Append, GroupId, SeriesId, StoreError};

/// Stands in a batch for a series that has no id yet; no store gives it.
const NO_ID: SeriesId = SeriesId(u32::MAX);

/// How the pages of a job are read.
#[derive(Clone, Debug)]
pub(super) struct PageSettings {
    honor_timestamps: bool,
    track_timestamps_staleness: bool,
    sample_limit: u64,
}

impl PageSettings {
    /// The settings of a job.
    pub(super) fn new(job: &JobSettings) -> Self {
        Self {
            honor_timestamps: job.honor_timestamps,
            track_timestamps_staleness: job.track_timestamps_staleness,
            sample_limit: job.limits.samples,
        }
    }
}

/// What a good page held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PageCounts {
    /// `scrape_samples_scraped`
    pub(super) scraped: usize,
    /// `scrape_samples_post_metric_relabeling`
    pub(super) post_relabel: usize,
    /// `scrape_series_added`
    pub(super) series_added: usize,
    /// Samples of a series that the page had already given at the same time.
    pub(super) duplicates: usize,
    /// New series that the store had no room for.
    pub(super) refused: usize,
    /// What the page said of its families.
    pub(super) metadata: Digest,
}

/// The buffers of reading: one set serves all targets, since reading a page never waits.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pass: Pass,
    /// Samples at the scrape's time.
    pub(super) samples: Vec<(SeriesId, f64)>,
    /// Samples with a time of their own.
    pub(super) explicit: Vec<(SeriesId, Timestamp, f64)>,
    /// Positions whose series is new.
    patches: Vec<Patch>,
    /// The new series as the page spells them, one after the other.
    spellings: Vec<u8>,
    spelled: Vec<(u32, MetricType)>,
    ended: Vec<SeriesId>,
    /// The first series that the page gave twice.
    pub(super) repeated: Option<Labels>,
}

#[derive(Clone, Copy, Debug)]
struct Patch {
    position: u32,
    is_explicit: bool,
    fresh: u32,
}

impl Scratch {
    /// Forgets everything and keeps the memory that ordinary pages need.
    pub(super) fn clear(&mut self) {
        const SAMPLES_KEPT: usize = 1 << 16;
        const FRESH_KEPT: usize = 1 << 10;
        self.pass.clear();
        self.samples.clear();
        self.samples.shrink_to(SAMPLES_KEPT);
        self.explicit.clear();
        self.explicit.shrink_to(FRESH_KEPT);
        self.patches.clear();
        self.patches.shrink_to(FRESH_KEPT);
        self.spellings.clear();
        self.spellings.shrink_to(FRESH_KEPT);
        self.spelled.clear();
        self.spelled.shrink_to(FRESH_KEPT);
        self.ended.clear();
        self.ended.shrink_to(FRESH_KEPT);
        self.repeated = None;
    }
}

/// Reads the pages of one target.
pub(super) struct PageReader<'a> {
    pub(super) settings: &'a PageSettings,
    pub(super) rules: &'a LabelRules,
    pub(super) cache: &'a mut SeriesCache,
    pub(super) scratch: &'a mut Scratch,
    pub(super) store: &'a dyn Append,
    pub(super) group: GroupId,
}

impl PageReader<'_> {
    /// Reads a page: on success the scratch holds its samples and the stale markers of what has vanished. `counts`
    /// says what was read also where the page turns out to be bad.
    pub(super) fn read(&mut self, format: Format, page: &[u8], counts: &mut PageCounts) -> Result<(), ScrapeError> {
        self.scratch.clear();
        self.cache.begin(&mut self.scratch.pass);
        self.parse(format, page, counts)?;
        counts.refused = self.name_new_series();
        let scratch = &mut *self.scratch;
        self.cache.commit(&mut scratch.pass, &mut scratch.ended);
        self.push_stale_markers();
        Ok(())
    }

    /// The scrape failed: the scratch holds a stale marker for every series of the last one.
    pub(super) fn end_all(&mut self) {
        self.scratch.clear();
        self.cache.fail(&mut self.scratch.ended);
        self.push_stale_markers();
    }

    /// Reads a good page again for the series that the store has dropped meanwhile: the scratch holds their samples
    /// alone.
    pub(super) fn read_again(&mut self, format: Format, page: &[u8], gone: &[SeriesId]) -> Result<(), ScrapeError> {
        self.cache.forget(gone);
        self.read(format, page, &mut PageCounts::default())?;
        let scratch = &mut *self.scratch;
        let mut samples: Vec<(SeriesId, f64)> = Vec::new();
        let mut explicit: Vec<(SeriesId, Timestamp, f64)> = Vec::new();
        for patch in &scratch.patches {
            match patch.is_explicit {
                false => samples.extend(scratch.samples.get(patch.position as usize)),
                true => explicit.extend(scratch.explicit.get(patch.position as usize)),
            }
        }
        samples.retain(|(id, _)| *id != NO_ID);
        explicit.retain(|(id, ..)| *id != NO_ID);
        (scratch.samples, scratch.explicit) = (samples, explicit);
        Ok(())
    }

    fn parse(&mut self, format: Format, page: &[u8], counts: &mut PageCounts) -> Result<(), ScrapeError> {
        let mut metadata = Xxh3::new();
        let mut parser = Parser::new(format, page);
        loop {
            while self.take_expected(&mut parser, counts)? {}
            let Some(entry) = parser.next_entry()? else { break };
            match entry {
                Entry::Series(series) => self.take(&series, counts)?,
                // Its classic series follow; the store's batches carry floats.
                Entry::NativeHistogram(_) | Entry::Comment(_) => {}
                other => digest_entry(&mut metadata, &other),
            }
        }
        counts.metadata = metadata.digest128();
        let taken = self.scratch.samples.len() + self.scratch.explicit.len();
        if self.past_limit(taken) {
            let count = counts.post_relabel;
            return Err(ScrapeError::SampleLimit { count, limit: self.settings.sample_limit });
        }
        Ok(())
    }

    /// Takes the page's next sample if it is the expected one: its spelling need not be read.
    #[inline]
    fn take_expected(&mut self, parser: &mut Parser<'_>, counts: &mut PageCounts) -> Result<bool, ScrapeError> {
        let pass = &self.scratch.pass;
        let is_expected = |raw: &[u8]| self.cache.is_expected(pass, raw);
        let Some((value, timestamp)) = parser.expected_sample(self.cache.expected_len(pass), is_expected)? else {
            return Ok(false);
        };
        count(counts)?;
        let (timestamp, tracked) = self.time(timestamp);
        let found = self.cache.take_expected(&mut self.scratch.pass, tracked);
        self.take_known(found, timestamp, value, counts);
        Ok(true)
    }

    #[inline]
    fn take(&mut self, series: &Series<'_>, counts: &mut PageCounts) -> Result<(), ScrapeError> {
        count(counts)?;
        let (timestamp, tracked) = self.time(series.timestamp);
        match self.cache.find(&mut self.scratch.pass, series.raw, tracked) {
            Found::New(hash) => {
                if let Some(fresh) = self.take_new(series, hash, tracked)? {
                    counts.series_added += 1;
                    counts.post_relabel += 1;
                    self.push(NO_ID, timestamp, series.value, Some(fresh));
                }
            }
            found => {
                let is_first = counts.duplicates == 0;
                self.take_known(found, timestamp, series.value, counts);
                if is_first && counts.duplicates > 0 {
                    self.scratch.repeated = self.rules.apply(series.labels()).ok().flatten();
                }
            }
        }
        Ok(())
    }

    /// The labels that a good page gives a series of the store: for the log, where it has given two samples of it.
    pub(super) fn labels_of(&self, format: Format, page: &[u8], wanted: SeriesId) -> Option<Labels> {
        let mut parser = Parser::new(format, page);
        while let Ok(Some(entry)) = parser.next_entry() {
            let Entry::Series(series) = entry else { continue };
            let Ok(Some(labels)) = self.rules.apply(series.labels()) else { continue };
            if self.store.series(self.group, &labels).is_ok_and(|id| id == wanted) {
                return Some(labels);
            }
        }
        None
    }

    /// The sample's own time, if it counts, and whether the end of its series is noticed.
    #[inline]
    fn time(&self, timestamp: Option<i64>) -> (Option<Timestamp>, bool) {
        let timestamp = timestamp.filter(|_| self.settings.honor_timestamps).map(Timestamp);
        (timestamp, timestamp.is_none() || self.settings.track_timestamps_staleness)
    }

    /// Takes a sample of a series that is not new.
    #[inline]
    fn take_known(&mut self, found: Found, timestamp: Option<Timestamp>, value: f64, counts: &mut PageCounts) {
        let (id, fresh) = match found {
            Found::Known(id) => (id, None),
            Found::Dropped | Found::New(_) => return,
            Found::Again(..) if timestamp.is_none() => {
                // The first one counts.
                counts.duplicates += 1;
                counts.post_relabel += 1;
                return;
            }
            Found::Again(id, Place::Fresh(fresh)) => (id.unwrap_or(NO_ID), Some(fresh)),
            Found::Again(id, Place::Entry(_)) => (id.unwrap_or(NO_ID), None),
        };
        counts.post_relabel += 1;
        self.push(id, timestamp, value, fresh);
    }

    /// Checks the labels of a new series and notes its spelling; `None` if relabeling drops it.
    #[cold]
    fn take_new(&mut self, series: &Series<'_>, hash: u64, tracked: bool) -> Result<Option<u32>, ScrapeError> {
        let dropped = self.rules.apply(series.labels())?.is_none();
        let scratch = &mut *self.scratch;
        let place = self.cache.add(&mut scratch.pass, hash, series.raw, dropped, tracked);
        if !dropped {
            scratch.spellings.extend_from_slice(series.raw);
        }
        let end = u32::try_from(scratch.spellings.len()).expect("a page is shorter than 4 GB");
        scratch.spelled.push((end, series.metric_type));
        match place {
            Place::Fresh(at) if !dropped => Ok(Some(at)),
            _ => Ok(None),
        }
    }

    #[inline]
    fn push(&mut self, id: SeriesId, timestamp: Option<Timestamp>, value: f64, fresh: Option<u32>) {
        let scratch = &mut *self.scratch;
        let limit = self.settings.sample_limit;
        if limit > 0 && (scratch.samples.len() + scratch.explicit.len()) as u64 > limit {
            // Past the limit samples are only counted.
            return;
        }
        let position = match timestamp {
            Some(timestamp) => {
                scratch.explicit.push((id, timestamp, value));
                scratch.explicit.len() - 1
            }
            None => {
                scratch.samples.push((id, value));
                scratch.samples.len() - 1
            }
        };
        if let Some(fresh) = fresh {
            let is_explicit = timestamp.is_some();
            scratch.patches.push(Patch { position: position as u32, is_explicit, fresh });
        }
    }

    fn past_limit(&self, count: usize) -> bool {
        self.settings.sample_limit > 0 && count as u64 > self.settings.sample_limit
    }

    /// Asks the store for the new series and gives how many it refused.
    fn name_new_series(&mut self) -> usize {
        if self.scratch.pass.fresh.is_empty() {
            return 0;
        }
        let mut refused = 0;
        for at in 0..self.scratch.pass.fresh.len() {
            if self.scratch.pass.fresh[at].dropped {
                continue;
            }
            match self.new_series(at) {
                Ok(id) => self.scratch.pass.fresh[at].id = Some(id),
                Err(_) => refused += 1,
            }
        }
        let scratch = &mut *self.scratch;
        for patch in &scratch.patches {
            let id = scratch.pass.fresh[patch.fresh as usize].id.unwrap_or(NO_ID);
            match patch.is_explicit {
                false => scratch.samples[patch.position as usize].0 = id,
                true => scratch.explicit[patch.position as usize].0 = id,
            }
        }
        if refused > 0 {
            // Positions are no longer needed.
            scratch.patches.clear();
            scratch.samples.retain(|(id, _)| *id != NO_ID);
            scratch.explicit.retain(|(id, ..)| *id != NO_ID);
        }
        refused
    }

    fn new_series(&self, at: usize) -> Result<SeriesId, StoreError> {
        let start = at.checked_sub(1).map_or(0, |before| self.scratch.spelled[before].0) as usize;
        let (end, metric_type) = self.scratch.spelled[at];
        let raw = &self.scratch.spellings[start..end as usize];
        let series = Series { raw, value: 0.0, timestamp: None, exemplar: None, metric_type };
        // The same rules took it a moment ago. Doing it twice costs the first page a little time, and saves holding
        // all of its labels at once.
        let labels = self.rules.apply(series.labels()).ok().flatten().unwrap_or_else(Labels::empty);
        self.store.series(self.group, &labels)
    }

    fn push_stale_markers(&mut self) {
        let scratch = &mut *self.scratch;
        scratch.samples.extend(scratch.ended.iter().map(|id| (*id, stale_marker())));
    }
}

/// Counts a sample of the page.
#[inline]
fn count(counts: &mut PageCounts) -> Result<(), ScrapeError> {
    counts.scraped += 1;
    if counts.scraped > SAMPLES_PER_PAGE_MAX {
        return Err(ScrapeError::TooManySamples(SAMPLES_PER_PAGE_MAX));
    }
    Ok(())
}
