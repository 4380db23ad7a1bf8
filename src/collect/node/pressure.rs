//! Pressure stall information, `/proc/pressure`.

use procfs_core::{CpuPressure, FromBufRead, IoPressure, MemoryPressure};

use super::super::page::Page;
use super::host::{Host, NodeError};

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let text = host.proc("pressure/cpu").map_err(|_| NodeError::Nothing)?;
    // Kernels before 5.13 have no "full" line for the CPU, which procfs insists on; it is not shown anyway.
    let waiting = match CpuPressure::from_buf_read(text.as_bytes()) {
        Ok(cpu) => cpu.some.total,
        Err(_) => total(&text, "some").ok_or_else(|| host.unexpected("pressure/cpu", "no total"))?,
    };
    page.counter("node_pressure_cpu_waiting_seconds_total", "Seconds that tasks waited for a CPU.", seconds(waiting));

    let text = host.proc("pressure/io")?;
    let io = IoPressure::from_buf_read(text.as_bytes())
        .map_err(|error| host.unexpected("pressure/io", error.to_string()))?;
    page.counter(
        "node_pressure_io_waiting_seconds_total",
        "Seconds that tasks waited for I/O.",
        seconds(io.some.total),
    );
    page.counter(
        "node_pressure_io_stalled_seconds_total",
        "Seconds that no task could go on for I/O.",
        seconds(io.full.total),
    );

    let text = host.proc("pressure/memory")?;
    let memory = MemoryPressure::from_buf_read(text.as_bytes())
        .map_err(|error| host.unexpected("pressure/memory", error.to_string()))?;
    page.counter(
        "node_pressure_memory_waiting_seconds_total",
        "Seconds that tasks waited for memory.",
        seconds(memory.some.total),
    );
    page.counter(
        "node_pressure_memory_stalled_seconds_total",
        "Seconds that no task could go on for memory.",
        seconds(memory.full.total),
    );
    // Where the kernel accounts interrupts.
    if let Some(stalled) = host.proc("pressure/irq").ok().and_then(|text| total(&text, "full")) {
        page.counter("node_pressure_irq_stalled_seconds_total", "Seconds lost to interrupts.", seconds(stalled));
    }
    Ok(())
}

/// The `total=` of the line that begins with `kind`, in microseconds.
fn total(text: &str, kind: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(kind))?;
    line.split_whitespace().find_map(|word| word.strip_prefix("total="))?.parse().ok()
}

fn seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}
