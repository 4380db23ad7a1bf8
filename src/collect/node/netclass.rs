//! Facts about network devices, `/sys/class/net`.

use super::super::page::Page;
use super::host::{Host, NodeError, read_word};
use crate::model::MetricType::{self, Counter, Gauge};

/// Family, type, file, help; files hold decimal or hexadecimal numbers.
const FIELDS: [(&str, MetricType, &str, &str); 17] = [
    ("node_network_address_assign_type", Gauge, "addr_assign_type", "How the address was assigned."),
    ("node_network_carrier", Gauge, "carrier", "Whether there is a link."),
    ("node_network_carrier_changes_total", Counter, "carrier_changes", "Changes of the link."),
    ("node_network_carrier_up_changes_total", Counter, "carrier_up_count", "Times that the link came up."),
    ("node_network_carrier_down_changes_total", Counter, "carrier_down_count", "Times that the link went down."),
    ("node_network_device_id", Gauge, "dev_id", "Device id."),
    ("node_network_dormant", Gauge, "dormant", "Whether the device is dormant."),
    ("node_network_flags", Gauge, "flags", "Interface flags."),
    ("node_network_iface_id", Gauge, "ifindex", "Interface index."),
    ("node_network_iface_link", Gauge, "iflink", "Index of the interface below."),
    ("node_network_iface_link_mode", Gauge, "link_mode", "Link mode."),
    ("node_network_mtu_bytes", Gauge, "mtu", "Maximum transmission unit in bytes."),
    ("node_network_name_assign_type", Gauge, "name_assign_type", "How the name was assigned."),
    ("node_network_net_dev_group", Gauge, "netdev_group", "Device group."),
    ("node_network_transmit_queue_length", Gauge, "tx_queue_len", "Length of the transmit queue in packets."),
    ("node_network_protocol_type", Gauge, "type", "Hardware type (ARPHRD_…)."),
    ("node_network_speed_bytes", Gauge, "speed", "Link speed in bytes per second."),
];

/// The kernel counts link speed in megabits.
const BYTES_PER_MEGABIT: f64 = 1e6 / 8.0;

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let devices: Vec<String> =
        host.sys_names("class/net").into_iter().filter(|name| host.sys_path("class/net").join(name).is_dir()).collect();
    if devices.is_empty() {
        return Err(NodeError::Nothing);
    }
    write_state(host, page, &devices);
    for (name, metric_type, file, help) in FIELDS {
        let scale = if file == "speed" { BYTES_PER_MEGABIT } else { 1.0 };
        let values: Vec<(&str, f64)> = devices
            .iter()
            .filter_map(|device| {
                let word = read_word(&host.sys_path(&format!("class/net/{device}/{file}")))?;
                Some((device.as_str(), parse_number(&word)? * scale))
            })
            .collect();
        if values.is_empty() {
            continue;
        }
        let mut family = page.family(name, metric_type, help);
        for (device, value) in values {
            family.sample(&[("device", device)], value);
        }
    }
    Ok(())
}

fn write_state(host: &Host, page: &mut Page<'_>, devices: &[String]) {
    let word =
        |device: &str, file: &str| read_word(&host.sys_path(&format!("class/net/{device}/{file}"))).unwrap_or_default();
    let mut family = page.family("node_network_up", Gauge, "Whether the operational state is up.");
    for device in devices {
        family.sample(&[("device", device)], f64::from(u8::from(word(device, "operstate") == "up")));
    }
    let mut family = page.family("node_network_info", Gauge, "Facts about network devices.");
    for device in devices {
        let flags =
            read_word(&host.sys_path(&format!("class/net/{device}/flags"))).and_then(|text| parse_number(&text));
        let is_up = flags.is_some_and(|flags| flags as u64 & 1 == 1);
        let labels = [
            ("address", word(device, "address")),
            ("adminstate", if is_up { "up" } else { "down" }.to_owned()),
            ("broadcast", word(device, "broadcast")),
            ("device", device.clone()),
            ("duplex", word(device, "duplex")),
            ("ifalias", word(device, "ifalias")),
            ("operstate", word(device, "operstate")),
        ];
        family.sample(&labels.each_ref().map(|(name, value)| (*name, value.as_str())), 1.0);
    }
}

/// `0x1003` or `1500` or `-1`.
fn parse_number(word: &str) -> Option<f64> {
    match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok().map(|number| number as f64),
        None => word.parse::<i64>().ok().map(|number| number as f64),
    }
}
