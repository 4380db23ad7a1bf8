//! One request to a running server, for the commands that have a question.

use std::path::Path;
use std::time::Duration;

use crate::client::{Client, ClientError, ClientSettings, Request, Url};
use crate::config::read_client_file;

/// Above the default `--query.timeout`.
const TIMEOUT: Duration = Duration::from_secs(3 * 60);

/// More than a query may give with its default bounds.
const REPLY_BYTES_MAX: usize = 1 << 30;

/// An answer.
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The whole body.
    pub body: Vec<u8>,
}

/// How to talk to a server: what `--http.config.file` says.
pub fn client_settings(file: Option<&Path>) -> Result<ClientSettings, String> {
    file.map_or_else(|| Ok(ClientSettings::default()), |path| read_client_file(path).map_err(|error| error.to_string()))
}

/// Asks for `path` below the address of a server, which may have a prefix.
pub fn get(server: &str, path: &str, settings: &ClientSettings) -> Result<Reply, String> {
    get_within(server, path, settings, TIMEOUT)
}

/// The same with another bound on how long it may take.
pub fn get_within(server: &str, path: &str, settings: &ClientSettings, timeout: Duration) -> Result<Reply, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let url = format!("{}{path}", server.trim_end_matches('/'));
    runtime.block_on(send(&url, settings, timeout)).map_err(|error| format!("{server}: {}", described(&error)))
}

async fn send(url: &str, settings: &ClientSettings, timeout: Duration) -> Result<Reply, ClientError> {
    let client = Client::new(settings)?;
    let mut request = Request::get(Url::parse(url)?);
    request.timeout = timeout;
    let mut response = client.send(request).await?;
    let body = response.read_body(REPLY_BYTES_MAX).await?;
    Ok(Reply { status: response.status.as_u16(), body })
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
