//! `outpost`: what Prometheus has no key for.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::model::format_duration;
use crate::promql::{MemoryBounds, parse_selector};
use crate::store::RetentionRule;
use crate::yaml::Field;

use super::parse_size;

/// Shorter wears the card out, longer loses too much with the power.
const FLUSH_INTERVAL: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(600);

/// Less could not even be kept by flushing every ten minutes.
const WRITES_PER_DAY_MIN: u64 = 1 << 20;

/// Room for a dashboard of twenty panels over a week.
const QUERY_CACHE_BYTES: usize = 8 << 20;

/// Each is asked about every series of a block that expires.
const RETENTION_RULES_MAX: usize = 100;

/// Less has no room for a query that is worth the name.
const QUERY_MEMORY_MIN: u64 = 1 << 20;

/// Names that one installation may be reached by.
const ALLOWED_HOSTS_MAX: usize = 100;

/// `outpost`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutpostSettings {
    /// `store.flush_interval`: what a power cut may take at most; 5 s to 10 min, by default 30 s.
    pub flush_interval: Duration,
    /// `store.max_writes_per_day`: stretches the flush interval so that no more reaches the card.
    pub writes_per_day_max: Option<u64>,
    /// `store.retention_rules`: series that are kept longer.
    pub retention_rules: Vec<RetentionRule>,
    /// `query.memory_per_query` and `query.memory_total`: what queries may hold, by default 128MB and 256MB.
    pub query_memory: MemoryBounds,
    /// `query.cache_size`: what results kept for the next refresh may take, by default 8MB; 0 keeps none.
    pub query_cache_bytes: usize,
    /// `web.allowed_hosts`: further host names that requests may be addressed to, in lower case, without port.
    pub allowed_hosts: Vec<String>,
}

impl Default for OutpostSettings {
    fn default() -> Self {
        Self {
            flush_interval: Duration::from_secs(30),
            writes_per_day_max: None,
            retention_rules: Vec::new(),
            query_memory: MemoryBounds::default(),
            query_cache_bytes: QUERY_CACHE_BYTES,
            allowed_hosts: Vec::new(),
        }
    }
}

/// Reads `outpost`.
pub fn read(field: &Field<'_>) -> OutpostSettings {
    let section = field.section();
    let mut settings = OutpostSettings::default();
    if let Some(store) = section.get("store") {
        read_store(&store, &mut settings);
    }
    if let Some(query) = section.get("query") {
        read_query(&query, &mut settings);
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
    settings.writes_per_day_max = section.get("max_writes_per_day").and_then(|field| read_budget(&field));
    let rules = section.items("retention_rules");
    if rules.len() > RETENTION_RULES_MAX {
        section.problem("retention_rules", format!("at most {RETENTION_RULES_MAX} rules"));
    }
    settings.retention_rules = rules.iter().take(RETENTION_RULES_MAX).filter_map(read_rule).collect();
    section.finish(|key| {
        key.starts_with("retention").then(|| {
            "retention is set by the flags --storage.tsdb.retention.time and --storage.tsdb.retention.size".to_owned()
        })
    });
}

fn read_query(field: &Field<'_>, settings: &mut OutpostSettings) {
    let section = field.section();
    if let Some(bytes) = section.get("cache_size").and_then(|field| read_size(&field, 0)) {
        settings.query_cache_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    }
    let memory = &mut settings.query_memory;
    for (key, bound) in
        [("memory_per_query", &mut memory.query_bytes_max), ("memory_total", &mut memory.total_bytes_max)]
    {
        if let Some(bytes) = section.get(key).and_then(|field| read_size(&field, QUERY_MEMORY_MIN)) {
            *bound = bytes;
        }
    }
    if memory.total_bytes_max < memory.query_bytes_max {
        section.problem("memory_total", "must not be less than memory_per_query");
    }
    section.finish(|key| {
        let is_flag = matches!(key, "timeout" | "max_samples" | "max_concurrency" | "lookback_delta");
        is_flag.then(|| format!("this is set by the flag --query.{}", key.replace('_', "-")))
    });
}

fn read_size(field: &Field<'_>, least: u64) -> Option<u64> {
    match parse_size(&field.text()?) {
        Ok(bytes) if bytes >= least => return Some(bytes),
        Ok(_) => field.problem("must be at least 1MB"),
        Err(error) => field.problem(error.to_string()),
    }
    None
}

fn read_budget(field: &Field<'_>) -> Option<u64> {
    match parse_size(&field.text()?) {
        Ok(bytes) if bytes >= WRITES_PER_DAY_MIN => return Some(bytes),
        Ok(_) => field.problem("must be at least 1MB; leave it out for no bound"),
        Err(error) => field.problem(error.to_string()),
    }
    None
}

fn read_rule(field: &Field<'_>) -> Option<RetentionRule> {
    let section = field.section();
    let matchers = match section.text("match").map(|text| parse_selector(&text)) {
        Some(Ok(matchers)) => Some(matchers),
        Some(Err(error)) => {
            section.problem("match", error.to_string());
            None
        }
        None => {
            section.problem("match", "a selector is needed, for example '{__name__=~\"job:.*\"}'");
            None
        }
    };
    let keep = section.duration("keep");
    if keep.is_none() {
        section.problem("keep", "a duration is needed, for example 1y");
    }
    section.finish(|_| None);
    Some(RetentionRule { matchers: matchers?, keep: keep? })
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
