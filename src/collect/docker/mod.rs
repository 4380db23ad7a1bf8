//! Containers through the Engine API, under cAdvisor's names and labels.
//!
//! Names, images and labels come from the engine, never from its files: image stores move, the API stays. Only GET is
//! used, on three paths: `/containers/json`, `/containers/ID/json`, `/containers/ID/stats`; a proxy that lets no more
//! through is enough. No engine is a target that is down; a container that vanishes half-way is left out.

mod api;
mod engine;
mod families;

use super::{CollectError, CollectFuture, Collector, DockerCollectorSettings};
use crate::clock::Clock;
use engine::Engine;

/// Containers shown at most; more are counted in `outpost_docker_containers_left_out`.
pub const CONTAINERS_MAX: usize = 500;

/// Collects the containers of one engine.
pub struct DockerCollector {
    /// The engine, or why its address cannot be used.
    engine: Result<Engine, CollectError>,
    clock: Clock,
}

impl DockerCollector {
    /// A collector for the engine that `settings` name. An address that cannot be used fails every collection.
    pub fn new(settings: &DockerCollectorSettings, clock: Clock) -> Self {
        Self { engine: Engine::new(settings), clock }
    }
}

impl Collector for DockerCollector {
    fn collect<'a>(&'a self, page: &'a mut Vec<u8>) -> CollectFuture<'a> {
        Box::pin(async move {
            let engine = self.engine.as_ref().map_err(Clone::clone)?;
            let (containers, left_out) = engine.containers().await?;
            families::write(page, &containers, left_out, self.clock.now().seconds());
            Ok(())
        })
    }
}

/// The page of an engine's answers: list, details of each container and statistics of each, with a NUL byte between.
pub(super) fn write_answers(bytes: &mut Vec<u8>, answers: &[u8]) {
    let mut answers = answers.split(|byte| *byte == 0);
    let listed: Option<Vec<api::Listed>> = answers.next().and_then(|answer| serde_json::from_slice(answer).ok());
    let inspected: Option<api::Inspected> = answers.next().and_then(|answer| serde_json::from_slice(answer).ok());
    let stats: Option<api::Stats> = answers.next().and_then(|answer| serde_json::from_slice(answer).ok());
    let containers: Vec<engine::Container> = listed
        .unwrap_or_default()
        .into_iter()
        .map(|listed| engine::Container { listed, inspected: inspected.clone(), stats: stats.clone() })
        .collect();
    families::write(bytes, &containers, 0, 1_700_000_000.5);
}

#[cfg(test)]
mod tests;
