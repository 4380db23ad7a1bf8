//! The scheduler's times per CPU, `/proc/schedstat`. Source: Documentation/scheduler/sched-stats.rst of the Linux kernel.

use super::super::page::Page;
use super::host::{Host, NodeError};
use super::table::Table;

const CPUS: Table = Table {
    prefix: "node_schedstat_",
    labels: &["cpu"],
    help: "",
    lines: "\
6 running_seconds_total /1e9 Seconds that the CPU ran tasks.
7 waiting_seconds_total /1e9 Seconds that tasks waited for the CPU.
8 timeslices_total - Time slices given.",
};

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let text = host.proc_of_long_lines("schedstat").map_err(NodeError::or_nothing)?;
    let rows: Vec<_> = text
        .lines()
        .filter_map(|line| {
            let (cpu, rest) = line.strip_prefix("cpu")?.split_once(' ')?;
            Some(CPUS.row(vec![cpu.to_owned()], &mut |column| {
                rest.split_ascii_whitespace().nth(column.parse().ok()?)?.parse().ok()
            }))
        })
        .collect();
    CPUS.write(page, &rows);
    Ok(())
}
