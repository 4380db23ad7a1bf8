//! Traffic per network device, `/proc/net/dev`.

use procfs_core::FromBufRead;
use procfs_core::net::{DeviceStatus, InterfaceDeviceStatus};

use super::super::page::Page;
use super::host::{Host, NodeError};
use crate::model::MetricType;

type Field = (&'static str, fn(&DeviceStatus) -> u64);

const FIELDS: [Field; 16] = [
    ("receive_bytes", |device| device.recv_bytes),
    ("receive_packets", |device| device.recv_packets),
    ("receive_errs", |device| device.recv_errs),
    ("receive_drop", |device| device.recv_drop),
    ("receive_fifo", |device| device.recv_fifo),
    ("receive_frame", |device| device.recv_frame),
    ("receive_compressed", |device| device.recv_compressed),
    ("receive_multicast", |device| device.recv_multicast),
    ("transmit_bytes", |device| device.sent_bytes),
    ("transmit_packets", |device| device.sent_packets),
    ("transmit_errs", |device| device.sent_errs),
    ("transmit_drop", |device| device.sent_drop),
    ("transmit_fifo", |device| device.sent_fifo),
    ("transmit_colls", |device| device.sent_colls),
    ("transmit_carrier", |device| device.sent_carrier),
    ("transmit_compressed", |device| device.sent_compressed),
];

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    // Of the host's own network name space: with a mounted /proc, that of its first process.
    let text = host.proc("1/net/dev").or_else(|_| host.proc("net/dev"))?;
    let devices = InterfaceDeviceStatus::from_buf_read(text.as_bytes())
        .map_err(|error| host.unexpected("net/dev", error.to_string()))?;
    let mut devices: Vec<&DeviceStatus> = devices.0.values().collect();
    devices.sort_by(|left, right| left.name.cmp(&right.name));
    for (field, value) in FIELDS {
        let name = format!("node_network_{field}_total");
        let mut family = page.family(&name, MetricType::Counter, "Network device statistic.");
        for device in &devices {
            family.sample(&[("device", &device.name)], value(device) as f64);
        }
    }
    // The kernel counts what no handler took among neither of the above.
    let unhandled: Vec<(&str, f64)> = devices
        .iter()
        .filter_map(|device| {
            let path = host.sys_path(&format!("class/net/{}/statistics/rx_nohandler", device.name));
            Some((device.name.as_str(), super::host::read_number(&path)?))
        })
        .collect();
    if !unhandled.is_empty() {
        let mut family =
            page.family("node_network_receive_nohandler_total", MetricType::Counter, "Network device statistic.");
        for (device, value) in unhandled {
            family.sample(&[("device", device)], value);
        }
    }
    Ok(())
}
