//! `static_configs` and the supported `*_sd_configs`.
//! Source of the rules: prometheus/discovery/{file,http,dns,moby}/*.go.

use std::time::Duration;

use super::paths::Folder;
use super::{client, url};
use crate::discovery::{
    DiscoverySettings, DnsRecordType, DnsSettings, DockerFilter, DockerSettings, FileSettings, HttpSettings, SwarmRole,
    SwarmSettings, TargetGroup,
};
use crate::model::{Labels, LabelsBuilder};
use crate::yaml::{Field, Section};

/// The label that holds a target's address.
const ADDRESS: &str = "__address__";

const MINUTE: Duration = Duration::from_secs(60);

/// Reads every list of a section. Addresses that are URLs are refused if no relabeling could mend them.
pub fn read(section: &Section<'_>, addresses_are_final: bool, folder: &Folder) -> Vec<DiscoverySettings> {
    let mut all = Vec::new();
    for (index, field) in section.items("static_configs").iter().enumerate() {
        all.extend(static_group(field, index, addresses_are_final).map(DiscoverySettings::Static));
    }
    let mut extend = |key, read: &dyn Fn(&Section<'_>) -> DiscoverySettings| {
        for field in section.items(key) {
            if field.is_null() {
                field.problem("an empty entry; remove it");
                continue;
            }
            let entry = field.section();
            all.push(read(&entry));
            entry.finish(|_| None);
        }
    };
    extend("file_sd_configs", &|entry| DiscoverySettings::File(file(entry, folder)));
    extend("http_sd_configs", &|entry| DiscoverySettings::Http(http(entry, folder)));
    extend("dns_sd_configs", &|entry| DiscoverySettings::Dns(dns(entry)));
    extend("docker_sd_configs", &|entry| DiscoverySettings::Docker(docker(entry, folder)));
    extend("dockerswarm_sd_configs", &|entry| DiscoverySettings::DockerSwarm(swarm(entry, folder)));
    all
}

/// Whether a container engine can be asked at `host`; else what is wrong.
pub fn check_engine_host(host: &str) -> Result<(), String> {
    let example = "write for example unix:///var/run/docker.sock or tcp://host:2375";
    let socket = |path: &str| format!("unix:///{}", path.trim_start_matches('/'));
    let Some(parts) = url::split(host) else {
        return Err(format!("{host:?} is not an address of an engine; {example}"));
    };
    match (parts.scheme, host.split_once("://")) {
        ("unix", Some((_, path))) if path.len() > 1 && path.starts_with('/') => Ok(()),
        // `unix:/run/x.sock` and `unix://run/x.sock`: the first word would be a host, or the path one from anywhere.
        ("unix", _) if parts.host.is_empty() && host.trim_end_matches('/').len() <= "unix:".len() => {
            Err(format!("the socket's path is missing; {example}"))
        }
        ("unix", _) => {
            Err(format!("three slashes go before a socket's path; write {}", socket(&host["unix:".len()..])))
        }
        ("tcp" | "http" | "https", _) if parts.host.is_empty() => Err(format!("the host is missing; {example}")),
        ("tcp" | "http" | "https", _) => Ok(()),
        (scheme, _) => Err(format!("{scheme} is not supported here; {example}")),
    }
}

/// Whether an address could be a host: a URL is a common mistake.
pub fn check_address(address: &str) -> Result<(), String> {
    if address.contains('/') {
        return Err(format!(
            "{address:?} is not a host and port; put the scheme into `scheme` and the path into `metrics_path`"
        ));
    }
    Ok(())
}

fn static_group(field: &Field<'_>, index: usize, addresses_are_final: bool) -> Option<TargetGroup> {
    if field.is_null() {
        field.problem("an empty entry; remove it or give it `targets`");
        return None;
    }
    let section = field.section();
    let mut targets = Vec::new();
    for target in section.items("targets") {
        let Some(address) = target.text() else { continue };
        if addresses_are_final && let Err(message) = check_address(&address) {
            target.problem(message);
        }
        targets.push(Labels::from_pairs([(ADDRESS, address)]));
    }
    let labels = section.get("labels").map(|field| labels(&field)).unwrap_or_default();
    section.finish(|_| None);
    Some(TargetGroup { source: index.to_string(), targets, labels })
}

fn labels(field: &Field<'_>) -> Labels {
    let mut labels = LabelsBuilder::default();
    for (name, value) in field.pairs() {
        if name.is_empty() {
            value.problem("a label's name must not be empty");
        } else if let Some(text) = value.text() {
            labels.set(name, text);
        }
    }
    labels.build()
}

fn refresh(section: &Section<'_>, usual: Duration) -> Duration {
    section.duration("refresh_interval").unwrap_or(usual)
}

fn file(section: &Section<'_>, folder: &Folder) -> FileSettings {
    let mut files = Vec::new();
    for item in section.items("files") {
        let Some(path) = item.text() else { continue };
        if is_target_file(&path) {
            files.push(folder.join(&path));
        } else {
            item.problem(format!(
                "{path:?}: a target file ends in .json, .yml or .yaml, and a `*` may stand only in its last part"
            ));
        }
    }
    if section.items("files").is_empty() {
        section.problem("files", "file_sd_configs needs at least one path under `files`");
    }
    FileSettings { files, refresh_interval: refresh(section, 5 * MINUTE) }
}

fn is_target_file(path: &str) -> bool {
    let endings = [".json", ".yml", ".yaml", ".JSON", ".YML", ".YAML"];
    let stem = endings.iter().find_map(|ending| path.strip_suffix(ending));
    stem.is_some_and(|stem| stem.split_once('*').is_none_or(|(_, rest)| !rest.contains('/')))
}

fn http(section: &Section<'_>, folder: &Folder) -> HttpSettings {
    let url = section.text("url").unwrap_or_default();
    if url.is_empty() {
        section.problem("url", "http_sd_configs needs a `url`");
    } else if let Err(message) = url::check_http(&url) {
        section.problem("url", message);
    }
    HttpSettings { url, refresh_interval: refresh(section, MINUTE), client: client::read(section, folder) }
}

fn dns(section: &Section<'_>) -> DnsSettings {
    let names = section.get("names").map(|field| field.texts()).unwrap_or_default();
    if names.is_empty() {
        section.problem("names", "dns_sd_configs needs at least one name under `names`");
    }
    let record_type = record_type(section);
    let port = port(section, "port");
    if record_type != DnsRecordType::Srv && port.is_none() {
        section.problem("port", "a `port` is needed for all record types except SRV");
    }
    DnsSettings { names, record_type, port, refresh_interval: refresh(section, MINUTE / 2) }
}

fn record_type(section: &Section<'_>) -> DnsRecordType {
    match section.written_text("type").map(|text| text.to_ascii_uppercase()).as_deref() {
        None | Some("SRV") => DnsRecordType::Srv,
        Some("A") => DnsRecordType::A,
        Some("AAAA") => DnsRecordType::Aaaa,
        Some("MX") => DnsRecordType::Mx,
        Some("NS") => DnsRecordType::Ns,
        Some(other) => {
            section.problem("type", format!("unknown record type {other:?}; known are SRV, A, AAAA, MX, NS"));
            DnsRecordType::Srv
        }
    }
}

fn port(section: &Section<'_>, key: &'static str) -> Option<u16> {
    let number = section.unsigned(key).filter(|number| *number > 0)?;
    u16::try_from(number).map_err(|_| section.problem(key, "a port is a number up to 65535")).ok()
}

fn docker(section: &Section<'_>, folder: &Folder) -> DockerSettings {
    DockerSettings {
        host: engine_host(section),
        port: port(section, "port").unwrap_or(80),
        host_networking_host: section.text("host_networking_host").unwrap_or_else(|| "localhost".to_owned()),
        match_first_network: section.boolean("match_first_network").unwrap_or(true),
        filters: filters(section),
        refresh_interval: refresh(section, MINUTE),
        client: client::read(section, folder),
    }
}

fn swarm(section: &Section<'_>, folder: &Folder) -> SwarmSettings {
    SwarmSettings {
        host: engine_host(section),
        role: swarm_role(section),
        port: port(section, "port").unwrap_or(80),
        filters: filters(section),
        refresh_interval: refresh(section, MINUTE),
        client: client::read(section, folder),
    }
}

fn engine_host(section: &Section<'_>) -> String {
    let host = section.text("host").unwrap_or_default();
    if host.is_empty() {
        section.problem("host", "a `host` is needed, for example unix:///var/run/docker.sock");
    } else if let Err(message) = check_engine_host(&host) {
        section.problem("host", message);
    }
    host
}

fn swarm_role(section: &Section<'_>) -> SwarmRole {
    match section.text("role").as_deref() {
        Some("services") => SwarmRole::Services,
        Some("tasks") => SwarmRole::Tasks,
        Some("nodes") => SwarmRole::Nodes,
        other => {
            let found = other.map_or_else(|| "is missing".to_owned(), |role| format!("{role:?} is unknown"));
            section.problem("role", format!("the role {found}; write tasks, services or nodes"));
            SwarmRole::Tasks
        }
    }
}

fn filters(section: &Section<'_>) -> Vec<DockerFilter> {
    let mut filters = Vec::new();
    for field in section.items("filters") {
        let entry = field.section();
        filters.push(DockerFilter {
            name: entry.text("name").unwrap_or_default(),
            values: entry.get("values").map(|field| field.texts()).unwrap_or_default(),
        });
        entry.finish(|_| None);
    }
    filters
}
