//! `outpost health`: asks a running outpost (or Prometheus) whether it is well, for container health checks.

use super::{ask, fail, print};
use crate::client::{ClientSettings, TlsSettings};

/// Whether the server at `url` says that it is healthy. Certificates are not verified where `insecure` says so.
pub fn run(url: &str, insecure: bool) -> bool {
    let tls = TlsSettings { insecure_skip_verify: insecure, ..TlsSettings::default() };
    let reply = match ask::get(url, "/-/healthy", &ClientSettings { tls, ..ClientSettings::default() }) {
        Ok(reply) => reply,
        Err(reason) => return fail(&reason),
    };
    let text = String::from_utf8_lossy(&reply.body);
    let is_healthy = (200..300).contains(&reply.status);
    if is_healthy {
        print(&format!("{}\n", text.trim_end()));
    } else {
        fail(&format!("{url} answers with status {}: {}", reply.status, text.trim_end()));
    }
    is_healthy
}
