//! Pullers: a fast one, and one that takes 1 kB/s.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Asks once and reads all; gives the reply's bytes, head and chunk lengths included, or what was said instead.
pub fn pull(address: SocketAddr, path: &str, gzip: bool) -> Result<usize, String> {
    let mut stream = ask(address, path, gzip);
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).map_err(|error| error.to_string())?;
    match reply.starts_with(b"HTTP/1.1 200") {
        true => Ok(reply.len()),
        false => Err(String::from_utf8_lossy(&reply[..reply.len().min(300)]).into_owned()),
    }
}

/// Reads 1 kB a second until it is left; gives how long that took and what it read.
pub fn pull_slowly(address: SocketAddr, path: &str) -> (Duration, usize) {
    let mut stream = ask(address, path, false);
    let (began, mut read, mut buffer) = (Instant::now(), 0, [0; 1024]);
    loop {
        match stream.read(&mut buffer) {
            Ok(more @ 1..) => read += more,
            _ => return (began.elapsed(), read),
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn ask(address: SocketAddr, path: &str, gzip: bool) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let encoding = if gzip { "Accept-Encoding: gzip\r\n" } else { "" };
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{encoding}\r\n").unwrap();
    stream
}
