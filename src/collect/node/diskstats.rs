//! Block devices: `/proc/diskstats`, with facts from /sys and udev.
//!
//! Source of the columns: Documentation/admin-guide/iostats.rst of the Linux kernel; older kernels have fewer. Sectors are
//! 512 bytes, whatever the device's own are.

use super::super::page::Page;
use super::host::{Host, NodeError, read_text, read_word};
use super::table::Table;
use crate::model::MetricType::Gauge;

const DISKS: Table = Table {
    prefix: "node_disk_",
    labels: &["device"],
    help: "",
    lines: "\
0 reads_completed_total - Reads completed.
1 reads_merged_total - Reads merged.
2 read_bytes_total *512 Bytes read.
3 read_time_seconds_total /1000 Seconds spent by all reads.
4 writes_completed_total - Writes completed.
5 writes_merged_total - Writes merged.
6 written_bytes_total *512 Bytes written.
7 write_time_seconds_total /1000 Seconds spent by all writes.
8 io_now - I/Os in progress.
9 io_time_seconds_total /1000 Seconds spent doing I/Os.
10 io_time_weighted_seconds_total /1000 Seconds spent doing I/Os, weighted by their number.
11 discards_completed_total - Discards completed.
12 discards_merged_total - Discards merged.
13 discarded_sectors_total - Sectors discarded.
14 discard_time_seconds_total /1000 Seconds spent by all discards.
15 flush_requests_total - Flush requests completed.
16 flush_requests_time_seconds_total /1000 Seconds spent by all flush requests.",
};

/// What udev knows of a device that outpost shows: label, and property.
const FILE_SYSTEM: [(&str, &str); 4] =
    [("type", "ID_FS_TYPE"), ("usage", "ID_FS_USAGE"), ("uuid", "ID_FS_UUID"), ("version", "ID_FS_VERSION")];

/// Device-mapper devices: label, and property.
const MAPPED: [(&str, &str); 5] = [
    ("name", "DM_NAME"),
    ("uuid", "DM_UUID"),
    ("vg_name", "DM_VG_NAME"),
    ("lv_name", "DM_LV_NAME"),
    ("lv_layer", "DM_LV_LAYER"),
];

struct Disk<'t> {
    major: &'t str,
    minor: &'t str,
    name: &'t str,
    numbers: Vec<f64>,
    /// udev's database.
    udev: String,
}

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let text = host.proc("diskstats")?;
    let disks: Vec<Disk<'_>> = text.lines().filter_map(|line| parse_line(host, line)).collect();
    write_info(host, page, &disks);
    let rows: Vec<_> = disks
        .iter()
        .map(|disk| {
            let value = &mut |column: &'static str| disk.numbers.get(column.parse::<usize>().ok()?).copied();
            DISKS.row(vec![disk.name.to_owned()], value)
        })
        .collect();
    DISKS.write(page, &rows);
    Ok(())
}

/// `8 0 sda 1 2 3 …`
fn parse_line<'t>(host: &Host, line: &'t str) -> Option<Disk<'t>> {
    let mut words = line.split_ascii_whitespace();
    let (major, minor, name) = (words.next()?, words.next()?, words.next()?);
    if !host.flags().shows("diskstats.device-include", "diskstats.device-exclude", name, || !is_ignored(name)) {
        return None;
    }
    let numbers = words.map_while(|word| word.parse().ok()).collect();
    let udev = read_text(&host.root_path(&format!("run/udev/data/b{major}:{minor}"))).unwrap_or_default();
    Some(Disk { major, minor, name, numbers, udev })
}

fn write_info(host: &Host, page: &mut Page<'_>, disks: &[Disk<'_>]) {
    let mut family = page.family("node_disk_info", Gauge, "Facts about block devices.");
    for disk in disks {
        let property = |name: &str| udev_property(&disk.udev, name).unwrap_or("");
        let serials = ["SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT", "ID_SERIAL"].map(property);
        let serial = serials.into_iter().find(|text| !text.is_empty());
        let rotational = read_word(&host.sys_path(&format!("block/{}/queue/rotational", disk.name)));
        let labels = [
            ("device", disk.name),
            ("major", disk.major),
            ("minor", disk.minor),
            ("model", property("ID_MODEL")),
            ("path", property("ID_PATH")),
            ("revision", property("ID_REVISION")),
            ("rotational", rotational.as_deref().unwrap_or("0")),
            ("serial", serial.unwrap_or("")),
            ("wwn", property("ID_WWN")),
        ];
        family.sample(&labels, 1.0);
    }
    write_properties(page, disks, "node_disk_filesystem_info", "File systems of block devices.", &FILE_SYSTEM);
    write_properties(page, disks, "node_disk_device_mapper_info", "Device-mapper devices.", &MAPPED);
    write_ata(page, disks);
}

/// Devices that have the first of the properties.
fn write_properties(page: &mut Page<'_>, disks: &[Disk<'_>], name: &str, help: &str, wanted: &[(&str, &str)]) {
    let mut family = page.family(name, Gauge, help);
    for disk in disks.iter().filter(|disk| udev_property(&disk.udev, wanted[0].1).is_some_and(|text| !text.is_empty()))
    {
        let facts = wanted.iter().map(|(label, name)| (*label, udev_property(&disk.udev, name).unwrap_or("")));
        family.sample_of(&mut std::iter::once(("device", disk.name)).chain(facts), 1.0);
    }
}

/// What an ATA device has and does, and how fast it turns.
fn write_ata(page: &mut Page<'_>, disks: &[Disk<'_>]) {
    for (name, property, help) in [
        ("node_disk_ata_write_cache", "ID_ATA_WRITE_CACHE", "Whether the device has a write cache."),
        ("node_disk_ata_write_cache_enabled", "ID_ATA_WRITE_CACHE_ENABLED", "Whether the device's write cache is on."),
        ("node_disk_ata_rotation_rate_rpm", "ID_ATA_ROTATION_RATE_RPM", "Revolutions per minute; 0 for solid state."),
    ] {
        let mut family = page.family(name, Gauge, help);
        for disk in disks.iter().filter(|disk| udev_property(&disk.udev, "ID_ATA").is_some_and(|ata| !ata.is_empty())) {
            if let Some(value) = udev_property(&disk.udev, property).and_then(|text| text.parse().ok()) {
                family.sample(&[("device", disk.name)], value);
            }
        }
    }
}

/// `E:ID_MODEL=…` of udev's database.
fn udev_property<'a>(database: &'a str, name: &str) -> Option<&'a str> {
    database.lines().find_map(|line| line.strip_prefix("E:")?.strip_prefix(name)?.strip_prefix('='))
}

/// node_exporter's default exclusion: `^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$`, that is
/// memory disks, loops, floppies and partitions.
fn is_ignored(device: &str) -> bool {
    let stem = device.trim_end_matches(|character: char| character.is_ascii_digit());
    if stem == device {
        return false;
    }
    let is_drive_letter = |rest: &str| rest.len() == 1 && rest.bytes().all(|byte| byte.is_ascii_lowercase());
    matches!(stem, "ram" | "zram" | "loop" | "fd")
        || ["hd", "sd", "vd", "xvd"].iter().any(|prefix| stem.strip_prefix(prefix).is_some_and(is_drive_letter))
        || is_nvme_partition(stem)
}

/// `nvme0n1p`
fn is_nvme_partition(stem: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    stem.strip_prefix("nvme")
        .and_then(|rest| rest.strip_suffix('p'))
        .and_then(|rest| rest.split_once('n'))
        .is_some_and(|(controller, namespace)| digits(controller) && digits(namespace))
}

#[cfg(test)]
mod tests {
    #[test]
    fn partitions_and_memory_disks_are_left_out() {
        let cases = [
            ("sda", false),
            ("sda1", true),
            ("nvme0n1", false),
            ("nvme0n1p2", true),
            ("mmcblk0", false),
            ("mmcblk0p1", false),
            ("loop3", true),
            ("ram0", true),
            ("zram0", true),
            ("dm-0", false),
            ("md127", false),
            ("xvda1", true),
            ("vdb", false),
        ];
        for (device, expected) in cases {
            assert_eq!(super::is_ignored(device), expected, "{device}");
        }
    }
}
