//! What is known of the connection that a request came on.

use std::sync::atomic::{AtomicU64, Ordering};

/// One client's connection, for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// An id that no connection had before.
    pub fn unused() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Where a request stands in its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionFacts {
    /// The connection.
    pub id: ConnectionId,
    /// Requests on this connection before this one.
    pub earlier_requests: u64,
    /// Whether this request began after the reply before it had left completely. A client that
    /// does not pipeline has then read that reply to its end.
    pub follows_complete_reply: bool,
    /// Whether the request shows that a proxy passed it on: then the connection is the proxy's, and proves nothing of the
    /// client's reading.
    pub is_relayed: bool,
}
