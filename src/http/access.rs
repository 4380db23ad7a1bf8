//! Who may come in: by source address, by the name they asked for, and, for requests that change
//! something, by the page they come from.
//!
//! The name matters because of DNS rebinding: a page on the internet may point its own name at a
//! local address and then read what answers there; it cannot forge the name in `Host`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::header::{HOST, ORIGIN};
use hyper::http::request::Parts;
use hyper::{Method, Version};

use super::settings::ServerSettings;

/// Domains that exist only within a site.
const LOCAL_DOMAINS: [&str; 6] = [".localhost", ".local", ".lan", ".home.arpa", ".internal", ".ts.net"];

/// Why a request is not served.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error(
        "{0} is not an address of a local network, and outpost serves only those. To be reached from elsewhere, set TLS and users in --web.config.file, or use a VPN or a reverse proxy in this network."
    )]
    PublicSource(IpAddr),
    #[error(
        "The name {0:?} is not known to belong to this outpost. Use its address or a local name, or name it in --web.external-url or in outpost.web.allowed_hosts."
    )]
    UnknownHost(String),
    #[error("The request names no host.")]
    NoHost,
    #[error("The request names more than one host.")]
    SeveralHosts,
    #[error("Requests that change something are not taken from pages of another origin ({0}).")]
    ForeignOrigin(String),
}

/// Checks source and host of any request.
///
/// `public_sources`: whether it may come from beyond the local network, since TLS and users are set.
pub(super) fn check(
    settings: &ServerSettings,
    public_sources: bool,
    source: IpAddr,
    request: &Parts,
) -> Result<(), Refusal> {
    if !public_sources && !is_local(source) {
        return Err(Refusal::PublicSource(source.to_canonical()));
    }
    // Which of them a proxy or a page meant cannot be told; RFC 9112 section 3.2 asks for 400.
    if request.headers.get_all(HOST).iter().nth(1).is_some() {
        return Err(Refusal::SeveralHosts);
    }
    match authority(request) {
        Some(authority) if is_known_host(settings, host_of(&authority)) => Ok(()),
        Some(authority) => Err(Refusal::UnknownHost(authority)),
        // Browsers always name the host; HTTP/1.0 probes need not.
        None if request.version == Version::HTTP_10 => Ok(()),
        None => Err(Refusal::NoHost),
    }
}

/// Checks that a request that changes something comes from no page of another origin. Programs
/// other than browsers send no `Origin`.
pub(super) fn check_origin(request: &Parts) -> Result<(), Refusal> {
    let Some(origin) = request.headers.get(ORIGIN) else { return Ok(()) };
    let origin = String::from_utf8_lossy(origin.as_bytes()).into_owned();
    let origin_host = origin.split_once("://").map(|(_, host)| host);
    match (origin_host, authority(request)) {
        (Some(origin_host), Some(own)) if origin_host.eq_ignore_ascii_case(&own) => Ok(()),
        _ => Err(Refusal::ForeignOrigin(origin)),
    }
}

/// Whether a method may change something at all.
pub(super) fn is_changing(method: &Method) -> bool {
    method == Method::POST || method == Method::PUT
}

fn authority(request: &Parts) -> Option<String> {
    let in_target = request.uri.authority().map(ToString::to_string);
    in_target.or_else(|| request.headers.get(HOST).map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned()))
}

/// The host of `host:port`, with an IPv6 address out of its brackets; nothing where a user stands in front, which
/// `Host` may not hold.
fn host_of(authority: &str) -> &str {
    if authority.contains('@') {
        return "";
    }
    if let Some((address, _)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address;
    }
    authority.split_once(':').map_or(authority, |(host, _)| host)
}

fn is_known_host(settings: &ServerSettings, host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    if host.is_empty() {
        return false;
    }
    host.parse::<IpAddr>().is_ok()
        || is_local_name(&host)
        || settings.host_names.iter().any(|name| name.eq_ignore_ascii_case(&host))
}

/// Whether an address or a name belongs to a local network.
pub fn is_local_host(host: &str) -> bool {
    host.parse().map_or_else(|_| is_local_name(&host.to_ascii_lowercase()), is_local)
}

fn is_local_name(name: &str) -> bool {
    !name.contains('.') && !name.contains(':') || LOCAL_DOMAINS.iter().any(|domain| name.ends_with(domain))
}

/// Loopback, private, link-local, carrier-grade NAT (Tailscale uses it) and unique-local addresses.
fn is_local(source: IpAddr) -> bool {
    match source.to_canonical() {
        IpAddr::V4(address) => is_local_v4(address),
        IpAddr::V6(address) => is_local_v6(address),
    }
}

fn is_local_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    let is_carrier_grade_nat = first == 100 && (64..128).contains(&second);
    address.is_loopback() || address.is_private() || address.is_link_local() || is_carrier_grade_nat
}

fn is_local_v6(address: Ipv6Addr) -> bool {
    address.is_loopback() || address.is_unicast_link_local() || address.is_unique_local()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    fn request(version: Version, headers: &[(&str, &str)]) -> Parts {
        let mut builder = Request::builder().uri("/").version(version);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).expect("a valid request").into_parts().0
    }

    #[test]
    fn sources() {
        let local = [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.178.20",
            "169.254.1.1",
            "100.64.0.1",
            "100.127.255.254",
            "::1",
            "fe80::1",
            "fd00::1",
            "fc00::1",
            "::ffff:192.168.1.1",
        ];
        for source in local {
            assert!(is_local(source.parse().expect(source)), "{source}");
        }
        for source in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "100.63.0.1", "2001:db8::1", "::ffff:8.8.8.8", "0.0.0.0"]
        {
            assert!(!is_local(source.parse().expect(source)), "{source}");
        }
    }

    #[test]
    fn hosts() {
        let settings = ServerSettings { host_names: vec!["Home.example.org".to_owned()], ..ServerSettings::default() };
        let known = [
            "192.168.1.2:9090",
            "8.8.8.8",
            "[::1]:9090",
            "[fd00::1]",
            "localhost:9090",
            "pi",
            "PI.local:80",
            "nas.lan.",
            "a.b.home.arpa",
            "x.internal",
            "x.tail1234.ts.net",
            "home.example.org:443",
        ];
        let source = IpAddr::from([127, 0, 0, 1]);
        for host in known {
            assert_eq!(
                check(&settings, false, source, &request(Version::HTTP_11, &[("host", host)])),
                Ok(()),
                "{host}"
            );
        }
        for host in [
            "evil.example.com:9090",
            "home.example.org.evil.com",
            "xlocal.com",
            "",
            ":9090",
            "local.evil.com",
            "evil.com@localhost",
        ] {
            let outcome = check(&settings, false, source, &request(Version::HTTP_11, &[("host", host)]));
            assert_eq!(outcome, Err(Refusal::UnknownHost(host.to_owned())), "{host}");
        }
        assert_eq!(check(&settings, false, source, &request(Version::HTTP_11, &[])), Err(Refusal::NoHost));
        assert_eq!(check(&settings, false, source, &request(Version::HTTP_10, &[])), Ok(()));
        let twice = request(Version::HTTP_11, &[("host", "localhost"), ("host", "evil.com")]);
        assert_eq!(check(&settings, false, source, &twice), Err(Refusal::SeveralHosts));
    }

    #[test]
    fn public_sources_need_the_setting() {
        let source: IpAddr = "203.0.113.9".parse().expect("an address");
        let request = request(Version::HTTP_11, &[("host", "pi")]);
        let settings = ServerSettings::default();
        assert_eq!(check(&settings, false, source, &request), Err(Refusal::PublicSource(source)));
        assert_eq!(check(&settings, true, source, &request), Ok(()));
    }

    #[test]
    fn origins() {
        let of = |headers: &[(&str, &str)]| check_origin(&request(Version::HTTP_11, headers));
        assert_eq!(of(&[("host", "pi:9090")]), Ok(()));
        assert_eq!(of(&[("host", "pi:9090"), ("origin", "http://PI:9090")]), Ok(()));
        for foreign in ["http://evil.example.com", "null", "http://pi", "http://pi:9091"] {
            let outcome = of(&[("host", "pi:9090"), ("origin", foreign)]);
            assert_eq!(outcome, Err(Refusal::ForeignOrigin(foreign.to_owned())));
        }
    }
}
