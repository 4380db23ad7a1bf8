//! The series that scraping writes about itself: `up` and the `scrape_*` family.

use std::time::Duration;

use super::JobSettings;
use super::sample_labels::LabelRules;
use crate::model::stale_marker;
use crate::store::{Append, GroupId, SeriesId, StoreError};

const NAMES: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];
/// With `--enable-feature=extra-scrape-metrics`.
const EXTRA_NAMES: [&str; 3] = ["scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes"];

/// One scrape in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    pub(super) up: bool,
    pub(super) duration: Duration,
    pub(super) scraped: usize,
    pub(super) post_relabel: usize,
    pub(super) series_added: usize,
    /// Bytes of the page; -1 if it was longer than allowed.
    pub(super) body_bytes: f64,
}

/// The report series of one target.
#[derive(Debug)]
pub(super) struct Report {
    extra: Option<(f64, f64)>,
    ids: Vec<SeriesId>,
}

impl Report {
    /// The report of a target with this timeout.
    pub(super) fn new(job: &JobSettings, timeout: Duration) -> Self {
        let extra = job.extra_metrics.then_some((timeout.as_secs_f64(), job.limits.samples as f64));
        Self { extra, ids: Vec::new() }
    }

    /// Appends the report to `samples`.
    pub(super) fn push(
        &mut self,
        outcome: &Outcome,
        store: &dyn Append,
        group: GroupId,
        rules: &LabelRules,
        samples: &mut Vec<(SeriesId, f64)>,
    ) -> Result<(), StoreError> {
        self.name_series(store, group, rules)?;
        let mut values = vec![
            if outcome.up { 1.0 } else { 0.0 },
            outcome.duration.as_secs_f64(),
            outcome.scraped as f64,
            outcome.post_relabel as f64,
            outcome.series_added as f64,
        ];
        if let Some((timeout, sample_limit)) = self.extra {
            values.extend([timeout, sample_limit, outcome.body_bytes]);
        }
        samples.extend(self.ids.iter().copied().zip(values));
        Ok(())
    }

    /// Appends the end of the report series, which a predecessor may have written.
    pub(super) fn push_end(
        &mut self,
        store: &dyn Append,
        group: GroupId,
        rules: &LabelRules,
        samples: &mut Vec<(SeriesId, f64)>,
    ) -> Result<(), StoreError> {
        self.name_series(store, group, rules)?;
        samples.extend(self.ids.iter().map(|id| (*id, stale_marker())));
        Ok(())
    }

    /// Whether a series is one of the report's.
    pub(super) fn contains(&self, id: SeriesId) -> bool {
        self.ids.contains(&id)
    }

    /// The store has dropped them: they are asked for anew.
    pub(super) fn forget(&mut self) {
        self.ids.clear();
    }

    fn name_series(&mut self, store: &dyn Append, group: GroupId, rules: &LabelRules) -> Result<(), StoreError> {
        if !self.ids.is_empty() {
            return Ok(());
        }
        let extra = if self.extra.is_some() { &EXTRA_NAMES[..] } else { &[] };
        let names = NAMES.iter().chain(extra);
        self.ids = names.map(|name| store.series(group, &rules.report_labels(name))).collect::<Result<_, _>>()?;
        Ok(())
    }
}
