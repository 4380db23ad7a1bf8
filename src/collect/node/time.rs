//! The time of day, and the clock sources.

use super::super::page::Page;
use super::host::{Host, NodeError, read_word};
use super::local_time::time_zone;
use crate::model::MetricType;

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    page.gauge("node_time_seconds", "The time of day, as Unix time.", host.clock().now().seconds());
    let (zone, offset) = time_zone(host.clock().now().seconds() as i64);
    page.family("node_time_zone_offset_seconds", MetricType::Gauge, "Distance of local time to UTC in seconds.")
        .sample(&[("time_zone", &zone)], offset);
    let devices: Vec<String> = host
        .sys_names("devices/system/clocksource")
        .into_iter()
        .filter(|name| name.starts_with("clocksource"))
        .collect();
    let word = |device: &str, file: &str| {
        read_word(&host.sys_path(&format!("devices/system/clocksource/{device}/{file}"))).unwrap_or_default()
    };
    let mut family =
        page.family("node_time_clocksource_available_info", MetricType::Gauge, "Clock sources that may be used.");
    for device in &devices {
        for source in word(device, "available_clocksource").split_ascii_whitespace() {
            family.sample(&[("clocksource", source), ("device", number(device))], 1.0);
        }
    }
    let mut family = page.family("node_time_clocksource_current_info", MetricType::Gauge, "The clock source in use.");
    for device in &devices {
        family.sample(&[("clocksource", &word(device, "current_clocksource")), ("device", number(device))], 1.0);
    }
    Ok(())
}

fn number(device: &str) -> &str {
    device.trim_start_matches("clocksource")
}
