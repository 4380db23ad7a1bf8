//! The account that the service runs as, and what its unit was given beside the packages' own.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::host::Host;

/// The account that the packages make.
pub const SERVICE_USER: &str = "outpost";

/// Whoever is to read and ask: the service's account, or this process's own.
pub struct Account {
    pub id: u32,
    group: u32,
    /// Further groups by number.
    groups: Vec<u32>,
    /// Capabilities, as `CAP_NET_RAW`, by the unit's drop-ins or of this process.
    capabilities: Vec<String>,
    pub is_service: bool,
}

/// Bits of a mode.
pub const READ: u32 = 0o4;
const SEARCH: u32 = 0o1;

/// Numbers of capabilities(7) that are looked for.
const CAPABILITIES: [(u32, &str); 2] = [(13, "CAP_NET_RAW"), (17, "CAP_SYS_RAWIO")];

impl Account {
    /// The service's; `None` where no package has made it.
    pub fn of_service(host: &Host) -> Option<Self> {
        // `outpost:x:999:998:…`
        let passwd = host.root("/etc/passwd")?;
        let mut fields = passwd.lines().find(|line| line.split(':').next() == Some(SERVICE_USER))?.split(':').skip(2);
        let (id, group) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        // The packages' own unit, elsewhere, gives nothing.
        let mut units = host.texts_in("/etc/systemd/system/outpost.service.d");
        units.extend(host.root("/etc/systemd/system/outpost.service"));
        let words = |key: &str| -> Vec<String> {
            let lines = units.iter().flat_map(|text| text.lines());
            let values = lines.filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='));
            values.flat_map(|value| value.split_whitespace().map(str::to_owned)).collect()
        };
        let is_root = words("User").iter().any(|user| user == "root");
        // Root has what the unit leaves it, others what it gives them.
        let capabilities = words(if is_root { "CapabilityBoundingSet" } else { "AmbientCapabilities" });
        let id = if is_root { 0 } else { id };
        let named = words("SupplementaryGroups");
        let is_in = |entry: &GroupEntry| {
            named.contains(&entry.name) || entry.members.iter().any(|member| member == SERVICE_USER)
        };
        let groups = group_entries(host).into_iter().filter(is_in).map(|entry| entry.id).collect();
        Some(Self { id, group, groups, capabilities, is_service: true })
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

    /// The part of a path, or the path, that keeps it from being read by the modes; nothing where lists of access say more.
    pub fn is_kept_from(&self, path: &Path) -> Option<PathBuf> {
        let folders = path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
        let mut parts: Vec<(&Path, u32)> = folders.map(|folder| (folder, SEARCH)).collect();
        parts.reverse();
        parts.push((path, if path.is_dir() { READ | SEARCH } else { READ }));
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

#[cfg(test)]
mod tests {
    use super::super::host::tests::made;
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
}
