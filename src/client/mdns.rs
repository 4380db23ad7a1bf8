//! Names under `.local`: one multicast question on the local network (RFC 6762, section 5.1).
//!
//! A static binary has no name service switch, so nobody else would ask it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::dns_message::{encode_multicast_query, parse_multicast_reply};

const MULTICAST: (Ipv4Addr, u16) = (Ipv4Addr::new(224, 0, 0, 251), 5353);
/// When the question is sent again: packets get lost, above all on wireless networks.
const ASK_AFTER_MS: [u64; 3] = [0, 250, 1000];
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Whether the name is one that multicast answers.
pub(super) fn is_local_name(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    host.len() > 6 && host[host.len() - 6..].eq_ignore_ascii_case(".local")
}

/// The addresses of a `.local` name, IPv4 first; empty if nobody answers within about two seconds.
pub(super) async fn query(name: &str) -> std::io::Result<Vec<IpAddr>> {
    let Some(question) = encode_multicast_query(name) else { return Ok(Vec::new()) };
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.set_multicast_ttl_v4(255)?;
    let start = Instant::now();
    for (index, delay) in ASK_AFTER_MS.iter().enumerate() {
        socket.send_to(&question, SocketAddr::from(MULTICAST)).await?;
        let until = match ASK_AFTER_MS.get(index + 1) {
            Some(next) => start + Duration::from_millis(*next),
            None => start + Duration::from_millis(*delay) + LAST_WAIT,
        };
        let addresses = answers(&socket, name, until).await?;
        if !addresses.is_empty() {
            return Ok(addresses);
        }
    }
    Ok(Vec::new())
}

/// Waits for a reply that has addresses of `name`. Others' replies are passed over.
async fn answers(socket: &UdpSocket, name: &str, until: Instant) -> std::io::Result<Vec<IpAddr>> {
    let mut buffer = vec![0; 1500];
    while let Ok(received) = timeout_at(until, socket.recv_from(&mut buffer)).await {
        let (len, _) = received?;
        let mut addresses = parse_multicast_reply(&buffer[..len], name);
        // A link-local IPv6 address is of no use without its interface.
        addresses.retain(|address| !matches!(address, IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80));
        if !addresses.is_empty() {
            addresses.sort_by_key(IpAddr::is_ipv6);
            return Ok(addresses);
        }
    }
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_names() {
        for (host, expected) in
            [("pi.local", true), ("PI.Local.", true), (".local", false), ("local", false), ("a.lan", false)]
        {
            assert_eq!(is_local_name(host), expected, "{host}");
        }
    }
}
