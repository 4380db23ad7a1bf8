//! CPU frequencies from `/sys/devices/system/cpu/cpu*/cpufreq`, in hertz.

use super::super::page::Page;
use super::host::{Folder, Host, NodeError};
use super::table::Table;
use crate::model::MetricType::Gauge;

/// The kernel counts in kilohertz.
const CPUS: Table = Table {
    prefix: "node_cpu_",
    labels: &["cpu"],
    help: "",
    lines: "\
cpuinfo_cur_freq frequency_hertz *1000 Current frequency of the CPU in hertz.
cpuinfo_min_freq frequency_min_hertz *1000 Lowest frequency of the CPU in hertz.
cpuinfo_max_freq frequency_max_hertz *1000 Highest frequency of the CPU in hertz.
scaling_cur_freq scaling_frequency_hertz *1000 Current scaled frequency of the CPU in hertz.
scaling_min_freq scaling_frequency_min_hertz *1000 Lowest scaled frequency of the CPU in hertz.
scaling_max_freq scaling_frequency_max_hertz *1000 Highest scaled frequency of the CPU in hertz.",
};

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let mut cpus: Vec<(u32, Folder)> = host
        .sys_names("devices/system/cpu")
        .iter()
        .filter_map(|name| {
            let number = name.strip_prefix("cpu")?.parse().ok()?;
            Some((number, Folder::open(&host.sys_path(&format!("devices/system/cpu/{name}/cpufreq")))?))
        })
        .collect();
    cpus.sort_unstable_by_key(|(number, _)| *number);
    let rows: Vec<_> = cpus.iter().map(|(number, folder)| CPUS.files(vec![number.to_string()], folder)).collect();
    CPUS.write(page, &rows);
    write_governors(page, &cpus);
    Ok(())
}

/// One series per CPU and available governor; 1 for the one in force.
fn write_governors(page: &mut Page<'_>, cpus: &[(u32, Folder)]) {
    let mut family = page.family("node_cpu_scaling_governor", Gauge, "Which frequency governor is in force.");
    for (number, folder) in cpus {
        let (Some(available), Some(current)) =
            (folder.word("scaling_available_governors"), folder.word("scaling_governor"))
        else {
            continue;
        };
        for governor in available.split_ascii_whitespace() {
            let is_current = f64::from(u8::from(governor == current));
            family.sample(&[("cpu", &number.to_string()), ("governor", governor)], is_current);
        }
    }
}
