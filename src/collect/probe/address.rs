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

/// Where clouds tell their machines secrets, beside the link-local address: Alibaba, Azure, Oracle; Google, Oracle,
/// Scaleway, Akamai, Alibaba; and a whole range of AWS.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];
const METADATA_V6: [Ipv6Addr; 5] = [
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
    Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200),
];
const METADATA_RANGE_V6: [u16; 2] = [0xfd00, 0xec2];

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
    let chosen = chosen.and_then(|address| match refused(address.ip(), allowed) {
        None => Ok(address),
        Some(reading) => Err(refusal(address.ip(), reading)),
    });
    (chosen, seconds)
}

/// Whether an address may be asked: not where it is link-local or tells a cloud's secrets, unless that is allowed.
pub(super) fn may_reach(address: IpAddr, allowed: &[Network]) -> bool {
    refused(address, allowed).is_none()
}

/// What an address is read as, where that is refused.
fn refused(address: IpAddr, allowed: &[Network]) -> Option<IpAddr> {
    let is_refused = |address: &IpAddr| match address {
        IpAddr::V4(v4) => v4.is_link_local() || METADATA_V4.contains(v4),
        IpAddr::V6(v6) => {
            let segments = v6.segments();
            segments[0] & 0xffc0 == 0xfe80 || segments.starts_with(&METADATA_RANGE_V6) || METADATA_V6.contains(v6)
        }
    };
    let is_allowed = |address: &IpAddr| allowed.iter().any(|network| network.contains(*address));
    readings(address).into_iter().find(|reading| is_refused(reading) && !is_allowed(reading))
}

fn refusal(address: IpAddr, reading: IpAddr) -> String {
    let carried = if address == reading { String::new() } else { format!(" (it may stand for {reading})") };
    format!("{address}{carried} is a link-local or metadata address, which is asked only if allowed_networks lists it")
}

fn missing(host: &str, choice: IpChoice) -> String {
    let wanted = if choice.prefers_ip6 { "IPv6" } else { "IPv4" };
    format!("{host} has no {wanted} address, and ip_protocol_fallback is off")
}

fn pick(addresses: &[SocketAddr], choice: IpChoice) -> Option<SocketAddr> {
    let preferred = addresses.iter().find(|address| address.is_ipv6() == choice.prefers_ip6);
    preferred.or_else(|| addresses.first().filter(|_| choice.fallback)).copied()
}

/// The address itself, or what it stands for where IPv6 only carries an address of IPv4: `::ffff:…`, `::ffff:0:…`, `::…`, or
/// through NAT64's prefixes. In RFC 8215's, nothing says which length the translator's prefix has: all of RFC 6052 count.
fn readings(address: IpAddr) -> Vec<IpAddr> {
    let IpAddr::V6(v6) = address else { return vec![address] };
    let octets = v6.octets();
    let at = |places: [usize; 4]| IpAddr::V4(Ipv4Addr::from(places.map(|place| octets[place])));
    let last = at([12, 13, 14, 15]);
    match v6.segments() {
        [0x64, 0xff9b, 1, ..] => vec![last, at([6, 7, 9, 10]), at([7, 9, 10, 11]), at([9, 10, 11, 12])],
        [0, 0, 0, 0, 0, 0 | 0xffff, high, _]
        | [0, 0, 0, 0, 0xffff, 0, high, _]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, _]
            if high != 0 =>
        {
            vec![last]
        }
        _ => vec![address],
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
            ("64:ff9b:1::7f00:1", true),
            ("64:ff9b:1:a9fe:a9:fe00::", false),
            ("64:ff9b:1:2a9:fe:a9fe::", false),
            ("64:ff9b:1:2:a9:fea9:fe00::", false),
            ("64:ff9b:1:2:a9:fe07:900::", true),
            ("64:ff9b:1:2:a9:fe07:a9fe:a9fe", false),
            ("fd00:ec2::254", false),
            ("fd00:ec2:1::23", false),
            ("fd20:ce::254", false),
            ("fd00:c1::a9fe:a9fe", false),
            ("fd00:42::42", false),
            ("fd00:42::43", true),
            ("fd00:a9fe:a9fe::1", false),
            ("fd00:100::100:200", false),
            ("fd00::1", true),
        ];
        for (address, expected) in cases {
            assert_eq!(may_reach(address.parse().expect("valid"), &allowed), expected, "{address}");
        }
        let (address, reading) = ("64:ff9b::a9fe:1", "169.254.0.1");
        let told = refusal(address.parse().expect("valid"), reading.parse().expect("valid"));
        assert!(told.starts_with("64:ff9b::a9fe:1 (it may stand for 169.254.0.1) is a link-local"), "{told}");
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
