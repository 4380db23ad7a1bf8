//! Radios: their frequencies, networks and stations, through nl80211; by setting. Source of the numbers:
//! include/uapi/linux/nl80211.h of the kernel.

use std::io;

use rustix::io::Errno;

use super::super::page::Page;
use super::host::{Host, NodeError};
use super::netlink::{Answer, Netlink, attributes};
use crate::model::MetricType::{self, Counter, Gauge};
use crate::model::hexadecimal;

const FAMILY: &str = "nl80211";
/// Where the radios are. Without one, the kernel is not asked: it would look for a module of the family's name each time.
const RADIOS: &str = "class/ieee80211";
const GET_INTERFACE: u8 = 5;
const GET_STATION: u8 = 17;
const GET_SCAN: u8 = 32;

/// Attributes of messages.
const INDEX: u16 = 3;
const NAME: u16 = 4;
const ADDRESS: u16 = 6;
const STATION: u16 = 21;
const FREQUENCY: u16 = 38;
const NETWORK: u16 = 47;
/// Attributes of a network.
const NETWORK_ADDRESS: u16 = 1;
const ELEMENTS: u16 = 6;
const STATUS: u16 = 9;
/// Attributes of a bit rate, in units of 100 kbit/s: the second may have more.
const RATE: u16 = 1;
const LONG_RATE: u16 = 5;
/// The element of a beacon that is the network's name.
const NETWORK_NAME: u8 = 0;

/// Stations that are shown of an interface; more are left out.
const STATIONS_MAX: usize = 1000;

/// How a figure stands in the attributes of a station.
enum Figure {
    /// A number, and what it is multiplied by.
    Number(u16, f64),
    /// A number of 64 bits or, without it, one of 32.
    Bytes(u16, u16),
    /// Attributes of their own.
    Rate(u16),
    /// A signed byte.
    Signal(u16),
}

const FIGURES: [(&str, MetricType, Figure, &str); 12] = [
    ("connected_seconds_total", Counter, Figure::Number(16, 1.0), "How long a station is connected."),
    ("inactive_seconds", Gauge, Figure::Number(1, 1e-3), "Time since a station was last heard of."),
    ("receive_bits_per_second", Gauge, Figure::Rate(14), "Bit rate of what a station receives."),
    ("transmit_bits_per_second", Gauge, Figure::Rate(8), "Bit rate of what a station sends."),
    ("receive_bytes_total", Counter, Figure::Bytes(23, 2), "Bytes received."),
    ("transmit_bytes_total", Counter, Figure::Bytes(24, 3), "Bytes sent."),
    ("signal_dbm", Gauge, Figure::Signal(7), "Strength of the signal in dBm."),
    ("transmit_retries_total", Counter, Figure::Number(11, 1.0), "Packets sent again."),
    ("transmit_failed_total", Counter, Figure::Number(12, 1.0), "Packets that could not be sent."),
    ("beacon_loss_total", Counter, Figure::Number(18, 1.0), "Beacons that were missed."),
    ("transmitted_packets_total", Counter, Figure::Number(10, 1.0), "Packets sent."),
    ("received_packets_total", Counter, Figure::Number(9, 1.0), "Packets received."),
];

/// A radio's interface, and what is known of it.
#[derive(Debug, Default)]
struct Interface {
    name: String,
    index: Vec<u8>,
    hertz: f64,
    network: Option<Network>,
    stations: Vec<Station>,
}

/// The network that an interface is in.
#[derive(Debug, Default)]
struct Network {
    address: String,
    name: String,
    mode: &'static str,
}

/// Who is at the other end.
#[derive(Debug)]
struct Station {
    address: String,
    figures: [f64; FIGURES.len()],
}

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    collect_through(Netlink::open, host, page)
}

fn collect_through(
    open: impl FnOnce() -> io::Result<Netlink>,
    host: &Host,
    page: &mut Page<'_>,
) -> Result<(), NodeError> {
    if host.sys_names(RADIOS).is_empty() {
        return Err(NodeError::Nothing);
    }
    let told = |error: io::Error| NodeError::Unanswered { path: FAMILY.into(), reason: error.to_string() };
    let mut kernel = open().map_err(refused)?;
    let family = match kernel.family(FAMILY) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(NodeError::Nothing),
        family => family.map_err(told)?,
    };
    let found = kernel.ask(family, GET_INTERFACE, true, &[]).map_err(told)?;
    let mut interfaces: Vec<Interface> = found.iter().filter_map(|message| parse_interface(message)).collect();
    for interface in &mut interfaces {
        // Not every kind of interface has a network or stations.
        let own = [(INDEX, interface.index.as_slice())];
        let networks = or_nothing(kernel.ask(family, GET_SCAN, true, &own), &interface.name);
        interface.network = networks.iter().find_map(|message| parse_network(message));
        let stations = or_nothing(kernel.ask(family, GET_STATION, true, &own), &interface.name);
        interface.stations = stations.iter().filter_map(|message| parse_station(message)).take(STATIONS_MAX).collect();
    }
    write(page, &interfaces);
    Ok(())
}

/// Why there is no socket, and the way out where the service's own unit keeps it away.
fn refused(error: io::Error) -> NodeError {
    let way_out = match Errno::from_io_error(&error) {
        Some(Errno::AFNOSUPPORT | Errno::PERM) => {
            "; a systemd unit that keeps netlink away allows it by RestrictAddressFamilies=AF_NETLINK in a drop-in, see \
             docs/this-host.md"
        }
        _ => "",
    };
    NodeError::Unanswered { path: FAMILY.into(), reason: format!("no netlink socket: {error}{way_out}") }
}

/// An answer, or none: quietly where an interface has gone, is off, or is of a kind that has none.
fn or_nothing(answer: io::Result<Vec<Vec<u8>>>, device: &str) -> Vec<Vec<u8>> {
    answer.unwrap_or_else(|error| {
        if !is_nothing(&error) {
            tracing::debug!(device, %error, "the kernel did not answer about a radio's interface");
        }
        Vec::new()
    })
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::OPNOTSUPP | Errno::NOENT | Errno::NODEV | Errno::NETDOWN | Errno::INVAL)
    )
}

/// The page of one part of an answer, whose messages are taken for everything that they may be.
pub(super) fn write_answer(page: &mut Page<'_>, part: &[u8]) {
    let mut answer = Answer::default();
    // What was read before a mistake stays.
    let _ = answer.read(part, 1);
    let interface_of = |message: &Vec<u8>| Interface {
        network: parse_network(message),
        stations: parse_station(message).into_iter().collect(),
        ..parse_interface(message).unwrap_or_default()
    };
    let mut interfaces: Vec<Interface> = answer.messages.iter().map(interface_of).collect();
    // All are parsed, but two of one name would be one series twice.
    interfaces.truncate(1);
    write(page, &interfaces);
}

/// `None` for a device without a name, which some virtual ones are.
fn parse_interface(message: &[u8]) -> Option<Interface> {
    let mut interface = Interface::default();
    for (kind, value) in attributes(message) {
        match kind {
            INDEX => interface.index = value.to_vec(),
            NAME => {
                let name = value.split(|byte| *byte == 0).next().unwrap_or_default();
                interface.name = String::from_utf8_lossy(name).into_owned();
            }
            FREQUENCY => interface.hertz = number(value).unwrap_or(0.0) * 1e6,
            _ => {}
        }
    }
    (!interface.name.is_empty()).then_some(interface)
}

/// The network of a message, if it is the one that the interface is in: the others have no status.
fn parse_network(message: &[u8]) -> Option<Network> {
    let (_, inner) = attributes(message).find(|(kind, _)| *kind == NETWORK)?;
    let (_, status) = attributes(inner).find(|(kind, _)| *kind == STATUS)?;
    let mode = match number(status)? as u32 {
        0 | 1 => "client",
        2 => "ad-hoc",
        _ => "unknown",
    };
    let mut network = Network { mode, ..Network::default() };
    for (kind, value) in attributes(inner) {
        match kind {
            NETWORK_ADDRESS => network.address = address(value),
            ELEMENTS => network.name = network_name(value).unwrap_or_default(),
            _ => {}
        }
    }
    Some(network)
}

/// Elements have a byte that says which they are, and one that says how long.
fn network_name(mut elements: &[u8]) -> Option<String> {
    loop {
        let ([kind, len], rest) = elements.split_first_chunk::<2>()?;
        let (value, rest) = rest.split_at_checked(usize::from(*len))?;
        if *kind == NETWORK_NAME {
            return Some(String::from_utf8_lossy(value).into_owned());
        }
        elements = rest;
    }
}

fn parse_station(message: &[u8]) -> Option<Station> {
    let (_, inner) = attributes(message).find(|(kind, _)| *kind == STATION)?;
    let value_of = |wanted: u16| attributes(inner).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let number_of = |kind| value_of(kind).and_then(number);
    let rate_of = |kind| {
        let of_rate =
            |wanted| attributes(value_of(kind)?).find(|(kind, _)| *kind == wanted).and_then(|it| number(it.1));
        of_rate(LONG_RATE).or_else(|| of_rate(RATE))
    };
    let figures = FIGURES.each_ref().map(|(_, _, figure, _)| match figure {
        Figure::Number(kind, factor) => number_of(*kind).map(|value| value * factor),
        Figure::Bytes(long, short) => number_of(*long).or_else(|| number_of(*short)),
        Figure::Rate(kind) => rate_of(*kind).map(|rate| rate * 1e5),
        Figure::Signal(kind) => value_of(*kind).and_then(|value| Some(f64::from(*value.first()? as i8))),
    });
    let (_, mac) = attributes(message).find(|(kind, _)| *kind == ADDRESS)?;
    // What a driver does not say counts as nothing.
    Some(Station { address: address(mac), figures: figures.map(Option::unwrap_or_default) })
}

fn number(value: &[u8]) -> Option<f64> {
    Some(match value.len() {
        1 => f64::from(value[0]),
        2 => f64::from(u16::from_ne_bytes(value.try_into().ok()?)),
        4 => f64::from(u32::from_ne_bytes(value.try_into().ok()?)),
        8 => u64::from_ne_bytes(value.try_into().ok()?) as f64,
        _ => return None,
    })
}

fn address(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| hexadecimal(&[*byte])).collect::<Vec<_>>().join(":")
}

fn write(page: &mut Page<'_>, interfaces: &[Interface]) {
    let mut family = page.family("node_wifi_interface_frequency_hertz", Gauge, "The frequency of an interface.");
    for interface in interfaces {
        family.sample(&[("device", &interface.name)], interface.hertz);
    }
    let mut family = page.family("node_wifi_station_info", Gauge, "The network that an interface is in.");
    for interface in interfaces {
        let Some(network) = &interface.network else { continue };
        let (address, name) = (network.address.as_str(), network.name.as_str());
        let labels = [("device", interface.name.as_str()), ("bssid", address), ("ssid", name), ("mode", network.mode)];
        family.sample(&labels, 1.0);
    }
    for (index, (name, metric_type, _, help)) in FIGURES.iter().enumerate() {
        let mut family = page.family_of(&["node_wifi_station_", name], *metric_type, help);
        for interface in interfaces {
            for station in &interface.stations {
                let labels = [("device", interface.name.as_str()), ("mac_address", &station.address)];
                family.sample(&labels, station.figures[index]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::NodeCollectorSettings;
    use super::super::netlink::push_attribute;
    use super::*;
    use crate::clock::Clock;
    use crate::model::Timestamp;

    #[test]
    fn the_kernel_is_asked_only_where_there_is_a_radio() {
        let sys = tempfile::tempdir().expect("a folder");
        let settings = NodeCollectorSettings { sysfs: sys.path().to_owned(), ..NodeCollectorSettings::default() };
        let host = Host::new(settings, Clock::manual(Timestamp(0)));
        let collect_without = |errno: Errno| {
            let outcome = collect_through(|| Err(errno.into()), &host, &mut Page::new(&mut Vec::new()));
            outcome.expect_err("no socket").to_string()
        };
        assert_eq!(collect_without(Errno::AFNOSUPPORT), NodeError::Nothing.to_string());
        std::fs::create_dir_all(sys.path().join(RADIOS).join("phy0")).expect("a radio");
        for (errno, has_way_out) in [(Errno::AFNOSUPPORT, true), (Errno::PERM, true), (Errno::MFILE, false)] {
            let told = collect_without(errno);
            assert!(told.starts_with("nl80211: no netlink socket: "), "{told}");
            assert_eq!(told.contains("RestrictAddressFamilies=AF_NETLINK"), has_way_out, "{told}");
        }
    }

    #[test]
    fn what_an_interface_does_not_have() {
        for (errno, expected) in [
            (Errno::OPNOTSUPP, true),
            (Errno::NOENT, true),
            (Errno::NODEV, true),
            (Errno::NETDOWN, true),
            (Errno::INVAL, true),
            (Errno::NOMEM, false),
            (Errno::BUSY, false),
        ] {
            assert_eq!(is_nothing(&errno.into()), expected, "{errno}");
        }
        assert!(!is_nothing(&io::ErrorKind::TimedOut.into()));
    }

    /// Messages made by hand after nl80211.h: no radio was there to record any. Values are those of node_exporter's test.
    fn message(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = Vec::new();
        for (kind, value) in attributes {
            push_attribute(&mut message, *kind, value);
        }
        message
    }

    fn network(status: Option<u32>) -> Vec<u8> {
        let elements = [&[1, 2, 0x82, 0x84, 0, 7][..], b"Example"].concat();
        let status = status.map(u32::to_ne_bytes);
        let mut inner: Vec<(u16, &[u8])> = vec![(1, &[0, 0x11, 0x22, 0x33, 0x44, 0x55]), (6, &elements)];
        inner.extend(status.as_ref().map(|status| (9, &status[..])));
        message(&[(3, &[1, 0, 0, 0]), (47 | 0x8000, &message(&inner))])
    }

    fn station() -> Vec<u8> {
        let numbers: [(u16, u32); 8] = [(16, 30), (1, 400), (11, 10), (12, 2), (18, 1), (2, 7), (3, 8), (9, 5)];
        let numbers = numbers.map(|(kind, value)| (kind, value.to_ne_bytes()));
        let (bytes, signal) = ((1_u64 << 40).to_ne_bytes(), (-52_i8).to_ne_bytes());
        let long = message(&[(1, &0_u16.to_ne_bytes()), (5, &1280_u32.to_ne_bytes())]);
        let short = message(&[(1, &1640_u16.to_ne_bytes())]);
        let mut inner: Vec<(u16, &[u8])> = numbers.iter().map(|(kind, value)| (*kind, &value[..])).collect();
        inner.extend([(23, &bytes[..]), (7, &signal), (14, &long), (8, &short)]);
        message(&[(6, &[0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff]), (21, &message(&inner))])
    }

    #[test]
    fn messages_become_a_page() {
        let interface = message(&[(3, &[1, 0, 0, 0]), (4, b"wlan0\0"), (38, &2412_u32.to_ne_bytes())]);
        let interface = Interface {
            network: [network(None), network(Some(1))].iter().find_map(|message| parse_network(message)),
            stations: vec![parse_station(&station()).expect("a station")],
            ..parse_interface(&interface).expect("an interface")
        };
        let mut bytes = Vec::new();
        write(&mut Page::new(&mut bytes), &[interface]);
        let page = String::from_utf8(bytes).expect("text");
        let samples: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = r#"node_wifi_interface_frequency_hertz{device="wlan0"} 2412000000
node_wifi_station_info{device="wlan0",bssid="00:11:22:33:44:55",ssid="Example",mode="client"} 1
node_wifi_station_connected_seconds_total{device="wlan0",mac_address="aa:bb:cc:dd:ee:ff"} 30
node_wifi_station_inactive_seconds{device="wlan0",mac_address="aa:bb:cc:dd:ee:ff"} 0.4
node_wifi_station_receive_bits_per_second{device="wlan0",mac_address="aa:bb:cc:dd:ee:ff"} 128000000
node_wifi_station_transmit_bits_per_second{device="wlan0",mac_address="aa:bb:cc:dd:ee:ff"} 164000000
node_wifi_station_receive_bytes_total{device="wlan0",mac_address="aa:bb:cc:dd:ee:ff"} 1099511627776
node_wifi_station_transmit_bytes_total{device="wlan0",mac_address="aa:bb:cc:dd:ee:ff"} 8
node_wifi_station_signal_dbm{device="wlan0",mac_address="aa:bb:cc:dd:ee:ff"} -52
node_wifi_station_transmit_retries_total{device="wlan0",mac_address="aa:bb:cc:dd:ee:ff"} 10
node_wifi_station_transmit_failed_total{device="wlan0",mac_address="aa:bb:cc:dd:ee:ff"} 2
node_wifi_station_beacon_loss_total{device="wlan0",mac_address="aa:bb:cc:dd:ee:ff"} 1
node_wifi_station_transmitted_packets_total{device="wlan0",mac_address="aa:bb:cc:dd:ee:ff"} 0
node_wifi_station_received_packets_total{device="wlan0",mac_address="aa:bb:cc:dd:ee:ff"} 5"#;
        assert_eq!(samples, expected.lines().collect::<Vec<_>>());
        assert_eq!(page.matches(" counter\n").count(), 8);
    }

    #[test]
    fn what_is_no_network_or_station() {
        assert!(parse_interface(&message(&[(3, &[1, 0, 0, 0])])).is_none());
        assert!(parse_network(&network(None)).is_none());
        for (status, mode) in [(0, "client"), (2, "ad-hoc"), (7, "unknown")] {
            assert_eq!(parse_network(&network(Some(status))).expect("a status").mode, mode);
        }
        let whole = station();
        for len in 0..whole.len() {
            let _ = parse_station(&whole[..len]);
        }
        assert!(parse_station(&whole[..12]).is_none());
    }
}
