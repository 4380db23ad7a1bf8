//! Fibre channel hosts, `/sys/class/fc_host`.

use super::super::page::Page;
use super::host::{Host, NodeError};
use super::table::Table;
use crate::model::MetricType;

const COUNTERS: Table = Table {
    prefix: "node_fibrechannel_",
    labels: &["fc_host"],
    help: "Counter of /sys/class/fc_host/<host>/statistics.",
    lines: "\
dumped_frames dumped_frames_total -
error_frames error_frames_total -
invalid_crc_count invalid_crc_total -
rx_frames rx_frames_total -
rx_words rx_words_total -
tx_frames tx_frames_total -
tx_words tx_words_total -
seconds_since_last_reset seconds_since_last_reset_total -
invalid_tx_word_count invalid_tx_words_total -
link_failure_count link_failure_total -
loss_of_sync_count loss_of_sync_total -
loss_of_signal_count loss_of_signal_total -
nos_count nos_total -
fcp_packet_aborts fcp_packet_aborts_total -",
};

const FACTS: &str = "speed port_state port_type port_id port_name fabric_name symbolic_name supported_classes \
                     supported_speeds dev_loss_tmo";

/// A counter that the adapter does not have.
const ABSENT: f64 = u64::MAX as f64;

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let hosts = host.sys_folders("class/fc_host")?;
    let mut family = page.family("node_fibrechannel_info", MetricType::Gauge, "Facts about fibre channel hosts.");
    for (name, folder) in &hosts {
        let facts: Vec<(&str, String)> =
            FACTS.split_ascii_whitespace().map(|file| (file, folder.word(file).unwrap_or_default())).collect();
        let facts = facts.iter().map(|(file, text)| match *file {
            "port_id" | "port_name" | "fabric_name" => (*file, text.strip_prefix("0x").unwrap_or(text)),
            _ => (*file, text.as_str()),
        });
        family.sample_of(&mut std::iter::once(("fc_host", name.as_str())).chain(facts), 1.0);
    }
    let rows: Vec<_> = hosts
        .iter()
        .map(|(name, folder)| {
            // A port that is off counts nothing: zero, as node_exporter shows it.
            let is_off = folder.word("port_state").is_none_or(|state| state == "Unknown");
            COUNTERS.row(vec![name.clone()], &mut |file| match is_off {
                true => Some(0.0),
                false => folder.number(&format!("statistics/{file}")).filter(|count| *count != ABSENT),
            })
        })
        .collect();
    COUNTERS.write(page, &rows);
    Ok(())
}
