//! The per-CPU lines of `/proc/stat`, thermal throttling, and which CPUs are isolated or offline.

use std::collections::BTreeSet;

use super::super::page::Page;
use super::host::{Host, NodeError, read_number, read_word};
use crate::model::MetricType;

const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];

struct Cpu<'a> {
    number: &'a str,
    ticks: Vec<f64>,
}

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    // By hand: procfs numbers CPUs by position, which is wrong as soon as one of them is offline.
    let text = host.proc("stat")?;
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
    for cpu in &cpus {
        for (mode, ticks) in ["user", "nice"].iter().zip(cpu.ticks.iter().skip(MODES.len())) {
            family.sample(&[("cpu", cpu.number), ("mode", mode)], ticks / ticks_per_second);
        }
    }
    write_throttles(host, page, &cpus);
    write_isolated(host, page);
    Ok(())
}

/// `cpu0 1 2 3 …`; the line without a number is the sum and left out.
fn parse_line(line: &str) -> Option<Cpu<'_>> {
    let (number, rest) = line.strip_prefix("cpu")?.split_once(' ')?;
    let ticks = rest.split_whitespace().map_while(|word| word.parse().ok()).collect();
    number.bytes().next().filter(u8::is_ascii_digit).map(|_| Cpu { number, ticks })
}

/// Intel's counters: per core, and per package once.
fn write_throttles(host: &Host, page: &mut Page<'_>, cpus: &[Cpu<'_>]) {
    let mut cores = BTreeSet::new();
    let mut packages = BTreeSet::new();
    for cpu in cpus {
        let folder = host.sys_path(&format!("devices/system/cpu/cpu{}", cpu.number));
        let word = |file: &str| read_word(&folder.join(file));
        let (Some(core), Some(package)) = (word("topology/core_id"), word("topology/physical_package_id")) else {
            continue;
        };
        if let Some(count) = read_number(&folder.join("thermal_throttle/core_throttle_count")) {
            cores.insert((package.clone(), core, count as u64));
        }
        if let Some(count) = read_number(&folder.join("thermal_throttle/package_throttle_count")) {
            packages.insert((package, count as u64));
        }
    }
    if !cores.is_empty() {
        let mut family =
            page.family("node_cpu_core_throttles_total", MetricType::Counter, "Times that a core was throttled.");
        for (package, core, count) in &cores {
            family.sample(&[("core", core), ("package", package)], *count as f64);
        }
    }
    if !packages.is_empty() {
        let mut family =
            page.family("node_cpu_package_throttles_total", MetricType::Counter, "Times that a package was throttled.");
        for (package, count) in &packages {
            family.sample(&[("package", package)], *count as f64);
        }
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
