//! One job: what discovery finds becomes targets, each with a loop; what vanishes is ended.
//!
//! The pool's task owns the loops. A change of settings keeps the targets that stay: their loops are replaced, and
//! the new ones go on with the old ones' caches, so that nothing has a gap and what the new settings drop is ended.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::bounds::{DROPPED_TARGETS_KEPT, TARGETS_PER_JOB_MAX};
use super::cache::SeriesCache;
use super::fetch::{CollectorFetch, Fetch, HttpFetch};
use super::manager::Environment;
use super::scrape_loop::{LastScrape, ScrapeLoop, Shared, Stop, TargetState};
use super::target::{Outcome, Target, collector_group, make_target};
use super::{JobSettings, JobSource};
use crate::client::Client;
use crate::collect::{Collector, CollectorSettings};
use crate::discovery::{Discovery, DiscoveryError, DiscoverySettings, TargetGroup};
use crate::model::Labels;

/// How long the end of one loop is waited for: appending its markers takes no time to speak of.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// What the pool's task is told.
pub(super) enum Command {
    /// Go on with other settings.
    Reload(Box<Prepared>),
    /// End all targets.
    Stop,
}

/// Settings whose client and discovery have proved usable.
pub(super) struct Prepared {
    job: Arc<JobSettings>,
    source: Source,
    discovery: Discovery,
}

enum Source {
    Http(Client),
    Collector(Arc<dyn Collector>),
}

/// What others may see of a pool.
#[derive(Debug, Default)]
pub(super) struct PoolView {
    pub(super) active: Vec<Arc<TargetState>>,
    pub(super) dropped: Vec<Labels>,
    pub(super) dropped_count: usize,
}

/// A running pool.
pub(super) struct PoolHandle {
    pub(super) job: Arc<JobSettings>,
    pub(super) view: Arc<Mutex<PoolView>>,
    commands: mpsc::Sender<Command>,
    task: JoinHandle<()>,
}

impl Prepared {
    /// Makes client and discovery of a job.
    pub(super) fn new(job: JobSettings, environment: &Environment) -> Result<Self, DiscoveryError> {
        let (source, discovery) = match &job.source {
            JobSource::Http { discovery, client } => {
                let client = Client::new(client)?;
                (Source::Http(client), Discovery::start(discovery, &environment.discovery_failures)?)
            }
            JobSource::Collector(settings) => {
                let group = collector_group(collector_name(settings), &environment.host);
                let discovery = [DiscoverySettings::Static(group)];
                let collector = (environment.collectors)(settings);
                (Source::Collector(collector), Discovery::start(&discovery, &environment.discovery_failures)?)
            }
        };
        Ok(Self { job: Arc::new(job), source, discovery })
    }
}

impl PoolHandle {
    /// Starts a pool.
    pub(super) fn start(prepared: Prepared, environment: &Environment) -> Self {
        let (commands, receiver) = mpsc::channel(4);
        let view = Arc::new(Mutex::new(PoolView::default()));
        let job = Arc::clone(&prepared.job);
        let pool = Pool {
            shared: environment.shared.clone(),
            seed: environment.seed,
            job: Arc::clone(&job),
            source: prepared.source,
            discovery: prepared.discovery,
            running: HashMap::new(),
            outdated: false,
            refusal: Arc::default(),
            view: Arc::clone(&view),
        };
        Self { job, view, commands, task: tokio::spawn(pool.run(receiver)) }
    }

    /// Goes on with other settings.
    pub(super) async fn reload(&mut self, prepared: Prepared) {
        self.job = Arc::clone(&prepared.job);
        // The pool's task ends only after a stop.
        let _ = self.commands.send(Command::Reload(Box::new(prepared))).await;
    }

    /// Ends all targets.
    pub(super) async fn stop(self) {
        let _ = self.commands.send(Command::Stop).await;
        let _ = self.task.await;
    }
}

struct Pool {
    shared: Shared,
    seed: u64,
    job: Arc<JobSettings>,
    source: Source,
    discovery: Discovery,
    running: HashMap<u64, Running>,
    /// The running loops still have the settings of before.
    outdated: bool,
    refusal: Arc<Mutex<Option<(usize, u64)>>>,
    view: Arc<Mutex<PoolView>>,
}

struct Running {
    state: Arc<TargetState>,
    job: Arc<JobSettings>,
    stop: oneshot::Sender<Stop>,
    task: JoinHandle<SeriesCache>,
}

/// What the groups come to.
#[derive(Default)]
struct Found {
    targets: BTreeMap<u64, Target>,
    dropped: Vec<Labels>,
    dropped_count: usize,
}

impl Pool {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(Command::Reload(prepared)) => self.reload(*prepared),
                    Some(Command::Stop) | None => break,
                },
                groups = self.discovery.next() => self.sync(&groups).await,
            }
        }
        let running = std::mem::take(&mut self.running);
        end_all(running.into_values().collect()).await;
        *self.lock_view() = PoolView::default();
    }

    /// The old loops go on until the new settings' targets are known.
    fn reload(&mut self, prepared: Prepared) {
        self.job = prepared.job;
        self.source = prepared.source;
        self.discovery = prepared.discovery;
        self.outdated = true;
    }

    /// Makes the running loops those of the given groups.
    async fn sync(&mut self, groups: &[TargetGroup]) {
        let found = self.find_targets(groups);
        self.check_limit(found.targets.len());
        let gone: Vec<u64> = self.running.keys().filter(|key| !found.targets.contains_key(key)).copied().collect();
        let gone = gone.iter().filter_map(|key| self.running.remove(key)).collect();
        end_all(gone).await;
        for (key, target) in found.targets {
            match self.running.remove(&key) {
                Some(running) if !self.outdated && running.state.target == target => {
                    self.running.insert(key, running);
                }
                Some(running) => self.replace(key, running, target).await,
                None => self.start(key, target, new_cache(), LastScrape::default()),
            }
        }
        self.outdated = false;
        self.show(found.dropped, found.dropped_count);
    }

    fn find_targets(&self, groups: &[TargetGroup]) -> Found {
        let mut found = Found::default();
        let kept = match self.job.limits.keep_dropped_targets {
            0 => DROPPED_TARGETS_KEPT,
            limit => usize::try_from(limit).unwrap_or(usize::MAX).min(DROPPED_TARGETS_KEPT),
        };
        for group in groups {
            for own in &group.targets {
                match make_target(&self.job, group, own) {
                    Ok(Outcome::Kept(target)) if found.targets.len() < TARGETS_PER_JOB_MAX => {
                        found.targets.insert(target.key(), target);
                    }
                    Ok(Outcome::Kept(target)) => {
                        let (job, max) = (&self.job.job_name, TARGETS_PER_JOB_MAX);
                        tracing::error!(job, url = target.url, max, "too many targets in one job");
                    }
                    Ok(Outcome::Dropped(labels)) => {
                        found.dropped_count += 1;
                        if found.dropped.len() < kept {
                            found.dropped.push(labels);
                        }
                    }
                    Err(error) => {
                        let (job, labels) = (&self.job.job_name, own.to_string());
                        tracing::error!(job, group = group.source, labels, %error, "a target cannot be scraped");
                    }
                }
            }
        }
        found
    }

    /// Past `target_limit` all targets of the job fail.
    fn check_limit(&self, count: usize) {
        let limit = self.job.limits.targets;
        let refusal = (limit > 0 && count as u64 > limit).then_some((count, limit));
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = refusal;
    }

    /// Another loop takes over a target, with its predecessor's cache.
    async fn replace(&mut self, key: u64, running: Running, target: Target) {
        let keeps_spellings = same_series(&running.job, &self.job);
        let _ = running.stop.send(Stop::HandOver);
        let mut cache = match tokio::time::timeout(STOP_TIMEOUT, running.task).await {
            Ok(Ok(cache)) => cache,
            _ => new_cache(),
        };
        if !keeps_spellings {
            cache.forget_spellings();
        }
        self.start(key, target, cache, running.state.last());
    }

    fn start(&mut self, key: u64, target: Target, cache: SeriesCache, last: LastScrape) {
        let name = format!("{} {}", self.job.job_name, target.labels);
        let group = match self.shared.store.group(&name) {
            Ok(group) => group,
            Err(error) => {
                let (job, url) = (&self.job.job_name, &target.url);
                tracing::error!(job, url, %error, "a target cannot be scraped");
                return;
            }
        };
        let fetcher: Box<dyn Fetch> = match &self.source {
            Source::Http(client) => Box::new(HttpFetch::new(client, &self.job, &target, &self.shared.pages)),
            Source::Collector(collector) => Box::new(CollectorFetch::new(Arc::clone(collector), target.timeout)),
        };
        let offset = target.offset(self.shared.clock.now(), self.seed);
        let state = Arc::new(TargetState::new(target, last));
        let refusal = Arc::clone(&self.refusal);
        let shared = self.shared.clone();
        let scrape_loop = ScrapeLoop::new(shared, &self.job, Arc::clone(&state), fetcher, cache, refusal, group);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(scrape_loop.run(offset, stopped));
        self.running.insert(key, Running { state, job: Arc::clone(&self.job), stop, task });
    }

    fn show(&self, dropped: Vec<Labels>, dropped_count: usize) {
        let mut active: Vec<Arc<TargetState>> = self.running.values().map(|one| Arc::clone(&one.state)).collect();
        active.sort_by(|a, b| (&a.target.labels, &a.target.url).cmp(&(&b.target.labels, &b.target.url)));
        *self.lock_view() = PoolView { active, dropped, dropped_count };
    }

    fn lock_view(&self) -> MutexGuard<'_, PoolView> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name of a collector in `scrape_configs` and in its address.
fn collector_name(settings: &CollectorSettings) -> &'static str {
    match settings {
        CollectorSettings::Node(_) => "node",
        CollectorSettings::Docker(_) => "docker",
        CollectorSettings::Own => "outpost",
    }
}

/// Whether a line of the page means the same series under both settings.
fn same_series(old: &JobSettings, new: &JobSettings) -> bool {
    old.honor_labels == new.honor_labels
        && old.metric_relabel_rules == new.metric_relabel_rules
        && old.legacy_names_only == new.legacy_names_only
        && old.limits == new.limits
}

async fn end_all(loops: Vec<Running>) {
    let mut ending = Vec::new();
    for running in loops {
        let _ = running.stop.send(Stop::End);
        ending.push((running.state, running.task));
    }
    for (state, task) in ending {
        if tokio::time::timeout(STOP_TIMEOUT, task).await.is_err() {
            tracing::error!(url = state.target.url, "a scrape did not end in time");
        }
    }
}

/// The key of a cache is random, so that no target can choose colliding names.
fn new_cache() -> SeriesCache {
    SeriesCache::new(RandomState::new().build_hasher().finish())
}
