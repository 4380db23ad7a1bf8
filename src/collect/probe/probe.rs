//! What all probers are given and what they say.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;

use super::settings::Network;
use crate::client::{ClientError, Deadline};

/// Matches at a time, each on a thread, of patterns against lines of more than 4 KiB, bodies and DNS records.
pub(super) static MATCHES: Semaphore = Semaphore::const_new(MATCHES_MAX);
pub(super) const MATCHES_MAX: usize = 2;

/// One probe.
pub(super) struct Asked<'a> {
    /// What is probed: a URL, a host and port, or a host.
    pub(super) target: &'a str,
    /// `params.hostname`: the `Host`, and the certificate's name.
    pub(super) hostname: Option<&'a str>,
    /// The end of its time.
    pub(super) deadline: Deadline,
    /// Addresses that are not refused.
    pub(super) allowed: &'a [Network],
}

impl Asked<'_> {
    /// Runs `work` within the probe's time; errors name the step.
    pub(super) async fn within<T>(
        &self,
        step: &'static str,
        work: impl Future<Output = io::Result<T>>,
    ) -> Result<T, String> {
        let named = async { work.await.map_err(|error| ClientError::Http { step, reason: error.to_string() }) };
        self.deadline.within(step, named).await.map_err(|error| error.to_string())
    }
}

/// A thread for what would hold up the event loop. Who is waited for no longer keeps his place until he is done.
pub(super) async fn on_thread<T: Send + 'static>(
    places: &'static Semaphore,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let place = places.acquire().await.map_err(io::Error::other)?;
    let done = tokio::task::spawn_blocking(move || {
        let result = work();
        drop(place);
        result
    });
    done.await.map_err(io::Error::other)
}

/// A verdict under way: the first thing that is wrong stays.
#[derive(Debug, Default)]
pub(super) struct Verdict(Option<String>);

impl Verdict {
    /// Whether nothing is wrong so far.
    pub(super) fn is_good(&self) -> bool {
        self.0.is_none()
    }

    /// Something is wrong.
    pub(super) fn fail(&mut self, reason: String) {
        self.0.get_or_insert(reason);
    }

    /// Something is wrong unless `is_good`.
    pub(super) fn check(&mut self, is_good: bool, reason: impl FnOnce() -> String) {
        if !is_good {
            self.fail(reason());
        }
    }

    /// The first thing that is wrong.
    pub(super) fn into_result(self) -> Result<(), String> {
        self.0.map_or(Ok(()), Err)
    }
}

/// A TCP connection, perhaps from an address of this machine that is configured.
pub(super) async fn connect_tcp(
    address: SocketAddr,
    source: Option<IpAddr>,
    deadline: &Deadline,
) -> Result<TcpStream, String> {
    let connecting = async {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(source) = source {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    let failed = |error: io::Error| ClientError::Connect { address: address.to_string(), reason: error.to_string() };
    let connected = deadline.within("connecting", async { connecting.await.map_err(failed) });
    connected.await.map_err(|error| error.to_string())
}

/// Where a socket towards `address` is bound.
pub(super) fn local_address(address: SocketAddr, source: Option<IpAddr>) -> SocketAddr {
    let any = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    SocketAddr::new(source.unwrap_or(any), 0)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// One thread for everything that is awaited: what runs there keeps all others waiting.
    #[tokio::test]
    async fn what_takes_long_holds_up_nobody() {
        static PLACES: Semaphore = Semaphore::const_new(1);
        let (sender, receiver) = mpsc::sync_channel(1);
        let long = on_thread(&PLACES, move || receiver.recv_timeout(Duration::from_secs(10)));
        let other = async { sender.send(7).expect("somebody waits") };
        let (found, ()) = tokio::join!(long, other);
        assert_eq!(found.expect("it ran"), Ok(7));
        // A place that is given up is free once its work is done, not before.
        let (sender, receiver) = mpsc::sync_channel(1);
        let asked = Asked { target: "", hostname: None, deadline: Deadline::after(Duration::ZERO), allowed: &[] };
        let given_up = asked.within("matching", on_thread(&PLACES, move || receiver.recv())).await;
        assert!(given_up.expect_err("no time").ends_with("while matching"));
        assert_eq!(PLACES.available_permits(), 0);
        sender.send(()).expect("it still waits");
        assert_eq!(on_thread(&PLACES, || 8).await.expect("a place"), 8);
    }
}
