//! What drivers of network devices say of links, of themselves and of their own counters; by setting. Source of the
//! numbers: include/uapi/linux/ethtool.h of the kernel.

use std::collections::BTreeMap;
use std::io;

use rustix::io::Errno;

use super::super::page::Page;
use super::ethtool_socket::EthtoolSocket;
use super::host::{Host, NodeError};
use crate::model::MetricType::{self, Gauge};

const INCLUDE: &str = "ethtool.device-include";
const EXCLUDE: &str = "ethtool.device-exclude";
const METRICS: &str = "ethtool.metrics-include";

/// Counters of a device; one with more shows none.
const STATISTICS_MAX: usize = 8192;
const NAME_BYTES: usize = 32;
/// The longest answer: the names of all counters.
const ANSWER_BYTES_MAX: usize = 12 + NAME_BYTES * STATISTICS_MAX;

/// Commands, and the set of strings that are names of counters.
const GET_OLD_SETTINGS: u32 = 0x1;
const GET_DRIVER: u32 = 0x3;
const GET_STRINGS: u32 = 0x1b;
const GET_STATISTICS: u32 = 0x1d;
const GET_LINK_SETTINGS: u32 = 0x4c;
const STATISTICS: u32 = 1;

const DRIVER_BYTES: usize = 196;
const SETTINGS_BYTES: usize = 48;
const OLD_SETTINGS_BYTES: usize = 44;
/// Texts of a driver: label, and where its 32 bytes begin.
const DRIVER_TEXTS: [(&str, usize); 5] =
    [("driver", 4), ("version", 36), ("firmware_version", 68), ("bus_info", 100), ("expansion_rom_version", 132)];

/// Bits of a link's modes: ports, and what is no speed.
const PORTS: [(usize, &str); 6] = [(7, "TP"), (8, "AUI"), (9, "MII"), (10, "FIBRE"), (11, "BNC"), (16, "Backplane")];
const AUTONEGOTIATION: usize = 6;
const PAUSE: usize = 13;
const ASYMMETRIC_PAUSE: usize = 14;
/// Bit and mode, of full duplex where nothing else is said.
const MODES: &str = "\
0 10baseT/half 1 10baseT 2 100baseT/half 3 100baseT 4 1000baseT/half 5 1000baseT 12 10000baseT 15 2500baseX 17 1000baseKX
18 10000baseKX4 19 10000baseKR 20 10000baseR_FEC 21 20000baseMLD2 22 20000baseKR2 23 40000baseKR4 24 40000baseCR4
25 40000baseSR4 26 40000baseLR4 27 56000baseKR4 28 56000baseCR4 29 56000baseSR4 30 56000baseLR4 31 25000baseCR
32 25000baseKR 33 25000baseSR 34 50000baseCR2 35 50000baseKR2 36 100000baseKR4 37 100000baseSR4 38 100000baseCR4
39 100000baseR4_ER4 40 50000baseSR2 41 1000baseX 42 10000baseCR 43 10000baseSR 44 10000baseLR 45 10000baseLRM
46 10000baseER 47 2500baseT 48 5000baseT 52 50000baseKR 53 50000baseSR 54 50000baseCR 55 50000baseLR_ER_FR
56 50000baseDR 57 100000baseKR2 58 100000baseSR2 59 100000baseCR2 60 100000baseLR2_ER2_FR2 61 100000baseDR2
62 200000baseKR4 63 200000baseSR4 64 200000baseLR4_ER4_FR4 65 200000baseDR4 66 200000baseCR4 67 100baseT1
68 1000baseT1 69 400000baseKR8 70 400000baseSR8 71 400000baseLR8_ER8_FR8 72 400000baseDR8 73 400000baseCR8
75 100000baseKR 76 100000baseSR 77 100000baseLR_ER_FR 78 100000baseCR 79 100000baseDR 80 200000baseKR2
81 200000baseSR2 82 200000baseLR2_ER2_FR2 83 200000baseDR2 84 200000baseCR2 85 400000baseKR4 86 400000baseSR4
87 400000baseLR4_ER4_FR4 88 400000baseDR4 89 400000baseCR4 90 100baseFX/half 91 100baseFX";

/// Counters that have a name of their own.
const RENAMED: [(&str, &str, &str); 7] = [
    ("rx_bytes", "received_bytes_total", "Bytes received."),
    ("rx_dropped", "received_dropped_total", "Frames received and dropped."),
    ("rx_errors", "received_errors_total", "Frames received with errors."),
    ("rx_packets", "received_packets_total", "Packets received."),
    ("tx_bytes", "transmitted_bytes_total", "Bytes sent."),
    ("tx_errors", "transmitted_errors_total", "Frames sent with errors."),
    ("tx_packets", "transmitted_packets_total", "Packets sent."),
];

/// Asks a driver: the question, and the length of the answer.
type Ask<'a> = dyn FnMut(&[u8], usize) -> Option<Vec<u8>> + 'a;

/// What a driver tells of its device.
#[derive(Debug, Default)]
struct Device {
    name: String,
    link: Option<Link>,
    driver: Option<[String; 5]>,
    statistics: Vec<(String, u64)>,
}

#[derive(Debug)]
struct Link {
    supported: Modes,
    advertised: Modes,
    autonegotiates: bool,
}

/// Bits in words of 32.
#[derive(Debug)]
struct Modes(Vec<u32>);

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let path = host.sys_path("class/net");
    let told = |reason: String| NodeError::Unanswered { path: path.clone(), reason };
    let devices = host.sys_folders("class/net")?;
    if devices.is_empty() {
        return Err(told("there is no network device".to_owned()));
    }
    let mut socket = EthtoolSocket::open(ANSWER_BYTES_MAX).map_err(|error| told(error.to_string()))?;
    let shown = devices.into_iter().filter(|(name, _)| host.flags().shows(INCLUDE, EXCLUDE, name, || true));
    let mut tally = Tally::default();
    let mut ask = |device: &str, question: &[u8], len| tally.count(socket.ask(device, question, len));
    let devices: Vec<Device> =
        shown.map(|(name, _)| read_device(&name, &mut |question, len| ask(&name, question, len))).collect();
    if let Some(errno) = tally.failure() {
        return Err(told(format!("no driver answers: {}", io::Error::from(errno))));
    }
    write(page, &devices, &|metric| host.flags().shows(METRICS, "", metric, || true));
    Ok(())
}

/// How drivers answered.
#[derive(Default)]
struct Tally {
    is_answered: bool,
    refusal: Option<Errno>,
}

impl Tally {
    fn count(&mut self, answer: Result<Vec<u8>, Errno>) -> Option<Vec<u8>> {
        match &answer {
            Ok(_) => self.is_answered = true,
            // A driver that has no such answer, and a device that has gone.
            Err(Errno::OPNOTSUPP | Errno::NODEV) => {}
            Err(errno) => self.refusal = Some(*errno),
        }
        answer.ok()
    }

    /// Why nothing was answered, unless there was nothing to answer.
    fn failure(&self) -> Option<Errno> {
        self.refusal.filter(|_| !self.is_answered)
    }
}

/// The page of one device whose driver answers every question with the same bytes.
pub(super) fn write_answer(page: &mut Page<'_>, answer: &[u8]) {
    let device = read_device("eth0", &mut |_, len| answer.get(..len).map(<[u8]>::to_vec));
    write(page, &[device], &|_| true);
}

fn read_device(name: &str, ask: &mut Ask<'_>) -> Device {
    let link = read_link(ask).or_else(|| read_old_link(ask));
    let driver = ask(&words(&[GET_DRIVER]), DRIVER_BYTES);
    let count = driver.as_ref().and_then(|answer| word(answer, 180)).unwrap_or(0);
    let statistics = read_statistics(ask, count).unwrap_or_default();
    let driver = driver.map(|answer| DRIVER_TEXTS.map(|(_, at)| text(answer.get(at..at + 32).unwrap_or_default())));
    Device { name: name.to_owned(), link, driver, statistics }
}

/// The first answer says how many words the modes have, by a negative number; the second has them.
fn read_link(ask: &mut Ask<'_>) -> Option<Link> {
    let question = words(&[GET_LINK_SETTINGS]);
    let wanted = i8::from_ne_bytes([*ask(&question, SETTINGS_BYTES)?.get(15)?]);
    let count = usize::try_from(-i16::from(wanted)).ok().filter(|count| *count > 0)?;
    let mut question = [question, vec![0; SETTINGS_BYTES - 4]].concat();
    question[15] = count as u8;
    let answer = ask(&question, SETTINGS_BYTES + 3 * 4 * count)?;
    let modes = |index: usize| {
        let first = SETTINGS_BYTES + 4 * count * index;
        (0..count).map(|at| word(&answer, first + 4 * at)).collect::<Option<_>>().map(Modes)
    };
    Some(Link { supported: modes(0)?, advertised: modes(1)?, autonegotiates: *answer.get(11)? == 1 })
}

/// The answer of drivers that know nothing newer, which kernels up to 4.19 do not translate.
fn read_old_link(ask: &mut Ask<'_>) -> Option<Link> {
    let mut question = words(&[GET_OLD_SETTINGS]);
    question.resize(OLD_SETTINGS_BYTES, 0);
    let answer = ask(&question, OLD_SETTINGS_BYTES)?;
    let modes = |at| Some(Modes(vec![word(&answer, at)?]));
    Some(Link { supported: modes(4)?, advertised: modes(8)?, autonegotiates: *answer.get(18)? == 1 })
}

/// Names and numbers are two answers: where a device has got others in between, they do not belong together.
fn read_statistics(ask: &mut Ask<'_>, count: u32) -> Option<Vec<(String, u64)>> {
    let len = usize::try_from(count).ok().filter(|len| (1..=STATISTICS_MAX).contains(len))?;
    let names = ask(&words(&[GET_STRINGS, STATISTICS, count]), 12 + NAME_BYTES * len)?;
    let numbers = ask(&words(&[GET_STATISTICS, count]), 8 + 8 * len)?;
    if word(&names, 8)? != count || word(&numbers, 4)? != count {
        return None;
    }
    let names = names.get(12..)?.chunks_exact(NAME_BYTES).map(text);
    let numbers = numbers.get(8..)?.as_chunks::<8>().0.iter().map(|bytes| u64::from_ne_bytes(*bytes));
    Some(names.zip(numbers).collect())
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Up to the first zero.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

impl Modes {
    fn has(&self, bit: usize) -> bool {
        self.0.get(bit / 32).is_some_and(|word| word >> (bit % 32) & 1 == 1)
    }
}

fn write(page: &mut Page<'_>, devices: &[Device], is_wanted: &dyn Fn(&str) -> bool) {
    write_links(page, devices);
    let mut family = page.family("node_ethtool_info", Gauge, "The driver of a network device.");
    for device in devices {
        let Some(texts) = &device.driver else { continue };
        let texts = DRIVER_TEXTS.iter().zip(texts).map(|((label, _), text)| (*label, text.as_str()));
        family.sample_of(&mut texts.chain([("device", device.name.as_str())]), 1.0);
    }
    write_statistics(page, devices, is_wanted);
}

fn write_links(page: &mut Page<'_>, devices: &[Device]) {
    type ModesOf = fn(&Link) -> &Modes;
    let kinds: [(&str, ModesOf); 2] = [("supported", |link| &link.supported), ("advertised", |link| &link.advertised)];
    let links = || devices.iter().filter_map(|device| Some((device.name.as_str(), device.link.as_ref()?)));
    let mut family = page.family("node_network_supported_port_info", Gauge, "Kinds of ports that a device has.");
    for (device, link) in links() {
        for (_, port) in PORTS.iter().filter(|(bit, _)| link.supported.has(*bit)) {
            family.sample(&[("device", device), ("type", port)], 1.0);
        }
    }
    let modes: Vec<Mode> = modes().collect();
    for (kind, modes_of) in kinds {
        let name = ["node_network_", kind, "_speed_bytes"];
        let mut family = page.family_of(&name, Gauge, "Speeds of a link in bytes per second, by mode.");
        for (device, link) in links() {
            for mode in modes.iter().filter(|mode| modes_of(link).has(mode.bit)) {
                let labels = [("device", device), ("duplex", mode.duplex), ("mode", mode.name)];
                family.sample(&labels, mode.megabits * 125_000.0);
            }
        }
    }
    for (feature, bit) in [("autonegotiate", AUTONEGOTIATION), ("pause", PAUSE), ("asymmetricpause", ASYMMETRIC_PAUSE)]
    {
        for (kind, modes_of) in kinds {
            let name = ["node_network_", feature, "_", kind];
            let mut family = page.family_of(&name, Gauge, "Whether a device does so.");
            for (device, link) in links() {
                family.sample(&[("device", device)], f64::from(u8::from(modes_of(link).has(bit))));
            }
        }
    }
    let mut family = page.family("node_network_autonegotiate", Gauge, "Whether the mode of a link was negotiated.");
    for (device, link) in links() {
        family.sample(&[("device", device)], f64::from(u8::from(link.autonegotiates)));
    }
}

struct Mode {
    bit: usize,
    name: &'static str,
    duplex: &'static str,
    megabits: f64,
}

fn modes() -> impl Iterator<Item = Mode> {
    let mut words = MODES.split_whitespace();
    std::iter::from_fn(move || {
        let bit = words.next()?.parse().ok()?;
        let mode = words.next()?;
        let (name, duplex) = mode.split_once('/').unwrap_or((mode, "full"));
        Some(Mode { bit, name, duplex, megabits: name.split("base").next()?.parse().ok()? })
    })
}

fn write_statistics(page: &mut Page<'_>, devices: &[Device], is_wanted: &dyn Fn(&str) -> bool) {
    let mut families = BTreeMap::new();
    for device in devices {
        for (name, (metric, value)) in unambiguous(&device.statistics, is_wanted) {
            let renamed = RENAMED.iter().find(|(known, ..)| *known == metric);
            let (name, help) = match renamed {
                Some((_, name, help)) => ((*name).to_owned(), (*help).to_owned()),
                None => (name, format!("The driver's {metric}.")),
            };
            let (_, samples): &mut (_, Vec<(&str, u64)>) = families.entry(name).or_insert((help, Vec::new()));
            // A driver may use the very name that another counter was given.
            if samples.last().is_none_or(|(last, _)| *last != device.name) {
                samples.push((&device.name, value));
            }
        }
    }
    for (name, (help, samples)) in &families {
        let mut family = page.family_of(&["node_ethtool_", name], MetricType::Unknown, help);
        for (device, value) in samples {
            family.sample(&[("device", device)], *value as f64);
        }
    }
}

/// The counters of a device by the end of their family's name. Of those that would have the same one, none is shown.
fn unambiguous(statistics: &[(String, u64)], is_wanted: &dyn Fn(&str) -> bool) -> BTreeMap<String, (String, u64)> {
    // A driver that says a name twice means the last one.
    let by_raw_name: BTreeMap<&str, u64> = statistics.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let mut by_name: BTreeMap<String, Option<(String, u64)>> = BTreeMap::new();
    for (raw, value) in by_raw_name {
        let metric = sanitized(raw);
        if is_wanted(&metric) {
            let found = Some((metric.clone(), value));
            by_name.entry(family_name(&metric)).and_modify(|known| *known = None).or_insert(found);
        }
    }
    by_name.into_iter().filter(|(name, _)| !name.is_empty()).filter_map(|(name, found)| Some((name, found?))).collect()
}

/// Each run of what may not stand in a name is one underscore, together with those around it.
fn sanitized(raw: &str) -> String {
    let mut name = String::new();
    let mut rest = raw;
    while let Some(first) = rest.chars().next() {
        let behind = rest.trim_start_matches('_');
        let after = behind.trim_start_matches(|char: char| !char.is_ascii_alphanumeric() && char != '_');
        if after.len() < behind.len() {
            name.push('_');
            rest = after.trim_start_matches('_');
        } else {
            name.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    name
}

fn family_name(metric: &str) -> String {
    let lower = metric.to_ascii_lowercase();
    let name = with_word(lower.trim_start_matches('_'), "rx", "received");
    with_word(&name, "tx", "transmitted")
}

/// Replaces a word between underscores; right behind a replaced one it stays, whose underscore counts as that one's.
fn with_word(name: &str, word: &str, new: &str) -> String {
    let mut is_free = true;
    let words = name.split('_').map(|part| {
        let is_replaced = is_free && part == word;
        is_free = !is_replaced;
        if is_replaced { new } else { part }
    });
    words.collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_counters() {
        let cases = [
            ("port.rx_errors", "port_received_errors"),
            ("rx_errors", "received_errors"),
            ("Queue[0] AllocFails", "queue_0_allocfails"),
            ("Tx LPI entry count", "transmitted_lpi_entry_count"),
            ("port.VF_admin_queue_requests", "port_vf_admin_queue_requests"),
            ("[3]: tx_bytes", "3_transmitted_bytes"),
            ("     err", "err"),
            ("a__.__b__c", "a_b__c"),
            ("rx_rx_tx_tx", "received_rx_transmitted_tx"),
            ("rxq.é", "rxq_"),
            ("...", ""),
        ];
        for (raw, expected) in cases {
            assert_eq!(family_name(&sanitized(raw)), expected, "{raw}");
        }
    }

    #[test]
    fn counters_of_one_name_are_left_out() {
        let statistics = ["duplicate metric", "duplicate_metric", "Duplicate.metric", "b", "rx_bytes", "b"];
        let statistics: Vec<_> = statistics.iter().zip(1..).map(|(name, value)| ((*name).to_owned(), value)).collect();
        let found = unambiguous(&statistics, &|metric| metric != "rx_bytes");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [("b".to_owned(), ("b".to_owned(), 6))]);
    }

    /// Answers as the kernel lays them out, of the device that node_exporter's own test has.
    fn answers(question: &[u8], len: usize) -> Option<Vec<u8>> {
        let statistics: [(&str, u64); 6] = [
            ("tx_packets_total", 7),
            ("tx_packets", 961_500),
            ("rx_errors", 0),
            ("port.rx_dropped", 12_028),
            ("duplicate metric", 1),
            ("duplicate_metric", 2),
        ];
        let padded = |text: &str| [text.as_bytes(), &vec![0; 32 - text.len()]].concat();
        let answer = match (word(question, 0)?, question.get(15)) {
            (GET_LINK_SETTINGS, None | Some(0)) => {
                [&words(&[GET_LINK_SETTINGS])[..], &[0; 11], &[0xfd], &[0; 32]].concat()
            }
            (GET_LINK_SETTINGS, Some(3)) => {
                // 10 to 1000 and 2500baseT, TP, MII, autonegotiation, pause; of three words each.
                let supported = [0x22ef, 1 << 15, 0];
                let advertised = [0x602f, 0, 0];
                let head = [&words(&[GET_LINK_SETTINGS, 1000])[..], &[1, 0, 0, 1, 0, 0, 0, 3], &[0; 32]].concat();
                [head, words(&supported), words(&advertised), words(&[0; 3])].concat()
            }
            (GET_DRIVER, _) => {
                let texts = ["e1000e", "5.11.0-22-generic", "0.5-4", "0000:00:1f.6", ""].map(padded).concat();
                let tail = words(&[0, statistics.len() as u32, 0, 0, 0]);
                [words(&[GET_DRIVER]), texts, vec![0; 12], tail].concat()
            }
            (GET_STRINGS, _) => {
                let names: Vec<u8> = statistics.iter().flat_map(|(name, _)| padded(name)).collect();
                [words(&[GET_STRINGS, STATISTICS, statistics.len() as u32]), names].concat()
            }
            (GET_STATISTICS, _) => {
                let numbers: Vec<u8> = statistics.iter().flat_map(|(_, value)| value.to_ne_bytes()).collect();
                [words(&[GET_STATISTICS, statistics.len() as u32]), numbers].concat()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(answer.len(), len);
        Some(answer)
    }

    #[test]
    fn a_driver_s_answers_become_a_page() {
        let mut bytes = Vec::new();
        let silent = read_device("lo", &mut |_, _| None);
        write(&mut Page::new(&mut bytes), &[read_device("eth0", &mut answers), silent], &|_| true);
        let page = String::from_utf8(bytes).expect("text");
        let samples: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = r#"node_network_supported_port_info{device="eth0",type="TP"} 1
node_network_supported_port_info{device="eth0",type="MII"} 1
node_network_supported_speed_bytes{device="eth0",duplex="half",mode="10baseT"} 1250000
node_network_supported_speed_bytes{device="eth0",duplex="full",mode="10baseT"} 1250000
node_network_supported_speed_bytes{device="eth0",duplex="half",mode="100baseT"} 12500000
node_network_supported_speed_bytes{device="eth0",duplex="full",mode="100baseT"} 12500000
node_network_supported_speed_bytes{device="eth0",duplex="full",mode="1000baseT"} 125000000
node_network_supported_speed_bytes{device="eth0",duplex="full",mode="2500baseT"} 312500000
node_network_advertised_speed_bytes{device="eth0",duplex="half",mode="10baseT"} 1250000
node_network_advertised_speed_bytes{device="eth0",duplex="full",mode="10baseT"} 1250000
node_network_advertised_speed_bytes{device="eth0",duplex="half",mode="100baseT"} 12500000
node_network_advertised_speed_bytes{device="eth0",duplex="full",mode="100baseT"} 12500000
node_network_advertised_speed_bytes{device="eth0",duplex="full",mode="1000baseT"} 125000000
node_network_autonegotiate_supported{device="eth0"} 1
node_network_autonegotiate_advertised{device="eth0"} 0
node_network_pause_supported{device="eth0"} 1
node_network_pause_advertised{device="eth0"} 1
node_network_asymmetricpause_supported{device="eth0"} 0
node_network_asymmetricpause_advertised{device="eth0"} 1
node_network_autonegotiate{device="eth0"} 1
node_ethtool_info{driver="e1000e",version="5.11.0-22-generic",firmware_version="0.5-4",bus_info="0000:00:1f.6",expansion_rom_version="",device="eth0"} 1
node_ethtool_port_received_dropped{device="eth0"} 12028
node_ethtool_received_errors_total{device="eth0"} 0
node_ethtool_transmitted_packets_total{device="eth0"} 961500"#;
        assert_eq!(samples, expected.lines().collect::<Vec<_>>());
        assert!(page.contains("# TYPE node_ethtool_port_received_dropped untyped\n"));
        assert!(modes().count() > 70 && modes().all(|mode| mode.megabits >= 10.0));
    }

    /// The 44 bytes of a struct ethtool_cmd: 10 to 1000baseT, TP, MII, autonegotiation; speed 1000, full, autonegotiating.
    #[test]
    fn a_driver_that_knows_the_old_question_alone() {
        let head = [words(&[GET_OLD_SETTINGS, 0x02ef, 0x002f]), vec![0xe8, 0x03, 1, 0, 1, 0, 1, 0]].concat();
        let answer = [head, vec![0; 24]].concat();
        let mut ask = |question: &[u8], len: usize| {
            let is_old = word(question, 0) == Some(GET_OLD_SETTINGS) && (question.len(), len) == (44, 44);
            is_old.then(|| answer.clone())
        };
        let link = read_device("eth0", &mut ask).link.expect("an answer");
        assert_eq!((link.supported.0, link.advertised.0, link.autonegotiates), (vec![0x02ef], vec![0x002f], true));
        // A device that has the new answer is asked for that alone.
        let link = read_device("eth0", &mut answers).link.expect("an answer");
        assert_eq!(link.supported.0, [0x22ef, 1 << 15, 0]);
    }

    #[test]
    fn silence_has_a_reason() {
        let (answer, absent, gone, refused) = (Ok(vec![1]), Err(Errno::OPNOTSUPP), Err(Errno::NODEV), Err(Errno::PERM));
        for (answers, expected) in [
            (vec![], None),
            (vec![absent.clone(), gone.clone()], None),
            (vec![absent, refused.clone(), gone], Some(Errno::PERM)),
            (vec![refused, answer], None),
        ] {
            let mut tally = Tally::default();
            for answer in &answers {
                tally.count(answer.clone());
            }
            assert_eq!(tally.failure(), expected, "{answers:?}");
        }
    }

    #[test]
    fn answers_that_do_not_belong_together() {
        // The count of names is another one than the count of numbers.
        let mut ask = |question: &[u8], len: usize| {
            let mut answer = answers(question, len)?;
            if word(question, 0) == Some(GET_STATISTICS) {
                answer[4..8].copy_from_slice(&7_u32.to_ne_bytes());
            }
            Some(answer)
        };
        assert!(read_device("eth0", &mut ask).statistics.is_empty());
        for len in 0..260 {
            let mut bytes = Vec::new();
            write_answer(&mut Page::new(&mut bytes), &vec![0xff; len]);
        }
    }
}
