//! One job: what discovery finds becomes targets, each with a loop; what vanishes is ended.
//!
//! The pool's task owns the loops. A change of settings keeps the targets that stay: their loops are replaced, and
//! the new ones go on with the old ones' caches, so that nothing has a gap and what the new settings drop is ended.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::bounds::{DROPPED_TARGETS_KEPT, TARGETS_PER_JOB_MAX};
use super::cache::SeriesCache;
use super::fetch::{CollectorFetch, Fetch, HttpFetch};
use super::manager::Environment;
use super::scrape_loop::{HAND_OVER_PATIENCE, LastScrape, ScrapeLoop, Shared, Stop, TargetState};
use super::target::{Outcome, Target, collector_group, make_target};
use super::{JobSettings, JobSource};
use crate::client::Client;
use crate::collect::probe::Prober;
use crate::collect::{Collector, CollectorSettings};
use crate::discovery::{Discovery, DiscoveryError, DiscoverySettings, TargetGroup};
use crate::model::Labels;

/// How long the end of one loop is waited for: appending its markers takes no time to speak of.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a loop's cache is waited for.
const HAND_OVER_TIMEOUT: Duration = HAND_OVER_PATIENCE.saturating_add(STOP_TIMEOUT);

/// What the pool's task is told.
pub(super) enum Command {
    /// Go on with other settings.
    Reload(Box<Prepared>),
    /// Scrape at the moments that another seed gives.
    MoveSlots(u64),
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
    Probes(Prober),
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
            JobSource::Probes { discovery, settings } => {
                let prober = Prober::new(settings)?;
                (Source::Probes(prober), Discovery::start(discovery, &environment.discovery_failures)?)
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
            seed: environment.seed.load(Ordering::Relaxed),
            job: Arc::clone(&job),
            source: prepared.source,
            discovery: prepared.discovery,
            running: HashMap::new(),
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

    /// Goes on at other moments.
    pub(super) async fn move_slots(&self, seed: u64) {
        let _ = self.commands.send(Command::MoveSlots(seed)).await;
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
    refusal: Arc<Mutex<Option<(usize, u64)>>>,
    view: Arc<Mutex<PoolView>>,
}

struct Running {
    state: Arc<TargetState>,
    job: Arc<JobSettings>,
    stop: oneshot::Sender<Stop>,
    task: JoinHandle<Option<SeriesCache>>,
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
                    Some(Command::MoveSlots(seed)) => self.move_slots(seed).await,
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
    }

    async fn move_slots(&mut self, seed: u64) {
        self.seed = seed;
        let running = std::mem::take(&mut self.running).into_iter();
        self.replace_all(running.map(|(key, running)| (key, running.state.target.clone(), running)).collect()).await;
        self.show_active();
    }

    /// Makes the running loops those of the given groups.
    async fn sync(&mut self, groups: &[TargetGroup]) {
        let found = self.find_targets(groups);
        self.check_limit(found.targets.len());
        let gone: Vec<u64> = self.running.keys().filter(|key| !found.targets.contains_key(key)).copied().collect();
        let gone = gone.iter().filter_map(|key| self.running.remove(key)).collect();
        end_all(gone).await;
        let mut changed = Vec::new();
        for (key, target) in found.targets {
            match self.running.remove(&key) {
                Some(mut running) if running.state.target == target && same_scrape(&running.job, &self.job) => {
                    running.job = Arc::clone(&self.job);
                    self.running.insert(key, running);
                }
                Some(running) => changed.push((key, target, running)),
                None => self.start(key, target, new_cache(), LastScrape::default()),
            }
        }
        self.replace_all(changed).await;
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

    /// Other loops take over targets, with their predecessors' caches. All are told first, so that slow scrapes are
    /// waited for together.
    async fn replace_all(&mut self, changed: Vec<(u64, Target, Running)>) {
        let mut ending = Vec::new();
        for (key, target, running) in changed {
            let Running { state, job, stop, task } = running;
            let _ = stop.send(Stop::HandOver);
            ending.push((key, target, state, job, task));
        }
        let deadline = Instant::now() + HAND_OVER_TIMEOUT;
        for (key, target, state, job, task) in ending {
            let mut cache = match timeout_at(deadline, task).await {
                Ok(Ok(Some(cache))) => cache,
                _ => new_cache(),
            };
            if !same_series(&job, &self.job) {
                cache.forget_spellings();
            }
            self.start(key, target, cache, state.last());
        }
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
            Source::Probes(prober) => {
                let probe = target.probe.clone().unwrap_or_default();
                Box::new(CollectorFetch::new(prober.collector(&probe, target.timeout), target.timeout))
            }
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
        *self.lock_view() = PoolView { active: self.active(), dropped, dropped_count };
    }

    fn show_active(&self) {
        self.lock_view().active = self.active();
    }

    fn active(&self) -> Vec<Arc<TargetState>> {
        let mut active: Vec<Arc<TargetState>> = self.running.values().map(|one| Arc::clone(&one.state)).collect();
        crate::model::sort_by(&mut active, |a, b| {
            (&a.target.labels, &a.target.url).cmp(&(&b.target.labels, &b.target.url))
        });
        active
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
        CollectorSettings::Smart(_) => "smart",
        CollectorSettings::Nut(_) => "nut",
        CollectorSettings::Own => "outpost",
    }
}

/// Whether a target that has not changed is scraped in the same way under both settings: how targets are found, and
/// how many there may be, does not concern its loop.
fn same_scrape(old: &JobSettings, new: &JobSettings) -> bool {
    fn concerning_a_loop(job: &JobSettings) -> JobSettings {
        let mut job = job.clone();
        if let JobSource::Http { discovery, .. } | JobSource::Probes { discovery, .. } = &mut job.source {
            discovery.clear();
        }
        job.relabel_rules.clear();
        job.limits.targets = 0;
        job.limits.keep_dropped_targets = 0;
        job
    }
    std::ptr::eq(old, new) || concerning_a_loop(old) == concerning_a_loop(new)
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
