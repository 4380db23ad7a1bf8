//! The per-CPU lines of `/proc/stat`, thermal throttling, and which CPUs are isolated or offline.

use super::super::page::Page;
use super::host::{Folder, Host, NodeError, read_word};
use super::table::Tally;
use crate::model::MetricType;

const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];

struct Cpu<'a> {
    number: &'a str,
    ticks: Vec<f64>,
}

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    // By hand: procfs numbers CPUs by position, which is wrong as soon as one of them is offline.
    let text = host.stat()?;
    let cpus: Vec<Cpu<'_>> = text.lines().filter_map(parse_line).collect();
    if cpus.is_empty() {
        return Err(host.unexpected("stat", "no line of a CPU"));
    }
    let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
    let mut family = page.family("node_cpu_seconds_total", MetricType::Counter, "Seconds spent per mode.");
    for cpu in &cpus {
        for (mode, ticks) in MODES.iter().zip(&cpu.ticks) {
            family.sample(&[("cpu", cpu.number), ("mode", mode)], ticks / ticks_per_second);
        }
    }
    let mut family =
        page.family("node_cpu_guest_seconds_total", MetricType::Counter, "Seconds spent in guests, per mode.");
    for cpu in cpus.iter().filter(|_| host.flags().is_on("cpu.guest", true)) {
        for (mode, ticks) in ["user", "nice"].iter().zip(cpu.ticks.iter().skip(MODES.len())) {
            family.sample(&[("cpu", cpu.number), ("mode", mode)], ticks / ticks_per_second);
        }
    }
    let folders = cpu_folders(host);
    write_throttles(page, &folders);
    write_isolated(host, page);
    write_online(page, &folders);
    Ok(())
}

/// `cpu0 1 2 3 …`; the line without a number is the sum and left out.
fn parse_line(line: &str) -> Option<Cpu<'_>> {
    let (number, rest) = line.strip_prefix("cpu")?.split_once(' ')?;
    let ticks = rest.split_ascii_whitespace().map_while(|word| word.parse().ok()).collect();
    number.bytes().next().filter(u8::is_ascii_digit).map(|_| Cpu { number, ticks })
}

/// The folders of all CPUs, also of those that are offline, by number.
fn cpu_folders(host: &Host) -> Vec<(u32, Folder)> {
    let root = host.sys_path("devices/system/cpu");
    let mut numbers: Vec<u32> =
        host.sys_names("devices/system/cpu").iter().filter_map(|name| name.strip_prefix("cpu")?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.into_iter().filter_map(|number| Some((number, Folder::open(&root.join(format!("cpu{number}")))?))).collect()
}

/// Intel's counters: per core, and per package once.
fn write_throttles(page: &mut Page<'_>, folders: &[(u32, Folder)]) {
    // By package and core, with a blank between them.
    let (mut cores, mut packages) = (Tally::default(), Tally::default());
    for (_, folder) in folders {
        let core_count = folder.number("thermal_throttle/core_throttle_count");
        let package_count = folder.number("thermal_throttle/package_throttle_count");
        if core_count.is_none() && package_count.is_none() {
            continue;
        }
        let word = |file: &str| folder.word(&format!("topology/{file}"));
        let (Some(core), Some(package)) = (word("core_id"), word("physical_package_id")) else { continue };
        let core = format!("{package} {core}");
        for (tally, key, count) in [(&mut cores, core, core_count), (&mut packages, package, package_count)] {
            if let Some(count) = count.filter(|_| !tally.has(&key)) {
                *tally.of(&key) = count;
            }
        }
    }
    let mut family =
        page.family("node_cpu_core_throttles_total", MetricType::Counter, "Times that a core was throttled.");
    for (key, count) in cores.iter() {
        let (package, core) = key.split_once(' ').unwrap_or((key, ""));
        family.sample(&[("core", core), ("package", package)], count);
    }
    let mut family =
        page.family("node_cpu_package_throttles_total", MetricType::Counter, "Times that a package was throttled.");
    for (package, count) in packages.iter() {
        family.sample(&[("package", package)], count);
    }
}

/// Where the first CPU cannot be taken offline, it has no such file, and nothing is shown.
fn write_online(page: &mut Page<'_>, folders: &[(u32, Folder)]) {
    if folders.first().is_none_or(|(_, first)| first.number("online").is_none()) {
        return;
    }
    let mut family = page.family("node_cpu_online", MetricType::Gauge, "Whether the CPU is online.");
    for (number, folder) in folders {
        family.sample(&[("cpu", &number.to_string())], folder.number("online").unwrap_or(0.0));
    }
}

fn write_isolated(host: &Host, page: &mut Page<'_>) {
    let isolated = read_word(&host.sys_path("devices/system/cpu/isolated")).unwrap_or_default();
    let numbers = parse_cpu_list(&isolated);
    if numbers.is_empty() {
        return;
    }
    let mut family = page.family("node_cpu_isolated", MetricType::Gauge, "Whether the CPU is isolated.");
    for number in numbers {
        family.sample(&[("cpu", &number.to_string())], 1.0);
    }
}

/// The kernel's list notation: `0-2,5`.
fn parse_cpu_list(text: &str) -> Vec<u32> {
    text.split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.trim().parse().ok()?..=last.trim().parse::<u32>().ok()?)
        })
        .flatten()
        .take(4096)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists() {
        let cases: [(&str, &[u32]); 5] = [("", &[]), ("3", &[3]), ("0-2,5", &[0, 1, 2, 5]), ("x", &[]), ("4-2", &[])];
        for (text, expected) in cases {
            assert_eq!(parse_cpu_list(text), expected, "{text:?}");
        }
    }
}
