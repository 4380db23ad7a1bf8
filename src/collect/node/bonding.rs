//! Bonded network devices, `/sys/class/net/bonding_masters`.

use super::super::page::Page;
use super::host::{Host, NodeError, read_word};
use super::table::Table;

const MASTERS: Table = Table {
    prefix: "node_bonding_",
    labels: &["master"],
    help: "",
    lines: "slaves slaves - Configured devices of the bond.\nup active - Devices of the bond with a link.",
};

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let class = host.sys_path("class/net");
    let masters = read_word(&class.join("bonding_masters")).ok_or(NodeError::Nothing)?;
    let rows: Vec<_> = masters
        .split_ascii_whitespace()
        .map(|master| {
            let folder = class.join(master);
            let devices = read_word(&folder.join("bonding/slaves")).unwrap_or_default();
            // Older kernels call the link slave_… instead of lower_….
            let is_up = |device: &str| {
                ["lower", "slave"]
                    .iter()
                    .find_map(|kind| read_word(&folder.join(format!("{kind}_{device}/bonding_slave/mii_status"))))
                    .is_some_and(|status| status == "up")
            };
            let count = devices.split_ascii_whitespace().count() as f64;
            let up = devices.split_ascii_whitespace().filter(|device| is_up(device)).count() as f64;
            MASTERS.row(vec![master.to_owned()], &mut |source| Some(if source == "up" { up } else { count }))
        })
        .collect();
    MASTERS.write(page, &rows);
    Ok(())
}
