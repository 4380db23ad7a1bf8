//! Certificates of clients: whose signature counts, and which names may come in.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};

use super::settings::ServerTlsSettings;

/// OID 2.5.29.17, subjectAltName, as DER.
const SUBJECT_ALT_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x11];

/// Checks clients' certificates as `client_auth_type` says.
#[derive(Debug)]
pub(super) struct ClientCertificates {
    /// Who looks at signatures of the CA; absent where any certificate will do.
    signatures: Option<Arc<dyn ClientCertVerifier>>,
    provider: Arc<CryptoProvider>,
    mandatory: bool,
    allowed_sans: Vec<String>,
}

impl ClientCertificates {
    pub(super) fn new(
        roots: Option<RootCertStore>,
        settings: &ServerTlsSettings,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let verifier =
            |roots| WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
        Ok(Self {
            signatures: roots.map(verifier).transpose().map_err(|error| error.to_string())?,
            provider: Arc::clone(provider),
            mandatory: settings.client_auth.is_mandatory(),
            allowed_sans: settings.client_allowed_sans.clone(),
        })
    }

    fn is_allowed(&self, certificate: &CertificateDer<'_>) -> bool {
        let names = || alternative_names(certificate);
        self.allowed_sans.is_empty() || names().iter().any(|name| self.allowed_sans.contains(name))
    }
}

impl ClientCertVerifier for ClientCertificates {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.signatures.as_ref().map_or(&[], |signatures| signatures.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if let Some(signatures) = &self.signatures {
            signatures.verify_client_cert(end_entity, intermediates, now)?;
        }
        if !self.is_allowed(end_entity) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// DNS names, mail addresses, URIs and IP addresses of a certificate; none where it is malformed.
fn alternative_names(certificate: &[u8]) -> Vec<String> {
    let Some(names) = find_alternative_names(certificate) else { return Vec::new() };
    let mut found = Vec::new();
    let mut rest = names;
    while let Some((tag, content, after)) = take_value(rest) {
        match tag {
            // rfc822Name, dNSName, uniformResourceIdentifier
            0x81 | 0x82 | 0x86 => found.extend(std::str::from_utf8(content).ok().map(str::to_owned)),
            0x87 => found.extend(address(content).map(|address| address.to_string())),
            _ => {}
        }
        rest = after;
    }
    found
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok().or_else(|| <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok())
}

/// The content of the extension's GeneralNames: Certificate, TBSCertificate, `[3]`, Extensions, Extension,
/// extnValue (RFC 5280, section 4.1).
fn find_alternative_names(certificate: &[u8]) -> Option<&[u8]> {
    let (_, certificate, _) = take_value(certificate)?;
    let (_, mut rest, _) = take_value(certificate)?;
    let extensions = loop {
        let (tag, content, after) = take_value(rest)?;
        if tag == 0xa3 {
            break take_value(content)?.1;
        }
        rest = after;
    };
    let mut rest = extensions;
    loop {
        let (_, extension, after) = take_value(rest)?;
        if let Some(value) = extension.strip_prefix(SUBJECT_ALT_NAME) {
            let (tag, content, following) = take_value(value)?;
            // A boolean may stand between: whether the extension is critical.
            let octets = if tag == 0x01 { take_value(following)?.1 } else { content };
            return take_value(octets).map(|(_, names, _)| names);
        }
        rest = after;
    }
}

/// Tag, content and what follows of a DER value with a one-byte tag.
fn take_value(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk::<2>()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().try_fold(0_usize, |len, digit| Some(len.checked_mul(256)? | usize::from(*digit)))?, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::pem::PemObject;

    const SERVER: &str = include_str!("../../../tests/fixtures/tls/server.pem");

    #[test]
    fn names_of_a_certificate() {
        let certificate = CertificateDer::from_pem_slice(SERVER.as_bytes()).expect("valid");
        let mut names = alternative_names(&certificate);
        names.sort();
        assert_eq!(names, ["127.0.0.1", "localhost"]);
    }

    #[test]
    fn cut_and_flipped_bytes_are_no_names_and_no_panic() {
        let certificate = CertificateDer::from_pem_slice(SERVER.as_bytes()).expect("valid");
        for len in 0..certificate.len() {
            alternative_names(&certificate[..len]);
            let mut flipped = certificate.to_vec();
            flipped[len] ^= 0xff;
            alternative_names(&flipped);
        }
    }
}
