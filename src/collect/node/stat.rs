//! `/proc/stat` without its per-CPU lines: interrupts, context switches, boot time, processes.

use super::super::page::Page;
use super::host::{Host, NodeError};

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let text = host.proc("stat")?;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(key), Some(value)) = (words.next(), words.next().and_then(|word| word.parse().ok())) else {
            continue;
        };
        match key {
            "intr" => page.counter("node_intr_total", "Interrupts that were serviced.", value),
            "ctxt" => page.counter("node_context_switches_total", "Context switches.", value),
            "processes" => page.counter("node_forks_total", "Processes and threads that were created.", value),
            "btime" => page.gauge("node_boot_time_seconds", "When the system booted, as Unix time.", value),
            "procs_running" => page.gauge("node_procs_running", "Processes in runnable state.", value),
            "procs_blocked" => page.gauge("node_procs_blocked", "Processes that wait for I/O.", value),
            _ => {}
        }
    }
    Ok(())
}
