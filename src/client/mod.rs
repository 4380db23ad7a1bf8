//! The outgoing HTTP client: TLS, authentication, proxies, redirects, bounded bodies.

mod settings;

pub use settings::{
    Authorization, BasicAuth, ClientSettings, HeaderValues, OAuth2, ProxySettings, SecretSource, TlsSettings,
    TlsVersion,
};
