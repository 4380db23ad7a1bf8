//! The keys of a job with a built-in collector.

use std::path::PathBuf;
use std::time::Duration;

use super::paths::Folder;
use super::{client, discovery};
use crate::collect::{
    CollectorSettings, DockerCollectorSettings, NodeCollectorSettings, NodeFlags, NutCollectorSettings,
    RELATIVE_FOLDER, SmartCollectorSettings, nut_host_and_port,
};
use crate::glob::NamePattern;
use crate::model::SearchRegex;
use crate::yaml::{Field, Section};

const KNOWN: &str = "node, docker, smart, nut, outpost, probe";
/// Every reading runs a program per disk.
const SMARTCTL_INTERVAL_MIN: Duration = Duration::from_secs(10);
/// Every reading walks through all files of all containers.
const SIZE_INTERVAL_MIN: Duration = Duration::from_secs(60);
/// Each label of each container is compared with all of them.
const NAME_PATTERNS_MAX: usize = 100;

/// Reads the keys of the collector `name`.
pub fn read(section: &Section<'_>, name: &str, folder: &Folder) -> CollectorSettings {
    let keys = ["scheme", "metrics_path", "params", "static_configs", "file_sd_configs", "http_sd_configs"];
    let discoveries = ["dns_sd_configs", "docker_sd_configs", "dockerswarm_sd_configs"];
    for key in keys.into_iter().chain(discoveries).filter(|key| section.has(key)) {
        section.problem(key, "has no meaning beside `collector`: a collector is its job's one target");
    }
    match name {
        "node" => CollectorSettings::Node(node(section)),
        "docker" => CollectorSettings::Docker(Box::new(docker(section, folder))),
        "smart" => CollectorSettings::Smart(smart(section)),
        "nut" => CollectorSettings::Nut(nut(section, folder)),
        "outpost" => CollectorSettings::Own,
        other => {
            section.problem("collector", format!("unknown collector {other:?}; known are {KNOWN}"));
            CollectorSettings::Own
        }
    }
}

fn node(section: &Section<'_>) -> NodeCollectorSettings {
    let usual = NodeCollectorSettings::default();
    let path = |key, usual| section.text(key).map_or(usual, |path| root(section, key, path));
    NodeCollectorSettings {
        procfs: path("procfs", usual.procfs),
        sysfs: path("sysfs", usual.sysfs),
        rootfs: path("rootfs", usual.rootfs),
        flags: node_flags(section),
    }
}

fn root(section: &Section<'_>, key: &'static str, path: String) -> PathBuf {
    if !path.starts_with('/') {
        section.problem(key, format!("{path:?} {RELATIVE_FOLDER}"));
    }
    path.into()
}

fn node_flags(section: &Section<'_>) -> NodeFlags {
    let written = section.items("flags").into_iter().filter_map(|item| Some((item.text()?, item)));
    let (flags, items): (Vec<String>, Vec<Field<'_>>) = written.unzip();
    NodeFlags::parse(flags).unwrap_or_else(|mistakes| {
        mistakes.into_iter().for_each(|(index, message)| items[index].problem(message));
        NodeFlags::default()
    })
}

fn docker(section: &Section<'_>, folder: &Folder) -> DockerCollectorSettings {
    let usual = DockerCollectorSettings::default();
    let docker_host = section.text("docker_host").unwrap_or(usual.docker_host);
    if let Err(message) = discovery::check_engine_host(&docker_host) {
        section.problem("docker_host", message);
    }
    let size_interval = section.duration("size_interval");
    if size_interval.is_some_and(|interval| interval < SIZE_INTERVAL_MIN) {
        section.problem("size_interval", "must be at least 1m: the engine walks through all files of all containers");
    }
    DockerCollectorSettings {
        docker_host,
        client: client::read(section, folder),
        label_include: section.has("label_include").then(|| name_patterns(section, "label_include")),
        label_exclude: name_patterns(section, "label_exclude"),
        size_interval,
    }
}

fn name_patterns(section: &Section<'_>, key: &'static str) -> Vec<NamePattern> {
    let items = section.items(key);
    if items.len() > NAME_PATTERNS_MAX {
        section.problem(key, format!("at most {NAME_PATTERNS_MAX} names"));
    }
    let read = |item: &Field<'_>| {
        let text = item.text()?;
        let pattern = NamePattern::parse(&text);
        if pattern.is_none() {
            item.problem(format!("{text:?} can match nothing: a `[` without its `]`, or a `\\` at the end"));
        }
        pattern
    };
    items.iter().take(NAME_PATTERNS_MAX).filter_map(read).collect()
}

fn smart(section: &Section<'_>) -> SmartCollectorSettings {
    let usual = SmartCollectorSettings::default();
    let interval = section.duration("smartctl_interval").unwrap_or(usual.interval);
    if interval < SMARTCTL_INTERVAL_MIN {
        section.problem("smartctl_interval", "must be at least 10s: every reading runs smartctl once per disk");
    }
    let settings = SmartCollectorSettings {
        smartctl: section.text("smartctl").unwrap_or(usual.smartctl),
        interval,
        devices: section.get("devices").map(|devices| devices.texts()).unwrap_or_default(),
        device_include: pattern(section, "device_include"),
        device_exclude: pattern(section, "device_exclude"),
    };
    if let Some(device) = settings.devices.iter().find(|device| !device.starts_with('/')) {
        section.problem("devices", format!("{device:?} is no path; write /dev/sda, or /dev/bus/0;megaraid,1"));
    }
    let is_narrowed = settings.device_include.is_some() || settings.device_exclude.is_some();
    if is_narrowed && !settings.devices.is_empty() {
        section.problem("devices", "has no meaning beside device_include and device_exclude, which are for a scan");
    }
    settings
}

fn pattern(section: &Section<'_>, key: &'static str) -> Option<SearchRegex> {
    let pattern = section.text(key).filter(|pattern| !pattern.is_empty())?;
    SearchRegex::new(&pattern).map_err(|error| section.problem(key, error.to_string())).ok()
}

fn nut(section: &Section<'_>, folder: &Folder) -> NutCollectorSettings {
    let usual = NutCollectorSettings::default();
    let server = section.text("nut_server").unwrap_or(usual.server);
    if nut_host_and_port(&server).is_none() {
        section.problem("nut_server", format!("{server:?} is no address; write HOST or HOST:PORT, and `ups: NAME`"));
    }
    let ups = section.text("ups");
    if let Some(ups) = ups.as_ref().filter(|ups| !is_ups_name(ups)) {
        let message = format!("{ups:?} is no name of a power supply; `upsc -l` shows them, and one job asks for one");
        section.problem("ups", message);
    }
    NutCollectorSettings {
        server,
        ups,
        user: client::read_basic_auth(section, folder),
        variables: section.get("variables").map(|variables| variables.texts()).unwrap_or_default(),
    }
}

/// Letters, digits, `_`, `-` and `.`: the head of a section of ups.conf, and before the `@` of `upsc`.
fn is_ups_name(name: &str) -> bool {
    name.chars().all(|char| char.is_alphanumeric() || "_-.".contains(char))
}
