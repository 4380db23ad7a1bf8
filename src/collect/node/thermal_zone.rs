//! Temperatures and coolers, `/sys/class/thermal`: on a Raspberry Pi, the SoC's.

use super::super::page::Page;
use super::host::{Host, NodeError};
use super::table::Table;

const ZONES: Table = Table {
    prefix: "node_thermal_zone_",
    labels: &["zone", "type"],
    help: "Temperature in degrees Celsius.",
    lines: "temp temp /1000",
};

const COOLERS: Table = Table {
    prefix: "node_cooling_device_",
    labels: &["name", "type"],
    help: "",
    lines: "\
cur_state cur_state - Throttle state of the cooling device.
max_state max_state - Highest throttle state of the cooling device.",
};

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let (mut zones, mut coolers) = (Vec::new(), Vec::new());
    for (name, folder) in host.sys_folders("class/thermal").unwrap_or_default() {
        let labels = |number: &str| vec![number.to_owned(), folder.word("type").unwrap_or_default()];
        if let Some(number) = name.strip_prefix("thermal_zone") {
            zones.push(ZONES.files(labels(number), &folder));
        } else if let Some(number) = name.strip_prefix("cooling_device") {
            coolers.push(COOLERS.files(labels(number), &folder));
        }
    }
    ZONES.write(page, &zones);
    COOLERS.write(page, &coolers);
    Ok(())
}
