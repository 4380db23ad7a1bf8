//! Containers through the Engine API, under cAdvisor's names and labels.
//!
//! Names, images and labels come from the engine, never from its files: image stores move, the API stays. Only GET is
//! used, on three paths: `/containers/json`, `/containers/ID/json`, `/containers/ID/stats`; a proxy that lets no more
//! through is enough. No engine is a target that is down; a container that vanishes half-way is left out.

mod api;
mod engine;
mod families;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::{CollectError, CollectFuture, Collector, DockerCollectorSettings};
use crate::clock::Clock;
use engine::Engine;

/// Containers shown at most; more are counted in `outpost_docker_containers_left_out`.
pub const CONTAINERS_MAX: usize = 500;
/// Own labels that a container's series have at most, in name order; more are counted in `outpost_docker_labels_left_out`.
/// With the collector's and the target's labels they stay within what a scrape takes of a series.
const LABELS_MAX: usize = 100;
/// Bytes of names and values that they have at most together; one that does not fit is left out.
const LABELS_BYTES_MAX: usize = 8 << 10;

/// Collects the containers of one engine.
pub struct DockerCollector {
    /// The engine, or why its address cannot be used.
    engine: Result<Engine, CollectError>,
    clock: Clock,
    /// Containers whose left-out labels were told.
    told: Mutex<BTreeSet<String>>,
}

impl DockerCollector {
    /// A collector for the engine that `settings` name. An address that cannot be used fails every collection.
    pub fn new(settings: &DockerCollectorSettings, clock: Clock) -> Self {
        Self { engine: Engine::new(settings), clock, told: Mutex::default() }
    }

    /// Names a container once, for as long as labels of it are left out.
    fn tell(&self, shortened: &[(&str, usize)]) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for (container, labels) in shortened.iter().filter(|(container, _)| !told.contains(*container)) {
            tracing::warn!(
                container,
                labels,
                "labels of a container were left out: their number or length is beyond the bounds"
            );
        }
        *told = shortened.iter().map(|(container, _)| (*container).to_owned()).collect();
    }
}

impl Collector for DockerCollector {
    fn collect<'a>(&'a self, page: &'a mut Vec<u8>) -> CollectFuture<'a> {
        Box::pin(async move {
            let engine = self.engine.as_ref().map_err(Clone::clone)?;
            let (containers, left_out) = engine.containers().await?;
            self.tell(&families::write(page, &containers, left_out, self.clock.now().seconds()));
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
