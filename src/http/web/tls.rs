//! The listener's side of TLS: rustls from the settings, every mistake named by its key.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};

use super::client_cert::ClientCertificates;
use super::settings::{ClientAuth, PemSource, ServerTlsSettings};

/// The longest PEM file: a CA bundle has about 250 KB.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Suites of TLS 1.3, which Go's settings may name and cannot switch off.
const TLS13_SUITES: [&str; 3] = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

/// The configuration that connections are taken with.
pub(super) fn build(settings: &ServerTlsSettings) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(provider(settings)?);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(settings)?)
        .map_err(|error| format!("tls_server_config: {error}"))?;
    let builder = match settings.client_auth {
        ClientAuth::None => builder.with_no_client_auth(),
        _ => builder.with_client_cert_verifier(Arc::new(client_certificates(settings, &provider)?)),
    };
    let chain = certificates("cert", &settings.cert)?;
    let pem = read("key", &settings.key)?;
    let key = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|error| format!("tls_server_config.key holds no private key in PEM: {error}"))?;
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| format!("tls_server_config: certificate and key do not fit: {error}"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn client_certificates(
    settings: &ServerTlsSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<ClientCertificates, String> {
    let roots = match (&settings.client_ca, settings.client_auth.verifies()) {
        (Some(source), true) => Some(roots(source)?),
        (None, true) => {
            return Err("tls_server_config.client_ca_file is missing: whose certificates are to be trusted?".to_owned());
        }
        (_, false) => None,
    };
    ClientCertificates::new(roots, settings, provider)
        .map_err(|reason| format!("tls_server_config.client_ca: {reason}"))
}

fn roots(source: &PemSource) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("client_ca", source)? {
        roots.add(certificate).map_err(|error| format!("tls_server_config.client_ca: {error}"))?;
    }
    Ok(roots)
}

fn certificates(key: &str, source: &PemSource) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(key, source)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|error| format!("tls_server_config.{key} is no PEM: {error}"))?;
    if certificates.is_empty() {
        return Err(format!("tls_server_config.{key} holds no certificate in PEM"));
    }
    Ok(certificates)
}

fn read(key: &str, source: &PemSource) -> Result<Vec<u8>, String> {
    let path = match source {
        PemSource::Inline(text) => return Ok(text.expose().as_bytes().to_vec()),
        PemSource::File(path) => path,
    };
    let failed = |error: std::io::Error| format!("tls_server_config.{key}_file {}: {error}", path.display());
    let len = std::fs::metadata(path).map_err(failed)?.len();
    if len > FILE_BYTES_MAX {
        return Err(format!("tls_server_config.{key}_file {}: {len} bytes are too many", path.display()));
    }
    std::fs::read(path).map_err(failed)
}

fn versions(settings: &ServerTlsSettings) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let mut versions = Vec::new();
    if settings.tls13 {
        versions.push(&rustls::version::TLS13);
    }
    if settings.tls12 {
        versions.push(&rustls::version::TLS12);
    }
    if versions.is_empty() {
        return Err("tls_server_config: min_version and max_version leave neither TLS 1.2 nor TLS 1.3".to_owned());
    }
    Ok(versions)
}

fn provider(settings: &ServerTlsSettings) -> Result<CryptoProvider, String> {
    let mut provider = ring::default_provider();
    if !settings.cipher_suites.is_empty() {
        let wanted = &settings.cipher_suites;
        check_known("cipher_suites", wanted, |name| {
            TLS13_SUITES.contains(&name) || provider.cipher_suites.iter().any(|suite| is_named(suite, name))
        })?;
        // As in Go, the choice is TLS 1.2's alone.
        provider
            .cipher_suites
            .retain(|suite| suite.tls13().is_some() || wanted.iter().any(|name| is_named(suite, name)));
    }
    if !settings.curves.is_empty() {
        check_known("curve_preferences", &settings.curves, |name| curve(&provider, name).is_some())?;
        provider.kx_groups = settings.curves.iter().filter_map(|name| curve(&provider, name)).collect();
    }
    Ok(provider)
}

fn check_known(key: &str, names: &[String], is_known: impl Fn(&str) -> bool) -> Result<(), String> {
    match names.iter().find(|name| !is_known(name)) {
        None => Ok(()),
        Some(name) => Err(format!(
            "tls_server_config.{key}: {name} is not supported; there are {}",
            if key == "cipher_suites" { SUITES } else { CURVES }
        )),
    }
}

/// What error messages offer.
const SUITES: &str = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, \
     TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, the same with RSA instead of ECDSA, and those of TLS 1.3";
const CURVES: &str = "X25519, CurveP256 and CurveP384";

/// Go has two names for the ChaCha20 suites, one of them shorter.
fn is_named(suite: &SupportedCipherSuite, name: &str) -> bool {
    let own = format!("{:?}", suite.suite());
    own == name || own.strip_suffix("_SHA256").is_some_and(|short| short.ends_with("POLY1305") && short == name)
}

fn curve(provider: &CryptoProvider, name: &str) -> Option<&'static dyn SupportedKxGroup> {
    let name = match name {
        "X25519" => rustls::NamedGroup::X25519,
        "CurveP256" => rustls::NamedGroup::secp256r1,
        "CurveP384" => rustls::NamedGroup::secp384r1,
        _ => return None,
    };
    provider.kx_groups.iter().copied().find(|group| group.name() == name)
}
