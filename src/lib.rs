//! outpost: Prometheus for one site, in one static binary.
//!
//! The modules in reading order; ARCHITECTURE.md draws how they may use each other.

/// The server as a whole.
pub mod app;
/// Waits between tries.
pub mod backoff;
/// The command line.
pub mod cli;
/// The outgoing HTTP client.
pub mod client;
/// Wall time.
pub mod clock;
/// Samples as bytes.
pub mod codec;
/// Built-in collectors.
pub mod collect;
/// What each subcommand does.
pub mod commands;
/// The configuration file.
pub mod config;
/// Who finds targets.
pub mod discovery;
/// Pages of metrics: reading and writing.
pub mod exposition;
/// What a puller is given.
pub mod federation;
/// File patterns.
pub mod glob;
/// The HTTP server.
pub mod http;
/// Log lines.
pub mod logging;
/// Plain values: labels, matchers, samples, timestamps.
pub mod model;
/// Alerts to Alertmanagers.
pub mod notify;
/// The query language.
pub mod promql;
/// Recording and alerting rules.
pub mod rules;
/// Fetching and appending.
pub mod scrape;
/// Small files of state.
pub mod state_file;
/// Where samples live.
pub mod store;
/// Own metrics.
pub mod telemetry;
/// YAML as trees with positions.
pub mod yaml;
