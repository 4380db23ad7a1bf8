//! A plain HTTP/1.1 client, one connection per request.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// GETs `path` of `address` (`127.0.0.1:9090`).
pub fn get(address: &str, path: &str) -> Result<Reply, String> {
    request("GET", address, path, "", &[])
}

/// GETs JSON and insists on status 200.
pub fn get_json(address: &str, path: &str) -> Result<Value, String> {
    let reply = get(address, path)?;
    if reply.status != 200 {
        return Err(format!("{path}: status {}: {}", reply.status, reply.body));
    }
    serde_json::from_str(&reply.body).map_err(|error| format!("{path}: {error}: {}", reply.body))
}

/// The value of an instant query that must give exactly one series.
pub fn query_value(address: &str, expr: &str) -> Result<f64, String> {
    let answer = get_json(address, &format!("/api/v1/query?query={}", encode(expr)))?;
    let result = answer["data"]["result"].as_array().ok_or_else(|| format!("no vector: {answer}"))?;
    match result.as_slice() {
        [one] => one["value"][1].as_str().and_then(|text| text.parse().ok()).ok_or_else(|| format!("{expr}: {one}")),
        other => Err(format!("{expr}: {} series", other.len())),
    }
}

/// The sum of the series of one of a program's own metrics.
pub fn metric(address: &str, name: &str) -> Result<f64, String> {
    let page = get(address, "/metrics")?.body;
    let series = page.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    let values: Vec<f64> = series.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
    if values.is_empty() { Err(format!("{name}: no series")) } else { Ok(values.iter().sum()) }
}

/// POSTs `body` to `path` of `address`; `headers` are whole lines, ended by CR LF.
pub fn post(address: &str, path: &str, headers: &str, body: &[u8]) -> Result<Reply, String> {
    let headers = format!("{headers}Content-Length: {}\r\n", body.len());
    request("POST", address, path, &headers, body)
}

fn request(method: &str, address: &str, path: &str, headers: &str, body: &[u8]) -> Result<Reply, String> {
    let describe = |error: std::io::Error| format!("{address}{path}: {error}");
    let mut stream = TcpStream::connect(address).map_err(describe)?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(describe)?;
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(&[head.as_bytes(), body].concat()).map_err(describe)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(describe)?;
    parse_reply(&answer).ok_or_else(|| format!("{address}{path}: not HTTP: {}", String::from_utf8_lossy(&answer)))
}

fn parse_reply(answer: &[u8]) -> Option<Reply> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let rest = &answer[end + 4..];
    let body = if chunked { unchunk(rest)? } else { rest.to_vec() };
    Some(Reply { status, body: String::from_utf8_lossy(&body).into_owned() })
}

/// The body that chunks make; `None` if they are cut short.
pub(super) fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line_end = rest.windows(2).position(|two| two == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line_end]).ok()?.trim(), 16).ok()?;
        rest = &rest[line_end + 2..];
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..length)?);
        rest = rest.get(length + 2..)?;
    }
}

/// Percent-encodes all but unreserved characters.
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
