//! Bytes that wait in UDP sockets, `/proc/net/udp` and `/proc/net/udp6`.

use super::super::page::Page;
use super::host::{Host, NodeError};
use crate::model::MetricType::Gauge;

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let versions = [("v4", host.proc_if_any("net/udp")), ("v6", host.proc_if_any("net/udp6"))];
    if versions.iter().all(|(_, text)| text.is_err()) {
        return Err(NodeError::Nothing);
    }
    let mut family = page.family("node_udp_queues", Gauge, "Bytes that the kernel holds for UDP datagrams.");
    for (version, text) in versions {
        let Ok(text) = text else { continue };
        let (sent, received) = queued(&text);
        family.sample(&[("ip", version), ("queue", "tx")], sent as f64);
        family.sample(&[("ip", version), ("queue", "rx")], received as f64);
    }
    Ok(())
}

/// The fifth column is `tx:rx` in hexadecimal.
fn queued(text: &str) -> (u64, u64) {
    let queues = text.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().nth(4)?.split_once(':'));
    let number = |digits: &str| u64::from_str_radix(digits, 16).unwrap_or(0);
    queues.fold((0, 0), |(sent, received), (tx, rx)| {
        (sent.saturating_add(number(tx)), received.saturating_add(number(rx)))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn queues_are_summed() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when\n   \
                    0: 0A000005:0016 00000000:0000 0A 00000015:00000001 00:00000000 00000000\n   \
                    1: 00000000:0016 00000000:0000 0A 00000015:00000000 00:00000000 00000000\ngarbage\n";
        assert_eq!(super::queued(text), (42, 1));
    }
}
