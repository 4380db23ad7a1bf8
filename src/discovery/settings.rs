//! What to discover, one variant per mechanism.

use std::path::PathBuf;
use std::time::Duration;

use crate::client::ClientSettings;
use crate::model::Labels;

/// A list of addresses with labels in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TargetGroup {
    /// Where the group comes from, stable over refreshes: an update replaces the group of its source.
    pub source: String,
    /// Per target: `__address__` and other labels of its own.
    pub targets: Vec<Labels>,
    /// Labels of all targets; a target's own label of the same name wins.
    pub labels: Labels,
}

/// One entry of a `*_sd_configs` list.
#[derive(Clone, Debug, PartialEq)]
pub enum DiscoverySettings {
    /// `static_configs`
    Static(TargetGroup),
    /// `file_sd_configs`
    File(FileSettings),
    /// `http_sd_configs`
    Http(HttpSettings),
    /// `dns_sd_configs`
    Dns(DnsSettings),
    /// `docker_sd_configs`
    Docker(DockerSettings),
    /// `dockerswarm_sd_configs`
    DockerSwarm(SwarmSettings),
}

/// `file_sd_configs`
#[derive(Clone, Debug, PartialEq)]
pub struct FileSettings {
    /// Paths; the last part may hold a `*`. Endings: .json, .yml, .yaml.
    pub files: Vec<PathBuf>,
    /// How often to look again, by default 5 min. Changes are seen sooner, by polling.
    pub refresh_interval: Duration,
}

/// `http_sd_configs`
#[derive(Clone, Debug, PartialEq)]
pub struct HttpSettings {
    /// `url`
    pub url: String,
    /// `refresh_interval`, by default 1 min.
    pub refresh_interval: Duration,
    /// How to talk to it.
    pub client: ClientSettings,
}

/// `dns_sd_configs`
#[derive(Clone, Debug, PartialEq)]
pub struct DnsSettings {
    /// `names`
    pub names: Vec<String>,
    /// `type`, by default SRV.
    pub record_type: DnsRecordType,
    /// `port`, needed for all but SRV.
    pub port: Option<u16>,
    /// `refresh_interval`, by default 30 s.
    pub refresh_interval: Duration,
}

/// DNS record types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the record types")]
pub enum DnsRecordType {
    A,
    Aaaa,
    Srv,
    Mx,
    Ns,
}

/// `docker_sd_configs`
#[derive(Clone, Debug, PartialEq)]
pub struct DockerSettings {
    /// `host`: `unix://`, `tcp://`, `http://` or `https://`.
    pub host: String,
    /// `port`, by default 80: for containers that expose none.
    pub port: u16,
    /// `host_networking_host`, by default `localhost`.
    pub host_networking_host: String,
    /// `match_first_network`, by default true.
    pub match_first_network: bool,
    /// `filters`
    pub filters: Vec<DockerFilter>,
    /// `refresh_interval`, by default 1 min.
    pub refresh_interval: Duration,
    /// How to talk to it.
    pub client: ClientSettings,
}

/// `dockerswarm_sd_configs`
#[derive(Clone, Debug, PartialEq)]
pub struct SwarmSettings {
    /// `host`
    pub host: String,
    /// `role`
    pub role: SwarmRole,
    /// `port`, by default 80.
    pub port: u16,
    /// `filters`
    pub filters: Vec<DockerFilter>,
    /// `refresh_interval`, by default 1 min.
    pub refresh_interval: Duration,
    /// How to talk to it.
    pub client: ClientSettings,
}

/// What of a swarm becomes a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the roles")]
pub enum SwarmRole {
    Services,
    Tasks,
    Nodes,
}

/// One entry of `filters`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerFilter {
    /// The engine's filter name.
    pub name: String,
    /// Its values.
    pub values: Vec<String>,
}
