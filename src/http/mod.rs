//! The HTTP server: listener, access, dispatch, and one file per endpoint family.
//!
//! Own dispatch over hyper's HTTP/1.1: the paths are few and fixed. Everything that a client can
//! grow or drag out has a named bound in [`settings`](ServerSettings).

// What app needs.
mod server;
mod settings;
mod web;

// The course of a request.
mod access;
mod connection;
mod framing;
mod json;
mod made;
mod multipart;
mod params;
mod reply;
mod request_metrics;
mod router;
mod time;

// The endpoints.
mod api;
mod federate;
mod lifecycle;
mod page;

pub use access::is_local_host;
pub use api::{
    Admin, Api, BuildInfo, ConfigSnapshot, Health, Lifecycle, QuerySettings, Readiness, ReloadRequest, RuntimeInfo,
};
pub use server::{Server, ServerError};
pub use settings::{
    BODY_BYTES_MAX, BODY_TIME_MAX, CONNECTIONS_MAX, HEAD_BYTES_MAX, HEAD_LINES_MAX, HEAD_TIME_MAX, IDLE_TIME_MAX,
    QUERIES_WAITING_MAX, REPLY_TIME_MAX, STOP_TIME_MAX, ServerSettings, WRITE_STALL_MAX,
};

pub use web::{ClientAuth, PemSource, ServerTlsSettings, WebSettings, WebSource, check_web_settings};

#[cfg(test)]
mod tests;
