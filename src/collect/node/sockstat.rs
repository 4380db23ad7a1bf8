//! Sockets in use, `/proc/net/sockstat` and `/proc/net/sockstat6`.

use super::super::page::Page;
use super::host::{Host, NodeError};

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    // Absent where IPv4 or IPv6 is off.
    for text in ["net/sockstat", "net/sockstat6"].iter().filter_map(|file| host.proc(file).ok()) {
        write(page, &text);
    }
    Ok(())
}

/// `TCP: inuse 4 orphan 0 …`
fn write(page: &mut Page<'_>, text: &str) {
    let page_bytes = rustix::param::page_size() as f64;
    for line in text.lines() {
        let Some((protocol, rest)) = line.split_once(':') else { continue };
        let words: Vec<&str> = rest.split_ascii_whitespace().collect();
        for pair in words.chunks_exact(2) {
            let Ok(value) = pair[1].parse::<f64>() else { continue };
            let name = format!("node_sockstat_{protocol}_{}", pair[0]);
            page.gauge(&name, "Sockets by protocol and state.", value);
            // Counted in pages by the kernel.
            if pair[0] == "mem" && matches!(protocol, "TCP" | "UDP") {
                page.gauge(&format!("{name}_bytes"), "Memory of the protocol's sockets.", value * page_bytes);
            }
        }
    }
}
