//! `/proc/stat` without its per-CPU lines: interrupts, context switches, boot time, processes.

use super::super::page::Page;
use super::host::{Host, NodeError};
use crate::model::MetricType::Counter;

/// In the order of the line `softirq`, behind its sum. Source: include/linux/interrupt.h of the Linux kernel.
const SOFTIRQS: [&str; 10] =
    ["hi", "timer", "net_tx", "net_rx", "block", "block_iopoll", "tasklet", "sched", "hrtimer", "rcu"];

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let text = host.stat()?;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
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
            "softirq" if host.flags().is_on("stat.softirq", false) => write_softirqs(page, line),
            _ => {}
        }
    }
    Ok(())
}

fn write_softirqs(page: &mut Page<'_>, line: &str) {
    let mut family = page.family("node_softirqs_total", Counter, "Softirqs by kind.");
    for (kind, count) in SOFTIRQS.iter().zip(line.split_ascii_whitespace().skip(2)) {
        if let Ok(count) = count.parse() {
            family.sample(&[("vector", kind)], count);
        }
    }
}
