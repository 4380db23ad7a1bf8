//! Starting programs, asking them over HTTP, waiting for conditions.

mod exchange;
mod hostile;
mod http;
mod peers;
mod process;
mod recorder;
mod target;
mod tls;
mod wrong_clock;

pub use exchange::{Answer, Ask, exchange};
pub use hostile::HostileServer;
pub use http::{Reply, encode, get, get_json, metric, post, query_value};
pub use peers::{
    alertmanager, alertmanager_within, blackbox_exporter, node_exporter, node_exporter_with, program, prometheus,
    prometheus_with,
};
pub use process::{Outpost, Process, run_to_end};
pub use recorder::{AlertRecorder, Manner, Told, milliseconds};
pub use target::{PageServer, WebhookServer};

pub use tls::{exchange_tls, fixture};
pub use wrong_clock::WrongClock;

use std::time::{Duration, Instant};

/// Tries `attempt` until it gives something, and panics with the last refusal at the deadline.
pub fn eventually<T>(within: Duration, what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + within;
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(reason) if Instant::now() >= deadline => panic!("{what}: not within {within:?}: {reason}"),
            Err(_) => std::thread::sleep(Duration::from_millis(25)),
        }
    }
}

/// The usual patience: the machine may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(45);
