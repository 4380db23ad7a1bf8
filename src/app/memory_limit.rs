//! The memory that this process may use: what the control group that it runs in, or one above it, allows.
//!
//! Queries are refused before the kernel ends the process for them: [`within`] fits their bounds to that limit.

use std::fs;
use std::path::{Path, PathBuf};

use crate::promql::MemoryBounds;

/// The smallest limit of this process's control groups, in bytes; `None` without one.
pub fn limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    smallest_limit(&groups, Path::new("/sys/fs/cgroup"))
}

/// The bounds, and no more than a quarter of the limit for one query and half of it for all.
pub fn within(bounds: MemoryBounds, limit: Option<u64>) -> MemoryBounds {
    let Some(limit) = limit else { return bounds };
    MemoryBounds {
        query_bytes_max: bounds.query_bytes_max.min(limit / 4),
        total_bytes_max: bounds.total_bytes_max.min(limit / 2),
    }
}

/// `groups` is /proc/self/cgroup: `0::/path` of version 2, `N:…,memory,…:/path` of version 1.
fn smallest_limit(groups: &str, root: &Path) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        match controllers {
            "" => limit_upwards(root, path, "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                limit_upwards(&root.join("memory"), path, "memory.limit_in_bytes")
            }
            _ => None,
        }
    });
    limits.min()
}

/// The smallest number in `file` of the group and of those above it. In a container the path may be the host's,
/// which is not there: what is mounted is then the container's own group.
fn limit_upwards(root: &Path, path: &str, file: &str) -> Option<u64> {
    let group: PathBuf = root.join(path.trim_start_matches('/'));
    let groups = group.ancestors().take_while(|folder| folder.starts_with(root));
    let limits = groups.filter_map(|folder| fs::read_to_string(folder.join(file)).ok()?.trim().parse::<u64>().ok());
    // Version 1 says "none" as the largest number of whole pages.
    limits.filter(|bytes| *bytes < 1 << 60).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_smallest_limit_above_counts() {
        let root = tree(&[
            ("system.slice/memory.max", "1000000\n"),
            ("system.slice/outpost.service/memory.max", "max\n"),
            ("memory/docker/ab/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/docker/cd/memory.limit_in_bytes", "300000\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        let cases = [
            ("0::/system.slice/outpost.service\n", Some(1_000_000)),
            ("0::/user.slice\n", None),
            ("5:cpu:/docker/cd\n4:memory:/docker/ab\n", None),
            ("5:cpu:/docker/cd\n4:hugetlb,memory:/docker/cd\n0::/\n", Some(300_000)),
            ("nonsense\n", None),
            ("", None),
        ];
        for (groups, expected) in cases {
            assert_eq!(smallest_limit(groups, root.path()), expected, "{groups:?}");
        }
        let container = tree(&[("memory.max", "134217728\n")]);
        assert_eq!(smallest_limit("0::/system.slice/docker-ab.scope\n", container.path()), Some(134_217_728));
    }

    #[test]
    fn bounds_shrink_with_the_limit_and_never_grow() {
        let usual = MemoryBounds::default();
        assert_eq!(within(usual, None), usual);
        assert_eq!(within(usual, Some(64 << 30)), usual);
        let small = within(usual, Some(128 << 20));
        assert_eq!((small.query_bytes_max, small.total_bytes_max), (32 << 20, 64 << 20));
    }
}
