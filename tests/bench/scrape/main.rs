//! The whole program beside Prometheus on the same targets: `cargo bench --bench scrape [-- NAME=VALUE ...]`.
//!
//! | parameter | default | what it is |
//! |---|---|---|
//! | `series` | 5000 | made series, 1000 per target; `capture` plays ../shared/capture |
//! | `interval` | 1 | seconds between scrapes |
//! | `warmup` | 30 | seconds before measuring: starting up does not count |
//! | `duration` | 60 | seconds measured; best a multiple of the flush interval (30 s) |
//! | `collectors` | 0 | 1: outpost runs its node and docker collectors too (and is charged for them) |
//! | `gzip` | 1 | 1: targets compress when asked to, as client_golang's do |
//! | `programs` | both | `outpost` or `prometheus`: one alone |
//!
//! The figures of the goals: `-- series=5000 interval=15 warmup=60 duration=1740 collectors=1`, and `series=50000`.
//! Prometheus is taken from the folder in `OUTPOST_PEERS`, or from the path; another outpost from `OUTPOST_BINARY`.
//! CPU time is the kernel's exact count for the process, so that what else the machine does hardly matters.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a bench reports on stdout and times itself")]

mod pages;
mod process;
mod server;

use std::time::Duration;

use pages::Pages;
use process::{Process, Usage, job};

/// What is measured, and for how long.
struct Plan {
    series: String,
    interval: Duration,
    warmup: Duration,
    duration: Duration,
    with_collectors: bool,
    with_gzip: bool,
    programs: String,
}

fn main() {
    let plan = Plan::from_arguments();
    let pages = match plan.series.as_str() {
        "capture" => Pages::recorded(plan.interval),
        number => Pages::made(number.parse().expect("a number of series, or \"capture\"")),
    };
    let names = pages.names();
    let address = server::start(pages, plan.with_gzip);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = plan.config(address, &names);
    let mut processes = Vec::new();
    for program in
        ["prometheus", "outpost"].into_iter().filter(|name| [*name, "both"].contains(&plan.programs.as_str()))
    {
        let extra = if program == "outpost" && plan.with_collectors { COLLECTORS } else { "" };
        processes.push(Process::start(program, folder.path(), &format!("{config}{extra}")));
    }
    std::thread::sleep(plan.warmup);
    let before: Vec<Duration> = processes.iter().map(Process::cpu_time).collect();
    std::thread::sleep(plan.duration);
    let usages: Vec<Usage> =
        processes.iter().zip(before).map(|(process, before)| process.usage(before, plan.duration)).collect();
    report(&plan, &usages);
}

const COLLECTORS: &str = "- {job_name: node, collector: node}\n- {job_name: docker, collector: docker}\n";

impl Plan {
    fn from_arguments() -> Self {
        let mut plan = Self {
            series: "5000".to_owned(),
            interval: Duration::from_secs(1),
            warmup: Duration::from_secs(30),
            duration: Duration::from_secs(60),
            with_collectors: false,
            with_gzip: true,
            programs: "both".to_owned(),
        };
        for argument in std::env::args().skip(1).filter(|argument| !argument.starts_with("--")) {
            let (name, value) = argument.split_once('=').unwrap_or_else(|| panic!("{argument}: not NAME=VALUE"));
            let seconds = || Duration::from_secs(value.parse().unwrap_or_else(|_| panic!("{argument}: not seconds")));
            match name {
                "series" => plan.series = value.to_owned(),
                "interval" => plan.interval = seconds(),
                "warmup" => plan.warmup = seconds(),
                "duration" => plan.duration = seconds(),
                "collectors" => plan.with_collectors = value == "1",
                "gzip" => plan.with_gzip = value == "1",
                "programs" => plan.programs = value.to_owned(),
                _ => panic!("{name}: no such parameter"),
            }
        }
        plan
    }

    fn config(&self, address: std::net::SocketAddr, targets: &[String]) -> String {
        let seconds = self.interval.as_secs();
        format!("global: {{scrape_interval: {seconds}s, scrape_timeout: {seconds}s}}\n{}", job(address, targets))
    }
}

fn report(plan: &Plan, usages: &[Usage]) {
    println!(
        "series={} interval={} s, {} s measured after {} s, collectors={}, gzip={}",
        plan.series,
        plan.interval.as_secs(),
        plan.duration.as_secs(),
        plan.warmup.as_secs(),
        u8::from(plan.with_collectors),
        u8::from(plan.with_gzip)
    );
    for usage in usages {
        println!("{usage}");
    }
    if let [prometheus, outpost] = usages {
        println!(
            "outpost / prometheus: CPU per sample {:.3}, RSS {:.3}",
            outpost.cpu_per_sample_us() / prometheus.cpu_per_sample_us(),
            outpost.memory_kib["VmRSS"] as f64 / prometheus.memory_kib["VmRSS"] as f64
        );
    }
}
