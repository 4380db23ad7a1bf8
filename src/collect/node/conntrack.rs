//! Connection tracking: table size, and what the CPUs counted.

use super::super::page::Page;
use super::host::{Host, NodeError};
use crate::model::MetricType::Gauge;

/// Column of `/proc/net/stat/nf_conntrack`, and the field's name in the family.
const STATISTICS: [&str; 8] =
    ["found", "invalid", "ignore", "insert", "insert_failed", "drop", "early_drop", "search_restart"];

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let (count, limit) = ("sys/net/netfilter/nf_conntrack_count", "sys/net/netfilter/nf_conntrack_max");
    page.gauge("node_nf_conntrack_entries", "Tracked connections.", host.proc_number(count)?);
    page.gauge("node_nf_conntrack_entries_limit", "Tracked connections at most.", host.proc_number(limit)?);
    if let Ok(text) = host.proc("net/stat/nf_conntrack") {
        for (field, value) in sums(&text) {
            page.family_of(&["node_nf_conntrack_stat_", field], Gauge, "Connection tracking statistic.")
                .sample(&[], value);
        }
    }
    Ok(())
}

/// A header of column names, then a line of hexadecimal numbers per CPU.
fn sums(text: &str) -> Vec<(&'static str, f64)> {
    let mut lines = text.lines();
    let columns: Vec<&str> = lines.next().unwrap_or("").split_ascii_whitespace().collect();
    let rows: Vec<Vec<u64>> = lines
        .map(|line| line.split_ascii_whitespace().map(|word| u64::from_str_radix(word, 16).unwrap_or(0)).collect())
        .collect();
    STATISTICS
        .into_iter()
        .filter_map(|field| {
            let column = columns.iter().position(|name| *name == field)?;
            Some((field, rows.iter().filter_map(|row| row.get(column)).sum::<u64>() as f64))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_summed_over_cpus() {
        let text =
            "entries found invalid drop\n00000001 0000000a 00000001 00000000\n00000001 00000001 00000002 00000003\n";
        assert_eq!(super::sums(text), [("found", 11.0), ("invalid", 3.0), ("drop", 3.0)]);
    }
}
