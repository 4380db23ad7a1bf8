//! Posting to an Alertmanager over HTTP.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};

use super::endpoint::{Delivery, Post};
use crate::client::{Client, Request, Response, Url};

/// How much of an answer is read: enough for its reason, and to use the connection again.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// One entry of `alertmanagers` as a client.
pub struct HttpPost {
    /// How its Alertmanagers are talked to.
    pub client: Client,
    /// The time for a request.
    pub timeout: Duration,
}

impl Post for HttpPost {
    fn post<'a>(&'a self, url: &'a str, body: Bytes) -> Pin<Box<dyn Future<Output = Delivery> + Send + 'a>> {
        Box::pin(async move {
            let url = match Url::parse(url) {
                Ok(url) => url,
                Err(error) => return Delivery::Refused(error.to_string()),
            };
            let mut request = Request { timeout: self.timeout, ..Request::post(url, body) };
            request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            match self.client.send(request).await {
                Ok(response) => judge(response).await,
                Err(error) => Delivery::Failed(error.to_string()),
            }
        })
    }
}

async fn judge(mut response: Response) -> Delivery {
    let status = response.status;
    let answer = response.read_body(ANSWER_BYTES_MAX).await.unwrap_or_default();
    if status.is_success() {
        return Delivery::Done;
    }
    let answer = String::from_utf8_lossy(&answer);
    let reason = format!("bad response status {status}: {}", answer.trim().chars().take(200).collect::<String>());
    // What is wrong with the request stays wrong; what is wrong with credentials or the server may not.
    match status {
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
            Delivery::Refused(reason)
        }
        _ => Delivery::Failed(reason),
    }
}
