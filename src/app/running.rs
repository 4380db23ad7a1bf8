//! The parts that run: started, reloaded and stopped together.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::build;
use super::clock_keeper::ClockKeeper;
use super::reload::{FileWatch, ReloadState, WatchedFiles};
use crate::cli::RunOptions;
use crate::clock::Clock;
use crate::config::Config;
use crate::federation::Federation;
use crate::http::{ConfigSnapshot, Readiness};
use crate::model::Labels;
use crate::notify::Notifier;
use crate::promql::Engine;
use crate::rules::{RuleManager, load_groups};
use crate::scrape::{JobSettings, JobSource, ScrapeManager};
use crate::store::DiskStore;

/// Everything that works in the background.
pub struct Running {
    /// The flags.
    pub options: RunOptions,
    /// The time of day.
    pub clock: Clock,
    /// Says whether the machine's clock is to be believed.
    pub clock_keeper: ClockKeeper,
    /// The jobs to start with.
    pub first_jobs: Vec<JobSettings>,
    /// `global.external_labels` to start with.
    pub external_labels: Labels,
    /// Evaluates queries.
    pub engine: Arc<Engine>,
    /// Where users reach this server.
    pub external_url: String,
    /// Keeps the samples.
    pub store: Arc<DiskStore>,
    /// Brings samples.
    pub scrape: ScrapeManager,
    /// Evaluates rules.
    pub rules: RuleManager,
    /// Delivers alerts.
    pub notifier: Arc<Notifier>,
    /// Answers pullers.
    pub federation: Arc<Federation>,
    /// Shows the configuration.
    pub snapshot: watch::Sender<Arc<ConfigSnapshot>>,
    /// Shows whether queries are answered.
    pub readiness: watch::Sender<Readiness>,
    /// Shows how the last reload went.
    pub reload_state: Arc<ReloadState>,
    /// Looks for changes of the configuration's files.
    pub watch: FileWatch,
}

impl Running {
    /// Starts scraping and rules.
    pub async fn start(&mut self) -> Result<()> {
        self.clock_keeper.start();
        let jobs = std::mem::take(&mut self.first_jobs);
        self.scrape.apply(self.scrape.prepare(jobs, &self.external_labels).await?).await;
        self.rules.start();
        self.readiness.send_replace(Readiness::Ready);
        Ok(())
    }

    /// Loads the configuration and the rules anew. On an error everything goes on as it was, and the error is logged
    /// and given.
    pub async fn reload(&mut self, asked_by: &'static str) -> Result<(), String> {
        let began = Instant::now();
        let outcome = self.try_reload().await;
        match &outcome {
            Ok(()) => {
                tracing::info!(asked_by, took_ms = began.elapsed().as_millis() as u64, "configuration loaded anew")
            }
            Err(error) => {
                tracing::error!(asked_by, error = %format!("{error:#}"), "the configuration is refused; the old one goes on");
            }
        }
        self.reload_state.note(outcome.is_ok(), self.clock.now());
        outcome.map_err(|error| format!("{error:#}"))
    }

    async fn try_reload(&mut self) -> Result<()> {
        let options = self.options.clone();
        let external_url = self.external_url.clone();
        let (config, rule_settings, rule_groups) = spawn_blocking(move || -> Result<_> {
            let config = build::load_config(&options)?;
            let rule_settings = build::rule_settings(&options, &config, &external_url);
            // Read once, here: whatever can be refused is refused before anything changes.
            let rule_groups = load_groups(&rule_settings)?;
            Ok((config, rule_settings, rule_groups))
        })
        .await
        .context("loading the configuration ended unexpectedly")??;
        // What can be refused comes first; from the notifier on, everything takes effect.
        let jobs = self.scrape.prepare(config.jobs.clone(), &config.global.external_labels).await?;
        self.notifier.reload(&config.notify, &config.global.external_labels)?;
        self.scrape.apply(jobs).await;
        self.engine.set_default_step(config.global.evaluation_interval);
        self.rules.reload(rule_settings, rule_groups).await;
        self.federation.allow_lateness(build::lateness(&config, &self.rules));
        self.watch.follow(watched_files(&self.options, &config)).await;
        self.snapshot.send_replace(Arc::new(build::snapshot(&config)));
        Ok(())
    }

    /// Ready once a watched file has changed; never, if files are not watched.
    pub async fn file_changed(&mut self) {
        self.watch.changed().await;
    }

    /// Says on `/-/ready` that the end has begun.
    pub fn announce_stop(&self) {
        self.readiness.send_replace(Readiness::Stopping);
    }

    /// Stops every part in order. Each has a time limit of its own.
    pub async fn stop(mut self) -> Result<()> {
        let began = Instant::now();
        self.scrape.stop().await;
        self.rules.stop().await;
        self.notifier.stop().await;
        self.clock_keeper.stop().await;
        let store = self.store;
        let closed = spawn_blocking(move || store.close());
        let outcome = closed.await.context("closing the store ended unexpectedly")?;
        tracing::info!(took_ms = began.elapsed().as_millis() as u64, "stopped");
        outcome.context("the last samples could not be written")
    }
}

/// The files that make up the configuration; the embedded one has none.
pub fn watched_files(options: &RunOptions, config: &Config) -> WatchedFiles {
    let modules_files = config.jobs.iter().filter_map(|job| match &job.source {
        JobSource::Probes { settings, .. } => settings.modules_file.clone(),
        _ => None,
    });
    WatchedFiles {
        files: options.config_file.iter().cloned().chain(modules_files).collect(),
        patterns: config.rule_patterns.iter().chain(&config.scrape_config_patterns).cloned().collect(),
    }
}
