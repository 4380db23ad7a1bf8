//! Who finds targets: static lists, files, HTTP, DNS, Docker.

mod settings;

pub use settings::{
    DiscoverySettings, DnsRecordType, DnsSettings, DockerFilter, DockerSettings, FileSettings, HttpSettings, SwarmRole,
    SwarmSettings, TargetGroup,
};
