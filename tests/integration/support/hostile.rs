//! A server that misbehaves on purpose, a path per misdeed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

const TEXT: &str = "Content-Type: text/plain; version=0.0.4\r\n";

/// Misbehaves at every path; the threads live as long as the test's process.
pub struct HostileServer {
    /// `127.0.0.1:port`
    pub address: String,
    /// The same over TLS, with a certificate that has expired.
    pub expired_tls_address: String,
}

impl HostileServer {
    /// Starts both servers.
    pub fn start() -> Self {
        let bomb = Arc::new(gzip(&vec![b'x'; 8 << 20]));
        let address = listen(move |stream| drop(misbehave(stream, &bomb)));
        let tls = Arc::new(expired_tls());
        let expired_tls_address = listen(move |mut stream| {
            let mut connection = rustls::ServerConnection::new(Arc::clone(&tls)).unwrap();
            drop(connection.complete_io(&mut stream));
        });
        Self { address, expired_tls_address }
    }
}

fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
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

/// Reads a request and does what its path names; ends when the client has gone.
fn misbehave(stream: TcpStream, bomb: &[u8]) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut request_line = String::new();
    reader.read_line(&mut request_line)?;
    let path = request_line.split_whitespace().nth(1).unwrap_or("/").to_owned();
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let mut stream = reader.into_inner();
    let ok = |headers: &str| format!("HTTP/1.1 200 OK\r\n{headers}\r\n");
    match path.as_str() {
        "/endless_body" => {
            stream.write_all(ok(TEXT).as_bytes())?;
            forever(|| stream.write_all(&b"endless 1\n".repeat(8192)))
        }
        "/gzip_bomb" => {
            stream.write_all(ok(&format!("{TEXT}Content-Encoding: gzip\r\n")).as_bytes())?;
            // 8 GiB once unpacked.
            (0..1024).try_for_each(|_| stream.write_all(bomb))
        }
        "/one_byte_a_second" => {
            stream.write_all(ok(TEXT).as_bytes())?;
            forever(|| {
                std::thread::sleep(Duration::from_secs(1));
                stream.write_all(b"s")
            })
        }
        "/endless_headers" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            forever(|| stream.write_all(b"X-Endless: x\r\n"))
        }
        "/million_series" => page(&mut stream, million_series().as_bytes()),
        "/long_label" => page(&mut stream, format!("long{{l=\"{}\"}} 1\n", "x".repeat(1 << 20)).as_bytes()),
        "/invalid_utf8" => page(&mut stream, b"invalid{l=\"\xff\xfe\"} 1\n"),
        "/nan_payloads" => {
            let kind = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
            let body = [gauge("nan_stale", 0x7ff0_0000_0000_0002), gauge("nan_odd", 0x7ff8_dead_beef_0001)].concat();
            stream.write_all(ok(&format!("Content-Type: {kind}\r\n")).as_bytes())?;
            stream.write_all(&body)
        }
        "/duplicates" => page(&mut stream, b"twice 1\ntwice 2\ntwice 3\nonce 4\n"),
        "/far_future" => page(&mut stream, format!("future 1 {}\nfuture_now 1\n", now_ms() + 86_400_000).as_bytes()),
        "/far_past" => page(&mut stream, b"past 1 1000\npast_now 1\n"),
        "/redirect_loop" => {
            stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: /redirect_loop\r\nContent-Length: 0\r\n\r\n")
        }
        "/truncated_chunks" => {
            stream.write_all(ok(&format!("{TEXT}Transfer-Encoding: chunked\r\n")).as_bytes())?;
            stream.write_all(b"40\r\ntruncated 1\n")
        }
        "/reset" => {
            stream.write_all(ok(&format!("{TEXT}Content-Length: 1000\r\n")).as_bytes())?;
            stream.write_all(b"reset 1\n")?;
            // A close that drops what was not taken: the peer sees a reset.
            std::thread::sleep(Duration::from_millis(100));
            rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).map_err(std::io::Error::from)
        }
        "/http10" => stream.write_all(format!("HTTP/1.0 200 OK\r\n{TEXT}\r\nold_protocol 1\n").as_bytes()),
        "/html" => stream.write_all((ok("Content-Type: text/html\r\n") + "<html></html>\n").as_bytes()),
        "/no_content_type" => stream.write_all((ok("") + "nameless 1\n").as_bytes()),
        _ => {
            // Never answers; the read ends when the client gives up.
            stream.read(&mut [0]).map(drop)
        }
    }
}

fn forever(mut step: impl FnMut() -> std::io::Result<()>) -> std::io::Result<()> {
    loop {
        step()?;
    }
}

fn page(stream: &mut TcpStream, body: &[u8]) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\n{TEXT}Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)
}

fn million_series() -> String {
    use std::fmt::Write;
    let mut page = String::new();
    for number in 0..1_000_000 {
        writeln!(page, "million{{number=\"{number}\"}} 1").unwrap();
    }
    page
}

/// A delimited MetricFamily with one gauge of these bits; all parts are shorter than 128 bytes.
fn gauge(name: &str, bits: u64) -> Vec<u8> {
    let field = |tag: u8, content: &[u8]| [&[tag, content.len() as u8], content].concat();
    let value = [&[0x09][..], &bits.to_le_bytes()].concat();
    let family = [field(0x0a, name.as_bytes()), vec![0x18, 1], field(0x22, &field(0x12, &value))].concat();
    [&[family.len() as u8], family.as_slice()].concat()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn now_ms() -> i64 {
    outpost::clock::Clock::system().now().0
}

fn expired_tls() -> rustls::ServerConfig {
    let read = |name: &str| std::fs::read(format!("{}/tests/fixtures/tls/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let chain = CertificateDer::pem_slice_iter(&read("expired.pem")).collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(&read("expired.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    builder.with_no_client_auth().with_single_cert(chain, key).unwrap()
}
