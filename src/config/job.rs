//! One entry of `scrape_configs`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::paths::Folder;
use super::{client, collector, discovery, probe, relabel, size, unsupported};
use crate::model::format_duration;
use crate::scrape::{JobLimits, JobSettings, JobSource, NameEscaping, ScrapeProtocol, bounds};
use crate::yaml::{Field, Section};

/// Reads a job; what it leaves out comes from `defaults`. `None` if there is nothing to go on with.
pub fn read(field: &Field<'_>, defaults: &JobSettings, folder: &Folder) -> Option<JobSettings> {
    if field.is_null() {
        field.problem("an empty entry; remove it or give it a job_name");
        return None;
    }
    let section = field.section();
    let mut job = JobSettings { limits: limits(&section, &defaults.limits), ..defaults.clone() };
    match section.text("job_name") {
        Some(name) => job.job_name = name,
        None => section.problem("job_name", "job_name is missing or empty; every job needs one of its own"),
    }
    read_times(&section, &mut job);
    read_formats(&section, &mut job);
    read_request(&section, &mut job);
    job.relabel_rules = relabel::read(&section, "relabel_configs");
    job.metric_relabel_rules = relabel::read(&section, "metric_relabel_configs");
    job.source = source(&section, &job, folder);
    unsupported::read_histogram_conversion(&section);
    unsupported::read_native_bounds(&section);
    unsupported::read_log_files(&section);
    section.pass_empty(&unsupported::FOREIGN_DISCOVERIES);
    section.finish(unsupported::job);
    Some(job)
}

/// The message for a timeout that does not fit.
pub fn timeout_too_long(timeout: Duration, interval: Duration) -> String {
    let (timeout, interval) = (format_duration(timeout), format_duration(interval));
    format!("scrape_timeout ({timeout}) is greater than scrape_interval ({interval}); lower it or scrape less often")
}

/// `scrape_protocols`, if written.
pub fn protocols(section: &Section<'_>) -> Option<Vec<ScrapeProtocol>> {
    let field = section.get("scrape_protocols")?;
    let mut protocols = Vec::new();
    for item in field.items() {
        let Some(protocol) = protocol(&item) else { continue };
        if protocols.contains(&protocol) {
            item.problem("this protocol stands twice in the list");
        }
        protocols.push(protocol);
    }
    if field.is_null() {
        return None;
    }
    if field.items().is_empty() {
        field.problem("at least one protocol is needed; leave the key out for the default ones");
    }
    Some(protocols)
}

/// The limits that are written and not 0; `defaults` for the others.
pub fn limits(section: &Section<'_>, defaults: &JobLimits) -> JobLimits {
    let limit = |key, inherited, bound: usize| {
        let written = section.unsigned(key).filter(|limit| *limit > 0);
        written.inspect(|limit| check_bound(section, key, *limit, bound)).unwrap_or(inherited)
    };
    JobLimits {
        body_size_bytes: body_size(section).filter(|limit| *limit > 0).unwrap_or(defaults.body_size_bytes),
        samples: limit("sample_limit", defaults.samples, bounds::SAMPLES_PER_PAGE_MAX),
        targets: limit("target_limit", defaults.targets, bounds::TARGETS_PER_JOB_MAX),
        labels: limit("label_limit", defaults.labels, bounds::LABELS_PER_SERIES_MAX),
        label_name_bytes: limit("label_name_length_limit", defaults.label_name_bytes, bounds::SERIES_BYTES_MAX),
        label_value_bytes: limit("label_value_length_limit", defaults.label_value_bytes, bounds::SERIES_BYTES_MAX),
        keep_dropped_targets: limit(
            "keep_dropped_targets",
            defaults.keep_dropped_targets,
            bounds::DROPPED_TARGETS_KEPT,
        ),
    }
}

/// A limit beyond what is ever taken must not make its author believe that more is.
fn check_bound(section: &Section<'_>, key: &'static str, limit: u64, bound: usize) {
    if limit > bound as u64 {
        let text = format!("is above what outpost takes anyway, {bound}: that bound holds; set at most {bound}");
        section.warning(key, text);
    }
}

/// `metric_name_validation_scheme`: whether only legacy names are valid.
pub fn legacy_names(section: &Section<'_>) -> Option<bool> {
    match section.text("metric_name_validation_scheme")?.as_str() {
        "legacy" => Some(true),
        "utf8" => Some(false),
        other => {
            section.problem("metric_name_validation_scheme", format!("must be `utf8` or `legacy`, not {other:?}"));
            None
        }
    }
}

/// `metric_name_escaping_scheme`
pub fn name_escaping(section: &Section<'_>) -> Option<NameEscaping> {
    match section.text("metric_name_escaping_scheme")?.as_str() {
        "allow-utf-8" => Some(NameEscaping::AllowUtf8),
        "underscores" => Some(NameEscaping::Underscores),
        "dots" => Some(NameEscaping::Dots),
        "values" => Some(NameEscaping::Values),
        other => {
            let message = format!("must be allow-utf-8, underscores, dots or values, not {other:?}");
            section.problem("metric_name_escaping_scheme", message);
            None
        }
    }
}

fn body_size(section: &Section<'_>) -> Option<u64> {
    let field = section.get("body_size_limit").filter(|field| !field.is_null())?;
    let text = field.text()?;
    if text.starts_with('-') {
        field.warning("a negative size means no limit");
    }
    let size = size::parse_size(&text).map_err(|error| field.problem(error.to_string())).ok();
    size.inspect(|size| check_bound(section, "body_size_limit", *size, bounds::BODY_BYTES_MAX))
}

fn protocol(field: &Field<'_>) -> Option<ScrapeProtocol> {
    let text = field.text()?;
    let protocol = match text.as_str() {
        "PrometheusProto" => ScrapeProtocol::PrometheusProto,
        "PrometheusText0.0.4" => ScrapeProtocol::PrometheusText004,
        "PrometheusText1.0.0" => ScrapeProtocol::PrometheusText100,
        "OpenMetricsText0.0.1" => ScrapeProtocol::OpenMetricsText001,
        "OpenMetricsText1.0.0" => ScrapeProtocol::OpenMetricsText100,
        _ => {
            field.problem(format!(
                "unknown protocol {text:?}; known are OpenMetricsText1.0.0, OpenMetricsText0.0.1, \
                 PrometheusText1.0.0, PrometheusText0.0.4, PrometheusProto"
            ));
            return None;
        }
    };
    Some(protocol)
}

fn read_times(section: &Section<'_>, job: &mut JobSettings) {
    job.scrape_interval = section.duration("scrape_interval").unwrap_or(job.scrape_interval);
    match section.duration("scrape_timeout") {
        Some(timeout) if timeout > job.scrape_interval => {
            section.problem("scrape_timeout", timeout_too_long(timeout, job.scrape_interval));
        }
        Some(timeout) => job.scrape_timeout = timeout,
        None => job.scrape_timeout = job.scrape_timeout.min(job.scrape_interval),
    }
}

fn read_formats(section: &Section<'_>, job: &mut JobSettings) {
    if let Some(protocols) = protocols(section) {
        job.scrape_protocols = protocols;
    }
    job.fallback_scrape_protocol = section
        .get("fallback_scrape_protocol")
        .filter(|field| field.text().is_none_or(|text| !text.is_empty()))
        .and_then(|field| protocol(&field));
    job.legacy_names_only = legacy_names(section).unwrap_or(job.legacy_names_only);
    job.name_escaping = name_escaping(section).unwrap_or(job.name_escaping);
    if job.legacy_names_only && job.name_escaping == NameEscaping::AllowUtf8 {
        section.problem(
            "metric_name_escaping_scheme",
            "allow-utf-8 needs metric_name_validation_scheme utf8; with `legacy` choose underscores, dots or values",
        );
    }
    let inherited = job.always_scrape_classic_histograms;
    job.always_scrape_classic_histograms = section.boolean("always_scrape_classic_histograms").unwrap_or(inherited);
}

fn read_request(section: &Section<'_>, job: &mut JobSettings) {
    job.honor_labels = section.boolean("honor_labels").unwrap_or(false);
    job.honor_timestamps = section.boolean("honor_timestamps").unwrap_or(true);
    job.track_timestamps_staleness = section.boolean("track_timestamps_staleness").unwrap_or(false);
    job.enable_compression = section.boolean("enable_compression").unwrap_or(true);
    if let Some(path) = section.get("metrics_path").and_then(|field| field.text()) {
        job.metrics_path = path;
    }
    if let Some(scheme) = section.get("scheme").and_then(|field| field.text()) {
        job.scheme = scheme;
    }
    job.params = section.get("params").map(|field| params(&field)).unwrap_or_default();
}

fn params(field: &Field<'_>) -> BTreeMap<String, Vec<String>> {
    let mut params = BTreeMap::new();
    params.extend(field.pairs().into_iter().map(|(name, values)| (name, values.texts())));
    params
}

fn source(section: &Section<'_>, job: &JobSettings, folder: &Folder) -> JobSource {
    match section.text("collector") {
        Some(name) if name == "probe" => probe::read(section, job, folder),
        Some(name) => JobSource::Collector(collector::read(section, &name, folder)),
        None => {
            let discovery = discovery::read(section, job.relabel_rules.is_empty(), folder);
            JobSource::Http { discovery, client: Box::new(client::read(section, folder)) }
        }
    }
}
