//! How to talk to an HTTP server: Prometheus's `http_config`, checked.
//! Source: prometheus/common/config/http_config.go.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::model::Secret;

/// Settings of one client.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientSettings {
    /// `basic_auth`
    pub basic_auth: Option<BasicAuth>,
    /// `authorization` (and the older `bearer_token`, `bearer_token_file`).
    pub authorization: Option<Authorization>,
    /// `oauth2`
    pub oauth2: Option<Box<OAuth2>>,
    /// `tls_config`
    pub tls: TlsSettings,
    /// `proxy_url`, `no_proxy`, `proxy_from_environment`, `proxy_connect_header`
    pub proxy: ProxySettings,
    /// `follow_redirects`
    pub follow_redirects: bool,
    /// `enable_http2`: whether HTTP/2 is offered in the TLS handshake.
    pub enable_http2: bool,
    /// `http_headers`
    pub headers: BTreeMap<String, HeaderValues>,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            basic_auth: None,
            authorization: None,
            oauth2: None,
            tls: TlsSettings::default(),
            proxy: ProxySettings::default(),
            follow_redirects: true,
            enable_http2: true,
            headers: BTreeMap::new(),
        }
    }
}

/// Where a secret text comes from. Files are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// Written in the configuration.
    Inline(Secret),
    /// In a file; surrounding white space is cut off.
    File(PathBuf),
}

/// `basic_auth`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuth {
    /// `username` or `username_file`; a user name is no secret, but may come from a file.
    pub username: SecretSource,
    /// `password` or `password_file`; empty if absent.
    pub password: SecretSource,
}

/// `authorization`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// `type`, by default `Bearer`.
    pub scheme: String,
    /// `credentials` or `credentials_file`
    pub credentials: Option<SecretSource>,
}

/// `oauth2`: the client credentials flow.
#[derive(Clone, Debug, PartialEq)]
pub struct OAuth2 {
    /// `client_id`
    pub client_id: String,
    /// `client_secret` or `client_secret_file`
    pub client_secret: Option<SecretSource>,
    /// `scopes`
    pub scopes: Vec<String>,
    /// `token_url`
    pub token_url: String,
    /// `endpoint_params`
    pub endpoint_params: BTreeMap<String, String>,
    /// TLS towards the token server.
    pub tls: TlsSettings,
    /// The way to the token server.
    pub proxy: ProxySettings,
}

/// `tls_config`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TlsSettings {
    /// `ca` or `ca_file`: PEM; the built-in roots and the system's bundle if absent.
    pub ca: Option<SecretSource>,
    /// `cert` or `cert_file`: PEM chain of the client's certificate.
    pub cert: Option<SecretSource>,
    /// `key` or `key_file`: PEM.
    pub key: Option<SecretSource>,
    /// `server_name`: what the certificate must be for, and SNI.
    pub server_name: Option<String>,
    /// `insecure_skip_verify`
    pub insecure_skip_verify: bool,
    /// `min_version`; 1.2 at least, since rustls speaks nothing older.
    pub min_version: Option<TlsVersion>,
    /// `max_version`
    pub max_version: Option<TlsVersion>,
}

/// Versions of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.0, accepted as a minimum only.
    Tls10,
    /// TLS 1.1, accepted as a minimum only.
    Tls11,
    /// TLS 1.2
    Tls12,
    /// TLS 1.3
    Tls13,
}

/// The way to the server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProxySettings {
    /// `proxy_url`: `http://`, `https://` or `socks5://`, perhaps with user and password.
    pub url: Option<Secret>,
    /// `no_proxy`: comma-separated hosts, domains, addresses and CIDR ranges.
    pub no_proxy: String,
    /// `proxy_from_environment`
    pub from_environment: bool,
    /// `proxy_connect_header`
    pub connect_headers: BTreeMap<String, Vec<Secret>>,
}

/// One entry of `http_headers`: all of its values are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderValues {
    /// `values`
    pub values: Vec<String>,
    /// `secrets`
    pub secrets: Vec<Secret>,
    /// `files`, read anew for each request.
    pub files: Vec<PathBuf>,
}
