//! ZFS, `/proc/spl/kstat/zfs`: whatever its statistics hold, under their own names.

use std::collections::BTreeMap;

use super::super::page::Page;
use super::host::{Host, NodeError, names};
use crate::model::MetricType::{Gauge, Unknown};

/// File, and the family's prefix.
const FILES: &str = "\
abdstats node_zfs_abd_
arcstats node_zfs_arc_
dbufstats node_zfs_dbuf_
dmu_tx node_zfs_dmu_tx_
dnodestats node_zfs_dnode_
fm node_zfs_fm_
vdev_cache_stats node_zfs_vdev_cache_
vdev_mirror_stats node_zfs_vdev_mirror_
xuio_stats node_zfs_xuio_
zfetchstats node_zfs_zfetch_
zil node_zfs_zil_";

const STATES: [&str; 7] = ["online", "degraded", "faulted", "offline", "removed", "unavail", "suspended"];

const ROOT: &str = "spl/kstat/zfs";

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let root = host.procfs().join(ROOT);
    if !root.is_dir() {
        return Err(NodeError::Nothing);
    }
    for (file, prefix) in FILES.lines().filter_map(|line| line.split_once(' ')) {
        let Ok(text) = host.proc(&format!("{ROOT}/{file}")) else { continue };
        for (name, value) in parse_statistics(&text) {
            page.family_of(&[prefix, &name], Unknown, "Statistic of ZFS.").sample(&[], value);
        }
    }
    let pools: Vec<String> = names(&root).into_iter().filter(|name| root.join(name).is_dir()).collect();
    write_io(host, page, &pools);
    write_datasets(host, page, &pools);
    let mut family = page.family("node_zfs_zpool_state", Gauge, "The state that the pool is in.");
    for pool in &pools {
        let Ok(text) = host.proc(&format!("{ROOT}/{pool}/state")) else { continue };
        let state = text.lines().next().unwrap_or("").to_ascii_lowercase();
        for known in STATES {
            family.sample(&[("state", known), ("zpool", pool)], f64::from(u8::from(state == known)));
        }
    }
    Ok(())
}

/// A line of names and a line of numbers; only old versions have it.
fn write_io(host: &Host, page: &mut Page<'_>, pools: &[String]) {
    let mut families: BTreeMap<String, Vec<(&str, f64)>> = BTreeMap::new();
    for pool in pools {
        let Ok(text) = host.proc(&format!("{ROOT}/{pool}/io")) else { continue };
        let mut lines = text.lines().skip_while(|line| !line.trim_start().starts_with("nread"));
        let (Some(names), Some(numbers)) = (lines.next(), lines.next()) else { continue };
        for (name, number) in names.split_ascii_whitespace().zip(numbers.split_ascii_whitespace()) {
            if let Ok(number) = number.parse() {
                families.entry(name.replace('-', "_")).or_default().push((pool, number));
            }
        }
    }
    for (name, samples) in families {
        let mut family = page.family_of(&["node_zfs_zpool_", &name], Unknown, "Statistic of a pool.");
        for (pool, value) in samples {
            family.sample(&[("zpool", pool)], value);
        }
    }
}

fn write_datasets(host: &Host, page: &mut Page<'_>, pools: &[String]) {
    let mut families: BTreeMap<String, Vec<(&str, String, f64)>> = BTreeMap::new();
    for pool in pools {
        let files = names(&host.procfs().join(ROOT).join(pool));
        for file in files.iter().filter(|file| file.starts_with("objset-")) {
            let Ok(text) = host.proc(&format!("{ROOT}/{pool}/{file}")) else { continue };
            let dataset = dataset_name(&text).unwrap_or("").to_owned();
            for (name, value) in parse_statistics(&text).filter(|(_, value)| *value >= 0.0) {
                families.entry(name).or_default().push((pool, dataset.clone(), value));
            }
        }
    }
    for (name, samples) in families {
        let mut family = page.family_of(&["node_zfs_zpool_dataset_", &name], Unknown, "Statistic of a dataset.");
        for (pool, dataset, value) in samples {
            family.sample(&[("dataset", &dataset), ("zpool", pool)], value);
        }
    }
}

/// `name type data` for each; types 3 and 4 are signed and unsigned numbers of 64 bits.
fn parse_statistics(text: &str) -> impl Iterator<Item = (String, f64)> {
    let is_header = |line: &&str| line.split_ascii_whitespace().eq(["name", "type", "data"]);
    let lines = text.lines().skip_while(move |line| !is_header(line)).skip(1);
    lines.filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (name, kind, data) = (words.next()?, words.next()?, words.next()?);
        let value: f64 = data.parse().ok().filter(|_| matches!(kind, "3" | "4"))?;
        Some((name.replace('-', "_"), value))
    })
}

/// A name may hold blanks.
fn dataset_name(text: &str) -> Option<&str> {
    let rest = text.lines().find_map(|line| line.strip_prefix("dataset_name"))?;
    Some(rest.trim_start().split_once(' ')?.1.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics() {
        let text = "9 1 0x01 4 1088\nname                            type data\ndataset_name                    7    tank/my data\n\
                    writes                          4    12\nskew-ms 3 -5\ntext 7 x\nshort 4\n";
        assert_eq!(
            parse_statistics(text).collect::<Vec<_>>(),
            [("writes".to_owned(), 12.0), ("skew_ms".to_owned(), -5.0)]
        );
        assert_eq!(dataset_name(text), Some("tank/my data"));
    }
}
