//! Containers through the Engine API, under cAdvisor's names and labels.
//!
//! Names, images and labels come from the engine, never from its files: image stores move, the API stays. Only GET is
//! used, on four paths: `/containers/json`, `/containers/ID/json`, `/containers/ID/stats` and `/images/ID/json`. A proxy may
//! refuse the last one, which costs the age of images alone. No engine is a target that is down; a container that vanishes
//! half-way is left out.

mod api;
mod engine;
mod families;
mod images;
mod inspections;
mod sizes;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::{CollectError, CollectFuture, Collector, DockerCollectorSettings};
use crate::clock::Clock;
use crate::glob::NamePattern;
use engine::Engine;
use families::Told;
use images::Images;
use inspections::Inspections;
use sizes::Sizes;

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
    labels: LabelChoice,
    inspections: Inspections,
    images: Images,
    sizes: Option<Sizes>,
    /// What was logged.
    logged: Mutex<Logged>,
}

/// Which of the containers' own labels are shown, by their names.
#[derive(Clone, Debug, Default)]
struct LabelChoice {
    include: Option<Vec<NamePattern>>,
    exclude: Vec<NamePattern>,
}

impl LabelChoice {
    fn is_wanted(&self, name: &str) -> bool {
        let is_among = |patterns: &[NamePattern]| patterns.iter().any(|pattern| pattern.matches(name));
        self.include.as_deref().is_none_or(is_among) && !is_among(&self.exclude)
    }
}

#[derive(Default)]
struct Logged {
    /// Containers whose left-out labels were told.
    shortened: BTreeSet<String>,
    /// That memory is not counted.
    lacks_memory: bool,
}

impl DockerCollector {
    /// A collector for the engine that `settings` name. An address that cannot be used fails every collection.
    pub fn new(settings: &DockerCollectorSettings, clock: Clock) -> Self {
        Self {
            engine: Engine::new(settings),
            clock,
            labels: LabelChoice { include: settings.label_include.clone(), exclude: settings.label_exclude.clone() },
            inspections: Inspections::default(),
            images: Images::default(),
            sizes: settings.size_interval.map(Sizes::new),
            logged: Mutex::default(),
        }
    }

    /// How many containers the engine has: the first thing that a collection asks.
    pub async fn count(&self) -> Result<usize, CollectError> {
        Ok(self.engine.as_ref().map_err(Clone::clone)?.list().await?.len())
    }

    /// Names a container once, for as long as labels of it are left out; says once that memory is not counted.
    fn log(&self, told: &Told<'_>) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        for (container, labels) in told.shortened.iter().filter(|(name, _)| !logged.shortened.contains(*name)) {
            tracing::warn!(
                container,
                labels,
                "labels of a container were left out: their number or length is beyond the bounds, or they become the name of \
                 another one"
            );
        }
        logged.shortened = told.shortened.iter().map(|(container, _)| (*container).to_owned()).collect();
        let lacks_memory = told.counts_memory.map_or(logged.lacks_memory, |counts| !counts);
        if lacks_memory && !logged.lacks_memory {
            tracing::warn!(
                "the engine does not tell the memory of containers: the kernel's memory cgroup is off; `outpost doctor` says how \
                 to switch it on"
            );
        }
        logged.lacks_memory = lacks_memory;
    }
}

impl Collector for DockerCollector {
    fn collect<'a>(&'a self, page: &'a mut Vec<u8>) -> CollectFuture<'a> {
        Box::pin(async move {
            let engine = self.engine.as_ref().map_err(Clone::clone)?;
            let (mut containers, left_out) = engine.containers(&self.inspections).await?;
            self.images.date(engine, &mut containers).await;
            if let Some(sizes) = &self.sizes {
                sizes.measure(engine, &mut containers);
            }
            self.log(&families::write(page, &containers, &self.labels, left_out, self.clock.now().seconds()));
            Ok(())
        })
    }
}

/// The page of an engine's answers: list, details of each container, statistics, sizes and image of each, with a NUL byte
/// between.
pub(super) fn write_answers(bytes: &mut Vec<u8>, answers: &[u8]) {
    let mut answers = answers.split(|byte| *byte == 0);
    let listed: Option<Vec<api::Listed>> = answers.next().and_then(|answer| serde_json::from_slice(answer).ok());
    let inspected: Option<Arc<api::Inspected>> =
        answers.next().and_then(|answer| serde_json::from_slice(answer).ok().map(Arc::new));
    let stats: Option<api::Stats> = answers.next().and_then(|answer| serde_json::from_slice(answer).ok());
    let sized: Option<Vec<api::Sized>> = answers.next().and_then(|answer| serde_json::from_slice(answer).ok());
    let image: Option<api::Image> = answers.next().and_then(|answer| serde_json::from_slice(answer).ok());
    let containers: Vec<engine::Container> = listed
        .unwrap_or_default()
        .into_iter()
        .map(|listed| engine::Container {
            listed,
            inspected: inspected.clone(),
            stats: stats.clone(),
            sized: sized.as_ref().and_then(|sized| sized.first().cloned()),
            image_created: image.as_ref().and_then(|image| api::unix_seconds(image.created.as_deref()?)),
        })
        .collect();
    families::write(bytes, &containers, &LabelChoice::default(), 0, 1_700_000_000.5);
}

#[cfg(test)]
mod tests;
