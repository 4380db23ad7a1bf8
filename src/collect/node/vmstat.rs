//! `/proc/vmstat`: paging, swapping, faults and kills.

use super::super::page::Page;
use super::host::{Host, NodeError};
use crate::model::MetricType::Unknown;

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let text = host.proc("vmstat")?;
    for line in text.lines() {
        let Some((key, value)) = line.split_once(' ') else { continue };
        if !host.flags().shows("vmstat.fields", "", key, || is_wanted(key)) {
            continue;
        }
        let value = value.trim().parse().map_err(|_| host.unexpected("vmstat", format!("line {line:?}")))?;
        page.family_of(&["node_vmstat_", key], Unknown, "Field of /proc/vmstat.").sample(&[], value);
    }
    Ok(())
}

/// node_exporter's default selection.
fn is_wanted(key: &str) -> bool {
    match key.as_bytes() {
        [b'o', ..] => key.starts_with("oom_kill"),
        [b'p', b'g', ..] => key.starts_with("pgpg") || key.contains("fault"),
        [b'p', ..] => key.starts_with("pswp"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn selection() {
        let cases = [
            ("oom_kill", true),
            ("pgpgin", true),
            ("pswpout", true),
            ("pgfault", true),
            ("pgmajfault", true),
            ("nr_free_pages", false),
            ("pgalloc_dma", false),
            ("drop_pagecache", false),
        ];
        for (key, expected) in cases {
            assert_eq!(super::is_wanted(key), expected, "{key}");
        }
    }
}
