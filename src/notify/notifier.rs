//! The notifier: takes alerts from rules, knows the Alertmanagers, hands each its copy.
//!
//! One task per entry of `alertmanagers` follows discovery; one task per Alertmanager delivers.
//! Alerts that are still due are remembered, so that an Alertmanager that is discovered late learns of
//! them too. A reload keeps the queues of the Alertmanagers that stay. What no Alertmanager takes is kept in a file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};

use super::endpoint::{Endpoint, Post, QUEUE_CAPACITY, Stopping};
use super::fleet::{Fleet, fleet};
use super::http_post::HttpPost;
use super::queue::{AlertQueue, is_due, is_recent};
use super::settings::{AlertmanagerSettings, NotifySettings};
use super::status::AlertmanagersView;
use super::waiting::{Waiting, WaitingAlert, WaitingFile, fingerprint};
use crate::client::{Client, ClientError};
use crate::clock::Clock;
use crate::discovery::{Discovery, DiscoveryError};
use crate::model::{Alert, Labels, MetricType, RelabelRule, Timestamp, relabel};
use crate::rules::AlertSink;
use crate::telemetry::{Counter, Registry};

/// How long stopping waits for what is in the queues.
const DRAIN_TIME_LIMIT: Duration = Duration::from_secs(5);
/// How often it is looked whether the file has to change, and the time between two writes.
const KEEP_LOOK_INTERVAL: Duration = Duration::from_secs(2);
const KEEP_WRITE_INTERVAL: Duration = Duration::from_secs(30);
/// While no alert waits, unless one arrives: each look wakes an idle process.
const KEEP_QUIET_INTERVAL: Duration = Duration::from_secs(30);

/// Settings that cannot be put to use.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The client's settings contradict each other.
    #[error("alertmanagers[{index}]: {error}")]
    Client {
        /// Which entry.
        index: usize,
        /// Why.
        error: ClientError,
    },
    /// Discovery cannot start.
    #[error("alertmanagers[{index}]: {error}")]
    Discovery {
        /// Which entry.
        index: usize,
        /// Why.
        error: DiscoveryError,
    },
}

/// Delivers alerts. Cloning shares it.
#[derive(Clone)]
pub struct Notifier(Arc<Inner>);

struct Inner {
    clock: Clock,
    state: Mutex<State>,
    discovery_failures: Counter,
    /// Alerts given up before any Alertmanager was found.
    homeless: Counter,
    stopping: watch::Sender<Stopping>,
    kept: Option<Arc<Kept>>,
    /// Told of each delivery of alerts.
    arrived: Arc<Notify>,
}

/// What is in the file of waiting alerts.
struct Kept {
    file: WaitingFile,
    /// Of the alerts in it. Held while it is written: what is written last is what was seen last.
    fingerprint: tokio::sync::Mutex<u64>,
}

/// What a look at the waiting alerts has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// The file was written.
    Anew,
    /// It says already which ones wait.
    AsItWas,
    /// None waits, and it says so; or there is no file.
    Empty,
}

struct State {
    external_labels: Labels,
    relabel_rules: Vec<RelabelRule>,
    sets: Vec<AlertmanagerSet>,
    /// The alerts that are still due, for Alertmanagers yet to come.
    recent: AlertQueue,
    /// What waited when outpost was stopped, until its entry finds an Alertmanager.
    restored: Vec<Waiting>,
}

/// One entry of `alertmanagers`.
struct AlertmanagerSet {
    settings: AlertmanagerSettings,
    post: Arc<dyn Post>,
    fleet: Fleet,
    endpoints: BTreeMap<String, Delivering>,
    discovery: Option<JoinHandle<()>>,
}

/// An Alertmanager and its task.
struct Delivering {
    endpoint: Endpoint,
    /// Taken when the notifier stops.
    task: Option<JoinHandle<()>>,
}

impl Delivering {
    fn end(&self) {
        self.task.as_ref().inspect(|task| task.abort());
    }
}

impl Notifier {
    /// A notifier without Alertmanagers; [`Notifier::reload`] gives it some.
    pub fn new(clock: Clock, registry: &Registry) -> Self {
        Self::with(clock, registry, None, Vec::new())
    }

    /// The same, with what waited when it was stopped; from now on the file follows. Needs a runtime.
    pub async fn keeping(clock: Clock, registry: &Registry, file: WaitingFile) -> Self {
        let loaded = spawn_blocking(move || {
            let loaded = file.load();
            (file, loaded)
        });
        let Ok((file, loaded)) = loaded.await else { return Self::new(clock, registry) };
        let waiting: Vec<Waiting> = match loaded {
            Ok(alerts) => alerts.into_iter().map(Waiting::from).collect(),
            Err(error) => {
                tracing::warn!(%error, "alerts that were waiting for an Alertmanager cannot be read");
                Vec::new()
            }
        };
        if !waiting.is_empty() {
            tracing::info!(count = waiting.len(), "alerts still wait for an Alertmanager");
        }
        let kept = Kept { file, fingerprint: tokio::sync::Mutex::new(fingerprint(&waiting)) };
        let notifier = Self::with(clock, registry, Some(Arc::new(kept)), waiting);
        tokio::spawn(keep(Arc::downgrade(&notifier.0)));
        notifier
    }

    fn with(clock: Clock, registry: &Registry, kept: Option<Arc<Kept>>, waiting: Vec<Waiting>) -> Self {
        let (restored, early): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|waiting| waiting.entry.is_some());
        let mut recent = AlertQueue::new(QUEUE_CAPACITY);
        for waiting in early {
            recent.push(waiting.alert);
        }
        let (external_labels, relabel_rules, sets) = (Labels::empty(), Vec::new(), Vec::new());
        let state = State { external_labels, relabel_rules, sets, recent, restored };
        let discovery_failures =
            registry.counter("outpost_notifications_discovery_failures_total", "Failed looks for Alertmanagers.");
        let stopping = watch::Sender::new(Stopping::No);
        let (name, help) =
            ("outpost_notifications_undiscovered_dropped_total", "Alerts given up before an Alertmanager was found.");
        let (state, homeless) = (Mutex::new(state), registry.counter(name, help));
        let notifier = Self(Arc::new(Inner {
            clock,
            state,
            discovery_failures,
            homeless,
            stopping,
            kept,
            arrived: Arc::default(),
        }));
        notifier.register(registry);
        notifier
    }

    /// Puts settings in force. Entries that stay the same go on undisturbed. On an error all stays as
    /// it was. Needs a runtime: discovery and delivery start.
    pub fn reload(&self, settings: &NotifySettings, external_labels: &Labels) -> Result<(), NotifyError> {
        let mut prepared = Vec::new();
        for (index, entry) in settings.alertmanagers.iter().enumerate() {
            prepared.push(if self.knows(entry) { None } else { Some(Prepared::new(index, entry, &self.0)?) });
        }
        let mut state = self.0.state();
        state.external_labels = external_labels.clone();
        state.relabel_rules.clone_from(&settings.alert_relabel_rules);
        let mut old = std::mem::take(&mut state.sets);
        for (entry, prepared) in settings.alertmanagers.iter().zip(prepared) {
            let same = old.iter().position(|set| set.settings == *entry).map(|position| old.swap_remove(position));
            match (same, prepared) {
                (Some(set), _) => state.sets.push(set),
                (None, Some(prepared)) => state.sets.push(prepared.into_set(entry, &self.0)),
                // Two entries alike, of which only one was there: the other one has nothing of its own to say.
                (None, None) => tracing::warn!("an entry of alertmanagers is there twice and is used once"),
            }
        }
        drop(state);
        old.into_iter().for_each(AlertmanagerSet::end);
        Ok(())
    }

    /// Delivers what is in the queues, for a few seconds at most, and ends.
    pub async fn stop(&self) {
        let began = Instant::now();
        self.0.stopping.send_replace(Stopping::Draining);
        let mut tasks = Vec::new();
        for set in &mut self.0.state().sets {
            set.discovery.take().inspect(JoinHandle::abort);
            tasks.extend(set.endpoints.values_mut().filter_map(|delivering| delivering.task.take()));
        }
        let drained = async {
            for task in &mut tasks {
                // A task that was cancelled has nothing left to do.
                let _ = task.await;
            }
        };
        if timeout(DRAIN_TIME_LIMIT, drained).await.is_err() {
            self.0.stopping.send_replace(Stopping::Now);
            tracing::warn!("alerts were still waiting for delivery when stopping");
        }
        self.0.keep().await;
        tracing::info!(took_ms = began.elapsed().as_millis() as u64, "delivery of alerts stopped");
    }

    fn knows(&self, entry: &AlertmanagerSettings) -> bool {
        self.0.state().sets.iter().any(|set| set.settings == *entry)
    }

    fn register(&self, registry: &Registry) {
        type Figure = fn(&Endpoint) -> f64;
        let per_endpoint: [(&'static str, &'static str, MetricType, Figure); 5] = [
            ("outpost_notifications_sent_total", "Alerts sent.", MetricType::Counter, |endpoint| {
                endpoint.metrics().sent.value() as f64
            }),
            (
                "outpost_notifications_errors_total",
                "Sent alerts affected by errors.",
                MetricType::Counter,
                |endpoint| endpoint.metrics().errors.value() as f64,
            ),
            (
                "outpost_notifications_dropped_total",
                "Alerts given up: refused, outdated, or too many in the queue.",
                MetricType::Counter,
                |endpoint| endpoint.metrics().dropped.value() as f64,
            ),
            ("outpost_notifications_queue_length", "Alerts waiting for delivery.", MetricType::Gauge, |endpoint| {
                endpoint.queue_len() as f64
            }),
            (
                "outpost_notifications_last_duration_seconds",
                "How long the last request took.",
                MetricType::Gauge,
                |endpoint| endpoint.metrics().last_duration.value(),
            ),
        ];
        for (name, help, metric_type, figure) in per_endpoint {
            let inner = Arc::clone(&self.0);
            registry.family(name, help, metric_type, move |emit| {
                for endpoint in inner.endpoints() {
                    emit(&[("alertmanager", endpoint.url())], figure(&endpoint));
                }
            });
        }
        registry
            .gauge("outpost_notifications_queue_capacity", "Alerts that may wait for one Alertmanager.")
            .set(QUEUE_CAPACITY as f64);
        let inner = Arc::clone(&self.0);
        let (name, help) = ("outpost_notifications_alertmanagers_discovered", "Alertmanagers in use.");
        registry.family(name, help, MetricType::Gauge, move |emit| emit(&[], inner.endpoints().len() as f64));
    }
}

impl AlertSink for Notifier {
    fn send(&self, alerts: Vec<Alert>) {
        let now = self.0.clock.now();
        let state = &mut *self.0.state();
        let alerts: Vec<Arc<Alert>> = alerts
            .into_iter()
            .filter_map(|alert| relabelled(&alert, &state.external_labels, &state.relabel_rules))
            .map(Arc::new)
            .collect();
        state.forget_old(now);
        let dropped: u64 = alerts.iter().map(|alert| state.recent.push(Arc::clone(alert))).sum();
        if dropped > 0 && state.lacks_alertmanagers() {
            self.0.homeless.add(dropped);
        }
        for set in &state.sets {
            let for_set = set.relabelled(&alerts);
            for delivering in set.endpoints.values() {
                delivering.endpoint.push(for_set.iter().cloned());
            }
        }
        self.0.arrived.notify_one();
    }
}

impl AlertmanagersView for Notifier {
    fn active(&self) -> Vec<String> {
        let state = self.0.state();
        let urls: BTreeSet<&String> = state.sets.iter().flat_map(|set| &set.fleet.active).collect();
        urls.into_iter().cloned().collect()
    }

    fn dropped(&self) -> Vec<String> {
        let state = self.0.state();
        let urls: BTreeSet<&String> = state.sets.iter().flat_map(|set| &set.fleet.dropped).collect();
        urls.into_iter().cloned().collect()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        let state = self.state();
        let all = state.sets.iter().flat_map(|set| set.endpoints.values());
        // The same Alertmanager in two entries would be the same series twice.
        let by_url: BTreeMap<String, Endpoint> =
            all.map(|delivering| (delivering.endpoint.url().to_owned(), delivering.endpoint.clone())).collect();
        by_url.into_values().collect()
    }

    /// Puts what was discovered for an entry in force.
    fn update(self: &Arc<Self>, settings: &AlertmanagerSettings, found: Fleet) {
        let mut state = self.state();
        state.forget_old(self.clock.now());
        let State { sets, recent, restored, .. } = &mut *state;
        let Some(entry) = sets.iter().position(|set| set.settings == *settings) else { return };
        let set = &mut sets[entry];
        for address in found.invalid.difference(&set.fleet.invalid) {
            tracing::error!(address, "a discovered Alertmanager has no usable address");
        }
        set.endpoints.retain(|url, delivering| {
            let stays = found.active.contains(url);
            if !stays {
                delivering.end();
            }
            stays
        });
        let recent: Vec<Arc<Alert>> = recent.iter().cloned().collect();
        let waited: Vec<Arc<Alert>> = match found.active.is_empty() {
            true => Vec::new(),
            false => restored.extract_if(.., |waiting| waiting.entry == Some(entry)).map(|found| found.alert).collect(),
        };
        for url in &found.active {
            if !set.endpoints.contains_key(url) {
                let endpoint = Endpoint::new(url.clone());
                endpoint.push(waited.iter().cloned());
                endpoint.push(set.relabelled(&recent));
                let post = Arc::clone(&set.post);
                let run = endpoint.clone().run(post, self.clock.clone(), self.stopping.subscribe());
                let task = Some(tokio::spawn(run));
                set.endpoints.insert(url.clone(), Delivering { endpoint, task });
            }
        }
        set.fleet = found;
    }

    /// Brings the file, if there is one, up to date.
    async fn keep(&self) -> Look {
        let Some(kept) = self.kept.clone() else { return Look::Empty };
        let mut kept_now = kept.fingerprint.lock().await;
        let waiting = self.state().waiting(self.clock.now());
        let now = fingerprint(&waiting);
        if *kept_now == now {
            return if waiting.is_empty() { Look::Empty } else { Look::AsItWas };
        }
        let written_by = Arc::clone(&kept);
        let write = move || {
            let records = waiting.iter().map(WaitingAlert::from).collect();
            written_by.file.save(&records)
        };
        match spawn_blocking(write).await {
            Ok(Ok(())) => *kept_now = now,
            Ok(Err(error)) => tracing::warn!(%error, "alerts that wait for an Alertmanager are in memory alone"),
            // Panics abort; a cancelled task means that the runtime is ending.
            Err(_) => {}
        }
        Look::Anew
    }
}

impl State {
    /// Whether an entry has found no Alertmanager yet: what is due waits for one then.
    fn lacks_alertmanagers(&self) -> bool {
        self.sets.iter().any(|set| set.endpoints.is_empty())
    }

    fn forget_old(&mut self, now: Timestamp) {
        let is_kept = if self.lacks_alertmanagers() { is_due } else { is_recent };
        self.recent.retain(|alert| is_kept(alert, now));
        self.restored.retain(|waiting| is_due(&waiting.alert, now));
    }

    /// What no Alertmanager has taken yet, each alert once.
    fn waiting(&self, now: Timestamp) -> Vec<Waiting> {
        let queued = self.sets.iter().enumerate().flat_map(|(entry, set)| {
            let endpoints = set.endpoints.values().map(|delivering| &delivering.endpoint);
            let alerts = endpoints.filter(|endpoint| !endpoint.works()).flat_map(Endpoint::waiting);
            alerts.map(move |alert| Waiting { entry: Some(entry), alert })
        });
        let early = self.recent.iter().filter(|_| self.lacks_alertmanagers());
        let early = early.map(|alert| Waiting { entry: None, alert: Arc::clone(alert) });
        let all = self.restored.iter().cloned().chain(early).chain(queued);
        let due = all.filter(|waiting| is_due(&waiting.alert, now));
        let each_once: BTreeMap<(Option<usize>, Labels), Waiting> =
            due.map(|waiting| ((waiting.entry, waiting.alert.labels.clone()), waiting)).collect();
        each_once.into_values().collect()
    }
}

/// Looks now and then whether the file has to change, as long as the notifier is there.
async fn keep(notifier: Weak<Inner>) {
    loop {
        sleep(KEEP_LOOK_INTERVAL).await;
        let Some(notifier) = notifier.upgrade() else { return };
        let (look, arrived) = (notifier.keep().await, Arc::clone(&notifier.arrived));
        drop(notifier);
        match look {
            Look::Anew => sleep(KEEP_WRITE_INTERVAL).await,
            Look::AsItWas => {}
            // Out or over, it makes no difference: the next look tells.
            Look::Empty => drop(timeout(KEEP_QUIET_INTERVAL, arrived.notified()).await),
        }
    }
}

/// A new entry, checked and ready to start.
struct Prepared {
    post: Arc<dyn Post>,
    discovery: Discovery,
}

impl Prepared {
    fn new(index: usize, entry: &AlertmanagerSettings, inner: &Inner) -> Result<Self, NotifyError> {
        let client = Client::new(&entry.client).map_err(|error| NotifyError::Client { index, error })?;
        let discovery = Discovery::start(&entry.discovery, &inner.discovery_failures);
        let discovery = discovery.map_err(|error| NotifyError::Discovery { index, error })?;
        Ok(Self { post: Arc::new(HttpPost { client, timeout: entry.timeout }), discovery })
    }

    fn into_set(self, entry: &AlertmanagerSettings, inner: &Arc<Inner>) -> AlertmanagerSet {
        let Self { post, mut discovery } = self;
        let (notifier, settings) = (Arc::downgrade(inner), entry.clone());
        let follow = async move {
            loop {
                let groups = discovery.next().await;
                // The notifier is gone when the program ends.
                let Some(notifier) = notifier.upgrade() else { return };
                notifier.update(&settings, fleet(&settings, &groups));
            }
        };
        let discovery = Some(tokio::spawn(follow));
        AlertmanagerSet {
            settings: entry.clone(),
            post,
            fleet: Fleet::default(),
            endpoints: BTreeMap::new(),
            discovery,
        }
    }
}

impl AlertmanagerSet {
    /// Alerts as this entry's `alert_relabel_configs` leave them.
    fn relabelled(&self, alerts: &[Arc<Alert>]) -> Vec<Arc<Alert>> {
        if self.settings.alert_relabel_rules.is_empty() {
            return alerts.to_vec();
        }
        let rules = &self.settings.alert_relabel_rules;
        alerts.iter().filter_map(|alert| relabelled(alert, &Labels::empty(), rules)).map(Arc::new).collect()
    }

    fn end(self) {
        self.discovery.inspect(JoinHandle::abort);
        self.endpoints.into_values().for_each(|delivering| delivering.end());
    }
}

/// An alert with external labels where it has none of the name, after relabeling; `None` where that
/// drops it.
fn relabelled(alert: &Alert, external_labels: &Labels, rules: &[RelabelRule]) -> Option<Alert> {
    let mut labels = alert.labels.to_builder();
    for (name, value) in external_labels.iter().filter(|(name, _)| alert.labels.get(name).is_none()) {
        labels.set(name, value);
    }
    relabel(&mut labels, rules).then(|| Alert { labels: labels.build(), ..alert.clone() })
}

#[cfg(test)]
mod tests;
