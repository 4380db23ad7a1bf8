//! What scraping counts of itself.

use crate::model::MetricType;
use crate::store::{Rejection, SeriesId};
use crate::telemetry::{Counter, Registry};

/// Why samples of good pages were not kept, in the words of the `reason` label.
const REASONS: [&str; 7] =
    ["duplicate", "out_of_order", "too_old", "too_far_ahead", "unknown_series", "store_full", "series_limit"];

/// The counters. Cloning shares them.
#[derive(Clone, Debug)]
pub(super) struct ScrapeMetrics {
    pub(super) scrapes: Counter,
    pub(super) failures: Counter,
    pub(super) samples: Counter,
    rejected: [Counter; REASONS.len()],
}

impl ScrapeMetrics {
    /// Adds the counters to the registry.
    pub(super) fn new(registry: &Registry) -> Self {
        let rejected: [Counter; REASONS.len()] = std::array::from_fn(|_| Counter::default());
        let shown = rejected.clone();
        registry.family(
            "outpost_scrape_samples_rejected_total",
            "Samples of good pages that were not kept.",
            MetricType::Counter,
            move |emit| {
                for (reason, counter) in REASONS.iter().zip(&shown) {
                    emit(&[("reason", reason)], counter.value() as f64);
                }
            },
        );
        Self {
            scrapes: registry.counter("outpost_scrapes_total", "Scrapes that ended, well or not."),
            failures: registry.counter("outpost_scrape_failures_total", "Scrapes that ended with the target down."),
            samples: registry.counter("outpost_scrape_samples_appended_total", "Samples given to the store and taken."),
            rejected,
        }
    }

    /// Counts samples of one page.
    pub(super) fn reject(&self, rejections: &Rejections) {
        for (counter, count) in self.rejected.iter().zip(rejections.counts) {
            counter.add(count);
        }
    }
}

/// What one scrape lost, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rejections {
    counts: [u64; REASONS.len()],
    /// The first series that the store was given two samples of.
    pub(super) duplicate: Option<SeriesId>,
}

impl Rejections {
    /// Notes a sample that the store did not take.
    pub(super) fn add(&mut self, rejection: Rejection, series: Option<SeriesId>) {
        let reason = match rejection {
            Rejection::DuplicateTimestamp => 0,
            Rejection::OutOfOrder => 1,
            Rejection::TooOld => 2,
            Rejection::TooFarAhead => 3,
            Rejection::UnknownSeries => 4,
            Rejection::Full => 5,
        };
        self.counts[reason] += 1;
        if rejection == Rejection::DuplicateTimestamp {
            self.duplicate = self.duplicate.or(series);
        }
    }

    /// Notes samples that a page gave twice.
    pub(super) fn add_duplicates(&mut self, count: usize) {
        self.counts[0] += count as u64;
    }

    /// Notes new series that the store had no room for.
    pub(super) fn add_refused(&mut self, count: usize) {
        self.counts[6] += count as u64;
    }

    /// Whether a series was given twice.
    pub(super) fn has_duplicates(&self) -> bool {
        self.counts[0] > 0
    }

    /// The reasons that occurred, as one text; `None` if nothing was lost.
    pub(super) fn text(&self) -> Option<String> {
        let lost = REASONS.iter().zip(self.counts).filter(|(_, count)| *count > 0);
        let parts: Vec<String> = lost.map(|(reason, count)| format!("{reason}={count}")).collect();
        (!parts.is_empty()).then(|| parts.join(" "))
    }
}
