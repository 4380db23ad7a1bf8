//! How reloads went, and whether a file asks for one.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use crate::glob::glob;
use crate::model::Timestamp;
use crate::telemetry::{Gauge, Registry};

/// How the last reload went.
pub struct ReloadState {
    succeeded: Gauge,
    succeeded_at: Gauge,
    last: Mutex<Last>,
}

/// The last attempts.
#[derive(Clone, Copy)]
pub struct Last {
    /// When a configuration was last loaded.
    pub loaded_at: Timestamp,
    /// Since when none has been, if the last attempt failed.
    pub failing_since: Option<Timestamp>,
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
            last: Mutex::new(Last { loaded_at: now, failing_since: None }),
        };
        state.note(true, now);
        state
    }

    /// Takes down an attempt.
    pub fn note(&self, succeeded: bool, now: Timestamp) {
        self.succeeded.set(f64::from(u8::from(succeeded)));
        let mut last = self.last.lock().expect("no holder of the lock panics");
        if succeeded {
            self.succeeded_at.set(now.seconds());
            *last = Last { loaded_at: now, failing_since: None };
        } else {
            last.failing_since.get_or_insert(now);
        }
    }

    /// How the last attempts went.
    pub fn last(&self) -> Last {
        *self.last.lock().expect("no holder of the lock panics")
    }
}

/// Which files are watched.
#[derive(Clone, Debug, Default)]
pub struct WatchedFiles {
    /// By name.
    pub files: Vec<PathBuf>,
    /// By pattern: a file that comes or goes is a change too.
    pub patterns: Vec<PathBuf>,
}

/// Looks at files now and then. Polling also sees changes on network shares, which inotify does not. Looking happens
/// on a blocking thread: a share that hangs holds up nothing but the next look.
pub struct FileWatch {
    interval: Option<Duration>,
    watched: WatchedFiles,
    seen: Seen,
}

/// When each file was changed, and its size; `None` if there is none.
type Seen = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

impl FileWatch {
    /// Watches files every `interval`, or never.
    pub async fn new(interval: Option<Duration>, watched: WatchedFiles) -> Self {
        let mut watch = Self { interval, watched: WatchedFiles::default(), seen: Seen::new() };
        watch.follow(watched).await;
        watch
    }

    /// Watches these files from now on.
    pub async fn follow(&mut self, watched: WatchedFiles) {
        self.watched = watched;
        if self.interval.is_some() {
            self.seen = self.look().await;
        }
    }

    /// Ready once a file has changed since it was last looked at. May be cancelled at any time.
    pub async fn changed(&mut self) {
        let Some(interval) = self.interval else { return std::future::pending().await };
        loop {
            tokio::time::sleep(interval).await;
            let now = self.look().await;
            if now != self.seen {
                self.seen = now;
                return;
            }
        }
    }

    async fn look(&self) -> Seen {
        let watched = self.watched.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let matching = watched.patterns.iter().filter_map(|pattern| glob(pattern).ok()).flatten();
            let files = watched.files.into_iter().chain(matching);
            files.map(|file| (file.clone(), state_of(&file))).collect()
        });
        looked.await.unwrap_or_else(|_| self.seen.clone())
    }
}

fn state_of(file: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn is_quiet(watch: &mut FileWatch) -> bool {
        tokio::time::timeout(Duration::from_secs(100), watch.changed()).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn each_change_is_seen_once() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let (main, rules) = (folder.path().join("a.yml"), folder.path().join("rules"));
        std::fs::write(&main, "a").expect("writable");
        std::fs::create_dir(&rules).expect("writable");
        let watched = WatchedFiles { files: vec![main.clone()], patterns: vec![rules.join("*.yml")] };
        let mut watch = FileWatch::new(Some(Duration::from_secs(30)), watched).await;
        assert!(is_quiet(&mut watch).await, "nothing has changed");
        let changes: [&dyn Fn() -> std::io::Result<()>; 4] = [
            &|| std::fs::write(&main, "changed"),
            &|| std::fs::write(rules.join("new.yml"), "new"),
            &|| std::fs::write(rules.join("new.yml"), "newer"),
            &|| std::fs::remove_file(rules.join("new.yml")),
        ];
        for (index, change) in changes.iter().enumerate() {
            change().expect("writable");
            watch.changed().await;
            assert!(is_quiet(&mut watch).await, "change {index} was seen already");
        }
        std::fs::write(rules.join("other.txt"), "").expect("writable");
        assert!(is_quiet(&mut watch).await, "another file is no matter");
    }
}
