//! Facts about network devices, `/sys/class/net`. Source: Documentation/ABI/testing/sysfs-class-net of the Linux kernel.

use super::super::page::Page;
use super::host::{Host, NodeError, parse_number};
use super::table::Table;
use crate::model::MetricType::Gauge;

/// The kernel counts speed in megabits.
const DEVICES: Table = Table {
    prefix: "node_network_",
    labels: &["device"],
    help: "",
    lines: "\
addr_assign_type address_assign_type - How the address was assigned.
carrier carrier - Whether there is a link.
carrier_changes carrier_changes_total - Changes of the link.
carrier_up_count carrier_up_changes_total - Times that the link came up.
carrier_down_count carrier_down_changes_total - Times that the link went down.
dev_id device_id - Device id.
dormant dormant - Whether the device is dormant.
flags flags - Interface flags.
ifindex iface_id - Interface index.
iflink iface_link - Index of the interface below.
link_mode iface_link_mode - Link mode.
mtu mtu_bytes - Maximum transmission unit in bytes.
name_assign_type name_assign_type - How the name was assigned.
netdev_group net_dev_group - Device group.
tx_queue_len transmit_queue_length - Length of the transmit queue in packets.
type protocol_type - Hardware type (ARPHRD_…).
speed speed_bytes *125000 Link speed in bytes per second.",
};

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let mut devices = host.sys_folders("class/net")?;
    devices.retain(|(name, _)| host.flags().shows("", "netclass.ignored-devices", name, || true));
    let ignores_invalid = host.flags().is_on("netclass.ignore-invalid-speed", false);
    let rows: Vec<_> = devices
        .iter()
        .map(|(name, folder)| {
            DEVICES.row(vec![name.clone()], &mut |file| {
                folder.number(file).filter(|value| file != "speed" || *value >= 0.0 || !ignores_invalid)
            })
        })
        .collect();
    let states: Vec<String> = devices.iter().map(|(_, folder)| folder.word("operstate").unwrap_or_default()).collect();
    let mut family = page.family("node_network_up", Gauge, "Whether the operational state is up.");
    for ((name, _), state) in devices.iter().zip(&states) {
        family.sample(&[("device", name)], f64::from(u8::from(state == "up")));
    }
    let mut family = page.family("node_network_info", Gauge, "Facts about network devices.");
    for ((name, folder), state) in devices.iter().zip(&states) {
        let word = |file: &str| folder.word(file).unwrap_or_default();
        let (address, broadcast, duplex, alias) = (word("address"), word("broadcast"), word("duplex"), word("ifalias"));
        let administrative = match parse_number(&word("flags")) {
            Some(flags) if flags as u64 & 1 == 1 => "up",
            Some(_) => "down",
            None => "unknown",
        };
        let facts = [
            ("address", address.as_str()),
            ("adminstate", administrative),
            ("broadcast", &broadcast),
            ("device", name),
            ("duplex", &duplex),
            ("ifalias", &alias),
            ("operstate", state),
        ];
        family.sample(&facts, 1.0);
    }
    DEVICES.write(page, &rows);
    Ok(())
}
