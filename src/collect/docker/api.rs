//! The parts of the engine's answers that are read. Whatever is absent or null counts as not known.
//! Source: the Docker Engine API, v1.41 and later; Podman's compatible socket gives the same.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::model::{Timestamp, parse_rfc3339};

/// An entry of `GET /containers/json?all=1`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Listed {
    pub id: String,
    pub names: Option<Vec<String>>,
    pub image: Option<String>,
    #[serde(rename = "ImageID")]
    pub image_id: Option<String>,
    pub created: Option<f64>,
    pub labels: Option<BTreeMap<String, String>>,
    pub state: Option<String>,
    /// The state in words, and for how long: "Up 3 hours (healthy)".
    pub status: Option<String>,
}

/// An entry of `GET /containers/json?all=1&size=1`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Sized {
    pub id: String,
    pub size_rw: Option<f64>,
    pub size_root_fs: Option<f64>,
}

/// `GET /images/ID/json`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Image {
    pub created: Option<String>,
}

/// `GET /containers/ID/json`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Inspected {
    pub state: Option<State>,
    pub restart_count: Option<f64>,
    pub host_config: Option<HostConfig>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct State {
    pub status: Option<String>,
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    pub exit_code: Option<f64>,
    pub started_at: Option<String>,
    pub health: Option<Health>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Health {
    pub status: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostConfig {
    pub memory: Option<f64>,
    pub memory_reservation: Option<f64>,
    pub memory_swap: Option<f64>,
    pub cpu_shares: Option<f64>,
    pub cpu_period: Option<f64>,
    pub cpu_quota: Option<f64>,
    pub nano_cpus: Option<f64>,
}

/// `GET /containers/ID/stats?stream=false&one-shot=true`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Stats {
    pub read: Option<String>,
    pub cpu_stats: Option<CpuStats>,
    pub memory_stats: Option<MemoryStats>,
    pub blkio_stats: Option<BlkioStats>,
    pub pids_stats: Option<PidsStats>,
    pub networks: Option<BTreeMap<String, Network>>,
}

impl Stats {
    /// Of a container that has ended since it was listed the engine gives zeros, read in its year 1.
    pub fn is_of_running(&self) -> bool {
        self.read.as_deref().is_none_or(|read| unix_seconds(read).is_some())
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CpuStats {
    pub cpu_usage: CpuUsage,
    pub throttling_data: Option<Throttling>,
}

/// Nanoseconds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CpuUsage {
    pub total_usage: f64,
    pub usage_in_kernelmode: f64,
    pub usage_in_usermode: f64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Throttling {
    pub periods: f64,
    pub throttled_periods: f64,
    pub throttled_time: f64,
}

/// Bytes. With the memory cgroup off, the kernel tells nothing and all of this is absent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct MemoryStats {
    pub usage: Option<f64>,
    pub max_usage: Option<f64>,
    pub failcnt: Option<f64>,
    pub stats: Option<MemoryDetail>,
}

/// Of the kernel's `memory.stat`, whose keys differ between cgroup versions.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct MemoryDetail {
    pub total_rss: Option<f64>,
    pub rss: Option<f64>,
    pub anon: Option<f64>,
    pub total_cache: Option<f64>,
    pub cache: Option<f64>,
    pub file: Option<f64>,
    pub total_mapped_file: Option<f64>,
    pub mapped_file: Option<f64>,
    pub file_mapped: Option<f64>,
    pub total_swap: Option<f64>,
    pub swap: Option<f64>,
    pub total_inactive_file: Option<f64>,
    pub inactive_file: Option<f64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct BlkioStats {
    pub io_service_bytes_recursive: Option<Vec<BlkioEntry>>,
    pub io_serviced_recursive: Option<Vec<BlkioEntry>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct BlkioEntry {
    pub major: u64,
    pub minor: u64,
    pub op: BlkioOperation,
    pub value: f64,
}

/// Capital where control groups are of version 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlkioOperation {
    #[serde(alias = "Read")]
    Read,
    #[serde(alias = "Write")]
    Write,
    #[default]
    #[serde(other)]
    Other,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PidsStats {
    pub current: Option<f64>,
    pub limit: Option<f64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Network {
    pub rx_bytes: f64,
    pub rx_packets: f64,
    pub rx_errors: f64,
    pub rx_dropped: f64,
    pub tx_bytes: f64,
    pub tx_packets: f64,
    pub tx_errors: f64,
    pub tx_dropped: f64,
}

/// Unix time of `2026-11-22T21:22:15.36404607Z`; `None` for the engine's year 1, which means never.
pub fn unix_seconds(text: &str) -> Option<f64> {
    parse_rfc3339(text).map(Timestamp::seconds).filter(|seconds| *seconds >= 0.0)
}
