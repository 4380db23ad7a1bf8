//! Built-in collectors: this host, its containers, outpost itself.
//!
//! A collector writes the families it gathers as Prometheus text into a buffer, which then takes the
//! same way as a remote target's page: parser, limits, relabeling, `up`, staleness.

mod answers;
mod docker;
mod node;
mod nut;
mod own;
mod page;
/// Others' services.
pub mod probe;
mod settings;
mod smart;

pub use answers::{Stranger, page_of_answer};
pub use docker::{CONTAINERS_MAX, DockerCollector};
pub use node::{NodeCollector, NodeFlags, RELATIVE_FOLDER};
pub use nut::{NutCollector, host_and_port as nut_host_and_port};
pub use own::OwnCollector;
pub use settings::{
    CollectorSettings, DockerCollectorSettings, NodeCollectorSettings, NutCollectorSettings, SmartCollectorSettings,
};
pub use smart::{DISKS_MAX, SmartCollector};

use std::future::Future;
use std::pin::Pin;

/// A source of a page of metrics inside this process.
pub trait Collector: Send + Sync {
    /// Appends a page in the Prometheus text format 0.0.4 (with HELP and TYPE lines) to `page`.
    ///
    /// Called once per scrape, never twice at a time for one collector. Blocking reads of /proc and /sys run
    /// inside; whatever may hang (statfs on a dead mount, a socket) is bounded by the implementation.
    fn collect<'a>(&'a self, page: &'a mut Vec<u8>) -> CollectFuture<'a>;
}

/// What [`Collector::collect`] returns.
pub type CollectFuture<'a> = Pin<Box<dyn Future<Output = Result<(), CollectError>> + Send + 'a>>;

/// A collection that gave nothing: the target is down.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CollectError {
    /// The Docker engine did not answer.
    #[error("the container engine at {host} does not answer: {reason}")]
    Engine {
        /// The configured address.
        host: String,
        /// Why.
        reason: String,
    },
    /// smartctl cannot be run.
    #[error("{reason}; smartctl is in the package smartmontools, and wants to be root or to have the rights of root")]
    Smart {
        /// Why.
        reason: String,
    },
    /// The server of the power supply gave nothing.
    #[error("the NUT server {server}: {reason}")]
    Nut {
        /// The configured address.
        server: String,
        /// Why.
        reason: String,
    },
    /// A read of the kernel hangs.
    #[error("the collection before has not ended: something under /proc, /sys or the textfile folder does not answer")]
    UnderWay,
    /// A probe of a module that does not exist.
    #[error("there is no module {name:?}; known are {known}")]
    Module {
        /// The module's name.
        name: String,
        /// The names of those that exist.
        known: String,
    },
    /// A probe of a module that asks for what is not supported.
    #[error("the module {name:?} cannot be used: {reason}")]
    UnsupportedModule {
        /// The module's name.
        name: String,
        /// What is not supported.
        reason: String,
    },
    /// Too many probes at once.
    #[error(
        "{} probes are under way and none ended in time: scrape less often, or lower the timeouts of modules that time out",
        probe::PROBES_MAX
    )]
    ProbesFull,
    /// The kernel lets this process send no echo requests.
    #[error(
        "this process may not send ICMP echo requests: widen net.ipv4.ping_group_range to its group, or give it CAP_NET_RAW"
    )]
    EchoForbidden,
    /// Nothing could be read at all.
    #[error("nothing could be read under {path}: {reason}")]
    Unreadable {
        /// The root that was tried.
        path: String,
        /// Why.
        reason: String,
    },
}
