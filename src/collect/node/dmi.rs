//! What the firmware says about the machine, `/sys/class/dmi/id`. It is read once: it stays until the next boot.

use super::super::page::Page;
use super::host::{Folder, Host, NodeError};
use crate::model::MetricType;

/// The label is the file's name, but for the last one.
const FACTS: &str = "bios_date bios_release bios_vendor bios_version board_asset_tag board_name board_serial board_vendor \
                     board_version chassis_asset_tag chassis_serial chassis_vendor chassis_version product_family \
                     product_name product_serial product_sku product_uuid product_version sys_vendor";

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let facts = host.firmware_facts(|| {
        let Some(folder) = Folder::open(&host.sys_path("class/dmi/id")) else { return Vec::new() };
        // Serial numbers can be read by root alone.
        FACTS.split(' ').filter_map(|file| Some((file, folder.word(file)?))).collect()
    });
    if facts.is_empty() {
        return Err(NodeError::Nothing);
    }
    let label = |file: &'static str| if file == "sys_vendor" { "system_vendor" } else { file };
    let mut labels = facts.iter().map(|(file, text)| (label(file), text.as_str()));
    page.family("node_dmi_info", MetricType::Gauge, "What the firmware says about the machine.")
        .sample_of(&mut labels, 1.0);
    Ok(())
}
