//! `remote_write`: checked as Prometheus checks it, then left out with a warning, so that a file shared with a
//! Prometheus loads. The way to a central server is `/federate`.

use super::paths::Folder;
use super::{client, relabel, url};
use crate::yaml::{Field, Section};

/// Checks the entries of `remote_write`.
pub fn read_writes(entries: &[Field<'_>], folder: &Folder) {
    let mut names: Vec<String> = Vec::new();
    for field in entries {
        if field.is_null() {
            field.problem("an empty entry; remove it");
            continue;
        }
        let section = field.section();
        if let Some(name) = section.text("name") {
            if names.contains(&name) {
                section.problem("name", format!("a second remote_write with the name {name:?}"));
            }
            names.push(name);
        }
        field.warning(
            "remote_write is not supported: NOTHING IS SENT to this URL; let the central server scrape /federate \
             instead, with `resync` so that outages leave no hole",
        );
        check(&section, folder);
        section.finish(|_| None);
    }
}

fn check(section: &Section<'_>, folder: &Folder) {
    match section.text("url") {
        None => section.problem("url", "remote_write needs a `url`"),
        Some(url) => {
            if let Some(reason) = url::refusal(&url) {
                section.problem("url", format!("{url:?} is not a URL: {reason}"));
            }
        }
    }
    section.duration("remote_timeout");
    for key in ["send_exemplars", "send_native_histograms", "round_robin_dns"] {
        section.boolean(key);
    }
    check_message(section);
    check_headers(section);
    relabel::read(section, "write_relabel_configs");
    client::read(section, folder);
    // Signed requests: what stands inside has no part that outpost could get wrong.
    for key in ["sigv4", "azuread", "google_iam"] {
        section.has(key);
    }
    check_queue(section);
    if let Some(metadata) = section.get("metadata_config") {
        let metadata = metadata.section();
        metadata.boolean("send");
        metadata.duration("send_interval");
        metadata.unsigned("max_samples_per_send");
        metadata.finish(|_| None);
    }
}

fn check_message(section: &Section<'_>) {
    let known = ["prometheus.WriteRequest", "io.prometheus.write.v2.Request"];
    if let Some(message) = section.text("protobuf_message").filter(|text| !known.contains(&text.as_str())) {
        section.problem("protobuf_message", format!("unknown message {message:?}; known are {}", known.join(", ")));
    }
}

fn check_headers(section: &Section<'_>) {
    let Some(headers) = section.get("headers") else { return };
    for (name, value) in headers.pairs() {
        value.text();
        if client::is_reserved_header(&name) {
            value.problem("this header is set by the sender itself and cannot be changed here");
        }
    }
}

fn check_queue(section: &Section<'_>) {
    let Some(field) = section.get("queue_config") else { return };
    let queue = field.section();
    for key in ["capacity", "max_shards", "min_shards", "max_samples_per_send"] {
        if queue.unsigned(key) == Some(0) {
            queue.problem(key, "must be greater than 0");
        }
    }
    for key in ["batch_send_deadline", "min_backoff", "max_backoff", "sample_age_limit"] {
        queue.duration(key);
    }
    queue.boolean("retry_on_http_429");
    if let (Some(low), Some(high)) = (queue.unsigned("min_shards"), queue.unsigned("max_shards"))
        && low > high
    {
        queue.problem("min_shards", "must not be greater than max_shards");
    }
    queue.finish(|_| None);
}
