//! A job's modules as YAML, secrets hidden.

use super::show::{Pairs, client_keys, list, size, tls};
use crate::client::Encoding;
use crate::collect::probe::{
    DnsProbe, HeaderMatch, HttpProbe, IcmpProbe, IpChoice, Module, ProbeSettings, ProberSettings, QueryResponse,
    RecordRules, TcpProbe, UnsupportedModule,
};
use crate::model::{SearchRegex, encode_base64};
use crate::yaml::Tree;

/// Adds the keys of a job that probes, but for its targets.
pub(super) fn put(pairs: &mut Pairs, settings: &ProbeSettings) {
    pairs.put("collector", "probe");
    match &settings.modules_file {
        Some(path) => pairs.put("modules_file", path.as_path()),
        None => {
            let usable = settings.modules.iter().map(|(name, settings)| (name.clone(), module(settings).into()));
            let others =
                settings.unsupported.iter().map(|(name, settings)| (name.clone(), unsupported(settings).into()));
            pairs.put("modules", Tree::Map(usable.chain(others).collect()));
        }
    }
    pairs.put("allowed_networks", list(settings.allowed_networks.iter().map(ToString::to_string)));
}

fn module(settings: &Module) -> Pairs {
    let mut pairs = Pairs::default();
    let (name, keys) = match &settings.prober {
        ProberSettings::Http(settings) => ("http", http(settings)),
        ProberSettings::Tcp(settings) => ("tcp", tcp(settings)),
        ProberSettings::Icmp(settings) => ("icmp", icmp(settings)),
        ProberSettings::Dns(settings) => ("dns", dns(settings)),
    };
    pairs.put("prober", name);
    if let Some(timeout) = settings.timeout {
        pairs.put("timeout", timeout);
    }
    pairs.put(name, keys);
    pairs
}

/// So that it reads back as what it is.
fn unsupported(settings: &UnsupportedModule) -> Pairs {
    let mut pairs = Pairs::default();
    pairs.put("prober", settings.prober.as_str());
    if let Some((key, value)) = &settings.key {
        let mut section = Pairs::default();
        section.put(key, if value == "true" { Tree::from(true) } else { value.as_str().into() });
        pairs.put(&settings.prober, section);
    }
    pairs
}

fn ip(choice: IpChoice) -> Pairs {
    let mut pairs = Pairs::default();
    pairs.put("preferred_ip_protocol", if choice.prefers_ip6 { "ip6" } else { "ip4" });
    pairs.put("ip_protocol_fallback", choice.fallback);
    pairs
}

fn http(settings: &HttpProbe) -> Pairs {
    let mut pairs = ip(settings.ip);
    pairs.put_on("skip_resolve_phase_with_proxy", settings.skip_resolve_phase_with_proxy);
    pairs.put("valid_status_codes", list(settings.valid_status_codes.iter().map(|code| u64::from(*code))));
    pairs.put("valid_http_versions", list(settings.valid_http_versions.iter().cloned()));
    pairs.put("method", settings.method.as_str());
    // Bodies, headers and what is sent over TCP are where logins stand.
    let headers = settings.headers.iter().map(|(name, value)| (name.clone(), hidden(value.is_empty()).into()));
    pairs.put("headers", Tree::Map(headers.collect()));
    pairs.put("body", hidden(settings.body.is_empty()));
    if let Some(path) = &settings.body_file {
        pairs.put("body_file", path.as_path());
    }
    pairs.put_on("fail_if_ssl", settings.fail_if_ssl);
    pairs.put_on("fail_if_not_ssl", settings.fail_if_not_ssl);
    pairs.put("fail_if_body_matches_regexp", patterns(&settings.fail_if_body_matches));
    pairs.put("fail_if_body_not_matches_regexp", patterns(&settings.fail_if_body_not_matches));
    pairs.put("fail_if_header_matches", list(settings.fail_if_header_matches.iter().map(header_match)));
    pairs.put("fail_if_header_not_matches", list(settings.fail_if_header_not_matches.iter().map(header_match)));
    pairs.put("compression", settings.compression.map_or("", encoding));
    if let Some(limit) = settings.body_size_limit {
        pairs.put("body_size_limit", Tree::Plain(size(limit)));
    }
    pairs.append(client_keys(&settings.client));
    pairs
}

fn hidden(is_empty: bool) -> &'static str {
    if is_empty { "" } else { super::show::HIDDEN }
}

fn encoding(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Identity => "identity",
        Encoding::Gzip => "gzip",
        Encoding::Deflate => "deflate",
    }
}

fn header_match(rule: &HeaderMatch) -> Pairs {
    let mut pairs = Pairs::default();
    pairs.put("header", rule.header.as_str());
    pairs.put("regexp", rule.regexp.as_str());
    pairs.put_on("allow_missing", rule.allow_missing);
    pairs
}

fn tcp(settings: &TcpProbe) -> Pairs {
    let mut pairs = ip(settings.ip);
    pairs.put("source_ip_address", settings.source.map(|source| source.to_string()).unwrap_or_default());
    pairs.put("query_response", list(settings.steps.iter().map(query_response)));
    pairs.put_on("tls", settings.tls);
    pairs.put("tls_config", tls(&settings.tls_config));
    pairs
}

fn query_response(step: &QueryResponse) -> Pairs {
    let mut pairs = Pairs::default();
    pairs.put("expect", step.expect.as_ref().map_or("", SearchRegex::as_str));
    pairs.put("expect_bytes", bytes(&step.expect_bytes));
    let labels = step.labels.iter().map(|(name, value)| {
        let mut pairs = Pairs::default();
        pairs.put("name", name.as_str());
        pairs.put("value", value.as_str());
        pairs
    });
    pairs.put("labels", list(labels));
    pairs.put("send", hidden(step.send.is_empty()));
    pairs.put_on("starttls", step.starttls);
    pairs
}

fn bytes(bytes: &[u8]) -> Tree {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => Tree::Plain(format!("!!binary {}", encode_base64(bytes))),
    }
}

fn icmp(settings: &IcmpProbe) -> Pairs {
    let mut pairs = ip(settings.ip);
    pairs.put("source_ip_address", settings.source.map(|source| source.to_string()).unwrap_or_default());
    pairs.put_number("payload_size", settings.payload_bytes as u64);
    pairs.put_on("dont_fragment", settings.dont_fragment);
    pairs.put("ttl", u64::from(settings.ttl));
    pairs
}

fn dns(settings: &DnsProbe) -> Pairs {
    let mut pairs = ip(settings.ip);
    pairs.put("source_ip_address", settings.source.map(|source| source.to_string()).unwrap_or_default());
    pairs.put("transport_protocol", if settings.over_tcp { "tcp" } else { "udp" });
    pairs.put_on("dns_over_tls", settings.over_tls);
    pairs.put("tls_config", tls(&settings.tls_config));
    pairs.put("query_name", settings.query_name.as_str());
    pairs.put("query_type", settings.query_type.0.as_str());
    pairs.put("query_class", settings.query_class.0.as_str());
    pairs.put("recursion_desired", settings.recursion_desired);
    pairs.put("valid_rcodes", list(settings.valid_codes.iter().map(|(name, _)| name.as_str())));
    pairs.put("validate_answer_rrs", record_rules(&settings.answer));
    pairs.put("validate_authority_rrs", record_rules(&settings.authority));
    pairs.put("validate_additional_rrs", record_rules(&settings.additional));
    pairs
}

fn record_rules(rules: &RecordRules) -> Pairs {
    let mut pairs = Pairs::default();
    pairs.put("fail_if_matches_regexp", patterns(&rules.fail_if_matches));
    pairs.put("fail_if_all_match_regexp", patterns(&rules.fail_if_all_match));
    pairs.put("fail_if_not_matches_regexp", patterns(&rules.fail_if_not_matches));
    pairs.put("fail_if_none_matches_regexp", patterns(&rules.fail_if_none_matches));
    pairs
}

fn patterns(patterns: &[SearchRegex]) -> Tree {
    list(patterns.iter().map(SearchRegex::as_str))
}
