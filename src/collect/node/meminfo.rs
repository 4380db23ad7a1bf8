//! `/proc/meminfo`: every key that the kernel knows, so that new ones need no release.

use super::super::page::Page;
use super::host::{Host, NodeError};

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let text = host.proc("meminfo")?;
    // A line that a newer kernel writes in another way costs itself alone.
    for (name, value) in text.lines().filter_map(parse_line) {
        page.gauge(&name, "Memory information field.", value);
    }
    Ok(())
}

/// `Active(anon):   123 kB` becomes `node_memory_Active_anon_bytes`, in bytes.
fn parse_line(line: &str) -> Option<(String, f64)> {
    let mut words = line.split_ascii_whitespace();
    let key = words.next()?.strip_suffix(':')?.replace('(', "_").replace(')', "");
    let value: f64 = words.next()?.parse().ok()?;
    match words.next() {
        Some("kB") => Some((format!("node_memory_{key}_bytes"), value * 1024.0)),
        Some(_) => None,
        None => Some((format!("node_memory_{key}"), value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let cases = [
            ("MemTotal:       16384 kB", Some(("node_memory_MemTotal_bytes", 16_777_216.0))),
            ("Active(anon):   1 kB", Some(("node_memory_Active_anon_bytes", 1024.0))),
            ("HugePages_Total:   3", Some(("node_memory_HugePages_Total", 3.0))),
            ("NewKey: 7 MB", None),
            ("garbage", None),
        ];
        for (line, expected) in cases {
            assert_eq!(parse_line(line), expected.map(|(name, value)| (name.to_owned(), value)), "{line}");
        }
    }
}
