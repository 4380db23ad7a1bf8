//! What is probed: services on loopback that behave, and some that do not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::super::support::fixture;

/// The services' addresses, `127.0.0.1:port` each; their threads live as long as the test's process.
pub struct Services {
    pub http: String,
    pub good_tls: String,
    pub expired_tls: String,
    pub self_signed_tls: String,
    pub banner: String,
    pub mute: String,
    pub bytes: String,
    pub starttls: String,
    pub dns: String,
    pub dns_tls: String,
    pub proxy: String,
    pub http2: String,
    /// Nobody listens there.
    pub refusing: String,
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

impl Services {
    pub fn start() -> Self {
        let (good, expired, own) = (tls("server"), tls("expired"), tls("self"));
        let upgrade = Arc::clone(&good);
        let dns_certificate = Arc::clone(&good);
        let over_tls = |config: Arc<ServerConfig>| {
            listen(move |stream, _| serve_http(&mut secure(&config, stream), "https://elsewhere.invalid"))
        };
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            http: listen(|mut stream, own| serve_http(&mut stream, &format!("http://{own}"))),
            good_tls: over_tls(good),
            expired_tls: over_tls(expired),
            self_signed_tls: over_tls(own),
            banner: listen(|stream, _| {
                let mut reader = BufReader::new(stream);
                reader.get_mut().write_all(b"welcome\r\nSSH-2.0-OpenSSH_9.2 Debian\r\n")?;
                let mut line = String::new();
                reader.read_line(&mut line)?;
                reader.get_mut().write_all(format!("you said {}\n", line.trim()).as_bytes())
            }),
            mute: listen(|mut stream, _| stream.read(&mut [0]).map(drop)),
            bytes: listen(|mut stream, _| {
                let mut question = [0; 9];
                stream.read_exact(&mut question)?;
                let is_right = question == [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f, b'\n'];
                stream.write_all(if is_right { b"S" } else { b"N" })
            }),
            starttls: listen(move |mut stream, _| {
                stream.write_all(b"220 ready\r\n")?;
                let mut line = [0; 9];
                stream.read_exact(&mut line)?;
                stream.write_all(b"220 go\r\n")?;
                let mut stream = secure(&upgrade, stream);
                stream.write_all(b"secured\r\n")?;
                stream.flush()
            }),
            dns: name_server(),
            dns_tls: listen(move |stream, _| answer_stream(&mut secure(&dns_certificate, stream))),
            proxy: listen(|mut stream, _| serve_proxy(&mut stream)),
            http2: serve_http2(),
            refusing: free.local_addr().unwrap().to_string(),
        }
    }
}

fn listen(serve: impl Fn(TcpStream, &str) -> std::io::Result<()> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    serve_on(listener, serve)
}

fn serve_on(
    listener: TcpListener,
    serve: impl Fn(TcpStream, &str) -> std::io::Result<()> + Send + Sync + 'static,
) -> String {
    let address = listener.local_addr().unwrap().to_string();
    let serve = Arc::new(serve);
    let own = address.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (serve, own) = (Arc::clone(&serve), own.clone());
            std::thread::spawn(move || drop(serve(stream, &own)));
        }
    });
    address
}

fn tls(name: &str) -> Arc<ServerConfig> {
    let read = |ending: &str| std::fs::read(fixture(&format!("{name}.{ending}"))).unwrap();
    let chain = CertificateDer::pem_slice_iter(&read("pem")).collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(&read("key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
    // Else it is the client who chooses the cipher.
    config.ignore_client_order = name != "self";
    Arc::new(config)
}

fn secure(config: &Arc<ServerConfig>, stream: TcpStream) -> StreamOwned<ServerConnection, TcpStream> {
    StreamOwned::new(ServerConnection::new(Arc::clone(config)).unwrap(), stream)
}

/// Answers one request by its path.
fn serve_http(stream: &mut dyn Stream, own: &str) -> std::io::Result<()> {
    let (head, body) = read_request(stream)?;
    let mut words = head.split_whitespace();
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or("/").to_owned());
    let lower = head.to_ascii_lowercase();
    let has = |line: &str| lower.contains(&format!("{line}\r\n"));
    let modified = "Last-Modified: Tue, 15 Nov 1994 12:45:26 GMT\r\nServer: test\r\n";
    let found = |to: &str| answer("302 Found", &format!("Location: {to}\r\n"), b"moved");
    let allowed = |is_allowed: bool, otherwise: &str| match is_allowed {
        true => answer("200 OK", "", b"all is well"),
        false => answer(otherwise, "", b"no"),
    };
    let reply = match path.as_str() {
        "/" | "/good" => answer("200 OK", modified, b"all is well"),
        "/error" => answer("200 OK", "", b"an ERROR"),
        "/bad_state" => answer("200 OK", "X-State: good\r\nX-State: bad\r\n", b"all is well"),
        "/good_state" => answer("200 OK", "X-State: good\r\nServer: test\r\n", b"all is well"),
        "/broken" => answer("503 Service Unavailable", "", b"broken"),
        "/redirect" => found("/good"),
        "/redirect_absolute" => found(&format!("{own}/redirect")),
        "/redirect_loop" => found("/redirect_loop"),
        "/redirect_nowhere" => answer("302 Found", "", b"moved"),
        "/redirect_metadata" => found("http://169.254.169.254/latest/"),
        "/redirect_scheme" => found("ftp://127.0.0.1/"),
        "/redirect_post" => found("/is_get"),
        "/is_get" => allowed(method == "GET" && body.is_empty(), "405 Method Not Allowed"),
        "/post" => {
            let is_whole = body == b"{\"a\": 1}" && has("content-type: application/json") && has("x-probe: yes");
            allowed(method == "POST" && is_whole, "400 Bad Request")
        }
        "/user" => allowed(has("authorization: basic dtpw"), "401 Unauthorized"),
        "/token" => allowed(has("authorization: bearer token"), "401 Unauthorized"),
        "/host" => allowed(has("host: nas.lan"), "421 Misdirected Request"),
        "/login" => answer("302 Found", "Set-Cookie: s=1; Path=/\r\nLocation: /private\r\n", b""),
        "/private" => allowed(has("cookie: s=1"), "403 Forbidden"),
        "/gzip" => answer("200 OK", "Content-Encoding: gzip\r\n", &gzip(b"all is well, compressed")),
        "/no_gzip" => answer("200 OK", "Content-Encoding: gzip\r\n", b"all is well"),
        "/half_gzip" => {
            let whole = gzip(b"all is well, compressed");
            answer("200 OK", "Content-Encoding: gzip\r\n", &whole[..whole.len() - 6])
        }
        "/deflate" => answer("200 OK", "Content-Encoding: deflate\r\n", &deflate(b"all is well, compressed")),
        "/gzip_as_deflate" => answer("200 OK", "Content-Encoding: deflate\r\n", &gzip(b"all is well, compressed")),
        "/chunked" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall\r\n0\r\n\r\n".to_vec(),
        "/no_content" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        "/until_the_end" => b"HTTP/1.0 200 OK\r\n\r\nall is well".to_vec(),
        "/cut_short" => b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nall".to_vec(),
        "/not_http" => b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
        "/closes" => Vec::new(),
        // Never answers; the read ends when the client gives up.
        "/slow" => return stream.read(&mut [0]).map(drop),
        "/slow_body" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nall")?;
            stream.flush()?;
            return stream.read(&mut [0]).map(drop);
        }
        _ => answer("404 Not Found", "", b"nothing"),
    };
    stream.write_all(&reply)?;
    stream.flush()
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A forward proxy that answers for the server behind it.
fn serve_proxy(stream: &mut TcpStream) -> std::io::Result<()> {
    let (head, _) = read_request(stream)?;
    let is_asked = head.starts_with("GET http://behind.invalid/x HTTP/1.1\r\n");
    stream.write_all(&answer(if is_asked { "200 OK" } else { "502 Bad Gateway" }, "", b"proxied"))
}

fn read_request(stream: &mut dyn Stream) -> std::io::Result<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let lower = head.to_ascii_lowercase();
    let len = lower.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.trim().parse().ok());
    let mut body = vec![0; len.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    Ok((head, body))
}

/// A server that speaks HTTP/2 where the handshake offers it, on a runtime of its own.
fn serve_http2() -> String {
    let mut config = (*tls("server")).clone();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                tokio::spawn(async move {
                    let service =
                        hyper::service::service_fn(|request: hyper::Request<hyper::body::Incoming>| async move {
                            let text = format!("all is well at {}", request.uri().host().unwrap_or("nowhere"));
                            Ok::<_, std::convert::Infallible>(hyper::Response::new(text))
                        });
                    let io = hyper_util::rt::TokioIo::new(stream);
                    let builder = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
                    drop(builder.serve_connection(io, service).await);
                });
            }
        });
    });
    address
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// Answers over UDP and, at the same port, over TCP.
fn name_server() -> String {
    let (tcp, udp) = (0..100)
        .find_map(|_| {
            let tcp = TcpListener::bind("127.0.0.1:0").ok()?;
            let udp = UdpSocket::bind(tcp.local_addr().ok()?).ok()?;
            Some((tcp, udp))
        })
        .expect("a port that is free for both");
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((len, from)) = udp.recv_from(&mut buffer) {
            if let Some(reply) = dns_reply(&buffer[..len]) {
                let _ = udp.send_to(&reply, from);
            }
        }
    });
    serve_on(tcp, |mut stream, _| answer_stream(&mut stream))
}

fn answer_stream(stream: &mut dyn Stream) -> std::io::Result<()> {
    let mut len = [0; 2];
    stream.read_exact(&mut len)?;
    let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut query)?;
    let reply = dns_reply(&query).unwrap_or_default();
    stream.write_all(&[&(reply.len() as u16).to_be_bytes(), reply.as_slice()].concat())?;
    stream.flush()?;
    std::thread::sleep(Duration::from_millis(1));
    Ok(())
}

/// By the name that is asked for; no answer at all for `silent.lan`.
fn dns_reply(query: &[u8]) -> Option<Vec<u8>> {
    let asks = |name: &[u8]| query.windows(name.len()).any(|window| window == name);
    let mut reply = query.to_vec();
    reply[2] |= 0x80;
    let put = |reply: &mut Vec<u8>, section: usize, kind: u8, data: &[u8]| {
        reply[7 + 2 * section] += 1;
        reply.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
        reply.extend_from_slice(data);
    };
    let soa = [b"\x02ns\xc0\x0c\x04root\xc0\x0c".as_slice(), &[0, 0, 4, 210], &[0, 0, 0, 9].repeat(4)].concat();
    if asks(b"\x06silent") {
        return None;
    } else if asks(b"\x07garbage") {
        reply[7] = 1;
        reply.extend([0xc0, 12, 0]);
    } else if asks(b"\x07missing") {
        reply[3] |= 3;
        put(&mut reply, 1, 6, &soa);
    } else if asks(b"\x07refused") {
        reply[3] |= if query[2] & 1 == 0 { 5 } else { 2 };
    } else if asks(b"\x04zone") {
        put(&mut reply, 0, 6, &soa);
        put(&mut reply, 2, 1, &[192, 0, 2, 9]);
    } else {
        put(&mut reply, 0, 1, &[192, 0, 2, 1]);
        if query.ends_with(&[0, 255, 0, 1]) {
            put(&mut reply, 0, 1, &[192, 0, 2, 2]);
            put(&mut reply, 0, 16, b"\x08v=1; \"x\"");
            put(&mut reply, 0, 15, b"\x00\x0a\x04mail\xc0\x0c");
        }
    }
    Some(reply)
}
