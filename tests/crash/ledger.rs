//! A target that gives each scrape a number of its own, and keeps which numbers it has given out.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::support::get_json;

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
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, served }
    }

    /// The newest number, once no more are asked for.
    pub fn settled(&self) -> u64 {
        loop {
            let before = self.served().newest;
            std::thread::sleep(std::time::Duration::from_millis(30));
            if self.served().newest == before {
                return before;
            }
        }
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

/// How many scrapes of the ledger a server counts as failed.
pub fn scrapes_failed(address: &str) -> Result<usize, String> {
    let query = super::support::encode("up{job=\"ledger\"}[1d]");
    let answer = get_json(address, &format!("/api/v1/query?query={query}"))?;
    let values = answer["data"]["result"][0]["values"].as_array().cloned().unwrap_or_default();
    Ok(values.iter().filter(|pair| pair[1] == "0").count())
}
