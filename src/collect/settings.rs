//! What the built-in collectors gather, and from where.

use std::path::PathBuf;

use super::node::NodeFlags;
use crate::client::ClientSettings;

/// One built-in collector.
#[derive(Clone, Debug, PartialEq)]
pub enum CollectorSettings {
    /// `collector: node`
    Node(NodeCollectorSettings),
    /// `collector: docker`
    Docker(Box<DockerCollectorSettings>),
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
}

impl Default for DockerCollectorSettings {
    fn default() -> Self {
        Self { docker_host: "unix:///var/run/docker.sock".to_owned(), client: ClientSettings::default() }
    }
}
