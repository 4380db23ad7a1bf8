//! The server's settings and every bound that holds for clients.

use std::time::Duration;

use crate::model::AnchoredRegex;

use super::web::WebSource;

/// Connections at a time (`--web.max-connections`); further ones wait in the kernel's queue.
pub const CONNECTIONS_MAX: usize = 512;

/// From the first byte of a request to the end of its head; also from a new connection's start.
pub const HEAD_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a connection that has had a request may wait for the next one. Prometheus's own
/// `--web.read-timeout`; it must outlast every scrape interval, since a puller proves by its next
/// request on the same connection that it has read the reply before.
pub const IDLE_TIME_MAX: Duration = Duration::from_secs(5 * 60);

/// Bytes of a request's head.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Lines of a request's head.
pub const HEAD_LINES_MAX: usize = 100;

/// Bytes of a request's body: forms with long queries.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// How long a request's body may take to arrive.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// How long a client may take no byte of a reply.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(30);

/// What the kernel keeps of a reply that its client has not taken; it counts twice that, and may allow less
/// (`net.core.wmem_max`). By itself it would take four megabytes for each slow reader, and keep them for as long as that one
/// reads. A round trip carries as much as that.
pub const SEND_BUFFER_BYTES: usize = 256 * 1024;

/// From a request's head to the last byte of its reply, whatever the client does. Above the default
/// `--query.timeout` of two minutes, so that a slow query still gets its answer out.
pub const REPLY_TIME_MAX: Duration = Duration::from_secs(5 * 60);

/// How long requests in work may go on once the server is told to stop.
pub const STOP_TIME_MAX: Duration = Duration::from_secs(10);

/// Requests that may wait for a turn at the store, beside the `--query.max-concurrency` ones that
/// run; more are refused at once. A hundred pullers that come at the same moment are all served.
pub const QUERIES_WAITING_MAX: usize = 128;

/// What the listener needs to know.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// `--web.listen-address`: `host:port`, or `:port` for all interfaces.
    pub listen_addresses: Vec<String>,
    /// `--web.route-prefix`: `/`, or a path without a slash at its end.
    pub route_prefix: String,
    /// `--web.config.file`: TLS, users and headers.
    pub web: Option<WebSource>,
    /// Names besides the local ones that may stand in `Host`: that of `--web.external-url`.
    pub host_names: Vec<String>,
    /// `--web.cors.origin`: web pages of other origins that may read. By default none: a page from
    /// anywhere, open in a browser at home, could otherwise read the whole site.
    pub cors_origin: Option<AnchoredRegex>,
    /// `--web.max-connections`
    pub connections_max: usize,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen_addresses: vec!["0.0.0.0:9090".to_owned()],
            route_prefix: "/".to_owned(),
            web: None,
            host_names: Vec::new(),
            cors_origin: None,
            connections_max: CONNECTIONS_MAX,
        }
    }
}
