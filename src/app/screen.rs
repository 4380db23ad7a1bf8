//! What a person sees when the server starts.

use std::collections::BTreeMap;

use super::build::Urls;
use crate::cli::RunOptions;
use crate::collect::CollectorSettings;
use crate::config::Config;
use crate::discovery::DiscoverySettings;
use crate::model::format_duration;
use crate::scrape::{JobSettings, JobSource};

/// Jobs shown by name; the rest is counted.
const JOBS_SHOWN_MAX: usize = 12;

/// What is scraped, where it is stored and where to look.
pub fn text(options: &RunOptions, config: &Config, urls: &Urls) -> String {
    let mut lines = vec![format!("outpost {}", env!("CARGO_PKG_VERSION"))];
    let source = options.config_file.as_ref().map_or("built in".to_owned(), |path| path.display().to_string());
    lines.push(format!("  configuration  {source}"));
    let mut jobs: Vec<String> = config.jobs.iter().take(JOBS_SHOWN_MAX).map(job).collect();
    if config.jobs.len() > JOBS_SHOWN_MAX {
        jobs.push(format!("and {} jobs more", config.jobs.len() - JOBS_SHOWN_MAX));
    }
    if jobs.is_empty() {
        jobs.push("nothing: there are no scrape_configs".to_owned());
    }
    push_all(&mut lines, "scrapes", &jobs);
    if !config.rule_files.is_empty() {
        lines.push(format!("  rules          {} files", config.rule_files.len()));
    }
    lines.push(format!("  stores         {} ({})", options.storage_path.display(), retention(options)));
    push_all(&mut lines, "look at", &urls.local);
    lines.join("\n") + "\n"
}

fn push_all(lines: &mut Vec<String>, title: &str, entries: &[String]) {
    for (position, entry) in entries.iter().enumerate() {
        lines.push(format!("  {:<13}  {entry}", if position == 0 { title } else { "" }));
    }
}

fn job(job: &JobSettings) -> String {
    let what = match &job.source {
        JobSource::Collector(CollectorSettings::Node(_)) => "this host".to_owned(),
        JobSource::Collector(CollectorSettings::Docker(settings)) => format!("containers at {}", settings.docker_host),
        JobSource::Collector(CollectorSettings::Smart(_)) => "disks by smartctl".to_owned(),
        JobSource::Collector(CollectorSettings::Nut(settings)) => format!("a power supply at {}", settings.server),
        JobSource::Collector(CollectorSettings::Own) => "outpost itself".to_owned(),
        JobSource::Http { discovery, .. } => targets(discovery),
        JobSource::Probes { discovery, .. } => format!("probes of {}", targets(discovery)),
    };
    format!("{}: {what}, every {}", job.job_name, format_duration(job.scrape_interval))
}

fn targets(discovery: &[DiscoverySettings]) -> String {
    let mut fixed = 0;
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for settings in discovery {
        match settings {
            DiscoverySettings::Static(group) => fixed += group.targets.len(),
            DiscoverySettings::File(_) => *found.entry("files").or_default() += 1,
            DiscoverySettings::Http(_) => *found.entry("HTTP").or_default() += 1,
            DiscoverySettings::Dns(_) => *found.entry("DNS").or_default() += 1,
            DiscoverySettings::Docker(_) => *found.entry("Docker").or_default() += 1,
            DiscoverySettings::DockerSwarm(_) => *found.entry("Docker Swarm").or_default() += 1,
        }
    }
    let mut parts = Vec::new();
    if fixed > 0 || found.is_empty() {
        parts.push(format!("{fixed} target{}", if fixed == 1 { "" } else { "s" }));
    }
    parts.extend(found.keys().map(|mechanism| format!("what {mechanism} names")));
    parts.join(" and ")
}

/// `30d`, `2GiB`, or both.
pub fn retention(options: &RunOptions) -> String {
    let time = options.retention_time.map(format_duration);
    let size = options.retention_bytes.map(|bytes| format!("{}MiB", bytes >> 20));
    [time, size].into_iter().flatten().collect::<Vec<_>>().join(" or ")
}
