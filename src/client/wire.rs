//! HTTP on an open connection: version 1.1, or 2 where TLS has negotiated it.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::ClientError;
use super::connect::Connected;
use super::error::http_reason;

/// The buffer of a connection, and with it the bound of a response's headers.
const BUFFER_BYTES_MAX: usize = 16 * 1024;
/// What a server may send in HTTP/2 before it is read: the default of 5 MiB is much for a box with many targets.
const HTTP2_WINDOW_BYTES: u32 = 256 * 1024;

/// The step of an exchange that all of this is, in error texts.
pub(super) const WAITING: &str = "waiting for the response";

/// What went wrong on a connection.
pub(super) fn http_error(error: &hyper::Error) -> ClientError {
    ClientError::Http { step: WAITING, reason: http_reason(error) }
}

/// A connection's sending half, in the version that was negotiated.
pub(super) enum Requests {
    /// HTTP/1.1
    Http1(http1::SendRequest<Full<Bytes>>),
    /// HTTP/2
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Requests {
    /// Whether the connection speaks HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        matches!(self, Self::Http2(_))
    }

    /// Waits until a request can be sent.
    pub(super) async fn ready(&mut self) -> hyper::Result<()> {
        match self {
            Self::Http1(sender) => sender.ready().await,
            Self::Http2(sender) => sender.ready().await,
        }
    }

    /// Sends a request; one that was not sent comes back with the error.
    pub(super) async fn send(
        &mut self,
        message: hyper::Request<Full<Bytes>>,
    ) -> Result<hyper::Response<Incoming>, TrySendError<hyper::Request<Full<Bytes>>>> {
        match self {
            Self::Http1(sender) => sender.try_send_request(message).await,
            Self::Http2(sender) => sender.try_send_request(message).await,
        }
    }

    /// Whether the other side has gone.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }
}

/// Begins HTTP on a connection. Its task ends by itself when the sender is dropped; what goes wrong on it reaches the
/// request that waits.
pub(super) async fn shake_hands(connected: Connected) -> hyper::Result<Requests> {
    let stream = TokioIo::new(connected.stream);
    if connected.is_http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(HTTP2_WINDOW_BYTES).initial_connection_window_size(HTTP2_WINDOW_BYTES);
        builder.max_header_list_size(BUFFER_BYTES_MAX as u32).max_send_buf_size(BUFFER_BYTES_MAX);
        let (sender, connection) = builder.handshake(stream).await?;
        tokio::spawn(connection);
        return Ok(Requests::Http2(sender));
    }
    let mut builder = http1::Builder::new();
    builder.max_buf_size(BUFFER_BYTES_MAX);
    let (sender, connection) = builder.handshake(stream).await?;
    tokio::spawn(connection);
    Ok(Requests::Http1(sender))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use http_body_util::BodyExt;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio::net::TcpListener;

    use super::*;
    use crate::client::{Client, ClientSettings, Request, SecretSource, TlsSettings, Url};
    use crate::model::Secret;

    const CA: &str = include_str!("../../tests/fixtures/tls/ca.pem");
    const CERT: &str = include_str!("../../tests/fixtures/tls/server.pem");
    const KEY: &str = include_str!("../../tests/fixtures/tls/server.key");

    /// Never ends: what `/endless` answers.
    struct Endless;

    impl hyper::body::Body for Endless {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
            std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(Bytes::from_static(&[b'x'; 8192])))))
        }
    }

    type Answer = hyper::Response<http_body_util::combinators::BoxBody<Bytes, Infallible>>;

    async fn answer(request: hyper::Request<Incoming>) -> Result<Answer, Infallible> {
        let mut response = match request.uri().path() {
            "/endless" => hyper::Response::new(Endless.boxed()),
            _ => {
                let host = request.uri().host().unwrap_or("").to_owned();
                let text = format!("{:?} {host} {:?}", request.version(), request.headers().get("host").is_some());
                hyper::Response::new(Full::new(Bytes::from(text)).boxed())
            }
        };
        if request.uri().path() == "/headers" {
            let long = hyper::header::HeaderValue::from_bytes(&[b'x'; 1000]).expect("plain");
            for _ in 0..100 {
                response.headers_mut().append("x-long", long.clone());
            }
        }
        Ok(response)
    }

    /// A server that speaks what `protocols` offer; gives its port and counts its connections. Each connection is
    /// closed, politely, after `lifetime`.
    async fn server(protocols: &[&str], lifetime: Duration) -> (u16, Arc<AtomicUsize>) {
        let chain = CertificateDer::pem_slice_iter(CERT.as_bytes()).collect::<Result<_, _>>().expect("valid");
        let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).expect("valid");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("the defaults fit").with_no_client_auth();
        let mut config = builder.with_single_cert(chain, key).expect("they fit");
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let port = listener.local_addr().expect("bound").port();
        let count = Arc::new(AtomicUsize::new(0));
        let connections = Arc::clone(&count);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, lifetime));
            }
        });
        (port, count)
    }

    async fn serve(stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>, lifetime: Duration) {
        let service = hyper::service::service_fn(answer);
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            return;
        }
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        if tokio::time::timeout(lifetime, &mut connection).await.is_err() {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }

    fn client(enable_http2: bool) -> Client {
        let ca = Some(SecretSource::Inline(Secret::new(CA)));
        let tls = TlsSettings { ca, ..TlsSettings::default() };
        Client::new(&ClientSettings { tls, enable_http2, ..ClientSettings::default() }).expect("valid")
    }

    async fn fetch(client: &Client, port: u16, path: &str) -> String {
        let url = Url::parse(&format!("https://localhost:{port}{path}")).expect("valid");
        let mut request = Request::get(url);
        request.timeout = Duration::from_secs(5);
        let fetched = async {
            let mut response = client.send(request).await?;
            response.read_body(100_000).await
        };
        match fetched.await {
            Ok(body) => String::from_utf8(body).expect("text"),
            Err(error) => error.to_string(),
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn the_handshake_chooses_the_version() {
        let (http1, http2) = ("HTTP/1.1  true", "HTTP/2.0 localhost false");
        let cases: [(&[&str], bool, &str); 5] = [
            (&["h2", "http/1.1"], true, http2),
            (&["h2"], true, http2),
            (&["h2", "http/1.1"], false, http1),
            (&["http/1.1"], true, http1),
            (&[], true, http1),
        ];
        for (protocols, enabled, expected) in cases {
            let (port, connections) = server(protocols, LONG).await;
            let client = client(enabled);
            for _ in 0..3 {
                assert_eq!(fetch(&client, port, "/").await, expected, "{protocols:?} {enabled}");
            }
            assert_eq!(connections.load(Ordering::Relaxed), 1, "the connection is kept");
        }
    }

    #[tokio::test]
    async fn a_connection_that_the_server_ends_is_replaced() {
        let (port, connections) = server(&["h2"], Duration::from_millis(50)).await;
        let client = client(true);
        while connections.load(Ordering::Relaxed) < 3 {
            assert_eq!(fetch(&client, port, "/").await, "HTTP/2.0 localhost false");
        }
    }

    #[tokio::test]
    async fn bounds_hold_in_http2() {
        let (port, connections) = server(&["h2"], LONG).await;
        let client = client(true);
        assert_eq!(fetch(&client, port, "/endless").await, "body size limit exceeded: more than 100000 bytes");
        let error = fetch(&client, port, "/headers").await;
        assert!(error.starts_with("waiting for the response: "), "{error}");
        assert_eq!(fetch(&client, port, "/").await, "HTTP/2.0 localhost false");
        assert!(connections.load(Ordering::Relaxed) > 1, "a connection with an unread body is not used again");
    }
}
