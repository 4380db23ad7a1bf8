//! Where a target's page comes from: an HTTP server, or a collector in this process.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{ACCEPT, HeaderName, HeaderValue};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::bounds::{BODY_BYTES_MAX, BODY_BYTES_ORDINARY};
use super::error::ScrapeError;
use super::target::Target;
use super::{JobSettings, NameEscaping, ScrapeProtocol};
use crate::client::{Client, ClientError, Request, Url};
use crate::collect::Collector;
use crate::exposition::{EscapingScheme, Format, accept_header};

/// Held while a large page is in memory; others wait for it.
pub(super) type Turn = OwnedSemaphorePermit;
/// A page's format, and the turn that a large page has taken.
pub(super) type Fetched = Result<(Format, Option<Turn>), ScrapeError>;
/// What [`Fetch::fetch`] returns.
pub(super) type FetchFuture<'a> = Pin<Box<dyn Future<Output = Fetched> + Send + 'a>>;

/// Fetches one target's page.
pub(super) trait Fetch: Send {
    /// Appends the page to the empty buffer `page` and gives its format. Bounded in time and size.
    fn fetch<'a>(&'a mut self, page: &'a mut Vec<u8>) -> FetchFuture<'a>;
}

/// Buffers for pages: few are kept, since few pages are on their way at a time. Cloning shares it.
#[derive(Clone, Debug)]
pub(super) struct Pages {
    idle: Arc<Mutex<Vec<Vec<u8>>>>,
    large: Arc<Semaphore>,
}

impl Pages {
    const KEPT: usize = 2;

    pub(super) fn new() -> Self {
        Self { idle: Arc::default(), large: Arc::new(Semaphore::new(1)) }
    }

    pub(super) fn take(&self) -> Vec<u8> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    pub(super) fn put(&self, mut page: Vec<u8>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < Self::KEPT && page.capacity() <= BODY_BYTES_ORDINARY {
            page.clear();
            idle.push(page);
        }
    }
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
        let ordinary = BODY_BYTES_ORDINARY.min(self.body_bytes_max);
        let mut turn = None;
        if !response.read_until(page, ordinary).await? {
            turn = Some(self.turn().await?);
            response.read_into(page, self.body_bytes_max.saturating_sub(page.len())).await.map_err(
                |error| match error {
                    ClientError::BodyTooLarge { .. } => ClientError::BodyTooLarge { limit: self.body_bytes_max },
                    other => other,
                },
            )?;
        }
        if page.is_empty() {
            return Ok((Format::PrometheusText004, None));
        }
        let found = Format::from_content_type(response.header("content-type").unwrap_or(""), self.fallback)?;
        if let Some(warning) = found.warning {
            tracing::debug!(url = %response.url, warning, "content type");
        }
        Ok((found.format, turn))
    }

    /// The turn of a large page; others wait for theirs within their own time.
    async fn turn(&self) -> Result<Turn, ClientError> {
        let step = "waiting for another large page to be done with";
        match tokio::time::timeout(self.timeout, Arc::clone(&self.pages.large).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
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
                Ok(done) => done.map(|()| (Format::PrometheusText004, None)).map_err(ScrapeError::from),
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
