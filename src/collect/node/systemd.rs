//! Units of systemd, through the system's D-Bus; by setting, since every unit is asked for.

use super::super::page::Page;
use super::dbus::{Answer, Bus, Call, Reader, Variant};
use super::host::{Host, NodeError};
use super::table::Tally;
use crate::model::MetricType::{Counter, Gauge};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const STATES: [&str; 5] = ["active", "activating", "deactivating", "inactive", "failed"];
/// Kinds that node_exporter leaves out unless `unit-exclude` is set.
const USUALLY_LEFT_OUT: [&str; 5] = ["automount", "device", "mount", "scope", "slice"];
const INCLUDE: &str = "systemd.unit-include";
const EXCLUDE: &str = "systemd.unit-exclude";
/// Units that are shown; more are left out.
const UNITS_MAX: usize = 2000;

#[derive(Clone, Debug, PartialEq)]
struct Unit {
    name: String,
    load_state: String,
    active_state: String,
    path: String,
}

/// A family that is one property of every unit of a kind.
struct Property {
    family: &'static str,
    help: &'static str,
    is_counter: bool,
    /// The ending of the units' names; "" for all.
    kind: &'static str,
    interface: &'static str,
    property: &'static str,
    /// The flag that asks for it; "" if none is needed.
    flag: &'static str,
    factor: f64,
}

const PROPERTIES: [Property; 8] = [
    Property {
        family: "node_systemd_timer_last_trigger_seconds",
        help: "When the timer elapsed last.",
        is_counter: false,
        kind: ".timer",
        interface: "Timer",
        property: "LastTriggerUSec",
        flag: "",
        factor: 1e-6,
    },
    Property {
        family: "node_systemd_socket_accepted_connections_total",
        help: "Connections that were accepted.",
        is_counter: true,
        kind: ".socket",
        interface: "Socket",
        property: "NAccepted",
        flag: "",
        factor: 1.0,
    },
    Property {
        family: "node_systemd_socket_current_connections",
        help: "Connections that are open.",
        is_counter: false,
        kind: ".socket",
        interface: "Socket",
        property: "NConnections",
        flag: "",
        factor: 1.0,
    },
    Property {
        family: "node_systemd_socket_refused_connections_total",
        help: "Connections that were refused.",
        is_counter: false,
        kind: ".socket",
        interface: "Socket",
        property: "NRefused",
        flag: "",
        factor: 1.0,
    },
    Property {
        family: "node_systemd_service_restart_total",
        help: "How often the service was restarted.",
        is_counter: true,
        kind: ".service",
        interface: "Service",
        property: "NRestarts",
        flag: "systemd.enable-restarts-metrics",
        factor: 1.0,
    },
    Property {
        family: "node_systemd_unit_tasks_current",
        help: "Tasks of the unit.",
        is_counter: false,
        kind: ".service",
        interface: "Service",
        property: "TasksCurrent",
        flag: "systemd.enable-task-metrics",
        factor: 1.0,
    },
    Property {
        family: "node_systemd_unit_tasks_max",
        help: "Tasks that the unit may have.",
        is_counter: false,
        kind: ".service",
        interface: "Service",
        property: "TasksMax",
        flag: "systemd.enable-task-metrics",
        factor: 1.0,
    },
    Property {
        family: "node_systemd_unit_start_time_seconds",
        help: "When the unit became active; 0 if it is not.",
        is_counter: false,
        kind: "",
        interface: "Unit",
        property: "ActiveEnterTimestamp",
        flag: "systemd.enable-start-time-metrics",
        factor: 1e-6,
    },
];

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let path = host.root_path("run/dbus/system_bus_socket");
    let told = |reason| NodeError::Unanswered { path: path.clone(), reason };
    let mut bus = Bus::connect(&path).map_err(told)?;
    write_manager(&mut bus, page).map_err(told)?;
    let units = list(&mut bus).map_err(told)?;
    write_counts(page, &units);
    let units: Vec<&Unit> = units.iter().filter(|unit| is_shown(host, unit)).take(UNITS_MAX).collect();
    write_states(&mut bus, page, &units).map_err(told)?;
    let wanted = |property: &&Property| property.flag.is_empty() || host.flags().is_on(property.flag, false);
    for property in PROPERTIES.iter().filter(wanted) {
        write_property(&mut bus, page, &units, property).map_err(told)?;
    }
    Ok(())
}

fn is_shown(host: &Host, unit: &Unit) -> bool {
    let kind = unit.name.rsplit_once('.').map_or("", |(_, kind)| kind);
    unit.load_state == "loaded"
        && host.flags().shows(INCLUDE, EXCLUDE, &unit.name, || true)
        && (host.flags().has(EXCLUDE) || !USUALLY_LEFT_OUT.contains(&kind))
}

fn write_manager(bus: &mut Bus, page: &mut Page<'_>) -> Result<(), String> {
    let interface = "org.freedesktop.systemd1.Manager";
    let version = manager_text(bus, &[interface, "Version"])?.unwrap_or_default();
    page.family("node_systemd_version", Gauge, "The version of systemd.")
        .sample(&[("version", &version)], version_number(&version));
    let virtualization = manager_text(bus, &[interface, "Virtualization"])?;
    let kind = match virtualization.as_deref() {
        None => "unknown",
        Some("") => "none",
        Some(kind) => kind,
    };
    page.family("node_systemd_virtualization_info", Gauge, "What systemd takes the machine for.")
        .sample(&[("virtualization_type", kind)], 1.0);
    if let Some(state) = manager_text(bus, &[interface, "SystemState"])? {
        let is_running = f64::from(u8::from(state == "running"));
        page.gauge("node_systemd_system_running", "Whether everything is up that should be.", is_running);
    }
    Ok(())
}

/// A property of systemd itself; `None` if this one has none of that name.
fn manager_text(bus: &mut Bus, arguments: &[&str; 2]) -> Result<Option<String>, String> {
    let answer = bus.call_all(&[get(MANAGER_PATH, arguments)])?.pop();
    Ok(answer.and_then(text_of))
}

/// The text that a property holds.
fn text_of(answer: Answer) -> Option<String> {
    match Reader::new(&answer.ok()?).variant()? {
        Variant::Text(text) => Some(text),
        Variant::Number(_) => None,
    }
}

fn list(bus: &mut Bus) -> Result<Vec<Unit>, String> {
    let interface = "org.freedesktop.systemd1.Manager";
    let list = Call { destination: SYSTEMD, path: MANAGER_PATH, interface, member: "ListUnits", arguments: &[] };
    parse_units(&bus.call(&list)?).ok_or_else(|| "the list of units is not understood".to_owned())
}

/// An array of (name, description, load state, active state, sub state, followed, path, job id, job type, job path).
fn parse_units(body: &[u8]) -> Option<Vec<Unit>> {
    let mut reader = Reader::new(body);
    reader.number_32()?;
    let mut units = Vec::new();
    while !reader.is_at_end() {
        reader.align(8)?;
        let [name, _, load_state, active_state, _, _, path] = [(); 7].map(|()| reader.text());
        reader.number_32()?;
        reader.text()?;
        reader.text()?;
        units.push(Unit { name: name?, load_state: load_state?, active_state: active_state?, path: path? });
    }
    Some(units)
}

fn write_counts(page: &mut Page<'_>, units: &[Unit]) {
    let mut counts = Tally::default();
    for state in STATES {
        *counts.of(state) += 0.0;
    }
    for unit in units {
        *counts.of(&unit.active_state) += 1.0;
    }
    let mut family = page.family("node_systemd_units", Gauge, "Units by state.");
    for (state, count) in counts.iter() {
        family.sample(&[("state", state)], count);
    }
}

fn write_states(bus: &mut Bus, page: &mut Page<'_>, units: &[&Unit]) -> Result<(), String> {
    let typed: Vec<Option<[&str; 2]>> = units.iter().map(|unit| typed_by(&unit.name)).collect();
    let asked = units.iter().zip(&typed).filter_map(|(unit, by)| Some(get(&unit.path, by.as_ref()?)));
    // In the order of the units; those without a type were not asked.
    let mut answers = bus.call_all(&asked.collect::<Vec<Call<'_>>>())?.into_iter();
    let mut family = page.family("node_systemd_unit_state", Gauge, "The state that a unit is in.");
    for (unit, by) in units.iter().zip(&typed) {
        let unit_type = by.and_then(|_| answers.next()).and_then(text_of).unwrap_or_default();
        for state in STATES {
            let is = f64::from(u8::from(unit.active_state == state));
            family.sample(&[("name", &unit.name), ("state", state), ("type", &unit_type)], is);
        }
    }
    Ok(())
}

/// The property that the `type` label shows.
fn typed_by(name: &str) -> Option<[&'static str; 2]> {
    if name.ends_with(".service") {
        return Some(["org.freedesktop.systemd1.Service", "Type"]);
    }
    name.ends_with(".mount").then_some(["org.freedesktop.systemd1.Mount", "Type"])
}

fn write_property(bus: &mut Bus, page: &mut Page<'_>, units: &[&Unit], property: &Property) -> Result<(), String> {
    let units: Vec<&&Unit> = units.iter().filter(|unit| unit.name.ends_with(property.kind)).collect();
    let interface = format!("{SYSTEMD}.{}", property.interface);
    let arguments = [interface.as_str(), property.property];
    let calls: Vec<Call<'_>> = units.iter().map(|unit| get(&unit.path, &arguments)).collect();
    let answers = bus.call_all(&calls)?;
    let metric_type = if property.is_counter { Counter } else { Gauge };
    let mut family = page.family(property.family, metric_type, property.help);
    for (unit, answer) in units.iter().zip(answers) {
        let is_of_active = property.property == "ActiveEnterTimestamp";
        let value = match answer.ok().and_then(|body| Reader::new(&body).variant()) {
            Some(Variant::Number(_)) if is_of_active && unit.active_state != "active" => 0.0,
            // No limit, or nothing that counts.
            Some(Variant::Number(u64::MAX)) => continue,
            Some(Variant::Number(number)) => number as f64 * property.factor,
            // A systemd that does not know the property.
            _ => continue,
        };
        family.sample(&[("name", &unit.name)], value);
    }
    Ok(())
}

fn get<'a>(path: &'a str, arguments: &'a [&'a str; 2]) -> Call<'a> {
    let interface = "org.freedesktop.DBus.Properties";
    Call { destination: SYSTEMD, path, interface, member: "Get", arguments }
}

/// The first number of three digits or more, with its decimals: `252.39` of `252.39-1~deb12u2`.
fn version_number(version: &str) -> f64 {
    let numbers = version.split(|char: char| !char.is_ascii_digit() && char != '.');
    let of_number = |text: &str| {
        let mut parts = text.split('.').filter(|part| !part.is_empty());
        let whole = parts.next().filter(|whole| whole.len() >= 3)?;
        format!("{whole}.{}", parts.next().unwrap_or("0")).parse().ok()
    };
    numbers.into_iter().find_map(of_number).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::super::dbus::tests::{Answers, serve, units, variant};
    use super::super::{NodeCollectorSettings, NodeFlags};
    use super::*;
    use crate::clock::Clock;

    const PAGE: &str = r#"node_systemd_version{version="252.39-1~deb12u2"} 252.39
node_systemd_virtualization_info{virtualization_type="none"} 1
node_systemd_system_running 0
node_systemd_units{state="activating"} 0
node_systemd_units{state="active"} 5
node_systemd_units{state="deactivating"} 0
node_systemd_units{state="failed"} 1
node_systemd_units{state="inactive"} 1
node_systemd_unit_state{name="ssh.service",state="active",type="notify"} 1
node_systemd_unit_state{name="ssh.service",state="activating",type="notify"} 0
node_systemd_unit_state{name="ssh.service",state="deactivating",type="notify"} 0
node_systemd_unit_state{name="ssh.service",state="inactive",type="notify"} 0
node_systemd_unit_state{name="ssh.service",state="failed",type="notify"} 0
node_systemd_unit_state{name="apt.timer",state="active",type=""} 1
node_systemd_unit_state{name="apt.timer",state="activating",type=""} 0
node_systemd_unit_state{name="apt.timer",state="deactivating",type=""} 0
node_systemd_unit_state{name="apt.timer",state="inactive",type=""} 0
node_systemd_unit_state{name="apt.timer",state="failed",type=""} 0
node_systemd_unit_state{name="dbus.socket",state="active",type=""} 1
node_systemd_unit_state{name="dbus.socket",state="activating",type=""} 0
node_systemd_unit_state{name="dbus.socket",state="deactivating",type=""} 0
node_systemd_unit_state{name="dbus.socket",state="inactive",type=""} 0
node_systemd_unit_state{name="dbus.socket",state="failed",type=""} 0
node_systemd_unit_state{name="bad.service",state="active",type=""} 0
node_systemd_unit_state{name="bad.service",state="activating",type=""} 0
node_systemd_unit_state{name="bad.service",state="deactivating",type=""} 0
node_systemd_unit_state{name="bad.service",state="inactive",type=""} 0
node_systemd_unit_state{name="bad.service",state="failed",type=""} 1
node_systemd_timer_last_trigger_seconds{name="apt.timer"} 1795674657.5
node_systemd_socket_accepted_connections_total{name="dbus.socket"} 12
node_systemd_socket_current_connections{name="dbus.socket"} 3
node_systemd_unit_tasks_current{name="ssh.service"} 4
"#;

    fn answers() -> Answers {
        let text = |text: &str| Ok(variant(&Variant::Text(text.to_owned())));
        let number = |number| Ok(variant(&Variant::Number(number)));
        let manager = "systemd1 Get org.freedesktop.systemd1.Manager";
        let mut answers = Answers::new();
        let mut put = |key: String, answer| answers.insert(key, answer);
        put("DBus Hello".to_owned(), text(":1.7"));
        put(format!("{manager} Version"), text("252.39-1~deb12u2"));
        put(format!("{manager} Virtualization"), text(""));
        put(format!("{manager} SystemState"), text("degraded"));
        let list = units(&[
            ["ssh.service", "loaded", "active", "/u/ssh"],
            ["home.mount", "loaded", "active", "/u/home"],
            ["gone.service", "not-found", "inactive", "/u/gone"],
            ["system.slice", "loaded", "active", "/u/slice"],
            ["apt.timer", "loaded", "active", "/u/apt"],
            ["dbus.socket", "loaded", "active", "/u/dbus"],
            ["bad.service", "loaded", "failed", "/u/bad"],
        ]);
        put("systemd1 ListUnits".to_owned(), Ok(list));
        put("ssh Get org.freedesktop.systemd1.Service Type".to_owned(), text("notify"));
        put("ssh Get org.freedesktop.systemd1.Service TasksCurrent".to_owned(), number(4));
        put("ssh Get org.freedesktop.systemd1.Service TasksMax".to_owned(), number(u64::MAX));
        put("bad Get org.freedesktop.systemd1.Service Type".to_owned(), Err("it is gone"));
        put("apt Get org.freedesktop.systemd1.Timer LastTriggerUSec".to_owned(), number(1_795_674_657_500_000));
        put("dbus Get org.freedesktop.systemd1.Socket NAccepted".to_owned(), number(12));
        put("dbus Get org.freedesktop.systemd1.Socket NConnections".to_owned(), number(3));
        answers
    }

    fn page_of(rootfs: &std::path::Path) -> Result<String, String> {
        let flags = ["--collector.systemd", "--collector.systemd.enable-task-metrics"].map(str::to_owned).to_vec();
        let settings = NodeCollectorSettings {
            rootfs: rootfs.to_owned(),
            flags: NodeFlags::parse(flags).expect("known flags"),
            ..NodeCollectorSettings::default()
        };
        let mut bytes = Vec::new();
        collect(&Host::new(settings, Clock::system()), &mut Page::new(&mut bytes))
            .map_err(|error| error.to_string())?;
        let text = String::from_utf8(bytes).expect("text");
        Ok(text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect())
    }

    #[test]
    fn units_become_families() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(root.path().join("run/dbus")).expect("writable");
        let bus = serve(&root.path().join("run/dbus/system_bus_socket"), answers());
        assert_eq!(page_of(root.path()).as_deref(), Ok(PAGE));
        bus.join().expect("the bus has seen no surprise");
    }

    #[test]
    fn no_bus_and_a_bus_without_systemd() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("run/dbus");
        std::fs::create_dir_all(&folder).expect("writable");
        let error = page_of(root.path()).expect_err("no bus");
        assert!(error.contains("No such file or directory"), "{error}");
        let bus = serve(
            &folder.join("system_bus_socket"),
            Answers::from([("DBus Hello".to_owned(), Ok(variant(&Variant::Text(":1.7".to_owned()))))]),
        );
        let error = page_of(root.path()).expect_err("no systemd");
        assert!(error.contains("no such thing"), "{error}");
        bus.join().expect("the bus has seen no surprise");
    }

    #[test]
    fn versions() {
        for (version, expected) in
            [("252", 252.0), ("252.39-1~deb12u2", 252.39), ("v258~rc1", 258.0), ("3", 0.0), ("", 0.0), ("257.9", 257.9)]
        {
            assert_eq!(version_number(version), expected, "{version}");
        }
    }
}
