//! `outpost`: what Prometheus has no key for.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::model::format_duration;
use crate::yaml::Field;

/// Shorter wears the card out, longer loses too much with the power.
const FLUSH_INTERVAL: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(600);

/// Names that one installation may be reached by.
const ALLOWED_HOSTS_MAX: usize = 100;

/// `outpost`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutpostSettings {
    /// `store.flush_interval`: what a power cut may take at most; 5 s to 10 min, by default 30 s.
    pub flush_interval: Duration,
    /// `web.allowed_hosts`: further host names that requests may be addressed to, in lower case, without port.
    pub allowed_hosts: Vec<String>,
}

impl Default for OutpostSettings {
    fn default() -> Self {
        Self { flush_interval: Duration::from_secs(30), allowed_hosts: Vec::new() }
    }
}

/// Reads `outpost`.
pub fn read(field: &Field<'_>) -> OutpostSettings {
    let section = field.section();
    let mut settings = OutpostSettings::default();
    if let Some(store) = section.get("store") {
        read_store(&store, &mut settings);
    }
    if let Some(web) = section.get("web") {
        read_web(&web, &mut settings);
    }
    section.finish(|_| None);
    settings
}

fn read_store(field: &Field<'_>, settings: &mut OutpostSettings) {
    let section = field.section();
    if let Some(interval) = section.duration("flush_interval") {
        settings.flush_interval = interval;
        if !FLUSH_INTERVAL.contains(&interval) {
            let (low, high) = (format_duration(*FLUSH_INTERVAL.start()), format_duration(*FLUSH_INTERVAL.end()));
            section.problem("flush_interval", format!("must be from {low} to {high}"));
        }
    }
    section.finish(|key| {
        key.starts_with("retention").then(|| {
            "retention is set by the flags --storage.tsdb.retention.time and --storage.tsdb.retention.size".to_owned()
        })
    });
}

fn read_web(field: &Field<'_>, settings: &mut OutpostSettings) {
    let section = field.section();
    let hosts = section.items("allowed_hosts");
    if hosts.len() > ALLOWED_HOSTS_MAX {
        section.problem("allowed_hosts", format!("at most {ALLOWED_HOSTS_MAX} names"));
    }
    for host in hosts.iter().take(ALLOWED_HOSTS_MAX) {
        match host.text() {
            Some(name) if is_host_name(&name) => settings.allowed_hosts.push(name.to_ascii_lowercase()),
            Some(name) => host.problem(format!("{name:?} is not a host name; write it without scheme and port")),
            None => {}
        }
    }
    section.finish(|_| None);
}

fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}
