//! Memory errors that were noticed and corrected, or not: `/sys/devices/system/edac/mc`.

use super::super::page::Page;
use super::host::{Folder, Host, NodeError, names};
use super::table::Table;

const CONTROLLERS: Table = Table {
    prefix: "node_edac_",
    labels: &["controller"],
    help: "Memory errors of a controller.",
    lines: "ce_count correctable_errors_total -\nue_count uncorrectable_errors_total -",
};

const ROWS: Table = Table {
    prefix: "node_edac_csrow_",
    labels: &["controller", "csrow"],
    help: "Memory errors of a row of chips.",
    lines: "ce correctable_errors_total -\nue uncorrectable_errors_total -",
};

const CHANNELS: Table = Table {
    prefix: "node_edac_channel_",
    labels: &["controller", "csrow", "channel", "dimm_label"],
    help: "Memory errors of a channel.",
    lines: "ce correctable_errors_total -\nue uncorrectable_errors_total -",
};

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let (mut controllers, mut rows, mut channels) = (Vec::new(), Vec::new(), Vec::new());
    let root = host.sys_path("devices/system/edac/mc");
    for name in names(&root) {
        let (Some(controller), Some(folder)) = (number_of(&name, "mc"), Folder::open(&root.join(&name))) else {
            continue;
        };
        controllers.push(CONTROLLERS.files(vec![controller.to_owned()], &folder));
        let unknown = vec![controller.to_owned(), "unknown".to_owned()];
        rows.push(ROWS.row(unknown, &mut |kind| folder.number(&format!("{kind}_noinfo_count"))));
        for name in names(&root.join(&name)) {
            let (Some(row), Some(folder)) = (number_of(&name, "csrow"), folder.folder(&name)) else { continue };
            let labels = vec![controller.to_owned(), row.to_owned()];
            rows.push(ROWS.row(labels.clone(), &mut |kind| folder.number(&format!("{kind}_count"))));
            // A row has eight channels at most.
            for channel in 0..8 {
                if folder.number(&format!("ch{channel}_ce_count")).is_none() {
                    continue;
                }
                let mut labels = labels.clone();
                labels.extend([channel.to_string(), dimm_label(&folder, channel)]);
                channels.push(CHANNELS.row(labels, &mut |kind| folder.number(&format!("ch{channel}_{kind}_count"))));
            }
        }
    }
    CONTROLLERS.write(page, &controllers);
    ROWS.write(page, &rows);
    CHANNELS.write(page, &channels);
    Ok(())
}

/// `mc#0csrow#1channel#0` is shown as `mc0_csrow1_channel0`.
fn dimm_label(folder: &Folder, channel: u32) -> String {
    let label = folder.word(&format!("ch{channel}_dimm_label"));
    let label = label.map(|text| text.replace('#', "").replace("csrow", "_csrow").replace("channel", "_channel"));
    label.unwrap_or_else(|| "unknown".to_owned())
}

/// `3` of `mc3`.
fn number_of<'n>(name: &'n str, kind: &str) -> Option<&'n str> {
    name.strip_prefix(kind).filter(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}
