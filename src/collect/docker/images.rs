//! When images were made: asked once per image, as that does not change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::api::{Image, unix_seconds};
use super::engine::{Container, Engine};

/// An image that the engine, or a proxy before it, does not tell of is asked for again after this time.
const RETRY_INTERVAL: Duration = Duration::from_secs(600);
/// Images asked for in one collection, one after the other: the others follow in the next ones.
const ASKED_MAX: usize = 20;
/// An engine that does not answer costs a collection this once, not its page.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// What is known of the images in use.
#[derive(Default)]
pub struct Images {
    known: Mutex<BTreeMap<String, Known>>,
}

#[derive(Clone, Copy)]
struct Known {
    created: Option<f64>,
    asked: Instant,
}

impl Images {
    /// Notes at each container when its image was made, as far as that can be had.
    pub async fn date(&self, engine: &Engine, containers: &mut [Container]) {
        let in_use: BTreeSet<String> =
            containers.iter().filter_map(|container| container.listed.image_id.clone()).collect();
        for id in self.missing(&in_use) {
            // Whatever becomes of the question, also when the scrape's time ends in it, it has been asked.
            self.learn(&id, None);
            let answer: Result<Image, String> = engine.fetch(&format!("/images/{id}/json"), REQUEST_TIMEOUT).await;
            match answer {
                Ok(image) => self.learn(&id, image.created.as_deref().and_then(unix_seconds)),
                Err(reason) => {
                    tracing::debug!(image = id, reason, "the engine does not tell of an image");
                    break;
                }
            }
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for container in containers {
            let id = container.listed.image_id.as_ref();
            container.image_created = id.and_then(|id| known.get(id)?.created);
        }
    }

    /// Forgets what is no longer in use, and gives what is to be asked for.
    fn missing(&self, in_use: &BTreeSet<String>) -> Vec<String> {
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .retain(|id, image| in_use.contains(id) && (image.created.is_some() || now - image.asked < RETRY_INTERVAL));
        in_use.iter().filter(|id| !known.contains_key(*id)).take(ASKED_MAX).cloned().collect()
    }

    fn learn(&self, id: &str, created: Option<f64>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(id.to_owned(), Known { created, asked: Instant::now() });
    }
}
