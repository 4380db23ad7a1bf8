//! `http_sd_configs`: a list of groups from an HTTP server.
//! Source of the rules: prometheus/discovery/http/http.go.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{ACCEPT, HeaderName, HeaderValue};

use super::group_list::{make_group, parse_json};
use super::{DiscoveryError, HttpSettings, TargetGroup};
use crate::client::url::without_password;
use crate::client::{Client, ClientError, Request, Url};

/// The longest list that is read.
const BODY_BYTES_MAX: usize = 16 << 20;
/// The longest time that one refresh may take.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// Asks an HTTP server.
pub(super) struct HttpProvider {
    client: Client,
    url: Url,
    /// As configured but for a password: what `__meta_url` says.
    written_url: String,
    interval: Duration,
}

impl HttpProvider {
    pub(super) fn new(settings: &HttpSettings) -> Result<Self, DiscoveryError> {
        Ok(Self {
            client: Client::new(&settings.client)?,
            url: Url::parse(&settings.url)?,
            written_url: without_password(&settings.url),
            interval: settings.refresh_interval,
        })
    }

    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// Asks for the list.
    pub(super) async fn refresh(&mut self) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let body = self.fetch().await?;
        let groups = parse_json(&body).map_err(|reason| self.bad_answer(reason))?;
        let url = &self.written_url;
        let numbered = groups.into_iter().enumerate();
        Ok(numbered.map(|(index, group)| make_group(format!("{url}:{index}"), group, ("__meta_url", url))).collect())
    }

    async fn fetch(&self) -> Result<Vec<u8>, DiscoveryError> {
        let failed = |reason: ClientError| DiscoveryError::Client { url: self.url.to_string(), reason };
        let mut request = Request::get(self.url.clone());
        request.timeout = self.interval.min(TIMEOUT_MAX);
        request.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let seconds = HeaderValue::try_from(self.interval.as_secs_f64().to_string()).expect("a number is plain text");
        request.headers.insert(HeaderName::from_static("x-prometheus-refresh-interval-seconds"), seconds);
        let mut response = self.client.send(request).await.map_err(failed)?;
        if response.status != StatusCode::OK {
            return Err(self.bad_answer(format!("server returned HTTP status {}", response.status)));
        }
        let content_type = response.header("content-type").unwrap_or("").trim().to_ascii_lowercase();
        if !is_json(&content_type) {
            return Err(self.bad_answer(format!("unsupported content type {content_type:?}")));
        }
        response.read_body(BODY_BYTES_MAX).await.map_err(failed)
    }

    fn bad_answer(&self, reason: String) -> DiscoveryError {
        DiscoveryError::Answer { url: self.url.to_string(), reason }
    }
}

/// `application/json`, alone or with UTF-8 named.
fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    parts.next() == Some("application/json") && parts.all(|part| matches!(part, "charset=utf-8" | "charset=\"utf-8\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ClientSettings;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn asked(head: &str, body: &str) -> Result<Vec<TargetGroup>, DiscoveryError> {
        asked_as("", head, body).await
    }

    /// The same with something before the host.
    async fn asked_as(user: &str, head: &str, body: &str) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let url = format!("http://{user}{}/sd", listener.local_addr().expect("bound"));
        let answer = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        });
        let settings =
            HttpSettings { url, refresh_interval: Duration::from_secs(60), client: ClientSettings::default() };
        HttpProvider::new(&settings)?.refresh().await
    }

    #[tokio::test]
    async fn a_password_in_the_url_is_no_label() {
        let json = "200 OK\r\nContent-Type: application/json";
        let groups = asked_as("me:canary@", json, r#"[{"targets":["a:1"]}]"#).await.expect("good");
        let url = groups[0].labels.get("__meta_url").expect("it is told");
        assert!(url.starts_with("http://me:") && url.ends_with("/sd") && !url.contains("canary"), "{url}");
        assert!(!groups[0].source.contains("canary"), "{}", groups[0].source);
    }

    #[tokio::test]
    async fn answers() {
        let json = "200 OK\r\nContent-Type: application/json; charset=utf-8";
        let groups = asked(json, r#"[{"targets":["a:1"],"labels":{"x":"y"}}]"#).await.expect("good");
        assert_eq!(groups[0].labels.get("x"), Some("y"));
        assert!(groups[0].labels.get("__meta_url").is_some_and(|url| url.ends_with("/sd")));
        let bad = [
            ("200 OK\r\nContent-Type: text/html", "[]", "unsupported content type \"text/html\""),
            (json, "{", "invalid type: map"),
            ("503 Busy", "", "server returned HTTP status 503"),
        ];
        for (head, body, expected) in bad {
            let error = asked(head, body).await.expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
