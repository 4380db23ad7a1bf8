//! A target that gives each scrape a number of its own, and keeps which numbers it has given out.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::support::{PATIENCE, eventually, get_json};

/// Series on the page: each has the scrape's number, times this many, plus its own.
pub const SERIES: u64 = 20;

/// The target.
pub struct Ledger {
    /// `127.0.0.1:port`
    pub address: String,
    served: Arc<Mutex<Served>>,
}

/// What has been served.
#[derive(Clone, Default)]
pub struct Served {
    /// The number of the newest scrape.
    pub newest: u64,
    /// When it was asked for.
    pub at: Option<Instant>,
    /// When each was asked for, in seconds since the epoch, oldest first.
    pub asked: Vec<f64>,
    /// Connections that are open.
    connections: usize,
}

impl Ledger {
    /// Starts serving.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let served: Arc<Mutex<Served>> = Arc::default();
        let shared = Arc::clone(&served);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                shared.lock().unwrap().connections += 1;
                std::thread::spawn(move || {
                    serve(stream, &shared);
                    shared.lock().unwrap().connections -= 1;
                });
            }
        });
        Self { address, served }
    }

    /// The newest number once a program that has ended has no more requests under way. A connection of its may wait to be accepted
    /// still, and on a busy machine a request to be read, long after the program's end.
    pub fn settled(&self) -> u64 {
        // Connections are accepted in order: behind this one the dead program has none.
        let mut last = TcpStream::connect(&self.address).unwrap();
        last.shutdown(std::net::Shutdown::Write).unwrap();
        last.read_to_end(&mut Vec::new()).unwrap();
        eventually(PATIENCE, "the last connection is closed", || match self.served().connections {
            0 => Ok(()),
            open => Err(format!("{open} are open")),
        });
        self.served().newest
    }

    /// What has been served so far.
    pub fn served(&self) -> Served {
        self.served.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, served: &Mutex<Served>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        loop {
            line.clear();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let number = {
            let mut served = served.lock().unwrap();
            served.newest += 1;
            served.at = Some(Instant::now());
            served.asked.push(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64());
            served.newest
        };
        let page: String =
            (0..SERIES).map(|series| format!("ledger{{series=\"{series}\"}} {}\n", number * SERIES + series)).collect();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n";
        let answer = format!("{head}Content-Length: {}\r\n\r\n{page}", page.len());
        reader.get_mut().write_all(answer.as_bytes()).ok()?;
    }
}

/// The scrape numbers that a server has of one series, in order of time; panics where a value cannot have been served.
pub fn numbers(address: &str, series: u64) -> Result<Vec<u64>, String> {
    let query = super::support::encode(&format!("ledger{{series=\"{series}\"}}[1d]"));
    let answer = get_json(address, &format!("/api/v1/query?query={query}"))?;
    let Some(result) = answer["data"]["result"].as_array().and_then(|list| list.first()) else { return Ok(Vec::new()) };
    let values = result["values"].as_array().ok_or_else(|| format!("no values: {result}"))?;
    let mut found = Vec::new();
    for pair in values {
        let text = pair[1].as_str().unwrap_or("");
        if text == "NaN" {
            continue;
        }
        let value: u64 = text.parse().map_err(|_| format!("{text} was never served"))?;
        assert_eq!(value % SERIES, series, "{value} belongs to another series");
        found.push(value / SERIES);
    }
    assert!(found.is_sorted_by(|a, b| a < b), "out of order or twice: {found:?}");
    Ok(found)
}

/// The slots, in seconds since the epoch, of the ledger's scrapes that a server says have failed.
pub fn failed_slots(address: &str) -> Result<Vec<f64>, String> {
    let query = super::support::encode("up{job=\"ledger\"}[1d]");
    let answer = get_json(address, &format!("/api/v1/query?query={query}"))?;
    let values = answer["data"]["result"][0]["values"].as_array().cloned().unwrap_or_default();
    Ok(values.iter().filter(|pair| pair[1] == "0").filter_map(|pair| pair[0].as_f64()).collect())
}
