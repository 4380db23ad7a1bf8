//! `/-/healthy`, `/-/ready`, `/-/reload`, `/-/quit`, `/version` and `/metrics`.

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use tokio::sync::{mpsc, oneshot};

use super::api::{Api, Lifecycle, Readiness, push_build};
use super::json::Json;
use super::reply::Reply;

/// The text format that the own metrics are written in.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

/// Tells load balancers whether a server that is not ready is on its way up or down.
const STOPPING_HEADER: HeaderName = HeaderName::from_static("x-prometheus-stopping");

/// `/-/healthy`: always 200 while the process works, since restarting it would not mend a disk; what
/// is wrong stands in the text.
pub(super) fn healthy(api: &Api) -> Reply {
    let health = (api.health)();
    let mut text = "outpost is Healthy.\n".to_owned();
    for problem in health.problems {
        text.push_str(&format!("But: {problem}\n"));
    }
    Reply::text(StatusCode::OK, text)
}

/// `/-/ready`
pub(super) fn ready() -> Reply {
    Reply::text(StatusCode::OK, "outpost is Ready.\n")
}

/// The reply where the store cannot be asked now.
pub(super) fn not_ready(readiness: Readiness) -> Option<Reply> {
    let stopping = match readiness {
        Readiness::Ready => return None,
        Readiness::Starting => "false",
        Readiness::Stopping => "true",
    };
    let reply = Reply::text(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable");
    Some(reply.with_header(STOPPING_HEADER, HeaderValue::from_static(stopping)))
}

/// `/-/reload`: waits for the outcome.
pub(super) async fn reload(api: &Api) -> Reply {
    let Some(lifecycle) = &api.lifecycle else { return not_enabled() };
    let (answer, outcome) = oneshot::channel();
    if let Err(reply) = ask(&lifecycle.reload, answer) {
        return reply;
    }
    match outcome.await {
        Ok(Ok(())) => Reply::text(StatusCode::OK, ""),
        Ok(Err(reason)) => {
            Reply::text(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {reason}\n"))
        }
        Err(_) => Reply::text(StatusCode::SERVICE_UNAVAILABLE, "outpost is stopping\n"),
    }
}

/// `/-/quit`
pub(super) fn quit(api: &Api) -> Reply {
    let Some(Lifecycle { quit, .. }) = &api.lifecycle else { return not_enabled() };
    match ask(quit, ()) {
        Ok(()) => Reply::text(StatusCode::OK, "Requesting termination... Goodbye!"),
        Err(reply) => reply,
    }
}

/// `/version`: the data of `/api/v1/status/buildinfo`, as text.
pub(super) fn version(api: &Api) -> Reply {
    let mut json = Json::new();
    push_build(&mut json, &api.build);
    let text = String::from_utf8_lossy(&json.into_bytes()).into_owned();
    Reply::text(StatusCode::OK, text + "\n")
}

/// `/metrics`
pub(super) fn metrics(api: &Api) -> Reply {
    let mut page = Vec::new();
    api.registry.render(&mut page);
    Reply::new(StatusCode::OK, METRICS_TYPE, page)
}

fn ask<T>(requests: &mpsc::Sender<T>, request: T) -> Result<(), Reply> {
    requests.try_send(request).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => {
            Reply::text(StatusCode::SERVICE_UNAVAILABLE, "such a request is in work already\n")
        }
        mpsc::error::TrySendError::Closed(_) => Reply::text(StatusCode::SERVICE_UNAVAILABLE, "outpost is stopping\n"),
    })
}

fn not_enabled() -> Reply {
    Reply::text(StatusCode::FORBIDDEN, "Lifecycle API is not enabled.")
}
