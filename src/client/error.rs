//! What can go wrong between here and an HTTP server. The texts are shown to users as the reason of a failed
//! scrape, refresh or delivery, so each names the cause in one line.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A failed request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// An address that cannot be used.
    #[error("invalid URL {url:?}: {reason}")]
    Url {
        /// As written, without user and password.
        url: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Settings that contradict each other or the request.
    #[error("{0}")]
    Settings(String),
    /// A file named in the settings could not be read.
    #[error("cannot read {what} file {path}: {reason}")]
    File {
        /// What it holds: `password`, `CA`, …
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The host's name has no address.
    #[error("cannot resolve {host}: {reason}")]
    Resolve {
        /// The name.
        host: String,
        /// Why not.
        reason: String,
    },
    /// No connection.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// Host and port, or the socket's path.
        address: String,
        /// Why not: refused, unreachable, …
        reason: String,
    },
    /// A connection, but no TLS on it.
    #[error("TLS with {host} failed: {reason}")]
    Tls {
        /// The server's name.
        host: String,
        /// Why: expired, unknown issuer, wrong name, …
        reason: String,
    },
    /// A proxy refused to let the connection through.
    #[error("proxy {proxy} refused: {reason}")]
    Proxy {
        /// Its host and port.
        proxy: String,
        /// Its words.
        reason: String,
    },
    /// No OAuth2 token.
    #[error("no OAuth2 token from {url}: {reason}")]
    Token {
        /// The token server.
        url: String,
        /// Why not.
        reason: String,
    },
    /// The time for the whole request was over.
    #[error("timed out after {} while {step}", seconds(*.after))]
    Timeout {
        /// The time that was allowed.
        after: Duration,
        /// What was being done.
        step: &'static str,
    },
    /// The connection broke, or what came was not HTTP.
    #[error("{step}: {reason}")]
    Http {
        /// What was being done.
        step: &'static str,
        /// What happened.
        reason: String,
    },
    /// Redirected more often than [`REDIRECTS_MAX`](super::REDIRECTS_MAX).
    #[error("stopped after {0} redirects")]
    Redirects(usize),
    /// The body, decompressed, is longer than allowed.
    #[error("body size limit exceeded: more than {limit} bytes")]
    BodyTooLarge {
        /// The bound in bytes.
        limit: usize,
    },
    /// Compressed data that is not valid, or that grows beyond all proportion.
    #[error("cannot decompress the body: {0}")]
    Decompress(&'static str),
    /// A content encoding that was not asked for.
    #[error("unsupported content encoding {0:?}")]
    Encoding(String),
}

impl ClientError {
    /// A name for counters: one short word per kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Url { .. } | Self::Settings(_) | Self::File { .. } => "settings",
            Self::Resolve { .. } => "resolve",
            Self::Connect { .. } => "connect",
            Self::Tls { .. } => "tls",
            Self::Proxy { .. } => "proxy",
            Self::Token { .. } => "token",
            Self::Timeout { .. } => "timeout",
            Self::Http { .. } => "http",
            Self::Redirects(_) => "redirects",
            Self::BodyTooLarge { .. } => "body_size",
            Self::Decompress(_) | Self::Encoding(_) => "encoding",
        }
    }
}

/// The plain words of an operating system's error, without its number.
pub(super) fn io_reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset by the server".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to the host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "the network is unreachable".to_owned(),
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
        _ => error.to_string(),
    }
}

/// The reason of a failed exchange, in words that say what the server did.
pub(super) fn http_reason(error: &hyper::Error) -> String {
    const CLOSED: &str = "the server closed the connection before the end";
    if error.is_incomplete_message() {
        return CLOSED.to_owned();
    }
    if error.is_parse_too_large() {
        return "the response's headers are too large".to_owned();
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(io_error) = inner.downcast_ref::<io::Error>() {
            return match io_error.kind() {
                io::ErrorKind::UnexpectedEof => CLOSED.to_owned(),
                _ => io_reason(io_error),
            };
        }
        if inner.source().is_none() {
            return format!("{error}: {inner}");
        }
        cause = inner.source();
    }
    error.to_string()
}

fn seconds(duration: Duration) -> String {
    crate::model::format_duration(duration)
}
