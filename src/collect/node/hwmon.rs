//! Sensors: `/sys/class/hwmon`, in degrees Celsius, volts, amperes, watts, joules and revolutions.
//!
//! A file's name is `<kind><number>_<property>`. Source: Documentation/hwmon/sysfs-interface.rst of the Linux kernel. Which
//! name and unit a property has is node_exporter's choice, also where it is odd: alarms other than the plain one have the
//! unit of their sensor.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::page::Page;
use super::host::{Folder, Host, NodeError, names, parse_number};
use crate::model::MetricType::{Counter, Gauge};

/// The kinds that are shown; the last three have no number.
const KINDS: [&str; 14] = [
    "in",
    "cpu",
    "fan",
    "pwm",
    "temp",
    "curr",
    "power",
    "energy",
    "humidity",
    "intrusion",
    "freq",
    "vrm",
    "beep_enable",
    "update_interval",
];

struct Chip {
    /// node_exporter's chip label: the device's bus and name made into one word.
    label: String,
    name: Option<String>,
    path: PathBuf,
    folder: Folder,
    sensors: Sensors,
}

/// Values by sensor and property.
type Sensors = BTreeMap<String, BTreeMap<String, String>>;

/// Name of the family, factor, and what it is divided by.
type Meaning = (String, f64, f64);

type Samples<'c> = Vec<(&'c str, String, f64)>;

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let class = host.sys_path("class/hwmon");
    if !class.is_dir() {
        return Err(NodeError::Nothing);
    }
    let mut chips: Vec<Chip> =
        names(&class).iter().map(|name| class.join(name)).filter_map(|path| find_chip(&path)).collect();
    distinguish(&mut chips);
    chips.retain(|chip| host.flags().shows("hwmon.chip-include", "hwmon.chip-exclude", &chip.label, || true));
    for chip in &mut chips {
        read(host, chip);
    }
    let mut family = page.family("node_hwmon_chip_names", Gauge, "Chips with a name for people.");
    for chip in &chips {
        if let Some(name) = &chip.name {
            family.sample(&[("chip", &chip.label), ("chip_name", name)], 1.0);
        }
    }
    let mut family = page.family("node_hwmon_sensor_label", Gauge, "Sensors with a name for people.");
    for (chip, sensor, properties) in sensors(&chips) {
        if let Some(label) = properties.get("label") {
            family.sample(&[("chip", &chip.label), ("label", label), ("sensor", sensor)], 1.0);
        }
    }
    for (name, samples) in families(&chips) {
        let metric_type = if name.ends_with("_total") { Counter } else { Gauge };
        let mut family = page.family(&name, metric_type, "Reading of a hardware sensor.");
        for (chip, sensor, value) in samples {
            family.sample(&[("chip", chip), ("sensor", &sensor)], value);
        }
    }
    Ok(())
}

fn sensors(chips: &[Chip]) -> impl Iterator<Item = (&Chip, &String, &BTreeMap<String, String>)> {
    chips.iter().flat_map(|chip| chip.sensors.iter().map(move |(sensor, properties)| (chip, sensor, properties)))
}

fn families(chips: &[Chip]) -> BTreeMap<String, Samples<'_>> {
    let mut families: BTreeMap<String, Samples<'_>> = BTreeMap::new();
    for (chip, sensor, properties) in sensors(chips) {
        let Some((kind, ..)) = split_file(sensor) else { continue };
        for (property, text) in properties {
            let Some(value) = parse_number(text) else { continue };
            let Some((name, factor, divisor)) = meaning(kind, property, properties) else { continue };
            // A GPU's clocks are told apart by their names alone.
            let sensor = match properties.get("label").filter(|_| kind == "freq") {
                Some(label) => clean(label),
                None => sensor.clone(),
            };
            families.entry(name).or_default().push((&chip.label, sensor, value * factor / divisor));
        }
    }
    families
}

fn find_chip(path: &Path) -> Option<Chip> {
    let folder = Folder::open(path)?;
    let name = folder.word("name").map(|name| clean(&name)).filter(|name| !name.is_empty());
    Some(Chip { label: label(path, name.as_deref()), name, path: path.to_owned(), folder, sensors: BTreeMap::new() })
}

/// Chips of one device are told apart by their names, or else by their numbers.
fn distinguish(chips: &mut [Chip]) {
    let all: Vec<(String, Option<String>)> = chips.iter().map(|chip| (chip.label.clone(), chip.name.clone())).collect();
    for chip in chips {
        if all.iter().filter(|(label, _)| *label == chip.label).count() > 1 {
            let namesakes = all.iter().filter(|(label, name)| *label == chip.label && *name == chip.name).count();
            let suffix = chip.name.clone().filter(|_| namesakes == 1).unwrap_or_else(|| last_part(&chip.path));
            chip.label = format!("{}_{suffix}", chip.label);
        }
    }
}

fn read(host: &Host, chip: &mut Chip) {
    let (own, device) = (names(&chip.path), chip.folder.folder("device"));
    let mut sensors = BTreeMap::new();
    read_sensors(host, chip, &chip.folder, &own, &mut sensors);
    // Old drivers keep the files one level below.
    if let Some(device) = device {
        read_sensors(host, chip, &device, &names(&chip.path.join("device")), &mut sensors);
    }
    chip.sensors = sensors;
}

fn read_sensors(host: &Host, chip: &Chip, folder: &Folder, files: &[String], sensors: &mut Sensors) {
    for file in files {
        let Some((kind, number, property)) = split_file(file).filter(|(kind, ..)| KINDS.contains(kind)) else {
            continue;
        };
        let sensor = format!("{kind}{number}");
        let both = || format!("{};{sensor}", chip.label);
        let is_shown = host.flags().shows("hwmon.sensor-include", "hwmon.sensor-exclude", &both(), || true);
        if let Some(text) = is_shown.then(|| folder.word(file)).flatten() {
            sensors.entry(sensor).or_default().insert(property.to_owned(), text);
        }
    }
}

/// A chip is named after the device that it belongs to and the folder of that; else after itself.
fn label(path: &Path, name: Option<&str>) -> String {
    if let Ok(device) = std::fs::canonicalize(path.join("device")) {
        match (device.parent().map(last_part).unwrap_or_default(), last_part(&device)) {
            (bus, device) if !bus.is_empty() && !device.is_empty() => return format!("{bus}_{device}"),
            (_, device) if !device.is_empty() => return device,
            _ => {}
        }
    }
    name.map_or_else(|| last_part(path), str::to_owned)
}

fn last_part(path: &Path) -> String {
    path.file_name().map(|part| clean(&part.to_string_lossy())).unwrap_or_default()
}

/// `temp1_crit_alarm` is kind `temp`, number 1, property `crit_alarm`; `update_interval` is a kind.
fn split_file(file: &str) -> Option<(&str, u32, &str)> {
    let Some(at) = file.find(|character: char| character.is_ascii_digit()).filter(|at| *at > 0) else {
        return (!file.starts_with(|first: char| first.is_ascii_digit())).then_some((file, 0, ""));
    };
    let (kind, rest) = file.split_at(at);
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = rest.split_at(digits);
    let property = if rest.is_empty() { "" } else { rest.strip_prefix('_').filter(|rest| !rest.is_empty())? };
    Some((kind, number.parse().ok()?, property))
}

fn meaning(kind: &str, property: &str, all: &BTreeMap<String, String>) -> Option<Meaning> {
    let named = |name: &str, factor: f64, divisor: f64| Some((name.to_owned(), factor, divisor));
    match (kind, property) {
        (_, "label") => return None,
        ("beep_enable", _) => return named("node_hwmon_beep_enabled", 1.0, 1.0),
        ("vrm", _) => return named("node_hwmon_voltage_regulator_version", 1.0, 1.0),
        ("update_interval", _) => return named("node_hwmon_update_interval_seconds", 1e-3, 1.0),
        _ => {}
    }
    let base = match property {
        "" => format!("node_hwmon_{kind}"),
        // The value itself, unless there is one without a property.
        "input" if !all.contains_key("") => format!("node_hwmon_{kind}"),
        _ => format!("node_hwmon_{kind}_{}", clean(property)),
    };
    let (unit, factor, divisor) = match (kind, property) {
        (_, "fault" | "alarm") => ("", 1.0, 1.0),
        (_, "beep") => ("_enabled", 1.0, 1.0),
        ("in" | "cpu", _) => ("_volts", 1e-3, 1.0),
        ("temp", "type") => ("", 1.0, 1.0),
        ("temp", _) => ("_celsius", 1e-3, 1.0),
        ("curr", _) => ("_amps", 1e-3, 1.0),
        ("energy", _) => ("_joule_total", 1.0, 1e6),
        ("power", "accuracy") => ("", 1.0, 1e6),
        ("power", "average_interval" | "average_interval_min" | "average_interval_max") => ("_seconds", 1e-3, 1.0),
        ("power", _) => ("_watt", 1.0, 1e6),
        ("humidity", _) => ("", 1.0, 1e6),
        ("fan", "input" | "min" | "max" | "target") => ("_rpm", 1.0, 1.0),
        ("freq", "input") if all.contains_key("label") => ("_freq_mhz", 1.0, 1e6),
        ("freq", "input") => return None,
        _ => ("", 1.0, 1.0),
    };
    Some((base + unit, factor, divisor))
}

/// Lower case, and an underscore for everything that is no letter, digit, colon or underscore.
fn clean(text: &str) -> String {
    let keep = |character: char| character.is_ascii_alphanumeric() || character == ':';
    let replaced: String = text
        .trim()
        .chars()
        .map(|character| if keep(character) { character.to_ascii_lowercase() } else { '_' })
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
            ("temp1_crit_alarm", Some(("node_hwmon_temp_crit_alarm_celsius", 1e-3))),
            ("temp1_alarm", Some(("node_hwmon_temp_alarm", 1.0))),
            ("temp1_type", Some(("node_hwmon_temp_type", 1.0))),
            ("in0_lcrit_alarm", Some(("node_hwmon_in_lcrit_alarm_volts", 1e-3))),
            ("in0_input", Some(("node_hwmon_in_volts", 1e-3))),
            ("in0_beep", Some(("node_hwmon_in_beep_enabled", 1.0))),
            ("fan2_input", Some(("node_hwmon_fan_rpm", 1.0))),
            ("fan2_min", Some(("node_hwmon_fan_min_rpm", 1.0))),
            ("fan2_pulses", Some(("node_hwmon_fan_pulses", 1.0))),
            ("power1_average", Some(("node_hwmon_power_average_watt", 1e-6))),
            ("energy1_input", Some(("node_hwmon_energy_joule_total", 1e-6))),
            ("humidity1_input", Some(("node_hwmon_humidity", 1e-6))),
            ("pwm1", Some(("node_hwmon_pwm", 1.0))),
            ("pwm1_enable", Some(("node_hwmon_pwm_enable", 1.0))),
            ("update_interval", Some(("node_hwmon_update_interval_seconds", 1e-3))),
            ("temp1_label", None),
            ("name", None),
            ("device", None),
            ("temp1input", None),
            ("1temp", None),
        ];
        for (file, expected) in cases {
            let found = split_file(file).filter(|(kind, ..)| KINDS.contains(kind));
            let found = found.and_then(|(kind, _, property)| meaning(kind, property, &BTreeMap::new()));
            let found = found.as_ref().map(|(name, factor, divisor)| (name.as_str(), factor / divisor));
            assert_eq!(found, expected, "{file}");
        }
    }
}
