//! The kernel's load balancer, `/proc/net/ip_vs_stats` and `/proc/net/ip_vs`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::page::Page;
use super::host::{Host, NodeError};
use super::table::Table;

const TOTALS: Table = Table {
    prefix: "node_ipvs_",
    labels: &[],
    help: "",
    lines: "\
0 connections_total - Connections made.
1 incoming_packets_total - Packets received.
2 outgoing_packets_total - Packets sent.
3 incoming_bytes_total - Bytes received.
4 outgoing_bytes_total - Bytes sent.",
};

const BACKENDS: Table = Table {
    prefix: "node_ipvs_backend_",
    labels: &LABELS,
    help: "",
    lines: "\
active connections_active - Active connections by local and remote address.
inactive connections_inactive - Inactive connections by local and remote address.
weight weight - Weight by local and remote address.",
};

const LABELS: [&str; 6] = ["local_address", "local_port", "remote_address", "remote_port", "proto", "local_mark"];

/// Weight, active and inactive connections.
type Numbers = [f64; 3];

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let text = host.proc_if_any("net/ip_vs_stats")?;
    let totals: Vec<u64> = text
        .lines()
        .nth(2)
        .map(|line| line.split_ascii_whitespace().map_while(|word| u64::from_str_radix(word, 16).ok()).collect())
        .unwrap_or_default();
    if totals.len() != 5 {
        return Err(host.unexpected("net/ip_vs_stats", "five hexadecimal numbers expected in the third line"));
    }
    TOTALS.write_alone(page, &mut |column| Some(totals[column.parse::<usize>().ok()?] as f64));

    let wanted = host.flags().texts("ipvs.backend-labels").last();
    let is_wanted = |label: &str| wanted.is_none_or(|list| list.split(',').any(|name| name == label));
    // What the labels do not tell apart is added up.
    let mut sums: BTreeMap<Vec<String>, Numbers> = BTreeMap::new();
    for (mut labels, numbers) in parse_backends(&host.proc("net/ip_vs")?) {
        for (_, text) in LABELS.iter().zip(&mut labels).filter(|(label, _)| !is_wanted(label)) {
            text.clear();
        }
        let sum = sums.entry(labels).or_default();
        sum.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
    }
    let rows: Vec<_> = sums
        .into_iter()
        .map(|(labels, [weight, active, inactive])| {
            BACKENDS.row(labels, &mut |source| {
                Some(match source {
                    "active" => active,
                    "inactive" => inactive,
                    _ => weight,
                })
            })
        })
        .collect();
    BACKENDS.write(page, &rows);
    Ok(())
}

/// A line for each service, and below it one for each of its backends.
fn parse_backends(text: &str) -> Vec<(Vec<String>, Numbers)> {
    let mut backends = Vec::new();
    let mut service: Option<[String; 4]> = None;
    for line in text.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words[..] {
            [proto @ ("TCP" | "UDP"), address, ..] => {
                service =
                    parse_address(address).map(|(address, port)| [address, port, proto.to_owned(), String::new()]);
            }
            ["FWM", mark, ..] => {
                service = Some([String::new(), "0".to_owned(), "FWM".to_owned(), mark.to_owned()]);
            }
            ["->", remote, _, weight, active, inactive, ..] => {
                let numbers = [weight, active, inactive].map(|word| word.parse().ok());
                if let (
                    Some([address, port, proto, mark]),
                    Some((remote, remote_port)),
                    [Some(weight), Some(active), Some(inactive)],
                ) = (service.clone(), parse_address(remote), numbers)
                {
                    backends.push((vec![address, port, remote, remote_port, proto, mark], [weight, active, inactive]));
                }
            }
            _ => {}
        }
    }
    backends
}

/// `C0A80016:0CEA` or `[2620:0000:…:0001]:0CEA`.
fn parse_address(text: &str) -> Option<(String, String)> {
    let (address, port) = text.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?.to_string();
    let address = match address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().ok()?.to_string(),
        None if address.len() == 8 => Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?).to_string(),
        None => return None,
    };
    Some((address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_and_backends() {
        let text = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  \
                    -> RemoteAddress:Port Forward Weight ActiveConn InActConn\nTCP  C0A80016:0CEA wlc\n  \
                    -> C0A85216:0CEA      Tunnel  100    248        2\nFWM  10001000 wlc\n  \
                    -> [2620:0:0:0:0:0:0:1]:0CEA      Route   0      0          1\nUDP  garbage\n  \
                    -> C0A85216:0CEA      Tunnel  100    248        2\n";
        let found = parse_backends(text);
        let expected = [
            ("192.168.0.22 3306 192.168.82.22 3306 TCP ", [100.0, 248.0, 2.0]),
            (" 0 2620::1 3306 FWM 10001000", [0.0, 0.0, 1.0]),
        ];
        assert_eq!(
            found.iter().map(|(labels, numbers)| (labels.join(" "), *numbers)).collect::<Vec<_>>(),
            expected.map(|(labels, numbers)| (labels.to_owned(), numbers))
        );
    }
}
