//! The kernel's entropy pool.

use super::super::page::Page;
use super::host::{Host, NodeError};

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let number = |file: &str| -> Result<f64, NodeError> {
        let path = format!("sys/kernel/random/{file}");
        host.proc(&path)?.trim().parse().map_err(|_| host.unexpected(&path, "a number expected"))
    };
    page.gauge("node_entropy_available_bits", "Bits of available entropy.", number("entropy_avail")?);
    page.gauge("node_entropy_pool_size_bits", "Bits of the entropy pool.", number("poolsize")?);
    Ok(())
}
