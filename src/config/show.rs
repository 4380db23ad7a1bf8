//! The configuration in force as YAML, secrets hidden: for `/api/v1/status/config` and `outpost print-config`.
//!
//! As in Prometheus, what is left out of the file is written with its default where that matters, and what is off
//! or empty is left out. The result reads back as a configuration, but for the secrets.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::relabel::action_name;
use super::{Config, GlobalSettings, OutpostSettings, show_probe};
use crate::client::url::without_password;
use crate::client::{Authorization, BasicAuth, ClientSettings, HeaderValues, OAuth2, ProxySettings, SecretSource};
use crate::client::{TlsSettings, TlsVersion};
use crate::collect::CollectorSettings;
use crate::discovery::{DiscoverySettings, DnsRecordType, DockerFilter, SwarmRole, TargetGroup};
use crate::glob::NamePattern;
use crate::model::{AnchoredRegex, Labels, RelabelRule, SearchRegex, format_duration};
use crate::notify::{AlertmanagerSettings, NotifySettings};
use crate::scrape::{JobLimits, JobSettings, JobSource, NameEscaping, ScrapeProtocol};
use crate::store::RetentionRule;
use crate::yaml::{Tree, write};

/// What stands in a secret's place.
pub(super) const HIDDEN: &str = "<secret>";

impl Config {
    /// The configuration in force as YAML; secrets read `<secret>`.
    pub fn to_yaml(&self) -> String {
        let mut top = Pairs::default();
        top.put("global", global(&self.global));
        top.put("alerting", alerting(&self.notify));
        top.put("rule_files", paths(&self.rule_patterns));
        top.put("scrape_config_files", paths(&self.scrape_config_patterns));
        top.put("scrape_configs", list(self.jobs.iter().take(self.own_jobs).map(|it| job(it, &self.global))));
        top.put("outpost", outpost(&self.outpost));
        write(&top.into())
    }
}

/// A mapping under construction that leaves out what is empty.
#[derive(Default)]
pub(super) struct Pairs(Vec<(String, Tree)>);

impl Pairs {
    /// Adds a value unless it is an empty text, list or mapping.
    pub(super) fn put(&mut self, key: &str, value: impl Into<Tree>) {
        let value = value.into();
        let is_empty = match &value {
            Tree::Text(text) | Tree::Plain(text) => text.is_empty(),
            Tree::List(items) => items.is_empty(),
            Tree::Map(pairs) => pairs.is_empty(),
        };
        if !is_empty {
            self.0.push((key.to_owned(), value));
        }
    }

    /// Adds a switch that is on.
    pub(super) fn put_on(&mut self, key: &str, value: bool) {
        if value {
            self.put(key, true);
        }
    }

    /// Adds a number that is not 0.
    pub(super) fn put_number(&mut self, key: &str, value: u64) {
        if value != 0 {
            self.put(key, value);
        }
    }

    /// Adds all of another mapping.
    pub(super) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

impl From<Pairs> for Tree {
    fn from(pairs: Pairs) -> Self {
        Self::Map(pairs.0)
    }
}

impl From<Duration> for Tree {
    fn from(duration: Duration) -> Self {
        Self::Plain(format_duration(duration))
    }
}

impl From<&Path> for Tree {
    fn from(path: &Path) -> Self {
        Self::Text(path.display().to_string())
    }
}

/// A list of values.
pub(super) fn list<T: Into<Tree>>(items: impl IntoIterator<Item = T>) -> Tree {
    Tree::List(items.into_iter().map(Into::into).collect())
}

fn paths(paths: &[impl AsRef<Path>]) -> Tree {
    list(paths.iter().map(AsRef::as_ref))
}

fn labels(labels: &Labels) -> Tree {
    Tree::Map(labels.iter().map(|(name, value)| (name.to_owned(), Tree::from(value))).collect())
}

fn global(settings: &GlobalSettings) -> Pairs {
    let defaults = &settings.job_defaults;
    let mut pairs = Pairs::default();
    pairs.put("scrape_interval", defaults.scrape_interval);
    pairs.put("scrape_timeout", defaults.scrape_timeout);
    pairs.put("scrape_protocols", list(defaults.scrape_protocols.iter().map(|it| protocol(*it))));
    pairs.put("evaluation_interval", settings.evaluation_interval);
    if !settings.rule_query_offset.is_zero() {
        pairs.put("rule_query_offset", settings.rule_query_offset);
    }
    pairs.put("external_labels", labels(&settings.external_labels));
    put_limits(&mut pairs, &defaults.limits);
    put_names(&mut pairs, defaults);
    pairs.put_on("always_scrape_classic_histograms", defaults.always_scrape_classic_histograms);
    pairs
}

fn put_limits(pairs: &mut Pairs, limits: &JobLimits) {
    if limits.body_size_bytes != 0 {
        pairs.put("body_size_limit", Tree::Plain(size(limits.body_size_bytes)));
    }
    pairs.put_number("sample_limit", limits.samples);
    pairs.put_number("target_limit", limits.targets);
    pairs.put_number("label_limit", limits.labels);
    pairs.put_number("label_name_length_limit", limits.label_name_bytes);
    pairs.put_number("label_value_length_limit", limits.label_value_bytes);
    pairs.put_number("keep_dropped_targets", limits.keep_dropped_targets);
}

/// A size in the largest unit that divides it.
pub(super) fn size(bytes: u64) -> String {
    let units = [("EiB", 60), ("PiB", 50), ("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.iter().find(|(_, shift)| bytes.trailing_zeros() >= *shift) {
        Some((unit, shift)) => format!("{}{unit}", bytes >> shift),
        None => format!("{bytes}B"),
    }
}

fn put_names(pairs: &mut Pairs, job: &JobSettings) {
    pairs.put("metric_name_validation_scheme", if job.legacy_names_only { "legacy" } else { "utf8" });
    let escaping = match job.name_escaping {
        NameEscaping::AllowUtf8 => "allow-utf-8",
        NameEscaping::Underscores => "underscores",
        NameEscaping::Dots => "dots",
        NameEscaping::Values => "values",
    };
    pairs.put("metric_name_escaping_scheme", escaping);
}

fn protocol(protocol: ScrapeProtocol) -> &'static str {
    match protocol {
        ScrapeProtocol::PrometheusProto => "PrometheusProto",
        ScrapeProtocol::PrometheusText004 => "PrometheusText0.0.4",
        ScrapeProtocol::PrometheusText100 => "PrometheusText1.0.0",
        ScrapeProtocol::OpenMetricsText001 => "OpenMetricsText0.0.1",
        ScrapeProtocol::OpenMetricsText100 => "OpenMetricsText1.0.0",
    }
}

fn job(job: &JobSettings, global: &GlobalSettings) -> Pairs {
    let mut pairs = Pairs::default();
    pairs.put("job_name", job.job_name.as_str());
    pairs.put_on("honor_labels", job.honor_labels);
    pairs.put("honor_timestamps", job.honor_timestamps);
    pairs.put("track_timestamps_staleness", job.track_timestamps_staleness);
    pairs.put("scrape_interval", job.scrape_interval);
    pairs.put("scrape_timeout", job.scrape_timeout);
    pairs.put("scrape_protocols", list(job.scrape_protocols.iter().map(|it| protocol(*it))));
    if let Some(fallback) = job.fallback_scrape_protocol {
        pairs.put("fallback_scrape_protocol", protocol(fallback));
    }
    put_limits(&mut pairs, &job.limits);
    put_names(&mut pairs, job);
    if job.always_scrape_classic_histograms || global.job_defaults.always_scrape_classic_histograms {
        pairs.put("always_scrape_classic_histograms", job.always_scrape_classic_histograms);
    }
    put_source(&mut pairs, job);
    pairs.put("relabel_configs", rules(&job.relabel_rules));
    pairs.put("metric_relabel_configs", rules(&job.metric_relabel_rules));
    pairs
}

fn put_source(pairs: &mut Pairs, job: &JobSettings) {
    match &job.source {
        JobSource::Http { discovery, client } => {
            pairs.put("enable_compression", job.enable_compression);
            put_params(pairs, job);
            pairs.put("metrics_path", job.metrics_path.as_str());
            pairs.put("scheme", job.scheme.as_str());
            pairs.append(client_keys(client));
            put_discovery(pairs, discovery);
        }
        JobSource::Probes { discovery, settings } => {
            put_params(pairs, job);
            show_probe::put(pairs, settings);
            put_discovery(pairs, discovery);
        }
        JobSource::Collector(collector) => put_collector(pairs, collector),
    }
}

fn put_params(pairs: &mut Pairs, job: &JobSettings) {
    let params = job.params.iter().map(|(name, values)| (name.clone(), list(values.iter().cloned())));
    pairs.put("params", Tree::Map(params.collect()));
}

fn put_collector(pairs: &mut Pairs, collector: &CollectorSettings) {
    match collector {
        CollectorSettings::Node(node) => {
            pairs.put("collector", "node");
            pairs.put("procfs", node.procfs.as_path());
            pairs.put("sysfs", node.sysfs.as_path());
            pairs.put("rootfs", node.rootfs.as_path());
            pairs.put("flags", list(node.flags.as_slice().iter().cloned()));
        }
        CollectorSettings::Docker(docker) => {
            pairs.put("collector", "docker");
            pairs.put("docker_host", without_password(&docker.docker_host));
            if let Some(names) = &docker.label_include {
                // An empty list shows no label; without the key all are shown.
                pairs.0.push(("label_include".to_owned(), list(names.iter().map(NamePattern::as_str))));
            }
            pairs.put("label_exclude", list(docker.label_exclude.iter().map(NamePattern::as_str)));
            if let Some(interval) = docker.size_interval {
                pairs.put("size_interval", interval);
            }
            pairs.append(client_keys(&docker.client));
        }
        CollectorSettings::Smart(smart) => {
            pairs.put("collector", "smart");
            pairs.put("smartctl", smart.smartctl.as_str());
            pairs.put("smartctl_interval", smart.interval);
            pairs.put("devices", list(smart.devices.iter().cloned()));
            pairs.put("device_include", smart.device_include.as_ref().map_or("", SearchRegex::as_str));
            pairs.put("device_exclude", smart.device_exclude.as_ref().map_or("", SearchRegex::as_str));
        }
        CollectorSettings::Nut(nut) => {
            pairs.put("collector", "nut");
            pairs.put("nut_server", nut.server.as_str());
            pairs.put("ups", nut.ups.as_deref().unwrap_or(""));
            pairs.put("variables", list(nut.variables.iter().cloned()));
            if let Some(user) = &nut.user {
                pairs.put("basic_auth", basic_auth(user));
            }
        }
        CollectorSettings::Own => pairs.put("collector", "outpost"),
    }
}

fn rules(rules: &[RelabelRule]) -> Tree {
    list(rules.iter().map(|rule| {
        let mut pairs = Pairs::default();
        pairs.put("source_labels", list(rule.source_labels.iter().cloned()));
        pairs.0.push(("separator".to_owned(), rule.separator.as_str().into()));
        put_regex(&mut pairs, &rule.regex);
        pairs.put_number("modulus", rule.modulus);
        pairs.put("target_label", rule.target_label.as_str());
        pairs.0.push(("replacement".to_owned(), rule.replacement.as_str().into()));
        pairs.put("action", action_name(rule.action));
        pairs
    }))
}

/// Where the default is meant it is left out, since some actions take no regex at all.
fn put_regex(pairs: &mut Pairs, regex: &AnchoredRegex) {
    if regex.as_str() != "(.*)" {
        pairs.0.push(("regex".to_owned(), regex.as_str().into()));
    }
}

fn alerting(settings: &NotifySettings) -> Pairs {
    let mut pairs = Pairs::default();
    pairs.put("alert_relabel_configs", rules(&settings.alert_relabel_rules));
    pairs.put("alertmanagers", list(settings.alertmanagers.iter().map(alertmanager)));
    pairs
}

fn alertmanager(settings: &AlertmanagerSettings) -> Pairs {
    let mut pairs = client_keys(&settings.client);
    pairs.put("scheme", settings.scheme.as_str());
    pairs.put("path_prefix", settings.path_prefix.as_str());
    pairs.put("timeout", settings.timeout);
    pairs.put("api_version", "v2");
    pairs.put("relabel_configs", rules(&settings.relabel_rules));
    pairs.put("alert_relabel_configs", rules(&settings.alert_relabel_rules));
    put_discovery(&mut pairs, &settings.discovery);
    pairs
}

fn put_discovery(pairs: &mut Pairs, all: &[DiscoverySettings]) {
    let mut lists: BTreeMap<&str, Vec<Tree>> = BTreeMap::new();
    for settings in all {
        let (key, entry) = discovery(settings);
        lists.entry(key).or_default().push(entry.into());
    }
    for (key, entries) in lists {
        pairs.put(key, Tree::List(entries));
    }
}

fn discovery(settings: &DiscoverySettings) -> (&'static str, Pairs) {
    let mut pairs = Pairs::default();
    let key = match settings {
        DiscoverySettings::Static(group) => {
            pairs = static_group(group);
            "static_configs"
        }
        DiscoverySettings::File(file) => {
            pairs.put("files", paths(&file.files));
            pairs.put("refresh_interval", file.refresh_interval);
            "file_sd_configs"
        }
        DiscoverySettings::Http(http) => {
            pairs.append(client_keys(&http.client));
            pairs.put("refresh_interval", http.refresh_interval);
            pairs.put("url", without_password(&http.url));
            "http_sd_configs"
        }
        DiscoverySettings::Dns(dns) => {
            pairs.put("names", list(dns.names.iter().cloned()));
            pairs.put("refresh_interval", dns.refresh_interval);
            pairs.put("type", record_type(dns.record_type));
            pairs.put_number("port", dns.port.map_or(0, u64::from));
            "dns_sd_configs"
        }
        DiscoverySettings::Docker(docker) => {
            pairs.append(client_keys(&docker.client));
            pairs.put("host", without_password(&docker.host));
            pairs.put("port", u64::from(docker.port));
            pairs.put("filters", filters(&docker.filters));
            pairs.put("host_networking_host", docker.host_networking_host.as_str());
            pairs.put("refresh_interval", docker.refresh_interval);
            pairs.put("match_first_network", docker.match_first_network);
            "docker_sd_configs"
        }
        DiscoverySettings::DockerSwarm(swarm) => {
            pairs.append(client_keys(&swarm.client));
            pairs.put("host", without_password(&swarm.host));
            pairs.put("role", role(swarm.role));
            pairs.put("port", u64::from(swarm.port));
            pairs.put("filters", filters(&swarm.filters));
            pairs.put("refresh_interval", swarm.refresh_interval);
            "dockerswarm_sd_configs"
        }
    };
    (key, pairs)
}

fn static_group(group: &TargetGroup) -> Pairs {
    let mut pairs = Pairs::default();
    let addresses = group.targets.iter().map(|target| target.get("__address__").unwrap_or_default());
    pairs.0.push(("targets".to_owned(), list(addresses)));
    pairs.put("labels", labels(&group.labels));
    pairs
}

fn filters(filters: &[DockerFilter]) -> Tree {
    list(filters.iter().map(|filter| {
        let mut pairs = Pairs::default();
        pairs.put("name", filter.name.as_str());
        pairs.put("values", list(filter.values.iter().cloned()));
        pairs
    }))
}

fn record_type(record_type: DnsRecordType) -> &'static str {
    match record_type {
        DnsRecordType::A => "A",
        DnsRecordType::Aaaa => "AAAA",
        DnsRecordType::Srv => "SRV",
        DnsRecordType::Mx => "MX",
        DnsRecordType::Ns => "NS",
    }
}

fn role(role: SwarmRole) -> &'static str {
    match role {
        SwarmRole::Services => "services",
        SwarmRole::Tasks => "tasks",
        SwarmRole::Nodes => "nodes",
    }
}

/// The keys of a client.
pub(super) fn client_keys(client: &ClientSettings) -> Pairs {
    let mut pairs = Pairs::default();
    if let Some(basic) = &client.basic_auth {
        pairs.put("basic_auth", basic_auth(basic));
    }
    if let Some(settings) = &client.authorization {
        pairs.put("authorization", authorization(settings));
    }
    if let Some(settings) = &client.oauth2 {
        pairs.put("oauth2", oauth2(settings));
    }
    pairs.put("tls_config", tls(&client.tls));
    pairs.put("follow_redirects", client.follow_redirects);
    pairs.put("enable_http2", client.enable_http2);
    pairs.append(proxy(&client.proxy));
    let headers = client.headers.iter().map(|(name, values)| (name.clone(), header(values).into()));
    pairs.put("http_headers", Tree::Map(headers.collect()));
    pairs
}

/// A secret under its key, or the file that holds it.
fn put_secret(pairs: &mut Pairs, key: &str, source: Option<&SecretSource>) {
    match source {
        Some(SecretSource::Inline(secret)) if !secret.is_empty() => pairs.put(key, HIDDEN),
        Some(SecretSource::File(path)) => pairs.put(&format!("{key}_file"), path.as_path()),
        _ => {}
    }
}

/// A text that may stand in the open, under its key, or the file that holds it.
fn put_open(pairs: &mut Pairs, key: &str, source: Option<&SecretSource>) {
    match source {
        Some(SecretSource::Inline(text)) => pairs.put(key, text.expose()),
        other => put_secret(pairs, key, other),
    }
}

fn basic_auth(settings: &BasicAuth) -> Pairs {
    let mut pairs = Pairs::default();
    put_open(&mut pairs, "username", Some(&settings.username));
    put_secret(&mut pairs, "password", Some(&settings.password));
    pairs
}

fn authorization(settings: &Authorization) -> Pairs {
    let mut pairs = Pairs::default();
    pairs.put("type", settings.scheme.as_str());
    put_secret(&mut pairs, "credentials", settings.credentials.as_ref());
    pairs
}

fn oauth2(settings: &OAuth2) -> Pairs {
    let mut pairs = Pairs::default();
    pairs.put("client_id", settings.client_id.as_str());
    put_secret(&mut pairs, "client_secret", settings.client_secret.as_ref());
    pairs.put("scopes", list(settings.scopes.iter().cloned()));
    pairs.put("token_url", without_password(&settings.token_url));
    let params = settings.endpoint_params.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
    pairs.put("endpoint_params", Tree::Map(params.collect()));
    pairs.put("tls_config", tls(&settings.tls));
    pairs.append(proxy(&settings.proxy));
    pairs
}

/// The keys of `tls_config`.
pub(super) fn tls(settings: &TlsSettings) -> Pairs {
    let mut pairs = Pairs::default();
    put_open(&mut pairs, "ca", settings.ca.as_ref());
    put_open(&mut pairs, "cert", settings.cert.as_ref());
    put_secret(&mut pairs, "key", settings.key.as_ref());
    pairs.put("server_name", settings.server_name.as_deref().unwrap_or_default());
    pairs.put_on("insecure_skip_verify", settings.insecure_skip_verify);
    pairs.put("min_version", settings.min_version.map_or("", tls_version));
    pairs.put("max_version", settings.max_version.map_or("", tls_version));
    pairs
}

fn tls_version(version: TlsVersion) -> &'static str {
    match version {
        TlsVersion::Tls10 => "TLS10",
        TlsVersion::Tls11 => "TLS11",
        TlsVersion::Tls12 => "TLS12",
        TlsVersion::Tls13 => "TLS13",
    }
}

fn proxy(settings: &ProxySettings) -> Pairs {
    let mut pairs = Pairs::default();
    pairs.put("proxy_url", settings.url.as_ref().map(|url| without_password(url.expose())).unwrap_or_default());
    pairs.put("no_proxy", settings.no_proxy.as_str());
    pairs.put_on("proxy_from_environment", settings.from_environment);
    let headers =
        settings.connect_headers.iter().map(|(name, values)| (name.clone(), list(values.iter().map(|_| HIDDEN))));
    pairs.put("proxy_connect_header", Tree::Map(headers.collect()));
    pairs
}

fn header(values: &HeaderValues) -> Pairs {
    let mut pairs = Pairs::default();
    pairs.put("values", list(values.values.iter().cloned()));
    pairs.put("secrets", list(values.secrets.iter().map(|_| HIDDEN)));
    pairs.put("files", paths(&values.files));
    pairs
}

fn retention_rule(rule: &RetentionRule) -> Tree {
    let matchers: Vec<String> = rule.matchers.iter().map(ToString::to_string).collect();
    let mut pairs = Pairs::default();
    pairs.put("match", format!("{{{}}}", matchers.join(",")));
    pairs.put("keep", rule.keep);
    pairs.into()
}

fn outpost(settings: &OutpostSettings) -> Pairs {
    let (mut store, mut query, mut web) = (Pairs::default(), Pairs::default(), Pairs::default());
    store.put("flush_interval", settings.flush_interval);
    if let Some(bytes) = settings.writes_per_day_max {
        store.put("max_writes_per_day", Tree::Plain(size(bytes)));
    }
    store.put("retention_rules", list(settings.retention_rules.iter().map(retention_rule)));
    web.put("allowed_hosts", list(settings.allowed_hosts.iter().cloned()));
    query.put("cache_size", Tree::Plain(size(settings.query_cache_bytes as u64)));
    query.put("memory_per_query", Tree::Plain(size(settings.query_memory.query_bytes_max)));
    query.put("memory_total", Tree::Plain(size(settings.query_memory.total_bytes_max)));
    let mut pairs = Pairs::default();
    pairs.put("store", store);
    pairs.put("query", query);
    pairs.put("web", web);
    pairs
}
