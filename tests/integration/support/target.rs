//! Small servers that a test writes the answers of.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// A target whose page the test may change at any time.
pub struct PageServer {
    /// `127.0.0.1:port`
    pub address: String,
    page: Arc<Mutex<Vec<u8>>>,
}

impl PageServer {
    /// Serves `page` at every path as the Prometheus text format.
    pub fn start(page: &str) -> Self {
        let page = Arc::new(Mutex::new(page.as_bytes().to_vec()));
        let served = Arc::clone(&page);
        let address =
            serve("127.0.0.1:0", move |_, _| ("text/plain; version=0.0.4".to_owned(), served.lock().unwrap().clone()));
        Self { address, page }
    }

    /// Replaces the page.
    pub fn set(&self, page: impl AsRef<[u8]>) {
        *self.page.lock().unwrap() = page.as_ref().to_vec();
    }
}

/// Collects the JSON bodies that are posted to it.
pub struct WebhookServer {
    /// `127.0.0.1:port`
    pub address: String,
    bodies: Arc<Mutex<Vec<Value>>>,
}

impl WebhookServer {
    /// Accepts everything.
    pub fn start() -> Self {
        Self::start_at("127.0.0.1:0")
    }

    /// The same at an address of this machine.
    pub fn start_at(address: &str) -> Self {
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bodies);
        let address = serve(address, move |_, body| {
            kept.lock().unwrap().push(serde_json::from_slice(body).unwrap_or(Value::Null));
            ("application/json".to_owned(), b"{}".to_vec())
        });
        Self { address, bodies }
    }

    /// What has come so far.
    pub fn bodies(&self) -> Vec<Value> {
        self.bodies.lock().unwrap().clone()
    }
}

type Answer = (String, Vec<u8>);

/// Answers every request with `answer(path, body)`.
fn serve(at: &str, answer: impl Fn(&str, &[u8]) -> Answer + Send + Sync + 'static) -> String {
    listen(at, move |stream| handle(stream, &answer))
}

/// Gives each connection to `serve` in a thread of its own; they live as long as the test's process. `None`: a client broke off.
pub(super) fn listen(at: &str, serve: impl Fn(TcpStream) -> Option<()> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind(at).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// One request per connection; a client that breaks off is no matter.
fn handle(stream: TcpStream, answer: &impl Fn(&str, &[u8]) -> Answer) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (request_line, body) = read_request(&mut reader)?;
    let (content_type, page) = answer(request_line.split_whitespace().nth(1)?, &body);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        page.len()
    );
    let mut stream = reader.into_inner();
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&page).ok()
}

/// The first line of a request, and its body; nothing where the connection has ended.
pub(super) fn read_request(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
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
    Some((request_line, body))
}
