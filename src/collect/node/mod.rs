//! This host, under node_exporter's names, types and labels, read from /proc and /sys.
//!
//! One file per subsystem, each a pure reader: text of the kernel in, families out. A subsystem that fails
//! takes its own families back and says so in `node_scrape_collector_success`; the others go on. Source
//! of names and meanings: node_exporter 1.11's pages; of the files: Documentation/ of the Linux kernel.

mod dbus;
mod flags;
mod host;
mod kept;
mod table;

mod arp;
mod bcache;
mod bonding;
mod btrfs;
mod btrfs_devices;
mod conntrack;
mod cpu;
mod cpufreq;
mod diskstats;
mod dmi;
mod edac;
mod entropy;
mod ethtool;
mod ethtool_socket;
mod fibrechannel;
mod filefd;
mod filesystem;
mod hwmon;
mod infiniband;
mod interrupts;
mod ipvs;
mod kernel_hung;
mod loadavg;
mod local_time;
mod mdadm;
mod meminfo;
mod mmc;
mod netclass;
mod netdev;
mod netlink;
mod netstat;
mod nfs;
mod nvme;
mod os_release;
mod powersupplyclass;
mod pressure;
mod processes;
mod rapl;
mod raspberry_pi;
mod schedstat;
mod selinux;
mod sockstat;
mod softnet;
mod stat;
mod systemd;
mod tapestats;
mod textfile;
mod thermal_zone;
mod time;
mod timex;
mod udp_queues;
mod uname;
mod vmstat;
mod watchdog;
mod wifi;
mod xfs;
mod zfs;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tracing::Level;

use super::page::Page;
use super::{CollectError, CollectFuture, Collector, NodeCollectorSettings};
use crate::clock::Clock;
use crate::model::MetricType;
pub use flags::{NodeFlags, RELATIVE_FOLDER};
use host::{Host, NodeError};

/// Whether a subsystem is read without being asked for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Usually {
    Runs,
    Rests,
}

type Subsystem = (&'static str, Usually, fn(&Host, &mut Page<'_>) -> Result<(), NodeError>);

/// The subsystems by node_exporter's collector names; `mmc` and `raspberry_pi` are outpost's own.
const SUBSYSTEMS: &[Subsystem] = &[
    ("arp", Usually::Runs, arp::collect),
    ("bcache", Usually::Runs, bcache::collect),
    ("bonding", Usually::Runs, bonding::collect),
    ("btrfs", Usually::Runs, btrfs::collect),
    ("conntrack", Usually::Runs, conntrack::collect),
    ("cpu", Usually::Runs, cpu::collect),
    ("cpufreq", Usually::Runs, cpufreq::collect),
    ("diskstats", Usually::Runs, diskstats::collect),
    ("dmi", Usually::Runs, dmi::collect),
    ("edac", Usually::Runs, edac::collect),
    ("entropy", Usually::Runs, entropy::collect),
    ("ethtool", Usually::Rests, ethtool::collect),
    ("fibrechannel", Usually::Runs, fibrechannel::collect),
    ("filefd", Usually::Runs, filefd::collect),
    ("filesystem", Usually::Runs, filesystem::collect),
    ("hwmon", Usually::Runs, hwmon::collect),
    ("infiniband", Usually::Runs, infiniband::collect),
    ("interrupts", Usually::Rests, interrupts::collect),
    ("ipvs", Usually::Runs, ipvs::collect),
    ("kernel_hung", Usually::Runs, kernel_hung::collect),
    ("loadavg", Usually::Runs, loadavg::collect),
    ("mdadm", Usually::Runs, mdadm::collect),
    ("meminfo", Usually::Runs, meminfo::collect),
    ("mmc", Usually::Runs, mmc::collect),
    ("netclass", Usually::Runs, netclass::collect),
    ("netdev", Usually::Runs, netdev::collect),
    ("netstat", Usually::Runs, netstat::collect),
    ("nfs", Usually::Runs, nfs::collect_client),
    ("nfsd", Usually::Runs, nfs::collect_server),
    ("nvme", Usually::Runs, nvme::collect),
    ("os", Usually::Runs, os_release::collect),
    ("powersupplyclass", Usually::Runs, powersupplyclass::collect),
    ("pressure", Usually::Runs, pressure::collect),
    ("processes", Usually::Rests, processes::collect),
    ("rapl", Usually::Runs, rapl::collect),
    ("raspberry_pi", Usually::Runs, raspberry_pi::collect),
    ("schedstat", Usually::Runs, schedstat::collect),
    ("selinux", Usually::Runs, selinux::collect),
    ("sockstat", Usually::Runs, sockstat::collect),
    ("softirqs", Usually::Rests, interrupts::collect_softirqs),
    ("softnet", Usually::Runs, softnet::collect),
    ("stat", Usually::Runs, stat::collect),
    ("systemd", Usually::Rests, systemd::collect),
    ("tapestats", Usually::Runs, tapestats::collect),
    ("textfile", Usually::Runs, textfile::collect),
    ("thermal_zone", Usually::Runs, thermal_zone::collect),
    ("time", Usually::Runs, time::collect),
    ("timex", Usually::Runs, timex::collect),
    ("udp_queues", Usually::Runs, udp_queues::collect),
    ("uname", Usually::Runs, uname::collect),
    ("vmstat", Usually::Runs, vmstat::collect),
    ("watchdog", Usually::Runs, watchdog::collect),
    ("wifi", Usually::Rests, wifi::collect),
    ("xfs", Usually::Runs, xfs::collect),
    ("zfs", Usually::Runs, zfs::collect),
];

/// The page of what a network device's driver answers.
pub(super) fn write_ethtool_answer(page: &mut Page<'_>, answer: &[u8]) {
    ethtool::write_answer(page, answer);
}

/// The page of what the kernel says of a radio.
pub(super) fn write_wifi_answer(page: &mut Page<'_>, answer: &[u8]) {
    wifi::write_answer(page, answer);
}

/// Collects this host.
pub struct NodeCollector {
    host: Arc<Host>,
    /// Whether a collection is under way, perhaps one that nobody waits for any more.
    is_under_way: Arc<AtomicBool>,
}

/// A collection that is under way until this goes.
struct UnderWay(Arc<AtomicBool>);

impl UnderWay {
    /// `None` if one is already: nothing can interrupt a read that hangs, and each would take a thread.
    fn begin(flag: &Arc<AtomicBool>) -> Option<Self> {
        (!flag.swap(true, Ordering::AcqRel)).then(|| Self(Arc::clone(flag)))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl NodeCollector {
    /// A collector that reads below the roots of `settings`.
    pub fn new(settings: NodeCollectorSettings, clock: Clock) -> Self {
        Self { host: Arc::new(Host::new(settings, clock)), is_under_way: Arc::default() }
    }
}

impl Collector for NodeCollector {
    fn collect<'a>(&'a self, page: &'a mut Vec<u8>) -> CollectFuture<'a> {
        Box::pin(async move {
            let host = Arc::clone(&self.host);
            let under_way = UnderWay::begin(&self.is_under_way).ok_or(CollectError::UnderWay)?;
            let mut bytes = std::mem::take(page);
            let task = tokio::task::spawn_blocking(move || {
                let readable = write_page(&host, &mut bytes);
                drop(under_way);
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
    for (name, _, collect) in SUBSYSTEMS.iter().filter(|(name, usually, _)| host.flags().runs(name, *usually)) {
        let (started, mark) = (Instant::now(), page.mark());
        let outcome = collect(host, &mut page);
        if let Err(error) = &outcome {
            page.rewind(mark);
            let level = host.level_of(name, error);
            let error = error as &dyn std::error::Error;
            match level {
                Level::WARN => tracing::warn!(collector = name, error, "a subsystem that was switched on gave nothing"),
                _ => tracing::debug!(collector = name, error, "subsystem gave nothing"),
            }
        }
        outcomes.push((*name, outcome.is_ok(), started.elapsed().as_secs_f64()));
    }
    host.end_collection();
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
