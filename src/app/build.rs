//! Builds the parts from flags and configuration: the wiring itself.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;

use super::clock_keeper::ClockKeeper;
use super::memory_limit;
use super::query_metrics;
use super::reload::{FileWatch, ReloadState};
use super::rule_query::RuleQuery;
use super::running::{Running, watched_files};
use super::signals::Signals;
use super::supervisor::Supervisor;
use super::{App, Requests, screen};
use crate::cli::RunOptions;
use crate::clock::Clock;
use crate::collect::{
    Collector, CollectorSettings, DockerCollector, NodeCollector, NutCollector, OwnCollector, SmartCollector,
};
use crate::config::{Config, ConfigError, WebConfig, read_web_file};
use crate::federation::{Federation, KeptCursors, RESYNC_SAMPLES_MAX};
use crate::http::{
    Admin, Api, BuildInfo, ConfigSnapshot, Health, Lifecycle, QuerySettings, Readiness, RuntimeInfo, Server,
    ServerSettings, WebSource,
};
use crate::model::Timestamp;
use crate::notify::{Notifier, WaitingFile};
use crate::promql::{Engine, EngineSettings};
use crate::rules::{RuleDeps, RuleManager, RuleSettings};
use crate::scrape::{Alarm, CollectorFactory, ScrapeDeps, ScrapeManager};
use crate::store::{Append, DiskStore, StoreSettings};
use crate::telemetry::{Registry, register_process_metrics};
use crate::yaml::Problem;

/// Requests to reload that may wait; the server refuses more.
const RELOADS_WAITING_MAX: usize = 4;
/// From the end of a scrape until its samples are stored, on a busy machine.
const STORING_ALLOWANCE: Duration = Duration::from_secs(30);
/// With a bound on size alone, time does not bound the store: a century.
const RETENTION_TIME_UNBOUNDED: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// The file of alerts that no Alertmanager has taken, in the store's folder.
const WAITING_ALERTS_FILE: &str = "waiting-alerts";

/// Builds the whole server.
pub async fn build(options: RunOptions, clock: Clock) -> Result<App> {
    // First, so that no signal finds the default action, which would be to end without a flush.
    let signals = Signals::new().context("signals cannot be caught")?;
    let registry = Registry::new();
    register_process_metrics(&registry, clock.now().seconds());
    let config = load_config(&options)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    for warning in web_warnings(&options) {
        tracing::warn!("{warning}");
    }
    let server = Server::bind(server_settings(&options, &config)).await?;
    let urls = Urls::new(&options, &server);
    let store = open_store(store_settings(&options, &config), &clock, &registry).await?;
    let clock_keeper = ClockKeeper::new(clock.clone(), &store, &registry);
    let (append, select) = clock_keeper.in_front_of(&store);
    let engine = query_metrics::registered(engine(&options, &config), &registry);
    let scrape = ScrapeManager::new(scrape_deps(&append, &clock, &registry));
    let waiting_alerts = WaitingFile::new(options.storage_path.join(WAITING_ALERTS_FILE));
    let notifier = Arc::new(Notifier::keeping(clock.clone(), &registry, waiting_alerts).await);
    notifier.reload(&config.notify, &config.global.external_labels)?;
    let rules = RuleManager::new(
        rule_settings(&options, &config, &urls.external),
        RuleDeps {
            append,
            select: Arc::clone(&select),
            query: Arc::new(RuleQuery {
                engine: Arc::clone(&engine),
                store: Arc::clone(&select),
                timeout: options.query_timeout,
            }),
            sink: Arc::clone(&notifier) as _,
            clock: clock.clone(),
            registry: registry.clone(),
        },
    )?;
    let federation = federation(&options, &store, &scrape, clock.now()).await;
    let federation = Arc::new(federation.waiting_while(clock_keeper.holds_back()));
    federation.allow_lateness(lateness(&config, &rules));
    federation.register(&registry, clock.clone());
    let reload_state = Arc::new(ReloadState::new(&registry, clock.now()));

    let (snapshot, snapshots) = watch::channel(Arc::new(self::snapshot(&config)));
    let (readiness, ready) = watch::channel(Readiness::Starting);
    let (reload, reloads) = mpsc::channel(RELOADS_WAITING_MAX);
    let (quit, quits) = mpsc::channel(1);
    let api = Api {
        clock: clock.clone(),
        store: select,
        engine: Arc::clone(&engine),
        queries: query_settings(&options),
        targets: Arc::new(scrape.clone()),
        rules: rules.view(),
        alertmanagers: Arc::clone(&notifier) as _,
        federation: Arc::clone(&federation),
        registry,
        config: snapshots,
        flags: options.flags.clone(),
        build: build_info(),
        runtime: runtime_info(&options, &clock, &store, &reload_state),
        health: health(&store, clock_keeper.problem()),
        readiness: ready,
        lifecycle: options.enable_lifecycle.then_some(Lifecycle { reload, quit }),
        admin: options.enable_admin_api.then(|| Arc::new(admin(&store))),
    };
    let watch = FileWatch::new(options.auto_reload_interval, watched_files(&options, &config)).await;
    Ok(App {
        screen: screen::text(&options, &config, &urls),
        server,
        api: Arc::new(api),
        requests: Requests { signals, reloads, quits },
        supervisor: Supervisor::from_environment(),
        parts: Running {
            options,
            clock,
            clock_keeper,
            first_jobs: config.jobs,
            external_labels: config.global.external_labels,
            engine,
            external_url: urls.external,
            store,
            scrape,
            rules,
            federation,
            notifier,
            snapshot,
            readiness,
            reload_state,
            watch,
        },
    })
}

/// The configuration: the file's, or the built-in one.
pub fn load_config(options: &RunOptions) -> Result<Config, ConfigError> {
    let defaults = options.features.job_defaults();
    match &options.config_file {
        Some(path) => Config::load_with(path, &defaults),
        None => Ok(Config::default_embedded_with(&defaults)),
    }
}

/// What the API shows of the configuration.
pub fn snapshot(config: &Config) -> ConfigSnapshot {
    ConfigSnapshot { yaml: config.to_yaml(), external_labels: config.global.external_labels.clone() }
}

/// What rules are told.
pub fn rule_settings(options: &RunOptions, config: &Config, external_url: &str) -> RuleSettings {
    RuleSettings {
        rule_files: config.rule_files.clone(),
        evaluation_interval: config.global.evaluation_interval,
        query_offset: config.global.rule_query_offset,
        external_labels: config.global.external_labels.clone(),
        external_url: external_url.to_owned(),
        resend_delay: options.resend_delay,
        outage_tolerance: options.outage_tolerance,
        grace_period: options.grace_period,
        features: options.features.promql,
    }
}

/// How long after the time they bear samples may come into the store.
pub fn lateness(config: &Config, rules: &RuleManager) -> Duration {
    let scrapes = config.jobs.iter().map(|job| job.scrape_timeout + STORING_ALLOWANCE);
    scrapes.chain([rules.lateness_max()]).max().unwrap_or_default()
}

/// Where the server is reached.
pub struct Urls {
    /// `--web.external-url`, or the host's name and port.
    pub external: String,
    /// For people at this machine.
    pub local: Vec<String>,
}

impl Urls {
    fn new(options: &RunOptions, server: &Server) -> Self {
        let addresses = server.addresses();
        let scheme = if server.speaks_tls() { "https" } else { "http" };
        let path = options.route_prefix.trim_end_matches('/');
        let local: Vec<String> = addresses
            .iter()
            .map(|address| match address.ip().is_unspecified() {
                true => format!("{scheme}://localhost:{}{path}/", address.port()),
                false => format!("{scheme}://{address}{path}/"),
            })
            .collect();
        let port = addresses.first().map_or(9090, SocketAddr::port);
        let external = options.external_url.clone().unwrap_or_else(|| format!("{scheme}://{}:{port}", host_name()));
        Self { external, local }
    }
}

async fn open_store(settings: StoreSettings, clock: &Clock, registry: &Registry) -> Result<Arc<DiskStore>> {
    let (clock, registry) = (clock.clone(), registry.clone());
    let opened = spawn_blocking(move || DiskStore::open(settings, clock, &registry)).await;
    Ok(opened.context("opening the store ended unexpectedly")??)
}

fn server_settings(options: &RunOptions, config: &Config) -> ServerSettings {
    let external_host = options.external_url.as_deref().and_then(host_of);
    ServerSettings {
        listen_addresses: options.listen_addresses.clone(),
        route_prefix: options.route_prefix.clone(),
        web: options.web_config_file.clone().map(web_source),
        host_names: config.outpost.allowed_hosts.iter().cloned().chain(external_host).collect(),
        cors_origin: options.cors_origin.clone(),
        connections_max: options.connections_max,
    }
}

/// How the listener reads `--web.config.file`, now and when it has changed.
fn web_source(path: PathBuf) -> WebSource {
    let file = path.clone();
    WebSource { path, read: Arc::new(move || Ok(web_config(&file)?.settings)) }
}

/// What the file says and means less than it seems. Mistakes are the listener's to report.
fn web_warnings(options: &RunOptions) -> Vec<Problem> {
    let read = options.web_config_file.as_deref().map(web_config);
    read.and_then(Result::ok).map(|web| web.warnings).unwrap_or_default()
}

fn web_config(path: &Path) -> Result<WebConfig, String> {
    read_web_file(path).map_err(|error| match &error {
        ConfigError::Unreadable { path, source } => format!("{} cannot be read: {source}", path.display()),
        ConfigError::Invalid(_) => error.to_string(),
    })
}

fn store_settings(options: &RunOptions, config: &Config) -> StoreSettings {
    let mut settings = StoreSettings::new(&options.storage_path);
    settings.flush_interval = config.outpost.flush_interval;
    settings.writes_per_day_max = config.outpost.writes_per_day_max;
    settings.retention_rules = config.outpost.retention_rules.clone();
    // A size bound alone means no bound in time, as in Prometheus.
    settings.retention_time = options.retention_time.unwrap_or(RETENTION_TIME_UNBOUNDED);
    settings.retention_bytes = options.retention_bytes;
    // systemd's RuntimeDirectory= lies on a tmpfs; with RuntimeDirectoryPreserve= it outlives the process.
    settings.runtime_dir = std::env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from);
    settings
}

fn engine(options: &RunOptions, config: &Config) -> Engine {
    let settings = EngineSettings {
        lookback: options.lookback_delta,
        samples_max: options.query_samples_max,
        default_step: config.global.evaluation_interval,
        features: options.features.promql,
    };
    let memory = memory_limit::within(config.outpost.query_memory, memory_limit::limit());
    if memory != config.outpost.query_memory {
        let (query, total) = (memory.query_bytes_max, memory.total_bytes_max);
        tracing::info!(query, total, "queries are held to a part of the memory that this process may use");
    }
    Engine::new(settings).with_memory(memory).with_cache(config.outpost.query_cache_bytes)
}

fn query_settings(options: &RunOptions) -> QuerySettings {
    QuerySettings {
        timeout: options.query_timeout,
        concurrency: options.query_concurrency_max,
        features: options.features.promql,
    }
}

fn scrape_deps(store: &Arc<dyn Append>, clock: &Clock, registry: &Registry) -> ScrapeDeps {
    ScrapeDeps {
        store: Arc::clone(store),
        clock: clock.clone(),
        alarm: Alarm::of_kernel(),
        collectors: collectors(clock, registry),
        registry: registry.clone(),
        host: host_name(),
    }
}

fn collectors(clock: &Clock, registry: &Registry) -> CollectorFactory {
    let (clock, registry) = (clock.clone(), registry.clone());
    Arc::new(move |settings: &CollectorSettings| -> Arc<dyn Collector> {
        match settings {
            CollectorSettings::Node(settings) => Arc::new(NodeCollector::new(settings.clone(), clock.clone())),
            CollectorSettings::Docker(settings) => Arc::new(DockerCollector::new(settings, clock.clone())),
            CollectorSettings::Smart(settings) => Arc::new(SmartCollector::new(settings.clone(), clock.clone())),
            CollectorSettings::Nut(settings) => Arc::new(NutCollector::new(settings.clone())),
            CollectorSettings::Own => Arc::new(OwnCollector::new(registry.clone())),
        }
    })
}

async fn federation(
    options: &RunOptions,
    store: &Arc<DiskStore>,
    scrape: &ScrapeManager,
    now: Timestamp,
) -> Federation {
    let (store, scrape, lookback) = (Arc::clone(store), scrape.clone(), options.lookback_delta);
    let cursors = Box::new(KeptCursors::new(Arc::clone(&store) as _, store.runtime_folder()));
    let open = move || Federation::new(store, Arc::new(scrape), lookback, cursors, RESYNC_SAMPLES_MAX, now);
    spawn_blocking(open).await.expect("reading the cursors does not panic")
}

fn build_info() -> BuildInfo {
    BuildInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        compiler: format!("rust {}", env!("CARGO_PKG_RUST_VERSION")),
        ..BuildInfo::default()
    }
}

fn runtime_info(
    options: &RunOptions,
    clock: &Clock,
    store: &Arc<DiskStore>,
    reload_state: &Arc<ReloadState>,
) -> Box<dyn Fn() -> RuntimeInfo + Send + Sync> {
    let (store, reload_state) = (Arc::clone(store), Arc::clone(reload_state));
    let working_directory = std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default();
    let (start_time, hostname, storage_retention) = (clock.now(), host_name(), screen::retention(options));
    Box::new(move || {
        let last = reload_state.last();
        RuntimeInfo {
            start_time,
            working_directory: working_directory.clone(),
            hostname: hostname.clone(),
            reload_failing_since: last.failing_since,
            last_config_time: Some(last.loaded_at),
            corruptions: store.corruptions(),
            threads: std::fs::read_dir("/proc/self/task").map_or(0, |tasks| tasks.count() as u64),
            cpus: std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64),
            storage_retention: storage_retention.clone(),
        }
    })
}

fn health(
    store: &Arc<DiskStore>,
    clock_problem: impl Fn() -> Option<String> + Send + Sync + 'static,
) -> Box<dyn Fn() -> Health + Send + Sync> {
    let store = Arc::clone(store);
    Box::new(move || {
        let health = store.health();
        let problems = [("log", health.log_error), ("tail", health.tail_error), ("blocks", health.blocks_error)];
        let line =
            |(part, error): (&str, Option<String>)| Some(format!("the store cannot write its {part}: {}", error?));
        let told = health.budget.into_iter().chain(health.replaced).chain(clock_problem());
        Health { problems: problems.into_iter().filter_map(line).chain(told).collect() }
    })
}

fn admin(store: &Arc<DiskStore>) -> Admin {
    let store = Arc::clone(store);
    Admin { snapshot: Box::new(move |with_head| store.snapshot(with_head).map_err(|error| described(&error))) }
}

/// An error and all that caused it, in one line.
fn described(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// The host's name: the `instance` of the built-in collectors.
fn host_name() -> String {
    sysinfo::System::host_name().unwrap_or_else(|_| "localhost".to_owned())
}

/// The host of `https://host:port/path`.
fn host_of(url: &str) -> Option<String> {
    Some(crate::client::Url::parse(url).ok()?.host)
}
