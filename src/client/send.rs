//! Sending: a connection from the pool or a new one, credentials, redirects.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};

use super::auth::{Credentials, secret_value};
use super::body::{Body, Inflater};
use super::connect::Connector;
use super::pool::{IDLE_PER_SERVER, Lease, Pool, Sender};
use super::request::USER_AGENT;
use super::wire::{WAITING, http_error};
use super::{ClientError, ClientSettings, Deadline, Request, Response, Scheme, Url};

/// How many redirects are followed, as in Prometheus.
pub const REDIRECTS_MAX: usize = 10;

/// An HTTP client with its own connections. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connector: Connector,
    credentials: Credentials,
    follow_redirects: bool,
    pool: Pool,
    /// The TLS configuration that the pooled connections were made with.
    tls_config: Mutex<Option<Arc<rustls::ClientConfig>>>,
}

impl Client {
    /// A client for the given settings. Fails if they contradict each other; files are opened when they are needed.
    pub fn new(settings: &ClientSettings) -> Result<Self, ClientError> {
        Self::to_one_server(settings, None, IDLE_PER_SERVER)
    }

    /// A client whose requests all go to a Unix socket; the host of their addresses only names the server.
    pub fn over_unix_socket(settings: &ClientSettings, path: PathBuf) -> Result<Self, ClientError> {
        Self::to_one_server(settings, Some(path), IDLE_PER_SERVER)
    }

    /// A client for many requests at a time to one server, perhaps over its Unix socket: it keeps up to `idle_max` connections
    /// for the next ones. Fifty of them took 0.7 MB.
    pub fn to_one_server(
        settings: &ClientSettings,
        unix_socket: Option<PathBuf>,
        idle_max: usize,
    ) -> Result<Self, ClientError> {
        Ok(Self(Arc::new(Inner {
            connector: Connector::new(settings, unix_socket)?,
            credentials: Credentials::new(settings)?,
            follow_redirects: settings.follow_redirects,
            pool: Pool::new(idle_max),
            tls_config: Mutex::new(None),
        })))
    }

    /// Sends a request, follows redirects, and gives the response once its headers are there.
    pub async fn send(&self, request: Request) -> Result<Response, ClientError> {
        let deadline = Deadline::after(request.timeout);
        let origin = request.url.clone();
        let mut request = request;
        // Once on a detour, credentials do not come back: somebody else says where they would go.
        let mut trusted = true;
        for _ in 0..=REDIRECTS_MAX {
            trusted &= may_have_credentials(&origin, &request.url);
            let response = self.0.exchange(&request, trusted, &deadline).await?;
            match self.0.redirect(&request, &response)? {
                Some(next) => request = next,
                None => return Ok(response),
            }
        }
        Err(ClientError::Redirects(REDIRECTS_MAX))
    }
}

impl Inner {
    /// One request and its response's headers.
    async fn exchange(&self, request: &Request, trusted: bool, deadline: &Deadline) -> Result<Response, ClientError> {
        if request.url.scheme == Scheme::Https {
            self.forget_old_connections()?;
        }
        let server = format!("{}://{}", request.url.scheme.as_str(), request.url.host_and_port());
        if let Some(sender) = self.pool.take(&server) {
            match self.exchange_on(sender, &server, request, trusted, deadline).await {
                // The server may have closed the idle connection just now: that is no answer.
                Err((_, true)) => {}
                Err((error, false)) => return Err(error),
                Ok(response) => return Ok(response),
            }
        }
        // In a box: it is large, and rare beside what is sent over connections that are there.
        let sender = Box::pin(self.open(&request.url, deadline)).await?;
        self.exchange_on(sender, &server, request, trusted, deadline).await.map_err(|(error, _)| error)
    }

    /// The flag of a failure says that the request may be sent again on another connection.
    async fn exchange_on(
        &self,
        mut sender: Sender,
        server: &str,
        request: &Request,
        trusted: bool,
        deadline: &Deadline,
    ) -> Result<Response, (ClientError, bool)> {
        let headers = self.headers(request, trusted, deadline).await.map_err(|error| (error, false))?;
        let message = wire_request(request, headers, &sender).map_err(|error| (error, false))?;
        let ready = async { sender.requests.ready().await.map_err(|error| http_error(&error)) };
        deadline.within(WAITING, ready).await.map_err(|error| (error, true))?;
        let mut unsent = false;
        let sending = async {
            let is_http2 = sender.requests.is_http2();
            sender.requests.send(message).await.map_err(|mut failure| {
                unsent = failure.take_message().is_some();
                // HTTP/2 says good-bye in a frame, which arrives as an error of the request.
                let broken = failure.error().is_incomplete_message() || failure.error().is_closed() || is_http2;
                unsent |= broken && request.method.is_idempotent();
                http_error(failure.error())
            })
        };
        let result = deadline.within(WAITING, sending).await;
        let response = result.map_err(|error| (error, unsent))?;
        let lease = Lease { pool: self.pool.clone(), server: server.to_owned(), sender };
        self.response(request.url.clone(), response, lease, *deadline).map_err(|error| (error, false))
    }

    fn response(
        &self,
        url: Url,
        response: hyper::Response<Incoming>,
        lease: Lease,
        deadline: Deadline,
    ) -> Result<Response, ClientError> {
        let (parts, incoming) = response.into_parts();
        let encoding = parts.headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes).unwrap_or_default();
        let gzip = match encoding.to_ascii_lowercase().as_slice() {
            b"" | b"identity" => None,
            b"gzip" | b"x-gzip" => Some(Inflater::new()),
            other => return Err(ClientError::Encoding(String::from_utf8_lossy(other).into_owned())),
        };
        let body = Body::new(incoming, gzip, deadline, lease);
        Ok(Response { status: parts.status, headers: parts.headers, url, body })
    }

    async fn open(&self, url: &Url, deadline: &Deadline) -> Result<Sender, ClientError> {
        let connected = self.connector.connect(url, deadline).await?;
        Sender::begin(connected, deadline).await
    }

    async fn headers(&self, request: &Request, trusted: bool, deadline: &Deadline) -> Result<HeaderMap, ClientError> {
        let mut headers = request.headers.clone();
        if trusted {
            self.credentials.apply(&mut headers, &request.url, deadline).await?;
        } else {
            CREDENTIAL_HEADERS.iter().for_each(|name| drop(headers.remove(*name)));
        }
        headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
        let encoding = if request.accept_gzip { "gzip" } else { "identity" };
        headers.entry(header::ACCEPT_ENCODING).or_insert(HeaderValue::from_static(encoding));
        Ok(headers)
    }

    /// Connections made with a certificate that has been replaced since are not used again.
    fn forget_old_connections(&self) -> Result<(), ClientError> {
        let present = self.connector.tls_config()?;
        let mut known = self.tls_config.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_some_and(|known| !Arc::ptr_eq(known, &present)) {
            self.pool.clear();
        }
        *known = Some(present);
        Ok(())
    }

    /// The request to send next, if the response is a redirect that is to be followed. What is posted stays a POST:
    /// a GET in its place would look like a success. So a 303, which wants a GET, is then the answer.
    fn redirect(&self, request: &Request, response: &Response) -> Result<Option<Request>, ClientError> {
        let is_followed = match response.status {
            StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT => true,
            StatusCode::SEE_OTHER => request.method != Method::POST,
            _ => false,
        };
        let location = response.headers.get(header::LOCATION).map(HeaderValue::as_bytes);
        let (true, true, Some(location)) = (self.follow_redirects, is_followed, location) else { return Ok(None) };
        let url = request.url.join(&String::from_utf8_lossy(location))?;
        Ok(Some(Request { url, ..request.clone() }))
    }
}

/// Headers that may hold credentials: those of Go's client.
const CREDENTIAL_HEADERS: [&str; 6] =
    ["authorization", "cookie", "cookie2", "proxy-authenticate", "proxy-authorization", "www-authenticate"];

/// Whether a header may hold credentials, which go where [`may_have_credentials`] says.
pub fn is_credential_header(name: &str) -> bool {
    CREDENTIAL_HEADERS.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Credentials go to the host they are meant for, and never from an encrypted connection to one in the clear.
pub fn may_have_credentials(origin: &Url, url: &Url) -> bool {
    let downgraded = origin.scheme == Scheme::Https && url.scheme == Scheme::Http;
    origin.host.eq_ignore_ascii_case(&url.host) && !downgraded
}

fn wire_request(
    request: &Request,
    headers: HeaderMap,
    sender: &Sender,
) -> Result<hyper::Request<Full<Bytes>>, ClientError> {
    let is_http2 = sender.requests.is_http2();
    let target = match sender.forward_proxy.is_some() || is_http2 {
        true => request.url.to_string(),
        false => request.url.path_and_query.clone(),
    };
    let mut message = hyper::Request::new(Full::new(request.body.clone()));
    *message.method_mut() = request.method.clone();
    *message.uri_mut() = target
        .parse()
        .map_err(|_| ClientError::Url { url: request.url.to_string(), reason: "its path is not valid" })?;
    *message.headers_mut() = headers;
    // HTTP/2 names the host in the address.
    if !message.headers().contains_key(header::HOST) && !is_http2 {
        message.headers_mut().insert(header::HOST, secret_value("Host", &request.url.authority())?);
    }
    if let Some(authorization) = sender.forward_proxy.as_deref().filter(|text| !text.is_empty()) {
        message.headers_mut().insert(header::PROXY_AUTHORIZATION, secret_value("Proxy-Authorization", authorization)?);
    }
    Ok(message)
}
