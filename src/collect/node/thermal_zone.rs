//! Temperatures and coolers, `/sys/class/thermal`: on a Raspberry Pi, the SoC's.

use super::super::page::Page;
use super::host::{Host, NodeError, read_number, read_word};
use crate::model::MetricType;

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let folders = host.sys_names("class/thermal");
    let read = |folder: &str, file: &str| read_number(&host.sys_path(&format!("class/thermal/{folder}/{file}")));
    let kind = |folder: &str| read_word(&host.sys_path(&format!("class/thermal/{folder}/type"))).unwrap_or_default();

    let zones = folders.iter().filter_map(|folder| {
        let number = folder.strip_prefix("thermal_zone")?;
        Some((number, kind(folder), read(folder, "temp")? / 1000.0))
    });
    let zones: Vec<(&str, String, f64)> = zones.collect();
    if !zones.is_empty() {
        let mut family = page.family("node_thermal_zone_temp", MetricType::Gauge, "Temperature in degrees Celsius.");
        for (zone, kind, value) in &zones {
            family.sample(&[("type", kind), ("zone", zone)], *value);
        }
    }

    let coolers: Vec<(&str, String, f64, f64)> = folders
        .iter()
        .filter_map(|folder| {
            let number = folder.strip_prefix("cooling_device")?;
            Some((number, kind(folder), read(folder, "cur_state")?, read(folder, "max_state")?))
        })
        .collect();
    if !coolers.is_empty() {
        let mut family =
            page.family("node_cooling_device_cur_state", MetricType::Gauge, "Throttle state of the cooling device.");
        for (name, kind, current, _) in &coolers {
            family.sample(&[("name", name), ("type", kind)], *current);
        }
        let mut family =
            page.family("node_cooling_device_max_state", MetricType::Gauge, "Highest throttle state of the device.");
        for (name, kind, _, highest) in &coolers {
            family.sample(&[("name", name), ("type", kind)], *highest);
        }
    }
    Ok(())
}
