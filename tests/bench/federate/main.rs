//! `/federate` beside Prometheus's, of the same series: `cargo bench --bench federate [-- PART ...]`.
//!
//! | part | what it measures |
//! |---|---|
//! | `pull` | 10,000 matched of 50,000 series: median latency, CPU per pull, bytes with gzip |
//! | `crowd` | 100 pullers of that at once: how much the resident memory grows, and whether scrapes stay on time |
//! | `slow` | a reader of 1 kB/s: when it has read what the kernel kept for it and is left, and what it costs until then |
//! | `catch-up` | 6 h of 1,000 series at 15 s, given to a real Prometheus: how many scrapes it takes |
//!
//! All but `slow` without arguments. Prometheus is taken from the folder in `OUTPOST_PEERS`, or from the path. Both programs
//! scrape 50 targets every 15 s while they are measured; what that costs is measured before and taken off the CPU time.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a bench reports on stdout and times itself")]
#![allow(clippy::unwrap_used, reason = "a bench may stop at the first surprise")]

mod catch_up;
#[path = "../scrape/pages.rs"]
#[allow(dead_code, reason = "recorded pages are for the other bench")]
mod pages;
#[path = "../scrape/process.rs"]
mod process;
mod puller;
#[path = "../scrape/server.rs"]
mod server;

use std::time::{Duration, Instant};

use pages::Pages;
use process::{Process, job};
use puller::{pull, pull_slowly};

/// Ten of fifty targets, a thousand series each.
const PATH: &str = "/federate?match[]=%7Binstance%3D~%22%5B0-9%5D%22%2C__name__!~%22up%7Cscrape_.*%22%7D";
const SERIES: usize = 50_000;
const PULLS: u32 = 40;
const CROWD: usize = 100;
/// A few scrapes, and the first flush.
const WARMUP: Duration = Duration::from_secs(50);
const BASELINE: Duration = Duration::from_secs(30);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [word, now, flags @ ..] = arguments.as_slice()
        && word == "serve"
    {
        return catch_up::serve(now.parse().unwrap(), flags);
    }
    let wants =
        |part: &str| if arguments.is_empty() { part != "slow" } else { arguments.iter().any(|name| name == part) };
    if ["pull", "crowd", "slow"].iter().any(|part| wants(part)) {
        beside_prometheus(wants);
    }
    if wants("catch-up") {
        catch_up::measure();
    }
}

fn beside_prometheus(wants: impl Fn(&str) -> bool) {
    let pages = Pages::made(SERIES);
    let names = pages.names();
    let targets = server::start(pages, true);
    let config = format!("global: {{scrape_interval: 15s}}\n{}", job(targets, &names));
    let folder = tempfile::tempdir().unwrap();
    let programs: Vec<(&str, Process)> = ["prometheus", "outpost"]
        .into_iter()
        .map(|name| (name, Process::start(name, folder.path(), &config)))
        .collect();
    std::thread::sleep(WARMUP);
    if wants("pull") {
        println!("pull: 10,000 matched of {SERIES} series, {PULLS} pulls");
        programs.iter().for_each(|(name, process)| measure_pulls(name, process));
    }
    if wants("crowd") {
        println!("crowd: {CROWD} pullers at once");
        programs.iter().for_each(|(name, process)| measure_crowd(name, process));
    }
    if wants("slow") {
        println!("slow: a reader of 1 kB/s");
        let (name, process) = &programs[1];
        let before = process.memory();
        let (lasted, read) = pull_slowly(process.address, PATH);
        let (before, after) = (before["VmRSS"], process.memory()["VmHWM"]);
        println!(
            "{name:>10}: left after {:.0} s and {read} bytes; {before} KiB before, {after} KiB at most",
            lasted.as_secs_f64()
        );
    }
}

fn measure_pulls(name: &str, process: &Process) {
    let before = process.cpu_time();
    std::thread::sleep(BASELINE);
    let idle = (process.cpu_time() - before).as_secs_f64() / BASELINE.as_secs_f64();
    let (began, before) = (Instant::now(), process.cpu_time());
    let mut latencies = Vec::new();
    let mut bytes = 0;
    for _ in 0..PULLS {
        let began = Instant::now();
        bytes = pull(process.address, PATH, true).unwrap();
        latencies.push(began.elapsed());
        // Spread over several scrapes, as the baseline is.
        std::thread::sleep(Duration::from_millis(750));
    }
    let used = (process.cpu_time() - before).as_secs_f64() - idle * began.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let plain = pull(process.address, PATH, false).unwrap();
    println!(
        "{name:>10}: median {:.1} ms, CPU {:.1} ms a pull, {bytes} bytes with gzip, {plain} without",
        latencies[latencies.len() / 2].as_secs_f64() * 1e3,
        used * 1e3 / f64::from(PULLS)
    );
}

fn measure_crowd(name: &str, process: &Process) {
    process.reset_peak();
    let before = process.memory()["VmRSS"];
    let began = Instant::now();
    let refused = std::thread::scope(|scope| {
        let pullers: Vec<_> = (0..CROWD).map(|_| scope.spawn(|| pull(process.address, PATH, true))).collect();
        pullers.into_iter().map(|puller| puller.join().unwrap()).filter(Result::is_err).count()
    });
    let took = began.elapsed();
    let peak = process.memory()["VmHWM"];
    // The scrapes after it tell whether one came late.
    std::thread::sleep(Duration::from_secs(20));
    let slowest = process.value("max(max_over_time(scrape_duration_seconds%5B1m%5D))").unwrap();
    println!(
        "{name:>10}: {refused} refused, the others served after {:.2} s, memory grew by {:.1} MiB from {:.1}, slowest scrape {slowest:.2} s",
        took.as_secs_f64(),
        (peak.saturating_sub(before)) as f64 / 1024.0,
        before as f64 / 1024.0
    );
}
