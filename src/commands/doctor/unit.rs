//! What systemd gives the service: its unit and drop-ins, read as systemd reads them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::host::Host;
use super::service::words;

/// Numbers of capabilities(7) that are looked for.
pub const CAPABILITIES: [(u32, &str); 3] = [(10, "CAP_NET_BIND_SERVICE"), (13, "CAP_NET_RAW"), (17, "CAP_SYS_RAWIO")];

/// The service's unit and its drop-ins, as texts in the order in which systemd reads them.
pub struct Unit(Vec<String>);

/// Where the unit is: the first one counts.
const UNIT_FOLDERS: [&str; 3] = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// What counts of the packages' own unit where that is not to be seen, as from within a container.
pub const PACKAGED_UNIT: &str =
    "CapabilityBoundingSet=\nPrivateUsers=yes\nPrivateTmp=yes\nProtectSystem=strict\nStateDirectory=outpost\n";

/// The drop-in with these lines, as a command that writes it and has it read.
pub fn drop_in(name: &str, lines: &str) -> String {
    let folder = "/etc/systemd/system/outpost.service.d";
    format!(
        "sudo mkdir -p {folder} && printf '[Service]\\n{lines}' | sudo tee {folder}/{name}.conf && sudo systemctl \
         daemon-reload && sudo systemctl restart outpost"
    )
}

impl Unit {
    pub fn read(host: &Host) -> Self {
        let own = UNIT_FOLDERS.iter().find_map(|folder| host.root(&format!("{folder}/outpost.service")));
        let mut texts = vec![own.unwrap_or_else(|| PACKAGED_UNIT.to_owned())];
        texts.extend(host.texts_in("/etc/systemd/system/outpost.service.d"));
        Self(texts)
    }

    fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        let lines = self.0.iter().flat_map(|text| text.lines());
        lines.filter_map(move |line| Some(line.trim().strip_prefix(key)?.trim_start().strip_prefix('=')?.trim()))
    }

    /// The last value counts.
    pub fn last(&self, key: &str) -> Option<String> {
        self.values(key).last().map(str::to_owned)
    }

    /// Words add up, and nothing takes away what was there. `None` where the key is not there.
    pub fn list(&self, key: &str) -> Option<Vec<String>> {
        self.values(key).fold(None, |all, value| {
            let before = all.filter(|_| !value.is_empty()).unwrap_or_default();
            Some(before.into_iter().chain(words(value)).collect())
        })
    }

    pub fn is_on(&self, key: &str) -> bool {
        !matches!(self.last(key).as_deref(), None | Some("" | "no" | "false" | "off" | "0"))
    }

    /// Where it may write, if not everywhere that modes allow.
    pub fn writable(&self) -> Option<Vec<PathBuf>> {
        let paths = self.list("ReadWritePaths").unwrap_or_default().into_iter();
        // A `-` before a path is for one that may be missing, a `+` for one below the service's own root.
        let paths = paths.map(|path| PathBuf::from(path.trim_start_matches(['-', '+'])));
        (self.last("ProtectSystem").as_deref() == Some("strict")).then(|| paths.chain(self.given()).collect())
    }

    pub fn given(&self) -> Vec<PathBuf> {
        let names = self.list("StateDirectory").unwrap_or_default();
        names.iter().map(|name| Path::new("/var/lib").join(name)).collect()
    }

    /// Root has what the unit leaves it, others what it gives them. In users of its own neither holds for the machine's
    /// disks and sockets.
    pub fn capabilities(&self, is_root: bool) -> Vec<String> {
        if self.is_on("PrivateUsers") {
            return Vec::new();
        }
        let (key, usual) = if is_root { ("CapabilityBoundingSet", true) } else { ("AmbientCapabilities", false) };
        let set = CapabilitySet::read(self.values(key), usual);
        CAPABILITIES.iter().map(|(_, name)| (*name).to_owned()).filter(|name| set.has(name)).collect()
    }
}

/// Capabilities by name, as the lines of a unit add them up.
#[derive(PartialEq)]
struct CapabilitySet {
    /// Whether the names are those that are missing.
    is_inverted: bool,
    names: BTreeSet<String>,
}

impl CapabilitySet {
    /// Lines add to those before, with a `~` take away from them. An empty one, and the first one that says more than what
    /// holds without it, replace all (systemd, config_parse_capability_set).
    fn read<'a>(lines: impl Iterator<Item = &'a str>, usual: bool) -> Self {
        let usual = || Self { is_inverted: usual, names: BTreeSet::new() };
        lines.fold(usual(), |before, line| {
            let (is_inverted, words) = line.strip_prefix('~').map_or((false, line), |words| (true, words));
            let names: BTreeSet<String> = words.split_whitespace().map(str::to_uppercase).collect();
            if names.is_empty() || before == usual() {
                Self { is_inverted, names }
            } else {
                before.merge(is_inverted, names)
            }
        })
    }

    fn merge(self, takes_away: bool, names: BTreeSet<String>) -> Self {
        let names = match self.is_inverted == takes_away {
            true => &self.names | &names,
            false => &self.names - &names,
        };
        Self { names, ..self }
    }

    fn has(&self, name: &str) -> bool {
        self.names.contains(name) != self.is_inverted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_capabilities_add_up() {
        for (usual, lines, expected) in [
            (true, &[][..], true),
            (true, &[""], false),
            (true, &["CAP_NET_RAW"], true),
            (true, &["CAP_KILL"], false),
            (true, &["~CAP_NET_RAW"], false),
            (true, &["~CAP_KILL CAP_CHOWN"], true),
            (true, &["~cap_kill cap_net_raw"], false),
            (true, &["~CAP_KILL", "~CAP_NET_RAW"], false),
            (true, &["~CAP_KILL", "CAP_NET_RAW"], true),
            (true, &["~CAP_NET_RAW", "CAP_NET_RAW CAP_KILL"], true),
            (true, &["CAP_KILL CAP_NET_RAW", "~CAP_NET_RAW"], false),
            (true, &["CAP_KILL", "~CAP_NET_RAW"], false),
            (true, &["CAP_KILL", "CAP_NET_RAW"], true),
            (true, &["CAP_NET_RAW", ""], false),
            (true, &["", "~"], true),
            (true, &["CAP_KILL", "~"], true),
            (true, &["~", "CAP_KILL"], false),
            (false, &[], false),
            (false, &["CAP_NET_RAW"], true),
            (false, &["~CAP_KILL"], true),
            (false, &["CAP_NET_RAW CAP_KILL", "~CAP_NET_RAW"], false),
            (false, &["CAP_NET_RAW", "~CAP_NET_RAW", "~CAP_KILL"], true),
        ] {
            let set = CapabilitySet::read(lines.iter().copied(), usual);
            assert_eq!(set.has("CAP_NET_RAW"), expected, "{usual} {lines:?}");
        }
    }
}
