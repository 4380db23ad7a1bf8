//! Mounted file systems: `mountinfo` and statfs.
//!
//! statfs on a dead network mount hangs for ever. It runs on a thread of its own; a mount that has not
//! answered within [`STATFS_TIMEOUT`] is shown as a device error, and is not asked again until the thread
//! has come back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use super::super::page::Page;
use super::host::{Host, NodeError};
use crate::model::MetricType;

/// How long a file system may take to answer; node_exporter's default.
const STATFS_TIMEOUT: Duration = Duration::from_secs(5);

/// Kinds that hold no data of their own; node_exporter's default exclusion.
const IGNORED_TYPES: [&str; 31] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "fusectl",
    "fuse.lxcfs",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "procfs",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "erofs",
    "sysfs",
    "tracefs",
    "ramfs",
    "efivarfs",
    "fuse.portal",
    "fuse.gvfsd-fuse",
    "fuse.snapfuse",
];

/// Mount points whose statfs has not come back.
static STUCK: LazyLock<Mutex<BTreeSet<PathBuf>>> = LazyLock::new(Mutex::default);

#[derive(Clone, Debug, PartialEq)]
struct Mount {
    device: String,
    mount_point: String,
    fs_type: String,
    major: String,
    minor: String,
    is_read_only: bool,
}

struct Usage {
    size: f64,
    free: f64,
    available: f64,
    files: f64,
    files_free: f64,
    is_read_only: bool,
}

type Field = (&'static str, &'static str, fn(&Usage) -> f64);

const FIELDS: [Field; 6] = [
    ("node_filesystem_size_bytes", "Size in bytes.", |usage| usage.size),
    ("node_filesystem_free_bytes", "Free space in bytes.", |usage| usage.free),
    ("node_filesystem_avail_bytes", "Space in bytes that users without privileges may use.", |usage| usage.available),
    ("node_filesystem_files", "Inodes.", |usage| usage.files),
    ("node_filesystem_files_free", "Free inodes.", |usage| usage.files_free),
    ("node_filesystem_purgeable_bytes", "Bytes that can be freed at will; always 0 on Linux.", |_| 0.0),
];

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let text = host.proc("1/mountinfo").or_else(|_| host.proc("self/mountinfo"))?;
    let mounts = wanted_mounts(&text, host.rootfs());
    let found: Vec<(Mount, Result<Usage, &'static str>)> = mounts
        .into_iter()
        .map(|mount| (mount.clone(), usage_within_time(host.root_path(&mount.mount_point))))
        .collect();
    for (name, help, value) in FIELDS {
        let mut family = page.family(name, MetricType::Gauge, help);
        for (mount, usage) in &found {
            if let Ok(usage) = usage {
                family.sample(&labels(mount, ""), value(usage));
            }
        }
    }
    let mut family =
        page.family("node_filesystem_readonly", MetricType::Gauge, "Whether the file system is mounted read-only.");
    for (mount, usage) in &found {
        let is_read_only = usage.as_ref().map_or(mount.is_read_only, |usage| usage.is_read_only || mount.is_read_only);
        family.sample(&labels(mount, usage.as_ref().err().unwrap_or(&"")), f64::from(u8::from(is_read_only)));
    }
    let mut family =
        page.family("node_filesystem_device_error", MetricType::Gauge, "Whether the file system did not answer.");
    for (mount, usage) in &found {
        family.sample(&labels(mount, usage.as_ref().err().unwrap_or(&"")), f64::from(u8::from(usage.is_err())));
    }
    let mut family = page.family("node_filesystem_mount_info", MetricType::Gauge, "Device numbers of the mount.");
    for (mount, _) in &found {
        let Mount { device, mount_point, major, minor, .. } = mount;
        family.sample(&[("device", device), ("major", major), ("minor", minor), ("mountpoint", mount_point)], 1.0);
    }
    Ok(())
}

fn labels<'a>(mount: &'a Mount, device_error: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("device", &mount.device),
        ("device_error", device_error),
        ("fstype", &mount.fs_type),
        ("mountpoint", &mount.mount_point),
    ]
}

/// The mounts to show, by device and mount point, each once: the last mount over a point is the visible one.
fn wanted_mounts(mountinfo: &str, rootfs: &Path) -> Vec<Mount> {
    let prefix = rootfs.to_string_lossy();
    let prefix = prefix.trim_end_matches('/');
    let mut mounts = BTreeMap::new();
    for mut mount in mountinfo.lines().filter_map(parse_mount) {
        // Seen through a bind mount of the host's root, paths begin with that mount's own.
        if let Some(inner) = mount.mount_point.strip_prefix(prefix).filter(|_| !prefix.is_empty()) {
            mount.mount_point = if inner.is_empty() { "/".to_owned() } else { inner.to_owned() };
        }
        if !is_ignored_mount_point(&mount.mount_point) && !IGNORED_TYPES.contains(&mount.fs_type.as_str()) {
            mounts.insert((mount.device.clone(), mount.mount_point.clone()), mount);
        }
    }
    mounts.into_values().collect()
}

/// `36 35 98:0 /root /mount/point rw,noatime master:1 - ext3 /dev/root rw,errors=continue`; see proc(5).
fn parse_mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(2);
    let (major, minor) = before.next()?.split_once(':')?;
    let mount_point = unescape(before.nth(1)?);
    let options = before.next()?;
    let mut after = after.split(' ');
    let fs_type = after.next()?.to_owned();
    let device = unescape(after.next()?);
    let super_options = after.next().unwrap_or("");
    let is_read_only = |options: &str| options.split(',').any(|option| option == "ro");
    Some(Mount {
        device,
        mount_point,
        fs_type,
        major: major.to_owned(),
        minor: minor.to_owned(),
        is_read_only: is_read_only(options) || is_read_only(super_options),
    })
}

/// The kernel writes blank, tab, newline and backslash in octal.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// node_exporter's default: `^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)`.
fn is_ignored_mount_point(path: &str) -> bool {
    let is_below =
        |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let is_inside =
        |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'));
    ["/dev", "/proc", "/sys"].iter().any(|folder| is_below(folder))
        || ["/run/credentials", "/var/lib/docker", "/var/lib/containers/storage"].iter().any(|folder| is_inside(folder))
}

/// Asks for the usage on a thread of its own, since nothing can interrupt a hanging statfs.
fn usage_within_time(path: PathBuf) -> Result<Usage, &'static str> {
    if STUCK.lock().expect("no holder of the lock panics").contains(&path) {
        return Err("mountpoint timeout");
    }
    let (sender, receiver) = sync_channel(1);
    let asked = path.clone();
    let thread = std::thread::Builder::new().name("statfs".to_owned()).stack_size(64 << 10).spawn(move || {
        let answer = usage(&asked);
        // Whoever asked may have given up: then the mount answers again from now on.
        let _ = sender.send(answer);
        STUCK.lock().expect("no holder of the lock panics").remove(&asked);
    });
    if thread.is_err() {
        return Err("no thread to ask with");
    }
    match receiver.recv_timeout(STATFS_TIMEOUT) {
        Ok(answer) => answer,
        Err(RecvTimeoutError::Timeout) => {
            STUCK.lock().expect("no holder of the lock panics").insert(path);
            Err("mountpoint timeout")
        }
        Err(RecvTimeoutError::Disconnected) => Err("statfs failed"),
    }
}

fn usage(path: &Path) -> Result<Usage, &'static str> {
    let stat = rustix::fs::statvfs(path).map_err(|error| match error {
        rustix::io::Errno::ACCESS | rustix::io::Errno::PERM => "permission denied",
        rustix::io::Errno::NOENT => "no such file or directory",
        rustix::io::Errno::STALE => "stale file handle",
        rustix::io::Errno::IO => "input/output error",
        _ => "statfs failed",
    })?;
    let block = stat.f_frsize as f64;
    Ok(Usage {
        size: stat.f_blocks as f64 * block,
        free: stat.f_bfree as f64 * block,
        available: stat.f_bavail as f64 * block,
        files: stat.f_files as f64,
        files_free: stat.f_ffree as f64,
        is_read_only: stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_parsed_filtered_and_shown_once() {
        let text = "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
                    23 22 0:21 / /proc rw - proc proc rw\n\
                    24 22 8:1 / /srv/my\\040data ro,noatime shared:1 master:2 - xfs /dev/sda1 rw\n\
                    25 22 0:40 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw\n\
                    26 22 0:41 / /run rw - tmpfs tmpfs rw\n\
                    garbage\n";
        let shown: Vec<(String, String, bool)> = wanted_mounts(text, Path::new("/"))
            .into_iter()
            .map(|mount| (mount.mount_point, mount.fs_type, mount.is_read_only))
            .collect();
        let expected = [("/srv/my data", "xfs", true), ("/", "ext4", false), ("/run", "tmpfs", false)];
        assert_eq!(shown, expected.map(|(point, kind, read_only)| (point.to_owned(), kind.to_owned(), read_only)));
    }

    #[test]
    fn a_root_prefix_is_cut_off() {
        let text = "22 1 254:0 / /host rw - ext4 /dev/vda rw\n23 22 8:1 / /host/srv rw - xfs /dev/sda1 rw\n";
        let points: Vec<String> =
            wanted_mounts(text, Path::new("/host")).into_iter().map(|mount| mount.mount_point).collect();
        assert_eq!(points, ["/srv", "/"]);
    }
}
