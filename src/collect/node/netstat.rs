//! Protocol counters: `/proc/net/netstat`, `/proc/net/snmp`, `/proc/net/snmp6`.

use super::super::page::Page;
use super::host::{Host, NodeError};

/// node_exporter's default selection: protocol, and the fields shown of it.
const WANTED: &[(&str, &[&str])] = &[
    ("IpExt", &["InOctets", "OutOctets"]),
    ("Ip6", &["InOctets", "OutOctets"]),
    ("Ip", &["Forwarding"]),
    ("Icmp", &["InMsgs", "OutMsgs", "InErrors"]),
    ("Icmp6", &["InMsgs", "OutMsgs", "InErrors"]),
    (
        "TcpExt",
        &[
            "ListenOverflows",
            "ListenDrops",
            "SyncookiesSent",
            "SyncookiesRecv",
            "SyncookiesFailed",
            "TCPSynRetrans",
            "TCPTimeouts",
            "TCPOFOQueue",
            "TCPRcvQDrop",
        ],
    ),
    ("Tcp", &["ActiveOpens", "InSegs", "OutSegs", "OutRsts", "PassiveOpens", "RetransSegs", "CurrEstab", "InErrs"]),
    ("Udp", &["InDatagrams", "OutDatagrams", "NoPorts", "InErrors", "RcvbufErrors", "SndbufErrors"]),
    ("Udp6", &["InDatagrams", "OutDatagrams", "NoPorts", "InErrors", "RcvbufErrors", "SndbufErrors"]),
    ("UdpLite", &["InErrors"]),
    ("UdpLite6", &["InErrors"]),
];

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    write_pairs(page, &host.proc("net/netstat")?);
    write_pairs(page, &host.proc("net/snmp")?);
    if let Ok(text) = host.proc("net/snmp6") {
        write_snmp6(page, &text);
    }
    Ok(())
}

/// A line of names, then a line of values, each behind `Protocol:`.
fn write_pairs(page: &mut Page<'_>, text: &str) {
    let lines: Vec<&str> = text.lines().collect();
    for pair in lines.chunks_exact(2) {
        let (Some((protocol, names)), Some((_, values))) = (pair[0].split_once(':'), pair[1].split_once(':')) else {
            continue;
        };
        for (field, value) in names.split_whitespace().zip(values.split_whitespace()) {
            write(page, protocol, field, value);
        }
    }
}

/// `Ip6InReceives 17`: the protocol is part of the name.
fn write_snmp6(page: &mut Page<'_>, text: &str) {
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(value)) = (words.next(), words.next()) else { continue };
        if let Some((protocol, field)) = name.find('6').map(|at| name.split_at(at + 1)) {
            write(page, protocol, field, value);
        }
    }
}

fn write(page: &mut Page<'_>, protocol: &str, field: &str, value: &str) {
    let wanted = WANTED.iter().any(|(known, fields)| *known == protocol && fields.contains(&field));
    if let (true, Ok(value)) = (wanted, value.parse()) {
        page.untyped(&format!("node_netstat_{protocol}_{field}"), "Protocol counter of the kernel.", value);
    }
}
