//! From a sample that makes an expression true to the request at the Alertmanager:
//! `cargo bench --bench alerts [-- interval=1 scrapes=60 targets=8 groups=5]`.
//!
//! Each target says something new with every scrape, which one rule in each group takes for an alert without a `for`. Scrapes and
//! slots are spread over the interval, so that targets and groups give as many distances between the two. The clock starts
//! when the scrape's request has come in and stops when the alert's first request has. An alert should need one evaluation interval
//! and a quarter of a second at most. Another outpost is taken from `OUTPOST_BINARY`.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a bench reports on stdout and times itself")]

#[path = "scrape/process.rs"]
mod process;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use process::{Process, job};

/// For how many scrapes a target repeats what it has said.
const SAID_FOR: usize = 3;

/// What the alerts are known by: target, number of the scrape, group.
type Key = (String, String, String);

#[derive(Default)]
struct Book {
    /// How often each target was scraped.
    scrapes: BTreeMap<String, usize>,
    said: BTreeMap<(String, String), Instant>,
    told: BTreeMap<Key, Duration>,
}

fn main() {
    let parameter = |name: &str, default: usize| {
        let given = std::env::args().find_map(|argument| argument.strip_prefix(&format!("{name}=")).map(str::to_owned));
        given.map_or(default, |given| given.parse().unwrap_or_else(|_| panic!("{name}={given}: not a number")))
    };
    let [interval, scrapes, targets, groups] = [("interval", 1), ("scrapes", 60), ("targets", 8), ("groups", 5)]
        .map(|(name, default)| parameter(name, default));
    let book = Arc::new(Mutex::new(Book::default()));
    let address = listen(&book);
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("rules.yml"), rules(groups)).expect("a writable folder");
    let outpost = Process::start("outpost", folder.path(), &config(interval, targets, address));
    // The last ones have an interval and a bit to arrive.
    std::thread::sleep(Duration::from_secs((interval * (scrapes + 2)) as u64));
    drop(outpost);
    let log = std::fs::read_to_string(folder.path().join("outpost.log")).expect("readable");
    report(&book.lock().expect("lock"), interval, scrapes, groups, &log);
}

fn report(book: &Book, interval: usize, scrapes: usize, groups: usize, log: &str) {
    let mut latencies: Vec<Duration> = book.told.values().copied().collect();
    assert!(!latencies.is_empty(), "no alert has arrived:\n{log}");
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    // What was said in the last interval may still be on its way.
    let number = |text: &str| text.parse::<usize>().unwrap_or(0);
    let due = book.said.keys().filter(|(target, n)| number(n) + 2 < book.scrapes[target]).count() * groups;
    let arrived = book.told.keys().filter(|(target, n, _)| number(n) + 2 < book.scrapes[target]).count();
    println!(
        "{scrapes} scrapes at {interval} s: {} alerts, {} of {due} that were due missing; median {:.0} ms, p99 {:.0} ms, max {:.0} ms",
        latencies.len(),
        due - arrived,
        at(0.5),
        at(0.99),
        at(1.0)
    );
    let bound_ms = interval as f64 * 1e3 + 250.0;
    println!(
        "above {bound_ms:.0} ms: {}",
        latencies.iter().filter(|latency| latency.as_secs_f64() * 1e3 > bound_ms).count()
    );
}

fn rules(groups: usize) -> String {
    let group = |group| {
        format!("- name: group {group}\n  rules: [{{alert: Said, expr: 'said == 1', labels: {{group: '{group}'}}}}]\n")
    };
    "groups:\n".to_owned() + &(0..groups).map(group).collect::<String>()
}

fn config(interval: usize, targets: usize, address: SocketAddr) -> String {
    let targets: Vec<String> = (0..targets).map(|target| target.to_string()).collect();
    format!(
        "global: {{scrape_interval: {interval}s, scrape_timeout: {interval}s, evaluation_interval: {interval}s}}\n\
         rule_files: [rules.yml]\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{address}']}}]}}]}}\n\
         {}",
        job(address, &targets)
    )
}

/// The targets and the Alertmanager.
fn listen(book: &Arc<Mutex<Book>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let book = Arc::clone(book);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let book = Arc::clone(&book);
            std::thread::spawn(move || serve(stream, &book));
        }
    });
    address
}

/// Ends with the connection.
fn serve(stream: TcpStream, book: &Mutex<Book>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let arrived = Instant::now();
        let path = line.split(' ').nth(1)?.trim_start_matches('/').to_owned();
        let mut length = 0;
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let mut book = book.lock().expect("lock");
        let answer = if path.starts_with("api/") { book.take(&body, arrived) } else { book.page(&path, arrived) };
        drop(book);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        reader.get_mut().write_all(&[head.as_bytes(), answer.as_bytes()].concat()).ok()?;
    }
}

impl Book {
    fn page(&mut self, target: &str, now: Instant) -> String {
        let count = self.scrapes.entry(target.to_owned()).or_default();
        *count += 1;
        self.said.insert((target.to_owned(), count.to_string()), now);
        (count.saturating_sub(SAID_FOR) + 1..=*count).map(|n| format!("said{{n=\"{n}\"}} 1\n")).collect()
    }

    fn take(&mut self, body: &[u8], now: Instant) -> String {
        let alerts: Vec<serde_json::Value> = serde_json::from_slice(body).expect("a list of alerts");
        for alert in alerts {
            let label = |name: &str| alert["labels"][name].as_str().unwrap_or("").to_owned();
            let [target, n, group] = ["instance", "n", "group"].map(label);
            let said = self.said[&(target.clone(), n.clone())];
            self.told.entry((target, n, group)).or_insert(now - said);
        }
        "{}".to_owned()
    }
}
