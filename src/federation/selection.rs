//! Which samples a puller is given.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::exposition::ResponseFormat;
use crate::model::{Labels, Matcher, MetadataLookup, TimeRange, Timestamp};
use crate::promql::{ParseError, parse_wide_selector};
use crate::store::{ReadOptions, Select, StoreError};
use crate::telemetry::Registry;

use super::connection::ConnectionFacts;
use super::cursor_store::CursorStore;
use super::page::{self, FederationPage};
use super::resync::{PullerStatus, Pullers, ResyncRequest};

/// A request that cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum FederationError {
    /// A selector is not one.
    #[error(transparent)]
    Selector(#[from] ParseError),
    /// Samples wait for the time of day: a cursor would move past them.
    #[error("the time of day is not known yet, and samples wait for it: resync goes on once they are stored")]
    TimeUnknown,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Answers pullers.
pub struct Federation {
    store: Arc<dyn Select>,
    metadata: Arc<dyn MetadataLookup>,
    lookback: Duration,
    pullers: Pullers,
    is_waiting: Box<dyn Fn() -> bool + Send + Sync>,
}

/// What a puller asks for.
#[derive(Clone, Debug)]
pub struct FederationRequest {
    selectors: Vec<Vec<Matcher>>,
    /// When it asks.
    pub now: Timestamp,
    /// How it wants the page.
    pub format: ResponseFormat,
    /// What is added where absent.
    pub external_labels: Labels,
}

impl FederationRequest {
    /// Reads the selectors of a request, `match[]`.
    pub fn new<'a>(
        selectors: impl IntoIterator<Item = &'a str>,
        now: Timestamp,
        format: ResponseFormat,
        external_labels: Labels,
    ) -> Result<Self, ParseError> {
        let selectors = selectors.into_iter().map(parse_wide_selector).collect::<Result<_, _>>()?;
        Ok(Self { selectors, now, format, external_labels })
    }
}

impl Federation {
    /// `lookback`: how old a series' newest sample may be (`--query.lookback-delta`). `cursors` are
    /// read at once: call it from a blocking thread. `resync_samples_max` bounds a resync reply; see
    /// [`RESYNC_SAMPLES_MAX`](super::RESYNC_SAMPLES_MAX). Cursors that stand after `now` come back to it.
    pub fn new(
        store: Arc<dyn Select>,
        metadata: Arc<dyn MetadataLookup>,
        lookback: Duration,
        cursors: Box<dyn CursorStore>,
        resync_samples_max: usize,
        now: Timestamp,
    ) -> Self {
        let pullers = Pullers::load(cursors, resync_samples_max, now);
        Self { store, metadata, lookback, pullers, is_waiting: Box::new(|| false) }
    }

    /// Samples may come into the store so long after the time they bear, and are given even so: two minutes at least, an
    /// hour at most.
    pub fn allow_lateness(&self, lateness: Duration) {
        self.pullers.allow_lateness(lateness);
    }

    /// Refuses resync while `is_waiting` says that the store lacks samples that it will be given. It may block.
    pub fn waiting_while(self, is_waiting: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { is_waiting: Box::new(is_waiting), ..self }
    }

    /// Adds the pullers' state to the own metrics.
    pub fn register(&self, registry: &Registry, clock: Clock) {
        self.pullers.register(registry, clock);
    }

    /// All resync pullers as they stood after their last request, sorted.
    pub fn pullers(&self) -> Vec<PullerStatus> {
        self.pullers.status()
    }

    /// Every sample since what this puller was last given, within the bound of a reply. Like
    /// [`Federation::newest`] otherwise.
    pub fn since_last(
        &self,
        request: &FederationRequest,
        resync: &ResyncRequest,
        facts: ConnectionFacts,
        options: &ReadOptions,
    ) -> Result<FederationPage, FederationError> {
        if (self.is_waiting)() {
            return Err(FederationError::TimeUnknown);
        }
        let sets = &request.selectors;
        let given = self.pullers.next(
            resync,
            self.store.as_ref(),
            sets,
            request.now,
            facts,
            (options, page::external_bytes(&request.external_labels)),
        )?;
        let page = FederationPage::new(given.series, self.metadata.as_ref(), request.format, &request.external_labels);
        Ok(page.telling(given.taken_flag))
    }

    /// The newest sample of every selected series, as of one instant. Reads the store: call it from
    /// a blocking thread. `options` gives deadline and cancellation; its range is not looked at.
    pub fn newest(
        &self,
        request: &FederationRequest,
        options: &ReadOptions,
    ) -> Result<FederationPage, FederationError> {
        let range = TimeRange { start: request.now - self.lookback, end: request.now };
        let samples = match request.selectors.as_slice() {
            // No set would mean all series to the store; a puller that names none gets none.
            [] => Vec::new(),
            sets => self.store.newest(sets, &ReadOptions { range, ..options.clone() })?,
        };
        let samples = samples.into_iter().map(|sample| (sample.labels, [(sample.timestamp, sample.value)]));
        Ok(FederationPage::new(samples, self.metadata.as_ref(), request.format, &request.external_labels))
    }
}
