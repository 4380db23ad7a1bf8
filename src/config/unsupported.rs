//! What Prometheus knows and outpost does not: which keys are refused, which are accepted and ignored, and what to
//! say. Refused is what would leave its author without data or targets; ignored, with a warning, is what only tunes
//! Prometheus itself or what a file shared with a Prometheus commonly holds.

use crate::yaml::{Field, Section};

/// Service discoveries of Prometheus that outpost does not have. With an empty list they ask for nothing.
pub const FOREIGN_DISCOVERIES: [&str; 24] = [
    "aws_sd_configs",
    "azure_sd_configs",
    "consul_sd_configs",
    "digitalocean_sd_configs",
    "ec2_sd_configs",
    "eureka_sd_configs",
    "gce_sd_configs",
    "hetzner_sd_configs",
    "ionos_sd_configs",
    "kubernetes_sd_configs",
    "kuma_sd_configs",
    "lightsail_sd_configs",
    "linode_sd_configs",
    "marathon_sd_configs",
    "nerve_sd_configs",
    "nomad_sd_configs",
    "openstack_sd_configs",
    "ovhcloud_sd_configs",
    "puppetdb_sd_configs",
    "scaleway_sd_configs",
    "serverset_sd_configs",
    "stackit_sd_configs",
    "triton_sd_configs",
    "uyuni_sd_configs",
];

/// Sections at the document's top that Prometheus has. With nothing in them they ask for nothing.
pub const TOP_LEVEL: [&str; 3] = ["remote_read", "tracing", "otlp"];

/// What to say of a foreign key at the document's top.
pub fn top_level(key: &str) -> Option<String> {
    let message = match key {
        "remote_read" => "remote_read is not supported; query the other server itself, or let it scrape /federate here",
        "tracing" => "tracing is not supported; remove the section",
        "otlp" => "OTLP is not received; let an OpenTelemetry collector expose a Prometheus endpoint and scrape that",
        "route" | "receivers" | "inhibit_rules" | "templates" => {
            "belongs into Alertmanager's own configuration; here `alerting.alertmanagers` names where it runs"
        }
        "groups" => "this is a rule file; name it under `rule_files` and check it with `outpost check rules`",
        _ => return None,
    };
    Some(message.to_owned())
}

/// What to say of a foreign key in `global`.
pub fn global(key: &str) -> Option<String> {
    histogram_key(key).or_else(|| extra_metrics(key))
}

/// What to say of a foreign key in a job.
pub fn job(key: &str) -> Option<String> {
    let of_collectors = [
        ("node", &["procfs", "sysfs", "rootfs", "flags"][..]),
        ("docker", &["docker_host"]),
        ("smart", &["smartctl", "smartctl_interval", "devices", "device_include", "device_exclude"]),
        ("nut", &["nut_server", "ups", "variables"]),
    ];
    if let Some((collector, _)) = of_collectors.iter().find(|(_, keys)| keys.contains(&key)) {
        return Some(format!("has a meaning only in a job with `collector: {collector}`"));
    }
    if matches!(key, "modules" | "modules_file" | "allowed_networks") {
        return Some("has a meaning only in a job with `collector: probe`".to_owned());
    }
    discovery(key).or_else(|| histogram_key(key)).or_else(|| extra_metrics(key))
}

/// What to say of a foreign key of an Alertmanager.
pub fn alertmanager(key: &str) -> Option<String> {
    match key {
        "sigv4" | "azuread" | "google_iam" => Some(
            "signed requests of cloud providers are not supported; use basic_auth, authorization or oauth2".to_owned(),
        ),
        _ => discovery(key),
    }
}

/// `convert_classic_histograms_to_nhcb` and the bounds of native histograms, in `global` or a job: nothing is
/// converted, classic histograms stay what they are.
pub fn read_histogram_conversion(section: &Section<'_>) {
    if section.boolean("convert_classic_histograms_to_nhcb") == Some(true) {
        section.warning(
            "convert_classic_histograms_to_nhcb",
            "is ignored: classic histograms are kept as they are, with their _bucket, _sum and _count series",
        );
    }
}

/// Files that Prometheus writes beside its log.
pub fn read_log_files(section: &Section<'_>) {
    for key in ["query_log_file", "scrape_failure_log_file"] {
        if section.text(key).is_some() {
            section.warning(key, "is ignored: failures are in the log and on /api/v1/targets; no file is written");
        }
    }
}

/// Bounds of native histograms in a job.
pub fn read_native_bounds(section: &Section<'_>) {
    if section.unsigned("native_histogram_bucket_limit").is_some_and(|limit| limit > 0) {
        section.warning(
            "native_histogram_bucket_limit",
            "is ignored: the buckets of native histograms are kept as they come",
        );
    }
    if section.get("native_histogram_min_bucket_factor").and_then(|field| field.number()).is_some_and(|it| it > 0.0) {
        section.warning(
            "native_histogram_min_bucket_factor",
            "is ignored: the buckets of native histograms are kept as they come",
        );
    }
}

/// `storage`: only what tunes Prometheus's own store.
pub fn read_storage(field: Option<Field<'_>>) {
    let Some(section) = field.map(|field| field.section()) else { return };
    if let Some(tsdb) = section.get("tsdb") {
        let tsdb = tsdb.section();
        if tsdb.duration("out_of_order_time_window").is_some() {
            tsdb.warning(
                "out_of_order_time_window",
                "is ignored: a sample must be newer than its series' last one; no window ties series to each other",
            );
        }
        tsdb.finish(|key| {
            (key == "retention").then(|| {
                "retention is set by the flags --storage.tsdb.retention.time and --storage.tsdb.retention.size"
                    .to_owned()
            })
        });
    }
    section.finish(|key| (key == "exemplars").then(|| "exemplars are not kept; remove the section".to_owned()));
}

/// `runtime`: tunes Go.
pub fn read_runtime(field: Option<Field<'_>>) {
    let Some(section) = field.map(|field| field.section()) else { return };
    if section.get("gogc").and_then(|field| field.number()).is_some() {
        section.warning("gogc", "is ignored: there is no garbage collector to tune");
    }
    section.finish(|_| None);
}

fn discovery(key: &str) -> Option<String> {
    FOREIGN_DISCOVERIES.contains(&key).then(|| {
        "this service discovery is not supported; use file_sd_configs or http_sd_configs with a list that a script or \
         an adapter writes, or dns_sd_configs"
            .to_owned()
    })
}

fn histogram_key(key: &str) -> Option<String> {
    (key == "scrape_native_histograms").then(|| "use the flag --enable-feature=native-histograms".to_owned())
}

fn extra_metrics(key: &str) -> Option<String> {
    (key == "extra_scrape_metrics").then(|| "use the flag --enable-feature=extra-scrape-metrics".to_owned())
}
