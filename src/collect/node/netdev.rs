//! Traffic per network device, `/proc/net/dev`.

use super::super::page::Page;
use super::host::{Host, NodeError, read_number};
use super::table::Table;

/// By column; the last one has a file of its own below /sys.
const DEVICES: Table = Table {
    prefix: "node_network_",
    labels: &["device"],
    help: "Network device statistic.",
    lines: "\
0 receive_bytes_total -
1 receive_packets_total -
2 receive_errs_total -
3 receive_drop_total -
4 receive_fifo_total -
5 receive_frame_total -
6 receive_compressed_total -
7 receive_multicast_total -
8 transmit_bytes_total -
9 transmit_packets_total -
10 transmit_errs_total -
11 transmit_drop_total -
12 transmit_fifo_total -
13 transmit_colls_total -
14 transmit_carrier_total -
15 transmit_compressed_total -
nohandler receive_nohandler_total -",
};

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    // Of the host's own network name space: with a mounted /proc, that of its first process.
    let text = host.proc("1/net/dev").or_else(|_| host.proc("net/dev"))?;
    let rows: Vec<_> = text
        .lines()
        .filter_map(|line| {
            // The two lines on top have no colon. A name may be followed by a number at once.
            let (name, numbers) = line.rsplit_once(':')?;
            let name = name.trim();
            let is_shown = host.flags().shows("netdev.device-include", "netdev.device-exclude", name, || true);
            let numbers: Vec<f64> = numbers.split_ascii_whitespace().map_while(|word| word.parse().ok()).collect();
            is_shown.then(|| {
                DEVICES.row(vec![name.to_owned()], &mut |source| match source.parse::<usize>() {
                    Ok(column) => numbers.get(column).copied(),
                    Err(_) => read_number(&host.sys_path(&format!("class/net/{name}/statistics/rx_nohandler"))),
                })
            })
        })
        .collect();
    DEVICES.write(page, &rows);
    Ok(())
}
