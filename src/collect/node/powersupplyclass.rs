//! Batteries, mains and USB supplies, `/sys/class/power_supply`. The kernel counts in millionths and in tenths of degrees.

use super::super::page::Page;
use super::host::{Host, NodeError};
use super::table::Table;
use crate::model::MetricType::Gauge;

/// Source: Documentation/ABI/testing/sysfs-class-power of the Linux kernel.
const SUPPLIES: Table = Table {
    prefix: "node_power_supply_",
    labels: &["power_supply"],
    help: "Value of a file in /sys/class/power_supply/<power_supply>.",
    lines: "\
authentic authentic -
calibrate calibrate -
capacity capacity -
capacity_alert_max capacity_alert_max -
capacity_alert_min capacity_alert_min -
cycle_count cyclecount -
online online -
present present -
time_to_empty_now time_to_empty_seconds -
time_to_full_now time_to_full_seconds -
current_boot current_boot /1e6
current_max current_max /1e6
current_now current_ampere /1e6
energy_empty energy_empty /1e6
energy_empty_design energy_empty_design /1e6
energy_full energy_full /1e6
energy_full_design energy_full_design /1e6
energy_now energy_watthour /1e6
voltage_boot voltage_boot /1e6
voltage_max voltage_max /1e6
voltage_max_design voltage_max_design /1e6
voltage_min voltage_min /1e6
voltage_min_design voltage_min_design /1e6
voltage_now voltage_volt /1e6
voltage_ocv voltage_ocv /1e6
charge_control_limit charge_control_limit /1e6
charge_control_limit_max charge_control_limit_max /1e6
charge_counter charge_counter /1e6
charge_empty charge_empty /1e6
charge_empty_design charge_empty_design /1e6
charge_full charge_full /1e6
charge_full_design charge_full_design /1e6
charge_now charge_ampere /1e6
charge_term_current charge_term_current /1e6
constant_charge_current constant_charge_current /1e6
constant_charge_current_max constant_charge_current_max /1e6
constant_charge_voltage constant_charge_voltage /1e6
constant_charge_voltage_max constant_charge_voltage_max /1e6
precharge_current precharge_current /1e6
input_current_limit input_current_limit /1e6
power_now power_watt /1e6
temp temp_celsius /10
temp_alert_max temp_alert_max_celsius /10
temp_alert_min temp_alert_min_celsius /10
temp_ambient temp_ambient_celsius /10
temp_ambient_max temp_ambient_max_celsius /10
temp_ambient_min temp_ambient_min_celsius /10
temp_max temp_max_celsius /10
temp_min temp_min_celsius /10",
};

const FACTS: &str = "capacity_level charge_type health manufacturer model_name serial_number status technology type usb_type \
                     scope";

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let mut supplies = host.sys_folders("class/power_supply")?;
    supplies.retain(|(name, _)| host.flags().shows("", "powersupply.ignored-supplies", name, || true));
    let rows: Vec<_> = supplies.iter().map(|(name, folder)| SUPPLIES.files(vec![name.clone()], folder)).collect();
    SUPPLIES.write(page, &rows);
    let mut family = page.family("node_power_supply_info", Gauge, "Facts about power supplies.");
    for (name, folder) in &supplies {
        let facts: Vec<(&str, String)> =
            FACTS.split_ascii_whitespace().filter_map(|file| Some((file, folder.word(file)?))).collect();
        let facts = facts.iter().map(|(file, text)| (*file, text.as_str()));
        family.sample_of(&mut std::iter::once(("power_supply", name.as_str())).chain(facts), 1.0);
    }
    Ok(())
}
