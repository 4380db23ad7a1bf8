//! What a probe asks and what it wants to hear: blackbox_exporter's modules, checked.
//! Source of the names and defaults: prometheus/blackbox_exporter/config/config.go, version 0.28.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::http::{BODY_BYTES_MAX, MATCHED_BYTES_MAX};
use crate::client::{ClientSettings, Encoding, TlsSettings, in_network};
use crate::collect::CollectError;
use crate::model::SearchRegex;

/// The modules of a job with `collector: probe`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProbeSettings {
    /// `modules`, by name; those of `modules_file` or the built-in ones where none are written.
    pub modules: BTreeMap<String, Module>,
    /// Modules that cannot be used, by name: others do not fail for them.
    pub unsupported: BTreeMap<String, UnsupportedModule>,
    /// `modules_file`, from which the modules were read.
    pub modules_file: Option<PathBuf>,
    /// `allowed_networks`: link-local and metadata addresses that may be asked all the same.
    pub allowed_networks: Vec<Network>,
}

/// A network in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// An address in it.
    pub address: IpAddr,
    /// How many bits of it count.
    pub bits: u8,
}

/// A module.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// `timeout`; the scrape's own where none is written or it is shorter.
    pub timeout: Option<Duration>,
    /// `prober` with its section.
    pub prober: ProberSettings,
}

/// A module that asks for what is not supported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedModule {
    /// `prober`
    pub prober: String,
    /// A key of the prober's section that is not supported, with its value; none where the prober itself is not.
    pub key: Option<(&'static str, String)>,
    /// What is not supported, and what is.
    pub reason: String,
}

/// How a target is probed.
#[derive(Clone, Debug, PartialEq)]
pub enum ProberSettings {
    /// `prober: http`
    Http(Box<HttpProbe>),
    /// `prober: tcp`
    Tcp(Box<TcpProbe>),
    /// `prober: icmp`
    Icmp(IcmpProbe),
    /// `prober: dns`
    Dns(Box<DnsProbe>),
}

/// Which of a name's addresses is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpChoice {
    /// `preferred_ip_protocol: ip6`, the default.
    pub prefers_ip6: bool,
    /// `ip_protocol_fallback`: the other protocol will do.
    pub fallback: bool,
}

impl Default for IpChoice {
    fn default() -> Self {
        Self { prefers_ip6: true, fallback: true }
    }
}

/// `http`
#[derive(Clone, Debug, PartialEq)]
pub struct HttpProbe {
    /// `preferred_ip_protocol`, `ip_protocol_fallback`
    pub ip: IpChoice,
    /// `skip_resolve_phase_with_proxy`
    pub skip_resolve_phase_with_proxy: bool,
    /// `valid_status_codes`; empty: 200 to 299.
    pub valid_status_codes: Vec<u16>,
    /// `valid_http_versions`; empty: all.
    pub valid_http_versions: Vec<String>,
    /// `method`
    pub method: String,
    /// `headers`
    pub headers: BTreeMap<String, String>,
    /// `body`
    pub body: String,
    /// `body_file`
    pub body_file: Option<PathBuf>,
    /// `fail_if_ssl`
    pub fail_if_ssl: bool,
    /// `fail_if_not_ssl`
    pub fail_if_not_ssl: bool,
    /// `fail_if_body_matches_regexp`
    pub fail_if_body_matches: Vec<SearchRegex>,
    /// `fail_if_body_not_matches_regexp`
    pub fail_if_body_not_matches: Vec<SearchRegex>,
    /// `fail_if_header_matches`
    pub fail_if_header_matches: Vec<HeaderMatch>,
    /// `fail_if_header_not_matches`
    pub fail_if_header_not_matches: Vec<HeaderMatch>,
    /// `compression`; `None`: the body is taken as it comes.
    pub compression: Option<Encoding>,
    /// `body_size_limit` in bytes; `None`: the bounds of [`super::http`] alone.
    pub body_size_limit: Option<u64>,
    /// `tls_config`, `basic_auth`, `authorization`, `oauth2`, `proxy_url`, `follow_redirects`, …
    pub client: ClientSettings,
}

impl Default for HttpProbe {
    fn default() -> Self {
        Self {
            ip: IpChoice::default(),
            skip_resolve_phase_with_proxy: false,
            valid_status_codes: Vec::new(),
            valid_http_versions: Vec::new(),
            method: "GET".to_owned(),
            headers: BTreeMap::new(),
            body: String::new(),
            body_file: None,
            fail_if_ssl: false,
            fail_if_not_ssl: false,
            fail_if_body_matches: Vec::new(),
            fail_if_body_not_matches: Vec::new(),
            fail_if_header_matches: Vec::new(),
            fail_if_header_not_matches: Vec::new(),
            compression: None,
            body_size_limit: None,
            client: ClientSettings::default(),
        }
    }
}

/// One entry of `fail_if_header_matches` and `fail_if_header_not_matches`.
#[derive(Clone, Debug, PartialEq)]
pub struct HeaderMatch {
    /// `header`
    pub header: String,
    /// `regexp`
    pub regexp: SearchRegex,
    /// `allow_missing`
    pub allow_missing: bool,
}

/// `tcp`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TcpProbe {
    /// `preferred_ip_protocol`, `ip_protocol_fallback`
    pub ip: IpChoice,
    /// `source_ip_address`
    pub source: Option<IpAddr>,
    /// `query_response`
    pub steps: Vec<QueryResponse>,
    /// `tls`
    pub tls: bool,
    /// `tls_config`
    pub tls_config: TlsSettings,
}

/// One entry of `query_response`; its parts in this order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueryResponse {
    /// `expect`
    pub expect: Option<SearchRegex>,
    /// `labels`: name and template.
    pub labels: Vec<(String, String)>,
    /// `expect_bytes`
    pub expect_bytes: Vec<u8>,
    /// `send`
    pub send: Vec<u8>,
    /// `starttls`
    pub starttls: bool,
}

/// `icmp`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IcmpProbe {
    /// `preferred_ip_protocol`, `ip_protocol_fallback`
    pub ip: IpChoice,
    /// `source_ip_address`
    pub source: Option<IpAddr>,
    /// `payload_size` in bytes; 0: the usual payload.
    pub payload_bytes: usize,
    /// `dont_fragment`
    pub dont_fragment: bool,
    /// `ttl`; 0: the kernel's.
    pub ttl: u8,
}

impl Default for IcmpProbe {
    fn default() -> Self {
        Self { ip: IpChoice::default(), source: None, payload_bytes: 0, dont_fragment: false, ttl: 64 }
    }
}

/// `dns`
#[derive(Clone, Debug, PartialEq)]
pub struct DnsProbe {
    /// `preferred_ip_protocol`, `ip_protocol_fallback`
    pub ip: IpChoice,
    /// `source_ip_address`
    pub source: Option<IpAddr>,
    /// `transport_protocol: tcp`
    pub over_tcp: bool,
    /// `dns_over_tls`
    pub over_tls: bool,
    /// `tls_config`
    pub tls_config: TlsSettings,
    /// `query_name`
    pub query_name: String,
    /// `query_type`: its name and number.
    pub query_type: (String, u16),
    /// `query_class`: its name and number.
    pub query_class: (String, u16),
    /// `recursion_desired`
    pub recursion_desired: bool,
    /// `valid_rcodes`: names and numbers; empty: NOERROR.
    pub valid_codes: Vec<(String, u16)>,
    /// `validate_answer_rrs`
    pub answer: RecordRules,
    /// `validate_authority_rrs`
    pub authority: RecordRules,
    /// `validate_additional_rrs`
    pub additional: RecordRules,
}

/// What the records of a section must look like.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordRules {
    /// `fail_if_matches_regexp`
    pub fail_if_matches: Vec<SearchRegex>,
    /// `fail_if_all_match_regexp`
    pub fail_if_all_match: Vec<SearchRegex>,
    /// `fail_if_not_matches_regexp`
    pub fail_if_not_matches: Vec<SearchRegex>,
    /// `fail_if_none_matches_regexp`
    pub fail_if_none_matches: Vec<SearchRegex>,
}

impl ProbeSettings {
    /// What to say of a module that is not there, or that cannot be used.
    pub fn unknown_module(&self, name: &str) -> CollectError {
        if let Some(module) = self.unsupported.get(name) {
            return CollectError::UnsupportedModule { name: name.to_owned(), reason: module.reason.clone() };
        }
        let known = self.modules.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        CollectError::Module { name: name.to_owned(), known }
    }
}

impl HttpProbe {
    /// Whether the body is matched against patterns.
    pub fn has_body_patterns(&self) -> bool {
        !(self.fail_if_body_matches.is_empty() && self.fail_if_body_not_matches.is_empty())
    }

    /// What is read of a body at most, whatever `body_size_limit` says.
    pub fn body_bytes_max(&self) -> u64 {
        if self.has_body_patterns() { MATCHED_BYTES_MAX } else { BODY_BYTES_MAX }
    }
}

impl Network {
    /// Reads `10.0.0.0/8`, or an address that stands for itself.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        (bits <= width).then_some(Self { address, bits })
    }

    /// Whether an address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        in_network(address, self.address, self.bits)
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}
