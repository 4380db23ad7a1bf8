//! Packet processing per CPU, `/proc/net/softnet_stat`: hexadecimal columns. Source: net/core/net-procfs.c of the Linux kernel.

use super::super::page::Page;
use super::host::{Host, NodeError};
use super::table::Table;

const CPUS: Table = Table {
    prefix: "node_softnet_",
    labels: &["cpu"],
    help: "",
    lines: "\
0 processed_total - Packets processed.
1 dropped_total - Packets dropped.
2 times_squeezed_total - Times that processing ran out of quota.
8 cpu_collision_total - Collisions while getting a device's lock.
9 received_rps_total - Wake-ups by receive packet steering.
10 flow_limit_count_total - Times that the flow limit was reached.
11 backlog_len - Packets in the backlog.",
};

/// The column with the CPU's number, in kernels that have one.
const CPU_COLUMN: usize = 12;

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let text = host.proc("net/softnet_stat")?;
    let rows: Vec<_> = text
        .lines()
        .enumerate()
        .map(|(position, line)| {
            let numbers: Vec<u32> =
                line.split_ascii_whitespace().map_while(|word| u32::from_str_radix(word, 16).ok()).collect();
            let cpu = numbers.get(CPU_COLUMN).map_or_else(|| position.to_string(), u32::to_string);
            // Zero in kernels that lack the column, as node_exporter shows it.
            CPUS.row(vec![cpu], &mut |column| {
                Some(numbers.get(column.parse::<usize>().ok()?).map_or(0.0, |n| f64::from(*n)))
            })
        })
        .collect();
    CPUS.write(page, &rows);
    Ok(())
}
