//! Whole HTTP exchanges: any method, headers and body out; status, headers and decoded body back.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::http::unchunk;

/// A request as it goes out; `Host` and `Connection: close` are added, and a body's length.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// `GET`, `POST` …
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// The body; `None` sends no length either.
    pub body: Option<Vec<u8>>,
}

/// An answer with everything that is in it.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    /// The body after its transfer and content encodings.
    pub body: Vec<u8>,
}

impl Answer {
    /// All values of a header, joined.
    pub fn header(&self, name: &str) -> String {
        let values = self.headers.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str());
        values.collect::<Vec<_>>().join(", ")
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a request on a connection of its own.
pub fn exchange(address: &str, ask: &Ask) -> Result<Answer, String> {
    let answer = send_raw(address, &request_bytes(address, ask))?;
    parse(&answer, &ask.method).ok_or_else(|| format!("{address}: not HTTP: {}", String::from_utf8_lossy(&answer)))
}

/// The request as it goes out.
pub fn request_bytes(address: &str, ask: &Ask) -> Vec<u8> {
    let mut request = format!("{} {} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n", ask.method, ask.target);
    for (name, value) in &ask.headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(body) = &ask.body {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    let mut bytes = (request + "\r\n").into_bytes();
    bytes.extend_from_slice(ask.body.as_deref().unwrap_or_default());
    bytes
}

/// Sends these bytes and reads to the end of the connection.
pub fn send_raw(address: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let describe = |error: std::io::Error| format!("{address}: {error}");
    let mut stream = TcpStream::connect(address).map_err(describe)?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(describe)?;
    stream.write_all(bytes).map_err(describe)?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // A server that closes with unread bytes resets the connection; what came before counts.
        Err(error) if answer.is_empty() => Err(describe(error)),
        _ => Ok(answer),
    }
}

/// Reads an answer that ends with its connection.
pub fn parse(answer: &[u8], method: &str) -> Option<Answer> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let mut parsed = Answer { status, headers, body: answer[end + 4..].to_vec() };
    if method != "HEAD" {
        if parsed.header("transfer-encoding") == "chunked" {
            parsed.body = unchunk(&parsed.body)?;
        }
        parsed.body = decode(&parsed.header("content-encoding"), parsed.body)?;
    }
    Some(parsed)
}

fn decode(encoding: &str, body: Vec<u8>) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    match encoding {
        "gzip" => flate2::read::GzDecoder::new(body.as_slice()).read_to_end(&mut decoded).ok()?,
        "zstd" => zstd::Decoder::new(body.as_slice()).ok()?.read_to_end(&mut decoded).ok()?,
        _ => return Some(body),
    };
    Some(decoded)
}
