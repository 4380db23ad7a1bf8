//! Disks' own health through smartctl, under smartctl_exporter's names.
//!
//! smartctl is run every few minutes beside the scrapes, which are given what it said last: no scrape runs a program or waits
//! for a disk. A disk that sleeps is left asleep, and its last figures are shown on, with the time that they are from.

mod report;
mod smartctl;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::report::Report;
use self::smartctl::{Answer, Device, Smartctl};
use super::page::Page;
use super::{CollectError, CollectFuture, Collector, SmartCollectorSettings};
use crate::clock::Clock;
use crate::model::{MetricType, Timestamp};

/// Disks of one job; more are left out with a log line.
pub const DISKS_MAX: usize = 64;

/// What scrapes are given: a page, or why there is none. `None`: the first disk has not answered yet.
type State = Option<Result<Arc<[u8]>, String>>;

/// Collects what the disks of this host say of themselves.
pub struct SmartCollector {
    settings: SmartCollectorSettings,
    clock: Clock,
    state: watch::Sender<State>,
    /// Runs from the first scrape on.
    poll: OnceLock<JoinHandle<()>>,
}

impl SmartCollector {
    /// A collector that asks smartctl as `settings` say, from its first collection on.
    pub fn new(settings: SmartCollectorSettings, clock: Clock) -> Self {
        Self { settings, clock, state: watch::Sender::new(None), poll: OnceLock::new() }
    }

    async fn page(&self) -> Result<Arc<[u8]>, String> {
        let mut state = self.state.subscribe();
        let state = state.wait_for(Option::is_some).await.map_err(|_| "the polling has ended".to_owned())?;
        state.clone().expect("there is one")
    }
}

/// The page of one answer of smartctl.
pub(super) fn write_answer(page: &mut Page<'_>, answer: &[u8]) {
    let Ok(answer) = serde_json::from_slice(answer) else { return };
    let scanned = smartctl::scanned(&answer);
    let device = scanned.first().map_or_else(|| "sda".to_owned(), Device::label);
    if let Answer::Read(answer) = smartctl::judge(answer) {
        report::write(page, &[Report { device: &device, answer: &answer }]);
    }
}

impl Collector for SmartCollector {
    fn collect<'a>(&'a self, page: &'a mut Vec<u8>) -> CollectFuture<'a> {
        self.poll
            .get_or_init(|| tokio::spawn(Poll::new(self.settings.clone(), self.clock.clone()).run(self.state.clone())));
        Box::pin(async move {
            let known = self.page().await.map_err(|reason| CollectError::Smart { reason })?;
            page.extend_from_slice(&known);
            Ok(())
        })
    }
}

impl Drop for SmartCollector {
    fn drop(&mut self) {
        if let Some(poll) = self.poll.get() {
            // The program that runs at the moment is ended with it.
            poll.abort();
        }
    }
}

/// Asks the disks in turn, again and again.
struct Poll {
    settings: SmartCollectorSettings,
    clock: Clock,
    scan: Smartctl,
    /// By label; those of the last scan that was answered.
    disks: BTreeMap<String, Disk>,
    /// Why the last scan gave nothing.
    scan_failure: Option<String>,
}

/// What is known of a disk.
#[derive(Default)]
struct Disk {
    device: Device,
    smartctl: Smartctl,
    /// The last answer, and when it came.
    last: Option<(Value, Timestamp)>,
    /// Whether it slept at the last look; `None` before the first one, which may take long.
    is_asleep: Option<bool>,
    /// Why the last poll gave nothing.
    failure: Option<String>,
}

impl Poll {
    fn new(settings: SmartCollectorSettings, clock: Clock) -> Self {
        Self { settings, clock, scan: Smartctl::default(), disks: BTreeMap::new(), scan_failure: None }
    }

    async fn run(mut self, sender: watch::Sender<State>) {
        loop {
            self.look_around(&sender).await;
            self.round(&sender).await;
            tokio::time::sleep(self.settings.interval).await;
        }
    }

    /// Learns which disks there are. A scan that fails changes nothing of what is known.
    async fn look_around(&mut self, sender: &watch::Sender<State>) {
        let found = match self.devices().await {
            Ok(found) => found,
            Err(reason) => {
                if self.scan_failure.as_ref() != Some(&reason) {
                    tracing::warn!(reason, "smartctl does not tell the disks");
                }
                self.scan_failure = Some(reason.clone());
                if self.disks.is_empty() {
                    sender.send_replace(Some(Err(reason)));
                }
                return;
            }
        };
        self.scan_failure = None;
        self.disks.retain(|label, _| found.contains_key(label));
        for (label, device) in found {
            self.disks.entry(label).or_default().device = device;
        }
        if self.disks.is_empty() {
            sender.send_replace(Some(Ok(self.render().into())));
        }
    }

    /// The disks by label: those of the settings, or what smartctl finds and the patterns let through.
    async fn devices(&mut self) -> Result<BTreeMap<String, Device>, String> {
        let found = if self.settings.devices.is_empty() {
            let mut found = self.scan.scan(&self.settings.smartctl).await?;
            found.retain(|device| self.is_wanted(&device.label()));
            found
        } else {
            self.settings.devices.iter().map(|text| Device::parse(text)).collect()
        };
        if found.len() > DISKS_MAX {
            tracing::warn!(found = found.len(), shown = DISKS_MAX, "more disks than are shown");
        }
        Ok(found.into_iter().take(DISKS_MAX).map(|device| (device.label(), device)).collect())
    }

    fn is_wanted(&self, label: &str) -> bool {
        self.settings.device_include.as_ref().is_none_or(|pattern| pattern.is_match(label))
            && !self.settings.device_exclude.as_ref().is_some_and(|pattern| pattern.is_match(label))
    }

    async fn round(&mut self, sender: &watch::Sender<State>) {
        let labels: Vec<String> = self.disks.keys().cloned().collect();
        for label in labels {
            let Some(disk) = self.disks.get_mut(&label) else { continue };
            let answer = disk.smartctl.read(&self.settings.smartctl, &disk.device).await;
            disk.learn(&label, answer, self.clock.now());
            // A disk that takes long does not hold up what the others said.
            sender.send_replace(Some(Ok(self.render().into())));
        }
    }

    fn render(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut page = Page::new(&mut bytes);
        page.gauge("smartctl_devices", "Disks that are asked.", self.disks.len() as f64);
        self.write_polls(&mut page);
        let told = self.disks.iter().filter_map(|(device, disk)| Some((device, disk.last.as_ref()?)));
        let reports: Vec<Report<'_>> = told.map(|(device, (answer, _))| Report { device, answer }).collect();
        report::write(&mut page, &reports);
        drop(page);
        bytes
    }

    fn write_polls(&self, page: &mut Page<'_>) {
        let family = "outpost_smart_last_read_timestamp_seconds";
        let mut last = page.family(family, MetricType::Gauge, "When the disk last told of itself.");
        for (device, disk) in &self.disks {
            if let Some((_, at)) = &disk.last {
                last.sample(&[("device", device)], at.seconds());
            }
        }
        let mut asleep =
            page.family("outpost_smart_standby", MetricType::Gauge, "Whether the disk slept and was left asleep.");
        for (device, disk) in &self.disks {
            if let Some(is_asleep) = disk.is_asleep {
                asleep.sample(&[("device", device)], f64::from(u8::from(is_asleep)));
            }
        }
        let mut success =
            page.family("outpost_smart_read_success", MetricType::Gauge, "Whether the last reading did not fail.");
        for (device, disk) in self.disks.iter().filter(|(_, disk)| disk.is_asleep.is_some()) {
            success.sample(&[("device", device)], f64::from(u8::from(disk.failure.is_none())));
        }
    }
}

impl Disk {
    fn learn(&mut self, label: &str, answer: Answer, now: Timestamp) {
        let before = self.failure.take();
        self.is_asleep = Some(answer == Answer::Asleep);
        match answer {
            Answer::Read(answer) => self.last = Some((answer, now)),
            Answer::Asleep => {}
            Answer::Failed(reason) => {
                if before.as_ref() != Some(&reason) {
                    tracing::warn!(device = label, reason, "smartctl does not tell of a disk");
                }
                self.failure = Some(reason);
            }
        }
    }
}
