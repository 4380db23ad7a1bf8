//! The server as a whole: builds every part from the flags and the configuration, runs them, reloads them, stops
//! them in order. The only place where parts meet.

mod build;
mod clock_keeper;
#[cfg(test)]
mod query_cache_tests;
mod query_metrics;
mod reload;
mod rule_query;
mod running;
mod screen;
mod signals;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use tokio::sync::{mpsc, oneshot};

use crate::cli::RunOptions;
use crate::clock::Clock;
use crate::http::{Api, ReloadRequest, Server};
use running::Running;
use signals::{Signal, Signals};

/// The server, built and bound, with nothing running yet.
pub struct App {
    screen: String,
    server: Server,
    api: Arc<Api>,
    parts: Running,
    requests: Requests,
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
        let Self { server, api, mut parts, mut requests, .. } = self;
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            server.run(api, async { drop(stopped.await) }).await;
        });
        let outcome = match parts.start().await {
            Ok(()) => {
                serve_requests(&mut parts, &mut requests).await;
                Ok(())
            }
            Err(error) => Err(error),
        };
        parts.announce_stop();
        drop(stop);
        serving.await?;
        parts.stop().await?;
        outcome
    }
}

/// Reloads when asked, until asked to stop.
async fn serve_requests(parts: &mut Running, requests: &mut Requests) {
    loop {
        tokio::select! {
            signal = requests.signals.next() => match signal {
                Signal::Stop => {
                    tracing::info!("stopping: a signal asked for it");
                    return;
                }
                Signal::Reload => drop(parts.reload("signal").await),
            },
            Some(answer) = requests.reloads.recv() => {
                // A client that has gone away gets its reload all the same.
                drop(answer.send(parts.reload("request").await));
            }
            Some(()) = requests.quits.recv() => {
                tracing::info!("stopping: a request asked for it");
                return;
            }
            () = parts.file_changed() => drop(parts.reload("changed file").await),
        }
    }
}
