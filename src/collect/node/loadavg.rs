//! `/proc/loadavg`.

use super::super::page::Page;
use super::host::{Host, NodeError};

const FAMILIES: [(&str, &str); 3] = [
    ("node_load1", "Load average over 1 minute."),
    ("node_load5", "Load average over 5 minutes."),
    ("node_load15", "Load average over 15 minutes."),
];

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    // By hand: procfs reads these as f32, which turns 0.3 into 0.30000001192.
    let text = host.proc("loadavg")?;
    let mut words = text.split_ascii_whitespace();
    for (name, help) in FAMILIES {
        let value = words.next().and_then(|word| word.parse().ok());
        page.gauge(name, help, value.ok_or_else(|| host.unexpected("loadavg", "three numbers expected"))?);
    }
    Ok(())
}
