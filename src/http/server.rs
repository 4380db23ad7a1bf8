//! The listener: sockets, connections and their bounds, and an orderly stop.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, info, warn};

use super::api::Api;
use super::connection::{Course, Guarded};
use super::federate::Press;
use super::router::Router;
use super::settings::{
    HEAD_BYTES_MAX, HEAD_LINES_MAX, HEAD_TIME_MAX, SEND_BUFFER_BYTES, STOP_TIME_MAX, ServerSettings,
};
use super::web::{LOOK_INTERVAL, Web};

/// How long to wait after `accept` failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a client that speaks plain HTTP gets where TLS is expected.
const PLAIN_HTTP_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n\
    Client sent an HTTP request to an HTTPS server.\n";

/// A server that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// No address was given.
    #[error("no address to listen on; set --web.listen-address")]
    NoAddress,
    /// An address cannot be listened on.
    #[error("cannot listen on {address:?} (--web.listen-address)")]
    Bind {
        /// The address as configured.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
    /// TLS or users cannot be set up.
    #[error("{0} (--web.config.file)")]
    Web(String),
    /// The route prefix is not a path.
    #[error("{0:?} is not a path that begins with / (--web.route-prefix)")]
    RoutePrefix(String),
}

/// The bound sockets.
pub struct Server {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    settings: ServerSettings,
    web: Arc<Web>,
    pub(super) press: Press,
}

impl Server {
    /// Binds all addresses.
    pub async fn bind(mut settings: ServerSettings) -> Result<Self, ServerError> {
        if settings.listen_addresses.is_empty() {
            return Err(ServerError::NoAddress);
        }
        if !settings.route_prefix.starts_with('/') {
            return Err(ServerError::RoutePrefix(settings.route_prefix));
        }
        settings.route_prefix.truncate(settings.route_prefix.trim_end_matches('/').len());
        let web = Arc::new(Web::load(settings.web.clone()).map_err(ServerError::Web)?);
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for address in &settings.listen_addresses {
            let failed = |source| ServerError::Bind { address: address.clone(), source };
            let listener = bind_one(address).await.map_err(failed)?;
            addresses.push(listener.local_addr().map_err(failed)?);
            listeners.push(listener);
        }
        Ok(Self { listeners, addresses, settings, web, press: Press::new() })
    }

    /// Where the server listens, with the true port for port 0, in the order of the settings.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Whether connections are taken over TLS.
    pub fn speaks_tls(&self) -> bool {
        self.web.active().tls.is_some()
    }

    /// Serves until `shutdown` is ready; then takes no more connections and gives requests in work
    /// [`STOP_TIME_MAX`] to end.
    pub async fn run(self, api: Arc<Api>, shutdown: impl Future<Output = ()>) {
        let permits = Arc::new(Semaphore::new(self.settings.connections_max));
        let is_tls = self.speaks_tls();
        let keeping_fresh = tokio::spawn(keep_fresh(Arc::clone(&self.web)));
        let router = Arc::new(Router::new(self.settings, self.web, api, self.press));
        let (stop, stopped) = watch::channel(false);
        let mut acceptors = JoinSet::new();
        for (listener, address) in self.listeners.into_iter().zip(&self.addresses) {
            info!(%address, tls = is_tls, "listening");
            acceptors.spawn(accept(listener, Arc::clone(&permits), Arc::clone(&router), stopped.clone()));
        }
        drop(stopped);
        shutdown.await;
        keeping_fresh.abort();
        stop.send_replace(true);
        let started = Instant::now();
        let all = async { while acceptors.join_next().await.is_some() {} };
        if timeout(STOP_TIME_MAX, all).await.is_err() {
            warn!(limit = ?STOP_TIME_MAX, "requests still in work are cut off");
        }
        info!(took = ?started.elapsed(), "listener stopped");
    }
}

/// Looks at the files of TLS and users again and again.
async fn keep_fresh(web: Arc<Web>) {
    while web.is_from_file() {
        sleep(LOOK_INTERVAL).await;
        let web = Arc::clone(&web);
        if let Err(error) = tokio::task::spawn_blocking(move || web.refresh()).await {
            warn!(%error, "the files of TLS and users cannot be looked at");
        }
    }
}

/// Binds `host:port`; without a host both IP versions are listened on where the system has both.
async fn bind_one(address: &str) -> std::io::Result<TcpListener> {
    let Some(port) = address.strip_prefix(':') else { return TcpListener::bind(address).await };
    match TcpListener::bind(format!("[::]:{port}")).await {
        Err(error) if error.kind() != std::io::ErrorKind::AddrInUse => {
            TcpListener::bind(format!("0.0.0.0:{port}")).await
        }
        outcome => outcome,
    }
}

/// Takes connections of one listener until told to stop, then waits for those in work.
async fn accept(
    listener: TcpListener,
    permits: Arc<Semaphore>,
    router: Arc<Router>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let next = tokio::select! {
            _ = stopped.changed() => break,
            next = accept_one(&listener, &permits) => next,
        };
        while connections.try_join_next().is_some() {}
        match next {
            Ok((stream, peer, permit)) => {
                connections.spawn(serve(stream, peer, permit, Arc::clone(&router), stopped.clone()));
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn accept_one(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.expect("the semaphore is never closed");
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}

/// Serves one connection to its end.
async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
    router: Arc<Router>,
    stopped: watch::Receiver<bool>,
) {
    // Replies go out in few large writes; without this the last one would wait for an ACK.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%peer, %error, "cannot set TCP_NODELAY");
    }
    if let Err(error) = set_socket_send_buffer_size(&stream, SEND_BUFFER_BYTES) {
        debug!(%peer, %error, "cannot set SO_SNDBUF");
    }
    match router.web().active().tls.clone() {
        None => converse(stream, peer, router, stopped).await,
        Some(config) => match timeout(HEAD_TIME_MAX, shake_hands(stream, config)).await {
            Ok(Ok(stream)) => converse(stream, peer, router, stopped).await,
            Ok(Err(error)) => debug!(%peer, %error, "no TLS came about"),
            Err(_) => debug!(%peer, "the TLS handshake took too long"),
        },
    }
    drop(permit);
}

/// Takes up TLS; a client that speaks plain HTTP is told so.
async fn shake_hands(mut stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<Box<TlsStream<TcpStream>>> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    if first[0].is_ascii_uppercase() {
        stream.write_all(PLAIN_HTTP_ANSWER).await?;
        stream.shutdown().await?;
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the client speaks plain HTTP"));
    }
    Ok(Box::new(TlsAcceptor::from(config).accept(stream).await?))
}

/// Requests and answers until one side ends.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: SocketAddr,
    router: Arc<Router>,
    mut stopped: watch::Receiver<bool>,
) {
    let course = Course::new();
    let io = TokioIo::new(Guarded::new(stream, course.clone()));
    let service = service_fn(|request: Request<Incoming>| {
        let (router, course) = (Arc::clone(&router), course.clone());
        async move { Ok::<_, Infallible>(router.serve(peer.ip(), course, request).await) }
    });
    let connection = http1::Builder::new()
        // `Guarded` bounds the head's time: hyper's own timer would also cut idle connections.
        .header_read_timeout(None)
        .max_headers(HEAD_LINES_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        debug!(%peer, %error, "connection ended");
    }
}
