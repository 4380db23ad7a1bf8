//! An Alertmanager that takes alerts, or does not, as the test says.

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use outpost::model::parse_rfc3339;
use serde_json::Value;

use super::target::{listen, read_request};

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
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        let address = listen("127.0.0.1:0", move |stream| serve(stream, &serving));
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
        let (request_line, body) = read_request(&mut reader)?;
        let is_post = request_line.starts_with("POST /api/v2/alerts ");
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

/// A time in RFC 3339, as milliseconds since the epoch.
pub fn milliseconds(text: &str) -> i64 {
    parse_rfc3339(text).unwrap_or_else(|| panic!("{text:?} is not a time")).0
}
