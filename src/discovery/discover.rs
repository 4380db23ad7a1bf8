//! Runs the mechanisms of one list of settings, each in a task of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::provider::{Provider, Refresh};
use super::{DiscoveryError, DiscoverySettings, TargetGroup};
use crate::telemetry::Counter;

/// How long the first groups are waited for before what is known is given without the others.
const FIRST_WAIT: Duration = Duration::from_secs(5);

/// The targets of one job, or of one entry of `alertmanagers`. Ends its tasks when dropped.
#[derive(Debug)]
pub struct Discovery {
    found: watch::Receiver<Vec<Found>>,
    tasks: Vec<JoinHandle<()>>,
    is_first: bool,
}

/// What one mechanism knows.
#[derive(Clone, Debug, Default)]
struct Found {
    /// It has been tried, with or without success.
    tried: bool,
    groups: Arc<Vec<TargetGroup>>,
}

impl Discovery {
    /// Starts the mechanisms. Settings that cannot work are reported here; what fails later is logged, counted in
    /// `failures` and tried again.
    pub fn start(settings: &[DiscoverySettings], failures: &Counter) -> Result<Self, DiscoveryError> {
        let (sender, found) = watch::channel(vec![Found::default(); settings.len()]);
        let sender = Arc::new(sender);
        let mut tasks = Vec::new();
        for (index, settings) in settings.iter().enumerate() {
            let provider = Provider::new(settings)?;
            let outlet = Outlet { index, sender: Arc::clone(&sender), failures: failures.clone() };
            match provider.interval() {
                Some(interval) => tasks.push(tokio::spawn(run(provider, interval, outlet))),
                None => outlet.found(provider.constant()),
            }
        }
        Ok(Self { found, tasks, is_first: true })
    }

    /// Waits for a change and gives all groups that are known then. The first call comes back as soon as every
    /// mechanism has been tried, or after a few seconds. May be cancelled at any time.
    pub async fn next(&mut self) -> Vec<TargetGroup> {
        if self.is_first {
            let all_tried = self.found.wait_for(|found| found.iter().all(|one| one.tried));
            // What is late comes as a change.
            let _ = timeout(FIRST_WAIT, all_tried).await;
            self.is_first = false;
        } else if self.found.changed().await.is_err() {
            // Only static groups, or none: nothing will ever change.
            std::future::pending::<()>().await;
        }
        self.groups()
    }

    /// All groups that are known now.
    pub fn groups(&mut self) -> Vec<TargetGroup> {
        let found = self.found.borrow_and_update();
        let mut groups = Vec::new();
        for (index, one) in found.iter().enumerate() {
            // Two mechanisms may use the same names for their groups.
            groups.extend(
                one.groups
                    .iter()
                    .map(|group| TargetGroup { source: format!("{index}/{}", group.source), ..group.clone() }),
            );
        }
        groups
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Where a mechanism's findings go.
struct Outlet {
    index: usize,
    sender: Arc<watch::Sender<Vec<Found>>>,
    failures: Counter,
}

impl Outlet {
    fn found(&self, groups: Vec<TargetGroup>) {
        self.sender.send_if_modified(|found| {
            let one = &mut found[self.index];
            let changed = !one.tried || *one.groups != groups;
            *one = Found { tried: true, groups: Arc::new(groups) };
            changed
        });
    }

    fn failed(&self) {
        self.failures.inc();
        self.sender.send_if_modified(|found| !std::mem::replace(&mut found[self.index].tried, true));
    }
}

async fn run(mut provider: Provider, interval: Duration, outlet: Outlet) {
    let mut last_error = String::new();
    loop {
        let Refresh { groups, failure } = provider.refresh().await;
        if let Some(groups) = groups {
            outlet.found(groups);
        }
        if failure.is_some() {
            outlet.failed();
        }
        let text = failure.map(|error| error.to_string()).unwrap_or_default();
        // Once per kind of failure: it may last for days.
        if !text.is_empty() && text != last_error {
            tracing::warn!(mechanism = provider.name(), error = text, "targets could not be refreshed");
        }
        last_error = text;
        tokio::time::sleep(interval).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::FileSettings;
    use crate::model::Labels;

    #[tokio::test(start_paused = true)]
    async fn static_groups_are_there_at_once_and_never_change() {
        let group = TargetGroup {
            source: "x".to_owned(),
            targets: vec![Labels::from_pairs([("__address__", "h")])],
            labels: Labels::empty(),
        };
        let settings = [DiscoverySettings::Static(group.clone())];
        let mut discovery = Discovery::start(&settings, &Counter::default()).expect("valid");
        assert_eq!(discovery.next().await, [TargetGroup { source: "0/x".to_owned(), ..group }]);
        assert!(timeout(Duration::from_secs(3600), discovery.next()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_keep_what_was_found() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("targets.json");
        std::fs::write(&path, r#"[{"targets": ["a:1"]}]"#).expect("written");
        let settings = FileSettings { files: vec![path.clone()], refresh_interval: Duration::from_secs(300) };
        let failures = Counter::default();
        let mut discovery = Discovery::start(&[DiscoverySettings::File(settings)], &failures).expect("valid");
        let first = discovery.next().await;
        assert_eq!(first[0].targets[0].get("__address__"), Some("a:1"));
        std::fs::write(&path, "nonsense [").expect("written");
        assert!(timeout(Duration::from_secs(3600), discovery.next()).await.is_err());
        assert!(failures.value() > 0);
        assert_eq!(discovery.groups(), first);
        std::fs::write(&path, r#"[{"targets": ["b:1", "c:1"]}]"#).expect("written");
        assert_eq!(discovery.next().await[0].targets.len(), 2);
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(discovery.next().await, [], "a file that is gone takes its targets along");
    }
}
