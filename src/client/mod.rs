//! The outgoing HTTP client: TLS, authentication, proxies, redirects, bounded bodies.
//!
//! HTTP/1.1 alone is spoken: every server that is scraped, asked or alerted understands it, and HTTP/2 would cost
//! more memory per connection than a whole scrape. `enable_http2` is therefore accepted and without effect.

mod auth;
mod body;
mod connect;
mod deadline;
/// DNS messages as bytes.
pub mod dns_message;
mod error;
mod file;
mod mdns;
mod oauth2;
mod pool;
mod proxy;
mod request;
mod resolve;
mod send;
mod settings;
mod tls;
/// Addresses.
pub mod url;

pub use error::ClientError;
pub use request::{Request, Response};
pub use send::{Client, REDIRECTS_MAX};
pub use settings::{
    Authorization, BasicAuth, ClientSettings, HeaderValues, OAuth2, ProxySettings, SecretSource, TlsSettings,
    TlsVersion,
};
pub use url::{Scheme, Url};

use deadline::Deadline;

#[cfg(test)]
mod tests;
