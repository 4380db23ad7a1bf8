//! Whom to trust in TLS: roots out of files or the system, and what may be a server's certificate.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use xxhash_rust::xxh3::xxh3_64;

use super::ClientError;
use super::certificate::Certificate;

/// Where distributions keep their bundle of roots.
const SYSTEM_BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// How many certificates of a server are looked at, and how many ways from one to the next are tried.
const CHAIN_MAX: usize = 10;
const STEPS_MAX: usize = 200;

/// The system's roots are about 100 KB in memory: all clients share them.
static SYSTEM_ROOTS: Mutex<Weak<Roots>> = Mutex::new(Weak::new());

/// Roots, and when each ends: rustls does not keep that.
#[derive(Debug)]
pub(super) struct Roots {
    store: Arc<RootCertStore>,
    ends: Vec<RootEnd>,
    /// Certificates of a `ca_file`, which a server may also present as its own.
    own: Vec<CertificateDer<'static>>,
}

#[derive(Debug)]
struct RootEnd {
    subject_hash: u64,
    not_after: i64,
}

impl Roots {
    /// Exactly these.
    pub(super) fn of(certificates: Vec<CertificateDer<'static>>) -> Result<Self, ClientError> {
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            store
                .add(certificate.clone())
                .map_err(|error| ClientError::Settings(format!("a CA certificate is bad: {error}")))?;
        }
        let ends = certificates.iter().filter_map(|certificate| end_of(certificate)).collect();
        Ok(Self { store: Arc::new(store), ends, own: certificates })
    }

    /// Those of the system, or built-in ones where it has none.
    pub(super) fn of_system() -> Arc<Self> {
        let mut shared = SYSTEM_ROOTS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(roots) = shared.upgrade() {
            return roots;
        }
        let roots = Arc::new(read_system_roots());
        *shared = Arc::downgrade(&roots);
        roots
    }

    /// When the longest-lived chain from a server's certificate to a root ends, in seconds since the epoch. What has
    /// ended before `now` is in no chain, but for the server's certificate itself.
    pub(super) fn chain_end(&self, presented: &[CertificateDer<'_>], now: i64) -> Option<i64> {
        let parsed = presented.iter().take(CHAIN_MAX).map_while(|der| Certificate::parse(der));
        let certificates: Vec<Certificate<'_>> = parsed.collect();
        let mut steps = STEPS_MAX;
        self.end_from(&certificates, 0, &mut vec![false; certificates.len()], now, &mut steps)
    }

    fn end_from(
        &self,
        certificates: &[Certificate<'_>],
        index: usize,
        used: &mut Vec<bool>,
        now: i64,
        steps: &mut usize,
    ) -> Option<i64> {
        let certificate = certificates.get(index)?;
        let issuer = xxh3_64(certificate.issuer_bytes);
        let roots = self.ends.iter().filter(|root| root.subject_hash == issuer && root.not_after >= now);
        let mut end = roots.map(|root| root.not_after).max();
        used[index] = true;
        for (other, candidate) in certificates.iter().enumerate() {
            let is_issuer = candidate.subject_bytes == certificate.issuer_bytes && candidate.not_after >= now;
            if used[other] || !is_issuer || *steps == 0 {
                continue;
            }
            *steps -= 1;
            end = end.max(self.end_from(certificates, other, used, now, steps));
        }
        used[index] = false;
        end.map(|end| end.min(certificate.not_after))
    }
}

fn end_of(certificate: &CertificateDer<'_>) -> Option<RootEnd> {
    let parsed = Certificate::parse(certificate)?;
    Some(RootEnd { subject_hash: xxh3_64(parsed.subject_bytes), not_after: parsed.not_after })
}

fn read_system_roots() -> Roots {
    let named = std::env::var_os("SSL_CERT_FILE");
    let candidates = named.iter().map(Path::new).chain(SYSTEM_BUNDLES.iter().map(Path::new));
    for path in candidates {
        let Ok(pem) = std::fs::read(path) else { continue };
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect();
        let ends = certificates.iter().filter_map(end_of).collect();
        let mut store = RootCertStore::empty();
        // A bundle may hold certificates that rustls finds odd; the others are used.
        store.add_parsable_certificates(certificates);
        if !store.is_empty() {
            return Roots { store: Arc::new(store), ends, own: Vec::new() };
        }
    }
    // Of these only name and key are known, not their end.
    let roots = webpki_roots::TLS_SERVER_ROOTS;
    let ends = roots.iter().map(|root| RootEnd { subject_hash: xxh3_64(&root.subject), not_after: i64::MAX });
    Roots { ends: ends.collect(), store: Arc::new(RootCertStore { roots: roots.to_vec() }), own: Vec::new() }
}

/// How servers' certificates are checked.
#[derive(Debug)]
pub(super) struct Verifier {
    provider: Arc<CryptoProvider>,
    checks: Option<Checks>,
}

#[derive(Debug)]
struct Checks {
    usual: Arc<WebPkiServerVerifier>,
    /// What `openssl req -x509` makes calls itself an authority, and webpki would refuse it as a server's. Where it stands
    /// itself in the `ca_file`, it is taken, as by Go.
    own: Vec<CertificateDer<'static>>,
}

impl Verifier {
    /// Against roots; without them, every certificate and signature is taken (`insecure_skip_verify`).
    pub(super) fn new(roots: Option<&Roots>, provider: Arc<CryptoProvider>) -> Result<Self, ClientError> {
        let checks = |roots: &Roots| {
            let store = Arc::clone(&roots.store);
            let usual = WebPkiServerVerifier::builder_with_provider(store, Arc::clone(&provider)).build();
            let usual = usual.map_err(|error| ClientError::Settings(error.to_string()))?;
            Ok(Checks { usual, own: roots.own.clone() })
        };
        let checks = roots.map(checks).transpose()?;
        Ok(Self { provider, checks })
    }

    /// Where every certificate is taken, so is every signature: whoever stands in between has a certificate of his own. And
    /// those of version 1 of X.509, of P-521 and of short RSA keys cannot be read or checked here.
    fn unless_unchecked(
        &self,
        check: impl FnOnce() -> Result<HandshakeSignatureValid, rustls::Error>,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.checks.is_none() { Ok(HandshakeSignatureValid::assertion()) } else { check() }
    }
}

impl Checks {
    fn check_own(
        &self,
        end_entity: &CertificateDer<'_>,
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use rustls::CertificateError::{BadEncoding, Expired, NotValidYet};
        let parsed = Certificate::parse(end_entity).ok_or(BadEncoding)?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now > parsed.not_after {
            return Err(Expired.into());
        }
        if now < parsed.not_before {
            return Err(NotValidYet.into());
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(checks) = &self.checks else { return Ok(ServerCertVerified::assertion()) };
        let checked = checks.usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match checked {
            Err(_) if checks.own.contains(end_entity) => checks.check_own(end_entity, server_name, now),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.unless_unchecked(|| verify_tls12_signature(message, certificate, signature, algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.unless_unchecked(|| verify_tls13_signature(message, certificate, signature, algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.provider.signature_verification_algorithms.supported_schemes();
        if self.checks.is_none() {
            schemes.push(SignatureScheme::ECDSA_NISTP521_SHA512);
        }
        schemes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificates(pems: &[&str]) -> Vec<CertificateDer<'static>> {
        pems.iter().map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).expect("valid")).collect()
    }

    #[test]
    fn a_chain_ends_with_its_first_certificate_that_does() {
        let [ca, server, expired, own] = [
            include_str!("../../tests/fixtures/tls/ca.pem"),
            include_str!("../../tests/fixtures/tls/server.pem"),
            include_str!("../../tests/fixtures/tls/expired.pem"),
            include_str!("../../tests/fixtures/tls/self.pem"),
        ];
        let end = |pem: &str| end_of(&certificates(&[pem])[0]).expect("a certificate").not_after;
        let now = end(expired) + 1;
        type Case<'p> = (&'p [&'p str], &'p [&'p str], i64, Option<i64>);
        let cases: [Case<'_>; 7] = [
            (&[server], &[ca], now, Some(end(server))),
            (&[server, ca, ca], &[ca], now, Some(end(server))),
            (&[own], &[ca, own], now, Some(end(own))),
            (&[expired], &[ca], now, Some(end(expired))),
            (&[own], &[ca], now, None),
            (&[server], &[ca], end(ca) + 1, None),
            (&[], &[ca], now, None),
        ];
        for (presented, roots, now, expected) in cases {
            let roots = Roots::of(certificates(roots)).expect("valid");
            assert_eq!(roots.chain_end(&certificates(presented), now), expected);
        }
        // Each of these may have issued each other one: the number of ways is bounded.
        let roots = Roots::of(certificates(&[server])).expect("valid");
        assert_eq!(roots.chain_end(&certificates(&[ca; 50]), now), None);
    }
}
