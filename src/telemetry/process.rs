//! What the kernel says of this process, under the names that every Prometheus client library uses.

use super::{Emit, Registry};
use crate::model::MetricType;

/// Adds the `process_*` families. `start_time_seconds` is wall time, taken once: a Pi's clock may jump later.
pub fn register_process_metrics(registry: &Registry, start_time_seconds: f64) {
    let gauge = MetricType::Gauge;
    registry.family(
        "process_cpu_seconds_total",
        "CPU time used, user and system, in seconds.",
        MetricType::Counter,
        with_stat(|field| Some((field(14)? + field(15)?) / rustix::param::clock_ticks_per_second() as f64)),
    );
    registry.family(
        "process_resident_memory_bytes",
        "Resident memory in bytes.",
        gauge,
        with_stat(|field| Some(field(24)? * rustix::param::page_size() as f64)),
    );
    registry.family("process_virtual_memory_bytes", "Virtual memory in bytes.", gauge, with_stat(|field| field(23)));
    registry.family("process_threads", "Threads of the process.", gauge, with_stat(|field| field(20)));
    registry.family("process_open_fds", "Open file descriptors.", gauge, |emit| {
        if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
            // One of them is the folder that is being read.
            emit(&[], entries.count().saturating_sub(1) as f64);
        }
    });
    registry.family("process_max_fds", "File descriptors at most.", gauge, |emit| {
        if let Some(limit) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
            emit(&[], limit as f64);
        }
    });
    registry.family("process_start_time_seconds", "When the process started, as Unix time.", gauge, move |emit| {
        emit(&[], start_time_seconds);
    });
}

/// A field of `/proc/self/stat` by its number in proc(5).
type Field<'a> = &'a dyn Fn(usize) -> Option<f64>;

/// A source that reads `/proc/self/stat` and gives nothing where that fails.
fn with_stat(value: fn(Field<'_>) -> Option<f64>) -> impl Fn(&mut Emit<'_>) + Send + Sync + 'static {
    move |emit| {
        let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The second field is the program's name in parentheses, which may hold blanks.
        let fields: Vec<&str> = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace().collect();
        if let Some(value) = value(&|number| fields.get(number - 3)?.parse().ok()) {
            emit(&[], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_files() {
        let registry = Registry::new();
        register_process_metrics(&registry, 12.5);
        let mut page = Vec::new();
        registry.render(&mut page);
        let page = String::from_utf8(page).expect("text");
        for name in ["process_resident_memory_bytes", "process_open_fds", "process_threads", "process_max_fds"] {
            let line = page.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {page}"));
            let value: f64 = line.split(' ').nth(1).expect("a value").parse().expect("a number");
            assert!(value > 0.0, "{line}");
        }
        assert!(page.contains("\nprocess_start_time_seconds 12.5\n"), "{page}");
    }
}
