//! Where a target's page comes from: an HTTP server, or a collector in this process.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{ACCEPT, HeaderName, HeaderValue};

use super::bounds::{BODY_BYTES_MAX, BODY_BYTES_ORDINARY};
use super::error::ScrapeError;
use super::pages::{Hold, Pages, STEP_BYTES};
use super::target::Target;
use super::{JobSettings, NameEscaping, ScrapeProtocol};
use crate::client::{Client, ClientError, Request, Response, Url};
use crate::collect::Collector;
use crate::exposition::{EscapingScheme, Format, accept_header};

/// A page's format, and what it holds of the memory of all pages.
pub(super) type Fetched = Result<(Format, Hold), ScrapeError>;
/// What [`Fetch::fetch`] returns.
pub(super) type FetchFuture<'a> = Pin<Box<dyn Future<Output = Fetched> + Send + 'a>>;

/// Fetches one target's page.
pub(super) trait Fetch: Send {
    /// Appends the page to the empty buffer `page` and gives its format. Bounded in time and size.
    fn fetch<'a>(&'a mut self, page: &'a mut Vec<u8>) -> FetchFuture<'a>;
}

/// A page over HTTP.
pub(super) struct HttpFetch {
    client: Client,
    /// A target whose address is not valid fails each time, with the reason.
    request: Result<Request, ClientError>,
    fallback: Option<Format>,
    body_bytes_max: usize,
    timeout: Duration,
    pages: Pages,
}

impl HttpFetch {
    /// Fetches `target` as the job says.
    pub(super) fn new(client: &Client, job: &JobSettings, target: &Target, pages: &Pages) -> Self {
        let configured = usize::try_from(job.limits.body_size_bytes).unwrap_or(usize::MAX);
        Self {
            client: client.clone(),
            request: make_request(job, target),
            fallback: job.fallback_scrape_protocol.map(format_of),
            body_bytes_max: if configured == 0 { BODY_BYTES_MAX } else { configured.min(BODY_BYTES_MAX) },
            timeout: target.timeout,
            pages: pages.clone(),
        }
    }

    async fn fetch_page(&self, page: &mut Vec<u8>) -> Fetched {
        let mut response = self.client.send(self.request.clone()?).await?;
        if response.status != StatusCode::OK {
            return Err(ScrapeError::Status(response.status));
        }
        let mut hold = Hold::default();
        if !self.read_ordinary(&mut response, page, &mut hold).await? {
            if page.len() > self.body_bytes_max {
                return Err(ClientError::BodyTooLarge { limit: self.body_bytes_max }.into());
            }
            self.wait_for_turn(&mut hold).await?;
            response.read_into(page, self.body_bytes_max.saturating_sub(page.len())).await.map_err(
                |error| match error {
                    ClientError::BodyTooLarge { .. } => ClientError::BodyTooLarge { limit: self.body_bytes_max },
                    other => other,
                },
            )?;
        }
        if page.is_empty() {
            return Ok((Format::PrometheusText004, hold));
        }
        let found = Format::from_content_type(response.header("content-type").unwrap_or(""), self.fallback)?;
        if let Some(warning) = found.warning {
            tracing::debug!(url = %response.url, warning, "content type");
        }
        Ok((found.format, hold))
    }

    /// Reads until the page ends (`true`), or is no ordinary page, or finds no more room.
    async fn read_ordinary(
        &self,
        response: &mut Response,
        page: &mut Vec<u8>,
        hold: &mut Hold,
    ) -> Result<bool, ClientError> {
        let ordinary = BODY_BYTES_ORDINARY.min(self.body_bytes_max);
        while page.len() <= ordinary && self.pages.grow(hold) {
            if response.read_until(page, STEP_BYTES.min(ordinary.saturating_sub(page.len()))).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Others wait for their turn within their own time.
    async fn wait_for_turn(&self, hold: &mut Hold) -> Result<(), ClientError> {
        let step = "waiting for another large page to be done with";
        match tokio::time::timeout(self.timeout, self.pages.wait_for_turn(hold)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(ClientError::Timeout { after: self.timeout, step }),
        }
    }
}

impl Fetch for HttpFetch {
    fn fetch<'a>(&'a mut self, page: &'a mut Vec<u8>) -> FetchFuture<'a> {
        Box::pin(self.fetch_page(page))
    }
}

/// A page of a built-in collector.
pub(super) struct CollectorFetch {
    collector: Arc<dyn Collector>,
    timeout: Duration,
}

impl CollectorFetch {
    /// Collects within the target's timeout.
    pub(super) fn new(collector: Arc<dyn Collector>, timeout: Duration) -> Self {
        Self { collector, timeout }
    }
}

impl Fetch for CollectorFetch {
    fn fetch<'a>(&'a mut self, page: &'a mut Vec<u8>) -> FetchFuture<'a> {
        Box::pin(async move {
            match tokio::time::timeout(self.timeout, self.collector.collect(page)).await {
                Ok(done) => done.map(|()| (Format::PrometheusText004, Hold::default())).map_err(ScrapeError::from),
                Err(_) => Err(ScrapeError::CollectTimeout(self.timeout)),
            }
        })
    }
}

fn make_request(job: &JobSettings, target: &Target) -> Result<Request, ClientError> {
    let mut request = Request::get(Url::parse(&target.url)?);
    let formats: Vec<Format> = job.scrape_protocols.iter().copied().map(format_of).collect();
    let mut set = |name: HeaderName, value: String| {
        let value = HeaderValue::try_from(value).expect("media types and numbers are plain text");
        request.headers.insert(name, value);
    };
    set(ACCEPT, accept_header(&formats, escaping_of(job)));
    let seconds = target.timeout.as_secs_f64().to_string();
    set(HeaderName::from_static("x-prometheus-scrape-timeout-seconds"), seconds);
    request.timeout = target.timeout;
    request.accept_gzip = job.enable_compression;
    Ok(request)
}

fn format_of(protocol: ScrapeProtocol) -> Format {
    match protocol {
        ScrapeProtocol::PrometheusProto => Format::PrometheusProto,
        ScrapeProtocol::PrometheusText004 => Format::PrometheusText004,
        ScrapeProtocol::PrometheusText100 => Format::PrometheusText100,
        ScrapeProtocol::OpenMetricsText001 => Format::OpenMetricsText001,
        ScrapeProtocol::OpenMetricsText100 => Format::OpenMetricsText100,
    }
}

fn escaping_of(job: &JobSettings) -> EscapingScheme {
    match job.name_escaping {
        NameEscaping::AllowUtf8 => EscapingScheme::AllowUtf8,
        NameEscaping::Underscores => EscapingScheme::Underscores,
        NameEscaping::Dots => EscapingScheme::Dots,
        NameEscaping::Values => EscapingScheme::Values,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ClientSettings;
    use crate::model::Labels;
    use crate::scrape::JobLimits;
    use std::io::Write;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Fetches one page from a server of its own; its bytes, or the error.
    async fn fetched(page: &[u8], is_packed: bool, limit: u64) -> Result<usize, String> {
        let (body, headers) = match is_packed {
            false => (page.to_vec(), ""),
            true => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(page).expect("memory takes all");
                (encoder.finish().expect("memory takes all"), "Content-Encoding: gzip\r\n")
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let url = format!("http://{}/", listener.local_addr().expect("bound"));
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let _ = stream.read(&mut [0; 4096]).await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{headers}Connection: close\r\n\r\n");
            let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
        });
        let job = JobSettings {
            limits: JobLimits { body_size_bytes: limit, ..JobLimits::default() },
            ..JobSettings::default()
        };
        let target = Target {
            discovered: Labels::empty(),
            labels: Labels::empty(),
            url,
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(10),
            probe: None,
        };
        let client = Client::new(&ClientSettings::default()).expect("valid");
        let mut page = Vec::new();
        let result = HttpFetch::new(&client, &job, &target, &Pages::new()).fetch(&mut page).await;
        server.await.expect("no panic");
        result.map(|_| page.len()).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn pages_have_their_limit_s_bytes_at_most() {
        let page = b"metric 1\n".repeat(3000);
        let len = page.len() as u64;
        for is_packed in [false, true] {
            for limit in [0, len, len + 1] {
                assert_eq!(fetched(&page, is_packed, limit).await, Ok(page.len()), "{limit}, packed: {is_packed}");
            }
            for limit in [1, len / 2, len - 1] {
                let refused = fetched(&page, is_packed, limit).await;
                let expected = format!("body size limit exceeded: more than {limit} bytes");
                assert_eq!(refused, Err(expected), "packed: {is_packed}");
            }
        }
    }
}
