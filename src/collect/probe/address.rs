//! Which address is probed: one, as blackbox_exporter chooses it, and none that is refused.
//! Source of the rules: blackbox_exporter/prober/utils.go.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::time::Instant;

use super::settings::{IpChoice, Network};
use super::sheet::{Gauge, Sheet};
use crate::client::{Deadline, look_up};

const LOOKUP_TIME: Gauge = ("probe_dns_lookup_time_seconds", "Returns the time taken for probe dns lookup in seconds");
const PROTOCOL: Gauge = ("probe_ip_protocol", "Specifies whether probe ip protocol is IP4 or IP6");
const ADDRESS_HASH: Gauge =
    ("probe_ip_addr_hash", "Specifies the hash of IP address. It's useful to detect if the IP address changes.");

/// Where clouds tell their machines secrets, beside the link-local address: Alibaba, Azure, Oracle; AWS, Google.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

/// The address of a host, and how long it took to find in seconds. The gauges tell, also of a failure.
pub(super) async fn choose(
    host: &str,
    choice: IpChoice,
    allowed: &[Network],
    sheet: &mut Sheet,
    deadline: &Deadline,
) -> (Result<SocketAddr, String>, f64) {
    sheet.set(PROTOCOL, 0.0);
    sheet.set(ADDRESS_HASH, 0.0);
    let started = Instant::now();
    let found = look_up(host, deadline).await;
    let seconds = started.elapsed().as_secs_f64();
    sheet.set(LOOKUP_TIME, seconds);
    let chosen = match found {
        Ok(addresses) => pick(&addresses, choice).ok_or_else(|| missing(host, choice)),
        Err(error) => Err(error.to_string()),
    };
    if let Ok(address) = &chosen {
        sheet.set(PROTOCOL, if address.is_ipv4() { 4.0 } else { 6.0 });
        sheet.set(ADDRESS_HASH, f64::from(hash(address.ip())));
    }
    let chosen = chosen.and_then(|address| match may_reach(address.ip(), allowed) {
        true => Ok(address),
        false => Err(refusal(address.ip())),
    });
    (chosen, seconds)
}

/// Whether an address may be asked: not where it is link-local or tells a cloud's secrets, unless that is allowed.
pub(super) fn may_reach(address: IpAddr, allowed: &[Network]) -> bool {
    let address = plain(address);
    let is_refused = match address {
        IpAddr::V4(v4) => v4.is_link_local() || METADATA_V4.contains(&v4),
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80 || METADATA_V6.contains(&v6),
    };
    !is_refused || allowed.iter().any(|network| network.contains(address))
}

fn refusal(address: IpAddr) -> String {
    format!("{address} is a link-local or metadata address, which is asked only if allowed_networks lists it")
}

fn missing(host: &str, choice: IpChoice) -> String {
    let wanted = if choice.prefers_ip6 { "IPv6" } else { "IPv4" };
    format!("{host} has no {wanted} address, and ip_protocol_fallback is off")
}

fn pick(addresses: &[SocketAddr], choice: IpChoice) -> Option<SocketAddr> {
    let preferred = addresses.iter().find(|address| address.is_ipv6() == choice.prefers_ip6);
    preferred.or_else(|| addresses.first().filter(|_| choice.fallback)).copied()
}

/// The address itself, where IPv6 only carries one of IPv4: `::ffff:…`, `::ffff:0:…`, `::…`, or through NAT64's prefixes.
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
            if high != 0 =>
        {
            IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        _ => address,
    }
}

/// The 32-bit FNV-1a hash.
fn hash(address: IpAddr) -> u32 {
    let fold = |bytes: &[u8]| {
        bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
    };
    match address {
        IpAddr::V4(v4) => fold(&v4.octets()),
        IpAddr::V6(v6) => fold(&v6.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_refused() {
        let allowed = [Network::parse("169.254.7.0/24").expect("valid"), Network::parse("fe80::1").expect("valid")];
        let cases = [
            ("127.0.0.1", true),
            ("10.0.0.1", true),
            ("0.0.0.0", true),
            ("169.254.169.254", false),
            ("169.254.7.9", true),
            ("::ffff:169.254.169.254", false),
            ("::ffff:169.254.7.9", true),
            ("::169.254.169.254", false),
            ("64:ff9b::a9fe:a9fe", false),
            ("64:ff9b:1:2::a9fe:a9fe", false),
            ("::ffff:0:169.254.169.254", false),
            ("100.100.100.200", false),
            ("168.63.129.16", false),
            ("192.0.0.192", false),
            ("::1", true),
            ("fe80::1", true),
            ("fe80::2", false),
            ("febf::1", false),
            ("fd00:ec2::254", false),
            ("fd20:ce::254", false),
            ("fd00::1", true),
        ];
        for (address, expected) in cases {
            assert_eq!(may_reach(address.parse().expect("valid"), &allowed), expected, "{address}");
        }
    }

    #[test]
    fn one_address_is_picked() {
        let v4: SocketAddr = "10.0.0.1:0".parse().expect("valid");
        let v6: SocketAddr = "[fd00::1]:0".parse().expect("valid");
        let cases: [(&[SocketAddr], bool, bool, Option<SocketAddr>); 6] = [
            (&[v4, v6], true, true, Some(v6)),
            (&[v4, v6], false, true, Some(v4)),
            (&[v4], true, true, Some(v4)),
            (&[v4], true, false, None),
            (&[v6], false, false, None),
            (&[], true, true, None),
        ];
        for (addresses, prefers_ip6, fallback, expected) in cases {
            assert_eq!(pick(addresses, IpChoice { prefers_ip6, fallback }), expected);
        }
        assert_eq!(hash("127.0.0.1".parse().expect("valid")), 3_668_918_509);
    }
}
