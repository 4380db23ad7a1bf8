//! This host, under node_exporter's names, types and labels, read from /proc and /sys.
//!
//! One file per subsystem, each a pure reader: text of the kernel in, families out. A subsystem that fails
//! takes its own families back and says so in `node_scrape_collector_success`; the others go on. Source
//! of names and meanings: node_exporter 1.11's pages; of the files: Documentation/ of the Linux kernel.

mod host;

mod arp;
mod conntrack;
mod cpu;
mod cpufreq;
mod diskstats;
mod entropy;
mod filefd;
mod filesystem;
mod hwmon;
mod loadavg;
mod meminfo;
mod netclass;
mod netdev;
mod netstat;
mod os_release;
mod pressure;
mod sockstat;
mod softnet;
mod stat;
mod thermal_zone;
mod time;
mod timex;
mod uname;
mod vmstat;

use std::sync::Arc;
use std::time::Instant;

use super::page::Page;
use super::{CollectError, CollectFuture, Collector, NodeCollectorSettings};
use crate::clock::Clock;
use crate::model::MetricType;
use host::{Host, NodeError};

type Subsystem = (&'static str, fn(&Host, &mut Page<'_>) -> Result<(), NodeError>);

/// The subsystems by node_exporter's collector names.
const SUBSYSTEMS: &[Subsystem] = &[
    ("arp", arp::collect),
    ("conntrack", conntrack::collect),
    ("cpu", cpu::collect),
    ("cpufreq", cpufreq::collect),
    ("diskstats", diskstats::collect),
    ("entropy", entropy::collect),
    ("filefd", filefd::collect),
    ("filesystem", filesystem::collect),
    ("hwmon", hwmon::collect),
    ("loadavg", loadavg::collect),
    ("meminfo", meminfo::collect),
    ("netclass", netclass::collect),
    ("netdev", netdev::collect),
    ("netstat", netstat::collect),
    ("os", os_release::collect),
    ("pressure", pressure::collect),
    ("sockstat", sockstat::collect),
    ("softnet", softnet::collect),
    ("stat", stat::collect),
    ("thermal_zone", thermal_zone::collect),
    ("time", time::collect),
    ("timex", timex::collect),
    ("uname", uname::collect),
    ("vmstat", vmstat::collect),
];

/// Collects this host.
pub struct NodeCollector {
    host: Arc<Host>,
}

impl NodeCollector {
    /// A collector that reads below the roots of `settings`.
    pub fn new(settings: NodeCollectorSettings, clock: Clock) -> Self {
        Self { host: Arc::new(Host::new(settings, clock)) }
    }
}

impl Collector for NodeCollector {
    fn collect<'a>(&'a self, page: &'a mut Vec<u8>) -> CollectFuture<'a> {
        Box::pin(async move {
            let host = Arc::clone(&self.host);
            let mut bytes = std::mem::take(page);
            let task = tokio::task::spawn_blocking(move || {
                let readable = write_page(&host, &mut bytes);
                (bytes, readable)
            });
            let (bytes, readable) = task.await.expect("reading the host does not panic");
            *page = bytes;
            readable
        })
    }
}

/// All subsystems, then how each went. Fails only where there is no /proc to read.
fn write_page(host: &Host, bytes: &mut Vec<u8>) -> Result<(), CollectError> {
    if !host.procfs().join("stat").exists() {
        let path = host.procfs().display().to_string();
        return Err(CollectError::Unreadable { path, reason: "no file stat there; is procfs mounted?".to_owned() });
    }
    let mut page = Page::new(bytes);
    let mut outcomes = Vec::with_capacity(SUBSYSTEMS.len());
    for (name, collect) in SUBSYSTEMS {
        let (started, mark) = (Instant::now(), page.len());
        let outcome = collect(host, &mut page);
        if let Err(error) = &outcome {
            page.rewind(mark);
            tracing::debug!(collector = name, %error, "subsystem gave nothing");
        }
        outcomes.push((*name, outcome.is_ok(), started.elapsed().as_secs_f64()));
    }
    write_outcomes(&mut page, &outcomes);
    Ok(())
}

fn write_outcomes(page: &mut Page<'_>, outcomes: &[(&str, bool, f64)]) {
    let mut durations =
        page.family("node_scrape_collector_duration_seconds", MetricType::Gauge, "How long a subsystem took.");
    for (name, _, seconds) in outcomes {
        durations.sample(&[("collector", name)], *seconds);
    }
    let mut successes =
        page.family("node_scrape_collector_success", MetricType::Gauge, "Whether a subsystem could be read.");
    for (name, success, _) in outcomes {
        successes.sample(&[("collector", name)], f64::from(u8::from(*success)));
    }
}

#[cfg(test)]
mod tests;
