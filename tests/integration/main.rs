//! Black-box tests: the real binary beside real peers, over loopback.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

/// Starting programs, asking them over HTTP, waiting for conditions.
mod support;

/// Alertmanagers that fail in every way, and one that is cut off.
mod alert_delivery;
/// The alerts that a live Prometheus sends.
mod alert_parity;
/// kill -9 in every state of an alert.
mod alert_restart;
/// An Alertmanager receives what fires and what resolves.
mod alerting;
/// The HTTP API beside a live Prometheus, request by request.
mod api_parity;
/// What a wrong configuration or a broken target leads to.
mod bad_input;
/// promtool and a Python client.
mod clients;
/// A clock that starts in the past and is set.
mod clock;
/// The same questions as a live Prometheus, the same answers.
#[path = "../compliance/mod.rs"]
mod compliance;
/// Containers of a real engine.
mod containers;
/// No configuration at all.
mod default_job;
/// The pages under docs.
mod docs;
/// A stock Prometheus as the central.
mod federation;
/// Targets that misbehave in every way at once.
mod hostile_targets;
/// Restart, kill, reload.
mod lifecycle;
/// This host beside a live node_exporter.
mod node_exporter;
/// Services beside a live blackbox_exporter.
mod probes;
/// What must not be shown is not.
mod secrets;
/// The systemd unit, and what systemd is told.
mod service;
/// The store's commands, beside promtool.
mod store;
/// TLS and users of the listener.
mod web_config;
