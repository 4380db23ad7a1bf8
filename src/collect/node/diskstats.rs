//! Block devices: `/proc/diskstats`, with facts from /sys and udev.

use procfs_core::FromBufRead;
use procfs_core::{DiskStat, DiskStats};

use super::super::page::Page;
use super::host::{Host, NodeError, read_text, read_word};
use crate::model::MetricType;

/// The unit of all sector counts, whatever the device's own sectors are.
const SECTOR_BYTES: f64 = 512.0;

struct Field {
    name: &'static str,
    metric_type: MetricType,
    help: &'static str,
    value: fn(&DiskStat) -> Option<f64>,
}

const fn counter(name: &'static str, help: &'static str, value: fn(&DiskStat) -> Option<f64>) -> Field {
    Field { name, metric_type: MetricType::Counter, help, value }
}

const FIELDS: [Field; 17] = [
    counter("node_disk_reads_completed_total", "Reads completed.", |disk| Some(disk.reads as f64)),
    counter("node_disk_reads_merged_total", "Reads merged.", |disk| Some(disk.merged as f64)),
    counter("node_disk_read_bytes_total", "Bytes read.", |disk| Some(disk.sectors_read as f64 * SECTOR_BYTES)),
    counter("node_disk_read_time_seconds_total", "Seconds spent by all reads.", |disk| seconds(disk.time_reading)),
    counter("node_disk_writes_completed_total", "Writes completed.", |disk| Some(disk.writes as f64)),
    counter("node_disk_writes_merged_total", "Writes merged.", |disk| Some(disk.writes_merged as f64)),
    counter("node_disk_written_bytes_total", "Bytes written.", |disk| Some(disk.sectors_written as f64 * SECTOR_BYTES)),
    counter("node_disk_write_time_seconds_total", "Seconds spent by all writes.", |disk| seconds(disk.time_writing)),
    Field {
        name: "node_disk_io_now",
        metric_type: MetricType::Gauge,
        help: "I/Os in progress.",
        value: |disk| Some(disk.in_progress as f64),
    },
    counter("node_disk_io_time_seconds_total", "Seconds spent doing I/Os.", |disk| seconds(disk.time_in_progress)),
    counter(
        "node_disk_io_time_weighted_seconds_total",
        "Seconds spent doing I/Os, weighted by their number.",
        |disk| seconds(disk.weighted_time_in_progress),
    ),
    counter("node_disk_discards_completed_total", "Discards completed.", |disk| {
        disk.discards.map(|count| count as f64)
    }),
    counter("node_disk_discards_merged_total", "Discards merged.", |disk| {
        disk.discards_merged.map(|count| count as f64)
    }),
    counter("node_disk_discarded_sectors_total", "Sectors discarded.", |disk| {
        disk.sectors_discarded.map(|count| count as f64)
    }),
    counter("node_disk_discard_time_seconds_total", "Seconds spent by all discards.", |disk| {
        disk.time_discarding.and_then(seconds)
    }),
    counter("node_disk_flush_requests_total", "Flush requests completed.", |disk| {
        disk.flushes.map(|count| count as f64)
    }),
    counter("node_disk_flush_requests_time_seconds_total", "Seconds spent by all flush requests.", |disk| {
        disk.time_flushing.and_then(seconds)
    }),
];

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let text = host.proc("diskstats")?;
    let mut disks =
        DiskStats::from_buf_read(text.as_bytes()).map_err(|error| host.unexpected("diskstats", error.to_string()))?.0;
    disks.retain(|disk| !is_ignored(&disk.name));
    write_info(host, page, &disks);
    for field in &FIELDS {
        let values: Vec<(&str, f64)> =
            disks.iter().filter_map(|disk| Some((disk.name.as_str(), (field.value)(disk)?))).collect();
        if values.is_empty() {
            continue;
        }
        let mut family = page.family(field.name, field.metric_type, field.help);
        for (device, value) in values {
            family.sample(&[("device", device)], value);
        }
    }
    Ok(())
}

fn write_info(host: &Host, page: &mut Page<'_>, disks: &[DiskStat]) {
    if disks.is_empty() {
        return;
    }
    let mut family = page.family("node_disk_info", MetricType::Gauge, "Facts about block devices.");
    for disk in disks {
        let udev =
            read_text(&host.root_path(&format!("run/udev/data/b{}:{}", disk.major, disk.minor))).unwrap_or_default();
        let property = |name: &str| udev_property(&udev, name).unwrap_or("");
        let serial =
            [property("SCSI_IDENT_SERIAL"), property("ID_SERIAL_SHORT")].into_iter().find(|text| !text.is_empty());
        let rotational =
            read_word(&host.sys_path(&format!("block/{}/queue/rotational", disk.name))).unwrap_or_default();
        let labels = [
            ("device", disk.name.as_str()),
            ("major", &disk.major.to_string()),
            ("minor", &disk.minor.to_string()),
            ("model", property("ID_MODEL")),
            ("path", property("ID_PATH")),
            ("revision", property("ID_REVISION")),
            ("rotational", &rotational),
            ("serial", serial.unwrap_or("")),
            ("wwn", property("ID_WWN")),
        ];
        family.sample(&labels, 1.0);
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

fn seconds(milliseconds: u64) -> Option<f64> {
    Some(milliseconds as f64 / 1000.0)
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
