//! CPU time of a collection of this host beside node_exporter's: `cargo bench --bench node` (or `-- COLLECTIONS`).
//!
//! Asks both in turn, ten at a time, so that they meet the same machine, and reports user and system time of each per page.
//! node_exporter is the one in the folder that `OUTPOST_PEERS` names. Its time includes answering over HTTP, ours the hand-over to
//! the blocking thread; neither includes a server's storing.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a bench reports on stdout and times itself")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use outpost::clock::Clock;
use outpost::collect::{Collector, NodeCollector, NodeCollectorSettings};

const TURN: u32 = 10;

fn main() {
    let wanted = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(200_u32);
    let (mut exporter, address) = start_exporter();
    let collector = NodeCollector::new(NodeCollectorSettings::default(), Clock::system());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut page = Vec::new();
    let mut ours = || {
        page.clear();
        runtime.block_on(collector.collect(&mut page)).expect("this host has a /proc");
        page.iter().filter(|byte| **byte == b'\n').count()
    };
    // What is made once is not a page's.
    let (our_lines, their_lines) = (ours(), ask(&address));
    let (mut our_time, mut their_time) = ([0.0; 2], [0.0; 2]);
    for _ in 0..wanted / TURN {
        add(&mut our_time, "self", || (0..TURN).map(|_| ours()).sum());
        add(&mut their_time, &exporter.id().to_string(), || (0..TURN).map(|_| ask(&address)).sum());
    }
    exporter.kill().expect("it runs");
    exporter.wait().expect("it was killed");
    let per_page = |time: [f64; 2]| time.map(|seconds| seconds * 1000.0 / f64::from(wanted / TURN * TURN));
    let (ours, theirs) = (per_page(our_time), per_page(their_time));
    println!("outpost: user {:.2} ms, system {:.2} ms, {our_lines} lines", ours[0], ours[1]);
    println!("node_exporter: user {:.2} ms, system {:.2} ms, {their_lines} lines", theirs[0], theirs[1]);
    println!("ratio: {:.2}", (ours[0] + ours[1]) / (theirs[0] + theirs[1]));
}

fn start_exporter() -> (Child, String) {
    let folder = std::env::var_os("OUTPOST_PEERS").expect("OUTPOST_PEERS names the peers' folder");
    let mut command = Command::new(Path::new(&folder).join("prometheus-node-exporter"));
    command.args(["--web.listen-address=127.0.0.1:0", "--web.disable-exporter-metrics"]).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut log = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.contains("Listening on") {
        line.clear();
        assert!(log.read_line(&mut line).expect("a log") > 0, "node_exporter ended");
    }
    let address = line.split("address=").nth(1).expect("an address").split_whitespace().next().expect("an address");
    // What it writes from now on is read away.
    let address = address.to_owned();
    std::thread::spawn(move || log.read_to_end(&mut Vec::new()));
    (child, address)
}

fn ask(address: &str) -> usize {
    let mut connection = TcpStream::connect(address).expect("it listens");
    write!(connection, "GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n").expect("writable");
    let mut page = Vec::new();
    connection.read_to_end(&mut page).expect("readable");
    page.iter().filter(|byte| **byte == b'\n').count()
}

/// Adds the user and system time that a process spends meanwhile.
fn add(time: &mut [f64; 2], process: &str, work: impl FnOnce() -> usize) {
    let before = cpu_seconds(process);
    std::hint::black_box(work());
    let after = cpu_seconds(process);
    for index in 0..2 {
        time[index] += after[index] - before[index];
    }
}

fn cpu_seconds(process: &str) -> [f64; 2] {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it lives");
    let fields: Vec<&str> = text.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    [11, 12].map(|at| fields[at].parse::<f64>().expect("a number") / ticks)
}
