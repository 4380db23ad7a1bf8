//! Absolute `http://` and `https://` addresses, as far as a client needs them.
//!
//! Whatever a configuration or a redirect writes is brought into the form that goes on the wire: bytes that a
//! request line may not hold are percent-encoded, the host is checked, user and password are taken out.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ClientError;
use crate::model::Secret;

/// The longest address that is taken.
pub const URL_BYTES_MAX: usize = 16 * 1024;

/// Whether a server is spoken to in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

impl Scheme {
    /// The scheme's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// An absolute address.
#[derive(Clone, Debug, PartialEq)]
pub struct Url {
    /// `http` or `https`
    pub scheme: Scheme,
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    /// The port, if one is written.
    pub port: Option<u16>,
    /// Path and query as they go on the wire; starts with `/`.
    pub path_and_query: String,
    /// User and password in front of the host.
    pub user: Option<(String, Secret)>,
}

impl Url {
    /// Reads an absolute address.
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        let malformed = |reason: &'static str| ClientError::Url { url: without_user(text), reason };
        if text.len() > URL_BYTES_MAX {
            return Err(ClientError::Url { url: text.chars().take(64).collect(), reason: "it is too long" });
        }
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| malformed("it must start with http:// or https://"))?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(malformed("only http and https are spoken")),
        };
        let rest = rest.split('#').next().unwrap_or("");
        let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (user, host_port) = match authority.rsplit_once('@') {
            Some((user, host_port)) => (Some(parse_user(user)), host_port),
            None => (None, authority),
        };
        // RFC 6874: an address spells the percent sign in front of an interface as every other one.
        let host_port = host_port.replacen("%25", "%", usize::from(host_port.starts_with('[')));
        let (host, port) = split_host_port(&host_port).ok_or_else(|| malformed("its host or port is not valid"))?;
        Ok(Self { scheme, host, port, path_and_query: request_target(tail), user })
    }

    /// The address that `reference` (absolute, `//host/…`, `/…`, `?…` or relative) means, seen from here.
    pub fn join(&self, reference: &str) -> Result<Self, ClientError> {
        if has_scheme(reference) {
            return Self::parse(reference);
        }
        if reference.starts_with("//") {
            return Self::parse(&format!("{}:{reference}", self.scheme.as_str()));
        }
        let reference = reference.split('#').next().unwrap_or("");
        let path = self.path_and_query.split('?').next().unwrap_or("/");
        let tail = if reference.is_empty() {
            self.path_and_query.clone()
        } else if reference.starts_with('/') {
            remove_dot_segments(reference)
        } else if reference.starts_with('?') {
            format!("{path}{reference}")
        } else {
            let folder = &path[..path.rfind('/').map_or(0, |slash| slash + 1)];
            remove_dot_segments(&format!("{folder}{reference}"))
        };
        Ok(Self { path_and_query: request_target(&tail), ..self.clone() })
    }

    /// The port to connect to.
    pub fn port_or_default(&self) -> u16 {
        self.port.unwrap_or(self.scheme.default_port())
    }

    /// Host and port as the `Host` header has them: the interface of a link-local address is this machine's own.
    pub fn authority(&self) -> String {
        let host = bracketed(without_zone(&self.host));
        match self.port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }

    /// Host and port, the port always written.
    pub fn host_and_port(&self) -> String {
        format!("{}:{}", bracketed(&self.host), self.port_or_default())
    }

    /// Whether both name the same server: scheme, host and port.
    pub fn same_origin(&self, other: &Self) -> bool {
        self.scheme == other.scheme
            && self.host.eq_ignore_ascii_case(&other.host)
            && self.port_or_default() == other.port_or_default()
    }
}

/// Without user and password.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.as_str(), self.authority(), self.path_and_query)
    }
}

/// A URL whose password, if it has one, reads `xxxxx`: angle brackets could not stand there.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority_len = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_len);
    match authority.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?.0, host))) {
        Some((user, host)) => format!("{scheme}://{user}:xxxxx@{host}{path}"),
        None => url.to_owned(),
    }
}

/// A host as it stands in front of a port: an IPv6 address in brackets.
pub fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`; `None` if either part is not valid.
pub fn split_host_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            let (address, zone) = host.split_once('%').unwrap_or((host, "-"));
            address.parse::<Ipv6Addr>().ok()?;
            if zone.is_empty() || !zone.bytes().all(|byte| byte.is_ascii_graphic()) {
                return None;
            }
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || byte >= 0x80);
    if host.is_empty() || (!text.starts_with('[') && !is_name) {
        return None;
    }
    let port = match port {
        None | Some("") => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
        Some(_) => return None,
    };
    Some((host.to_owned(), port))
}

/// The host as an address, if it is one without an interface.
pub fn host_address(host: &str) -> Option<IpAddr> {
    host.parse().ok()
}

/// A host without the interface of a link-local address, which means something on this machine alone.
pub fn without_zone(host: &str) -> &str {
    host.split('%').next().unwrap_or(host)
}

/// The addresses that somebody may take a host for, beside the address that it spells: others read numbers as
/// inet_aton(3) does, a number behind zeros in base 8 or 10.
pub fn addresses_meant(host: &str) -> Vec<IpAddr> {
    if let Some(address) = host_address(without_zone(host)) {
        return vec![address];
    }
    [8, 10].into_iter().filter_map(|radix| number_address(host, radix)).map(IpAddr::V4).collect()
}

/// One to four numbers between dots, of which the last fills what is left.
fn number_address(host: &str, radix_behind_zero: u32) -> Option<Ipv4Addr> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let parts: Vec<u32> = host.split('.').map(|part| number(part, radix_behind_zero)).collect::<Option<_>>()?;
    let (last, front) = parts.split_last()?;
    let room = 32_u32.checked_sub(8 * u32::try_from(front.len()).ok()?).filter(|room| *room > 0)?;
    let fits = front.iter().all(|part| *part < 256) && u64::from(*last) < 1 << room;
    let bits = front.iter().enumerate().fold(*last, |bits, (index, part)| bits | (part & 255) << (24 - 8 * index));
    fits.then_some(Ipv4Addr::from_bits(bits))
}

fn number(text: &str, radix_behind_zero: u32) -> Option<u32> {
    let (digits, radix) = match (text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")), text.strip_prefix('0')) {
        (Some(""), _) => ("0", 16),
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, radix_behind_zero),
        _ => (text, 10),
    };
    u32::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+'))
}

/// Appends `text` as one part of a query or a form: everything but letters, digits and `-._~` encoded, a space as `+`.
pub fn push_query_part(output: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => output.push(char::from(byte)),
            b' ' => output.push('+'),
            _ => push_percent(output, byte),
        }
    }
}

/// A query or form of pairs in the given order.
pub fn encode_query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut query = String::new();
    for (name, value) in pairs {
        if !query.is_empty() {
            query.push('&');
        }
        push_query_part(&mut query, name);
        query.push('=');
        push_query_part(&mut query, value);
    }
    query
}

/// A path as it goes on the wire: what would end it or may not stand in it is encoded.
pub fn encode_path(path: &str) -> String {
    let mut output = String::with_capacity(path.len() + 1);
    if !path.starts_with('/') {
        output.push('/');
    }
    for byte in path.bytes() {
        match byte {
            b'?' | b'#' => push_percent(&mut output, byte),
            _ => push_wire(&mut output, byte),
        }
    }
    output
}

/// Path and query of an address, perhaps empty, in the form of a request line.
fn request_target(tail: &str) -> String {
    let mut output = String::with_capacity(tail.len() + 1);
    if !tail.starts_with('/') {
        output.push('/');
    }
    for byte in tail.bytes() {
        push_wire(&mut output, byte);
    }
    output
}

fn push_wire(output: &mut String, byte: u8) {
    match byte {
        b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => push_percent(output, byte),
        0x21..=0x7e => output.push(char::from(byte)),
        _ => push_percent(output, byte),
    }
}

fn push_percent(output: &mut String, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    output.push('%');
    output.push(char::from(HEX[usize::from(byte >> 4)]));
    output.push(char::from(HEX[usize::from(byte & 15)]));
}

fn parse_user(text: &str) -> (String, Secret) {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    (decode_percent(user), Secret::new(decode_percent(password)))
}

fn decode_percent(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match pair.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn has_scheme(reference: &str) -> bool {
    let end = reference.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c))).unwrap_or(0);
    end > 0 && reference[end..].starts_with(':')
}

/// RFC 3986, section 5.2.4, on a path that starts with `/`; the query is left as it is.
fn remove_dot_segments(target: &str) -> String {
    let (path, query) = match target.find('?') {
        Some(mark) => target.split_at(mark),
        None => (target, ""),
    };
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_in_folder = false;
    for segment in path.split('/').skip(1) {
        ends_in_folder = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    let slash = if ends_in_folder && !kept.is_empty() { "/" } else { "" };
    format!("/{}{slash}{query}", kept.join("/"))
}

/// For error texts: the address without what stands in front of its host.
fn without_user(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://<secret>@{rest}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        let cases = [
            ("http://a", "http://a/"),
            ("HTTP://a:8080?x=1", "http://a:8080/?x=1"),
            ("https://[::1]:9/p q/ü#f", "https://[::1]:9/p%20q/%C3%BC"),
            ("http://u:p%40@h/x", "http://h/x"),
            ("http://h:/x", "http://h/x"),
            ("http://[fe80::1%25eth0]:9/x", "http://[fe80::1]:9/x"),
        ];
        for (text, expected) in cases {
            assert_eq!(Url::parse(text).expect(text).to_string(), expected, "{text}");
        }
        let bad = [
            "",
            "a",
            "ftp://a",
            "http://",
            "http://a:b",
            "http://a:70000",
            "http://[::1",
            "http://a b",
            "http://::1",
            "http://[fe80::1%]",
            "http://[fe80::1%a\r\nb]",
        ];
        for text in bad {
            assert!(Url::parse(text).is_err(), "{text}");
        }
        for text in ["http://[fe80::1%25eth0.7]/", "http://[fe80::1%eth0.7]/"] {
            assert_eq!(Url::parse(text).expect(text).host, "fe80::1%eth0.7");
        }
        let user = Url::parse("http://u:p%40@h").expect("valid").user.expect("written");
        assert_eq!((user.0.as_str(), user.1.expose()), ("u", "p@"));
        assert!(!Url::parse("ftp://u:hidden@h").expect_err("unknown scheme").to_string().contains("hidden"));
    }

    #[test]
    fn joins_references() {
        let base = Url::parse("http://h:1/a/b?q=1").expect("valid");
        let cases = [
            ("https://o/x", "https://o/x"),
            ("//o/x", "http://o/x"),
            ("/x", "http://h:1/x"),
            ("x", "http://h:1/a/x"),
            ("../x/./y", "http://h:1/x/y"),
            ("?z", "http://h:1/a/b?z"),
            ("../../../x", "http://h:1/x"),
            ("", "http://h:1/a/b?q=1"),
        ];
        for (reference, expected) in cases {
            assert_eq!(base.join(reference).expect(reference).to_string(), expected, "{reference}");
        }
    }

    #[test]
    fn numbers_may_be_taken_for_addresses() {
        let cases: [(&str, &[&str]); 16] = [
            ("10.0.0.1", &["10.0.0.1"]),
            ("fe80::1%eth0", &["fe80::1"]),
            ("2852039166", &["169.254.169.254", "169.254.169.254"]),
            ("0xa9fea9fe", &["169.254.169.254", "169.254.169.254"]),
            ("0XA9FE.0xa9fe", &[]),
            ("169.254.43518", &["169.254.169.254", "169.254.169.254"]),
            ("169.16689662", &["169.254.169.254", "169.254.169.254"]),
            ("169.254.169.254.", &["169.254.169.254", "169.254.169.254"]),
            ("0251.0376.0xa9.254", &["169.254.169.254"]),
            ("0169.0254.0169.0254", &["169.254.169.254"]),
            ("010.1", &["8.0.0.1", "10.0.0.1"]),
            ("0x.1", &["0.0.0.1", "0.0.0.1"]),
            ("4294967296", &[]),
            ("1.2.3.4.5", &[]),
            ("256.1", &[]),
            ("a.lan", &[]),
        ];
        for (host, expected) in cases {
            let found: Vec<String> = addresses_meant(host).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{host}");
        }
    }

    #[test]
    fn encodes_queries() {
        assert_eq!(encode_query([("match[]", "{a=\"b c\"}"), ("x", "ü")]), "match%5B%5D=%7Ba%3D%22b+c%22%7D&x=%C3%BC");
    }
}
