//! What the built-in collectors gather, and from where.

use std::path::PathBuf;
use std::time::Duration;

use super::node::NodeFlags;
use crate::client::{BasicAuth, ClientSettings};
use crate::glob::NamePattern;
use crate::model::SearchRegex;

/// One built-in collector.
#[derive(Clone, Debug, PartialEq)]
pub enum CollectorSettings {
    /// `collector: node`
    Node(NodeCollectorSettings),
    /// `collector: docker`
    Docker(Box<DockerCollectorSettings>),
    /// `collector: smart`
    Smart(SmartCollectorSettings),
    /// `collector: nut`
    Nut(NutCollectorSettings),
    /// `collector: outpost`: this process's own metrics.
    Own,
}

/// The host's collector. Defaults and meanings are node_exporter's.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeCollectorSettings {
    /// `--path.procfs`, by default `/proc`.
    pub procfs: PathBuf,
    /// `--path.sysfs`, by default `/sys`.
    pub sysfs: PathBuf,
    /// `--path.rootfs`, by default `/`.
    pub rootfs: PathBuf,
    /// node_exporter's other flags: `--collector.…` and `--no-collector.…`.
    pub flags: NodeFlags,
}

impl Default for NodeCollectorSettings {
    fn default() -> Self {
        Self { procfs: "/proc".into(), sysfs: "/sys".into(), rootfs: "/".into(), flags: NodeFlags::default() }
    }
}

/// The containers' collector.
#[derive(Clone, Debug, PartialEq)]
pub struct DockerCollectorSettings {
    /// `docker_host`: `unix:///var/run/docker.sock`, `tcp://…`, `http://…` or `https://…`.
    pub docker_host: String,
    /// How to talk to a TCP or HTTPS address.
    pub client: ClientSettings,
    /// `label_include`: of the containers' own labels only those whose name one of these matches. None: all.
    pub label_include: Option<Vec<NamePattern>>,
    /// `label_exclude`: not those, likewise.
    pub label_exclude: Vec<NamePattern>,
    /// `size_interval`: time between two readings of the containers' file systems' sizes. None: they are not read.
    pub size_interval: Option<Duration>,
}

impl Default for DockerCollectorSettings {
    fn default() -> Self {
        Self {
            docker_host: "unix:///var/run/docker.sock".to_owned(),
            client: ClientSettings::default(),
            label_include: None,
            label_exclude: Vec::new(),
            size_interval: None,
        }
    }
}

/// Disks' own health, which smartctl reads.
#[derive(Clone, Debug, PartialEq)]
pub struct SmartCollectorSettings {
    /// `smartctl`: the program, by default `smartctl` as found on the PATH.
    pub smartctl: String,
    /// `smartctl_interval`: time between two readings.
    pub interval: Duration,
    /// `devices`: `/dev/sda` or, with a type, `/dev/bus/0;megaraid,1`. None: those that smartctl finds.
    pub devices: Vec<String>,
    /// `device_include`: of the found ones only those whose `device` label this pattern matches
    /// somewhere.
    pub device_include: Option<SearchRegex>,
    /// `device_exclude`: not those, likewise.
    pub device_exclude: Option<SearchRegex>,
}

impl Default for SmartCollectorSettings {
    fn default() -> Self {
        Self {
            smartctl: "smartctl".to_owned(),
            // Figures of a disk's life; its temperature is in `node_hwmon_temp_celsius` (drivetemp) at every scrape.
            interval: Duration::from_secs(300),
            devices: Vec::new(),
            device_include: None,
            device_exclude: None,
        }
    }
}

/// An uninterruptible power supply behind a server of the Network UPS Tools.
#[derive(Clone, Debug, PartialEq)]
pub struct NutCollectorSettings {
    /// `nut_server`: host, and port if it is not 3493.
    pub server: String,
    /// `ups`: its name at the server. Needed where the server has several.
    pub ups: Option<String>,
    /// `basic_auth`, for a server that tells only users; few do.
    pub user: Option<BasicAuth>,
    /// `variables`: only these. None: all that are numbers, and the status.
    pub variables: Vec<String>,
}

impl Default for NutCollectorSettings {
    fn default() -> Self {
        Self { server: "127.0.0.1:3493".to_owned(), ups: None, user: None, variables: Vec::new() }
    }
}
