//! The outgoing HTTP client: TLS, authentication, proxies, redirects, bounded bodies.
//!
//! HTTP/1.1, and HTTP/2 where TLS negotiates it and `enable_http2` allows it. A connection carries one request at a
//! time in either: closing it is how a server that never stops sending is stopped.

mod auth;
mod body;
/// Certificates as bytes.
pub mod certificate;
mod connect;
mod deadline;
/// DNS messages as bytes.
pub mod dns_message;
/// Whole DNS replies and their records in text.
pub mod dns_records;
mod error;
mod file;
mod gets;
mod mdns;
mod oauth2;
mod pool;
mod proxy;
mod request;
mod resolve;
mod send;
mod settings;
mod socks;
mod steps;
mod tls;
mod trust;
/// Addresses.
pub mod url;
mod wire;

pub use connect::Stream;
pub use deadline::Deadline;
pub use error::ClientError;
pub use file::{SecretText, read_file};
pub use gets::{Patience, SocketGets};
pub use proxy::in_network;
pub use request::{Request, Response};
pub use resolve::Resolver;
pub use send::{Client, REDIRECTS_MAX, is_credential_header, may_have_credentials};
pub use settings::{
    Authorization, BasicAuth, ClientSettings, HeaderValues, OAuth2, ProxySettings, SecretSource, TlsSettings,
    TlsVersion,
};
pub use steps::{Answer, Dialer, Encoding, Exchange, MayReach, Session, Times, TlsDialer, look_up};
pub use url::{Scheme, Url};

#[cfg(test)]
mod tests;
