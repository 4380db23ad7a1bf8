//! The kernel's name and version.

use super::super::page::Page;
use super::host::{Host, NodeError};
use crate::model::MetricType;

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let uname = rustix::system::uname();
    // Through the configured /proc, since in a container the call would name the container.
    let node_name = host.proc("sys/kernel/hostname").map(|text| text.trim().to_owned());
    let domain_name = host.proc("sys/kernel/domainname").map(|text| text.trim().to_owned());
    let labels = [
        ("domainname", domain_name.unwrap_or_else(|_| "(none)".to_owned())),
        ("machine", uname.machine().to_string_lossy().into_owned()),
        ("nodename", node_name.unwrap_or_else(|_| uname.nodename().to_string_lossy().into_owned())),
        ("release", uname.release().to_string_lossy().into_owned()),
        ("sysname", uname.sysname().to_string_lossy().into_owned()),
        ("version", uname.version().to_string_lossy().into_owned()),
    ];
    page.family("node_uname_info", MetricType::Gauge, "The kernel's name and version.")
        .sample(&labels.each_ref().map(|(name, value)| (*name, value.as_str())), 1.0);
    Ok(())
}
