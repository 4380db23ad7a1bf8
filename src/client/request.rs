//! What is asked, and what comes back.

use std::time::Duration;

use bytes::Bytes;
use hyper::{HeaderMap, Method, StatusCode};

use super::body::Body;
use super::{ClientError, Url};

/// The `User-Agent` of requests that set none.
pub(super) const USER_AGENT: &str = concat!("outpost/", env!("CARGO_PKG_VERSION"));
/// The time of a request that names none.
const TIMEOUT: Duration = Duration::from_secs(30);

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// GET, POST, …
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// Headers besides those that the client adds itself.
    pub headers: HeaderMap,
    /// The body; empty for GET.
    pub body: Bytes,
    /// The time for everything: look-up, connection, redirects, the whole response.
    pub timeout: Duration,
    /// Whether the response may come compressed.
    pub accept_gzip: bool,
}

impl Request {
    /// A GET.
    pub fn get(url: Url) -> Self {
        let method = Method::GET;
        Self { method, url, headers: HeaderMap::new(), body: Bytes::new(), timeout: TIMEOUT, accept_gzip: true }
    }

    /// A POST.
    pub fn post(url: Url, body: Bytes) -> Self {
        Self { method: Method::POST, body, ..Self::get(url) }
    }
}

/// One response, whose body has not been read yet.
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// Where it came from, after redirects.
    pub url: Url,
    pub(super) body: Body,
}

impl Response {
    /// Appends the body, decompressed, to `output`. Fails if it has more than `limit` bytes, comes later than the
    /// request's deadline, or breaks off; what was read until then stays in `output`.
    pub async fn read_into(&mut self, output: &mut Vec<u8>, limit: usize) -> Result<(), ClientError> {
        self.body.read_into(output, limit).await
    }

    /// Appends the body to `output` until it ends (`true`) or more than `count` bytes were added (`false`); the rest
    /// can be read with another call.
    pub async fn read_until(&mut self, output: &mut Vec<u8>, count: usize) -> Result<bool, ClientError> {
        self.body.read_until(output, count).await
    }

    /// The body in a buffer of its own.
    pub async fn read_body(&mut self, limit: usize) -> Result<Vec<u8>, ClientError> {
        let mut output = Vec::new();
        self.read_into(&mut output, limit).await?;
        Ok(output)
    }

    /// A header's value, if it is there and plain text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
