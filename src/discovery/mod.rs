//! Who finds targets: static lists, files, HTTP, DNS, Docker.
//!
//! [`Discovery`] runs the mechanisms of one list of settings and gives the groups that are known now. A mechanism
//! that fails keeps what it found before. Nothing here knows what the targets are for: scraping and delivery of
//! alerts both use it.

mod discover;
mod error;
mod provider;
mod settings;

// The mechanisms.
mod dns;
mod docker;
mod file;
mod http;
mod swarm;

// Pieces of them.
mod engine;
mod group_list;
mod resolv_conf;

pub use discover::Discovery;
pub use error::DiscoveryError;
pub use file::read_target_file;
pub use settings::{
    DiscoverySettings, DnsRecordType, DnsSettings, DockerFilter, DockerSettings, FileSettings, HttpSettings, SwarmRole,
    SwarmSettings, TargetGroup,
};
