//! The server as a whole: builds every part from the flags and the configuration, runs them, reloads them, stops
//! them in order. The only place where parts meet.

mod build;
mod clock_keeper;
mod memory_limit;
#[cfg(test)]
mod query_cache_tests;
mod query_metrics;
mod reload;
mod rule_query;
mod running;
mod screen;
mod signals;
mod supervisor;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use tokio::sync::{mpsc, oneshot};

use crate::cli::RunOptions;
use crate::clock::Clock;
use crate::http::{Api, ReloadRequest, Server};
use running::Running;
use signals::{Signal, Signals};
use supervisor::{Problems, Supervisor};

/// The server, built and bound, with nothing running yet.
pub struct App {
    screen: String,
    server: Server,
    api: Arc<Api>,
    parts: Running,
    requests: Requests,
    supervisor: Supervisor,
}

/// What asks the running server for something.
struct Requests {
    signals: Signals,
    reloads: mpsc::Receiver<ReloadRequest>,
    quits: mpsc::Receiver<()>,
}

impl App {
    /// Loads the configuration and the rules, binds the sockets, opens the store. Nothing runs before [`App::run`].
    pub async fn build(options: RunOptions, clock: Clock) -> Result<Self> {
        build::build(options, clock).await
    }

    /// What is scraped, where it is stored and where to look, on one screen.
    pub fn screen(&self) -> &str {
        &self.screen
    }

    /// Where the server listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.server.addresses()
    }

    /// Runs until SIGTERM, SIGINT or `/-/quit`, then stops every part: the listener first, the store last.
    pub async fn run(self) -> Result<()> {
        let Self { server, api, mut parts, mut requests, supervisor, .. } = self;
        let (stop, stopped) = oneshot::channel::<()>();
        let asked = Arc::clone(&api);
        let problems: Problems = Arc::new(move || (asked.health)().problems);
        let serving = tokio::spawn(async move {
            server.run(api, async { drop(stopped.await) }).await;
        });
        let outcome = match parts.start().await {
            Ok(()) => {
                supervisor.tell_ready();
                let feeding = tokio::spawn(supervisor.clone().feed_watchdog(problems));
                serve_requests(&mut parts, &mut requests, &supervisor).await;
                feeding.abort();
                Ok(())
            }
            Err(error) => Err(error),
        };
        supervisor.tell_stopping();
        parts.announce_stop();
        drop(stop);
        serving.await?;
        parts.stop().await?;
        outcome
    }
}

/// Reloads when asked, until asked to stop.
async fn serve_requests(parts: &mut Running, requests: &mut Requests, supervisor: &Supervisor) {
    loop {
        tokio::select! {
            signal = requests.signals.next() => match signal {
                Signal::Stop => {
                    tracing::info!("stopping: a signal asked for it");
                    return;
                }
                Signal::Reload => drop(reload(parts, "signal", supervisor).await),
            },
            Some(answer) = requests.reloads.recv() => {
                // A client that has gone away gets its reload all the same.
                drop(answer.send(reload(parts, "request", supervisor).await));
            }
            Some(()) = requests.quits.recv() => {
                tracing::info!("stopping: a request asked for it");
                return;
            }
            () = parts.file_changed() => drop(reload(parts, "changed file", supervisor).await),
        }
    }
}

async fn reload(parts: &mut Running, asked_by: &'static str, supervisor: &Supervisor) -> Result<(), String> {
    supervisor.tell_reloading();
    let outcome = parts.reload(asked_by).await;
    supervisor.tell_ready();
    outcome
}
