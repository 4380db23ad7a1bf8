//! Containers as families under cAdvisor's names.
//!
//! The series of a container carry `id`, `name`, `image` and its labels as `container_label_…`. State, health, restarts
//! and exit code have names of the same style: of these cAdvisor has health alone, lately, as `container_health_state`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::api::{
    BlkioEntry, BlkioOperation, HostConfig, Inspected, Listed, MemoryDetail, MemoryStats, Network, Sized, Stats,
    unix_seconds,
};
use super::engine::Container;
use super::{LABELS_BYTES_MAX, LABELS_MAX, LabelChoice};
use crate::collect::page::{Family, Labels, Page};
use crate::model::MetricType::{self, Counter, Gauge};

/// The engine counts time in nanoseconds. Dividing keeps short decimals short, multiplying by 1e-9 would not.
const NANOSECONDS_PER_SECOND: f64 = 1e9;

/// What a container's series have in common.
struct Subject<'a> {
    labels: Labels,
    container: &'a Container,
    /// How many of its own labels are not among them.
    labels_left_out: usize,
}

type Value<T> = fn(&T) -> Option<f64>;

const CPU: [(&str, &str, Value<Stats>); 5] = [
    ("container_cpu_user_seconds_total", "CPU time in user mode.", |stats| {
        Some(stats.cpu_stats.as_ref()?.cpu_usage.usage_in_usermode / NANOSECONDS_PER_SECOND)
    }),
    ("container_cpu_system_seconds_total", "CPU time in kernel mode.", |stats| {
        Some(stats.cpu_stats.as_ref()?.cpu_usage.usage_in_kernelmode / NANOSECONDS_PER_SECOND)
    }),
    ("container_cpu_cfs_periods_total", "Enforcement periods that have passed.", |stats| {
        Some(stats.cpu_stats.as_ref()?.throttling_data.as_ref()?.periods)
    }),
    ("container_cpu_cfs_throttled_periods_total", "Periods in which the container was throttled.", |stats| {
        Some(stats.cpu_stats.as_ref()?.throttling_data.as_ref()?.throttled_periods)
    }),
    ("container_cpu_cfs_throttled_seconds_total", "Time that the container was throttled.", |stats| {
        Some(stats.cpu_stats.as_ref()?.throttling_data.as_ref()?.throttled_time / NANOSECONDS_PER_SECOND)
    }),
];

const MEMORY: [(&str, MetricType, &str, Value<Stats>); 8] = [
    ("container_memory_usage_bytes", Gauge, "Memory in use, caches included.", memory_usage),
    ("container_memory_working_set_bytes", Gauge, "Memory in use that cannot be reclaimed easily.", working_set),
    ("container_memory_max_usage_bytes", Gauge, "Most memory ever in use.", |stats| counted_memory(stats)?.max_usage),
    ("container_memory_failcnt", Counter, "Times that the limit was hit.", |stats| {
        // The engine leaves out a 0, beside the greatest usage: control groups of version 2 have neither.
        let memory = counted_memory(stats)?;
        memory.failcnt.or(memory.max_usage.map(|_| 0.0))
    }),
    ("container_memory_rss", Gauge, "Anonymous memory.", |stats| {
        memory_field(stats, |memory| [memory.total_rss, memory.rss, memory.anon])
    }),
    ("container_memory_cache", Gauge, "Page cache.", |stats| {
        memory_field(stats, |memory| [memory.total_cache, memory.cache, memory.file])
    }),
    ("container_memory_mapped_file", Gauge, "Mapped files.", |stats| {
        memory_field(stats, |memory| [memory.total_mapped_file, memory.mapped_file, memory.file_mapped])
    }),
    ("container_memory_swap", Gauge, "Swap in use.", |stats| {
        memory_field(stats, |memory| [memory.total_swap, memory.swap])
    }),
];

const LIMITS: [(&str, &str, Value<HostConfig>); 5] = [
    ("container_spec_memory_limit_bytes", "Memory limit; 0 is none.", |config| config.memory),
    ("container_spec_memory_reservation_limit_bytes", "Memory reservation; 0 is none.", |config| {
        config.memory_reservation
    }),
    ("container_spec_memory_swap_limit_bytes", "Limit of memory and swap; 0 is none.", |config| config.memory_swap),
    ("container_spec_cpu_period", "CPU period in microseconds.", cpu_period),
    ("container_spec_cpu_quota", "CPU quota in microseconds.", cpu_quota),
];

type NetworkFamily = (&'static str, &'static str, fn(&Network) -> f64);

const NETWORK: [NetworkFamily; 8] = [
    ("container_network_receive_bytes_total", "Bytes received.", |network| network.rx_bytes),
    ("container_network_receive_packets_total", "Packets received.", |network| network.rx_packets),
    ("container_network_receive_errors_total", "Errors while receiving.", |network| network.rx_errors),
    ("container_network_receive_packets_dropped_total", "Packets dropped while receiving.", |network| {
        network.rx_dropped
    }),
    ("container_network_transmit_bytes_total", "Bytes sent.", |network| network.tx_bytes),
    ("container_network_transmit_packets_total", "Packets sent.", |network| network.tx_packets),
    ("container_network_transmit_errors_total", "Errors while sending.", |network| network.tx_errors),
    ("container_network_transmit_packets_dropped_total", "Packets dropped while sending.", |network| {
        network.tx_dropped
    }),
];

/// What is to be told beside the page.
pub struct Told<'c> {
    /// Containers that labels were left out of for the bounds, with their number.
    pub shortened: Vec<(&'c str, usize)>,
    /// Whether the engine tells the memory of any container that runs; `None` where none does.
    pub counts_memory: Option<bool>,
}

/// Appends the page of all containers with those of their labels that are wanted. `now` is Unix time.
pub fn write<'c>(
    bytes: &mut Vec<u8>,
    containers: &'c [Container],
    labels: &LabelChoice,
    left_out: usize,
    now: f64,
) -> Told<'c> {
    let mut page = Page::new(bytes);
    let subjects: Vec<Subject<'_>> = containers.iter().map(|container| subject(container, labels)).collect();
    write_life(&mut page, &subjects, now);
    write_usage(&mut page, &subjects);
    write_block_io(&mut page, &subjects);
    write_network(&mut page, &subjects);
    write_sizes(&mut page, &subjects);
    for (name, help, value) in LIMITS {
        per_container(&mut page, &subjects, (name, Gauge, help), |container| {
            value(inspected(container)?.host_config.as_ref()?)
        });
    }
    page.gauge("outpost_docker_containers_left_out", "Containers beyond the bound, not shown.", left_out as f64);
    let shortened = subjects.iter().filter(|subject| subject.labels_left_out > 0);
    let shortened: Vec<(&str, usize)> =
        shortened.map(|subject| (name_of(&subject.container.listed), subject.labels_left_out)).collect();
    let labels: usize = shortened.iter().map(|(_, count)| count).sum();
    page.gauge(
        "outpost_docker_labels_left_out",
        "Labels of containers beyond the bounds, or with the name of another one, not shown.",
        labels as f64,
    );
    let running: Vec<&Stats> = containers.iter().filter_map(|container| container.stats.as_ref()).collect();
    let counts_memory = (!running.is_empty()).then(|| running.into_iter().any(|stats| memory_usage(stats).is_some()));
    if let Some(counts) = counts_memory {
        let help =
            "Whether the engine tells the memory of containers; it does not where the kernel's memory cgroup is off.";
        page.gauge("outpost_docker_memory_counted", help, f64::from(u8::from(counts)));
    }
    Told { shortened, counts_memory }
}

fn name_of(listed: &Listed) -> &str {
    listed.names.as_deref().unwrap_or(&[]).first().map_or("", |name| name.trim_start_matches('/'))
}

fn subject<'c>(container: &'c Container, choice: &LabelChoice) -> Subject<'c> {
    let listed = &container.listed;
    let (own, labels_left_out) = own_labels(listed, choice);
    let id = format!("/docker/{}", listed.id);
    let image = listed.image.as_deref().unwrap_or_default();
    let known = [("id", id.as_str()), ("image", image), ("name", name_of(listed))];
    let labels = Labels::new(&mut known.into_iter().chain(own.iter().map(|(name, value)| (name.as_str(), *value))));
    Subject { labels, container, labels_left_out }
}

/// A container's own labels that are wanted, as far as their bounds go, and how many were left out: a series with more of them
/// would cost the whole page. Two may become the same name: the first one, by its own name, wins.
fn own_labels<'c>(listed: &'c Listed, choice: &LabelChoice) -> (BTreeMap<String, &'c str>, usize) {
    let mut own = BTreeMap::new();
    let mut room = LABELS_BYTES_MAX;
    let mut left_out = 0;
    for (key, value) in listed.labels.iter().flatten().filter(|(key, _)| choice.is_wanted(key)) {
        let bytes = key.len() + value.len();
        let has_room = own.len() < LABELS_MAX && bytes <= room;
        match own.entry(format!("container_label_{}", label_name(key))) {
            Entry::Vacant(entry) if has_room => {
                entry.insert(value.as_str());
                room -= bytes;
            }
            _ => left_out += 1,
        }
    }
    (own, left_out)
}

/// cAdvisor's rule: everything but letters, digits and underscores becomes an underscore.
fn label_name(key: &str) -> String {
    key.chars().map(|character| if character.is_ascii_alphanumeric() { character } else { '_' }).collect()
}

fn write_life(page: &mut Page<'_>, subjects: &[Subject<'_>], now: f64) {
    per_container(
        page,
        subjects,
        ("container_last_seen", Gauge, "When the container was last seen running."),
        |container| container.stats.as_ref().map(|_| now),
    );
    per_container(
        page,
        subjects,
        ("container_start_time_seconds", Gauge, "When the container was started."),
        |container| unix_seconds(inspected(container)?.state.as_ref()?.started_at.as_deref()?),
    );
    per_container(page, subjects, ("container_created_seconds", Gauge, "When the container was made."), |container| {
        container.listed.created
    });
    per_container(
        page,
        subjects,
        ("container_image_created_seconds", Gauge, "When the container's image was made."),
        |container| container.image_created,
    );
    let restarts = ("container_restarts_total", Counter, "Restarts by the engine's restart policy.");
    per_container(page, subjects, restarts, |container| inspected(container)?.restart_count);
    per_container(
        page,
        subjects,
        ("container_exit_code", Gauge, "Exit code of a container that has ended."),
        |container| {
            let state = inspected(container)?.state.as_ref()?;
            // One that waits for its restart has ended too.
            state.exit_code.filter(|_| matches!(state.status.as_deref(), Some("exited" | "dead" | "restarting")))
        },
    );
    per_container(
        page,
        subjects,
        ("container_oom_killed", Gauge, "Whether its last end was for lack of memory."),
        |container| inspected(container)?.state.as_ref().map(|state| f64::from(u8::from(state.oom_killed))),
    );
    let mut family = page.family("container_state", Gauge, "The state that the container is in.");
    for subject in subjects {
        // Of the same moment as health and exit code, where that is known.
        let inspected = inspected(subject.container).and_then(|inspected| inspected.state.as_ref()?.status.as_ref());
        if let Some(state) = inspected.or(subject.container.listed.state.as_ref()) {
            sample(&mut family, subject, &[("state", state)], 1.0);
        }
    }
    let mut family =
        page.family("container_health_status", Gauge, "What the health check of a running container says.");
    for subject in subjects {
        // Where nobody checks any more, in a container that is paused or has ended, the engine says unhealthy.
        let state = inspected(subject.container).and_then(|inspected| inspected.state.as_ref());
        let running = state.filter(|state| state.status.as_deref() == Some("running"));
        // Without a check Docker says none, or nothing at all, and Podman says the empty word.
        let health = running.and_then(|state| state.health.as_ref()).map(|health| health.status.as_str());
        if let Some(health) = health.filter(|health| !matches!(*health, "" | "none")) {
            sample(&mut family, subject, &[("health", health)], 1.0);
        }
    }
}

fn write_usage(page: &mut Page<'_>, subjects: &[Subject<'_>]) {
    let mut family = page.family("container_cpu_usage_seconds_total", Counter, "CPU time used.");
    for subject in subjects {
        let usage = subject.container.stats.as_ref().and_then(|stats| stats.cpu_stats.as_ref());
        if let Some(stats) = usage {
            sample(&mut family, subject, &[("cpu", "total")], stats.cpu_usage.total_usage / NANOSECONDS_PER_SECOND);
        }
    }
    for (name, help, value) in CPU {
        per_container(page, subjects, (name, Counter, help), |container| value(container.stats.as_ref()?));
    }
    for (name, metric_type, help, value) in MEMORY {
        per_container(page, subjects, (name, metric_type, help), |container| value(container.stats.as_ref()?));
    }
    per_container(page, subjects, ("container_threads", Gauge, "Threads in the container."), |container| {
        container.stats.as_ref()?.pids_stats.as_ref()?.current
    });
    per_container(
        page,
        subjects,
        ("container_threads_max", Gauge, "Threads at most; absent without a limit."),
        |container| container.stats.as_ref()?.pids_stats.as_ref()?.limit.filter(|limit| *limit > 0.0 && *limit < 1e9),
    );
}

fn write_block_io(page: &mut Page<'_>, subjects: &[Subject<'_>]) {
    let bytes: fn(&Stats) -> Option<&Vec<BlkioEntry>> =
        |stats| stats.blkio_stats.as_ref()?.io_service_bytes_recursive.as_ref();
    let operations: fn(&Stats) -> Option<&Vec<BlkioEntry>> =
        |stats| stats.blkio_stats.as_ref()?.io_serviced_recursive.as_ref();
    let families = [
        ("container_fs_reads_bytes_total", "Bytes read.", bytes, BlkioOperation::Read),
        ("container_fs_writes_bytes_total", "Bytes written.", bytes, BlkioOperation::Write),
        ("container_fs_reads_total", "Reads completed.", operations, BlkioOperation::Read),
        ("container_fs_writes_total", "Writes completed.", operations, BlkioOperation::Write),
    ];
    for (name, help, entries, operation) in families {
        let mut family = page.family(name, Counter, help);
        for subject in subjects {
            let entries = subject.container.stats.as_ref().and_then(entries).map_or(&[][..], Vec::as_slice);
            for entry in entries.iter().filter(|entry| entry.op == operation) {
                let device = format!("{}:{}", entry.major, entry.minor);
                sample(&mut family, subject, &[("device", &device)], entry.value);
            }
        }
    }
}

fn write_network(page: &mut Page<'_>, subjects: &[Subject<'_>]) {
    for (name, help, value) in NETWORK {
        let mut family = page.family(name, Counter, help);
        for subject in subjects {
            let networks = subject.container.stats.as_ref().and_then(|stats| stats.networks.as_ref());
            for (interface, network) in networks.into_iter().flatten() {
                sample(&mut family, subject, &[("interface", interface)], value(network));
            }
        }
    }
}

/// Only where they are read.
fn write_sizes(page: &mut Page<'_>, subjects: &[Subject<'_>]) {
    let written = ("container_fs_usage_bytes", Gauge, "Bytes of files that the container has written or changed.");
    per_container(page, subjects, written, |container| size(container, |sized| sized.size_rw));
    let all = ("container_fs_rootfs_bytes", Gauge, "Bytes of all files of the container, those of its image included.");
    per_container(page, subjects, all, |container| size(container, |sized| sized.size_root_fs));
}

/// The engine leaves out a size of 0, and writes -1 where it has failed.
fn size(container: &Container, value: fn(&Sized) -> Option<f64>) -> Option<f64> {
    let sized = container.sized.as_ref().filter(|sized| sized.size_rw.or(sized.size_root_fs).is_some())?;
    Some(value(sized).unwrap_or(0.0)).filter(|size| *size >= 0.0)
}

/// A family with at most one sample per container.
fn per_container(
    page: &mut Page<'_>,
    subjects: &[Subject<'_>],
    (name, metric_type, help): (&str, MetricType, &str),
    value: impl Fn(&Container) -> Option<f64>,
) {
    let mut family = page.family(name, metric_type, help);
    for subject in subjects {
        if let Some(value) = value(subject.container) {
            sample(&mut family, subject, &[], value);
        }
    }
}

fn sample(family: &mut Family<'_>, subject: &Subject<'_>, more: &[(&str, &str)], value: f64) {
    family.sample_with(&subject.labels, &mut more.iter().copied(), value);
}

fn inspected(container: &Container) -> Option<&Inspected> {
    container.inspected.as_deref()
}

/// Absent, not zero, where the kernel's memory cgroup is off: nothing runs in no memory at all.
fn memory_usage(stats: &Stats) -> Option<f64> {
    counted_memory(stats)?.usage
}

fn counted_memory(stats: &Stats) -> Option<&MemoryStats> {
    stats.memory_stats.as_ref().filter(|memory| memory.usage.is_some_and(|usage| usage > 0.0))
}

/// Usage without inactive file pages, as cAdvisor and the kubelet compute it.
fn working_set(stats: &Stats) -> Option<f64> {
    let inactive = memory_field(stats, |memory| [memory.total_inactive_file, memory.inactive_file]).unwrap_or(0.0);
    Some((memory_usage(stats)? - inactive).max(0.0))
}

/// The first of the keys that the kernel has: cgroup v1 sums over children under `total_…`, v2 always does.
fn memory_field<const COUNT: usize>(stats: &Stats, fields: fn(&MemoryDetail) -> [Option<f64>; COUNT]) -> Option<f64> {
    fields(counted_memory(stats)?.stats.as_ref()?).into_iter().flatten().next()
}

fn cpu_period(config: &HostConfig) -> Option<f64> {
    match (config.nano_cpus, config.cpu_period) {
        (Some(nano), _) if nano > 0.0 => Some(NANO_CPU_PERIOD_US),
        (_, period) => period.filter(|period| *period > 0.0),
    }
}

fn cpu_quota(config: &HostConfig) -> Option<f64> {
    match (config.nano_cpus, config.cpu_quota) {
        (Some(nano), _) if nano > 0.0 => Some(nano / NANOSECONDS_PER_SECOND * NANO_CPU_PERIOD_US),
        (_, quota) => quota.filter(|quota| *quota > 0.0),
    }
}

/// The period that the engine chooses for `--cpus`.
const NANO_CPU_PERIOD_US: f64 = 100_000.0;
