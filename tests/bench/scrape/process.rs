//! A program under measurement: started, asked for what it scraped, its use of the machine read from the kernel.

#![allow(dead_code, reason = "each bench that includes this uses a part of it")]

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a program may take until it answers.
const START_MAX: Duration = Duration::from_secs(60);

/// A running program; it ends with this value.
pub struct Process {
    name: &'static str,
    child: Child,
    /// Where it answers.
    pub address: SocketAddr,
}

/// What a program used.
pub struct Usage {
    /// Of what.
    pub name: &'static str,
    /// User and system.
    pub cpu_time: Duration,
    samples: f64,
    /// Lines of `/proc/PID/status`.
    pub memory_kib: BTreeMap<&'static str, u64>,
}

impl Process {
    /// Starts `prometheus` or `outpost` with a configuration and its data below `folder`.
    pub fn start(name: &'static str, folder: &Path, config: &str) -> Self {
        let (file, data) = (folder.join(format!("{name}.yml")), folder.join(name));
        std::fs::write(&file, config).expect("the configuration can be written");
        let address = free_address();
        let log = std::fs::File::create(folder.join(format!("{name}.log"))).expect("the log can be created");
        let child = Command::new(program(name))
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let process = Self { name, child, address };
        process.wait_until_ready(folder);
        process
    }

    /// User and system time so far, to the nanosecond.
    #[allow(unsafe_code, reason = "no safe call reads another process's clock, and /proc counts in steps of 10 ms")]
    pub fn cpu_time(&self) -> Duration {
        let pid = libc::pid_t::try_from(self.child.id()).expect("a process id");
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let mut clock = 0;
        // SAFETY: both calls only write to the variable that they are given.
        let failed =
            unsafe { libc::clock_getcpuclockid(pid, &mut clock) != 0 || libc::clock_gettime(clock, &mut time) != 0 };
        assert!(!failed, "{} has ended", self.name);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    /// What was used since `before`, which was `duration` ago.
    pub fn usage(&self, before: Duration, duration: Duration) -> Usage {
        let cpu_time = self.cpu_time() - before;
        let memory_kib = self.memory();
        let seconds = duration.as_secs();
        let query = format!("sum(sum_over_time(scrape_samples_scraped%5B{seconds}s%5D))");
        let samples = self.value(&query).unwrap_or_else(|| panic!("{}: no scrapes", self.name));
        Usage { name: self.name, cpu_time, samples, memory_kib }
    }

    /// What a query, encoded for a URL, gives first.
    pub fn value(&self, query: &str) -> Option<f64> {
        let answer = self.get(&format!("/api/v1/query?query={query}")).expect("an answer to a query");
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("the answer is JSON");
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }

    /// Forgets how much memory it once had: `VmHWM` counts from now on.
    pub fn reset_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").expect("own children may be reset");
    }

    /// Lines of `/proc/PID/status`, in KiB.
    pub fn memory(&self) -> BTreeMap<&'static str, u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let kib = |key: &str| {
            let line = status.lines().find(|line| line.starts_with(key) && line[key.len()..].starts_with(':'));
            line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
        };
        ["VmRSS", "RssAnon", "RssFile", "VmHWM"].into_iter().map(|key| (key, kib(key))).collect()
    }

    fn wait_until_ready(&self, folder: &Path) {
        let deadline = Instant::now() + START_MAX;
        while self.get("/-/ready").is_none() {
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(folder.join(format!("{}.log", self.name))).unwrap_or_default();
                panic!("{} does not become ready:\n{log}", self.name);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The body of a good answer.
    pub fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        let host = self.address;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.split(' ').nth(1).filter(|status| *status == "200").map(|_| body.to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; the report says so then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Usage {
    pub fn cpu_per_sample_us(&self) -> f64 {
        self.cpu_time.as_secs_f64() * 1e6 / self.samples
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, samples) = (self.name, self.samples);
        let (micros, seconds) = (self.cpu_per_sample_us(), self.cpu_time.as_secs_f64());
        write!(f, "{name:>10}: {samples} samples, {seconds:.3} s CPU, {micros:.3} µs per sample")?;
        self.memory_kib.iter().try_for_each(|(key, kib)| write!(f, ", {key} {:.1} MiB", *kib as f64 / 1024.0))
    }
}

/// `scrape_configs` with one job: each target is a path at this address, and its `instance` too.
pub fn job(address: SocketAddr, targets: &[String]) -> String {
    let target = |target| {
        format!("  - {{targets: ['{address}'], labels: {{__metrics_path__: '/{target}', instance: '{target}'}}}}\n")
    };
    let targets: String = targets.iter().map(target).collect();
    format!("scrape_configs:\n- job_name: bench\n  static_configs:\n{targets}")
}

fn program(name: &str) -> String {
    if name == "outpost" {
        return std::env::var("OUTPOST_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_outpost").to_owned());
    }
    std::env::var("OUTPOST_PEERS").map_or_else(|_| name.to_owned(), |folder| format!("{folder}/{name}"))
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound listener has an address")
}
