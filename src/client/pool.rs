//! Idle connections, kept for the next request to the same server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::connect::Connected;
use super::wire::{Requests, WAITING, http_error, shake_hands};
use super::{ClientError, Deadline};

/// How long an idle connection is kept, as in Prometheus: longer than any usual scrape interval.
const IDLE_MAX: Duration = Duration::from_secs(300);
/// Idle connections per server.
const IDLE_PER_SERVER: usize = 2;

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
type Servers = HashMap<String, Vec<(Instant, Sender)>>;

/// The idle connections of one client. Cloning shares it.
#[derive(Clone, Default)]
pub(super) struct Pool(Arc<Mutex<Servers>>);

impl Pool {
    /// The most recently used idle connection to a server.
    pub(super) fn take(&self, server: &str) -> Option<Sender> {
        let mut servers = self.lock();
        let idle = servers.get_mut(server)?;
        while let Some((since, sender)) = idle.pop() {
            if since.elapsed() < IDLE_MAX && !sender.requests.is_closed() {
                return Some(sender);
            }
        }
        servers.remove(server);
        None
    }

    /// Drops all idle connections.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn put(&self, server: String, sender: Sender) {
        let mut servers = self.lock();
        servers.retain(|_, idle| {
            idle.retain(|(since, sender)| since.elapsed() < IDLE_MAX && !sender.requests.is_closed());
            !idle.is_empty()
        });
        let idle = servers.entry(server).or_default();
        if idle.len() < IDLE_PER_SERVER {
            idle.push((Instant::now(), sender));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Servers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("servers", &self.lock().len()).finish()
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
