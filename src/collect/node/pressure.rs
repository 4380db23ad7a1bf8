//! Pressure stall information, `/proc/pressure`.

use super::super::page::Page;
use super::host::{Host, NodeError};
use super::table::Table;

/// File and line.
const STALLS: Table = Table {
    prefix: "node_pressure_",
    labels: &[],
    help: "",
    lines: "\
cpu:some cpu_waiting_seconds_total /1e6 Seconds that tasks waited for a CPU.
io:some io_waiting_seconds_total /1e6 Seconds that tasks waited for I/O.
io:full io_stalled_seconds_total /1e6 Seconds that no task could go on for I/O.
memory:some memory_waiting_seconds_total /1e6 Seconds that tasks waited for memory.
memory:full memory_stalled_seconds_total /1e6 Seconds that no task could go on for memory.
irq:full irq_stalled_seconds_total /1e6 Seconds lost to interrupts.",
};

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    // Only some kernels account interrupts; without the rest, the kernel was started without it.
    let files = ["cpu", "io", "memory", "irq"].map(|name| host.proc(&format!("pressure/{name}")).unwrap_or_default());
    if files.iter().all(String::is_empty) {
        return Err(NodeError::Nothing);
    }
    STALLS.write_alone(page, &mut |source| {
        let (name, line) = source.split_once(':')?;
        let [cpu, io, memory, irq] = &files;
        let text = match name {
            "cpu" => cpu,
            "io" => io,
            "memory" => memory,
            _ => irq,
        };
        total(text, line)
    });
    Ok(())
}

/// The `total=` of the line that begins with `kind`, in microseconds.
fn total(text: &str, kind: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(kind))?;
    line.split_ascii_whitespace().find_map(|word| word.strip_prefix("total="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn totals() {
        let text = "some avg10=0.00 avg60=0.00 avg300=0.00 total=17\nfull avg10=0.00 total=x\n";
        assert_eq!(super::total(text, "some"), Some(17.0));
        assert_eq!(super::total(text, "full"), None);
        assert_eq!(super::total("", "some"), None);
    }
}
