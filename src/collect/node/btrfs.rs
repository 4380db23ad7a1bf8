//! btrfs file systems: `/sys/fs/btrfs`, and what the mounted ones say about their devices.

use std::path::Path;

use super::super::page::Page;
use super::btrfs_devices::{Device, read_devices};
use super::filesystem::mounts_of_type;
use super::host::{Folder, Host, NodeError, names};
use super::table::Table;
use crate::model::MetricType::{Counter, Gauge};

const FILE_SYSTEMS: Table = Table {
    prefix: "node_btrfs_",
    labels: &["uuid"],
    help: "",
    lines: "\
allocation/global_rsv_size global_rsv_size_bytes - Size of the global reserve.
=commits commits_total - Commits.
=last_commit_ms last_commit_seconds /1000 Duration of the last commit.
=max_commit_ms max_commit_seconds /1000 Duration of the slowest commit.
=total_commit_ms commit_seconds_total /1000 Duration of all commits.",
};

const GROUPS: Table = Table {
    prefix: "node_btrfs_",
    labels: &["uuid", "block_group_type"],
    help: "",
    lines: "bytes_reserved reserved_bytes - Space that is reserved for a kind of data.",
};

const LAYOUTS: Table = Table {
    prefix: "node_btrfs_",
    labels: &["uuid", "block_group_type", "mode"],
    help: "",
    lines: "\
used_bytes used_bytes - Space in use, by kind of data and layout.
total_bytes size_bytes - Space given, by kind of data and layout.
ratio allocation_ratio - Bytes on disk per byte of data.",
};

/// Where nobody may ask the file system itself.
const SIZES: Table = Table {
    prefix: "node_btrfs_",
    labels: &["uuid", "device"],
    help: "",
    lines: "size device_size_bytes *512 Size of a device of the file system.",
};

const DEVICES: Table = Table {
    prefix: "node_btrfs_",
    labels: &["uuid", "device", "btrfs_dev_uuid"],
    help: "",
    lines: "\
size device_size_bytes - Size of a device of the file system.
unused device_unused_bytes - Space of a device that nothing was allocated on.",
};

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let root = host.sys_path("fs/btrfs");
    let (mut systems, mut groups, mut layouts, mut sizes, mut facts) = (vec![], vec![], vec![], vec![], vec![]);
    let mut asked: Vec<(String, Vec<Device>)> = Vec::new();
    for name in names(&root).into_iter().filter(|name| name.contains('-')) {
        let path = root.join(&name);
        let Some(folder) = Folder::open(&path) else { continue };
        let uuid = folder.word("metadata_uuid").filter(|uuid| !uuid.is_empty()).unwrap_or(name);
        facts.push((uuid.clone(), folder.word("label").unwrap_or_default()));
        let commits = folder.word("commit_stats").unwrap_or_default();
        // Kernels before 6.0 do not count commits: zero, as node_exporter shows it.
        systems.push(FILE_SYSTEMS.row(vec![uuid.clone()], &mut |source| match source.strip_prefix('=') {
            Some(key) => Some(field(&commits, key).unwrap_or(0.0)),
            None => folder.number(source),
        }));
        let devices = names(&path.join("devices"));
        for kind in ["data", "metadata", "system"] {
            let path = path.join("allocation").join(kind);
            let Some(group) = Folder::open(&path) else { continue };
            let labels = vec![uuid.clone(), kind.to_owned()];
            groups.push(GROUPS.files(labels.clone(), &group));
            for mode in names(&path) {
                let Some(layout) = Folder::open(&path.join(&mode)) else { continue };
                let ratio = ratio(&mode, devices.len() as f64);
                let labels = [&labels[..], &[mode]].concat();
                layouts.push(
                    LAYOUTS.row(labels, &mut |file| if file == "ratio" { Some(ratio) } else { layout.number(file) }),
                );
            }
        }
        match devices_by_mount(host, &uuid) {
            Some(found) => asked.push((uuid, found)),
            None => sizes.extend(devices.iter().filter_map(|device| {
                let folder = folder.folder(&format!("devices/{device}"))?;
                Some(SIZES.files(vec![uuid.clone(), device.clone()], &folder))
            })),
        }
    }
    let mut family = page.family("node_btrfs_info", Gauge, "Facts about btrfs file systems.");
    for (uuid, label) in &facts {
        family.sample(&[("label", label), ("uuid", uuid)], 1.0);
    }
    FILE_SYSTEMS.write(page, &systems);
    GROUPS.write(page, &groups);
    LAYOUTS.write(page, &layouts);
    write_devices(page, &asked);
    SIZES.write(page, &sizes);
    Ok(())
}

/// Asks through the first mount of the file system that lets itself be asked.
fn devices_by_mount(host: &Host, uuid: &str) -> Option<Vec<Device>> {
    mounts_of_type(host, "btrfs").iter().find_map(|path| read_devices(Path::new(path), uuid))
}

fn write_devices(page: &mut Page<'_>, systems: &[(String, Vec<Device>)]) {
    let devices = || systems.iter().flat_map(|(uuid, devices)| devices.iter().map(move |device| (uuid, device)));
    let rows: Vec<_> = devices()
        .map(|(uuid, device)| {
            let labels = vec![uuid.clone(), device.name.clone(), device.uuid.clone()];
            DEVICES.row(labels, &mut |source| {
                Some(if source == "size" { device.size } else { device.size.saturating_sub(device.used) } as f64)
            })
        })
        .collect();
    DEVICES.write(page, &rows);
    let mut family = page.family("node_btrfs_device_errors_total", Counter, "Errors of a device by kind.");
    for (uuid, device) in devices() {
        for (kind, count) in ["write", "read", "flush", "corruption", "generation"].iter().zip(device.errors) {
            let labels =
                [("btrfs_dev_uuid", device.uuid.as_str()), ("device", &device.name), ("type", kind), ("uuid", uuid)];
            family.sample(&labels, count as f64);
        }
    }
}

/// `total_commit_ms 17`
fn field(text: &str, key: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// With parity, one or two devices' worth of data less than there are devices.
fn ratio(mode: &str, devices: f64) -> f64 {
    match mode {
        "single" | "raid0" => 1.0,
        "dup" | "raid1" | "raid10" => 2.0,
        "raid1c3" => 3.0,
        "raid1c4" => 4.0,
        "raid5" => devices / (devices - 1.0),
        "raid6" => devices / (devices - 2.0),
        _ => 0.0,
    }
}
