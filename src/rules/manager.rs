//! Runs all rule groups: loads files, one task per group, changes while running.
//!
//! Owner of the groups. A group's state lives in its task and comes back when the task ends, so that
//! a changed group can hand it to its successor. Evaluation itself runs on blocking threads, a few
//! at a time. A reload with an error changes nothing.
//! Source of the behaviour: prometheus/rules/manager.go (3.5).

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};

use super::file::read_rule_file;
use super::group::{Environment, Group, store_key};
use super::metrics::RuleMetrics;
use super::settings::RuleSettings;
use super::slots::{Schedule, Slots};
use super::spec::GroupSpec;
use super::status::{GroupStatus, RulesView};
use super::writer::end_labels;
use super::{AlertSink, Query};
use crate::clock::Clock;
use crate::model::{Labels, Timestamp};
use crate::store::{Append, Select};
use crate::telemetry::Registry;
use crate::yaml::Problem;

/// Groups evaluated at a time. Each may hold a query's worth of memory.
const EVALUATIONS_AT_ONCE: usize = 2;

/// How long stopping waits for the evaluations under way.
const STOP_TIME_LIMIT: Duration = Duration::from_secs(10);

/// What rules work with.
#[derive(Clone)]
pub struct RuleDeps {
    /// Where results are stored.
    pub append: Arc<dyn Append>,
    /// Where the state of alerts is found after a restart.
    pub select: Arc<dyn Select>,
    /// What evaluates expressions.
    pub query: Arc<dyn Query>,
    /// What delivers alerts.
    pub sink: Arc<dyn AlertSink>,
    /// The time of day.
    pub clock: Clock,
    /// Where own metrics are shown.
    pub registry: Registry,
}

/// Rule files that cannot be used; one problem a line, never none.
#[derive(Debug)]
pub struct RuleLoadError(pub Vec<Problem>);

impl fmt::Display for RuleLoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for RuleLoadError {}

/// Results of an evaluation that takes longer may be late for whoever counts on [`RuleManager::lateness_max`].
const EVALUATION_ALLOWANCE: Duration = Duration::from_secs(60);

/// Reads all rule files of `settings`.
pub fn load_groups(settings: &RuleSettings) -> Result<Vec<GroupSpec>, RuleLoadError> {
    let mut groups = Vec::new();
    let mut problems = Vec::new();
    for file in &settings.rule_files {
        match read_rule_file(file, settings) {
            Ok(found) => groups.extend(found),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(groups) } else { Err(RuleLoadError(problems)) }
}

/// All rule groups.
pub struct RuleManager {
    shared: Arc<Shared>,
    groups: Vec<Handle>,
    /// Groups that are gone and whose series are yet to end.
    farewells: JoinSet<()>,
    is_started: bool,
    view: Arc<Board>,
}

struct Shared {
    deps: RuleDeps,
    settings: RwLock<Arc<RuleSettings>>,
    metrics: RuleMetrics,
    permits: Semaphore,
}

struct Handle {
    key: String,
    spec: Arc<GroupSpec>,
    status: Arc<Mutex<GroupStatus>>,
    stop: watch::Sender<bool>,
    run: Run,
}

enum Run {
    Waiting(Group),
    Running(JoinHandle<Group>),
}

/// What is shown, behind a handle that outlives reloads.
#[derive(Default)]
struct Board(Mutex<Vec<Arc<Mutex<GroupStatus>>>>);

impl RulesView for Board {
    fn groups(&self) -> Vec<GroupStatus> {
        let groups = lock(&self.0).clone();
        let mut statuses: Vec<GroupStatus> = groups.iter().map(|status| lock(status).clone()).collect();
        crate::model::sort_by(&mut statuses, |a, b| (&a.file, &a.name).cmp(&(&b.file, &b.name)));
        statuses
    }
}

impl RulesView for RuleManager {
    fn groups(&self) -> Vec<GroupStatus> {
        self.view.groups()
    }
}

impl RuleManager {
    /// Loads the rule files; nothing runs before [`RuleManager::start`].
    pub fn new(settings: RuleSettings, deps: RuleDeps) -> Result<Self, RuleLoadError> {
        let specs = load_groups(&settings)?;
        let metrics = RuleMetrics::new(&deps.registry);
        let shared = Shared {
            deps,
            metrics,
            settings: RwLock::new(Arc::new(settings)),
            permits: Semaphore::new(EVALUATIONS_AT_ONCE),
        };
        let shared = Arc::new(shared);
        let groups = specs.into_iter().map(|spec| shared.waiting(spec, true)).collect();
        let mut manager =
            Self { shared, groups, farewells: JoinSet::new(), is_started: false, view: Arc::new(Board::default()) };
        manager.publish();
        Ok(manager)
    }

    /// What rules show of themselves; stays valid over reloads.
    pub fn view(&self) -> Arc<dyn RulesView> {
        Arc::clone(&self.view) as Arc<dyn RulesView>
    }

    /// How long after the time they bear results may be stored: a group's offset, and
    /// what an evaluation takes.
    pub fn lateness_max(&self) -> Duration {
        let of = |handle: &Handle| handle.spec.query_offset + handle.spec.interval.min(EVALUATION_ALLOWANCE);
        self.groups.iter().map(of).max().unwrap_or_default()
    }

    /// Starts the evaluation of all groups.
    pub fn start(&mut self) {
        self.is_started = true;
        let groups = std::mem::take(&mut self.groups);
        self.groups = groups.into_iter().map(|handle| handle.started(&self.shared)).collect();
        tracing::info!(groups = self.groups.len(), "rules started");
    }

    /// Takes over the groups that [`load_groups`] has read with `settings`. Groups that stay the same go on
    /// undisturbed; changed ones keep the state of their rules; the series of what is gone end.
    pub async fn reload(&mut self, settings: RuleSettings, specs: Vec<GroupSpec>) {
        *self.shared.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        let mut old: std::collections::HashMap<String, Handle> =
            self.groups.drain(..).map(|handle| (handle.key.clone(), handle)).collect();
        let mut changed = Vec::new();
        for spec in specs {
            match old.remove(&spec.key()) {
                Some(same) if *same.spec == spec => self.groups.push(same),
                predecessor => changed.push((spec, predecessor)),
            }
        }
        let stopping = changed.iter().filter_map(|(_, handle)| handle.as_ref()).chain(old.values());
        stopping.for_each(Handle::tell_to_stop);
        for (spec, predecessor) in changed {
            let successor = self.shared.waiting(spec, false).succeeding(predecessor).await;
            let successor = if self.is_started { successor.started(&self.shared) } else { successor };
            self.groups.push(successor);
        }
        for (key, gone) in old {
            self.shared.metrics.remove(&key);
            if let Some(group) = gone.ended().await {
                let farewell = say_farewell(Arc::clone(&self.shared), group, self.shared.deps.clock.now());
                self.farewells.spawn(farewell);
            }
        }
        while self.farewells.try_join_next().is_some() {}
        self.publish();
    }

    /// Stops all groups. Their series go on with the next start, so they are not ended.
    pub async fn stop(&mut self) {
        let began = Instant::now();
        self.farewells.shutdown().await;
        self.groups.iter().for_each(Handle::tell_to_stop);
        let ended = async {
            for handle in self.groups.drain(..) {
                handle.ended().await;
            }
        };
        if timeout(STOP_TIME_LIMIT, ended).await.is_err() {
            tracing::warn!("rule evaluations were still under way when stopping");
        }
        self.is_started = false;
        tracing::info!(took_ms = began.elapsed().as_millis() as u64, "rules stopped");
    }

    fn publish(&mut self) {
        *lock(&self.view.0) = self.groups.iter().map(|handle| Arc::clone(&handle.status)).collect();
    }
}

impl Shared {
    fn settings(&self) -> Arc<RuleSettings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn waiting(&self, spec: GroupSpec, restores: bool) -> Handle {
        let key = spec.key();
        let spec = Arc::new(spec);
        let group = Group::new(Arc::clone(&spec), self.metrics.group(&key), restores);
        let status = Arc::new(Mutex::new(group.status()));
        Handle { key, spec, status, stop: watch::Sender::new(false), run: Run::Waiting(group) }
    }

    fn evaluate(&self, group: &mut Group, at: Timestamp, corrected_ms: i64, stop: &watch::Receiver<bool>) {
        let RuleDeps { append, select, query, sink, clock, .. } = &self.deps;
        let environment = Environment {
            append: &**append,
            select: &**select,
            query: &**query,
            sink: &**sink,
            clock,
            corrected_ms,
            settings: &self.settings(),
            is_stopping: &|| *stop.borrow(),
        };
        group.evaluate(&environment, at);
    }
}

impl Handle {
    fn tell_to_stop(&self) {
        self.stop.send_replace(true);
    }

    fn started(self, shared: &Arc<Shared>) -> Self {
        let run = match self.run {
            Run::Waiting(group) => {
                let (shared, status) = (Arc::clone(shared), Arc::clone(&self.status));
                Run::Running(tokio::spawn(run_group(shared, group, status, self.stop.subscribe())))
            }
            running => running,
        };
        Self { run, ..self }
    }

    /// The group's state once its task, which has been told to stop, has ended.
    async fn ended(self) -> Option<Group> {
        match self.run {
            Run::Waiting(group) => Some(group),
            Run::Running(task) => task
                .await
                .inspect_err(|error| tracing::error!(group = self.key, %error, "the group's evaluation broke off"))
                .ok(),
        }
    }

    /// This handle's group, which is waiting, with the state of its predecessor.
    async fn succeeding(mut self, predecessor: Option<Self>) -> Self {
        let Some(predecessor) = predecessor else { return self };
        if let (Some(state), Run::Waiting(group)) = (predecessor.ended().await, &mut self.run) {
            group.inherit(state);
            *lock(&self.status) = group.status();
        }
        self
    }
}

/// Evaluates a group at its slots until told to stop; gives back its state.
async fn run_group(
    shared: Arc<Shared>,
    mut group: Group,
    status: Arc<Mutex<GroupStatus>>,
    mut stop: watch::Receiver<bool>,
) -> Group {
    let spec = Arc::clone(group.spec());
    let mut schedule = Schedule::new(Slots::new(&spec.file, &spec.name, group.spec().interval));
    let mut taken_at = Instant::now();
    loop {
        let now = shared.deps.clock.now();
        let due = schedule.due(now);
        let wait = Duration::from_millis(u64::try_from(due.since(now)).unwrap_or(0));
        let is_turn = async {
            sleep(wait).await;
            shared.permits.acquire().await
        };
        let permit = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return group,
            permit = is_turn => permit,
        };
        let corrected_ms = shared.deps.clock.corrected_ms();
        let now = shared.deps.clock.now();
        if due > now + group.spec().interval {
            // The clock was set back while waiting.
            continue;
        }
        let (slot, missed) = schedule.take(due, now, taken_at.elapsed());
        taken_at = Instant::now();
        group.metrics().missed.add(missed);
        group.metrics().iterations.add(missed);
        let (evaluator, stopping) = (Arc::clone(&shared), stop.clone());
        let evaluation = spawn_blocking(move || {
            evaluator.evaluate(&mut group, slot, corrected_ms, &stopping);
            group
        });
        group = evaluation.await.expect("an evaluation does not panic");
        drop(permit);
        *lock(&status) = group.status();
    }
}

/// Ends the series of a group that is gone. Two intervals later, so that a group of another name that
/// gives the same series has begun: its samples are newer, and the series goes on.
async fn say_farewell(shared: Arc<Shared>, group: Group, stopped_at: Timestamp) {
    sleep(2 * group.spec().interval).await;
    let ended = spawn_blocking(move || {
        let key = store_key(group.spec());
        let at = stopped_at - group.spec().query_offset;
        let series: Vec<Labels> = group.into_series().collect();
        match shared.deps.append.group(&key) {
            Ok(store_group) => end_labels(&*shared.deps.append, store_group, at, series.into_iter()),
            Err(error) => tracing::warn!(group = key, %error, "the series of a removed group are not ended"),
        }
    });
    // Panics abort; a cancelled task means that the runtime is ending.
    drop(ended.await);
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
