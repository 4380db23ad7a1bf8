//! Idle connections, kept for the next request to the same server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::connect::Connected;
use super::wire::{Requests, WAITING, http_error, shake_hands};
use super::{ClientError, Deadline};

/// How long an idle connection is kept, as in Prometheus: longer than any usual scrape interval.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(300);
/// How often connections that have come to their end are looked for.
const TIDY_INTERVAL: Duration = Duration::from_secs(1);
/// Idle connections per server, as in Go's client, unless a client asks for more.
pub(super) const IDLE_PER_SERVER: usize = 2;

/// Sends requests over one connection; the connection ends when this is dropped.
pub(super) struct Sender {
    pub(super) requests: Requests,
    /// `Some` where requests carry whole addresses: the proxy's `Proxy-Authorization`, perhaps empty.
    pub(super) forward_proxy: Option<String>,
}

impl Sender {
    /// Begins HTTP on a connection.
    pub(super) async fn begin(connected: Connected, deadline: &Deadline) -> Result<Self, ClientError> {
        let forward_proxy = connected.forward_proxy.clone();
        let began = async { shake_hands(connected).await.map_err(|error| http_error(&error)) };
        let requests = deadline.within(WAITING, began).await?;
        Ok(Self { requests, forward_proxy })
    }
}

/// Idle connections by server, each with the time of its last use.
#[derive(Default)]
struct Servers {
    idle: HashMap<String, Vec<(Instant, Sender)>>,
    tidied: Option<Instant>,
}

impl Servers {
    fn tidy(&mut self, now: Instant) {
        self.tidied = Some(now);
        self.idle.retain(|_, idle| {
            idle.retain(|(since, sender)| now - *since < IDLE_MAX && !sender.requests.is_closed());
            !idle.is_empty()
        });
    }
}

/// The idle connections of one client. Cloning shares it.
#[derive(Clone)]
pub(super) struct Pool {
    servers: Arc<Mutex<Servers>>,
    idle_per_server: usize,
}

impl Pool {
    /// Keeps so many idle connections for each server.
    pub(super) fn new(idle_per_server: usize) -> Self {
        Self { servers: Arc::default(), idle_per_server }
    }

    /// The most recently used idle connection to a server.
    pub(super) fn take(&self, server: &str) -> Option<Sender> {
        let mut servers = self.lock();
        let idle = servers.idle.get_mut(server)?;
        while let Some((since, sender)) = idle.pop() {
            if since.elapsed() < IDLE_MAX && !sender.requests.is_closed() {
                return Some(sender);
            }
        }
        servers.idle.remove(server);
        None
    }

    /// Drops all idle connections.
    pub(super) fn clear(&self) {
        self.lock().idle.clear();
    }

    fn put(&self, server: String, sender: Sender) {
        let now = Instant::now();
        let mut servers = self.lock();
        let is_full = servers.idle.get(&server).is_some_and(|idle| idle.len() >= self.idle_per_server);
        if is_full || servers.tidied.is_none_or(|tidied| now - tidied >= TIDY_INTERVAL) {
            servers.tidy(now);
        }
        let idle = servers.idle.entry(server).or_default();
        if idle.len() < self.idle_per_server {
            idle.push((now, sender));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Servers> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("servers", &self.lock().idle.len()).finish()
    }
}

/// A connection in use. Dropped, it closes; given back, it serves again.
pub(super) struct Lease {
    pub(super) pool: Pool,
    pub(super) server: String,
    pub(super) sender: Sender,
}

impl Lease {
    pub(super) fn give_back(self) {
        self.pool.put(self.server, self.sender);
    }
}
