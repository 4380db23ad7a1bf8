//! Protocol counters: `/proc/net/netstat`, `/proc/net/snmp`, `/proc/net/snmp6`.

use super::super::page::Page;
use super::host::{Host, NodeError};
use crate::model::MetricType::Unknown;

/// node_exporter's default selection: protocol, and the fields shown of it. Errors of input are shown of all protocols.
/// Looked up some four hundred times a collection.
const WANTED: [(&str, &[&str]); 9] = [
    ("IpExt", &["InOctets", "OutOctets"]),
    ("Ip6", &["InOctets", "OutOctets"]),
    ("Ip", &["Forwarding"]),
    ("Icmp", &["InMsgs", "OutMsgs"]),
    ("Icmp6", &["InMsgs", "OutMsgs"]),
    ("TcpExt", &["TCPSynRetrans", "TCPTimeouts", "TCPOFOQueue", "TCPRcvQDrop"]),
    ("Tcp", &["ActiveOpens", "InSegs", "OutSegs", "OutRsts", "PassiveOpens", "RetransSegs", "CurrEstab"]),
    ("Udp", &["InDatagrams", "OutDatagrams", "NoPorts", "RcvbufErrors", "SndbufErrors"]),
    ("Udp6", &["InDatagrams", "OutDatagrams", "NoPorts", "RcvbufErrors", "SndbufErrors"]),
];

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    write_pairs(host, page, &host.proc("net/netstat")?);
    write_pairs(host, page, &host.proc("net/snmp")?);
    if let Ok(text) = host.proc("net/snmp6") {
        write_snmp6(host, page, &text);
    }
    Ok(())
}

/// A line of names, then a line of values, each behind `Protocol:`.
fn write_pairs(host: &Host, page: &mut Page<'_>, text: &str) {
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let (Some((protocol, names)), Some((_, values))) = (names.split_once(':'), values.split_once(':')) else {
            continue;
        };
        let wanted = wanted_of(protocol);
        for (field, value) in names.split_ascii_whitespace().zip(values.split_ascii_whitespace()) {
            write(host, page, (protocol, wanted), field, value);
        }
    }
}

/// `Ip6InReceives 17`: the protocol is part of the name.
fn write_snmp6(host: &Host, page: &mut Page<'_>, text: &str) {
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(value)) = (words.next(), words.next()) else { continue };
        if let Some((protocol, field)) = name.find('6').map(|at| name.split_at(at + 1)) {
            write(host, page, (protocol, wanted_of(protocol)), field, value);
        }
    }
}

fn write(host: &Host, page: &mut Page<'_>, (protocol, wanted): (&str, &[&str]), field: &str, value: &str) {
    let usual = || is_wanted(protocol, wanted, field);
    // Only patterns need the two as one word, and there they may be told from one another by nothing else.
    let is_shown = match host.flags().has("netstat.fields") {
        true => host.flags().shows("netstat.fields", "", &format!("{protocol}_{field}"), usual),
        false => usual(),
    };
    if let Some(value) = is_shown.then(|| value.parse().ok()).flatten() {
        let name = ["node_netstat_", protocol, "_", field];
        page.family_of(&name, Unknown, "Protocol counter of the kernel.").sample(&[], value);
    }
}

/// The fields wanted of a protocol.
fn wanted_of(protocol: &str) -> &'static [&'static str] {
    WANTED.iter().find(|(known, _)| *known == protocol).map_or(&[], |(_, fields)| fields)
}

fn is_wanted(protocol: &str, wanted: &[&str], field: &str) -> bool {
    let is_pressed = || protocol == "TcpExt" && (field.starts_with("Listen") || field.starts_with("Syncookies"));
    matches!(field, "InErrors" | "InErrs") || wanted.contains(&field) || is_pressed()
}

#[cfg(test)]
mod tests {
    #[test]
    fn selection() {
        let cases = [
            ("Udp", "InErrors", true),
            ("Tcp", "InErrs", true),
            ("TcpExt", "ListenDrops", true),
            ("TcpExt", "SyncookiesSent", true),
            ("IpExt", "InOctets", true),
            ("Ip", "Forwarding", true),
            ("Ip", "InOctets", false),
            ("TcpExt", "TCPHPHits", false),
            ("Tcp", "Listen", false),
        ];
        for (protocol, field, expected) in cases {
            assert_eq!(super::is_wanted(protocol, super::wanted_of(protocol), field), expected, "{protocol} {field}");
        }
    }
}
