//! Cases taken from Prometheus's own tests, kept beside the project in `../shared/conformance`.
//! Where that folder is absent the tests say so and pass.

#![allow(clippy::print_stderr, reason = "absent cases are said loudly")]

mod config;
mod parse;
mod promql;

use std::path::PathBuf;

/// The folder `name` of the shared cases, if it is there.
fn shared(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/conformance")).join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: no conformance cases at {}", path.display());
    None
}
