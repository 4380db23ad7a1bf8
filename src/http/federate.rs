//! `/federate`: hands the request to [`Federation`](crate::federation::Federation) and its page to
//! the client.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{ACCEPT, CONNECTION, HeaderValue, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{HeaderMap, StatusCode, Version};

use crate::exposition::negotiate;
use crate::federation::{ConnectionFacts, FederationError, FederationPage, FederationRequest, ResyncRequest};
use crate::model::TimeRange;
use crate::store::StoreError;

use super::api::{Api, ApiError, ErrorKind, Gate, Ticket};
use super::made::{MADE_BYTES_MAX, Made, Room, Unmade};
use super::params::Params;
use super::reply::{Encoding, Pieces, Reply};

/// How much of a puller's own timeout may go into making the reply; the rest is for its way.
const MAKING_SHARE: f64 = 0.5;

/// How long a client that names no timeout gets, waiting included: as long as a scrape may take unless set otherwise.
const UNTOLD_TIME_MAX: Duration = Duration::from_secs(10);

/// When to ask again after a 503.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// The header in which a scraping Prometheus says how long it will wait.
const TIMEOUT_HEADER: &str = "x-prometheus-scrape-timeout-seconds";

/// What proxies add to the requests that they pass on.
const PROXY_HEADERS: [&str; 5] = ["forwarded", "via", "x-forwarded-for", "x-forwarded-proto", "x-real-ip"];

/// Whether a proxy has passed this request on. Prometheus itself speaks HTTP/1.1 and keeps its connections; nginx as it
/// comes does neither.
pub(super) fn is_relayed(parts: &Parts) -> bool {
    let closes = parts.headers.get(CONNECTION).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
    closes || parts.version < Version::HTTP_11 || PROXY_HEADERS.iter().any(|name| parts.headers.contains_key(*name))
}

/// Pages that are made at a time. More would take no less time each and more memory together; the others wait for their turn,
/// and queries neither wait for them nor are they waited for.
const PAGES_MADE_MAX: usize = 2;

/// Where pages are made, and where they wait until they are read.
pub(super) struct Press {
    gate: Gate,
    pub(super) room: Room,
}

impl Press {
    pub(super) fn new() -> Self {
        Self { gate: Gate::for_pages(PAGES_MADE_MAX), room: Room::new() }
    }
}

/// `/federate`
pub(super) async fn answer(
    api: &Api,
    press: &Press,
    params: &Params,
    headers: &HeaderMap,
    facts: ConnectionFacts,
) -> Reply {
    match page(api, press, params, headers, facts).await {
        Ok((content_type, page)) => Reply::made(&content_type, page),
        // Errors are plain text here, as in Prometheus.
        Err(error) => refusal(&error),
    }
}

fn refusal(error: &ApiError) -> Reply {
    let reply = Reply::problem(error.status(), format!("{}\n", error.message()));
    match error.status() {
        StatusCode::SERVICE_UNAVAILABLE => reply.with_header(RETRY_AFTER, RETRY_AFTER_SECONDS),
        _ => reply,
    }
}

/// A page with its type.
async fn page(
    api: &Api,
    press: &Press,
    params: &Params,
    headers: &HeaderMap,
    facts: ConnectionFacts,
) -> Result<(String, Made), ApiError> {
    params.check()?;
    let request = federation_request(api, params, headers)?;
    let resync = resync_request(params)?;
    let federation = Arc::clone(&api.federation);
    let time_max = making_time(headers).min(api.queries.timeout);
    let (encoding, room) = (Encoding::negotiate(headers), press.room.clone());
    press
        .gate
        .run(time_max, move |ticket: &Ticket| {
            // The range is federation's own business.
            let options = ticket.read_options(TimeRange::ALL);
            let page = match resync {
                Some(resync) => federation.since_last(&request, &resync, facts, &options),
                None => federation.newest(&request, &options),
            };
            let mut page = page?;
            let made = Made::of(&mut page, encoding, &room, || options.check())?;
            Ok((page.content_type().to_owned(), made.telling(page.taken_flag())))
        })
        .await
}

fn federation_request(api: &Api, params: &Params, headers: &HeaderMap) -> Result<FederationRequest, ApiError> {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("");
    let external_labels = api.config.borrow().external_labels.clone();
    FederationRequest::new(params.all("match[]"), api.clock.now(), negotiate(accept), external_labels)
        .map_err(|error| ApiError::bad_data(error.to_string()))
}

fn resync_request(params: &Params) -> Result<Option<ResyncRequest>, ApiError> {
    let name = params.get("resync");
    if name.is_empty() {
        return Ok(None);
    }
    let [order, age_max, receipt] = ["resync_order", "resync_max_age", "resync_receipt"].map(|name| params.get(name));
    ResyncRequest::parse(name, order, age_max, receipt).map(Some).map_err(|error| ApiError::bad_data(error.to_string()))
}

/// How long making the reply may take.
fn making_time(headers: &HeaderMap) -> Duration {
    let told = headers.get(TIMEOUT_HEADER).and_then(|value| value.to_str().ok()?.parse::<f64>().ok());
    told.and_then(|seconds| Duration::try_from_secs_f64(seconds * MAKING_SHARE).ok()).unwrap_or(UNTOLD_TIME_MAX)
}

impl From<FederationError> for ApiError {
    fn from(error: FederationError) -> Self {
        match error {
            FederationError::Selector(error) => Self::bad_data(error.to_string()),
            FederationError::TimeUnknown => Self::new(ErrorKind::Unavailable, error.to_string()),
            FederationError::Store(error) => error.into(),
        }
    }
}

impl From<Unmade<StoreError>> for ApiError {
    fn from(error: Unmade<StoreError>) -> Self {
        match error {
            Unmade::GivenUp(error) => error.into(),
            Unmade::NoRoom => Self::new(
                ErrorKind::Unavailable,
                format!(
                    "replies that wait for slow readers leave too little of {MADE_BYTES_MAX} bytes; ask again later"
                ),
            ),
            Unmade::TooLarge => Self::new(
                ErrorKind::Execution,
                format!(
                    "the page takes more than {MADE_BYTES_MAX} bytes even compressed; name fewer series by match[]"
                ),
            ),
        }
    }
}

impl Pieces for FederationPage {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        self.write_piece(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_half_of_its_pullers_time() {
        for (told, expected) in [
            (None, UNTOLD_TIME_MAX),
            (Some("10"), Duration::from_secs(5)),
            (Some("0.5"), Duration::from_millis(250)),
            (Some("-1"), UNTOLD_TIME_MAX),
            (Some("soon"), UNTOLD_TIME_MAX),
        ] {
            let value = told.map(|told| (TIMEOUT_HEADER.parse().expect("a name"), HeaderValue::from_static(told)));
            assert_eq!(making_time(&value.into_iter().collect()), expected, "{told:?}");
        }
    }
}
