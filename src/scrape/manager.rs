//! All jobs: started, reloaded, stopped, shown.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::metadata::{MetadataTable, Tables};
use super::metrics::ScrapeMetrics;
use super::page::Scratch;
use super::pages::Pages;
use super::pool::{PoolHandle, PoolView, Prepared};
use super::scrape_loop::{Shared, TargetState};
use super::target::{global_url, offset_seed};
use super::{Alarm, DroppedTarget, JobSettings, PoolStatus, TargetMetadata, TargetStatus, TargetsView};
use crate::clock::Clock;
use crate::collect::{Collector, CollectorSettings};
use crate::discovery::DiscoveryError;
use crate::model::{Labels, Matcher, MetadataLookup, MetricType};
use crate::store::Append;
use crate::telemetry::{Counter, Registry};

/// Makes a collector for its settings.
pub type CollectorFactory = Arc<dyn Fn(&CollectorSettings) -> Arc<dyn Collector> + Send + Sync>;

/// What scraping needs from outside.
#[derive(Clone)]
pub struct ScrapeDeps {
    /// Where samples go.
    pub store: Arc<dyn Append>,
    /// The time of day.
    pub clock: Clock,
    /// Wakes scrapes.
    pub alarm: Alarm,
    /// Makes the built-in collectors.
    pub collectors: CollectorFactory,
    /// Where scraping's own metrics are shown.
    pub registry: Registry,
    /// This host's name: the `instance` of the built-in collectors.
    pub host: String,
}

/// Jobs whose clients and discoveries have proved usable; nothing has changed yet.
pub struct PreparedJobs {
    names: Vec<String>,
    changed: Vec<(String, Prepared)>,
    seed: u64,
}

/// A job that cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("scrape job {job:?}: {source}")]
pub struct JobError {
    /// The job.
    pub job: String,
    /// What is wrong with it.
    pub source: DiscoveryError,
}

/// Runs the scrape jobs. Cloning shares it.
#[derive(Clone)]
pub struct ScrapeManager(Arc<Inner>);

struct Inner {
    environment: Environment,
    /// Held while jobs are started and stopped, one reload at a time.
    pools: tokio::sync::Mutex<BTreeMap<String, PoolHandle>>,
    /// What can be seen without waiting for a reload.
    views: Mutex<BTreeMap<String, Arc<Mutex<PoolView>>>>,
}

/// What pools are made with.
pub(super) struct Environment {
    pub(super) shared: Shared,
    pub(super) collectors: CollectorFactory,
    pub(super) host: String,
    /// What spreads the scrapes; changes with the external labels.
    pub(super) seed: AtomicU64,
    pub(super) discovery_failures: Counter,
}

impl ScrapeManager {
    /// A manager without jobs: [`apply`](Self::apply) starts them.
    pub fn new(deps: ScrapeDeps) -> Self {
        let registry = &deps.registry;
        let shared = Shared {
            store: deps.store,
            clock: deps.clock,
            alarm: deps.alarm,
            pages: Pages::new(),
            scratch: Arc::new(Mutex::new(Scratch::default())),
            tables: Tables::default(),
            metrics: ScrapeMetrics::new(registry),
        };
        let discovery_failures =
            registry.counter("outpost_scrape_discovery_failures_total", "Refreshes of scrape targets that failed.");
        let seed = AtomicU64::new(0);
        let environment =
            Environment { shared, collectors: deps.collectors, host: deps.host, seed, discovery_failures };
        let manager = Self(Arc::new(Inner { environment, pools: Default::default(), views: Mutex::default() }));
        manager.register(registry);
        manager
    }

    /// Checks jobs and makes what they need. `external_labels` decide, with the host's name, when within its interval
    /// each target is scraped.
    pub async fn prepare(&self, jobs: Vec<JobSettings>, external_labels: &Labels) -> Result<PreparedJobs, JobError> {
        let pools = self.0.pools.lock().await;
        let names: Vec<String> = jobs.iter().map(|job| job.job_name.clone()).collect();
        let mut changed = Vec::new();
        for job in jobs {
            if pools.get(&job.job_name).is_some_and(|pool| *pool.job == job) {
                continue;
            }
            let name = job.job_name.clone();
            let made = Prepared::new(job, &self.0.environment);
            changed.push((name.clone(), made.map_err(|source| JobError { job: name, source })?));
        }
        Ok(PreparedJobs { names, changed, seed: offset_seed(&self.0.environment.host, external_labels) })
    }

    /// Makes the prepared jobs the running ones. Jobs that stay as they are go on undisturbed; of those that changed,
    /// targets that stay go on under the new settings; the series of what is gone end. Other external labels move
    /// every target to another moment of its interval.
    pub async fn apply(&self, prepared: PreparedJobs) {
        let mut pools = self.0.pools.lock().await;
        let moved = self.0.environment.seed.swap(prepared.seed, Ordering::Relaxed) != prepared.seed;
        let gone: Vec<String> = pools.keys().filter(|name| !prepared.names.contains(name)).cloned().collect();
        for name in gone {
            if let Some(pool) = pools.remove(&name) {
                pool.stop().await;
            }
        }
        if moved {
            for pool in pools.values() {
                pool.move_slots(prepared.seed).await;
            }
        }
        for (name, prepared) in prepared.changed {
            match pools.get_mut(&name) {
                Some(pool) => pool.reload(prepared).await,
                None => drop(pools.insert(name, PoolHandle::start(prepared, &self.0.environment))),
            }
        }
        *self.0.lock_views() = pools.iter().map(|(name, pool)| (name.clone(), Arc::clone(&pool.view))).collect();
    }

    /// Stops all jobs; every series gets its stale marker. Takes a few seconds at most.
    pub async fn stop(&self) {
        let pools = std::mem::take(&mut *self.0.pools.lock().await);
        let mut stopping = tokio::task::JoinSet::new();
        for pool in pools.into_values() {
            stopping.spawn(pool.stop());
        }
        while stopping.join_next().await.is_some() {}
        self.0.lock_views().clear();
    }

    fn register(&self, registry: &Registry) {
        // Weak: the registry outlives the manager.
        let inner = Arc::downgrade(&self.0);
        registry.family("outpost_scrape_targets", "Targets by job and health.", MetricType::Gauge, move |emit| {
            let Some(inner) = inner.upgrade() else { return };
            for (job, targets) in inner.active() {
                for health in ["up", "down", "unknown"] {
                    let count = targets.iter().filter(|target| target.last().health.as_str() == health).count();
                    emit(&[("job", &job), ("health", health)], count as f64);
                }
            }
        });
    }
}

impl Inner {
    fn lock_views(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Mutex<PoolView>>>> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The targets of each job.
    fn active(&self) -> Vec<(String, Vec<Arc<TargetState>>)> {
        let views = self.lock_views();
        views.iter().map(|(job, view)| (job.clone(), lock(view).active.clone())).collect()
    }

    /// The tables of all targets, each once.
    fn tables(&self) -> Vec<Arc<MetadataTable>> {
        let mut tables: Vec<Arc<MetadataTable>> = Vec::new();
        for target in self.active().into_iter().flat_map(|(_, targets)| targets) {
            let table = target.last().metadata;
            if !tables.iter().any(|known| Arc::ptr_eq(known, &table)) {
                tables.push(table);
            }
        }
        tables
    }

    fn status(&self, job: &str, state: &TargetState) -> TargetStatus {
        let (target, last) = (&state.target, state.last());
        TargetStatus {
            discovered_labels: target.discovered.clone(),
            labels: target.labels.clone(),
            job_name: job.to_owned(),
            scrape_url: target.url.clone(),
            global_url: global_url(&target.url, &self.environment.host),
            last_error: last.error,
            last_scrape: last.at,
            last_scrape_duration: last.duration,
            health: last.health,
            scrape_interval: target.interval,
            scrape_timeout: target.timeout,
        }
    }
}

impl TargetsView for ScrapeManager {
    fn pools(&self) -> Vec<PoolStatus> {
        let views = self.0.lock_views();
        let statuses = views.iter().map(|(job, view)| {
            let view = lock(view);
            let dropped = view.dropped.iter();
            PoolStatus {
                job_name: job.clone(),
                active: view.active.iter().map(|state| self.0.status(job, state)).collect(),
                dropped: dropped
                    .map(|labels| DroppedTarget { discovered_labels: labels.clone(), job_name: job.clone() })
                    .collect(),
                dropped_count: view.dropped_count,
            }
        });
        statuses.collect()
    }

    fn target_metadata(&self, matchers: &[Matcher], metric: Option<&str>, limit: Option<usize>) -> Vec<TargetMetadata> {
        let limit = limit.unwrap_or(usize::MAX);
        let mut found = Vec::new();
        for state in self.0.active().into_iter().flat_map(|(_, targets)| targets) {
            let labels = &state.target.labels;
            if !matchers.iter().all(|matcher| matcher.matches_labels(labels)) {
                continue;
            }
            let table = state.last().metadata;
            let wanted = table.iter().filter(|(family, _)| metric.is_none_or(|metric| metric == *family));
            found.extend(wanted.take(limit - found.len()).map(|(family, metadata)| TargetMetadata {
                target: labels.clone(),
                metric: family.to_owned(),
                metadata: metadata.clone(),
            }));
        }
        found
    }
}

impl MetadataLookup for ScrapeManager {
    fn metric_type(&self, metric_name: &str) -> Option<(MetricType, String)> {
        let tables = self.0.tables();
        tables.iter().find_map(|table| table.metric_type(metric_name).map(|(kind, family)| (kind, family.to_owned())))
    }
}

fn lock(view: &Mutex<PoolView>) -> MutexGuard<'_, PoolView> {
    view.lock().unwrap_or_else(PoisonError::into_inner)
}
