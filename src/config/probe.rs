//! `collector: probe`: the modules of blackbox_exporter, in the job or in a file of their own.
//! Source of the keys: prometheus/blackbox_exporter/config/config.go, version 0.28.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::paths::Folder;
use super::{client, discovery, size};
use crate::client::Encoding;
use crate::client::dns_records::{Question, class_number, code_number, encode_question, type_number};
use crate::collect::probe::{
    DnsProbe, HeaderMatch, HttpProbe, IcmpProbe, IpChoice, Module, Network, PAYLOAD_BYTES_MAX, ProbeSettings,
    ProberSettings, QueryResponse, RecordRules, TcpProbe, UnsupportedModule,
};
use crate::model::{SearchRegex, is_legacy_label_name};
use crate::scrape::{JobSettings, JobSource};
use crate::yaml::{self, Field, Report, Section};

/// The modules where none are written.
const BUILT_IN: &str = include_str!("probe.yml");

/// The parameters that a probe takes.
const PARAMS: [&str; 3] = ["module", "target", "hostname"];

/// Keys of a client, which a job has for its exporter.
const CLIENT_KEYS: [&str; 13] = [
    "basic_auth",
    "authorization",
    "bearer_token",
    "bearer_token_file",
    "oauth2",
    "tls_config",
    "proxy_url",
    "no_proxy",
    "proxy_from_environment",
    "proxy_connect_header",
    "follow_redirects",
    "http_headers",
    "enable_http2",
];

const PROBERS: [&str; 4] = ["http", "tcp", "icmp", "dns"];
/// Those of blackbox_exporter that are not supported.
const FOREIGN_PROBERS: [&str; 3] = ["grpc", "unix", "websocket"];

/// What was read.
#[derive(Default)]
struct Modules {
    usable: BTreeMap<String, Module>,
    unsupported: BTreeMap<String, UnsupportedModule>,
}

/// What of a module is not supported: a key of its section with its value, or the prober.
struct Unsupported {
    key: Option<(&'static str, String)>,
    reason: String,
}

/// Reads the keys of a job that probes.
pub fn read(section: &Section<'_>, job: &JobSettings, folder: &Folder) -> JobSource {
    for key in CLIENT_KEYS.into_iter().filter(|key| section.has(key)) {
        section.problem(key, "there is no exporter to talk to: put it into the `http` section of a module");
    }
    for name in job.params.keys().filter(|name| !PARAMS.contains(&name.as_str())) {
        section.warning("params", format!("{name:?} is ignored; a probe takes {}", PARAMS.join(", ")));
    }
    let modules_file = section.text("modules_file").map(|path| folder.join(&path));
    let modules = match (section.get("modules"), &modules_file) {
        (Some(_), Some(_)) => {
            section.problem("modules_file", "cannot stand beside `modules`: choose one");
            Modules::default()
        }
        (Some(field), None) => {
            if field.pairs().is_empty() {
                field.problem("there is no module; leave the key out for the built-in ones");
            }
            modules(&field, folder)
        }
        (None, Some(path)) => modules_of_file(section, path),
        (None, None) => {
            let document = yaml::parse(BUILT_IN).expect("a test reads the embedded text");
            let report = Report::new("(built in)");
            modules_of_document(&report.root(&document), folder)
        }
    };
    let Modules { usable: modules, unsupported } = modules;
    let settings = ProbeSettings { modules, unsupported, modules_file, allowed_networks: networks(section) };
    JobSource::Probes { discovery: discovery::read(section, false, folder), settings: Arc::new(settings) }
}

fn networks(section: &Section<'_>) -> Vec<Network> {
    let read = |field: &Field<'_>| {
        let network = Network::parse(&field.text()?);
        if network.is_none() {
            field.problem("is not a network; write for example 169.254.10.0/24 or fe80::/10");
        }
        network
    };
    section.items("allowed_networks").iter().filter_map(read).collect()
}

fn modules_of_file(section: &Section<'_>, path: &Path) -> Modules {
    let read = std::fs::read_to_string(path).map_err(|error| error.to_string());
    let document = read.and_then(|text| yaml::parse(&text).map_err(|error| error.to_string()));
    let document = match document {
        Ok(document) => document,
        Err(error) => {
            section.problem("modules_file", format!("{} cannot be read: {error}", path.display()));
            return Modules::default();
        }
    };
    let report = Report::new(path.display().to_string());
    let modules = modules_of_document(&report.root(&document), &Folder::of(path));
    section.report().adopt(report);
    modules
}

fn modules_of_document(root: &Field<'_>, folder: &Folder) -> Modules {
    let section = root.section();
    let field = section.get("modules");
    if field.as_ref().is_none_or(|field| field.pairs().is_empty()) {
        section.problem("modules", "there is no module");
    }
    let modules = field.map(|field| modules(&field, folder)).unwrap_or_default();
    section.finish(|_| None);
    modules
}

fn modules(field: &Field<'_>, folder: &Folder) -> Modules {
    let mut modules = Modules::default();
    for (name, field) in field.pairs() {
        match module(&field, folder) {
            Some(Ok(module)) => drop(modules.usable.insert(name, module)),
            Some(Err(module)) => {
                let reason = &module.reason;
                field.warning(format!("the module cannot be used, and targets that name it are down: {reason}"));
                modules.unsupported.insert(name, module);
            }
            None => {}
        }
    }
    modules
}

/// A module; or why it cannot be used, though blackbox_exporter knows it: files are shared, and the others can. `None` for
/// mistakes, which are refused.
fn module(field: &Field<'_>, folder: &Folder) -> Option<Result<Module, UnsupportedModule>> {
    let section = field.section();
    let name = section.text("prober").unwrap_or_default();
    for other in PROBERS.into_iter().chain(FOREIGN_PROBERS).filter(|other| section.has(other)) {
        // What is not supported is not looked at either.
        if other != name {
            section.warning(other, format!("is ignored beside `prober: {name}`"));
        }
    }
    let mut unsupported = None;
    let part = |key| section.get(key).map(|field| field.section());
    let prober = match name.as_str() {
        "http" => {
            let read = part("http").map(|section| http(section, folder, &mut unsupported));
            Some(ProberSettings::Http(Box::new(read.unwrap_or_default())))
        }
        "tcp" => {
            Some(ProberSettings::Tcp(Box::new(part("tcp").map(|section| tcp(section, folder)).unwrap_or_default())))
        }
        "icmp" => Some(ProberSettings::Icmp(part("icmp").map(icmp).unwrap_or_default())),
        "dns" => match section.get("dns") {
            Some(field) => dns(&field, folder).map(|probe| ProberSettings::Dns(Box::new(probe))),
            None => {
                section.problem("dns", "a `dns` section with a query_name is needed");
                None
            }
        },
        "grpc" | "unix" | "websocket" => {
            let reason = format!("the prober {name} is not supported; supported are {}", PROBERS.join(", "));
            unsupported = Some(Unsupported { key: None, reason });
            None
        }
        _ => {
            section.problem("prober", format!("must be one of {}, not {name:?}", PROBERS.join(", ")));
            None
        }
    };
    let timeout = section.duration("timeout");
    section.finish(|_| None);
    match unsupported {
        Some(Unsupported { key, reason }) => Some(Err(UnsupportedModule { prober: name, key, reason })),
        None => Some(Ok(Module { timeout, prober: prober? })),
    }
}

fn http(section: Section<'_>, folder: &Folder, unsupported: &mut Option<Unsupported>) -> HttpProbe {
    let usual = HttpProbe::default();
    let mut settings = HttpProbe {
        ip: ip(&section),
        skip_resolve_phase_with_proxy: section.boolean("skip_resolve_phase_with_proxy").unwrap_or(false),
        valid_status_codes: section.items("valid_status_codes").iter().filter_map(status_code).collect(),
        valid_http_versions: section.items("valid_http_versions").iter().filter_map(http_version).collect(),
        method: method(&section).unwrap_or(usual.method),
        headers: headers(&section),
        body: section.text("body").unwrap_or_default(),
        body_file: section.text("body_file").map(|path| folder.join(&path)),
        fail_if_ssl: section.boolean("fail_if_ssl").unwrap_or(false),
        fail_if_not_ssl: section.boolean("fail_if_not_ssl").unwrap_or(false),
        fail_if_body_matches: patterns(&section, "fail_if_body_matches_regexp"),
        fail_if_body_not_matches: patterns(&section, "fail_if_body_not_matches_regexp"),
        fail_if_header_matches: header_matches(&section, "fail_if_header_matches"),
        fail_if_header_not_matches: header_matches(&section, "fail_if_header_not_matches"),
        compression: compression(&section, unsupported),
        body_size_limit: None,
        client: client::read(&section, folder),
    };
    if let Some(off) = section.boolean("no_follow_redirects") {
        section.warning("no_follow_redirects", "is an old name; write follow_redirects");
        settings.client.follow_redirects = !off;
    }
    if settings.body_file.is_some() && !settings.body.is_empty() {
        section.problem("body_file", "cannot stand beside `body`: choose one");
    }
    let mut lacks = |key, value: String, reason: &str| {
        *unsupported = Some(Unsupported { key: Some((key, value)), reason: reason.to_owned() });
    };
    if section.boolean("enable_http3") == Some(true) {
        lacks("enable_http3", "true".to_owned(), "HTTP/3 is not supported; HTTP/1.1 and HTTP/2 are");
    }
    for key in ["fail_if_body_json_matches_cel", "fail_if_body_json_not_matches_cel"] {
        if let Some(condition) = section.text(key) {
            let reason = "CEL is not supported; match the text with fail_if_body_matches_regexp or \
                          fail_if_body_not_matches_regexp";
            lacks(key, condition, reason);
        }
    }
    settings.body_size_limit = body_size_limit(&section, &settings);
    section.finish(|_| None);
    settings
}

fn status_code(field: &Field<'_>) -> Option<u16> {
    let code = field.unsigned().and_then(|code| u16::try_from(code).ok()).filter(|code| (100..1000).contains(code));
    if code.is_none() {
        field.problem("a status code has three digits");
    }
    code
}

fn http_version(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if !matches!(text.as_str(), "HTTP/1.0" | "HTTP/1.1" | "HTTP/2.0") {
        field.problem("must be HTTP/1.0, HTTP/1.1 or HTTP/2.0");
    }
    Some(text)
}

fn method(section: &Section<'_>) -> Option<String> {
    let method = section.text("method")?;
    if hyper::Method::from_bytes(method.as_bytes()).is_err() {
        section.problem("method", "is not a method of HTTP");
    }
    Some(method)
}

fn headers(section: &Section<'_>) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    for (name, value) in section.get("headers").map(|field| field.pairs()).unwrap_or_default() {
        let Some(text) = value.text() else { continue };
        let is_name = name.parse::<hyper::header::HeaderName>().is_ok();
        if !is_name || hyper::header::HeaderValue::from_str(&text).is_err() {
            value.problem("is not a header of HTTP");
        }
        headers.insert(name, text);
    }
    headers
}

fn compression(section: &Section<'_>, unsupported: &mut Option<Unsupported>) -> Option<Encoding> {
    let name = section.text("compression")?;
    check_accept_encoding(section, &name);
    match name.to_ascii_lowercase().as_str() {
        "gzip" => Some(Encoding::Gzip),
        "deflate" => Some(Encoding::Deflate),
        "identity" => Some(Encoding::Identity),
        "br" => {
            let reason = "compression: br is not supported; supported are gzip, deflate, identity".to_owned();
            *unsupported = Some(Unsupported { key: Some(("compression", name)), reason });
            None
        }
        other => {
            section.problem("compression", format!("must be gzip, deflate or identity, not {other:?}"));
            None
        }
    }
}

/// A body cannot be expected in an encoding that the request refuses.
fn check_accept_encoding(section: &Section<'_>, name: &str) {
    let pairs = section.get("headers").map(|field| field.pairs()).unwrap_or_default();
    let Some((_, accepted)) = pairs.into_iter().find(|(key, _)| key.eq_ignore_ascii_case("accept-encoding")) else {
        return;
    };
    let text = accepted.text().unwrap_or_default();
    let is_accepted = |part: &str| {
        let (encoding, quality) = part.rsplit_once(';').unwrap_or((part, "q=1"));
        let quality = quality.trim().trim_start_matches("q=").parse::<f64>().unwrap_or(0.0);
        (encoding.trim() == name || encoding.trim() == "*") && quality > 0.0
    };
    if !text.is_empty() && !text.split(',').any(is_accepted) {
        accepted.problem(format!("does not accept {name:?}, which `compression` expects"));
    }
}

fn body_size_limit(section: &Section<'_>, settings: &HttpProbe) -> Option<u64> {
    let field = section.get("body_size_limit")?;
    let text = field.text().filter(|text| !text.is_empty())?;
    let limit = size::parse_size(&text).map_err(|error| field.problem(error.to_string())).ok()?;
    let bound = settings.body_bytes_max();
    if limit > bound {
        field.warning(format!("is above what outpost reads of a body anyway, {bound}B: that bound holds"));
    }
    (limit > 0).then_some(limit)
}

fn header_matches(section: &Section<'_>, key: &'static str) -> Vec<HeaderMatch> {
    let mut matches = Vec::new();
    for field in section.items(key) {
        let section = field.section();
        let header = section.text("header");
        let regexp = section.get("regexp").and_then(|field| pattern(&field));
        if header.is_none() || !section.has("regexp") {
            field.problem("a `header` and a `regexp` are needed");
        }
        let allow_missing = section.boolean("allow_missing").unwrap_or(false);
        section.finish(|_| None);
        if let (Some(header), Some(regexp)) = (header, regexp) {
            matches.push(HeaderMatch { header, regexp, allow_missing });
        }
    }
    matches
}

fn tcp(section: Section<'_>, folder: &Folder) -> TcpProbe {
    let settings = TcpProbe {
        ip: ip(&section),
        source: source(&section),
        steps: section.items("query_response").iter().map(query_response).collect(),
        tls: section.boolean("tls").unwrap_or(false),
        tls_config: section.get("tls_config").map(|field| client::tls(&field, folder)).unwrap_or_default(),
    };
    section.finish(|_| None);
    settings
}

fn query_response(field: &Field<'_>) -> QueryResponse {
    let section = field.section();
    let bytes = |key| section.get(key).and_then(|field| field.bytes()).unwrap_or_default();
    let step = QueryResponse {
        expect: section.get("expect").and_then(|field| pattern(&field)),
        labels: section.items("labels").iter().filter_map(label).collect(),
        expect_bytes: bytes("expect_bytes"),
        send: bytes("send"),
        starttls: section.boolean("starttls").unwrap_or(false),
    };
    if step.expect.is_some() && !step.expect_bytes.is_empty() {
        section.problem("expect_bytes", "cannot stand beside `expect`: choose one");
    }
    section.finish(|_| None);
    step
}

fn label(field: &Field<'_>) -> Option<(String, String)> {
    let section = field.section();
    let name = section.text("name").unwrap_or_default();
    if !is_legacy_label_name(&name) {
        section.problem("name", "is not a label name");
    }
    let value = section.text("value").unwrap_or_default();
    section.finish(|_| None);
    Some((name, value))
}

fn icmp(section: Section<'_>) -> IcmpProbe {
    let usual = IcmpProbe::default();
    let payload = section.unsigned("payload_size").unwrap_or(0);
    if payload > PAYLOAD_BYTES_MAX as u64 {
        section.problem("payload_size", format!("at most {PAYLOAD_BYTES_MAX} bytes fit into a packet"));
    }
    let ttl = section.unsigned("ttl").map(|ttl| u8::try_from(ttl).map_err(|_| "a TTL is at most 255"));
    let ttl = ttl.map(|ttl| {
        ttl.unwrap_or_else(|message| {
            section.problem("ttl", message);
            usual.ttl
        })
    });
    let settings = IcmpProbe {
        ip: ip(&section),
        source: source(&section),
        payload_bytes: usize::try_from(payload).unwrap_or(0).min(PAYLOAD_BYTES_MAX),
        dont_fragment: section.boolean("dont_fragment").unwrap_or(false),
        ttl: ttl.unwrap_or(usual.ttl),
    };
    section.finish(|_| None);
    settings
}

fn dns(field: &Field<'_>, folder: &Folder) -> Option<DnsProbe> {
    let section = field.section();
    let query_name = section.text("query_name").filter(|name| !name.is_empty());
    match &query_name {
        None => section.problem("query_name", "a query_name is needed; `.` is the root"),
        Some(name) if !is_askable(name) => {
            section.problem("query_name", "is not a name: at most 253 bytes in parts of 1 to 63 between dots");
        }
        Some(_) => {}
    }
    let over_tcp = section.get("transport_protocol").and_then(|field| transport_is_tcp(&field)).unwrap_or(false);
    let over_tls = section.boolean("dns_over_tls").unwrap_or(false);
    if over_tls && !over_tcp {
        section.problem("dns_over_tls", "needs `transport_protocol: tcp`");
    }
    let named = |key, usual: &str, number: fn(&str) -> Option<u16>, what| {
        let name = section.text(key).unwrap_or_else(|| usual.to_owned());
        let found = number(&name);
        if found.is_none() {
            section.problem(key, format!("{name:?} is not a {what}"));
        }
        (name, found.unwrap_or_default())
    };
    let settings = DnsProbe {
        ip: ip(&section),
        source: source(&section),
        over_tcp,
        over_tls,
        tls_config: section.get("tls_config").map(|field| client::tls(&field, folder)).unwrap_or_default(),
        query_name: query_name.clone().unwrap_or_default(),
        query_type: named("query_type", "ANY", type_number, "record type"),
        query_class: named("query_class", "IN", class_number, "class"),
        recursion_desired: section.boolean("recursion_desired").unwrap_or(true),
        valid_codes: section.items("valid_rcodes").iter().filter_map(response_code).collect(),
        answer: record_rules(&section, "validate_answer_rrs"),
        authority: record_rules(&section, "validate_authority_rrs"),
        additional: record_rules(&section, "validate_additional_rrs"),
    };
    section.finish(|_| None);
    query_name.map(|_| settings)
}

/// Whether a name fits into a question.
fn is_askable(name: &str) -> bool {
    encode_question(0, &Question { name, record_type: 1, class: 1, recursion_desired: false }).is_some()
}

fn transport_is_tcp(field: &Field<'_>) -> Option<bool> {
    match field.text()?.as_str() {
        "" | "udp" => Some(false),
        "tcp" => Some(true),
        other => {
            field.problem(format!("must be udp or tcp, not {other:?}"));
            None
        }
    }
}

fn response_code(field: &Field<'_>) -> Option<(String, u16)> {
    let name = field.text()?;
    let Some(number) = code_number(&name) else {
        field.problem(format!("{name:?} is not a response code; write for example NOERROR or NXDOMAIN"));
        return None;
    };
    Some((name, number))
}

fn record_rules(section: &Section<'_>, key: &'static str) -> RecordRules {
    let Some(field) = section.get(key) else { return RecordRules::default() };
    let section = field.section();
    let rules = RecordRules {
        fail_if_matches: patterns(&section, "fail_if_matches_regexp"),
        fail_if_all_match: patterns(&section, "fail_if_all_match_regexp"),
        fail_if_not_matches: patterns(&section, "fail_if_not_matches_regexp"),
        fail_if_none_matches: patterns(&section, "fail_if_none_matches_regexp"),
    };
    section.finish(|_| None);
    rules
}

fn ip(section: &Section<'_>) -> IpChoice {
    let usual = IpChoice::default();
    let prefers_ip6 = match section.text("preferred_ip_protocol").as_deref() {
        None | Some("ip6") => true,
        Some("ip4") => false,
        Some(other) => {
            section.problem("preferred_ip_protocol", format!("must be ip4 or ip6, not {other:?}"));
            usual.prefers_ip6
        }
    };
    IpChoice { prefers_ip6, fallback: section.boolean("ip_protocol_fallback").unwrap_or(usual.fallback) }
}

fn source(section: &Section<'_>) -> Option<IpAddr> {
    let text = section.text("source_ip_address")?;
    text.parse().map_err(|_| section.problem("source_ip_address", format!("{text:?} is not an IP address"))).ok()
}

fn patterns(section: &Section<'_>, key: &'static str) -> Vec<SearchRegex> {
    section.items(key).iter().filter_map(pattern).collect()
}

fn pattern(field: &Field<'_>) -> Option<SearchRegex> {
    SearchRegex::new(&field.text()?).map_err(|error| field.problem(error.to_string())).ok()
}
