//! Tape drives, `/sys/class/scsi_tape`. Source: Documentation/scsi/st.rst of the Linux kernel.

use super::super::page::Page;
use super::host::{Host, NodeError};
use super::table::Table;

const TAPES: Table = Table {
    prefix: "node_tape_",
    labels: &["device"],
    help: "",
    lines: "\
in_flight io_now - I/Os in progress.
io_ns io_time_seconds_total *1e-9 Seconds spent by all I/Os.
other_cnt io_others_total - I/Os that neither read nor write.
read_byte_cnt read_bytes_total - Bytes read.
read_cnt reads_completed_total - Reads completed.
read_ns read_time_seconds_total *1e-9 Seconds spent by all reads.
resid_cnt residual_total - Reads and writes that met a residual.
write_byte_cnt written_bytes_total - Bytes written.
write_cnt writes_completed_total - Writes completed.
write_ns write_time_seconds_total *1e-9 Seconds spent by all writes.",
};

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let rows: Vec<_> = host
        .sys_folders("class/scsi_tape")?
        .into_iter()
        .filter(|(name, _)| is_drive(name))
        .filter(|(name, _)| host.flags().shows("", "tapestats.ignored-devices", name, || true))
        .filter_map(|(name, folder)| Some(TAPES.files(vec![name], &folder.folder("stats")?)))
        .collect();
    TAPES.write(page, &rows);
    Ok(())
}

/// `st0`; its other nodes (`nst0`, `st0a`, …) are the same drive.
fn is_drive(name: &str) -> bool {
    name.strip_prefix("st").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}
