//! Many rules beside Prometheus on the same targets: `cargo bench --bench rules [-- NAME=VALUE ...]`.
//!
//! | parameter | default | what it is |
//! |---|---|---|
//! | `rules` | 2000 | rules in groups of 20, spread over the targets |
//! | `series` | 50000 | made series, 1000 per target |
//! | `interval` | 15 | seconds between scrapes, and between evaluations |
//! | `warmup` | 330 | seconds before measuring: windows are five minutes long |
//! | `duration` | 300 | seconds measured |
//! | `programs` | both | `outpost` or `prometheus`: one alone |
//!
//! Of each target's rules two in five sum rates by a label, three in ten are alerts on gauges (some of them fire), the rest
//! are means, quantiles of histograms and totals. Both programs scrape and store too, and are charged for it: the same with
//! `rules=0` tells how much that is. Slots that were missed, rules that failed and alerts that fire are asked of each program at
//! the end. Prometheus is taken from the folder in `OUTPOST_PEERS`, or from the path; another outpost from `OUTPOST_BINARY`.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a bench reports on stdout and times itself")]

#[allow(dead_code, reason = "recorded pages are for the other bench")]
#[path = "../scrape/pages.rs"]
mod pages;
#[path = "../scrape/process.rs"]
mod process;
mod rule_file;
#[path = "../scrape/server.rs"]
mod server;

use std::path::Path;
use std::time::Duration;

use pages::Pages;
use process::{Process, job};

/// What is measured, and for how long.
struct Plan {
    rules: usize,
    series: usize,
    interval_seconds: u64,
    warmup: Duration,
    duration: Duration,
    programs: String,
}

fn main() {
    let plan = Plan::from_arguments();
    let pages = Pages::made(plan.series);
    let targets = pages.names();
    let address = server::start(pages, true);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rules = folder.path().join("rules.yml");
    std::fs::write(&rules, rule_file::text(&targets, plan.rules)).expect("the rules can be written");
    let config = plan.config(address, &targets, &rules);
    let names = ["prometheus", "outpost"].into_iter().filter(|name| [*name, "both"].contains(&plan.programs.as_str()));
    let processes: Vec<Process> = names.map(|name| Process::start(name, folder.path(), &config)).collect();
    std::thread::sleep(plan.warmup);
    let before: Vec<Duration> = processes.iter().map(Process::cpu_time).collect();
    std::thread::sleep(plan.duration);
    plan.tell();
    let used: Vec<(f64, u64)> =
        processes.iter().zip(before).map(|(process, before)| plan.report(process, before)).collect();
    if let [(cpu, rss), (own_cpu, own_rss)] = used[..] {
        println!("outpost / prometheus: CPU {:.3}, RSS {:.3}", own_cpu / cpu, own_rss as f64 / rss as f64);
    }
}

impl Plan {
    fn from_arguments() -> Self {
        let mut plan = Self {
            rules: 2000,
            series: 50_000,
            interval_seconds: 15,
            warmup: Duration::from_secs(330),
            duration: Duration::from_secs(300),
            programs: "both".to_owned(),
        };
        for argument in std::env::args().skip(1).filter(|argument| !argument.starts_with("--")) {
            let (name, value) = argument.split_once('=').unwrap_or_else(|| panic!("{argument}: not NAME=VALUE"));
            let number = || value.parse::<u64>().unwrap_or_else(|_| panic!("{argument}: not a number"));
            match name {
                "rules" => plan.rules = number() as usize,
                "series" => plan.series = number() as usize,
                "interval" => plan.interval_seconds = number(),
                "warmup" => plan.warmup = Duration::from_secs(number()),
                "duration" => plan.duration = Duration::from_secs(number()),
                "programs" => plan.programs = value.to_owned(),
                _ => panic!("{name}: no such parameter"),
            }
        }
        plan
    }

    fn config(&self, address: std::net::SocketAddr, targets: &[String], rules: &Path) -> String {
        let seconds = self.interval_seconds;
        format!(
            "global: {{scrape_interval: {seconds}s, scrape_timeout: {seconds}s, evaluation_interval: {seconds}s}}\n\
             rule_files: ['{}']\n{}",
            rules.display(),
            job(address, targets)
        )
    }

    fn tell(&self) {
        println!(
            "{} rules over {} series every {} s, {} s measured after {} s",
            self.rules,
            self.series,
            self.interval_seconds,
            self.duration.as_secs(),
            self.warmup.as_secs()
        );
    }

    /// Seconds of CPU per minute, and resident memory in KiB.
    fn report(&self, process: &Process, before: Duration) -> (f64, u64) {
        let usage = process.usage(before, self.duration);
        let cpu = usage.cpu_time.as_secs_f64() * 60.0 / self.duration.as_secs_f64();
        let prefix = if usage.name == "outpost" { "outpost" } else { "prometheus" };
        let page = process.get("/metrics").expect("own metrics");
        let own = |name: &str| sum(&page, &format!("{prefix}_rule_{name}_total"));
        println!("{usage}");
        println!(
            "{:>10}  {cpu:.3} s CPU a minute; of {} slots {} missed; of {} evaluations {} failed; {} alerts",
            "",
            own("group_iterations"),
            own("group_iterations_missed"),
            own("evaluations"),
            own("evaluation_failures"),
            process.value("count(ALERTS)").unwrap_or(0.0)
        );
        (cpu, usage.memory_kib["VmRSS"])
    }
}

/// The sum of a family's samples.
fn sum(page: &str, family: &str) -> f64 {
    let of_family =
        page.lines().filter(|line| line.strip_prefix(family).is_some_and(|rest| rest.starts_with(['{', ' '])));
    of_family.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}
