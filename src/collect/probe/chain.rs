//! What the families of TLS say of a handshake. Source of names and values: blackbox_exporter/prober/tls.go.

use ring::digest::{SHA256, digest};

use super::sheet::{Gauge, Sheet};
use crate::client::Session;
use crate::client::certificate::Certificate;
use crate::model::hexadecimal;

const EARLIEST_EXPIRY: Gauge = ("probe_ssl_earliest_cert_expiry", "Returns last SSL chain expiry in unixtime");
const CHAIN_EXPIRY: Gauge =
    ("probe_ssl_last_chain_expiry_timestamp_seconds", "Returns last SSL chain expiry in timestamp");
const CHAIN_INFO: Gauge = ("probe_ssl_last_chain_info", "Contains SSL leaf certificate information");
const VERSION: Gauge = ("probe_tls_version_info", "Returns the TLS version used or NaN when unknown");
const CIPHER: Gauge = ("probe_tls_cipher_info", "Returns the TLS cipher negotiated during handshake");

/// Go's zero time, the first of January of the year 1: what stands where no chain was checked.
const NEVER: f64 = -62_135_596_800.0;

/// Sets all but the cipher.
pub(super) fn show(sheet: &mut Sheet, session: &Session) {
    let parsed = session.certificates.iter().map_while(|der| Certificate::parse(der));
    let earliest = parsed.map(|certificate| certificate.not_after).min();
    sheet.set(EARLIEST_EXPIRY, earliest.map_or(NEVER, |end| end as f64));
    sheet.set_of(VERSION, "version", session.version, 1.0);
    sheet.set(CHAIN_EXPIRY, session.chain_end.map_or(NEVER, |end| end as f64));
    let Some(der) = session.certificates.first() else { return };
    let Some(certificate) = Certificate::parse(der) else { return };
    let fingerprint = hexadecimal(digest(&SHA256, der).as_ref());
    let labels = [
        ("fingerprint_sha256", fingerprint),
        ("subject", certificate.subject()),
        ("issuer", certificate.issuer()),
        ("subjectalternative", certificate.dns_names.join(",")),
        ("serialnumber", certificate.serial.clone()),
    ];
    sheet.set_with(CHAIN_INFO, labels.map(|(name, text)| (name.to_owned(), text)).into(), 1.0);
}

/// Sets the cipher.
pub(super) fn show_cipher(sheet: &mut Sheet, session: &Session) {
    sheet.set_of(CIPHER, "cipher", &session.cipher, 1.0);
}
