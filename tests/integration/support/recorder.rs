//! An Alertmanager that takes alerts, or does not, as the test says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::Value;

/// Firing alerts are to be believed for four minutes; an alert of a test lives for seconds.
const LIVES_AT_MOST_MS: i64 = 200_000;

/// What becomes of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// It is taken.
    #[default]
    Takes,
    /// It is answered with this status.
    Answers(u16),
    /// It is never answered, until the manner changes.
    Hangs,
    /// The connection breaks.
    Resets,
    /// It is sent elsewhere with this status.
    Redirects(u16, String),
}

/// One alert of a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Told {
    /// `alertname`, and the label `case` behind a blank if there is one.
    pub name: String,
    /// Milliseconds since the epoch.
    pub starts_ms: i64,
    /// The end, where the alert was resolved.
    pub ends_ms: Option<i64>,
}

/// The Alertmanager; its threads live as long as the test's process.
#[derive(Clone)]
pub struct AlertRecorder {
    /// `127.0.0.1:port`
    pub address: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    manner: Mutex<Manner>,
    changed: Condvar,
    /// Alerts in requests that were taken, and in those that were not.
    taken: Mutex<Vec<Told>>,
    refused: Mutex<Vec<Told>>,
}

impl AlertRecorder {
    /// Listens, and takes everything for now.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, shared }
    }

    /// Goes on in another way.
    pub fn set(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
        self.shared.changed.notify_all();
    }

    /// The alerts that were taken, in order, repetitions included.
    pub fn taken(&self) -> Vec<Told> {
        self.shared.taken.lock().unwrap().clone()
    }

    /// Those that were not.
    pub fn refused(&self) -> Vec<Told> {
        self.shared.refused.lock().unwrap().clone()
    }

    /// What was told of one alert, each begin and end once.
    pub fn story(&self, name: &str) -> Vec<Told> {
        let mut story = Vec::new();
        for told in self.taken().into_iter().filter(|told| told.name == name) {
            if !story.contains(&told) {
                story.push(told);
            }
        }
        story
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (is_post, body) = read_request(&mut reader)?;
        let manner = shared.manner.lock().unwrap().clone();
        let alerts = if is_post { alerts_of(&body) } else { Vec::new() };
        let kept = if manner == Manner::Takes { &shared.taken } else { &shared.refused };
        kept.lock().unwrap().extend(alerts);
        let head = match manner {
            Manner::Takes => "HTTP/1.1 200 OK\r\n".to_owned(),
            Manner::Answers(status) => format!("HTTP/1.1 {status} As Told\r\n"),
            Manner::Redirects(status, to) => format!("HTTP/1.1 {status} Elsewhere\r\nLocation: {to}\r\n"),
            Manner::Hangs => {
                let still = shared.manner.lock().unwrap();
                drop(shared.changed.wait_while(still, |manner| *manner == Manner::Hangs).unwrap());
                return None;
            }
            Manner::Resets => {
                rustix::net::sockopt::set_socket_linger(reader.get_ref(), Some(Duration::ZERO)).ok()?;
                return None;
            }
        };
        reader.get_mut().write_all(format!("{head}Content-Length: 2\r\n\r\n[]").as_bytes()).ok()?;
    }
}

/// Whether it is a POST, and the body.
fn read_request(reader: &mut BufReader<TcpStream>) -> Option<(bool, Vec<u8>)> {
    let mut request_line = String::new();
    reader.read_line(&mut request_line).ok().filter(|read| *read > 0)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((request_line.starts_with("POST /api/v2/alerts "), body))
}

fn alerts_of(body: &[u8]) -> Vec<Told> {
    let alerts: Value = serde_json::from_slice(body).expect("JSON");
    let told = |alert: &Value| {
        let [starts_ms, ends_ms] = ["startsAt", "endsAt"].map(|name| milliseconds(alert[name].as_str().unwrap()));
        let labels = &alert["labels"];
        let case = labels["case"].as_str().map(|case| format!(" {case}")).unwrap_or_default();
        Told {
            name: format!("{}{case}", labels["alertname"].as_str().unwrap()),
            starts_ms,
            ends_ms: (ends_ms - starts_ms < LIVES_AT_MOST_MS).then_some(ends_ms),
        }
    };
    alerts.as_array().expect("a list").iter().map(told).collect()
}

/// A time in RFC 3339 with milliseconds and in UTC, as milliseconds since the epoch.
pub fn milliseconds(text: &str) -> i64 {
    assert!(text.ends_with('Z') && text.len() >= "2026-01-01T00:00:00Z".len(), "{text}");
    let part = |range: std::ops::Range<usize>| text[range].parse::<i64>().unwrap();
    // Days since the epoch by the civil calendar: years begin in March, so that the leap day is the last one.
    let (year, month, day) = (part(0..4), part(5..7), part(8..10));
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468;
    let seconds = ((days * 24 + part(11..13)) * 60 + part(14..16)) * 60 + part(17..19);
    let fraction = format!("0{}", &text[19..text.len() - 1]).parse::<f64>().unwrap();
    seconds * 1000 + (fraction * 1000.0).round() as i64
}
