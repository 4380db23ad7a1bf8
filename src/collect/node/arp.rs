//! Neighbours per device, `/proc/net/arp`.

use super::super::page::Page;
use super::host::{Host, NodeError};
use super::table::Tally;
use crate::model::MetricType;

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let text = host.proc("net/arp")?;
    let mut entries = Tally::default();
    // IP address, type, flags, hardware address, mask, device; incomplete entries have flags 0x0.
    for line in text.lines().skip(1) {
        let mut words = line.split_ascii_whitespace();
        if let (Some(flags), Some(device)) = (words.nth(2), words.nth(2))
            && flags != "0x0"
            && host.flags().shows("arp.device-include", "arp.device-exclude", device, || true)
        {
            *entries.of(device) += 1.0;
        }
    }
    let mut family = page.family("node_arp_entries", MetricType::Gauge, "ARP entries by device.");
    for (device, count) in entries.iter() {
        family.sample(&[("device", device)], count);
    }
    Ok(())
}
