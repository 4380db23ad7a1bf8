//! Mounted file systems: `mountinfo` and statfs.
//!
//! statfs on a dead network mount hangs for ever. It runs on a thread of its own, one mount after the other; a mount that has
//! not answered within [`STATFS_TIMEOUT`] is shown as a device error, and is not asked again until the thread has come
//! back. The mounts behind it are asked on another thread.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;

use super::super::page::Page;
use super::host::{Host, NodeError};
use super::table::{Row, Table};
use crate::model::MetricType::Gauge;

/// How long a file system may take to answer; node_exporter's default.
const STATFS_TIMEOUT: Duration = Duration::from_secs(5);

/// Where systemd/outpost.service binds the first process's table of mounts to.
const GIVEN_MOUNTINFO: &str = "/run/outpost-mountinfo";

/// Kinds that hold no data of their own; node_exporter's default exclusion.
const IGNORED_TYPES: [&str; 25] = [
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
];

/// Mount points whose statfs has not come back.
static STUCK: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

#[derive(Clone, Debug, PartialEq)]
struct Mount {
    device: String,
    mount_point: String,
    fs_type: String,
    /// Major and minor numbers: its own, then those of what it covers.
    numbers: Vec<(String, String)>,
    is_read_only: bool,
}

struct Usage {
    size: f64,
    free: f64,
    available: f64,
    files: f64,
    files_free: f64,
}

type Answer = Result<Usage, String>;

const USAGE: Table = Table {
    prefix: "node_filesystem_",
    labels: &["device", "device_error", "fstype", "mountpoint"],
    help: "",
    lines: "\
size size_bytes - Size in bytes.
free free_bytes - Free space in bytes.
available avail_bytes - Space in bytes that users without privileges may use.
files files - Inodes.
files_free files_free - Free inodes.
purgeable purgeable_bytes - Bytes that can be freed at will; always 0 on Linux.
readonly readonly - Whether the file system is mounted read-only.
error device_error - Whether the file system did not answer.",
};

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let mounts = wanted_mounts(&mountinfo(host)?, host);
    let answers = ask(mounts.iter().map(|mount| host.root_path(&mount.mount_point)).collect());
    let rows: Vec<Row> = mounts.iter().zip(&answers).map(|(mount, answer)| row(mount, answer)).collect();
    USAGE.write(page, &rows);
    let mut family = page.family("node_filesystem_mount_info", Gauge, "Device numbers of the mount.");
    for (mount, _) in mounts.iter().zip(&answers).filter(|(_, answer)| answer.is_ok()) {
        let Mount { device, mount_point, numbers, .. } = mount;
        for (major, minor) in numbers {
            family.sample(&[("device", device), ("major", major), ("minor", minor), ("mountpoint", mount_point)], 1.0);
        }
    }
    Ok(())
}

/// Where file systems of a kind are mounted, as paths that can be opened, without those that hang.
pub(super) fn mounts_of_type(host: &Host, fs_type: &str) -> Vec<PathBuf> {
    let Ok(text) = mountinfo(host) else { return Vec::new() };
    let mounts = text.lines().filter_map(parse_mount).filter(|mount| mount.fs_type == fs_type);
    let paths = mounts.map(|mount| host.root_path(without_prefix(&mount.mount_point, host.rootfs())));
    let stuck = lock_stuck();
    paths.filter(|path| !stuck.contains(path)).collect()
}

/// The mounts as the first process has them. Where that one is hidden, the systemd unit gives its table; what this
/// process has itself may be a sandbox, with everything read-only.
fn mountinfo(host: &Host) -> Result<String, NodeError> {
    host.proc_of_long_lines("1/mountinfo").or_else(|_| match std::fs::read_to_string(GIVEN_MOUNTINFO) {
        Ok(text) if !text.is_empty() => Ok(text),
        _ => host.proc_of_long_lines("self/mountinfo"),
    })
}

fn row(mount: &Mount, answer: &Answer) -> Row {
    let error = answer.as_ref().err().cloned().unwrap_or_default();
    let labels = vec![mount.device.clone(), error, mount.fs_type.clone(), mount.mount_point.clone()];
    USAGE.row(labels, &mut |source| {
        let flag = |is_set: bool| Some(f64::from(u8::from(is_set)));
        let usage = answer.as_ref().ok();
        match source {
            "readonly" => flag(mount.is_read_only),
            "error" => flag(usage.is_none()),
            "size" => usage.map(|usage| usage.size),
            "free" => usage.map(|usage| usage.free),
            "available" => usage.map(|usage| usage.available),
            "files" => usage.map(|usage| usage.files),
            "files_free" => usage.map(|usage| usage.files_free),
            _ => usage.map(|_| 0.0),
        }
    })
}

/// The mounts to show, by device and mount point, each once: the last mount over a point is the visible one. It has the
/// numbers of those below it too, since node_exporter shows both; who joins with them takes `max by (device, mountpoint)`.
fn wanted_mounts(mountinfo: &str, host: &Host) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for mut mount in mountinfo.lines().filter_map(parse_mount) {
        mount.mount_point = without_prefix(&mount.mount_point, host.rootfs()).to_owned();
        let Mount { mount_point, fs_type, .. } = &mount;
        let usual_point = || !is_ignored_mount_point(mount_point);
        let usual_type = || !IGNORED_TYPES.contains(&fs_type.as_str());
        let flags = host.flags();
        let is_point_shown =
            flags.shows("filesystem.mount-points-include", "filesystem.mount-points-exclude", mount_point, usual_point);
        let is_type_shown =
            flags.shows("filesystem.fs-types-include", "filesystem.fs-types-exclude", fs_type, usual_type);
        if is_point_shown && is_type_shown {
            let Mount { device, mount_point, .. } = &mount;
            match mounts.binary_search_by(|known| (&known.device, &known.mount_point).cmp(&(device, mount_point))) {
                Ok(at) => {
                    let mut covered = std::mem::replace(&mut mounts[at], mount).numbers;
                    let numbers = &mut mounts[at].numbers;
                    covered.retain(|other| !numbers.contains(other));
                    numbers.extend(covered);
                }
                Err(at) => mounts.insert(at, mount),
            }
        }
    }
    mounts
}

/// Seen through a bind mount of the host's root, paths begin with that mount's own.
fn without_prefix<'p>(mount_point: &'p str, rootfs: &Path) -> &'p str {
    let prefix = rootfs.to_string_lossy();
    let prefix = prefix.trim_end_matches('/');
    match mount_point.strip_prefix(prefix) {
        Some("") => "/",
        Some(inner) if inner.starts_with('/') => inner,
        _ => mount_point,
    }
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
    // `emergency_ro`: the kernel has given up writing after an error.
    let is_read_only = |options: &str| options.split(',').any(|option| option == "ro" || option == "emergency_ro");
    Some(Mount {
        device,
        mount_point,
        fs_type,
        numbers: vec![(major.to_owned(), minor.to_owned())],
        is_read_only: is_read_only(options) || is_read_only(super_options),
    })
}

/// The kernel writes blank, tab, newline and backslash in octal.
fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
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

/// Asks for the usage of each, on a thread of its own, since nothing can interrupt a hanging statfs.
fn ask(paths: Vec<PathBuf>) -> Vec<Answer> {
    let mut answers = Vec::with_capacity(paths.len());
    let mut asked: Option<(Worker, Receiver<Answer>)> = None;
    // As it is now, for the whole round: who is asked for must not depend on who comes back meanwhile.
    let stuck = lock_stuck().clone();
    for (index, path) in paths.iter().enumerate() {
        if stuck.contains(path) {
            answers.push(Err(TIMED_OUT.to_owned()));
            continue;
        }
        asked = asked.take().or_else(|| start_asking(&paths[index..], &stuck));
        let answer = match &asked {
            Some((_, receiver)) => wait_for_answer(receiver, path),
            None => Err(NO_THREAD.to_owned()),
        };
        // The next mount gets another thread; this one ends once it comes back and finds nobody waiting.
        if answer.as_ref().is_err_and(|error| [TIMED_OUT, NO_THREAD].contains(&error.as_str())) {
            asked = None;
        }
        answers.push(answer);
    }
    if let Some((worker, _)) = asked {
        *IDLE.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker);
    }
    answers
}

const TIMED_OUT: &str = "mountpoint timeout";
const NO_THREAD: &str = "no thread to ask with";

/// The answer for `path`, which counts as stuck where none comes in time.
fn wait_for_answer(receiver: &Receiver<Answer>, path: &Path) -> Answer {
    match receiver.recv_timeout(STATFS_TIMEOUT) {
        Ok(answer) => answer,
        Err(RecvTimeoutError::Disconnected) => Err(NO_THREAD.to_owned()),
        Err(RecvTimeoutError::Timeout) => {
            // Under the lock that the answer is given under: it has either come, or will find the path among the stuck.
            let mut stuck = lock_stuck();
            receiver.try_recv().unwrap_or_else(|_| {
                stuck.push(path.to_owned());
                Err(TIMED_OUT.to_owned())
            })
        }
    }
}

fn lock_stuck() -> MutexGuard<'static, Vec<PathBuf>> {
    STUCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Paths to ask about, and where the answers go.
type Job = (Vec<PathBuf>, SyncSender<Answer>);

/// A thread that asks; it ends when this goes.
type Worker = SyncSender<Job>;

/// The thread of the last collection, if it came back.
static IDLE: Mutex<Option<Worker>> = Mutex::new(None);

fn start_asking(paths: &[PathBuf], stuck: &[PathBuf]) -> Option<(Worker, Receiver<Answer>)> {
    let (sender, answers) = sync_channel(paths.len());
    let paths: Vec<PathBuf> = paths.iter().filter(|path| !stuck.contains(*path)).cloned().collect();
    let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).take();
    let worker = idle.map_or_else(start_worker, Some)?;
    worker.send((paths, sender)).ok()?;
    Some((worker, answers))
}

fn start_worker() -> Option<Worker> {
    let (worker, jobs) = sync_channel::<Job>(1);
    let run = move || {
        for (paths, answers) in jobs {
            for path in paths {
                let answer = usage(&path);
                // Whoever asked may have given up: then the mount answers again from now on. The channel has room for all.
                let mut stuck = lock_stuck();
                stuck.retain(|stuck| *stuck != path);
                if answers.send(answer).is_err() {
                    break;
                }
            }
        }
    };
    std::thread::Builder::new().name("statfs".to_owned()).stack_size(64 << 10).spawn(run).ok().map(|_| worker)
}

fn usage(path: &Path) -> Answer {
    let stat = rustix::fs::statfs(path).map_err(error_text)?;
    let block = stat.f_bsize as f64;
    Ok(Usage {
        size: stat.f_blocks as f64 * block,
        free: stat.f_bfree as f64 * block,
        available: stat.f_bavail as f64 * block,
        files: stat.f_files as f64,
        files_free: stat.f_ffree as f64,
    })
}

/// The label's words, as node_exporter has them.
fn error_text(error: Errno) -> String {
    match error {
        Errno::ACCESS => "permission denied".to_owned(),
        Errno::PERM => "operation not permitted".to_owned(),
        Errno::NOENT => "no such file or directory".to_owned(),
        Errno::STALE => "stale NFS file handle".to_owned(),
        Errno::IO => "input/output error".to_owned(),
        Errno::NOTCONN => "transport endpoint is not connected".to_owned(),
        other => format!("errno {}", other.raw_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::collect::NodeCollectorSettings;
    use crate::model::Timestamp;

    fn host(rootfs: &str) -> Host {
        let settings = NodeCollectorSettings { rootfs: rootfs.into(), ..Default::default() };
        Host::new(settings, Clock::manual(Timestamp(0)))
    }

    #[test]
    fn each_mount_is_answered_and_a_missing_one_says_so() {
        let answers = ask(vec!["/".into(), "/nonexistent".into(), "/proc".into()]);
        let shown: Vec<Result<bool, &str>> = answers
            .iter()
            .map(|answer| answer.as_ref().map(|usage| usage.size > 0.0).map_err(String::as_str))
            .collect();
        assert_eq!(shown, [Ok(true), Err("no such file or directory"), Ok(false)]);
        // What has not come back is not asked again.
        lock_stuck().push("/nonexistent/stuck".into());
        let answers = ask(vec!["/nonexistent/stuck".into(), "/".into()]);
        assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true]);
        lock_stuck().retain(|stuck| stuck != Path::new("/nonexistent/stuck"));
    }

    #[test]
    fn mounts_are_parsed_filtered_and_shown_once() {
        let text = "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
                    23 22 0:21 / /proc rw - proc proc rw\n\
                    24 22 8:1 / /srv/my\\040\\134data ro,noatime shared:1 master:2 - xfs /dev/my\\040sd\\134a rw\n\
                    25 22 0:40 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw\n\
                    26 22 0:41 / /run rw - tmpfs tmpfs rw\n\
                    garbage\n";
        let shown: Vec<(String, String, bool)> = wanted_mounts(text, &host("/"))
            .into_iter()
            .map(|mount| (mount.device + " at " + &mount.mount_point, mount.fs_type, mount.is_read_only))
            .collect();
        let expected = [
            ("/dev/my sd\\a at /srv/my \\data", "xfs", true),
            ("/dev/vda at /", "ext4", false),
            ("tmpfs at /run", "tmpfs", false),
        ];
        assert_eq!(shown, expected.map(|(place, kind, read_only)| (place.to_owned(), kind.to_owned(), read_only)));
    }

    #[test]
    fn a_mount_over_another_has_the_numbers_of_both() {
        let text = "30 22 0:23 / /srv/scratch ro - tmpfs tmpfs ro\n\
                    31 30 0:41 / /srv/scratch rw - tmpfs tmpfs rw\n\
                    32 31 0:41 / /srv/scratch rw - tmpfs tmpfs rw\n";
        let mounts = wanted_mounts(text, &host("/"));
        let shown: Vec<(&[(String, String)], bool)> =
            mounts.iter().map(|mount| (mount.numbers.as_slice(), mount.is_read_only)).collect();
        let numbers = [("0", "41"), ("0", "23")].map(|(major, minor)| (major.to_owned(), minor.to_owned()));
        assert_eq!(shown, [(&numbers[..], false)]);
    }

    #[test]
    fn a_root_prefix_is_cut_off() {
        let text = "22 1 254:0 / /host rw - ext4 /dev/vda rw\n23 22 8:1 / /host/srv rw - xfs /dev/sda1 rw\n";
        let points: Vec<String> =
            wanted_mounts(text, &host("/host")).into_iter().map(|mount| mount.mount_point).collect();
        assert_eq!(points, ["/srv", "/"]);
    }
}
