//! Sizes of containers' file systems, by setting: the engine walks through all files for them, which may take minutes. So they
//! are read beside the scrapes, which are given what was read last.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::api::Sized;
use super::engine::{Container, Engine};

/// The engine is given up after this time, and asked again after the interval.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(600);

/// By a container's id.
type Known = Arc<Mutex<BTreeMap<String, Sized>>>;

/// What was read last.
pub struct Sizes {
    interval: Duration,
    known: Known,
    /// Runs from the first collection on.
    poll: OnceLock<JoinHandle<()>>,
}

impl Sizes {
    /// None yet.
    pub fn new(interval: Duration) -> Self {
        Self { interval, known: Known::default(), poll: OnceLock::new() }
    }

    /// Notes at each container what is known of its sizes.
    pub fn measure(&self, engine: &Engine, containers: &mut [Container]) {
        self.poll.get_or_init(|| tokio::spawn(poll(engine.clone(), self.interval, Arc::clone(&self.known))));
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for container in containers {
            container.sized = known.get(&container.listed.id).cloned();
        }
    }
}

#[cfg(test)]
impl Sizes {
    pub(super) fn knows(&self, id: &str) -> bool {
        self.known.lock().expect("not poisoned").contains_key(id)
    }
}

impl Drop for Sizes {
    fn drop(&mut self) {
        if let Some(poll) = self.poll.get() {
            poll.abort();
        }
    }
}

async fn poll(engine: Engine, interval: Duration, known: Known) {
    let mut failure = None;
    loop {
        let read: Result<Vec<Sized>, String> = engine.fetch("/containers/json?all=1&size=1", REQUEST_TIMEOUT).await;
        // Old sizes would look like new ones: what cannot be read is not shown.
        let (read, failed) = match read {
            Ok(read) => (read, None),
            Err(reason) => (Vec::new(), Some(reason)),
        };
        if let Some(reason) = failed.as_ref().filter(|_| failed != failure) {
            tracing::warn!(reason, "the engine does not tell the sizes of containers");
        }
        failure = failed;
        let sizes = read.into_iter().map(|sized| (sized.id.clone(), sized)).collect();
        *known.lock().unwrap_or_else(PoisonError::into_inner) = sizes;
        tokio::time::sleep(interval).await;
    }
}
