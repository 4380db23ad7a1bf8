//! The host's files below three configurable roots, and its mounts.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where the host's files are.
pub struct Host {
    procfs: PathBuf,
    sysfs: PathBuf,
    rootfs: PathBuf,
}

/// What is mounted where a path lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub point: PathBuf,
    /// `ext4`, `nfs4` …
    pub kind: String,
    /// `/dev/mmcblk0p2`
    pub device: String,
    /// `179:2`
    pub number: String,
    /// The kernel lets nothing be written.
    pub is_read_only: bool,
}

impl Host {
    /// Below these roots.
    pub fn new(procfs: &Path, sysfs: &Path, rootfs: &Path) -> Self {
        Self { procfs: procfs.to_owned(), sysfs: sysfs.to_owned(), rootfs: rootfs.to_owned() }
    }

    /// The text of a file below /proc.
    pub fn proc(&self, path: &str) -> Option<String> {
        read(&self.procfs.join(path))
    }

    /// The text of a file below /sys.
    pub fn sys(&self, path: &str) -> Option<String> {
        read(&self.sysfs.join(path))
    }

    /// The text of a file anywhere else.
    pub fn root(&self, path: &str) -> Option<String> {
        read(&self.rootfs.join(path.trim_start_matches('/')))
    }

    /// Whether something is there.
    pub fn has(&self, path: &str) -> bool {
        self.rootfs.join(path.trim_start_matches('/')).exists()
    }

    /// The paths in a folder below /sys, relative to /sys, sorted.
    pub fn sys_folder(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.sysfs.join(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| format!("{path}/{}", entry.file_name().to_string_lossy())).collect();
        names.sort_unstable();
        names
    }

    /// The kernel's name of a block device (`mmcblk0p2`), by its number (`179:2`); file systems of several devices have none.
    pub fn block_device(&self, number: &str) -> Option<String> {
        let target = fs::read_link(self.sysfs.join("dev/block").join(number)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }

    /// Whether this process has another network than the machine's first one, as in a container with a published port. The
    /// kernel makes these files anew for each network, with numbers of their own.
    pub fn is_in_another_network(&self) -> bool {
        let number =
            |process: &str| fs::metadata(self.procfs.join(process).join("net/dev")).ok().map(|file| file.ino());
        number("self").zip(number("1")).is_some_and(|(own, first)| own != first)
    }

    /// The texts of the files in a folder, in the order of their names, whatever these are.
    pub fn texts_in(&self, path: &str) -> Vec<String> {
        let folder = self.rootfs.join(path.trim_start_matches('/'));
        let mut paths: Vec<PathBuf> =
            fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths.iter().filter_map(|path| read(path)).collect()
    }

    /// The mount that an absolute path lies on: the last one of the longest mount point above it.
    pub fn mount_of(&self, path: &Path) -> Option<Mount> {
        let text = self.proc("self/mountinfo").or_else(|| self.proc("1/mountinfo"))?;
        let above = text.lines().filter_map(parse_mount).filter(|mount| path.starts_with(&mount.point));
        above.max_by_key(|mount| mount.point.components().count())
    }
}

fn read(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim_end().to_owned())
}

/// `36 35 98:0 /root /mount/point rw,noatime master:1 - ext3 /dev/root rw,errors=continue`; see proc(5).
fn parse_mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(2);
    let number = before.next()?.to_owned();
    let point = before.nth(1)?.replace("\\040", " ").into();
    let options = before.next()?;
    let mut after = after.split(' ');
    let (kind, device) = (after.next()?.to_owned(), after.next()?.to_owned());
    let all = options.split(',').chain(after.next().unwrap_or("").split(','));
    // Newer kernels leave ext4 mounted as writable after an error and refuse each write.
    let is_read_only = all.into_iter().any(|option| option == "ro" || option == "emergency_ro");
    Some(Mount { point, kind, device, number, is_read_only })
}

/// A made tree for tests.
#[cfg(test)]
pub mod tests {
    use super::*;

    /// Files under `proc/`, `sys/` and anything else in a folder, and the host that they make.
    pub fn made(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let host = Host::new(&folder.path().join("proc"), &folder.path().join("sys"), folder.path());
        (folder, host)
    }

    #[test]
    fn a_device_is_known_by_its_number() {
        let (folder, host) = made(&[("sys/dev/block/README", "")]);
        let link = folder.path().join("sys/dev/block/179:2");
        std::os::unix::fs::symlink("../../devices/platform/mmc/block/mmcblk0/mmcblk0p2", link).unwrap();
        assert_eq!(host.block_device("179:2").as_deref(), Some("mmcblk0p2"));
        assert_eq!(host.block_device("0:35"), None);
    }

    #[test]
    fn a_network_of_its_own_is_told_apart() {
        let (folder, host) = made(&[("proc/self/net/dev", "")]);
        assert!(!host.is_in_another_network(), "nothing is known");
        std::fs::create_dir_all(folder.path().join("proc/1/net")).unwrap();
        let first = folder.path().join("proc/1/net/dev");
        std::fs::hard_link(folder.path().join("proc/self/net/dev"), &first).unwrap();
        assert!(!host.is_in_another_network(), "the same");
        std::fs::remove_file(&first).unwrap();
        std::fs::write(&first, "").unwrap();
        assert!(host.is_in_another_network());
    }

    #[test]
    fn the_innermost_and_last_mount_counts() {
        let (_folder, host) = made(&[(
            "proc/self/mountinfo",
            "22 1 179:2 / / rw,noatime - ext4 /dev/mmcblk0p2 rw\n\
             23 22 8:1 / /srv rw - ext4 /dev/sda1 rw,emergency_ro\n\
             24 22 0:44 / /srv rw - tmpfs tmpfs rw\n\
             25 22 8:17 / /srv2/my\\040data ro - xfs /dev/sdb1 rw\n",
        )]);
        let kind = |path: &str| host.mount_of(Path::new(path)).map(|mount| (mount.kind, mount.is_read_only));
        assert_eq!(kind("/var/lib/outpost"), Some(("ext4".to_owned(), false)));
        assert_eq!(kind("/srv/outpost"), Some(("tmpfs".to_owned(), false)));
        assert_eq!(kind("/srv2/my data/x"), Some(("xfs".to_owned(), true)));
    }
}
