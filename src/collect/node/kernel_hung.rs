//! Tasks that the kernel found hanging.

use super::super::page::Page;
use super::host::{Host, NodeError};

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let count = host.proc_number("sys/kernel/hung_task_detect_count")?;
    page.counter("node_kernel_hung_tasks_total", "Tasks found hanging since the boot.", count);
    Ok(())
}
