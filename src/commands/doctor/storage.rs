//! The disk that the samples are kept on.

use std::path::{Path, PathBuf};

use super::account::{Account, SERVICE_USER};
use super::host::{Host, Mount};
use super::service::SETTING_FLAGS;
use super::unit::drop_in;
use crate::commands::finding::{Finding, quoted};

const SUBJECT: &str = "storage";

/// Below this, writes fail soon: a merge of blocks needs room beside the old ones.
const FREE_BYTES_PROBLEM: u64 = 100 << 20;
const FREE_BYTES_WARNING: u64 = 512 << 20;

/// Locks and syncs of a database do not hold on these.
const NETWORK: [&str; 8] = ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "fuse.rclone", "ceph"];
/// A power cut can cost the whole folder on these: they have no journal.
const WITHOUT_JOURNAL: [&str; 5] = ["vfat", "exfat", "msdos", "fuseblk", "ext2"];
/// What is on these is gone with the next start or the container.
const VOLATILE: [&str; 3] = ["tmpfs", "ramfs", "overlay"];

/// What a file system has left for the user who asks.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Bytes.
    pub free_bytes: u64,
    /// Inodes; `None` where they are not counted.
    pub free_inodes: Option<u64>,
    /// Whether this user may write there.
    pub is_writable: bool,
}

/// Asks the kernel about the folder, or the nearest one above it that is there.
pub fn room(folder: &Path) -> Option<Room> {
    let path = existing(folder)?;
    let stat = rustix::fs::statvfs(&path).ok()?;
    let free_bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
    let free_inodes = (stat.f_files > 0).then_some(stat.f_favail);
    let is_writable = rustix::fs::access(&path, rustix::fs::Access::WRITE_OK) != Err(rustix::io::Errno::ACCESS);
    Some(Room { free_bytes, free_inodes, is_writable })
}

/// All findings about the folder.
pub fn look(host: &Host, folder: &Path, room: Option<Room>) -> Vec<Finding> {
    let path = existing(folder).and_then(|path| path.canonicalize().ok()).unwrap_or_else(|| folder.to_owned());
    let mut findings = Vec::new();
    match host.mount_of(&path) {
        Some(mount) => {
            findings.extend(of_mount(&mount, folder));
            findings.extend(of_device(host, &mount));
        }
        None => findings.push(Finding::warning(
            SUBJECT,
            format!("what {} lies on cannot be told", folder.display()),
            "a card, a network share or a disk in memory each need something else",
            format!("findmnt --target {}", quoted(folder)),
        )),
    }
    let account = Account::of_service(host);
    if let Some(account) = &account {
        findings.extend(of_account(account, folder));
    }
    findings.extend(room.and_then(|room| of_room(folder, room, account.is_some())));
    if findings.is_empty() {
        let kind = host.mount_of(&path).map(|mount| mount.kind).unwrap_or_default();
        findings.push(Finding::good(SUBJECT, format!("{} on {kind}, with room", folder.display())));
    }
    findings
}

fn of_mount(mount: &Mount, folder: &Path) -> Option<Finding> {
    let (kind, point) = (mount.kind.as_str(), mount.point.display());
    let what = format!("{} lies on {kind} ({point})", folder.display());
    if mount.is_read_only {
        return Some(Finding::problem(
            SUBJECT,
            format!("{point} is read-only"),
            "samples stay in memory, within a bound, and a power cut takes them; a file system turns read-only when the \
             kernel finds it damaged or the card failing",
            "sudo dmesg | grep -iE 'ext4|mmc|I/O error' says which; back up (outpost store backup), then have it checked at \
             the next start (fsck.mode=force on the kernel's command line) or by e2fsck -f on another machine; \
             mounted so on purpose: /etc/fstab",
        ));
    }
    let elsewhere = format!("keep it on a local disk: --storage.path ({SETTING_FLAGS})");
    if NETWORK.contains(&kind) {
        let why =
            "locks and syncs do not hold over the network: the store can be damaged, and waits when the share does";
        Some(Finding::warning(SUBJECT, what, why, elsewhere))
    } else if WITHOUT_JOURNAL.contains(&kind) {
        let why = "without a journal a power cut can cost the whole folder";
        Some(Finding::warning(
            SUBJECT,
            what,
            why,
            format!("use a disk with ext4, or --storage.path on one ({SETTING_FLAGS})"),
        ))
    } else if VOLATILE.contains(&kind) {
        let why = "all samples are gone with the next start of the machine or the container";
        let mend = "mount a disk or a volume there, or give --storage.path one; on a Raspberry Pi whose system is an overlay, \
                    sudo raspi-config (Performance Options, Overlay File System) switches that off";
        Some(Finding::problem(SUBJECT, what, why, mend))
    } else {
        None
    }
}

/// Whoever asks may be root: what counts is the account of the service, and what its unit leaves it.
fn of_account(account: &Account, folder: &Path) -> Option<Finding> {
    let (shown, word) = (folder.display(), quoted(folder));
    if account.is_shut_out_of(folder) {
        let lines = format!("ReadWritePaths=\"{}\"\\n", folder.display());
        return Some(Finding::problem(
            SUBJECT,
            format!("{shown} is read-only to the service, whose unit lets it write into its own folder alone"),
            "samples stay in memory, within a bound, and are gone with the next restart",
            format!(
                "sudo install -d -o {SERVICE_USER} -g {SERVICE_USER} -m 0750 {word} && {}",
                drop_in("storage", &lines)
            ),
        ));
    }
    // systemd makes the unit's own folder; what else the unit names must be there.
    if !folder.exists() && account.is_kept_from_writing(&existing(folder)?).is_some() && !account.is_given(folder) {
        return Some(Finding::problem(
            SUBJECT,
            format!("{shown} is not there, and the service's user may not make it"),
            "the service does not start: status=226/NAMESPACE where its unit names the folder",
            format!(
                "mount what it lies on; or sudo install -d -o {SERVICE_USER} -g {SERVICE_USER} -m 0750 {word} && sudo systemctl \
                 restart outpost"
            ),
        ));
    }
    let entries = |path: &Path| {
        std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let mut all = vec![folder.to_owned()];
    all.extend(entries(folder));
    all.extend(entries(&folder.join("log")));
    let kept = all.iter().find_map(|path| account.is_kept_from_writing(path))?;
    Some(Finding::problem(
        SUBJECT,
        format!("{} cannot be written by the service's user", kept.display()),
        "the service does not start, or stores nothing; an outpost that root has started by hand, or a restored backup, leaves \
         files like that",
        format!("sudo chown -R {SERVICE_USER}: {word} && sudo systemctl restart outpost"),
    ))
}

fn of_device(host: &Host, mount: &Mount) -> Vec<Finding> {
    let mut findings = Vec::new();
    // The kernel's own name: what is mounted may be called /dev/root or /dev/mapper/….
    let name = host.block_device(&mount.number).unwrap_or_else(|| mount.device.trim_start_matches("/dev/").to_owned());
    let errors = host.sys(&format!("fs/ext4/{name}/errors_count")).and_then(|text| text.parse::<u64>().ok());
    if let Some(errors) = errors.filter(|errors| *errors > 0) {
        findings.push(Finding::problem(
            SUBJECT,
            format!("ext4 has counted {errors} errors on /dev/{name}"),
            "files on it may be damaged, and the kernel may turn it read-only at any time",
            "back up first (outpost store backup); then check at the next start: add fsck.mode=force to the kernel's \
             command line, or run e2fsck -f on another machine",
        ));
    }
    let Some(card) = card(&name) else { return findings };
    let device = format!("block/{card}/device");
    findings.extend(worn(host, &device, &format!("/dev/{name}")));
    if host.sys(&format!("{device}/type")).as_deref() == Some("SD") {
        findings.push(Finding::warning(
            SUBJECT,
            format!("/dev/{name} is an SD card"),
            "cards wear out by writing, and few survive years of it; outpost writes one record per flush interval",
            "bound it: outpost.store.max_writes_per_day: 60MB in the configuration, a longer flush_interval, or a disk: \
             --storage.path",
        ));
    }
    findings
}

/// eMMC tells how much of its life is used: JEDEC's EXT_CSD, in steps of a tenth, and how much of its reserve is gone.
fn worn(host: &Host, device: &str, shown: &str) -> Option<Finding> {
    let numbers = |file: &str| -> Vec<u32> {
        let text = host.sys(&format!("{device}/{file}")).unwrap_or_default();
        text.split_whitespace().filter_map(|word| u32::from_str_radix(word.trim_start_matches("0x"), 16).ok()).collect()
    };
    let tenths = numbers("life_time").into_iter().max().unwrap_or(0);
    let reserve = numbers("pre_eol_info").into_iter().max().unwrap_or(0);
    let why = "flash that is at its end turns read-only or loses what was written";
    let mend = "back up (outpost store backup) and replace it";
    if tenths >= 11 || reserve >= 3 {
        Some(Finding::problem(SUBJECT, format!("{shown} is at the end of its life"), why, mend))
    } else if tenths >= 9 {
        Some(Finding::warning(SUBJECT, format!("{shown} has used {}0 % of its life or more", tenths - 1), why, mend))
    } else if reserve == 2 {
        Some(Finding::warning(SUBJECT, format!("{shown} has used 80 % of its reserved blocks"), why, mend))
    } else {
        None
    }
}

fn of_room(folder: &Path, room: Room, is_judged_by_account: bool) -> Option<Finding> {
    let (shown, word) = (folder.display(), quoted(folder));
    if !room.is_writable && !is_judged_by_account {
        return Some(Finding::problem(
            SUBJECT,
            format!("{shown} cannot be written by this user"),
            "nothing can be stored there",
            format!("sudo chown -R $(id -u) {word}; or look as the user that outpost runs as"),
        ));
    }
    let why = "when the disk is full, samples stay in memory within a bound, and a power cut takes them";
    let mend = format!("free some space, or bound the store with --storage.tsdb.retention.size; du -sh {word}");
    if room.free_inodes.is_some_and(|inodes| inodes < 100) {
        Some(Finding::problem(SUBJECT, format!("no inodes are left for {shown}"), why, mend))
    } else if room.free_bytes < FREE_BYTES_PROBLEM {
        Some(Finding::problem(SUBJECT, format!("{} MiB are free for {shown}", room.free_bytes >> 20), why, mend))
    } else if room.free_bytes < FREE_BYTES_WARNING {
        Some(Finding::warning(SUBJECT, format!("{} MiB are free for {shown}", room.free_bytes >> 20), why, mend))
    } else {
        None
    }
}

/// `mmcblk0p2` is on `mmcblk0`.
fn card(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("mmcblk")?;
    let digits = rest.chars().take_while(char::is_ascii_digit).count();
    name.get(.."mmcblk".len() + digits)
}

/// The folder itself, or the nearest one above it that is there.
fn existing(folder: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(folder).ok()?;
    absolute.ancestors().find(|path| path.exists()).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::host::tests::made;
    use super::*;
    use crate::commands::finding::Severity;

    const ROOMY: Room = Room { free_bytes: 8 << 30, free_inodes: Some(100_000), is_writable: true };

    fn found(mount: &str, more: &[(&str, &str)], room: Room) -> Vec<(Severity, String)> {
        let mount = format!("22 1 0:1 / / {mount}\n");
        let files: Vec<(&str, &str)> =
            [("proc/self/mountinfo", mount.as_str())].into_iter().chain(more.iter().copied()).collect();
        let (_folder, host) = made(&files);
        let findings = look(&host, Path::new("/var/lib/outpost-of-nobody"), Some(room));
        findings.into_iter().map(|finding| (finding.severity, finding.what)).collect()
    }

    #[test]
    fn mounts_are_judged_by_what_they_do_to_a_store() {
        let cases = [
            ("rw - ext4 /dev/sda1 rw", Severity::Good, "on ext4"),
            ("ro - ext4 /dev/sda1 rw", Severity::Problem, "read-only"),
            ("rw - ext4 /dev/sda1 ro,errors=remount-ro", Severity::Problem, "read-only"),
            ("rw - nfs4 nas:/x rw", Severity::Warning, "nfs4"),
            ("rw - vfat /dev/sdb1 rw", Severity::Warning, "vfat"),
            ("rw - overlay overlay rw", Severity::Problem, "overlay"),
            ("rw - tmpfs tmpfs rw", Severity::Problem, "tmpfs"),
        ];
        for (mount, severity, word) in cases {
            let findings = found(mount, &[], ROOMY);
            assert_eq!(findings.len(), 1, "{mount}: {findings:?}");
            assert!(findings[0].0 == severity && findings[0].1.contains(word), "{mount}: {findings:?}");
        }
    }

    #[test]
    fn the_service_must_be_able_to_write() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("my store");
        std::fs::create_dir_all(store.join("log")).unwrap();
        let file = store.join("log/segment-00000001");
        std::fs::write(&file, "").unwrap();
        let modes = |modes: [u32; 3]| {
            for (path, mode) in [&store, &store.join("log"), &file].into_iter().zip(modes) {
                std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
            }
        };
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let passwd = ("etc/passwd", "outpost:x:4000:4001::/:/bin/false\n");
        let found = |more: &[(&str, &str)]| {
            let (_folder, host) = made(&[&[passwd][..], more].concat());
            of_account(&Account::of_service(&host).unwrap(), &store)
        };
        let shut = found(&[]).unwrap();
        assert!(shut.what.contains("read-only to the service"), "{shut:?}");
        assert!(shut.mend.contains("-m 0750 '") && shut.mend.contains("ReadWritePaths="), "{shut:?}");
        let (_folder, host) = made(&[passwd]);
        let account = Account::of_service(&host).unwrap();
        assert_eq!(of_account(&account, Path::new("/var/lib/outpost/of-nobody")), None, "systemd makes it");
        let line = format!("[Service]\nReadWritePaths=-{}\n", folder.path().display());
        let drop_in = ("etc/systemd/system/outpost.service.d/storage.conf", line.as_str());
        let (_folder, host) = made(&[passwd, drop_in]);
        let absent = of_account(&Account::of_service(&host).unwrap(), &folder.path().join("none")).unwrap();
        assert!(absent.what.contains("is not there") && absent.mend.contains("install -d"), "{absent:?}");
        for (wanted, kept) in [
            ([0o777, 0o777, 0o666], None),
            ([0o755, 0o777, 0o666], Some("my store")),
            ([0o777, 0o755, 0o666], Some("log")),
            ([0o777, 0o777, 0o644], Some("segment-00000001")),
        ] {
            modes(wanted);
            let found = found(&[drop_in]);
            assert_eq!(found.is_some(), kept.is_some(), "{found:?}");
            for (finding, name) in found.iter().zip(kept) {
                assert!(
                    finding.what.ends_with(&format!("/{name} cannot be written by the service's user")),
                    "{found:?}"
                );
                assert!(finding.mend.contains("my store' && "), "{found:?}");
            }
        }
    }

    #[test]
    fn cards_and_their_wear_are_told() {
        let card = "rw - ext4 /dev/mmcblk0p2 rw";
        let of = |more: &[(&str, &str)]| found(card, more, ROOMY);
        assert_eq!(of(&[("sys/block/mmcblk0/device/type", "SD\n")])[0].0, Severity::Warning);
        let emmc =
            |life| of(&[("sys/block/mmcblk0/device/type", "MMC\n"), ("sys/block/mmcblk0/device/life_time", life)]);
        assert_eq!(emmc("0x01 0x02\n")[0].0, Severity::Good);
        assert_eq!(
            emmc("0x01 0x0a\n"),
            [(Severity::Warning, "/dev/mmcblk0p2 has used 90 % of its life or more".to_owned())]
        );
        assert_eq!(emmc("0x0b 0x0b\n")[0].0, Severity::Problem);
        // Without an initial file system the kernel calls it /dev/root.
        let (folder, host) = made(&[
            ("proc/self/mountinfo", "22 1 179:2 / / rw - ext4 /dev/root rw\n"),
            ("sys/block/mmcblk0/device/type", "SD\n"),
            ("sys/dev/block/README", ""),
        ]);
        std::os::unix::fs::symlink("../../block/mmcblk0/mmcblk0p2", folder.path().join("sys/dev/block/179:2")).unwrap();
        assert_eq!(
            look(&host, Path::new("/var/lib/outpost-of-nobody"), Some(ROOMY))[0].what,
            "/dev/mmcblk0p2 is an SD card"
        );
        let errors = of(&[("sys/fs/ext4/mmcblk0p2/errors_count", "3\n")]);
        assert!(errors[0].0 == Severity::Problem && errors[0].1.contains("3 errors"), "{errors:?}");
    }

    #[test]
    fn room_is_needed() {
        let disk = "rw - ext4 /dev/sda1 rw";
        let cases = [
            (Room { free_bytes: 50 << 20, ..ROOMY }, Severity::Problem),
            (Room { free_bytes: 300 << 20, ..ROOMY }, Severity::Warning),
            (Room { free_inodes: Some(3), ..ROOMY }, Severity::Problem),
            (Room { free_inodes: None, ..ROOMY }, Severity::Good),
            (Room { is_writable: false, ..ROOMY }, Severity::Problem),
        ];
        for (room, severity) in cases {
            assert_eq!(found(disk, &[], room)[0].0, severity, "{room:?}");
        }
    }

    #[test]
    fn this_machine_can_be_asked() {
        let folder = tempfile::tempdir().unwrap();
        let room = room(&folder.path().join("not/there/yet")).unwrap();
        assert!(room.is_writable && room.free_bytes > 0);
    }
}
