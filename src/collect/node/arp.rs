//! Neighbours per device, `/proc/net/arp`.

use std::collections::BTreeMap;

use super::super::page::Page;
use super::host::{Host, NodeError};
use crate::model::MetricType;

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let text = host.proc("net/arp")?;
    let mut entries: BTreeMap<&str, u64> = BTreeMap::new();
    // IP address, type, flags, hardware address, mask, device; incomplete entries have flags 0x0.
    for line in text.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [_, _, flags, _, _, device] = words[..]
            && flags != "0x0"
        {
            *entries.entry(device).or_default() += 1;
        }
    }
    if entries.is_empty() {
        return Ok(());
    }
    let mut family = page.family("node_arp_entries", MetricType::Gauge, "ARP entries by device.");
    for (device, count) in entries {
        family.sample(&[("device", device)], count as f64);
    }
    Ok(())
}
