//! `outpost health`: asks a running outpost (or Prometheus) whether it is well, for container health checks.

use std::time::Duration;

use super::{print, print_error};
use crate::client::{Client, ClientError, ClientSettings, Request, TlsSettings, Url};

const TIMEOUT: Duration = Duration::from_secs(5);
const REPLY_BYTES_MAX: usize = 64 * 1024;

/// Whether the server at `url` says that it is healthy. Certificates are not verified where `insecure` says so.
pub fn run(url: &str, insecure: bool) -> bool {
    let asked = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(ask(url, insecure)).map_err(|error| described(&error)));
    match asked {
        Ok((status, text)) if (200..300).contains(&status) => {
            print(&format!("{}\n", text.trim_end()));
            true
        }
        Ok((status, text)) => fail(&format!("{url} answers with status {status}: {}", text.trim_end())),
        Err(reason) => fail(&format!("{url}: {reason}")),
    }
}

async fn ask(url: &str, insecure: bool) -> Result<(u16, String), ClientError> {
    let tls = TlsSettings { insecure_skip_verify: insecure, ..TlsSettings::default() };
    let client = Client::new(&ClientSettings { tls, ..ClientSettings::default() })?;
    let mut request = Request::get(Url::parse(&format!("{}/-/healthy", url.trim_end_matches('/')))?);
    request.timeout = TIMEOUT;
    let mut response = client.send(request).await?;
    let body = response.read_body(REPLY_BYTES_MAX).await?;
    Ok((response.status.as_u16(), String::from_utf8_lossy(&body).into_owned()))
}

fn described(error: &ClientError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

fn fail(message: &str) -> bool {
    print_error(&format!("error: {message}\n"));
    false
}
