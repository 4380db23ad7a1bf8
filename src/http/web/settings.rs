//! What `--web.config.file` says, as types.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use hyper::header::{HeaderName, HeaderValue};

use crate::model::Secret;

/// TLS, users and headers of the listener.
#[derive(Clone, Debug, Default)]
pub struct WebSettings {
    /// `tls_server_config`
    pub tls: Option<ServerTlsSettings>,
    /// `basic_auth_users`: names and their passwords' bcrypt hashes.
    pub users: BTreeMap<String, Secret>,
    /// `http_server_config.headers`: what every answer carries.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// `tls_server_config`
#[derive(Clone, Debug)]
pub struct ServerTlsSettings {
    /// `cert` or `cert_file`
    pub cert: PemSource,
    /// `key` or `key_file`
    pub key: PemSource,
    /// `client_ca` or `client_ca_file`: who may have signed a client's certificate.
    pub client_ca: Option<PemSource>,
    /// `client_auth_type`
    pub client_auth: ClientAuth,
    /// `client_allowed_sans`: one of these names must be in a client's certificate; empty allows all.
    pub client_allowed_sans: Vec<String>,
    /// TLS 1.2 may be spoken.
    pub tls12: bool,
    /// TLS 1.3 may be spoken.
    pub tls13: bool,
    /// `cipher_suites` of TLS 1.2 by their IANA names; empty allows all that there are.
    pub cipher_suites: Vec<String>,
    /// `curve_preferences`, by Go's names; empty allows all that there are.
    pub curves: Vec<String>,
}

/// PEM text, or the file that it is in.
#[derive(Clone, Debug)]
pub enum PemSource {
    /// Written in the settings.
    Inline(Secret),
    /// In a file, which may change.
    File(PathBuf),
}

/// `client_auth_type`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// No certificate is asked for.
    #[default]
    None,
    /// One is asked for, and none is looked at.
    Request,
    /// Any certificate will do.
    RequireAny,
    /// One that is given must be signed by the client CA.
    VerifyIfGiven,
    /// One must be given, signed by the client CA.
    RequireAndVerify,
}

impl ClientAuth {
    /// Whether a signature of the client CA is looked for.
    pub fn verifies(self) -> bool {
        matches!(self, Self::VerifyIfGiven | Self::RequireAndVerify)
    }

    /// Whether a client without a certificate is sent away.
    pub fn is_mandatory(self) -> bool {
        matches!(self, Self::RequireAny | Self::RequireAndVerify)
    }
}

impl WebSettings {
    /// Whether whoever gets in has shown who it is, on an encrypted line: then it may come from anywhere.
    pub fn identifies_clients(&self) -> bool {
        let by_certificate = self.tls.as_ref().is_some_and(|tls| tls.client_auth == ClientAuth::RequireAndVerify);
        self.tls.is_some() && (by_certificate || !self.users.is_empty())
    }

    /// The files beside the settings' own whose change matters.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let sources = self.tls.iter().flat_map(|tls| [Some(&tls.cert), Some(&tls.key), tls.client_ca.as_ref()]);
        sources.flatten().filter_map(|source| match source {
            PemSource::File(path) => Some(path),
            PemSource::Inline(_) => None,
        })
    }
}

/// `--web.config.file`: where it is, and how it is read.
#[derive(Clone)]
pub struct WebSource {
    /// The file.
    pub path: PathBuf,
    /// Reads it; the error is worded for people.
    pub read: Arc<dyn Fn() -> Result<WebSettings, String> + Send + Sync>,
}

impl fmt::Debug for WebSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSource").field("path", &self.path).finish_non_exhaustive()
    }
}
