//! From a request to its endpoint: access, path, method, form; then headers that every reply has.

use std::net::IpAddr;
use std::sync::Arc;

use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, ORIGIN, RETRY_AFTER, VARY,
    WWW_AUTHENTICATE,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::timeout;

use crate::exposition::parse_media_type;
use crate::federation::ConnectionFacts;

use super::access::{self, Refusal};
use super::api::{Api, ApiEndpoint, Gate};
use super::connection::Course;
use super::federate::{self, Press};
use super::params::{Form, Params, decode_percent};
use super::reply::{Encoding, Reply, ReplyBody};
use super::request_metrics::RequestMetrics;
use super::settings::{BODY_BYTES_MAX, BODY_TIME_MAX, ServerSettings};
use super::web::{Admission, Web};
use super::{lifecycle, multipart, page};

/// Everything that can be asked for.
enum Endpoint {
    Api(ApiEndpoint),
    Federate,
    Version,
    Metrics,
    Healthy,
    Ready,
    Reload,
    Quit,
    Page,
}

impl Endpoint {
    /// The endpoint at a path below the route prefix.
    fn find(path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        Some(match segments.as_slice() {
            [""] => Self::Page,
            ["metrics"] => Self::Metrics,
            ["federate"] => Self::Federate,
            ["version"] => Self::Version,
            ["-", "healthy"] => Self::Healthy,
            ["-", "ready"] => Self::Ready,
            ["-", "reload"] => Self::Reload,
            ["-", "quit"] => Self::Quit,
            ["api", "v1", rest @ ..] => Self::Api(ApiEndpoint::find(rest)?),
            _ => return None,
        })
    }

    /// The path without what varies.
    fn name(&self) -> &'static str {
        match self {
            Self::Api(endpoint) => endpoint.name(),
            Self::Federate => "/federate",
            Self::Version => "/version",
            Self::Metrics => "/metrics",
            Self::Healthy => "/-/healthy",
            Self::Ready => "/-/ready",
            Self::Reload => "/-/reload",
            Self::Quit => "/-/quit",
            Self::Page => "/",
        }
    }

    /// The methods that are understood.
    fn allowed(&self) -> &'static str {
        match self {
            Self::Api(endpoint) => endpoint.allowed(),
            Self::Federate => "GET, OPTIONS, POST",
            Self::Healthy | Self::Ready | Self::Page | Self::Metrics => "GET, HEAD, OPTIONS",
            Self::Version => "GET, OPTIONS",
            Self::Reload | Self::Quit => "GET, OPTIONS, POST, PUT",
        }
    }

    /// Whether the endpoint changes something.
    fn is_changing(&self) -> bool {
        match self {
            Self::Api(endpoint) => endpoint.is_changing(),
            other => matches!(other, Self::Reload | Self::Quit),
        }
    }

    /// Whether the endpoint answers before the store is open.
    fn needs_store(&self) -> bool {
        matches!(self, Self::Api(_) | Self::Federate | Self::Ready)
    }
}

/// Answers requests.
pub(super) struct Router {
    settings: ServerSettings,
    api: Arc<Api>,
    gate: Gate,
    press: Press,
    metrics: RequestMetrics,
    web: Arc<Web>,
}

impl Router {
    pub(super) fn new(settings: ServerSettings, web: Arc<Web>, api: Arc<Api>, press: Press) -> Self {
        let gate = Gate::new(api.queries.concurrency);
        let metrics = RequestMetrics::register(&api.registry);
        Self { settings, api, gate, press, metrics, web }
    }

    /// TLS, users and headers.
    pub(super) fn web(&self) -> &Arc<Web> {
        &self.web
    }

    /// Answers one request.
    pub(super) async fn serve(
        &self,
        source: IpAddr,
        course: Course,
        request: Request<Incoming>,
    ) -> Response<ReplyBody> {
        let facts = course.begin_request();
        let (parts, body) = request.into_parts();
        let web = self.web.active();
        let (name, reply) = match access::check(&self.settings, web.public_sources, source, &parts) {
            Err(refusal) => ("refused", refuse(&refusal)),
            Ok(()) => match web.users.admit(source, &parts.headers).await {
                Admission::Granted => self.route(&parts, body, facts).await,
                Admission::Denied => ("unauthorized", unauthorized()),
                Admission::TooManyFailures => ("unauthorized", too_many_failures()),
            },
        };
        self.metrics.count(name, reply.status());
        let add =
            |reply: Reply, (name, value): &(HeaderName, HeaderValue)| reply.with_header(name.clone(), value.clone());
        let reply = web.headers.iter().fold(reply, add);
        reply.into_response(Encoding::negotiate(&parts.headers), course)
    }

    async fn route(&self, parts: &Parts, body: Incoming, facts: ConnectionFacts) -> (&'static str, Reply) {
        let Some(path) = parts.uri.path().strip_prefix(self.settings.route_prefix.as_str()) else {
            return ("not found", self.outside_of_prefix(parts.uri.path()));
        };
        // `/prefix` alone is the page, too.
        let path = if path.is_empty() { "/" } else { path };
        let Some(endpoint) = Endpoint::find(path) else {
            // Whatever lies below the API may be asked for from another origin.
            if parts.method == Method::OPTIONS && path.starts_with("/api/v1/") {
                return ("not found", self.with_cors(Reply::no_content(), parts));
            }
            return ("not found", self.nothing_there(path, parts));
        };
        let reply = self.answer(&endpoint, parts, body, facts).await;
        let reply = if matches!(endpoint, Endpoint::Api(_)) { self.with_cors(reply, parts) } else { reply };
        (endpoint.name(), reply)
    }

    async fn answer(&self, endpoint: &Endpoint, parts: &Parts, body: Incoming, facts: ConnectionFacts) -> Reply {
        if parts.method == Method::OPTIONS {
            let allowed = HeaderValue::from_static(endpoint.allowed());
            return match endpoint {
                Endpoint::Api(_) => Reply::no_content(),
                _ => Reply::text(StatusCode::OK, "").with_header(ALLOW, allowed),
            };
        }
        if !endpoint.allowed().split(", ").any(|allowed| allowed == parts.method.as_str()) {
            return Reply::method_not_allowed(endpoint.allowed());
        }
        if parts.method == Method::DELETE {
            return ApiEndpoint::not_implemented();
        }
        if endpoint.is_changing() && parts.method == Method::GET {
            return Reply::text(StatusCode::METHOD_NOT_ALLOWED, "Only POST or PUT requests allowed");
        }
        if endpoint.is_changing()
            && let Err(refusal) = access::check_origin(parts)
        {
            return refuse(&refusal);
        }
        if endpoint.needs_store()
            && let Some(reply) = lifecycle::not_ready(*self.api.readiness.borrow())
        {
            return reply;
        }
        let params = match read_params(parts, body).await {
            Ok(params) => params,
            Err(reply) => return reply,
        };
        match endpoint {
            Endpoint::Api(endpoint) => endpoint.answer(&self.api, &self.gate, &params).await,
            Endpoint::Federate => {
                let facts = ConnectionFacts { is_relayed: federate::is_relayed(parts), ..facts };
                federate::answer(&self.api, &self.press, &params, &parts.headers, facts).await
            }
            Endpoint::Version => lifecycle::version(&self.api),
            Endpoint::Metrics => lifecycle::metrics(&self.api),
            Endpoint::Healthy => lifecycle::healthy(&self.api),
            Endpoint::Ready => lifecycle::ready(),
            Endpoint::Reload => lifecycle::reload(&self.api).await,
            Endpoint::Quit => lifecycle::quit(&self.api),
            Endpoint::Page => page::answer(&self.api),
        }
    }

    /// The answer where no endpoint is: the way to it if a slash too many or too few was given.
    fn nothing_there(&self, path: &str, parts: &Parts) -> Reply {
        if let Err(reason) = decode_percent(path) {
            return Reply::text(StatusCode::BAD_REQUEST, format!("400 Bad Request: {reason}\n"));
        }
        let Some(right) = right_path(path) else { return Reply::not_found() };
        let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let Ok(location) = HeaderValue::from_str(&format!("{}{right}{query}", self.settings.route_prefix)) else {
            return Reply::not_found();
        };
        let status = match parts.method {
            Method::GET | Method::HEAD => StatusCode::MOVED_PERMANENTLY,
            _ => StatusCode::PERMANENT_REDIRECT,
        };
        Reply::text(status, "The path is written without that slash.\n").with_header(LOCATION, location)
    }

    /// `/` leads to the prefix; nothing else is out there.
    fn outside_of_prefix(&self, path: &str) -> Reply {
        match HeaderValue::from_str(&format!("{}/", self.settings.route_prefix)) {
            Ok(location) if path == "/" => Reply::text(StatusCode::FOUND, "").with_header(LOCATION, location),
            _ => Reply::not_found(),
        }
    }

    /// Lets pages of the configured origins read the reply.
    fn with_cors(&self, reply: Reply, parts: &Parts) -> Reply {
        if reply.status() == StatusCode::METHOD_NOT_ALLOWED {
            return reply;
        }
        let reply = reply.with_header(VARY, HeaderValue::from_static("Origin"));
        let (Some(allowed), Some(origin)) = (&self.settings.cors_origin, parts.headers.get(ORIGIN)) else {
            return reply;
        };
        let headers = "Accept, Authorization, Content-Type, Origin";
        let reply = reply
            .with_header(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(headers))
            .with_header(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"))
            .with_header(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Date"));
        if allowed.as_str() == ".*" {
            return reply.with_header(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        match origin.to_str().is_ok_and(|origin| allowed.is_match(origin)) {
            true => reply.with_header(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()),
            false => reply,
        }
    }
}

/// The path of the endpoint that is meant: without doubled slashes and without one at the end.
fn right_path(path: &str) -> Option<String> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let right = format!("/{}", segments.join("/"));
    (right != path && Endpoint::find(&right).is_some()).then_some(right)
}

fn refuse(refusal: &Refusal) -> Reply {
    let status = match refusal {
        Refusal::NoHost | Refusal::SeveralHosts => StatusCode::BAD_REQUEST,
        _ => StatusCode::FORBIDDEN,
    };
    Reply::text(status, format!("{refusal}\n"))
}

fn unauthorized() -> Reply {
    Reply::problem(StatusCode::UNAUTHORIZED, "Unauthorized\n")
        .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"))
}

fn too_many_failures() -> Reply {
    let text = "Too many wrong passwords came from this address. Try again in a minute.\n";
    Reply::problem(StatusCode::TOO_MANY_REQUESTS, text).with_header(RETRY_AFTER, HeaderValue::from_static("60"))
}

/// The parameters of the URL and of a posted form.
async fn read_params(parts: &Parts, body: Incoming) -> Result<Params, Reply> {
    let content_type = parts.headers.get(CONTENT_TYPE).filter(|_| access::is_changing(&parts.method));
    let content_type = content_type.map(|value| value.to_str().unwrap_or(""));
    let media_type = content_type.map(parse_media_type);
    // A form counts also where what stands behind its type is malformed.
    let name = content_type.and_then(|value| value.split(';').next()).unwrap_or("").trim();
    let form = if name.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Form::Encoded(read_body(body).await?)
    } else if let Some(Ok(media_type)) = &media_type
        && media_type.name == "multipart/form-data"
        && let Some(boundary) = media_type.parameter("boundary")
    {
        multipart::fields(&read_body(body).await?, boundary).map_or(Form::None, Form::Fields)
    } else {
        Form::None
    };
    let mut params = Params::parse(parts.uri.query().unwrap_or(""), form);
    if let Some(Err(reason)) = media_type {
        params.fail(reason.to_owned());
    }
    Ok(params)
}

async fn read_body(body: Incoming) -> Result<Vec<u8>, Reply> {
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(too_large());
    }
    match timeout(BODY_TIME_MAX, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes().to_vec()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Reply::text(StatusCode::BAD_REQUEST, format!("error parsing form values: {error}\n"))),
        Err(_) => Err(Reply::text(StatusCode::REQUEST_TIMEOUT, "the request's body took too long\n")),
    }
}

fn too_large() -> Reply {
    Reply::text(StatusCode::PAYLOAD_TOO_LARGE, format!("the request's body is larger than {BODY_BYTES_MAX} bytes\n"))
}
