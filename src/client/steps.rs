//! One connection, one request at a time, with the time of each step and what the handshake gave: for probes, which
//! want to know how something was reached rather than to have it. Nothing is kept between two calls: no connection and
//! no address.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Uri, Version};
use rustls::pki_types::CertificateDer;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::auth::{Credentials, secret_value};
use super::body::{Body, Inflater};
use super::connect::{Connected, Connector, Stream, connect_first};
use super::pool::{Lease, Pool, Sender};
use super::request::USER_AGENT;
use super::resolve::ask_now;
use super::tls::Tls;
use super::url::addresses_meant;
use super::wire::{WAITING, http_error};
use super::{ClientError, ClientSettings, Deadline, Request, Response, Scheme, TlsSettings};

/// Whether a connection to an address may be made.
pub type MayReach<'a> = &'a (dyn Fn(IpAddr) -> bool + Sync);

/// What a TLS handshake gave.
#[derive(Clone, Debug)]
pub struct Session {
    /// `TLS 1.2` or `TLS 1.3`.
    pub version: &'static str,
    /// The cipher suite under IANA's name.
    pub cipher: String,
    /// What the server presented, its own first.
    pub certificates: Vec<CertificateDer<'static>>,
    /// When the checked chain up to a root ends, in seconds since the epoch; `None` if nothing was checked.
    pub chain_end: Option<i64>,
}

/// When each step of an exchange was done; `None` for what was not reached.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// It began.
    pub started: Option<Instant>,
    /// The addresses were known.
    pub looked_up: Option<Instant>,
    /// The connection was there.
    pub connected: Option<Instant>,
    /// The TLS handshake was over.
    pub secured: Option<Instant>,
    /// The response's headers were there.
    pub answered: Option<Instant>,
}

/// How a body is encoded, whatever the server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it comes.
    Identity,
    /// gzip
    Gzip,
    /// Deflate without zlib's header, as Go reads it.
    Deflate,
}

/// One request on a connection of its own.
pub struct Exchange<'a> {
    /// What is asked, and where the connection goes: an address in place of the host is used as it is.
    pub request: &'a Request,
    /// The `Host`.
    pub authority: &'a str,
    /// The name that the certificate must be for.
    pub server_name: &'a str,
    /// Whether the settings' credentials are sent. What the request itself carries goes in any case.
    pub trusted: bool,
    /// How the body is decoded.
    pub encoding: Encoding,
}

/// A response, and how it came.
pub struct Answer {
    /// The response; its body has not been read.
    pub response: Response,
    /// The version of HTTP.
    pub version: Version,
    /// Whether it has no body at all.
    pub is_empty: bool,
    /// The handshake, if there was one.
    pub session: Option<Session>,
}

/// Makes exchanges with the settings of one client. Redirects are not followed.
#[derive(Debug)]
pub struct Dialer {
    connector: Connector,
    credentials: Credentials,
}

impl Dialer {
    /// Checks the settings. `tls.server_name` is not looked at: each exchange names the server.
    pub fn new(settings: &ClientSettings) -> Result<Self, ClientError> {
        let tls = TlsSettings { server_name: None, ..settings.tls.clone() };
        let settings = ClientSettings { tls, ..settings.clone() };
        Ok(Self { connector: Connector::new(&settings, None)?, credentials: Credentials::new(&settings)? })
    }

    /// Connects, asks, and gives the response once its headers are there.
    pub async fn exchange(
        &self,
        exchange: &Exchange<'_>,
        may_reach: MayReach<'_>,
        deadline: &Deadline,
        times: &mut Times,
    ) -> Result<Answer, ClientError> {
        times.started = Some(Instant::now());
        let headers = self.headers(exchange, deadline).await?;
        let connected = self.connect(exchange, may_reach, deadline, times).await?;
        let (connected, session) = self.secure(exchange, connected, deadline, times).await?;
        let mut sender = Sender::begin(connected, deadline).await?;
        let message = wire_request(exchange, headers, &sender)?;
        let sending = async {
            sender.requests.ready().await.map_err(|error| http_error(&error))?;
            sender.requests.send(message).await.map_err(|failure| http_error(failure.error()))
        };
        let response = deadline.within(WAITING, sending).await?;
        times.answered = Some(Instant::now());
        let (parts, incoming) = response.into_parts();
        let is_empty = hyper::body::Body::is_end_stream(&incoming);
        let lease = Lease { pool: Pool::new(0), server: String::new(), sender };
        let body = Body::new(incoming, inflater(exchange.encoding), *deadline, lease);
        let url = exchange.request.url.clone();
        let response = Response { status: parts.status, headers: parts.headers, url, body };
        Ok(Answer { response, version: parts.version, is_empty, session })
    }

    async fn connect(
        &self,
        exchange: &Exchange<'_>,
        may_reach: MayReach<'_>,
        deadline: &Deadline,
        times: &mut Times,
    ) -> Result<Connected, ClientError> {
        let url = &exchange.request.url;
        if addresses_meant(&url.host).into_iter().any(|address| !may_reach(address)) {
            return Err(refused(&url.host));
        }
        if let Some(proxy) = self.connector.proxy_for(url) {
            if !url.host.is_ascii() {
                // A proxy may take other alphabets' digits for an address.
                let reason = "towards a proxy, a name is to be written in ASCII (`xn--…`)";
                return Err(ClientError::Url { url: url.to_string(), reason });
            }
            times.looked_up = times.started;
            let connected = self.connector.tunnel(proxy, url, deadline).await?;
            times.connected = Some(Instant::now());
            return Ok(connected);
        }
        let mut addresses = deadline.within("resolving the host's name", ask_now(&url.host)).await?;
        times.looked_up = Some(Instant::now());
        addresses.retain(|address| may_reach(address.ip()));
        if addresses.is_empty() {
            return Err(refused(&url.host));
        }
        addresses.iter_mut().for_each(|address| address.set_port(url.port_or_default()));
        let stream = deadline.within("connecting", connect_first(&addresses, deadline.at)).await?;
        times.connected = Some(Instant::now());
        Ok(Connected::plain(stream))
    }

    async fn secure(
        &self,
        exchange: &Exchange<'_>,
        connected: Connected,
        deadline: &Deadline,
        times: &mut Times,
    ) -> Result<(Connected, Option<Session>), ClientError> {
        if exchange.request.url.scheme == Scheme::Http {
            return Ok((connected, None));
        }
        let (stream, session) = secure(self.connector.tls(), connected.stream, exchange.server_name, deadline).await?;
        times.secured = Some(Instant::now());
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(super::tls::ALPN_HTTP2);
        Ok((Connected { is_http2, ..Connected::plain(Box::new(stream)) }, Some(session)))
    }

    async fn headers(&self, exchange: &Exchange<'_>, deadline: &Deadline) -> Result<HeaderMap, ClientError> {
        let mut headers = exchange.request.headers.clone();
        if exchange.trusted {
            self.credentials.apply(&mut headers, &exchange.request.url, deadline).await?;
        }
        headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
        Ok(headers)
    }
}

/// TLS on connections that are made elsewhere.
#[derive(Debug)]
pub struct TlsDialer(Tls);

impl TlsDialer {
    /// Checks what can be checked without opening a file.
    pub fn new(settings: &TlsSettings) -> Result<Self, ClientError> {
        Ok(Self(Tls::new(settings, false)?))
    }

    /// Shakes hands on a connection. The certificate must be for the name in the settings or, without one, for `host`.
    pub async fn secure(
        &self,
        stream: Box<dyn Stream>,
        host: &str,
        deadline: &Deadline,
    ) -> Result<(Box<dyn Stream>, Session), ClientError> {
        let (stream, session) = secure(&self.0, stream, host, deadline).await?;
        Ok((Box::new(stream), session))
    }
}

/// The addresses of a host as they are known now, at least one, their ports 0.
pub async fn look_up(host: &str, deadline: &Deadline) -> Result<Vec<SocketAddr>, ClientError> {
    deadline.within("resolving the host's name", ask_now(host)).await
}

async fn secure(
    tls: &Tls,
    stream: Box<dyn Stream>,
    host: &str,
    deadline: &Deadline,
) -> Result<(TlsStream<Box<dyn Stream>>, Session), ClientError> {
    let stream = tls.shake_hands(tls.config()?, stream, host, deadline).await?;
    let session = session(tls, &stream);
    Ok((stream, session))
}

fn session(tls: &Tls, stream: &TlsStream<Box<dyn Stream>>) -> Session {
    let connection = &stream.get_ref().1;
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "unknown",
    };
    let cipher = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("unknown");
    let certificates: Vec<_> =
        connection.peer_certificates().unwrap_or_default().iter().map(|one| one.clone().into_owned()).collect();
    let now = crate::clock::Clock::system().now().0.div_euclid(1000);
    let chain_end = tls.chain_end(&certificates, now);
    Session { version, cipher: cipher.replacen("TLS13_", "TLS_", 1), certificates, chain_end }
}

fn inflater(encoding: Encoding) -> Option<Inflater> {
    match encoding {
        Encoding::Identity => None,
        Encoding::Gzip => Some(Inflater::new()),
        Encoding::Deflate => Some(Inflater::of_raw_deflate()),
    }
}

/// The request as it goes out: a connection carries no other.
fn wire_request(
    exchange: &Exchange<'_>,
    mut headers: HeaderMap,
    sender: &Sender,
) -> Result<hyper::Request<http_body_util::Full<bytes::Bytes>>, ClientError> {
    let request = exchange.request;
    let invalid = |reason| ClientError::Url { url: request.url.to_string(), reason };
    let mut message = hyper::Request::new(http_body_util::Full::new(request.body.clone()));
    *message.method_mut() = request.method.clone();
    let uri = if sender.requests.is_http2() {
        let scheme = request.url.scheme.as_str();
        format!("{scheme}://{}{}", exchange.authority, request.url.path_and_query)
    } else {
        headers.insert(header::HOST, secret_value("Host", exchange.authority)?);
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        match &sender.forward_proxy {
            Some(_) => request.url.to_string(),
            None => request.url.path_and_query.clone(),
        }
    };
    *message.uri_mut() = uri.parse::<Uri>().map_err(|_| invalid("its path or the Host is not valid"))?;
    if let Some(authorization) = sender.forward_proxy.as_deref().filter(|text| !text.is_empty()) {
        headers.insert(header::PROXY_AUTHORIZATION, secret_value("Proxy-Authorization", authorization)?);
    }
    *message.headers_mut() = headers;
    Ok(message)
}

fn refused(host: &str) -> ClientError {
    let reason = "link-local and metadata addresses are asked only if allowed_networks lists them".to_owned();
    ClientError::Connect { address: host.to_owned(), reason }
}
