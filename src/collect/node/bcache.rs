//! Block caches, `/sys/fs/bcache`. Source: Documentation/admin-guide/bcache.rst of the Linux kernel.

use super::super::page::Page;
use super::host::{Folder, Host, NodeError, names};
use super::table::{Row, Table};

const CACHE_SET: Table = Table {
    prefix: "node_bcache_",
    labels: &["uuid"],
    help: "Value of a file in /sys/fs/bcache/<uuid>.",
    // node_exporter takes the microseconds of the duration for nanoseconds, and so does every dashboard.
    lines: "\
average_key_size average_key_size_sectors - Average data per key in the btree.
btree_cache_size btree_cache_size_bytes - Memory in use by the btree cache.
cache_available_percent cache_available_percent - Share of the cache without dirty data.
congested congested - Congestion.
root_usage_percent root_usage_percent - Share of the root btree node in use.
tree_depth tree_depth - Depth of the btree.
internal/active_journal_entries active_journal_entries - Journal entries that are newer than the index.
internal/btree_nodes btree_nodes - Nodes in the btree.
internal/btree_read_average_duration_us btree_read_average_duration_seconds *1e-9 Average duration of a btree read.
internal/cache_read_races cache_read_races_total - Times that a bucket was reused while it was read.",
};

const BACKING_DEVICE: Table = Table {
    prefix: "node_bcache_",
    labels: &["uuid", "backing_device"],
    help: "Value of a file in /sys/fs/bcache/<uuid>/<bdev>.",
    lines: "\
dirty_data dirty_data_bytes - Dirty data for this device in the cache.
=target dirty_target_bytes - Threshold of dirty data.
=rate writeback_rate - Writeback rate in bytes per second.
=proportional writeback_rate_proportional_term - The rate's proportional term.
=integral writeback_rate_integral_term - The rate's integral term.
=change writeback_change - Last change of the rate.
stats_total/bypassed bypassed_bytes_total - I/O that went past the cache.
stats_total/cache_hits cache_hits_total - I/Os that the cache answered.
stats_total/cache_misses cache_misses_total - I/Os that the cache did not answer.
stats_total/cache_bypass_hits cache_bypass_hits_total - Hits of I/O that was to skip the cache.
stats_total/cache_bypass_misses cache_bypass_misses_total - Misses of I/O that was to skip the cache.
stats_total/cache_miss_collisions cache_miss_collisions_total - Insertions that raced with a write.
stats_total/cache_readaheads cache_readaheads_total - Times that data was read ahead.",
};

const CACHE_DEVICE: Table = Table {
    prefix: "node_bcache_",
    labels: &["uuid", "cache_device"],
    help: "Value of a file in /sys/fs/bcache/<uuid>/<cache>.",
    lines: "\
io_errors io_errors - Recent errors.
metadata_written metadata_written_bytes_total - Bytes written that are no data.
written written_bytes_total - Data written to the cache.
%Unused: priority_stats_unused_percent - Share of the cache without data.
%Metadata: priority_stats_metadata_percent - Share of the cache for metadata.",
};

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let (mut sets, mut backing, mut caches): (Vec<Row>, Vec<Row>, Vec<Row>) = Default::default();
    for uuid in host.sys_names("fs/bcache").into_iter().filter(|name| name.contains('-')) {
        let path = host.sys_path("fs/bcache").join(&uuid);
        let Some(folder) = Folder::open(&path) else { continue };
        sets.push(CACHE_SET.row(vec![uuid.clone()], &mut |file| size(&folder, file)));
        for device in names(&path) {
            let Some(folder) = Folder::open(&path.join(&device)) else { continue };
            let labels = vec![uuid.clone(), device.clone()];
            if numbered(&device, "bdev") {
                backing.push(backing_device(labels, &folder));
            } else if numbered(&device, "cache") {
                caches.push(cache_device(labels, &folder, host.flags().is_on("bcache.priorityStats", false)));
            }
        }
    }
    CACHE_SET.write(page, &sets);
    BACKING_DEVICE.write(page, &backing);
    CACHE_DEVICE.write(page, &caches);
    Ok(())
}

fn backing_device(labels: Vec<String>, folder: &Folder) -> Row {
    let debug = folder.word("writeback_rate_debug").unwrap_or_default();
    BACKING_DEVICE.row(labels, &mut |source| match source.strip_prefix('=') {
        Some(key) => parse_size(after(&debug, key)?.trim_start_matches(':').trim().trim_end_matches("/sec")),
        // Shown only once it counts: newer kernels have no such file.
        None if source.ends_with("readaheads") => size(folder, source).filter(|count| *count > 0.0),
        None => size(folder, source),
    })
}

/// Reading the priorities takes the kernel long: it sorts all buckets.
fn cache_device(labels: Vec<String>, folder: &Folder, has_priorities: bool) -> Row {
    let priorities = has_priorities.then(|| folder.word("priority_stats")).flatten().unwrap_or_default();
    CACHE_DEVICE.row(labels, &mut |source| match source.strip_prefix('%') {
        Some(key) => after(&priorities, key)?.trim().trim_end_matches('%').parse().ok(),
        None => size(folder, source),
    })
}

fn after<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(key))
}

fn numbered(name: &str, kind: &str) -> bool {
    name.strip_prefix(kind).is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

fn size(folder: &Folder, file: &str) -> Option<f64> {
    parse_size(&folder.word(file)?)
}

/// bcache writes `1.1k`: the digits behind the point count 1024ths divided by 100, so that `.1` is not `.10`.
fn parse_size(text: &str) -> Option<f64> {
    let (sign, text) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
    let digits = text.trim_end_matches(|last: char| last.is_ascii_alphabetic());
    let power = match &text[digits.len()..] {
        "" => return digits.parse::<f64>().ok().map(|number| sign * number.trunc()),
        suffix => "kMGTPEZY".find(suffix)? + 1,
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let number = whole.parse::<f64>().ok()? + part.parse::<f64>().ok()? / 10.24;
    Some(sign * (number * 1024_f64.powi(i32::try_from(power).ok()?)).trunc())
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes() {
        let cases = [
            ("0", Some(0.0)),
            ("123", Some(123.0)),
            ("2k", Some(2048.0)),
            ("1.1k", Some(1124.0)),
            ("-1.5M", Some(-1_560_576.0)),
            ("", None),
            ("k", None),
            ("1X", None),
            ("1.k", None),
        ];
        for (text, expected) in cases {
            assert_eq!(super::parse_size(text), expected, "{text}");
        }
    }
}
