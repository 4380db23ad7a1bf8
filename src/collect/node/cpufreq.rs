//! CPU frequencies from `/sys/devices/system/cpu/cpu*/cpufreq`, in hertz.

use super::super::page::Page;
use super::host::{Host, NodeError, read_number, read_word};
use crate::model::MetricType;

/// Family, file with kHz, help.
const FREQUENCIES: [(&str, &str, &str); 6] = [
    ("node_cpu_frequency_hertz", "cpuinfo_cur_freq", "Current CPU thread frequency in hertz."),
    ("node_cpu_frequency_min_hertz", "cpuinfo_min_freq", "Minimum CPU thread frequency in hertz."),
    ("node_cpu_frequency_max_hertz", "cpuinfo_max_freq", "Maximum CPU thread frequency in hertz."),
    ("node_cpu_scaling_frequency_hertz", "scaling_cur_freq", "Current scaled CPU thread frequency in hertz."),
    ("node_cpu_scaling_frequency_min_hertz", "scaling_min_freq", "Minimum scaled CPU thread frequency in hertz."),
    ("node_cpu_scaling_frequency_max_hertz", "scaling_max_freq", "Maximum scaled CPU thread frequency in hertz."),
];

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let mut cpus: Vec<u32> = host
        .sys_names("devices/system/cpu")
        .iter()
        .filter_map(|name| name.strip_prefix("cpu")?.parse().ok())
        .filter(|cpu| host.sys_path(&format!("devices/system/cpu/cpu{cpu}/cpufreq")).is_dir())
        .collect();
    cpus.sort_unstable();
    for (name, file, help) in FREQUENCIES {
        let values: Vec<(String, f64)> = cpus
            .iter()
            .filter_map(|cpu| {
                let path = host.sys_path(&format!("devices/system/cpu/cpu{cpu}/cpufreq/{file}"));
                Some((cpu.to_string(), read_number(&path)? * 1000.0))
            })
            .collect();
        if values.is_empty() {
            continue;
        }
        let mut family = page.family(name, MetricType::Gauge, help);
        for (cpu, hertz) in &values {
            family.sample(&[("cpu", cpu)], *hertz);
        }
    }
    write_governors(host, page, &cpus);
    Ok(())
}

/// One series per CPU and available governor; 1 for the one in force.
fn write_governors(host: &Host, page: &mut Page<'_>, cpus: &[u32]) {
    let governors: Vec<(String, String, String)> = cpus
        .iter()
        .filter_map(|cpu| {
            let folder = host.sys_path(&format!("devices/system/cpu/cpu{cpu}/cpufreq"));
            let available = read_word(&folder.join("scaling_available_governors"))?;
            Some((cpu.to_string(), available, read_word(&folder.join("scaling_governor"))?))
        })
        .collect();
    if governors.is_empty() {
        return;
    }
    let mut family =
        page.family("node_cpu_scaling_governor", MetricType::Gauge, "Which frequency governor is in force.");
    for (cpu, available, current) in &governors {
        for governor in available.split_whitespace() {
            family.sample(&[("cpu", cpu), ("governor", governor)], f64::from(u8::from(governor == current)));
        }
    }
}
