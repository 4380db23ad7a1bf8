//! The Engine API as discovery reads it: lists of containers, networks and swarm objects.
//!
//! Paths carry no version, so that the engine answers with its own. Everything that may be absent or null is
//! optional: engines of all ages and their imitations are asked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use hyper::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{DiscoveryError, DockerFilter};
use crate::client::url::{bracketed, push_query_part, without_password};
use crate::client::{Client, ClientError, ClientSettings, Request, Url};
use crate::model::is_legacy_label_name;

/// The longest list that is read: a container takes about 2 KB.
const BODY_BYTES_MAX: usize = 32 << 20;
/// The longest time of one question.
const TIMEOUT_MAX: Duration = Duration::from_secs(30);

/// Labels under construction.
pub(super) type LabelMap = BTreeMap<String, String>;

/// Asks one engine.
pub(super) struct Engine {
    client: Client,
    base: String,
    filters: String,
    timeout: Duration,
}

impl Engine {
    /// An engine at `unix://`, `tcp://`, `http://` or `https://`.
    pub(super) fn new(
        host: &str,
        settings: &ClientSettings,
        filters: &[DockerFilter],
        interval: Duration,
    ) -> Result<Self, DiscoveryError> {
        let bad = |reason: &str| DiscoveryError::EngineHost { host: without_password(host), reason: reason.to_owned() };
        let (scheme, rest) = host.split_once("://").ok_or_else(|| bad("it has no scheme"))?;
        let (client, base) = match scheme {
            "unix" => {
                let client = Client::over_unix_socket(&ClientSettings::default(), PathBuf::from(rest))?;
                (client, "http://localhost".to_owned())
            }
            "tcp" => (Client::new(settings)?, format!("http://{}", rest.trim_end_matches('/'))),
            "http" | "https" => (Client::new(settings)?, host.trim_end_matches('/').to_owned()),
            _ => return Err(bad("only unix, tcp, http and https are known")),
        };
        Url::parse(&base)?;
        Ok(Self { client, base, filters: encode_filters(filters), timeout: interval.min(TIMEOUT_MAX) })
    }

    /// A list of the engine, narrowed by the configured filters.
    pub(super) async fn filtered<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, DiscoveryError> {
        let mark = if self.filters.is_empty() { "" } else { "?filters=" };
        self.list(&format!("{path}{mark}{}", self.filters)).await
    }

    /// A whole list of the engine.
    pub(super) async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, DiscoveryError> {
        let url = Url::parse(&format!("{}{path}", self.base))?;
        // As shown, a URL has no user and no password.
        let address = url.to_string();
        let failed = |reason: ClientError| DiscoveryError::Client { url: address.clone(), reason };
        let answer = |reason: String| DiscoveryError::Answer { url: address.clone(), reason };
        let mut request = Request::get(url);
        request.timeout = self.timeout;
        let mut response = self.client.send(request).await.map_err(failed)?;
        let status = response.status;
        let body = response.read_body(BODY_BYTES_MAX).await.map_err(failed)?;
        if status != StatusCode::OK {
            let message = serde_json::from_slice::<Message>(&body).map(|error| error.message).unwrap_or_default();
            return Err(answer(format!("HTTP status {status} {message}")));
        }
        let list: Option<Vec<T>> = serde_json::from_slice(&body).map_err(|error| answer(error.to_string()))?;
        Ok(list.unwrap_or_default())
    }

    /// The labels of each network, by its id, under names that start with `prefix`.
    pub(super) async fn network_labels(&self, prefix: &str) -> Result<BTreeMap<String, LabelMap>, DiscoveryError> {
        let networks: Vec<Network> = self.list("/networks").await?;
        let labelled = networks.into_iter().map(|network| {
            let prefix = format!("{prefix}network_");
            let mut labels = LabelMap::from([
                (format!("{prefix}id"), network.id.clone()),
                (format!("{prefix}name"), network.name),
                (format!("{prefix}scope"), network.scope),
                (format!("{prefix}internal"), network.internal.to_string()),
                (format!("{prefix}ingress"), network.ingress.to_string()),
            ]);
            extend_sanitized(&mut labels, &format!("{prefix}label_"), network.labels);
            (network.id, labels)
        });
        Ok(labelled.collect())
    }
}

/// Adds an object's own labels, with names that are legacy label names.
pub(super) fn extend_sanitized(labels: &mut LabelMap, prefix: &str, own: Option<BTreeMap<String, String>>) {
    for (name, value) in own.unwrap_or_default() {
        labels.insert(format!("{prefix}{}", sanitize_label_name(&name)), value);
    }
}

/// Every character that a legacy label name cannot have becomes `_`.
fn sanitize_label_name(name: &str) -> String {
    if is_legacy_label_name(name) {
        return name.to_owned();
    }
    name.chars().map(|char| if char.is_ascii_alphanumeric() || char == '_' { char } else { '_' }).collect()
}

/// `host:port`, an IPv6 address in brackets.
pub(super) fn join_host_port(host: &str, port: u16) -> String {
    format!("{}:{port}", bracketed(host))
}

/// An address out of CIDR notation.
pub(super) fn address_of(network: &str) -> Result<&str, DiscoveryError> {
    let address = network.split('/').next().unwrap_or("");
    if address.parse::<std::net::IpAddr>().is_err() {
        let reason = format!("{network:?} is not an address");
        return Err(DiscoveryError::Answer { url: "container engine".to_owned(), reason });
    }
    Ok(address)
}

/// The engine's notation: `{"name": {"value": true}}`, as one part of a query.
fn encode_filters(filters: &[DockerFilter]) -> String {
    let mut by_name: BTreeMap<&str, BTreeMap<&str, bool>> = BTreeMap::new();
    for filter in filters {
        let values = filter.values.iter().map(|value| (value.as_str(), true));
        by_name.entry(&filter.name).or_default().extend(values);
    }
    let mut encoded = String::new();
    if !by_name.is_empty() {
        push_query_part(&mut encoded, &serde_json::to_string(&by_name).expect("texts are always JSON"));
    }
    encoded
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Network {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    internal: bool,
    #[serde(default)]
    ingress: bool,
    labels: Option<BTreeMap<String, String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        let filter = |name: &str, values: &[&str]| DockerFilter {
            name: name.to_owned(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        };
        let encoded = encode_filters(&[filter("name", &["b", "a"]), filter("label", &["x=y"])]);
        assert_eq!(
            encoded,
            "%7B%22label%22%3A%7B%22x%3Dy%22%3Atrue%7D%2C%22name%22%3A%7B%22a%22%3Atrue%2C%22b%22%3Atrue%7D%7D"
        );
        assert_eq!(encode_filters(&[]), "");
    }

    #[test]
    fn names() {
        assert_eq!(sanitize_label_name("com.docker.compose/project-é"), "com_docker_compose_project__");
        assert_eq!(join_host_port("fd00::1", 80), "[fd00::1]:80");
        assert!(address_of("10.0.0.1/24").is_ok() && address_of("nonsense").is_err());
    }
}
