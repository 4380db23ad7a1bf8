//! Host names to addresses: the system's resolver in a blocking thread, multicast for `.local`.
//!
//! The last good addresses of each name are kept: when the name server is down, a site's own targets are still
//! reachable, so the old addresses are used and the failure is forgotten. All clients share them: a reload makes new
//! clients, and must not forget where the targets are.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::url::host_address;
use super::{ClientError, mdns};

/// Names whose addresses are remembered; beyond that the oldest goes.
const NAMES_MAX: usize = 1024;
/// Look-ups at a time: each holds a thread, perhaps for as long as the system's resolver waits for a dead server.
const LOOKUPS_MAX: usize = 4;
/// The same for [`ask_now`], of all who call it together.
const LOOKUPS_NOW_MAX: usize = 8;
/// How long a look-up may take where old addresses are known.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long old addresses are used without asking again once a look-up has failed.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// The addresses of names that were found.
static KNOWN: LazyLock<Mutex<HashMap<String, Known>>> = LazyLock::new(Mutex::default);

/// Resolves names and remembers. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Resolver {
    /// One client's own, so that the names of one job do not hold up those of another.
    lookups: Arc<Semaphore>,
}

/// Ports are 0; a link-local address comes with its interface.
#[derive(Clone, Debug)]
struct Known {
    addresses: Vec<SocketAddr>,
    found: Instant,
    failed: Option<Instant>,
}

impl Default for Resolver {
    /// A resolver that knows what others have found.
    fn default() -> Self {
        Self { lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }
}

impl Resolver {
    /// The addresses of a host, at least one. The caller bounds the time.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ClientError> {
        if let Some(address) = host_address(host) {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let mut addresses = match known_addresses(host) {
            Some(known) if known.failed.is_some_and(|at| at.elapsed() < RETRY_AFTER) => known.addresses,
            Some(known) => match timeout(PATIENCE, self.look_up(host)).await {
                Ok(Ok(addresses)) => addresses,
                Ok(Err(_)) | Err(_) => {
                    mark_failed(host);
                    known.addresses
                }
            },
            None => self.look_up(host).await?,
        };
        addresses.iter_mut().for_each(|address| address.set_port(port));
        Ok(addresses)
    }

    async fn look_up(&self, host: &str) -> Result<Vec<SocketAddr>, ClientError> {
        let failed = |reason: String| ClientError::Resolve { host: host.to_owned(), reason };
        let _permit = self.lookups.acquire().await.map_err(|error| failed(error.to_string()))?;
        let addresses = find_addresses(host).await.map_err(failed)?;
        remember(host, &addresses);
        Ok(addresses)
    }
}

/// What the name servers say now, at least one address: nothing old helps, and nothing is remembered. The caller bounds
/// the time; a look-up that it has given up keeps its place until its thread is free again.
pub(super) async fn ask_now(host: &str) -> Result<Vec<SocketAddr>, ClientError> {
    static PLACES: Semaphore = Semaphore::const_new(LOOKUPS_NOW_MAX);
    if let Some(address) = host_address(host) {
        return Ok(vec![SocketAddr::new(address, 0)]);
    }
    let failed = |reason: String| ClientError::Resolve { host: host.to_owned(), reason };
    let place = PLACES.acquire().await.map_err(|error| failed(error.to_string()))?;
    let name = host.to_owned();
    let asked = tokio::spawn(async move {
        let found = find_addresses(&name).await;
        drop(place);
        found
    });
    asked.await.map_err(|error| failed(error.to_string()))?.map_err(failed)
}

async fn find_addresses(host: &str) -> Result<Vec<SocketAddr>, String> {
    if mdns::is_local_name(host) {
        let found = mdns::query(host).await.unwrap_or_default();
        if !found.is_empty() {
            return Ok(found.into_iter().map(|address| SocketAddr::new(address, 0)).collect());
        }
    }
    system_addresses(host).await
}

fn known_addresses(host: &str) -> Option<Known> {
    lock_known().get(host).cloned()
}

fn remember(host: &str, addresses: &[SocketAddr]) {
    let mut known = lock_known();
    if known.len() >= NAMES_MAX && !known.contains_key(host) {
        let oldest = known.iter().min_by_key(|(_, entry)| entry.found).map(|(name, _)| name.clone());
        oldest.and_then(|name| known.remove(&name));
    }
    known.insert(host.to_owned(), Known { addresses: addresses.to_vec(), found: Instant::now(), failed: None });
}

fn mark_failed(host: &str) {
    if let Some(entry) = lock_known().get_mut(host) {
        entry.failed = Some(Instant::now());
    }
}

fn lock_known() -> std::sync::MutexGuard<'static, HashMap<String, Known>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the system's resolver says, each address once, in its order of preference.
async fn system_addresses(host: &str) -> Result<Vec<SocketAddr>, String> {
    let found = tokio::net::lookup_host((host, 0)).await.map_err(|error| reason(&error))?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err("the name has no address".to_owned()) } else { Ok(addresses) }
}

fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn old_addresses_serve_when_the_name_server_is_gone() {
        let resolver = Resolver::default();
        let gone = "no-such-host.invalid";
        assert!(resolver.resolve(gone, 1).await.is_err());
        remember(gone, &["192.0.2.1:0".parse().expect("valid")]);
        for _ in 0..2 {
            // As after a reload.
            let resolver = Resolver::default();
            assert_eq!(resolver.resolve(gone, 1).await.expect("remembered"), ["192.0.2.1:1".parse().expect("valid")]);
        }
        assert!(known_addresses(gone).expect("kept").failed.is_some());
    }

    #[tokio::test]
    async fn addresses_need_no_look_up() {
        let resolver = Resolver::default();
        assert_eq!(resolver.resolve("::1", 9).await.expect("an address"), ["[::1]:9".parse().expect("valid")]);
        assert!(resolver.resolve("localhost", 9).await.is_ok());
        let link_local = resolver.resolve("fe80::1%lo", 9).await.expect("every host has a loopback interface");
        assert!(matches!(link_local[0], SocketAddr::V6(address) if address.scope_id() != 0), "{link_local:?}");
    }
}
