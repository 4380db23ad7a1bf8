//! `prober: icmp`: one echo request. Source of the rules: blackbox_exporter/prober/icmp.go.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;

use tokio::time::Instant;

use super::address::choose;
use super::icmp_socket::{EchoSocket, NoSocket, Packet};
use super::probe::{Asked, local_address};
use super::settings::IcmpProbe;
use super::sheet::{Gauge, Sheet};
use crate::collect::CollectError;

/// The usual payload has as many bytes as blackbox_exporter's.
const PAYLOAD: &[u8; 28] = b"outpost: is there anybody in";
/// The longest payload that fits into a packet.
pub const PAYLOAD_BYTES_MAX: usize = 65_507;
const HEADER_BYTES: usize = 8;

const DURATION: Gauge = ("probe_icmp_duration_seconds", "Duration of icmp request by phase");
const HOP_LIMIT: Gauge = ("probe_icmp_reply_hop_limit", "Replied packet hop limit (TTL for ipv4)");

/// Probes a target. The outer error says that this machine does not let anybody ask.
pub(super) async fn probe(
    settings: &IcmpProbe,
    asked: &Asked<'_>,
    sheet: &mut Sheet,
) -> Result<Result<(), String>, CollectError> {
    for phase in ["resolve", "setup", "rtt"] {
        sheet.set_of(DURATION, "phase", phase, 0.0);
    }
    let (chosen, seconds) = choose(asked.target, settings.ip, asked.allowed, sheet, &asked.deadline).await;
    let address = match chosen {
        Ok(address) => address,
        Err(reason) => return Ok(Err(reason)),
    };
    sheet.set_of(DURATION, "phase", "resolve", seconds);
    let started = Instant::now();
    let socket = match EchoSocket::open(local_address(address, settings.source)) {
        Ok(socket) => socket,
        Err(NoSocket::Forbidden) => return Err(CollectError::EchoForbidden),
        Err(NoSocket::Failed(error)) => return Ok(Err(error.to_string())),
    };
    Ok(echo(settings, asked, &socket, address, started, sheet).await)
}

async fn echo(
    settings: &IcmpProbe,
    asked: &Asked<'_>,
    socket: &EchoSocket,
    address: SocketAddr,
    started: Instant,
    sheet: &mut Sheet,
) -> Result<(), String> {
    let request = Echo::new(address.is_ipv4(), settings.payload_bytes);
    let message = request.message(if address.is_ipv4() { 8 } else { 128 });
    if settings.dont_fragment {
        socket.forbid_fragments().map_err(|error| error.to_string())?;
    }
    if settings.ttl > 0 {
        socket.set_ttl(settings.ttl).map_err(|error| error.to_string())?;
    }
    sheet.set_of(DURATION, "phase", "setup", started.elapsed().as_secs_f64());
    let sent = Instant::now();
    socket.send(&message, address).map_err(|error| format!("sending: {error}"))?;
    let waiting = async {
        let mut buffer = vec![0; message.len() + 128];
        loop {
            let packet = socket.receive(&mut buffer).await?;
            if packet.from == address.ip() && request.is_answered_by(&packet, socket.is_raw) {
                return Ok(packet);
            }
        }
    };
    let packet = asked.within("waiting for the reply", waiting).await?;
    sheet.set_of(DURATION, "phase", "rtt", sent.elapsed().as_secs_f64());
    if let Some(hop_limit) = packet.hop_limit {
        sheet.set(HOP_LIMIT, hop_limit.into());
    }
    Ok(())
}

/// What tells one echo from all others.
struct Echo {
    is_ip4: bool,
    id: [u8; 2],
    sequence: [u8; 2],
    payload: Vec<u8>,
}

impl Echo {
    fn new(is_ip4: bool, payload_bytes: usize) -> Self {
        let random = RandomState::new().build_hasher().finish().to_ne_bytes();
        let mut payload = PAYLOAD.to_vec();
        if payload_bytes > 0 {
            payload.resize(payload_bytes, 0);
        }
        Self { is_ip4, id: [random[0], random[1]], sequence: [random[2], random[3]], payload }
    }

    /// The kernel sums ICMPv6, and puts its own id into what leaves by a socket for everybody.
    fn message(&self, kind: u8) -> Vec<u8> {
        let mut message = [&[kind, 0, 0, 0][..], &self.id, &self.sequence, &self.payload].concat();
        if self.is_ip4 {
            let sum = checksum(&message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        message
    }

    fn is_answered_by(&self, packet: &Packet, id_is_known: bool) -> bool {
        let reply = if self.is_ip4 { 0 } else { 129 };
        let Some((head, payload)) = packet.message.split_at_checked(HEADER_BYTES) else { return false };
        let is_reply = head[..2] == [reply, 0] && (!id_is_known || head[4..6] == self.id);
        is_reply && head[6..] == self.sequence && payload == self.payload
    }
}

/// RFC 1071.
fn checksum(message: &[u8]) -> u16 {
    let words = message.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(*two.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn echoes() {
        // A request whose checksum is known: type 8, id 1, sequence 2, no payload.
        assert_eq!(checksum(&[8, 0, 0, 0, 0, 1, 0, 2]), 0xf7fc);
        let echo = Echo::new(true, 5);
        let reply = echo.message(0);
        assert_eq!((checksum(&reply), reply.len()), (0, 13));
        let packet = |message: &[u8]| {
            let from = std::net::Ipv4Addr::LOCALHOST.into();
            Packet { message: message.to_vec(), from, hop_limit: None }
        };
        assert!(echo.is_answered_by(&packet(&reply), true));
        for (at, raw_only) in [(0, false), (4, true), (6, false), (12, false)] {
            let mut other = reply.clone();
            other[at] ^= 1;
            assert!(!echo.is_answered_by(&packet(&other), true), "{at}");
            assert_eq!(echo.is_answered_by(&packet(&other), false), raw_only, "{at}");
        }
        assert!(!echo.is_answered_by(&packet(&reply[..7]), true));
    }
}
