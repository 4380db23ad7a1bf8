//! SD cards and eMMC: `/sys/bus/mmc/devices`. node_exporter has nothing of it; the names are outpost's own.
//!
//! eMMC since 5.0 estimates its wear in steps of a tenth (JEDEC JESD84-B51, EXT_CSD 267 to 269); SD cards have no such
//! register, their age alone says something. Source: Documentation/driver-api/mmc/mmc-dev-attrs.rst of the Linux kernel.

use super::super::page::Page;
use super::host::{Folder, Host, NodeError, names};
use crate::model::MetricType::Gauge;

/// The register's text for whether spare blocks run out.
const PRE_EOL: [(&str, u8); 3] = [("normal", 1), ("warning", 2), ("urgent", 3)];

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let root = host.sys_path("bus/mmc/devices");
    if !root.is_dir() {
        return Err(NodeError::Nothing);
    }
    let cards: Vec<(String, Folder)> = names(&root)
        .iter()
        .filter_map(|name| {
            let folder = Folder::open(&root.join(name))?;
            // The block device's name is the one that other metrics use.
            let device = names(&root.join(name).join("block")).into_iter().next().unwrap_or_else(|| name.clone());
            Some((device, folder))
        })
        .filter(|(_, folder)| folder.word("type").is_some_and(|kind| kind == "SD" || kind == "MMC"))
        .collect();
    let mut family = page.family("node_mmc_info", Gauge, "Facts about SD cards and eMMC.");
    for (device, folder) in &cards {
        let word = |file: &str| folder.word(file).unwrap_or_default();
        let [date, firmware, hardware, manufacturer, name, oem, serial, kind] =
            ["date", "fwrev", "hwrev", "manfid", "name", "oemid", "serial", "type"].map(word);
        let facts = [
            ("date", date.as_str()),
            ("device", device),
            ("firmware_revision", &firmware),
            ("hardware_revision", &hardware),
            ("manufacturer_id", &manufacturer),
            ("name", &name),
            ("oem_id", &oem),
            ("serial", &serial),
            ("type", &kind),
        ];
        family.sample(&facts, 1.0);
    }
    let mut family = page.family(
        "node_mmc_manufactured_timestamp_seconds",
        Gauge,
        "First day of the month that the card was made in.",
    );
    for (device, folder) in &cards {
        if let Some(time) = folder.word("date").and_then(|date| first_of_month(&date)) {
            family.sample(&[("device", device)], time);
        }
    }
    let mut family = page.family(
        "node_mmc_life_time_used_ratio",
        Gauge,
        "Upper estimate of the life time used; above 1 is beyond it.",
    );
    for (device, folder) in &cards {
        // Two kinds of cells: `0x01 0x02`; 1 is up to a tenth, 11 is more than all of it, 0 is not known.
        let estimates = folder.word("life_time").unwrap_or_default();
        for (kind, word) in ["a", "b"].iter().zip(estimates.split_ascii_whitespace()) {
            if let Some(tenths @ 1..=11) = register(word) {
                family.sample(&[("device", device), ("kind", kind)], f64::from(tenths) / 10.0);
            }
        }
    }
    let mut family =
        page.family("node_mmc_pre_eol", Gauge, "Whether spare blocks run out: the state that the device is in.");
    for (device, folder) in &cards {
        if let Some(state @ 1..=3) = folder.word("pre_eol_info").and_then(|word| register(&word)) {
            for (name, code) in PRE_EOL {
                family.sample(&[("device", device), ("state", name)], f64::from(u8::from(state == code)));
            }
        }
    }
    Ok(())
}

fn register(word: &str) -> Option<u8> {
    u8::from_str_radix(word.strip_prefix("0x")?, 16).ok()
}

/// `07/2019` as Unix time.
fn first_of_month(date: &str) -> Option<f64> {
    let (month, year) = date.split_once('/')?;
    let (month, year): (i64, i64) = (month.parse().ok()?, year.parse().ok()?);
    if !(1..=12).contains(&month) || !(1990..=2200).contains(&year) {
        return None;
    }
    // Days from March 1970 on, so that the leap day ends a year.
    let (years, months) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = years * 365 + years / 4 - years / 100 + years / 400 + (months * 153 + 2) / 5 - 719_468;
    Some((days * 86_400) as f64)
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates() {
        let cases = [
            ("01/1970", None),
            ("01/2000", Some(946_684_800.0)),
            ("07/2019", Some(1_561_939_200.0)),
            ("02/2024", Some(1_706_745_600.0)),
            ("03/2024", Some(1_709_251_200.0)),
            ("13/2019", None),
            ("2019", None),
        ];
        for (text, expected) in cases {
            assert_eq!(super::first_of_month(text), expected, "{text}");
        }
    }
}
