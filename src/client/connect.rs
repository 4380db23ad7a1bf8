//! From an address to a connection: TCP or a Unix socket, a proxy's tunnel, TLS.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};

use super::auth::basic_credentials;
use super::error::io_reason;
use super::proxy::{Proxies, Proxy, ProxyKind};
use super::resolve::Resolver;
use super::socks;
use super::tls::{ALPN_HTTP2, Tls};
use super::url::{Url, without_zone};
use super::{ClientError, ClientSettings, Deadline, ProxySettings, Scheme};

/// The longest reply of a proxy to CONNECT.
const PROXY_REPLY_BYTES_MAX: usize = 16 * 1024;

/// A byte stream to the server or the proxy.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A stream, and how requests on it are written.
pub(super) struct Connected {
    /// Where the bytes go.
    pub(super) stream: Box<dyn Stream>,
    /// Set where a proxy is given whole addresses: its `Proxy-Authorization`, perhaps empty.
    pub(super) forward_proxy: Option<String>,
    /// The server has chosen HTTP/2.
    pub(super) is_http2: bool,
}

impl Connected {
    /// Bytes as they are, directly to the server.
    pub(super) fn plain(stream: Box<dyn Stream>) -> Self {
        Self { stream, forward_proxy: None, is_http2: false }
    }
}

/// Opens connections.
#[derive(Debug)]
pub(super) struct Connector {
    resolver: Resolver,
    tls: Tls,
    proxies: Proxies,
    proxy_settings: ProxySettings,
    unix_socket: Option<PathBuf>,
}

impl Connector {
    /// Checks the settings.
    pub(super) fn new(settings: &ClientSettings, unix_socket: Option<PathBuf>) -> Result<Self, ClientError> {
        Ok(Self {
            resolver: Resolver::default(),
            tls: Tls::new(&settings.tls, settings.enable_http2)?,
            proxies: Proxies::new(&settings.proxy)?,
            proxy_settings: settings.proxy.clone(),
            unix_socket,
        })
    }

    /// Opens a connection for requests to `url`.
    pub(super) async fn connect(&self, url: &Url, deadline: &Deadline) -> Result<Connected, ClientError> {
        if let Some(path) = &self.unix_socket {
            return deadline.within("connecting", connect_unix(path)).await;
        }
        let connected = match self.proxies.choose(url) {
            Some(proxy) => self.tunnel(proxy, url, deadline).await?,
            None => Connected::plain(self.open(url, deadline).await?),
        };
        match url.scheme {
            Scheme::Http => Ok(connected),
            Scheme::Https => self.secure(connected.stream, &url.host, self.tls.config()?, deadline).await,
        }
    }

    /// The proxy for `url`, if there is one.
    pub(super) fn proxy_for(&self, url: &Url) -> Option<&Proxy> {
        self.proxies.choose(url)
    }

    /// What is needed for TLS.
    pub(super) fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Whether idle connections made earlier still satisfy the settings: false once a certificate file has changed.
    pub(super) fn tls_config(&self) -> Result<Arc<rustls::ClientConfig>, ClientError> {
        self.tls.config()
    }

    /// A way through the proxy: to the server, or for `http` to a proxy that is given whole addresses.
    pub(super) async fn tunnel(&self, proxy: &Proxy, url: &Url, deadline: &Deadline) -> Result<Connected, ClientError> {
        let address = &proxy.url;
        if without_zone(&url.host) != url.host {
            let reason = format!("{} is behind an interface of this machine; list it in no_proxy", url.host);
            return Err(ClientError::Proxy { proxy: address.host_and_port(), reason });
        }
        let mut stream = self.open(address, deadline).await?;
        if proxy.kind == ProxyKind::Socks5 {
            let asked = socks::ask(&mut stream, address, url);
            deadline.within("asking the SOCKS proxy for a connection", asked).await?;
            return Ok(Connected::plain(stream));
        }
        if address.scheme == Scheme::Https {
            stream = self.secure(stream, &address.host, self.tls.config_for_proxy()?, deadline).await?.stream;
        }
        let user = address.user.as_ref();
        let authorization = user.map(|(user, password)| basic_credentials(user, password.expose())).unwrap_or_default();
        if url.scheme == Scheme::Http {
            return Ok(Connected { forward_proxy: Some(authorization), ..Connected::plain(stream) });
        }
        let request = self.tunnel_request(url, &authorization);
        deadline.within("asking the proxy for a tunnel", open_tunnel(&mut stream, address, &request)).await?;
        Ok(Connected::plain(stream))
    }

    fn tunnel_request(&self, url: &Url, authorization: &str) -> String {
        let target = url.host_and_port();
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if !authorization.is_empty() {
            request.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
        }
        for (name, values) in &self.proxy_settings.connect_headers {
            for value in values {
                request.push_str(&format!("{name}: {}\r\n", value.expose()));
            }
        }
        request.push_str("\r\n");
        request
    }

    async fn open(&self, url: &Url, deadline: &Deadline) -> Result<Box<dyn Stream>, ClientError> {
        let found = self.resolver.resolve(&url.host, url.port_or_default());
        let addresses = deadline.within("resolving the host's name", found).await?;
        deadline.within("connecting", connect_first(&addresses, deadline.at)).await
    }

    async fn secure(
        &self,
        stream: Box<dyn Stream>,
        host: &str,
        config: Arc<rustls::ClientConfig>,
        deadline: &Deadline,
    ) -> Result<Connected, ClientError> {
        let stream = self.tls.shake_hands(config, stream, host, deadline).await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2);
        Ok(Connected { is_http2, ..Connected::plain(Box::new(stream)) })
    }
}

async fn connect_unix(path: &PathBuf) -> Result<Connected, ClientError> {
    let stream = UnixStream::connect(path)
        .await
        .map_err(|error| ClientError::Connect { address: path.display().to_string(), reason: io_reason(&error) })?;
    Ok(Connected::plain(Box::new(stream)))
}

/// Tries the addresses in turn; each gets its share of the time that is left.
pub(super) async fn connect_first(addresses: &[SocketAddr], deadline: Instant) -> Result<Box<dyn Stream>, ClientError> {
    let mut failure = None;
    for (index, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let reason = match timeout_at(Instant::now() + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Requests are written whole: waiting for more to send would only delay them.
                let _ = stream.set_nodelay(true);
                // What was given up must not arrive all the same once the network is back, behind what was said since.
                let _ = stream.set_zero_linger();
                return Ok(Box::new(stream));
            }
            Ok(Err(error)) => io_reason(&error),
            Err(_) => format!("no answer within {share:.1?}"),
        };
        failure = Some(ClientError::Connect { address: address.to_string(), reason });
    }
    Err(failure.unwrap_or(ClientError::Connect { address: String::new(), reason: "no address".to_owned() }))
}

async fn open_tunnel(stream: &mut Box<dyn Stream>, proxy: &Url, request: &str) -> Result<(), ClientError> {
    let refused = |reason: String| ClientError::Proxy { proxy: proxy.host_and_port(), reason };
    stream.write_all(request.as_bytes()).await.map_err(|error| refused(io_reason(&error)))?;
    let mut reply = Vec::new();
    while !reply.ends_with(b"\r\n\r\n") {
        // Byte by byte: what follows the reply belongs to the server behind the proxy.
        let byte = stream.read_u8().await.map_err(|error| refused(io_reason(&error)))?;
        reply.push(byte);
        if reply.len() > PROXY_REPLY_BYTES_MAX {
            return Err(refused("its reply is too long".to_owned()));
        }
    }
    let reply = String::from_utf8_lossy(&reply);
    let status = reply.lines().next().unwrap_or("");
    let accepted = status.split(' ').nth(1).is_some_and(|code| code.len() == 3 && code.starts_with('2'));
    if accepted { Ok(()) } else { Err(refused(status.to_owned())) }
}
