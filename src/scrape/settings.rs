//! One entry of `scrape_configs`, checked, with the global settings merged in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::client::ClientSettings;
use crate::collect::CollectorSettings;
use crate::collect::probe::ProbeSettings;
use crate::discovery::DiscoverySettings;
use crate::model::RelabelRule;

/// A scrape job.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSettings {
    /// `job_name`
    pub job_name: String,
    /// Where the samples come from.
    pub source: JobSource,
    /// `scrape_interval`
    pub scrape_interval: Duration,
    /// `scrape_timeout`
    pub scrape_timeout: Duration,
    /// `scrape_protocols`, most wanted first.
    pub scrape_protocols: Vec<ScrapeProtocol>,
    /// `fallback_scrape_protocol`
    pub fallback_scrape_protocol: Option<ScrapeProtocol>,
    /// `honor_labels`
    pub honor_labels: bool,
    /// `honor_timestamps`
    pub honor_timestamps: bool,
    /// `track_timestamps_staleness`
    pub track_timestamps_staleness: bool,
    /// `metrics_path`
    pub metrics_path: String,
    /// `scheme`
    pub scheme: String,
    /// `params`
    pub params: BTreeMap<String, Vec<String>>,
    /// `enable_compression`
    pub enable_compression: bool,
    /// `relabel_configs`
    pub relabel_rules: Vec<RelabelRule>,
    /// `metric_relabel_configs`
    pub metric_relabel_rules: Vec<RelabelRule>,
    /// The limits.
    pub limits: JobLimits,
    /// `metric_name_validation_scheme: legacy`
    pub legacy_names_only: bool,
    /// `metric_name_escaping_scheme`: `allow-utf-8`, `underscores`, `dots` or `values`.
    pub name_escaping: NameEscaping,
    /// `always_scrape_classic_histograms`
    pub always_scrape_classic_histograms: bool,
    /// Whether `scrape_timeout_seconds`, `scrape_sample_limit` and `scrape_body_size_bytes` are
    /// written too (`--enable-feature=extra-scrape-metrics`).
    pub extra_metrics: bool,
}

/// Where a job's samples come from.
#[derive(Clone, Debug, PartialEq)]
pub enum JobSource {
    /// Targets over HTTP.
    Http {
        /// How they are found.
        discovery: Vec<DiscoverySettings>,
        /// How they are talked to.
        client: Box<ClientSettings>,
    },
    /// `collector: probe`: targets that are not scraped themselves, but probed.
    Probes {
        /// How they are found.
        discovery: Vec<DiscoverySettings>,
        /// The modules.
        settings: Arc<ProbeSettings>,
    },
    /// A built-in collector: one target, `instance` is the host's name.
    Collector(CollectorSettings),
}

/// Bounds of a job; 0 means none, as in Prometheus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobLimits {
    /// `body_size_limit` in bytes after decompression.
    pub body_size_bytes: u64,
    /// `sample_limit`, after relabeling.
    pub samples: u64,
    /// `target_limit`
    pub targets: u64,
    /// `label_limit`
    pub labels: u64,
    /// `label_name_length_limit` in bytes.
    pub label_name_bytes: u64,
    /// `label_value_length_limit` in bytes.
    pub label_value_bytes: u64,
    /// `keep_dropped_targets`
    pub keep_dropped_targets: u64,
}

/// What to ask a target for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScrapeProtocol {
    /// `PrometheusProto`
    PrometheusProto,
    /// `PrometheusText0.0.4`
    PrometheusText004,
    /// `PrometheusText1.0.0`
    PrometheusText100,
    /// `OpenMetricsText0.0.1`
    OpenMetricsText001,
    /// `OpenMetricsText1.0.0`
    OpenMetricsText100,
}

/// How names that are not legacy names are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameEscaping {
    /// `allow-utf-8`
    #[default]
    AllowUtf8,
    /// `underscores`
    Underscores,
    /// `dots`
    Dots,
    /// `values`
    Values,
}

impl Default for JobSettings {
    fn default() -> Self {
        Self {
            job_name: String::new(),
            source: JobSource::Http { discovery: Vec::new(), client: Box::default() },
            scrape_interval: Duration::from_secs(60),
            scrape_timeout: Duration::from_secs(10),
            scrape_protocols: vec![
                ScrapeProtocol::OpenMetricsText100,
                ScrapeProtocol::OpenMetricsText001,
                ScrapeProtocol::PrometheusText100,
                ScrapeProtocol::PrometheusText004,
            ],
            fallback_scrape_protocol: None,
            honor_labels: false,
            honor_timestamps: true,
            track_timestamps_staleness: false,
            metrics_path: "/metrics".to_owned(),
            scheme: "http".to_owned(),
            params: BTreeMap::new(),
            enable_compression: true,
            relabel_rules: Vec::new(),
            metric_relabel_rules: Vec::new(),
            limits: JobLimits::default(),
            legacy_names_only: false,
            name_escaping: NameEscaping::default(),
            always_scrape_classic_histograms: false,
            extra_metrics: false,
        }
    }
}
