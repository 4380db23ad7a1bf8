//! How reloads went, and whether a file asks for one.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use crate::model::Timestamp;
use crate::telemetry::{Gauge, Registry};

/// How the last reload went.
pub struct ReloadState {
    succeeded: Gauge,
    succeeded_at: Gauge,
    last: Mutex<(bool, Timestamp)>,
}

impl ReloadState {
    /// The state after a good start at `now`.
    pub fn new(registry: &Registry, now: Timestamp) -> Self {
        let state = Self {
            succeeded: registry.gauge(
                "outpost_config_last_reload_successful",
                "Whether the last attempt to load the configuration succeeded.",
            ),
            succeeded_at: registry.gauge(
                "outpost_config_last_reload_success_timestamp_seconds",
                "When the configuration was last loaded, as Unix time.",
            ),
            last: Mutex::new((true, now)),
        };
        state.note(true, now);
        state
    }

    /// Takes down an attempt.
    pub fn note(&self, succeeded: bool, now: Timestamp) {
        self.succeeded.set(f64::from(u8::from(succeeded)));
        let mut last = self.last.lock().expect("no holder of the lock panics");
        last.0 = succeeded;
        if succeeded {
            self.succeeded_at.set(now.seconds());
            last.1 = now;
        }
    }

    /// Whether the last attempt succeeded, and when one last did.
    pub fn last(&self) -> (bool, Timestamp) {
        *self.last.lock().expect("no holder of the lock panics")
    }
}

/// Looks at files now and then. Polling also sees changes on network shares, which inotify does not.
pub struct FileWatch {
    interval: Option<Duration>,
    files: Vec<PathBuf>,
    seen: Vec<Option<(SystemTime, u64)>>,
}

impl FileWatch {
    /// Watches `files` every `interval`, or never.
    pub fn new(interval: Option<Duration>, files: &[PathBuf]) -> Self {
        let mut watch = Self { interval, files: Vec::new(), seen: Vec::new() };
        watch.follow(files);
        watch
    }

    /// Watches these files from now on.
    pub fn follow(&mut self, files: &[PathBuf]) {
        self.files = files.to_vec();
        self.seen = self.files.iter().map(|file| state_of(file)).collect();
    }

    /// Ready once a file has changed since it was last looked at.
    pub async fn changed(&mut self) {
        let Some(interval) = self.interval else { return std::future::pending().await };
        loop {
            tokio::time::sleep(interval).await;
            let now: Vec<_> = self.files.iter().map(|file| state_of(file)).collect();
            if now != self.seen {
                self.seen = now;
                return;
            }
        }
    }
}

/// When the file was changed, and its size; `None` if there is none.
fn state_of(file: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_changed_file_is_seen_once() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let file = folder.path().join("a.yml");
        std::fs::write(&file, "a").expect("writable");
        let mut watch = FileWatch::new(Some(Duration::from_secs(30)), std::slice::from_ref(&file));
        let quiet = tokio::time::timeout(Duration::from_secs(100), watch.changed()).await;
        assert!(quiet.is_err(), "nothing has changed");
        std::fs::write(&file, "changed").expect("writable");
        watch.changed().await;
        let quiet = tokio::time::timeout(Duration::from_secs(100), watch.changed()).await;
        assert!(quiet.is_err(), "the change was seen already");
    }
}
