//! The account that the service runs as, and what it may do by modes, groups and its unit.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::host::Host;
use super::unit::{CAPABILITIES, Unit};

/// The account that the packages make.
pub const SERVICE_USER: &str = "outpost";

/// Whoever is to read and ask: the service's account, or this process's own.
pub struct Account {
    id: u32,
    group: u32,
    /// Further groups by number.
    groups: Vec<u32>,
    /// Capabilities, as `CAP_NET_RAW`, by the unit's drop-ins or of this process.
    capabilities: Vec<String>,
    pub is_service: bool,
    /// Whether `/tmp` and `/var/tmp` are other folders to it.
    has_own_tmp: bool,
    /// Where alone it may write, if its unit says so.
    writable: Option<Vec<PathBuf>>,
    /// What systemd makes for it.
    given: Vec<PathBuf>,
}

/// Bits of a mode.
const READ: u32 = 0o4;
const WRITE: u32 = 0o2;
const SEARCH: u32 = 0o1;

impl Account {
    /// The service's; `None` where no package has made it.
    pub fn of_service(host: &Host) -> Option<Self> {
        let passwd = host.root("/etc/passwd")?;
        let unit = Unit::read(host);
        let packaged = user_and_group(&passwd, SERVICE_USER)?;
        let name = unit.last("User").filter(|name| !name.is_empty()).unwrap_or_else(|| SERVICE_USER.to_owned());
        let (id, group) = if name == "root" { (0, 0) } else { user_and_group(&passwd, &name).unwrap_or(packaged) };
        let entries = group_entries(host);
        let named = unit.last("Group").and_then(|name| entries.iter().find(|entry| entry.name == name));
        let group = named.map_or(group, |entry| entry.id);
        let further = unit.list("SupplementaryGroups").unwrap_or_default();
        let is_in = |entry: &&GroupEntry| further.contains(&entry.name) || entry.members.contains(&name);
        let groups = entries.iter().filter(is_in).map(|entry| entry.id).collect();
        Some(Self {
            id,
            group,
            groups,
            capabilities: unit.capabilities(id == 0),
            is_service: true,
            has_own_tmp: unit.is_on("PrivateTmp"),
            writable: unit.writable(),
            given: unit.given(),
        })
    }

    /// The service's, or that of whoever asks.
    pub fn of_reader(host: &Host) -> Self {
        Self::of_service(host).unwrap_or_else(|| Self::of_process(host))
    }

    fn of_process(host: &Host) -> Self {
        let status = host.proc("self/status").unwrap_or_default();
        let bits = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
        let bits = bits.unwrap_or(0);
        let held = CAPABILITIES.iter().filter(|(number, _)| bits >> number & 1 == 1);
        Self {
            id: rustix::process::geteuid().as_raw(),
            group: rustix::process::getegid().as_raw(),
            groups: rustix::process::getgroups().unwrap_or_default().iter().map(|group| group.as_raw()).collect(),
            capabilities: held.map(|(_, name)| (*name).to_owned()).collect(),
            is_service: false,
            has_own_tmp: false,
            writable: None,
            given: Vec::new(),
        }
    }

    /// Whether it is in a group.
    pub fn is_in(&self, group: u32) -> bool {
        self.group == group || self.groups.contains(&group)
    }

    /// Whether one of its groups lies between two numbers.
    pub fn has_group_from(&self, low: u32, high: u32) -> bool {
        [self.group].iter().chain(&self.groups).any(|group| (low..=high).contains(group))
    }

    /// Whether it has a capability.
    pub fn is_capable_of(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|held| held == capability)
    }

    /// Whether a path leads it to another place than everybody else.
    pub fn sees_another(&self, path: &Path) -> bool {
        self.has_own_tmp && (path.starts_with("/tmp") || path.starts_with("/var/tmp"))
    }

    /// Whether its unit lets it write nothing there, whatever the modes are.
    pub fn is_shut_out_of(&self, path: &Path) -> bool {
        let real = path.canonicalize();
        let is_below =
            |folder: &PathBuf| path.starts_with(folder) || real.as_ref().is_ok_and(|real| real.starts_with(folder));
        self.writable.as_ref().is_some_and(|writable| !writable.iter().any(is_below))
    }

    /// Whether systemd makes a path, or what it lies in, and gives it to the account.
    pub fn is_given(&self, path: &Path) -> bool {
        self.given.iter().any(|folder| path.starts_with(folder))
    }

    /// The part of a path, or the path, that keeps it from being read by the modes; nothing where lists of access say more.
    pub fn is_kept_from(&self, path: &Path) -> Option<PathBuf> {
        self.kept_from(path, READ)
    }

    /// The same for changing a file, talking to a socket, or making files in a folder.
    pub fn is_kept_from_writing(&self, path: &Path) -> Option<PathBuf> {
        self.kept_from(path, WRITE)
    }

    fn kept_from(&self, path: &Path, wanted: u32) -> Option<PathBuf> {
        let folders = path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
        let mut parts: Vec<(&Path, u32)> = folders.map(|folder| (folder, SEARCH)).collect();
        parts.reverse();
        parts.push((path, if path.is_dir() { wanted | SEARCH } else { wanted }));
        let kept = |(part, wanted): &(&Path, u32)| {
            std::fs::metadata(part).is_ok_and(|facts| !self.may(&facts, *wanted)) && !has_access_list(part)
        };
        parts.iter().find(|part| kept(part)).map(|(part, _)| (*part).to_owned())
    }

    fn may(&self, facts: &Metadata, wanted: u32) -> bool {
        let shift = match () {
            () if self.id == 0 => return true,
            () if self.id == facts.uid() => 6,
            () if self.is_in(facts.gid()) => 3,
            () => 0,
        };
        facts.mode() >> shift & wanted == wanted
    }
}

/// `outpost:x:999:998:…`
fn user_and_group(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let mut fields = passwd.lines().find(|line| line.split(':').next() == Some(name))?.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn has_access_list(path: &Path) -> bool {
    rustix::fs::getxattr(path, "system.posix_acl_access", &mut [0_u8; 0][..]).is_ok_and(|length| length > 0)
}

/// `docker:x:997:alice,bob`
struct GroupEntry {
    name: String,
    id: u32,
    members: Vec<String>,
}

fn group_entries(host: &Host) -> Vec<GroupEntry> {
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let id = fields.nth(1)?.parse().ok()?;
        Some(GroupEntry { name, id, members: fields.next().unwrap_or("").split(',').map(str::to_owned).collect() })
    };
    host.root("/etc/group").unwrap_or_default().lines().filter_map(entry).collect()
}

/// The name of a group.
pub fn group_name(host: &Host, id: u32) -> Option<String> {
    group_entries(host).into_iter().find(|entry| entry.id == id).map(|entry| entry.name)
}

/// The name of a user.
pub fn user_name(host: &Host, id: u32) -> Option<String> {
    let passwd = host.root("/etc/passwd")?;
    let mut names = passwd.lines().filter_map(|line| line.split(':').next());
    names.find(|name| user_and_group(&passwd, name).is_some_and(|(user, _)| user == id)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::host::tests::made;
    use super::super::unit::PACKAGED_UNIT;
    use super::*;

    #[test]
    fn paths_are_judged_by_modes() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        std::fs::create_dir_all(at("a/b")).unwrap();
        std::fs::write(at("a/b/x.prom"), "").unwrap();
        let gid = std::fs::metadata(at("a")).unwrap().gid();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let passwd = ("etc/passwd", "outpost:x:4000:4001::/:/bin/false\n");
        let group = format!("made:x:{gid}:outpost\n");
        let (_stranger, stranger) = made(&[passwd]);
        let (_member, member) = made(&[passwd, ("etc/group", &group)]);
        let root = ("etc/systemd/system/outpost.service.d/x.conf", "[Service]\nUser=root\n");
        let (_root, root) = made(&[passwd, root]);
        let open = [0o755, 0o755, 0o644];
        for (host, modes, blocked) in [
            (&stranger, open, None),
            (&stranger, [0o754, 0o755, 0o644], Some("a")),
            (&stranger, [0o755, 0o750, 0o644], Some("a/b")),
            (&stranger, [0o755, 0o751, 0o640], Some("a/b/x.prom")),
            (&member, [0o750, 0o750, 0o640], None),
            (&member, [0o750, 0o750, 0o604], Some("a/b/x.prom")),
            (&root, [0o700, 0o700, 0o600], None),
        ] {
            for (path, mode) in ["a", "a/b", "a/b/x.prom"].iter().zip(modes) {
                std::fs::set_permissions(at(path), PermissionsExt::from_mode(mode)).unwrap();
            }
            let account = Account::of_service(host).unwrap();
            assert_eq!(account.is_kept_from(&at("a/b/x.prom")), blocked.map(at), "{modes:?}");
        }
    }

    #[test]
    fn what_the_unit_gives_is_told_as_systemd_reads_it() {
        const OWN: &str = include_str!("../../../systemd/outpost.service");
        let own = ("usr/lib/systemd/system/outpost.service", OWN);
        let passwd = ("etc/passwd", "outpost:x:4000:4001::/:/bin/false\n");
        let group = ("etc/group", "disk:x:6:\n");
        let drop_in = |text: &'static str| ("etc/systemd/system/outpost.service.d/50-a.conf", text);
        let later = |text: &'static str| ("etc/systemd/system/outpost.service.d/60-b.conf", text);
        let unit = |text: &'static str| ("etc/systemd/system/outpost.service", text);
        const GIVES: &str = "[Service]\nAmbientCapabilities=CAP_SYS_RAWIO\nSupplementaryGroups=disk\n";
        // Whether it may ask the disks, is in their group, and has a /tmp of its own.
        for (files, expected) in [
            (&[own][..], [false, false, true]),
            (&[], [false, false, true]),
            // Of users of its own, the capability is none over the machine's.
            (&[own, drop_in(GIVES)], [false, true, true]),
            (&[drop_in(GIVES)], [false, true, true]),
            (&[own, drop_in(GIVES), later("PrivateUsers=no\n")], [true, true, true]),
            (&[own, later(GIVES), drop_in("PrivateUsers = false\nPrivateTmp=no")], [true, true, false]),
            (
                &[own, drop_in(GIVES), later("PrivateUsers=no\nAmbientCapabilities=\nSupplementaryGroups=")],
                [false, false, true],
            ),
            (&[own, drop_in("User=root\nPrivateUsers=no\n")], [false, false, true]),
            (&[own, drop_in("User=root\nPrivateUsers=no\nCapabilityBoundingSet=CAP_SYS_RAWIO")], [true, false, true]),
            // From the own unit's empty set there is nothing to take away.
            (&[own, drop_in("User=root\nPrivateUsers=no\nCapabilityBoundingSet=~CAP_NET_RAW")], [false, false, true]),
            (&[own, drop_in("User=root\nPrivateUsers=no\nCapabilityBoundingSet=~")], [true, false, true]),
            (&[own, drop_in("User=root\nPrivateUsers=no\n"), later("User=outpost")], [false, false, true]),
            // A unit of one's own has nothing of the packages'.
            (&[own, unit("[Service]\nUser=root\n")], [true, false, false]),
            (&[unit("[Service]\nUser=root\nCapabilityBoundingSet=~CAP_NET_RAW\n")], [true, false, false]),
            (&[unit("[Service]\nUser=root\nCapabilityBoundingSet=~CAP_SYS_RAWIO\n")], [false, false, false]),
            (&[own, unit(GIVES)], [true, true, false]),
        ] {
            let files: Vec<(&str, &str)> = files.iter().copied().chain([passwd, group]).collect();
            let (_folder, host) = made(&files);
            let account = Account::of_service(&host).unwrap();
            let found = [
                account.is_capable_of("CAP_SYS_RAWIO"),
                account.is_in(6),
                account.sees_another(Path::new("/var/tmp/x")),
            ];
            assert_eq!(found, expected, "{files:?}");
        }
        assert!(PACKAGED_UNIT.lines().all(|line| OWN.lines().any(|own| own == line)), "{PACKAGED_UNIT}");
    }
}
