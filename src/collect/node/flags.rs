//! node_exporter's flags: which collectors run, what they include and exclude.
//!
//! They are taken as they stand in a command line of node_exporter, so that one can be carried over. The configuration is
//! checked when it is read; a flag that is not known is refused there with the known ones of its collector.

use std::collections::BTreeMap;

use super::{SUBSYSTEMS, Usually};
use crate::model::SearchRegex;

/// The flags of the collectors, behind `--collector.`: name, and what its value is. A `regex` may match anywhere, a `whole`
/// one has to match the whole.
const KNOWN: &str = "\
arp.device-exclude regex
arp.device-include regex
bcache.priorityStats switch
cpu.guest switch
diskstats.device-exclude regex
diskstats.device-include regex
ethtool.device-exclude regex
ethtool.device-include regex
ethtool.metrics-include regex
filesystem.fs-types-exclude regex
filesystem.fs-types-include regex
filesystem.mount-points-exclude regex
filesystem.mount-points-include regex
hwmon.chip-exclude regex
hwmon.chip-include regex
hwmon.sensor-exclude regex
hwmon.sensor-include regex
infiniband.device-exclude regex
infiniband.device-include regex
interrupts.include-zeros switch
interrupts.name-exclude regex
interrupts.name-include regex
ipvs.backend-labels text
netclass.ignore-invalid-speed switch
netclass.ignored-devices regex
netdev.device-exclude regex
netdev.device-include regex
netstat.fields regex
powersupply.ignored-supplies regex
rapl.enable-zone-label switch
stat.softirq switch
systemd.enable-restarts-metrics switch
systemd.enable-start-time-metrics switch
systemd.enable-task-metrics switch
systemd.unit-exclude whole
systemd.unit-include whole
tapestats.ignored-devices regex
textfile.directory folders
vmstat.fields regex";

/// Collectors of node_exporter 1.11 that are not here. To switch one off asks for nothing that is not so.
const ABSENT: &str = "bcachefs buddyinfo cgroups cpu_vulnerabilities drbd drm ksmd lnstat logind meminfo_numa mountstats network_route \
                      ntp pcidevice perf qdisc runit slabinfo supervisord swap sysctl tcpstat xfrm zoneinfo";

/// What is wrong with a folder that does not begin at the root.
pub const RELATIVE_FOLDER: &str =
    "names a folder from wherever outpost is started; write its whole path, from the first `/` on";

/// Switches whose being off is all that there is here.
const ALWAYS_OFF: [&str; 5] = ["arp.netlink", "cpu.info", "netclass.netlink", "netdev.address-info", "netdev.netlink"];

/// Flags as they were written, known and valid.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeFlags(Vec<String>);

impl NodeFlags {
    /// The folders of text files, which may be patterns.
    pub fn text_folders(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|flag| flag.strip_prefix("--collector.textfile.directory="))
    }

    /// Checks flags. Each mistake comes with the flag's position, and names the flag and the way out.
    pub fn parse(flags: Vec<String>) -> Result<Self, Vec<(usize, String)>> {
        let mut parsed = Flags::default();
        let mut mistakes: Vec<(usize, String)> = Vec::new();
        for (index, flag) in flags.iter().enumerate() {
            let checked = parsed.set(flag).and_then(|()| parsed.check_pairs());
            // A pair of flags is told once, with the second one.
            let news = checked.err().filter(|message| mistakes.iter().all(|(_, known)| known != message));
            mistakes.extend(news.map(|message| (index, message)));
        }
        if mistakes.is_empty() { Ok(Self(flags)) } else { Err(mistakes) }
    }

    /// The flags as they were written.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

/// What the flags ask for.
#[derive(Default)]
pub struct Flags {
    /// `--collector.X` and `--no-collector.X`.
    chosen: BTreeMap<String, bool>,
    are_defaults_off: bool,
    patterns: BTreeMap<String, SearchRegex>,
    switches: BTreeMap<String, bool>,
    texts: BTreeMap<String, Vec<String>>,
}

impl Flags {
    /// What checked flags ask for.
    pub fn new(flags: &NodeFlags) -> Self {
        let mut parsed = Self::default();
        for flag in &flags.0 {
            parsed.set(flag).expect("the flags were checked");
        }
        parsed
    }

    /// Whether a collector runs.
    pub fn runs(&self, collector: &str, usually: Usually) -> bool {
        let by_default = usually == Usually::Runs && !self.are_defaults_off;
        self.chosen.get(collector).copied().unwrap_or(by_default)
    }

    /// Whether a collector was switched on by name.
    pub fn is_chosen(&self, collector: &str) -> bool {
        self.chosen.get(collector) == Some(&true)
    }

    /// Whether something is shown: by `include` and `exclude`, or, where neither is set, as `usual` says.
    pub fn shows(&self, include: &str, exclude: &str, text: &str, usual: impl FnOnce() -> bool) -> bool {
        match (self.patterns.get(include), self.patterns.get(exclude)) {
            (None, None) => usual(),
            (include, exclude) => {
                include.is_none_or(|pattern| pattern.is_match(text))
                    && !exclude.is_some_and(|pattern| pattern.is_match(text))
            }
        }
    }

    /// Whether a pattern was set.
    pub fn has(&self, pattern: &str) -> bool {
        self.patterns.contains_key(pattern)
    }

    /// A switch; `usual` where it is not set.
    pub fn is_on(&self, name: &str, usual: bool) -> bool {
        self.switches.get(name).copied().unwrap_or(usual)
    }

    /// All values of a flag.
    pub fn texts(&self, name: &str) -> &[String] {
        self.texts.get(name).map_or(&[], Vec::as_slice)
    }

    fn set(&mut self, flag: &str) -> Result<(), String> {
        let (is_on, rest) = match (flag.strip_prefix("--collector."), flag.strip_prefix("--no-collector.")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => {
                return Err(format!(
                    "{flag:?} is not taken; flags begin with --collector. or --no-collector., and paths have keys of their \
                     own: procfs, sysfs, rootfs"
                ));
            }
        };
        let (name, value) = rest.split_once('=').map_or((rest, None), |(name, value)| (name, Some(value)));
        if name == "disable-defaults" && value.is_none() && is_on {
            self.are_defaults_off = true;
            return Ok(());
        }
        if SUBSYSTEMS.iter().any(|(known, ..)| *known == name) && value.is_none() {
            self.chosen.insert(name.to_owned(), is_on);
            return Ok(());
        }
        if !is_on && value.is_none() && (is_absent(name) || ALWAYS_OFF.contains(&name)) {
            return Ok(());
        }
        match (kind_of(name), value, is_on) {
            (Some("regex"), Some(value), true) => {
                let pattern = SearchRegex::new(value).map_err(|error| format!("{flag:?}: {error}"))?;
                self.patterns.insert(name.to_owned(), pattern);
            }
            (Some("whole"), Some(value), true) => {
                let pattern =
                    SearchRegex::new(&format!("^(?:{value})$")).map_err(|error| format!("{flag:?}: {error}"))?;
                self.patterns.insert(name.to_owned(), pattern);
            }
            (Some("switch"), None, _) => drop(self.switches.insert(name.to_owned(), is_on)),
            (Some("text"), Some(value), true) => drop(self.texts.insert(name.to_owned(), vec![value.to_owned()])),
            (Some("folders"), Some(value), true) => {
                if !value.starts_with('/') {
                    return Err(format!("{flag:?} {RELATIVE_FOLDER}"));
                }
                self.texts.entry(name.to_owned()).or_default().push(value.to_owned());
            }
            (Some("switch"), Some(_), _) => {
                return Err(format!("{flag:?} takes no value; its opposite is --no-collector.{name}"));
            }
            (Some(_), _, _) => return Err(format!("{flag:?} needs a value: --collector.{name}=…")),
            (None, ..) => return Err(unknown(flag, name)),
        }
        Ok(())
    }

    /// As in node_exporter, one of the two says it all. For units both may be given.
    fn check_pairs(&self) -> Result<(), String> {
        for exclude in self.patterns.keys() {
            let include = exclude.replace("-exclude", "-include");
            let may_both = exclude.starts_with("systemd.");
            if include != *exclude && self.patterns.contains_key(&include) && !may_both {
                return Err(format!("--collector.{exclude} and --collector.{include} exclude each other; keep one"));
            }
        }
        Ok(())
    }
}

fn kind_of(name: &str) -> Option<&'static str> {
    KNOWN.lines().filter_map(|line| line.split_once(' ')).find(|(known, _)| *known == name).map(|(_, kind)| kind)
}

fn is_absent(collector: &str) -> bool {
    ABSENT.split(' ').any(|absent| absent == collector)
}

fn unknown(flag: &str, name: &str) -> String {
    let collector = name.split('.').next().unwrap_or(name);
    if is_absent(collector) {
        return format!(
            "{flag:?} cannot be taken: there is no {collector} here, unlike in node_exporter; leave the flag out"
        );
    }
    let has_collector = SUBSYSTEMS.iter().any(|(known, ..)| *known == collector);
    let of_collector = |known: &str| known.split('.').next() == Some(collector);
    let flags: Vec<&str> =
        KNOWN.lines().filter_map(|line| line.split(' ').next()).filter(|known| of_collector(known)).collect();
    match (has_collector, flags.is_empty()) {
        (_, false) => format!("{flag:?} is not known; known for {collector} are {}", flags.join(", ")),
        (true, true) => {
            format!("{flag:?} is not known; {collector} can be switched on and off and has no further flags")
        }
        (false, true) => {
            let names: Vec<&str> = SUBSYSTEMS.iter().map(|(known, ..)| *known).collect();
            format!("{flag:?} names no collector; known are {}", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[&str]) -> Result<NodeFlags, Vec<(usize, String)>> {
        NodeFlags::parse(flags.iter().map(|flag| (*flag).to_owned()).collect())
    }

    #[test]
    fn flags_that_cannot_be_taken_say_why() {
        let cases: [(&[&str], &str); 15] = [
            (&["--web.listen-address=:9100"], "paths have keys of their own"),
            (&["--collector.nosuch"], "names no collector; known are arp, bcache,"),
            (&["--no-collector.nosuch"], "names no collector; known are arp, bcache,"),
            (&["--collector.ntp"], "there is no ntp here, unlike in node_exporter; leave the flag out"),
            (&["--collector.ntp.server=a"], "there is no ntp here, unlike in node_exporter; leave the flag out"),
            (&["--collector.netdev.netlink"], "known for netdev are netdev.device-exclude, netdev.device-include"),
            (&["--collector.netdev.nosuch=x"], "known for netdev are netdev.device-exclude, netdev.device-include"),
            (&["--collector.loadavg.nosuch"], "has no further flags"),
            (&["--collector.netdev.device-exclude"], "needs a value"),
            (&["--no-collector.cpu.guest=1"], "takes no value"),
            (&["--collector.textfile.directory=text/files"], "write its whole path"),
            (&["--collector.netdev.device-exclude=("], "--collector.netdev.device-exclude=("),
            (&["--collector.netdev.device-exclude=a", "--collector.netdev.device-include=b"], "exclude each other"),
            (
                &["--collector.filesystem.mount-points-include=a", "--collector.filesystem.mount-points-exclude=b"],
                "filesystem.mount-points-include exclude each other",
            ),
            (
                &["--collector.filesystem.fs-types-exclude=a", "--collector.filesystem.fs-types-include=b"],
                "filesystem.fs-types-include exclude each other",
            ),
        ];
        for (flags, expected) in cases {
            let refused = parse(flags).expect_err("refused");
            let [(index, message)] = &refused[..] else { panic!("{flags:?}: {refused:?}") };
            assert!(message.contains(expected) && *index == flags.len() - 1, "{flags:?}: {refused:?}");
        }
        let flags =
            ["--a", "--collector.arp.device-exclude=a", "--collector.arp.device-include=b", "--collector.cpu=1"];
        let indices: Vec<usize> = parse(&flags).expect_err("refused").into_iter().map(|(index, _)| index).collect();
        assert_eq!(indices, [0, 2, 3], "each mistake once, at its flag");
    }

    #[test]
    fn what_is_not_here_may_be_switched_off() {
        for flag in ["--no-collector.bcachefs", "--no-collector.zoneinfo", "--no-collector.netdev.netlink"] {
            let flags = parse(&[flag]).expect(flag);
            assert_eq!(flags.as_slice(), [flag]);
            assert!(Flags::new(&flags).runs("netdev", Usually::Runs), "{flag}");
        }
        let ours = |name: &str| SUBSYSTEMS.iter().any(|(known, ..)| *known == name);
        assert!(!ABSENT.split(' ').any(ours) && !ALWAYS_OFF.iter().any(|name| kind_of(name).is_some()));
    }

    #[test]
    fn flags_choose_collectors_and_devices() {
        let flags = parse(&["--collector.interrupts", "--no-collector.arp", "--collector.netdev.device-exclude=^veth"]);
        let flags = Flags::new(&flags.expect("valid"));
        assert!(flags.runs("interrupts", Usually::Rests) && !flags.runs("softirqs", Usually::Rests));
        assert!(!flags.runs("arp", Usually::Runs) && flags.runs("cpu", Usually::Runs));
        let shown = |device: &str| flags.shows("netdev.device-include", "netdev.device-exclude", device, || false);
        assert!(shown("eth0") && !shown("veth1"));
        let only = Flags::new(&parse(&["--collector.disable-defaults", "--collector.cpu"]).expect("valid"));
        assert!(only.runs("cpu", Usually::Runs) && !only.runs("arp", Usually::Runs));
    }
}
