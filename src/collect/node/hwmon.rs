//! Sensors: `/sys/class/hwmon`, in degrees Celsius, volts, amperes, watts, joules and revolutions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::page::Page;
use super::host::{Host, NodeError, names, read_number, read_word};
use crate::model::MetricType;

/// Sensor kind, unit in the family's name, factor to that unit.
/// Source: Documentation/hwmon/sysfs-interface.rst of the Linux kernel.
const KINDS: [(&str, &str, f64); 10] = [
    ("temp", "celsius", 1e-3),
    ("in", "volts", 1e-3),
    ("curr", "amps", 1e-3),
    ("power", "watt", 1e-6),
    ("energy", "joule", 1e-6),
    ("fan", "rpm", 1.0),
    ("humidity", "", 1e-3),
    ("freq", "freq_mhz", 1e-6),
    ("pwm", "", 1.0),
    ("intrusion", "", 1.0),
];

struct Chip {
    /// node_exporter's chip label: device path and name made into one word.
    label: String,
    name: Option<String>,
    folder: PathBuf,
}

struct Reading {
    chip: String,
    sensor: String,
    value: f64,
}

#[derive(Default)]
struct Readings {
    families: BTreeMap<(String, bool), Vec<Reading>>,
    labels: Vec<(String, String, String)>,
}

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let chips: Vec<Chip> =
        host.sys_names("class/hwmon").iter().map(|name| chip(&host.sys_path("class/hwmon").join(name))).collect();
    if chips.is_empty() {
        return Err(NodeError::Nothing);
    }
    let mut readings = Readings::default();
    for chip in &chips {
        read_chip(chip, &mut readings);
    }
    write(page, &chips, &readings);
    Ok(())
}

/// A chip is named after the device that it belongs to: subsystem and bus address, else its own name.
fn chip(folder: &Path) -> Chip {
    let name = read_word(&folder.join("name")).or_else(|| read_word(&folder.join("device/name")));
    let device = std::fs::canonicalize(folder.join("device")).ok();
    let subsystem = device.as_ref().and_then(|device| std::fs::canonicalize(device.join("subsystem")).ok());
    let last = |path: &Path| path.file_name().map(|part| clean(&part.to_string_lossy())).unwrap_or_default();
    let label = match (&device, &subsystem) {
        (Some(device), Some(subsystem)) => format!("{}_{}", last(subsystem), last(device)),
        (Some(device), None) => last(device),
        _ => name.as_deref().map_or_else(|| last(folder), clean),
    };
    Chip { label, name: name.map(|name| clean(&name)), folder: folder.to_owned() }
}

fn read_chip(chip: &Chip, readings: &mut Readings) {
    // Old drivers keep the files one level below.
    for folder in [chip.folder.clone(), chip.folder.join("device")] {
        for file in names(&folder) {
            if let Some((kind, number, property)) = split_file(&file) {
                read_file(chip, &folder.join(&file), (kind, number, property), readings);
            }
        }
    }
}

fn read_file(chip: &Chip, path: &Path, (kind, number, property): (&str, &str, &str), readings: &mut Readings) {
    let sensor = format!("{kind}{number}");
    if property == "label" {
        if let Some(text) = read_word(path).filter(|text| !text.is_empty()) {
            let label = (chip.label.clone(), sensor, text);
            if !readings.labels.contains(&label) {
                readings.labels.push(label);
            }
        }
        return;
    }
    let Some(value) = read_number(path) else { return };
    let (name, factor, is_counter) = family(kind, property);
    let family = readings.families.entry((name, is_counter)).or_default();
    if !family.iter().any(|known| known.chip == chip.label && known.sensor == sensor) {
        family.push(Reading { chip: chip.label.clone(), sensor, value: value * factor });
    }
}

/// `temp1_crit_alarm` is kind `temp`, number `1`, property `crit_alarm`.
fn split_file(file: &str) -> Option<(&str, &str, &str)> {
    let stem = file.find(|character: char| character.is_ascii_digit())?;
    let (kind, rest) = file.split_at(stem);
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = rest.split_at(digits);
    let property = if rest.is_empty() { "" } else { rest.strip_prefix('_')? };
    KINDS.iter().any(|(known, ..)| *known == kind).then_some((kind, number, property))
}

/// The family's name, the factor to its unit, and whether it counts.
fn family(kind: &str, property: &str) -> (String, f64, bool) {
    let (_, unit, factor) = KINDS.iter().find(|(known, ..)| *known == kind).expect("split_file knows the kind");
    let base = match property {
        "" | "input" => format!("node_hwmon_{kind}"),
        other => format!("node_hwmon_{kind}_{other}"),
    };
    // Switches and settings have no unit of their own.
    let is_plain = ["alarm", "beep", "enable", "fault", "type", "div", "pulses", "mode"]
        .iter()
        .any(|word| property == *word || property.ends_with(&format!("_{word}")));
    match (is_plain || unit.is_empty(), kind) {
        (true, "humidity") if !is_plain => (base, *factor, false),
        (true, _) => (base, 1.0, false),
        (false, "energy") => (format!("{base}_{unit}_total"), *factor, true),
        (false, _) => (format!("{base}_{unit}"), *factor, false),
    }
}

fn write(page: &mut Page<'_>, chips: &[Chip], readings: &Readings) {
    let mut names = page.family("node_hwmon_chip_names", MetricType::Gauge, "Chips with a name for people.");
    for chip in chips {
        if let Some(name) = &chip.name {
            names.sample(&[("chip", &chip.label), ("chip_name", name)], 1.0);
        }
    }
    for ((name, is_counter), sensors) in &readings.families {
        let metric_type = if *is_counter { MetricType::Counter } else { MetricType::Gauge };
        let mut family = page.family(name, metric_type, "Reading of a hardware sensor.");
        for Reading { chip, sensor, value } in sensors {
            family.sample(&[("chip", chip), ("sensor", sensor)], *value);
        }
    }
    if !readings.labels.is_empty() {
        let mut labels = page.family("node_hwmon_sensor_label", MetricType::Gauge, "Sensors with a name for people.");
        for (chip, sensor, label) in &readings.labels {
            labels.sample(&[("chip", chip), ("label", label), ("sensor", sensor)], 1.0);
        }
    }
}

/// Lower case, and one underscore for everything that is no letter, digit or underscore.
fn clean(text: &str) -> String {
    let replaced: String = text
        .trim()
        .chars()
        .map(|character| if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '_' })
        .collect();
    replaced.trim_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_become_families() {
        let cases = [
            ("temp1_input", Some(("node_hwmon_temp_celsius", 1e-3))),
            ("temp1_crit", Some(("node_hwmon_temp_crit_celsius", 1e-3))),
            ("temp1_crit_alarm", Some(("node_hwmon_temp_crit_alarm", 1.0))),
            ("in0_lcrit_alarm", Some(("node_hwmon_in_lcrit_alarm", 1.0))),
            ("in0_input", Some(("node_hwmon_in_volts", 1e-3))),
            ("fan2_input", Some(("node_hwmon_fan_rpm", 1.0))),
            ("fan2_min", Some(("node_hwmon_fan_min_rpm", 1.0))),
            ("power1_average", Some(("node_hwmon_power_average_watt", 1e-6))),
            ("energy1_input", Some(("node_hwmon_energy_joule_total", 1e-6))),
            ("pwm1", Some(("node_hwmon_pwm", 1.0))),
            ("pwm1_enable", Some(("node_hwmon_pwm_enable", 1.0))),
            ("name", None),
            ("device", None),
            ("temp1input", None),
        ];
        for (file, expected) in cases {
            let found = split_file(file).map(|(kind, _, property)| family(kind, property));
            let found = found.as_ref().map(|(name, factor, _)| (name.as_str(), *factor));
            assert_eq!(found, expected, "{file}");
        }
    }
}
