//! The targets: one listener on loopback, a path for each.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flate2::{Compression, write::GzEncoder};

use super::pages::Pages;

/// A connection that nobody uses any more ends.
const IDLE: Duration = Duration::from_secs(300);

/// Serves the pages for as long as the program runs.
pub fn start(pages: Pages, with_gzip: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    let (pages, started) = (Arc::new(pages), Instant::now());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let pages = Arc::clone(&pages);
            // A scraper that goes away ends its connection: nothing to report.
            std::thread::spawn(move || drop(serve(&stream, &pages, started, with_gzip)));
        }
    });
    address
}

fn serve(stream: &TcpStream, pages: &Pages, started: Instant, with_gzip: bool) -> std::io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    let mut reader = BufReader::new(stream);
    while let Some((target, takes_gzip)) = read_request(&mut reader)? {
        let page = pages.page(&target, started.elapsed());
        let status = if page.is_some() { "200 OK" } else { "404 Not Found" };
        let mut body = page.unwrap_or_default();
        let mut encoding = "";
        if with_gzip && takes_gzip {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&body)?;
            body = encoder.finish()?;
            encoding = "Content-Encoding: gzip\r\n";
        }
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n{encoding}Content-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = stream;
        stream.write_all(&[head.as_bytes(), &body].concat())?;
    }
    Ok(())
}

/// The path without its slash, and whether gzip is welcome; `None` at the end of the connection.
fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<(String, bool)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let target = line.split(' ').nth(1).unwrap_or("").trim_start_matches('/').to_owned();
    let mut takes_gzip = false;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            return Ok(Some((target, takes_gzip)));
        }
        let line = line.to_ascii_lowercase();
        takes_gzip |= line.starts_with("accept-encoding:") && line.contains("gzip");
    }
}
