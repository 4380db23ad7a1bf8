//! TLS towards servers: certificates out of settings, files or the system, checked by rustls.
//!
//! Files are looked at again before each new connection; a change makes a new configuration.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, PeerIncompatible, SupportedProtocolVersion};
use tokio_rustls::client::TlsStream;

use super::file::{SecretText, Stamp};
use super::trust::{Roots, Verifier};
use super::url::{bracketed, without_zone};
use super::{ClientError, Deadline, Stream, TlsSettings, TlsVersion};

/// What a server answers in the handshake if it is to be spoken to in HTTP/2.
pub(super) const ALPN_HTTP2: &[u8] = b"h2";
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// Makes TLS configurations from settings, anew when a file has changed.
#[derive(Debug)]
pub(super) struct Tls {
    settings: TlsSettings,
    ca: Option<SecretText>,
    cert: Option<SecretText>,
    key: Option<SecretText>,
    enable_http2: bool,
    made: Mutex<Option<Made>>,
}

/// What was made of the files as they were.
#[derive(Debug)]
struct Made {
    stamps: Vec<Stamp>,
    config: Arc<ClientConfig>,
    /// `None` where nothing is checked. Held here, so that all clients share the system's.
    roots: Option<Arc<Roots>>,
}

impl Tls {
    /// Checks what can be checked without opening a file.
    pub(super) fn new(settings: &TlsSettings, enable_http2: bool) -> Result<Self, ClientError> {
        if settings.cert.is_some() != settings.key.is_some() {
            return Err(ClientError::Settings("a client certificate needs both cert and key".to_owned()));
        }
        Ok(Self {
            settings: settings.clone(),
            ca: settings.ca.as_ref().map(|source| SecretText::new("CA", source)),
            cert: settings.cert.as_ref().map(|source| SecretText::new("certificate", source)),
            key: settings.key.as_ref().map(|source| SecretText::new("key", source)),
            enable_http2,
            made: Mutex::new(None),
        })
    }

    /// The name that the server's certificate must be for.
    pub(super) fn server_name(&self, host: &str) -> Result<ServerName<'static>, ClientError> {
        let name = self.settings.server_name.as_deref().unwrap_or(without_zone(host));
        ServerName::try_from(name.to_owned())
            .map_err(|_| ClientError::Tls { host: name.to_owned(), reason: "it is not a valid server name".to_owned() })
    }

    /// The configuration that is in force now.
    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, ClientError> {
        let stamps = self.stamps();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = made.as_ref().filter(|known| known.stamps == stamps) {
            return Ok(Arc::clone(&known.config));
        }
        let roots = if self.settings.insecure_skip_verify { None } else { Some(self.roots()?) };
        let mut config = self.build(roots.as_deref())?;
        if self.enable_http2 {
            config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()];
        }
        let config = Arc::new(config);
        *made = Some(Made { stamps, config: Arc::clone(&config), roots });
        Ok(config)
    }

    /// Makes TLS of a connection to `host`.
    pub(super) async fn shake_hands(
        &self,
        config: Arc<ClientConfig>,
        stream: Box<dyn Stream>,
        host: &str,
        deadline: &Deadline,
    ) -> Result<TlsStream<Box<dyn Stream>>, ClientError> {
        let failed = |error: std::io::Error| ClientError::Tls { host: bracketed(host), reason: tls_reason(&error) };
        let handshake = tokio_rustls::TlsConnector::from(config).connect(self.server_name(host)?, stream);
        deadline.within("the TLS handshake", async { handshake.await.map_err(failed) }).await
    }

    /// When the chain from a server's certificate to a root ends, in seconds since the epoch; `None` where nothing has
    /// been checked.
    pub(super) fn chain_end(&self, presented: &[CertificateDer<'_>], now: i64) -> Option<i64> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let roots = made.as_ref()?.roots.clone()?;
        drop(made);
        roots.chain_end(presented, now)
    }

    /// The same towards a proxy, which is asked in HTTP/1.1.
    pub(super) fn config_for_proxy(&self) -> Result<Arc<ClientConfig>, ClientError> {
        let mut config = (*self.config()?).clone();
        config.alpn_protocols = Vec::new();
        Ok(Arc::new(config))
    }

    fn stamps(&self) -> Vec<Stamp> {
        let texts = [&self.ca, &self.cert, &self.key];
        texts.into_iter().flatten().filter_map(SecretText::path).map(|path| Stamp::of(path)).collect()
    }

    fn build(&self, roots: Option<&Roots>) -> Result<ClientConfig, ClientError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&self.versions()?)
            .map_err(|error| ClientError::Settings(error.to_string()))?;
        let verifier = Arc::new(Verifier::new(roots, provider)?);
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let (Some(cert), Some(key)) = (&self.cert, &self.key) else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = parse_certificates("client certificate", cert.text()?.expose())?;
        let key = PrivateKeyDer::from_pem_slice(key.text()?.expose().as_bytes())
            .map_err(|error| ClientError::Settings(format!("the client key is not valid PEM: {error}")))?;
        builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| ClientError::Settings(format!("the client certificate and key do not fit: {error}")))
    }

    fn roots(&self) -> Result<Arc<Roots>, ClientError> {
        let Some(ca) = &self.ca else { return Ok(Roots::of_system()) };
        Ok(Arc::new(Roots::of(parse_certificates("CA", ca.text()?.expose())?)?))
    }

    fn versions(&self) -> Result<Vec<&'static SupportedProtocolVersion>, ClientError> {
        let min = self.settings.min_version.unwrap_or(TlsVersion::Tls12);
        let max = self.settings.max_version.unwrap_or(TlsVersion::Tls13);
        let mut versions = Vec::new();
        if min <= TlsVersion::Tls13 && max >= TlsVersion::Tls13 {
            versions.push(&rustls::version::TLS13);
        }
        if min <= TlsVersion::Tls12 && max >= TlsVersion::Tls12 {
            versions.push(&rustls::version::TLS12);
        }
        if versions.is_empty() {
            let text = "min_version and max_version leave neither TLS 1.2 nor TLS 1.3, and nothing older is spoken";
            return Err(ClientError::Settings(text.to_owned()));
        }
        Ok(versions)
    }
}

const OTHER_VERSION: &str =
    "the server speaks none of the versions of TLS that are spoken here and allowed by tls_config: 1.2 and 1.3";
const OTHER_CIPHERS: &str = "the server has refused all that is spoken here (TLS 1.3; TLS 1.2 with ECDHE and AES-GCM or \
                             ChaCha20, without CBC), or wants a client's certificate";

/// The cause of a failed handshake, in words for the user.
fn tls_reason(error: &std::io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(problem)) => certificate_reason(problem),
        Some(rustls::Error::InvalidMessage(_)) => "the server does not speak TLS".to_owned(),
        Some(rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)) => OTHER_VERSION.to_owned(),
        Some(rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13 | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        )) => OTHER_VERSION.to_owned(),
        Some(rustls::Error::AlertReceived(AlertDescription::HandshakeFailure)) => OTHER_CIPHERS.to_owned(),
        Some(other) => other.to_string(),
        None => super::error::io_reason(error),
    }
}

fn certificate_reason(problem: &rustls::CertificateError) -> String {
    use rustls::CertificateError as Problem;
    match problem {
        Problem::Expired | Problem::ExpiredContext { .. } => "the server's certificate has expired".to_owned(),
        Problem::NotValidYet | Problem::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet; is this machine's clock right?".to_owned()
        }
        Problem::UnknownIssuer => {
            "the server's certificate is signed by an unknown authority; set tls_config's ca_file".to_owned()
        }
        Problem::NotValidForName | Problem::NotValidForNameContext { .. } => {
            "the server's certificate is for another name; set tls_config's server_name".to_owned()
        }
        // webpki says so of what `openssl req -x509` makes, before it looks at who has signed it.
        Problem::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "the server's certificate is signed by itself; set tls_config's ca_file to a copy of it".to_owned()
        }
        Problem::Revoked => "the server's certificate has been revoked".to_owned(),
        other => format!("the server's certificate is not valid: {other}"),
    }
}

fn parse_certificates(what: &str, pem: &str) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| ClientError::Settings(format!("the {what} is not valid PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(ClientError::Settings(format!("the {what} holds no certificate")));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use rustls::RootCertStore;
    use rustls::sign::{CertifiedKey, Signer, SigningKey};

    use super::*;
    use crate::client::{Client, ClientSettings, Request, SecretSource, Url};
    use crate::model::Secret;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const CA: &str = include_str!("../../tests/fixtures/tls/ca.pem");
    const SERVER: [&str; 2] =
        [include_str!("../../tests/fixtures/tls/server.pem"), include_str!("../../tests/fixtures/tls/server.key")];
    const EXPIRED: [&str; 2] =
        [include_str!("../../tests/fixtures/tls/expired.pem"), include_str!("../../tests/fixtures/tls/expired.key")];
    /// Signed by itself, and an authority in its own words.
    const OWN: [&str; 2] =
        [include_str!("../../tests/fixtures/tls/self.pem"), include_str!("../../tests/fixtures/tls/self.key")];
    const CLIENT: [&str; 2] =
        [include_str!("../../tests/fixtures/tls/client.pem"), include_str!("../../tests/fixtures/tls/client.key")];

    fn inline(text: &str) -> Option<SecretSource> {
        Some(SecretSource::Inline(Secret::new(text)))
    }

    /// A server that answers each connection once; it may ask for a client's certificate.
    async fn server([cert, key]: [&str; 2], asks_for_certificate: bool) -> u16 {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(parse_certificates("CA", CA).expect("valid").remove(0)).expect("valid");
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the defaults fit");
        let builder = if asks_for_certificate {
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("valid"))
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("valid");
        let chain = parse_certificates("server", cert).expect("valid");
        serve(builder.with_single_cert(chain, key).expect("they fit")).await
    }

    async fn serve(config: rustls::ServerConfig) -> u16 {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let port = listener.local_addr().expect("bound").port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                let _ = stream.shutdown().await;
            }
        });
        port
    }

    async fn fetch(tls: TlsSettings, port: u16) -> String {
        let client = Client::new(&ClientSettings { tls, ..ClientSettings::default() }).expect("valid");
        let url = Url::parse(&format!("https://127.0.0.1:{port}/")).expect("valid");
        match client.send(Request::get(url)).await {
            Ok(mut response) => String::from_utf8(response.read_body(100).await.expect("read")).expect("text"),
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn certificates_are_checked() {
        let ca = TlsSettings { ca: inline(CA), ..TlsSettings::default() };
        let other = TlsSettings { server_name: Some("other.lan".to_owned()), ..ca.clone() };
        let named = TlsSettings { server_name: Some("localhost".to_owned()), ..ca.clone() };
        let old = TlsSettings { max_version: Some(TlsVersion::Tls12), ..ca.clone() };
        let too_old = TlsSettings { max_version: Some(TlsVersion::Tls11), ..ca.clone() };
        let own = TlsSettings { ca: inline(OWN[0]), ..TlsSettings::default() };
        let own_for_other = TlsSettings { server_name: Some("other.lan".to_owned()), ..own.clone() };
        let own_and_expired = TlsSettings { ca: inline(EXPIRED[0]), ..TlsSettings::default() };
        let blind = TlsSettings { insecure_skip_verify: true, ..TlsSettings::default() };
        let cases = [
            (SERVER, &ca, "ok"),
            (SERVER, &named, "ok"),
            (SERVER, &old, "ok"),
            (SERVER, &blind, "ok"),
            (EXPIRED, &blind, "ok"),
            (OWN, &own, "ok"),
            (OWN, &ca, "TLS with 127.0.0.1 failed: the server's certificate is signed by itself; set"),
            (OWN, &own_for_other, "TLS with 127.0.0.1 failed: the server's certificate is for another name"),
            (EXPIRED, &own_and_expired, "TLS with 127.0.0.1 failed: the server's certificate has expired"),
            (EXPIRED, &ca, "TLS with 127.0.0.1 failed: the server's certificate has expired"),
            (SERVER, &other, "TLS with 127.0.0.1 failed: the server's certificate is for another name"),
            (SERVER, &too_old, "min_version and max_version leave neither TLS 1.2 nor TLS 1.3"),
            (
                SERVER,
                &TlsSettings::default(),
                "TLS with 127.0.0.1 failed: the server's certificate is signed by an unknown",
            ),
        ];
        for (certificate, settings, expected) in cases {
            let found = fetch(settings.clone(), server(certificate, false).await).await;
            assert!(found.starts_with(expected), "{found:?} should start with {expected:?}");
        }
    }

    /// A server with a certificate that nothing here can read or sign for: what it signs with is no signature at all.
    #[derive(Debug)]
    struct Odd(rustls::SignatureScheme, CertificateDer<'static>);

    impl rustls::server::ResolvesServerCert for Odd {
        fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            Some(Arc::new(CertifiedKey::new(vec![self.1.clone()], Arc::new(OddKey(self.0)))))
        }
    }

    #[derive(Clone, Debug)]
    struct OddKey(rustls::SignatureScheme);

    impl SigningKey for OddKey {
        fn choose_scheme(&self, offered: &[rustls::SignatureScheme]) -> Option<Box<dyn Signer>> {
            offered.contains(&self.0).then(|| -> Box<dyn Signer> { Box::new(self.clone()) })
        }

        fn algorithm(&self) -> rustls::SignatureAlgorithm {
            rustls::SignatureAlgorithm::ECDSA
        }
    }

    impl Signer for OddKey {
        fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rustls::Error> {
            Ok(vec![1; 64])
        }

        fn scheme(&self) -> rustls::SignatureScheme {
            self.0
        }
    }

    #[tokio::test]
    async fn unchecked_certificates_may_be_odd() {
        use rustls::SignatureScheme as Scheme;
        let blind = TlsSettings { insecure_skip_verify: true, ..TlsSettings::default() };
        let sighted = TlsSettings { ca: inline(CA), ..TlsSettings::default() };
        let cases = [
            (include_str!("../../tests/fixtures/tls/version1.pem"), Scheme::ECDSA_NISTP256_SHA256),
            (include_str!("../../tests/fixtures/tls/p521.pem"), Scheme::ECDSA_NISTP521_SHA512),
            (include_str!("../../tests/fixtures/tls/rsa1024.pem"), Scheme::RSA_PSS_SHA256),
            (SERVER[0], Scheme::ECDSA_NISTP256_SHA256),
        ];
        for (pem, scheme) in cases {
            let certificate = parse_certificates("server", pem).expect("valid").remove(0);
            let builder = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("the defaults fit");
            let config = builder.with_no_client_auth().with_cert_resolver(Arc::new(Odd(scheme, certificate)));
            let port = serve(config).await;
            assert_eq!(fetch(blind.clone(), port).await, "ok", "{scheme:?}");
            let refused = fetch(sighted.clone(), port).await;
            assert!(refused.starts_with("TLS with 127.0.0.1 failed: "), "{scheme:?}: {refused}");
        }
    }

    /// What servers say that speak something older.
    #[tokio::test]
    async fn what_is_not_spoken_is_named() {
        let cases: [(&[u8], &str); 4] = [
            // Alerts of protocol_version and of handshake_failure; a ServerHello of TLS 1.0 with a suite of CBC.
            (&[21, 3, 1, 0, 2, 2, 70], "of the versions of TLS that are spoken here"),
            (&[21, 3, 3, 0, 2, 2, 40], "without CBC), or wants a client's certificate"),
            (
                &[&[22, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1][..], &[7; 32], &[0, 0, 0x2f, 0]].concat(),
                "of the versions of TLS that are spoken here",
            ),
            (b"SSH-2.0-x\r\n", "the server does not speak TLS"),
        ];
        for (answer, expected) in cases {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
            let port = listener.local_addr().expect("bound").port();
            let answer = answer.to_vec();
            tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.expect("a client");
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(&answer).await;
                let _ = stream.read(&mut [0; 4096]).await;
            });
            let failed = fetch(TlsSettings::default(), port).await;
            assert!(failed.contains(expected), "{failed:?} should contain {expected:?}");
        }
    }

    #[test]
    fn clients_share_the_system_s_roots() {
        let roots = [0, 1].map(|_| {
            let tls = Tls::new(&TlsSettings::default(), true).expect("valid");
            tls.config().expect("the system's or built-in roots");
            tls
        });
        let [first, second] = roots.map(|tls| tls.made.into_inner().expect("not poisoned").and_then(|made| made.roots));
        assert!(Arc::ptr_eq(&first.expect("checked"), &second.expect("checked")));
    }

    #[tokio::test]
    async fn servers_may_ask_for_a_certificate() {
        let port = server(SERVER, true).await;
        let without = TlsSettings { ca: inline(CA), ..TlsSettings::default() };
        let with = TlsSettings { cert: inline(CLIENT[0]), key: inline(CLIENT[1]), ..without.clone() };
        assert_eq!(fetch(with, port).await, "ok");
        assert_ne!(fetch(without, port).await, "ok");
    }

    #[tokio::test]
    async fn a_changed_file_counts() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, SERVER[0]).expect("written");
        let settings = TlsSettings { ca: Some(SecretSource::File(path.clone())), ..TlsSettings::default() };
        let tls = Tls::new(&settings, true).expect("valid");
        let first = tls.config().expect("a certificate");
        assert!(Arc::ptr_eq(&first, &tls.config().expect("the same")));
        std::fs::write(&path, CA).expect("written");
        assert!(!Arc::ptr_eq(&first, &tls.config().expect("another")));
        std::fs::write(&path, "nonsense").expect("written");
        assert_eq!(tls.config().expect_err("no certificate").to_string(), "the CA holds no certificate");
    }
}
