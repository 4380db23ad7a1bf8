//! Which proxy a request goes through. Rules: Go's golang.org/x/net/http/httpproxy, as Prometheus uses it.

use std::net::IpAddr;

use super::url::{Url, host_address, split_host_port, without_zone};
use super::{ClientError, ProxySettings, Scheme};

/// The way out, checked.
#[derive(Debug, Default)]
pub(super) struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    exceptions: Option<Exceptions>,
}

/// One proxy.
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    /// How it is asked.
    pub(super) kind: ProxyKind,
    /// Where it is, with user and password. The scheme of a SOCKS proxy means nothing.
    pub(super) url: Url,
}

/// The protocols of proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProxyKind {
    /// Forwarding and CONNECT, perhaps over TLS.
    Http,
    /// SOCKS 5; the proxy resolves names, as with Go.
    Socks5,
}

#[derive(Debug)]
struct Exceptions {
    all: bool,
    entries: Vec<(HostPattern, Option<u16>)>,
}

#[derive(Debug, PartialEq)]
enum HostPattern {
    Address(IpAddr),
    Network(IpAddr, u8),
    /// A domain and, if the flag is set, not only what is below it but itself.
    Domain(String, bool),
}

impl Proxies {
    /// Reads the settings, and the environment if they say so.
    pub(super) fn new(settings: &ProxySettings) -> Result<Self, ClientError> {
        if settings.from_environment {
            return Self::from_environment();
        }
        let Some(url) = &settings.url else { return Ok(Self::default()) };
        let proxy = parse_proxy(url.expose())?;
        // Without no_proxy everything goes through, loopback included.
        let exceptions = (!settings.no_proxy.is_empty()).then(|| Exceptions::parse(&settings.no_proxy));
        Ok(Self { http: Some(proxy.clone()), https: Some(proxy), exceptions })
    }

    fn from_environment() -> Result<Self, ClientError> {
        let variable = |upper: &str, lower: &str| {
            let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
            set(upper).or_else(|| set(lower))
        };
        let proxy = |value: Option<String>| value.map(|text| parse_proxy(&text)).transpose();
        Ok(Self {
            http: proxy(variable("HTTP_PROXY", "http_proxy"))?,
            https: proxy(variable("HTTPS_PROXY", "https_proxy"))?,
            exceptions: Some(Exceptions::parse(&variable("NO_PROXY", "no_proxy").unwrap_or_default())),
        })
    }

    /// The proxy for `url`, if there is one.
    pub(super) fn choose(&self, url: &Url) -> Option<&Proxy> {
        let proxy = match url.scheme {
            Scheme::Http => self.http.as_ref(),
            Scheme::Https => self.https.as_ref(),
        }?;
        let excepted = self.exceptions.as_ref().is_some_and(|exceptions| exceptions.contain(url));
        (!excepted).then_some(proxy)
    }
}

fn parse_proxy(text: &str) -> Result<Proxy, ClientError> {
    const SOCKS_PORT: u16 = 1080;
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    if matches!(scheme.to_ascii_lowercase().as_str(), "socks5" | "socks5h") {
        let mut url = Url::parse(&format!("http://{rest}"))?;
        url.port = url.port.or(Some(SOCKS_PORT));
        return Ok(Proxy { kind: ProxyKind::Socks5, url });
    }
    Ok(Proxy { kind: ProxyKind::Http, url: Url::parse(&format!("{scheme}://{rest}"))? })
}

impl Exceptions {
    fn parse(text: &str) -> Self {
        let mut exceptions = Self { all: false, entries: Vec::new() };
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            if entry == "*" {
                exceptions.all = true;
            } else {
                exceptions.entries.extend(parse_entry(&entry.to_ascii_lowercase()));
            }
        }
        exceptions
    }

    fn contain(&self, url: &Url) -> bool {
        let host = url.host.trim_end_matches('.').to_ascii_lowercase();
        let address = host_address(without_zone(&host));
        if self.all || host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        self.entries.iter().any(|(pattern, port)| {
            port.is_none_or(|port| port == url.port_or_default()) && pattern.matches(&host, address)
        })
    }
}

fn parse_entry(entry: &str) -> Option<(HostPattern, Option<u16>)> {
    if let Some((network, bits)) = entry.split_once('/') {
        return Some((HostPattern::Network(network.parse().ok()?, bits.parse().ok()?), None));
    }
    if let Ok(address) = entry.parse() {
        return Some((HostPattern::Address(address), None));
    }
    let (host, port) = split_host_port(entry.strip_prefix("*").unwrap_or(entry))?;
    if let Ok(address) = host.parse() {
        return Some((HostPattern::Address(address), port));
    }
    let pattern = match host.strip_prefix('.') {
        Some(below) => HostPattern::Domain(below.to_owned(), false),
        None => HostPattern::Domain(host, true),
    };
    Some((pattern, port))
}

impl HostPattern {
    fn matches(&self, host: &str, address: Option<IpAddr>) -> bool {
        match self {
            Self::Address(wanted) => address == Some(*wanted),
            Self::Network(network, bits) => address.is_some_and(|address| in_network(address, *network, *bits)),
            Self::Domain(domain, itself) => match host.strip_suffix(domain.as_str()) {
                Some("") => *itself,
                Some(front) => front.ends_with('.'),
                None => false,
            },
        }
    }
}

/// Whether an address lies in the network that begins with `bits` bits of `network`.
pub fn in_network(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let (left, right, width) = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32_u8),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
        _ => return false,
    };
    let rest = u32::from(width.saturating_sub(bits));
    left.checked_shr(rest).unwrap_or(0) == right.checked_shr(rest).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;

    #[test]
    fn exceptions() {
        let cases = [
            ("", "http://a.lan", false),
            ("*", "http://a.lan", true),
            ("a.lan", "http://a.lan", true),
            ("a.lan", "http://x.a.lan:81", true),
            ("a.lan", "http://xa.lan", false),
            (".a.lan", "http://a.lan", false),
            (".a.lan", "http://x.a.lan", true),
            ("*.a.lan", "http://x.a.lan", true),
            ("a.lan:81", "http://a.lan", false),
            ("a.lan:81", "http://a.lan:81", true),
            ("10.0.0.0/8, b", "http://10.1.2.3", true),
            ("10.0.0.0/8", "http://11.1.2.3", false),
            ("0.0.0.0/0", "http://11.1.2.3", true),
            ("fd00::/8", "http://[fd12::1]", true),
            ("fe80::/10", "http://[fe80::1%25eth0]", true),
            ("10.0.0.1", "http://10.0.0.1:9100", true),
            ("10.0.0.1:9", "http://10.0.0.1:9100", false),
            ("x", "http://localhost", true),
            ("x", "http://127.0.0.2", true),
            ("A.LAN", "http://a.Lan.", true),
        ];
        for (no_proxy, url, direct) in cases {
            let settings = ProxySettings {
                url: Some(Secret::new("http://proxy:3128")),
                no_proxy: no_proxy.to_owned(),
                ..ProxySettings::default()
            };
            let proxies = Proxies::new(&settings).expect("valid");
            let url = Url::parse(url).expect("valid");
            assert_eq!(proxies.choose(&url).is_none(), direct, "{no_proxy} {url}");
        }
    }
}
