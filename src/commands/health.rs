//! `outpost health`: asks a running outpost (or Prometheus) whether it is well, for container health checks.

use std::path::Path;

use super::{ask, fail, print};

/// Whether the server at `url` says that it is healthy. Certificates are not verified where `insecure` says so.
pub fn run(url: &str, http_config: Option<&Path>, insecure: bool) -> bool {
    let asked = ask::client_settings(http_config).and_then(|mut settings| {
        settings.tls.insecure_skip_verify |= insecure;
        ask::get(url, "/-/healthy", &settings)
    });
    let reply = match asked {
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
