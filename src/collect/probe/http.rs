//! `prober: http`. Source of the rules and of the order of the checks: blackbox_exporter/prober/http.go.

use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode, Version};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::address::{choose, may_reach};
use super::chain;
use super::cookies::Cookies;
use super::probe::{Asked, MATCHES, MATCHES_MAX, Verdict, on_thread};
use super::settings::{HeaderMatch, HttpProbe};
use super::sheet::{Gauge, Sheet};
use crate::client::{
    Answer, ClientError, Dialer, Encoding, Exchange, REDIRECTS_MAX, Request, Response, Scheme, Session, Times, Url,
    is_credential_header, may_have_credentials, read_file,
};
use crate::model::SearchRegex;

/// The longest body that is read through, decompressed. What is not matched is counted and thrown away.
pub const BODY_BYTES_MAX: u64 = 64 << 20;
/// The longest body that patterns are matched against: it is held in memory.
pub const MATCHED_BYTES_MAX: u64 = 2 << 20;
/// The longest `body_file`.
const BODY_FILE_BYTES_MAX: u64 = 1 << 20;
/// Body files that are read at a time, each on a thread.
static BODY_FILES: Semaphore = Semaphore::const_new(2);
/// Matches of patterns against headers: who has 16 KiB to be judged does not wait for those that have a body.
static HEADER_MATCHES: Semaphore = Semaphore::const_new(MATCHES_MAX);
/// How much of a body is read before it is looked at.
const STEP_BYTES: usize = 64 * 1024;

const DURATION: Gauge = ("probe_http_duration_seconds", "Duration of http request by phase, summed over all redirects");
const CONTENT_LENGTH: Gauge = ("probe_http_content_length", "Length of http content response");
const BODY_LENGTH: Gauge = ("probe_http_uncompressed_body_length", "Length of uncompressed response body");
const REDIRECTS: Gauge = ("probe_http_redirects", "The number of redirects");
const SSL: Gauge = ("probe_http_ssl", "Indicates if SSL was used for the final redirect");
const STATUS_CODE: Gauge = ("probe_http_status_code", "Response HTTP status code");
const VERSION: Gauge = ("probe_http_version", "Returns the version of HTTP of the probe response");
const LAST_MODIFIED: Gauge =
    ("probe_http_last_modified_timestamp_seconds", "Returns the Last-Modified HTTP response header in unixtime");
/// Shared with the TCP prober.
pub(super) const FAILED_DUE_TO_REGEX: Gauge = ("probe_failed_due_to_regex", "Indicates if probe failed due to regex");

/// Asks over HTTP as one module says.
#[derive(Debug)]
pub(super) struct HttpProber {
    settings: HttpProbe,
    dialer: Dialer,
}

/// Where the next request goes.
struct Hop {
    /// As the target or the redirect writes it.
    url: Url,
    /// The address in place of the host, and the `Host` and the certificate's name that go with it, for as long as
    /// redirects stay on the server.
    first_server: Option<FirstServer>,
    method: Method,
    body: Bytes,
    /// Whether credentials go there: once they do not, they do not any more.
    trusted: bool,
}

#[derive(Clone)]
struct FirstServer {
    address: Option<SocketAddr>,
    authority: String,
    server_name: String,
}

/// What the exchanges came to.
#[derive(Default)]
struct Course {
    redirects: usize,
    hops: Vec<(Times, Scheme)>,
    /// When the body was at its end.
    ended: Option<Instant>,
}

/// The last response. One whose redirect is not followed is not read.
struct Last {
    answer: Answer,
    is_read: bool,
}

impl HttpProber {
    /// Checks the settings.
    pub(super) fn new(settings: &HttpProbe) -> Result<Self, ClientError> {
        Ok(Self { settings: settings.clone(), dialer: Dialer::new(&settings.client)? })
    }

    /// Probes a target.
    pub(super) async fn probe(&self, asked: &Asked<'_>, sheet: &mut Sheet) -> Result<(), String> {
        for gauge in [CONTENT_LENGTH, BODY_LENGTH, REDIRECTS, SSL, STATUS_CODE, VERSION, FAILED_DUE_TO_REGEX] {
            sheet.set(gauge, 0.0);
        }
        let lower = asked.target.to_ascii_lowercase();
        let has_scheme = lower.starts_with("http://") || lower.starts_with("https://");
        let target = if has_scheme { asked.target.to_owned() } else { format!("http://{}", asked.target) };
        let url = Url::parse(&target).map_err(|error| error.to_string())?;
        let mut resolve = None;
        let mut address = None;
        if !(self.settings.skip_resolve_phase_with_proxy && self.has_proxy()) {
            let chosen = choose(&url.host, self.settings.ip, asked.allowed, sheet, &asked.deadline).await;
            sheet.set_of(DURATION, "phase", "resolve", chosen.1);
            resolve = Some(chosen.1);
            address = Some(chosen.0?);
        }
        let body = self.body(asked).await?;
        let hop = self.first_hop(asked, url, address, body);
        let mut course = Course::default();
        let last = self.follow(asked, hop, &mut course).await;
        let verdict = match last {
            Ok(last) => self.judge(asked, last, &mut course, sheet).await,
            Err(reason) => Err(reason),
        };
        sheet.set(REDIRECTS, course.redirects as f64);
        course.write_phases(sheet, resolve);
        verdict
    }

    fn has_proxy(&self) -> bool {
        let proxy = &self.settings.client.proxy;
        proxy.url.is_some() || proxy.from_environment
    }

    async fn body(&self, asked: &Asked<'_>) -> Result<Bytes, String> {
        let Some(path) = &self.settings.body_file else { return Ok(self.settings.body.clone().into()) };
        let own = path.clone();
        let reading = on_thread(&BODY_FILES, move || read_file(&own, BODY_FILE_BYTES_MAX));
        let read = asked.within("reading body_file", reading).await?;
        read.map(Bytes::from).map_err(|reason| format!("body_file {}: {reason}", path.display()))
    }

    fn first_hop(&self, asked: &Asked<'_>, url: Url, address: Option<SocketAddr>, body: Bytes) -> Hop {
        let configured = self.settings.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        let host = configured.map(|(_, host)| host.clone()).or_else(|| asked.hostname.map(str::to_owned));
        let server_name = self.settings.client.tls.server_name.clone().or_else(|| host.clone());
        let first_server = FirstServer {
            address,
            server_name: server_name.unwrap_or_else(|| url.host.clone()),
            authority: host.unwrap_or_else(|| url.authority()),
        };
        let method = self.settings.method.parse().unwrap_or(Method::GET);
        Hop { url, first_server: Some(first_server), method, body, trusted: true }
    }

    /// Asks, and follows redirects up to their bound.
    async fn follow(&self, asked: &Asked<'_>, first: Hop, course: &mut Course) -> Result<Last, String> {
        let mut cookies = Cookies::default();
        let origin = first.url.clone();
        let mut hop = first;
        loop {
            let answer = self.ask(asked, &hop, &cookies, course).await?;
            cookies.take(&hop.url, &answer.response.headers);
            let Some(location) = redirect_location(&answer.response) else { return Ok(Last { answer, is_read: true }) };
            let is_followed = self.settings.client.follow_redirects && course.redirects < REDIRECTS_MAX;
            course.redirects += 1;
            match hop.url.join(&location) {
                _ if !is_followed => return Ok(Last { answer, is_read: false }),
                Ok(url) => {
                    let trusted = hop.trusted && may_have_credentials(&origin, &url);
                    hop = Hop { trusted, ..hop.next(url, &location, answer.response.status) };
                }
                Err(error) => return Err(format!("a redirect cannot be followed: {error}")),
            }
        }
    }

    async fn ask(
        &self,
        asked: &Asked<'_>,
        hop: &Hop,
        cookies: &Cookies,
        course: &mut Course,
    ) -> Result<Answer, String> {
        let request = Request {
            method: hop.method.clone(),
            url: hop.address_url(),
            headers: self.headers(hop, cookies).map_err(|name| format!("the header {name} cannot be sent"))?,
            body: hop.body.clone(),
            timeout: Duration::ZERO,
            accept_gzip: false,
        };
        let exchange = Exchange {
            request: &request,
            authority: &hop.first_server.as_ref().map_or_else(|| hop.url.authority(), |first| first.authority.clone()),
            server_name: hop.first_server.as_ref().map_or(&hop.url.host, |first| &first.server_name),
            trusted: hop.trusted,
            encoding: self.settings.compression.unwrap_or(Encoding::Identity),
        };
        let mut times = Times::default();
        let reach = |address| may_reach(address, asked.allowed);
        let answer = self.dialer.exchange(&exchange, &reach, &asked.deadline, &mut times).await;
        course.hops.push((times, hop.url.scheme));
        answer.map_err(|error| error.to_string())
    }

    fn headers(&self, hop: &Hop, cookies: &Cookies) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.settings.headers {
            if name.eq_ignore_ascii_case("host") || (!hop.trusted && is_credential_header(name)) {
                continue;
            }
            let parsed = (name.parse::<HeaderName>(), HeaderValue::from_str(value));
            let (Ok(header), Ok(value)) = parsed else { return Err(name.clone()) };
            headers.insert(header, value);
        }
        if let Some(text) = cookies.header(&hop.url) {
            let all = match headers.get(header::COOKIE).and_then(|own| own.to_str().ok()) {
                Some(own) => format!("{own}; {text}"),
                None => text,
            };
            headers.insert(header::COOKIE, all.parse().map_err(|_| "Cookie".to_owned())?);
        }
        if hop.body.is_empty() && matches!(hop.method, Method::POST | Method::PUT | Method::PATCH) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Ok(headers)
    }

    /// Checks the last response in the order in which blackbox_exporter does it.
    async fn judge(&self, asked: &Asked<'_>, last: Last, course: &mut Course, sheet: &mut Sheet) -> Result<(), String> {
        let Last { mut answer, is_read } = last;
        let mut verdict = Verdict::default();
        let status = answer.response.status.as_u16();
        sheet.set(STATUS_CODE, f64::from(status));
        sheet.set(CONTENT_LENGTH, content_length(&answer, &self.settings.method));
        verdict.check(self.is_valid_status(status), || format!("the status is {status}"));
        self.judge_headers(asked, &answer.response.headers, &mut verdict, sheet).await;
        let seen = match is_read {
            true => self.read_body(&mut answer.response).await,
            false => Body { error: Some("the redirect is not followed".to_owned()), ..Body::default() },
        };
        let (len, error) = (seen.len, seen.error.clone());
        self.judge_body(asked, seen, &mut verdict, sheet).await;
        if let Some(error) = error.filter(|_| is_read) {
            verdict.fail(error);
        }
        course.ended = Some(Instant::now());
        sheet.set(BODY_LENGTH, len as f64);
        let modified = answer.response.header("last-modified").and_then(|text| httpdate::parse_http_date(text).ok());
        if let Some(age) = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok()) {
            sheet.set(LAST_MODIFIED, age.as_secs() as f64);
        }
        let (version, number) = version(answer.version);
        sheet.set(VERSION, number);
        let versions = &self.settings.valid_http_versions;
        verdict.check(versions.is_empty() || versions.iter().any(|valid| valid == version), || {
            format!("the version is {version}")
        });
        self.judge_tls(answer.session.as_ref(), &mut verdict, sheet);
        verdict.into_result()
    }

    fn is_valid_status(&self, status: u16) -> bool {
        match self.settings.valid_status_codes.as_slice() {
            [] => (200..300).contains(&status),
            valid => valid.contains(&status),
        }
    }

    async fn judge_headers(&self, asked: &Asked<'_>, headers: &HeaderMap, verdict: &mut Verdict, sheet: &mut Sheet) {
        let (forbidden, required) = (&self.settings.fail_if_header_matches, &self.settings.fail_if_header_not_matches);
        if !verdict.is_good() || (forbidden.is_empty() && required.is_empty()) {
            return;
        }
        let (headers, forbidden, required) = (headers.clone(), forbidden.clone(), required.clone());
        let matching = on_thread(&HEADER_MATCHES, move || match_headers(&headers, &forbidden, &required));
        conclude_matching(asked.within("matching the headers", matching).await, verdict, sheet);
    }

    /// Reads the body to its end or its bound; keeps it for patterns alone.
    async fn read_body(&self, response: &mut Response) -> Body {
        let keeps = self.settings.has_body_patterns();
        let bound = self.settings.body_bytes_max();
        let limit = self.settings.body_size_limit.map_or(bound, |limit| limit.min(bound));
        let mut body = Body::default();
        loop {
            let room = limit.saturating_sub(body.len);
            let step = STEP_BYTES.min(usize::try_from(room).unwrap_or(usize::MAX));
            let before = body.bytes.len();
            let read = response.read_until(&mut body.bytes, step).await;
            body.len += (body.bytes.len() - before) as u64;
            if !keeps {
                body.bytes.clear();
            }
            match read {
                Ok(true) if body.len <= limit => return body,
                Ok(_) if body.len > limit => {
                    body.len = limit;
                    body.error = Some(format!("the body has more than {limit} bytes"));
                    return body;
                }
                Ok(_) => {}
                Err(error) => {
                    let is_gzip_expected = self.settings.compression == Some(Encoding::Gzip);
                    body.is_no_gzip = is_gzip_expected && body.len == 0 && matches!(error, ClientError::Decompress(_));
                    body.error = Some(error.to_string());
                    return body;
                }
            }
        }
    }

    async fn judge_body(&self, asked: &Asked<'_>, body: Body, verdict: &mut Verdict, sheet: &mut Sheet) {
        if !verdict.is_good() || !self.settings.has_body_patterns() {
            return;
        }
        let judged = match body.error {
            Some(error) if body.is_no_gzip => Err(error),
            Some(error) => Ok(Some(error)),
            None => {
                let (forbidden, required) =
                    (self.settings.fail_if_body_matches.clone(), self.settings.fail_if_body_not_matches.clone());
                let matching = on_thread(&MATCHES, move || match_body(&body.bytes, &forbidden, &required));
                asked.within("matching the body", matching).await
            }
        };
        conclude_matching(judged, verdict, sheet);
    }

    fn judge_tls(&self, session: Option<&Session>, verdict: &mut Verdict, sheet: &mut Sheet) {
        let Some(session) = session else {
            verdict.check(!self.settings.fail_if_not_ssl, || "it was not over TLS".to_owned());
            return;
        };
        sheet.set(SSL, 1.0);
        chain::show(sheet, session);
        chain::show_cipher(sheet, session);
        verdict.check(!self.settings.fail_if_ssl, || "it was over TLS".to_owned());
    }
}

impl Hop {
    /// The address to connect to in place of the name.
    fn address_url(&self) -> Url {
        match self.first_server.as_ref().and_then(|first| first.address) {
            Some(address) => Url { host: written(address), ..self.url.clone() },
            None => self.url.clone(),
        }
    }

    fn next(self, url: Url, location: &str, status: StatusCode) -> Self {
        let stays = !location.starts_with("//") && !location.split(['/', '?', '#']).next().unwrap_or("").contains(':');
        let first_server = self.first_server.filter(|_| stays);
        let keeps_method = matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
        if keeps_method || matches!(self.method, Method::GET | Method::HEAD) {
            return Self { url, first_server, ..self };
        }
        Self { url, first_server, method: Method::GET, body: Bytes::new(), ..self }
    }
}

impl Course {
    /// Sums the phases over all exchanges. The first one's look-up was made before.
    fn write_phases(&self, sheet: &mut Sheet, resolve: Option<f64>) {
        let (mut resolving, mut connect, mut tls, mut processing, mut transfer) = (resolve, 0.0, 0.0, 0.0, 0.0);
        for (index, (times, scheme)) in self.hops.iter().enumerate() {
            if index > 0 {
                *resolving.get_or_insert_default() += between(times.started, times.looked_up);
            }
            let ready = if *scheme == Scheme::Https { times.secured } else { times.connected };
            if ready.is_none() {
                continue;
            }
            connect += between(times.looked_up, times.connected);
            tls += between(times.connected, times.secured);
            processing += between(ready, times.answered);
            if index + 1 == self.hops.len() {
                transfer += between(times.answered, self.ended);
            }
        }
        let phases = [("connect", connect), ("tls", tls), ("processing", processing), ("transfer", transfer)];
        for (phase, seconds) in resolving.map(|seconds| ("resolve", seconds)).into_iter().chain(phases) {
            sheet.set_of(DURATION, "phase", phase, seconds);
        }
    }
}

/// What was read of a body.
#[derive(Default)]
struct Body {
    bytes: Vec<u8>,
    len: u64,
    error: Option<String>,
    /// It does not even begin as gzip: there was nothing to judge.
    is_no_gzip: bool,
}

/// An address as a host, with the interface that a link-local one is behind.
fn written(address: SocketAddr) -> String {
    match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
        other => other.ip().to_string(),
    }
}

fn between(start: Option<Instant>, end: Option<Instant>) -> f64 {
    start.zip(end).map_or(0.0, |(start, end)| end.saturating_duration_since(start).as_secs_f64())
}

/// Where a response sends its reader.
fn redirect_location(response: &Response) -> Option<String> {
    let is_redirect = matches!(response.status.as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = response.headers.get(header::LOCATION).filter(|_| is_redirect)?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned()).filter(|location| !location.is_empty())
}

/// As Go's `Response.ContentLength`: -1 where it is not known.
fn content_length(answer: &Answer, method: &str) -> f64 {
    let response = &answer.response;
    let is_chunked = response.headers.contains_key(header::TRANSFER_ENCODING);
    let written = response.header("content-length").and_then(|text| text.trim().parse::<u64>().ok());
    match written.filter(|_| !is_chunked) {
        Some(len) => len as f64,
        None if matches!(response.status.as_u16(), 204 | 304) => 0.0,
        None if answer.version == Version::HTTP_2 && answer.is_empty && method != "HEAD" => 0.0,
        None => -1.0,
    }
}

fn version(version: Version) -> (&'static str, f64) {
    match version {
        Version::HTTP_2 => ("HTTP/2.0", 2.0),
        Version::HTTP_10 => ("HTTP/1.0", 1.0),
        _ => ("HTTP/1.1", 1.1),
    }
}

/// `judged` is what is wrong, or why there was no judgement: without one the patterns are not to blame.
fn conclude_matching(judged: Result<Option<String>, String>, verdict: &mut Verdict, sheet: &mut Sheet) {
    sheet.set(FAILED_DUE_TO_REGEX, f64::from(u8::from(matches!(judged, Ok(Some(_))))));
    if let Some(reason) = judged.unwrap_or_else(Some) {
        verdict.fail(reason);
    }
}

/// What is wrong with the headers.
fn match_headers(headers: &HeaderMap, forbidden: &[HeaderMatch], required: &[HeaderMatch]) -> Option<String> {
    let bad = forbidden.iter().find_map(|rule| header_problem(headers, rule, true));
    bad.or_else(|| required.iter().find_map(|rule| header_problem(headers, rule, false)))
}

fn header_problem(headers: &HeaderMap, rule: &HeaderMatch, fails_if_it_matches: bool) -> Option<String> {
    let name = &rule.header;
    let values: Vec<_> =
        headers.get_all(name.as_str()).iter().map(|it| String::from_utf8_lossy(it.as_bytes())).collect();
    if values.is_empty() {
        return (!rule.allow_missing).then(|| format!("the header {name} is missing"));
    }
    let matches = values.iter().any(|value| rule.regexp.is_match(value));
    let verb = if matches { "matches" } else { "does not match" };
    (matches == fails_if_it_matches).then(|| format!("the header {name} {verb} {:?}", rule.regexp))
}

/// What is wrong with a body.
fn match_body(bytes: &[u8], forbidden: &[SearchRegex], required: &[SearchRegex]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let bad = forbidden.iter().find(|pattern| pattern.is_match(&text));
    let bad = bad.map(|pattern| format!("the body matches {pattern:?}"));
    let missing = required.iter().find(|pattern| !pattern.is_match(&text));
    bad.or_else(|| missing.map(|pattern| format!("the body does not match {pattern:?}")))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::client::{ClientSettings, Deadline, ProxySettings};
    use crate::model::Secret;

    /// Answers every request with a redirect, as a server or as a proxy.
    async fn redirecting(location: &str) -> String {
        let answer = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        format!("http://{address}")
    }

    async fn probe(settings: HttpProbe, target: &str) -> String {
        let prober = HttpProber::new(&settings).expect("valid");
        let deadline = Deadline::after(Duration::from_secs(10));
        let asked = Asked { target, hostname: None, deadline, allowed: &[] };
        prober.probe(&asked, &mut Sheet::default()).await.err().unwrap_or_default()
    }

    #[tokio::test]
    async fn redirects_to_numbers_are_refused_as_addresses_are() {
        for location in ["http://169.254.169.254/", "http://2852039166/", "//0xa9fea9fe/", "http://169.254.43518/x"] {
            let server = redirecting(location).await;
            let proxy = ProxySettings { url: Some(Secret::new(&server)), ..ProxySettings::default() };
            let client = ClientSettings { proxy, ..ClientSettings::default() };
            for client in [ClientSettings::default(), client] {
                let settings = HttpProbe { client, skip_resolve_phase_with_proxy: true, ..HttpProbe::default() };
                let reason = probe(settings, &server).await;
                assert!(reason.contains("asked only if allowed_networks lists them"), "{location}: {reason:?}");
            }
        }
    }

    /// Which of the headers the last server hears that `locations` lead to, one after the other.
    async fn heard_after(names: &[&str], locations: &[&str]) -> Vec<bool> {
        let last = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let mut server = format!("http://127.0.0.1:{}", last.local_addr().expect("bound").port());
        for host in locations.iter().rev() {
            server = redirecting(&server.replace("127.0.0.1", host)).await;
        }
        let headers = names.iter().map(|name| ((*name).to_owned(), "value".to_owned()));
        let mut settings = HttpProbe { headers: headers.collect(), ..HttpProbe::default() };
        settings.ip.prefers_ip6 = false;
        let heard = async {
            let (mut stream, _) = last.accept().await.expect("the redirect is followed");
            let mut request = [0; 4096];
            let len = stream.read(&mut request).await.expect("a request");
            String::from_utf8_lossy(&request[..len]).to_ascii_lowercase()
        };
        let (_, heard) = tokio::join!(probe(settings, &server), heard);
        names.iter().map(|name| heard.contains(&format!("\r\n{}: value", name.to_ascii_lowercase()))).collect()
    }

    #[tokio::test]
    async fn credentials_stay_with_their_host() {
        let names = ["Authorization", "Cookie", "Cookie2", "Proxy-Authorization", "X-Other"];
        for (locations, expected) in [
            (&["127.0.0.1"][..], [true; 5]),
            (&["localhost"], [false, false, false, false, true]),
            // They do not come back from a detour.
            (&["localhost", "127.0.0.1"], [false, false, false, false, true]),
        ] {
            assert_eq!(heard_after(&names, locations).await, expected, "{locations:?}");
        }
    }

    /// What is said of a header and of a body by patterns that they do not match, and whether the patterns are blamed.
    async fn judged(header_time: Duration, body_time: Duration) -> [(String, bool); 2] {
        let regexp = SearchRegex::new("^(a*)*b$").expect("valid");
        let rule = HeaderMatch { header: "server".to_owned(), regexp: regexp.clone(), allow_missing: false };
        let settings = HttpProbe {
            fail_if_header_not_matches: vec![rule],
            fail_if_body_not_matches: vec![regexp],
            ..HttpProbe::default()
        };
        let prober = HttpProber::new(&settings).expect("valid");
        let headers = HeaderMap::from_iter([(header::SERVER, HeaderValue::from_static("aaa"))]);
        let body = Body { bytes: b"aaa".to_vec(), len: 3, ..Body::default() };
        let asked = |time| Asked { target: "", hostname: None, deadline: Deadline::after(time), allowed: &[] };
        let [mut of_header, mut of_body] = [(); 2].map(|()| (Verdict::default(), Sheet::default()));
        prober.judge_headers(&asked(header_time), &headers, &mut of_header.0, &mut of_header.1).await;
        prober.judge_body(&asked(body_time), body, &mut of_body.0, &mut of_body.1).await;
        [of_header, of_body].map(|(verdict, sheet)| {
            let mut page = Vec::new();
            sheet.write(&mut page);
            let is_blamed = String::from_utf8(page).expect("text").ends_with("probe_failed_due_to_regex 1\n");
            (verdict.into_result().expect_err("they do not match"), is_blamed)
        })
    }

    /// Patterns run on threads that have places, never where everybody else would wait for them.
    #[tokio::test]
    async fn patterns_wait_for_a_place_of_their_kind() {
        let (short, long) = (Duration::from_millis(20), Duration::from_secs(60));
        let all = u32::try_from(MATCHES_MAX).expect("few");
        for (places, times, expected) in [
            (
                &MATCHES,
                [long, short],
                [("the header server does not match \"^(a*)*b$\"", true), ("while matching the body", false)],
            ),
            (
                &HEADER_MATCHES,
                [short, long],
                [("while matching the headers", false), ("the body does not match \"^(a*)*b$\"", true)],
            ),
        ] {
            let _taken = places.acquire_many(all).await.expect("never closed");
            for (found, expected) in judged(times[0], times[1]).await.iter().zip(expected) {
                assert!(found.0.ends_with(expected.0) && found.1 == expected.1, "{found:?} instead of {expected:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_body_file_has_an_end() {
        let settings = HttpProbe { body_file: Some("/dev/zero".into()), ..HttpProbe::default() };
        assert_eq!(probe(settings, "127.0.0.1:1").await, "body_file /dev/zero: it has more than 1048576 bytes");
    }

    #[test]
    fn interfaces_stay_with_their_addresses() {
        for (address, expected) in
            [("10.0.0.1:0", "10.0.0.1"), ("[fd00::1]:0", "fd00::1"), ("[fe80::1%3]:0", "fe80::1%3")]
        {
            assert_eq!(written(address.parse().expect(address)), expected);
        }
    }
}
