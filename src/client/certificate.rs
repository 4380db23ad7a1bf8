//! Certificates as bytes (X.509 in DER, RFC 5280): what monitoring shows of them. Nothing that trust rests on
//! goes through here but the dates of a certificate that stands itself in the `ca_file`.
//!
//! A certificate comes from the network: every length is checked, only what is asked for is looked at, and no value
//! refers to another, so that reading takes time in proportion to the bytes. Names are spelled as Go's crypto/x509 does.

use std::fmt::Write;

use crate::model::parse_rfc3339;

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const BMP_STRING: u8 = 0x1e;
const TELETEX_STRING: u8 = 0x14;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0]` around the version, `[3]` around the extensions, `[2]` in front of a DNS name.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;

/// id-ce-subjectAltName, 2.5.29.17
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// Attributes below 2.5.4 by their last number, in the order in which Go puts them behind each other; the flag says that
/// of several values the last counts.
const KNOWN_ATTRIBUTES: [(u8, &str, bool); 9] = [
    (6, "C", false),
    (10, "O", false),
    (11, "OU", false),
    (7, "L", false),
    (8, "ST", false),
    (9, "STREET", false),
    (17, "POSTALCODE", false),
    (3, "CN", true),
    (5, "SERIALNUMBER", true),
];

/// A certificate that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate<'a> {
    /// The serial number in hexadecimal digits, without leading zero bytes.
    pub serial: String,
    /// The issuer's name as it stands in the certificate.
    pub issuer_bytes: &'a [u8],
    /// The subject's name as it stands in the certificate.
    pub subject_bytes: &'a [u8],
    /// Seconds since the epoch from which it is valid.
    pub not_before: i64,
    /// Seconds since the epoch up to which it is valid.
    pub not_after: i64,
    /// The DNS names among its subject's alternative names.
    pub dns_names: Vec<String>,
}

impl<'a> Certificate<'a> {
    /// Reads a certificate; `None` if it is none.
    pub fn parse(der: &'a [u8]) -> Option<Self> {
        let mut signed = Reader(Reader(der).expect(SEQUENCE)?);
        let mut fields = Reader(signed.expect(SEQUENCE)?);
        fields.accept(VERSION);
        let serial = fields.expect(INTEGER)?;
        fields.expect(SEQUENCE)?;
        let issuer_bytes = fields.expect(SEQUENCE)?;
        let mut validity = Reader(fields.expect(SEQUENCE)?);
        let (not_before, not_after) = (validity.time()?, validity.time()?);
        let subject_bytes = fields.expect(SEQUENCE)?;
        // The public key.
        fields.expect(SEQUENCE)?;
        let mut dns_names = Vec::new();
        while let Some((tag, content)) = fields.next() {
            if tag == EXTENSIONS {
                dns_names = alternative_names(content)?;
            }
        }
        Some(Self { serial: hexadecimal(serial), issuer_bytes, subject_bytes, not_before, not_after, dns_names })
    }

    /// The issuer's name in text.
    pub fn issuer(&self) -> String {
        name_text(self.issuer_bytes)
    }

    /// The subject's name in text.
    pub fn subject(&self) -> String {
        name_text(self.subject_bytes)
    }
}

/// Steps through values that follow each other.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next value's tag and content; `None` at the end, and for what is not DER.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        // Tags of several bytes do not occur in certificates.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn expect(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, content)| content)
    }

    /// The next value if it has this tag; else nothing is taken.
    fn accept(&mut self, wanted: u8) -> Option<&'a [u8]> {
        if self.0.first() == Some(&wanted) { self.expect(wanted) } else { None }
    }

    /// RFC 5280, section 4.1.2.5: seconds are written, and the zone is Z.
    fn time(&mut self) -> Option<i64> {
        let (tag, content) = self.next()?;
        let text = std::str::from_utf8(content).ok().filter(|text| text.is_ascii())?;
        let (year, rest) = match tag {
            UTC_TIME => {
                let (year, rest) = text.split_at_checked(2)?;
                let century = if year < "50" { "20" } else { "19" };
                (format!("{century}{year}"), rest)
            }
            GENERALIZED_TIME => text.split_at_checked(4).map(|(year, rest)| (year.to_owned(), rest))?,
            _ => return None,
        };
        if rest.len() != 11 {
            return None;
        }
        let part = |at: usize| &rest[at..at + 2];
        let time = format!("{year}-{}-{}T{}:{}:{}{}", part(0), part(2), part(4), part(6), part(8), &rest[10..]);
        Some(parse_rfc3339(&time)?.0.div_euclid(1000))
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes.iter().skip_while(|byte| **byte == 0) {
        write!(text, "{byte:02x}").expect("writing to memory does not fail");
    }
    text
}

fn alternative_names(extensions: &[u8]) -> Option<Vec<String>> {
    let mut list = Reader(Reader(extensions).expect(SEQUENCE)?);
    let mut names = Vec::new();
    while let Some((_, extension)) = list.next() {
        let mut extension = Reader(extension);
        if extension.expect(OBJECT_IDENTIFIER)? != SUBJECT_ALTERNATIVE_NAME {
            continue;
        }
        extension.accept(BOOLEAN);
        let mut found = Reader(Reader(extension.expect(OCTET_STRING)?).expect(SEQUENCE)?);
        while let Some((tag, content)) = found.next() {
            if tag == DNS_NAME {
                names.push(String::from_utf8_lossy(content).into_owned());
            }
        }
    }
    Some(names)
}

/// A distinguished name as Go's `pkix.Name` prints it: near RFC 2253, last part first.
fn name_text(name: &[u8]) -> String {
    let mut known: Vec<Vec<String>> = vec![Vec::new(); KNOWN_ATTRIBUTES.len()];
    let mut foreign = Vec::new();
    let mut parts = Reader(name);
    while let Some((SET, part)) = parts.next() {
        let mut attributes = Reader(part);
        while let Some((SEQUENCE, attribute)) = attributes.next() {
            let mut attribute = Reader(attribute);
            let (Some(id), Some((tag, content))) = (attribute.expect(OBJECT_IDENTIFIER), attribute.next()) else {
                continue;
            };
            let value = string(tag, content);
            match id {
                [0x55, 4, last] if KNOWN_ATTRIBUTES.iter().any(|(number, ..)| number == last) => {
                    let index = KNOWN_ATTRIBUTES.iter().position(|(number, ..)| number == last).unwrap_or_default();
                    if KNOWN_ATTRIBUTES[index].2 {
                        known[index].clear();
                    }
                    if !(value.is_empty() && KNOWN_ATTRIBUTES[index].2) {
                        known[index].push(format!("{}={}", KNOWN_ATTRIBUTES[index].1, escaped(&value)));
                    }
                }
                _ => foreign.push(format!("{}={}", dotted(id), escaped(&value))),
            }
        }
    }
    let known = known.into_iter().filter(|values| !values.is_empty()).map(|values| values.join("+"));
    let mut all: Vec<String> = foreign.into_iter().chain(known).collect();
    all.reverse();
    all.join(",")
}

fn string(tag: u8, content: &[u8]) -> String {
    match tag {
        BMP_STRING => {
            let units: Vec<u16> = content.chunks_exact(2).map(|two| u16::from_be_bytes([two[0], two[1]])).collect();
            String::from_utf16_lossy(&units)
        }
        // Read as Latin 1, which is what it is in practice.
        TELETEX_STRING => content.iter().map(|byte| char::from(*byte)).collect(),
        _ => String::from_utf8_lossy(content).into_owned(),
    }
}

fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for (at, character) in value.char_indices() {
        let is_special = match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
            ' ' => at == 0 || at + 1 == value.len(),
            '#' => at == 0,
            _ => false,
        };
        if is_special {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

/// An object identifier with its dots.
fn dotted(id: &[u8]) -> String {
    let mut numbers: Vec<u64> = Vec::new();
    let mut number = 0_u64;
    for byte in id {
        number = number.wrapping_shl(7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if numbers.is_empty() {
                let first = (number / 40).min(2);
                numbers.extend([first, number - 40 * first]);
            } else {
                numbers.push(number);
            }
            number = 0;
        }
    }
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    const UTF8_STRING: u8 = 0x0c;
    const PRINTABLE_STRING: u8 = 0x13;

    fn der(pem: &str) -> Vec<u8> {
        CertificateDer::from_pem_slice(pem.as_bytes()).expect("valid").to_vec()
    }

    #[test]
    fn reads_what_is_shown() {
        let server = der(include_str!("../../tests/fixtures/tls/server.pem"));
        let found = Certificate::parse(&server).expect("a certificate");
        assert_eq!(found.not_after - found.not_before, 36500 * 86400);
        assert_eq!(found.dns_names, ["localhost"]);
        let ca = der(include_str!("../../tests/fixtures/tls/ca.pem"));
        let ca = Certificate::parse(&ca).expect("a certificate");
        assert_eq!(found.issuer_bytes, ca.subject_bytes);
        assert_eq!((ca.subject(), ca.issuer()), (found.issuer(), found.issuer()));
    }

    fn attribute(id: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
        let value = [&[OBJECT_IDENTIFIER, id.len() as u8], id, &[tag, value.len() as u8], value].concat();
        [&[SET, value.len() as u8 + 2, SEQUENCE, value.len() as u8], value.as_slice()].concat()
    }

    #[test]
    fn names_are_spelled_as_go_spells_them() {
        let id = |last: u8| vec![0x55, 4, last];
        let email = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1];
        let name = [
            attribute(&id(6), PRINTABLE_STRING, b"DE"),
            attribute(&id(10), UTF8_STRING, b"A, B"),
            attribute(&id(10), UTF8_STRING, b"#C "),
            attribute(&id(3), BMP_STRING, &[0, b'x']),
            attribute(&id(3), TELETEX_STRING, &[0xe9]),
            attribute(&email, 0x16, b"a@b"),
            attribute(&[0x55, 4, 12], PRINTABLE_STRING, b"Dr"),
        ]
        .concat();
        let expected = "CN=é,O=A\\, B+O=\\#C\\ ,C=DE,2.5.4.12=Dr,1.2.840.113549.1.9.1=a@b";
        assert_eq!(name_text(&name), expected);
    }

    #[test]
    fn hostile_bytes_end() {
        let whole = der(include_str!("../../tests/fixtures/tls/server.pem"));
        for end in 0..whole.len() {
            assert_eq!(Certificate::parse(&whole[..end]), None, "{end}");
            for value in [0, 0x7f, 0x80, 0x83, 0xff] {
                let mut changed = whole.clone();
                changed[end] = value;
                if let Some(found) = Certificate::parse(&changed) {
                    let _ = (found.subject(), found.issuer());
                }
            }
        }
    }
}
