//! What the server is given to answer with: handles to every part, filled in by app.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::federation::Federation;
use crate::model::{Labels, Timestamp};
use crate::notify::AlertmanagersView;
use crate::promql::{Engine, Features};
use crate::rules::RulesView;
use crate::scrape::TargetsView;
use crate::store::Select;
use crate::telemetry::Registry;

/// Handles to everything that the server shows.
pub struct Api {
    /// Wall time.
    pub clock: Clock,
    /// Where the samples are.
    pub store: Arc<dyn Select>,
    /// Evaluates queries.
    pub engine: Arc<Engine>,
    /// Bounds of queries.
    pub queries: QuerySettings,
    /// What is scraped.
    pub targets: Arc<dyn TargetsView>,
    /// What is evaluated.
    pub rules: Arc<dyn RulesView>,
    /// Where alerts go.
    pub alertmanagers: Arc<dyn AlertmanagersView>,
    /// `/federate`
    pub federation: Arc<Federation>,
    /// The own metrics, for `/metrics`; the server adds its own to it.
    pub registry: Registry,
    /// The configuration in force; app sends a new one after each reload.
    pub config: watch::Receiver<Arc<ConfigSnapshot>>,
    /// Flags and their values in force, names without dashes in front.
    pub flags: BTreeMap<String, String>,
    /// What this binary is.
    pub build: BuildInfo,
    /// How this process is doing.
    pub runtime: Box<dyn Fn() -> RuntimeInfo + Send + Sync>,
    /// What is wrong at the moment.
    pub health: Box<dyn Fn() -> Health + Send + Sync>,
    /// Whether queries can be answered yet, or still.
    pub readiness: watch::Receiver<Readiness>,
    /// `--web.enable-lifecycle`: present if it is set.
    pub lifecycle: Option<Lifecycle>,
    /// `--web.enable-admin-api`: present if it is set.
    pub admin: Option<Arc<Admin>>,
}

/// What may be done to the store.
pub struct Admin {
    /// Copies the store, with the head or without it; gives the name of the copy, or why there is none. Blocks.
    pub snapshot: Box<dyn Fn(bool) -> Result<String, String> + Send + Sync>,
}

/// `--query.*` as far as the server minds them.
#[derive(Clone, Debug)]
pub struct QuerySettings {
    /// `--query.timeout`
    pub timeout: Duration,
    /// `--query.max-concurrency`
    pub concurrency: usize,
    /// Language features.
    pub features: Features,
}

impl Default for QuerySettings {
    /// Two minutes, as in Prometheus; four at a time, since that is how many cores a Pi has.
    fn default() -> Self {
        Self { timeout: Duration::from_secs(120), concurrency: 4, features: Features::default() }
    }
}

/// The configuration in force.
#[derive(Clone, Debug, Default)]
pub struct ConfigSnapshot {
    /// The whole configuration as YAML, secrets replaced.
    pub yaml: String,
    /// `global.external_labels`
    pub external_labels: Labels,
}

/// What this binary is.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs, reason = "the names are those of /api/v1/status/buildinfo")]
pub struct BuildInfo {
    pub version: String,
    pub revision: String,
    pub branch: String,
    pub build_user: String,
    pub build_date: String,
    /// Shown as `goVersion`: the compiler.
    pub compiler: String,
}

/// How this process is doing.
#[derive(Clone, Debug, Default)]
pub struct RuntimeInfo {
    /// When the process started.
    pub start_time: Timestamp,
    /// Its working directory.
    pub working_directory: String,
    /// The host's name.
    pub hostname: String,
    /// Since when reloads have failed, if the last one did.
    pub reload_failing_since: Option<Timestamp>,
    /// When a configuration was last loaded.
    pub last_config_time: Option<Timestamp>,
    /// Damaged pieces of the store found since the start.
    pub corruptions: u64,
    /// Threads, shown as `goroutineCount`.
    pub threads: u64,
    /// Processors in use.
    pub cpus: u64,
    /// `30d`, or time and size joined by ` or `.
    pub storage_retention: String,
}

/// What is wrong at the moment; empty if nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// One line each, worded for people.
    pub problems: Vec<String>,
}

/// Whether queries can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The store is still being opened.
    Starting,
    /// Yes.
    Ready,
    /// The process is about to end.
    Stopping,
}

/// A request to reload the configuration; the answer is the reason why not.
pub type ReloadRequest = oneshot::Sender<Result<(), String>>;

/// Where requests to reload and to quit go.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    /// Takes reload requests.
    pub reload: mpsc::Sender<ReloadRequest>,
    /// Takes requests to end the process.
    pub quit: mpsc::Sender<()>,
}
