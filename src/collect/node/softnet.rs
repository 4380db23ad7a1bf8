//! Packet processing per CPU, `/proc/net/softnet_stat`: hexadecimal columns.

use super::super::page::Page;
use super::host::{Host, NodeError};
use crate::model::MetricType::{self, Counter, Gauge};

/// Family, type, column, help. Source: net/core/net-procfs.c of the Linux kernel.
const FIELDS: [(&str, MetricType, usize, &str); 7] = [
    ("node_softnet_processed_total", Counter, 0, "Packets processed."),
    ("node_softnet_dropped_total", Counter, 1, "Packets dropped."),
    ("node_softnet_times_squeezed_total", Counter, 2, "Times that processing ran out of quota."),
    ("node_softnet_cpu_collision_total", Counter, 8, "Collisions while getting a device's lock."),
    ("node_softnet_received_rps_total", Counter, 9, "Wake-ups by receive packet steering."),
    ("node_softnet_flow_limit_count_total", Counter, 10, "Times that the flow limit was reached."),
    ("node_softnet_backlog_len", Gauge, 11, "Packets in the backlog."),
];

/// The column with the CPU's number, in kernels that have one.
const CPU_COLUMN: usize = 12;

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let text = host.proc("net/softnet_stat")?;
    let rows: Vec<Vec<u32>> = text
        .lines()
        .map(|line| line.split_whitespace().map_while(|word| u32::from_str_radix(word, 16).ok()).collect())
        .collect();
    for (name, metric_type, column, help) in FIELDS {
        let mut family = page.family(name, metric_type, help);
        for (position, row) in rows.iter().enumerate() {
            let cpu = row.get(CPU_COLUMN).map_or_else(|| position.to_string(), u32::to_string);
            if let Some(value) = row.get(column) {
                family.sample(&[("cpu", &cpu)], f64::from(*value));
            }
        }
    }
    Ok(())
}
