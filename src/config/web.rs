//! `--web.config.file` in the exporter-toolkit's format.
//! Source of the rules: prometheus/exporter-toolkit/docs/web-configuration.md.

use std::path::Path;

use hyper::header::{HeaderName, HeaderValue};

use super::ConfigError;
use super::paths::Folder;
use crate::http::{ClientAuth, PemSource, ServerTlsSettings, WebSettings};
use crate::model::Secret;
use crate::yaml::{self, Field, Problem, Report, Section};

/// Headers that may be set, and the values that they may have.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];

/// TLS's versions, oldest first.
const VERSIONS: [&str; 4] = ["TLS10", "TLS11", "TLS12", "TLS13"];

/// The settings and what is accepted but does less than it seems.
#[derive(Debug)]
pub struct WebConfig {
    /// What the listener is told.
    pub settings: WebSettings,
    /// In the order of the file.
    pub warnings: Vec<Problem>,
}

/// Reads the file; paths in it start at its folder.
pub fn read_web_file(path: &Path) -> Result<WebConfig, ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    parse(&text, path).map_err(ConfigError::Invalid)
}

fn parse(text: &str, path: &Path) -> Result<WebConfig, Vec<Problem>> {
    let file = path.display().to_string();
    let document = yaml::parse(text).map_err(|error| {
        vec![Problem { file: file.clone(), at: error.at, path: String::new(), message: error.message }]
    })?;
    let report = Report::new(file);
    let section = report.root(&document).section();
    let folder = Folder::of(path);
    let settings = WebSettings {
        tls: section.get("tls_server_config").filter(|field| !field.is_null()).and_then(|field| tls(&field, &folder)),
        users: section.get("basic_auth_users").map(|field| users(&field)).unwrap_or_default(),
        headers: section.get("http_server_config").map(|field| server(&field)).unwrap_or_default(),
    };
    section.finish(|key| {
        (key == "rate_limit").then(|| "is not supported: connections and failed passwords have fixed bounds".to_owned())
    });
    let (problems, warnings) = report.into_parts();
    if problems.is_empty() { Ok(WebConfig { settings, warnings }) } else { Err(problems) }
}

fn tls(field: &Field<'_>, folder: &Folder) -> Option<ServerTlsSettings> {
    let section = field.section();
    let cert = pem(&section, ["cert", "cert_file"], folder);
    let key = pem(&section, ["key", "key_file"], folder);
    let client_ca = pem(&section, ["client_ca", "client_ca_file"], folder);
    let client_auth = client_auth(&section);
    let (tls12, tls13) = versions(&section);
    let texts = |key| section.get(key).map(|field| field.texts()).unwrap_or_default();
    let client_allowed_sans = texts("client_allowed_sans");
    if client_ca.is_some() && client_auth == ClientAuth::None {
        section.problem(
            "client_auth_type",
            "client_auth_type is needed beside a client CA, such as RequireAndVerifyClientCert",
        );
    }
    if client_auth.verifies() && client_ca.is_none() {
        section.problem(
            "client_ca_file",
            "client_ca_file is needed for this client_auth_type: whose certificates are to be trusted?",
        );
    }
    if !client_allowed_sans.is_empty() && client_auth == ClientAuth::None {
        section.problem("client_allowed_sans", "has no meaning without client_auth_type");
    }
    // The server chooses among the suites in any case.
    section.boolean("prefer_server_cipher_suites");
    let (cipher_suites, curves) = (texts("cipher_suites"), texts("curve_preferences"));
    if cert.is_none() {
        section.problem("cert_file", "TLS needs cert_file: the server's certificate (or `cert` with its text)");
    }
    if key.is_none() {
        section.problem("key_file", "TLS needs key_file: the certificate's private key (or `key` with its text)");
    }
    section.finish(|_| None);
    let (cert, key) = (cert?, key?);
    Some(ServerTlsSettings {
        cert,
        key,
        client_ca,
        client_auth,
        client_allowed_sans,
        tls12,
        tls13,
        cipher_suites,
        curves,
    })
}

fn pem(section: &Section<'_>, [inline_key, file_key]: [&'static str; 2], folder: &Folder) -> Option<PemSource> {
    let (inline, file) = (section.text(inline_key), section.text(file_key));
    if inline.is_some() && file.is_some() {
        section.problem(file_key, format!("cannot stand beside `{inline_key}`: choose one"));
    }
    file.map(|path| PemSource::File(folder.join(&path)))
        .or_else(|| inline.map(|text| PemSource::Inline(Secret::new(text))))
}

fn client_auth(section: &Section<'_>) -> ClientAuth {
    match section.text("client_auth_type").as_deref() {
        None | Some("NoClientCert") => ClientAuth::None,
        Some("RequestClientCert") => ClientAuth::Request,
        Some("RequireAnyClientCert") => ClientAuth::RequireAny,
        Some("VerifyClientCertIfGiven") => ClientAuth::VerifyIfGiven,
        Some("RequireAndVerifyClientCert") => ClientAuth::RequireAndVerify,
        Some(_) => {
            let known = "NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven or \
                         RequireAndVerifyClientCert is needed here";
            section.problem("client_auth_type", known);
            ClientAuth::None
        }
    }
}

/// Whether TLS 1.2 and whether TLS 1.3 may be spoken; nothing older is.
fn versions(section: &Section<'_>) -> (bool, bool) {
    let version = |key: &'static str, default: usize| {
        let Some(text) = section.text(key) else { return default };
        VERSIONS.iter().position(|version| *version == text).unwrap_or_else(|| {
            section.problem(key, "TLS10, TLS11, TLS12 or TLS13 is needed here");
            default
        })
    };
    let (min, max) = (version("min_version", 2), version("max_version", 3));
    if min < 2 {
        section.warning("min_version", "nothing older than TLS 1.2 is spoken");
    }
    if max < 2 || max < min {
        section.problem("max_version", "leaves neither TLS 1.2 nor TLS 1.3, and nothing older is spoken");
    }
    (min <= 2 && max >= 2, max >= 3)
}

fn users(field: &Field<'_>) -> std::collections::BTreeMap<String, Secret> {
    let mut users = std::collections::BTreeMap::new();
    for (name, value) in field.pairs() {
        let Some(hash) = value.text() else { continue };
        if !is_bcrypt(&hash) {
            value.problem("a bcrypt hash is needed here ($2y$…, as `htpasswd -nBC 10 \"\"` makes it), not a password");
        }
        users.insert(name, Secret::new(hash));
    }
    users
}

/// `$2y$10$` and 53 characters; a cost above 18 would take a Pi minutes.
fn is_bcrypt(hash: &str) -> bool {
    let Some(rest) = ["$2a$", "$2b$", "$2x$", "$2y$"].iter().find_map(|prefix| hash.strip_prefix(prefix)) else {
        return false;
    };
    let Some((cost, rest)) = rest.split_once('$') else { return false };
    let cost_fits = cost.len() == 2 && cost.parse::<u32>().is_ok_and(|cost| (4..=18).contains(&cost));
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/';
    cost_fits && rest.len() == 53 && rest.bytes().all(is_digit)
}

fn server(field: &Field<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let section = field.section();
    if section.boolean("http2") == Some(true) {
        section.warning("http2", "HTTP/1.1 is spoken in any case");
    }
    let headers = section.get("headers").map(|field| headers(&field)).unwrap_or_default();
    section.finish(|_| None);
    headers
}

fn headers(field: &Field<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for (name, value) in field.pairs() {
        let Some(text) = value.text().filter(|text| !text.is_empty()) else { continue };
        let Some((_, values)) = HEADERS.iter().find(|(known, _)| known.eq_ignore_ascii_case(&name)) else {
            value
                .problem(format!("this header cannot be set; these can: {}", HEADERS.map(|(name, _)| name).join(", ")));
            continue;
        };
        if !values.is_empty() && !values.iter().any(|known| known.eq_ignore_ascii_case(&text)) {
            value.problem(format!("{} is needed here", values.join(" or ")));
            continue;
        }
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&text)) {
            (Ok(name), Ok(text)) => headers.push((name, text)),
            _ => value.problem("is no value for a header"),
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

    fn problems(text: &str) -> String {
        match parse(text, Path::new("web.yml")) {
            Ok(web) => web.warnings.iter().map(|warning| format!("{warning}\n")).collect(),
            Err(problems) => problems.iter().map(|problem| format!("{problem}\n")).collect(),
        }
    }

    #[test]
    fn everything_at_once() {
        let text = format!(
            "tls_server_config: {{cert_file: a.pem, key: KEY, client_ca_file: /ca.pem,\n  client_auth_type: \
             RequireAndVerifyClientCert, client_allowed_sans: [pi],\n  min_version: TLS13, max_version: TLS13, \
             prefer_server_cipher_suites: false}}\nhttp_server_config:\n  http2: false\n  headers:\n    \
             X-Frame-Options: deny\n    Strict-Transport-Security: max-age=1\nbasic_auth_users:\n  alice: {HASH}\n"
        );
        let web = parse(&text, Path::new("etc/web.yml")).expect("valid");
        let tls = web.settings.tls.expect("TLS");
        assert!(matches!(tls.cert, PemSource::File(path) if path == Path::new("etc/a.pem")));
        assert!(matches!(tls.key, PemSource::Inline(key) if key.expose() == "KEY"));
        assert_eq!((tls.tls12, tls.tls13, tls.client_auth), (false, true, ClientAuth::RequireAndVerify));
        assert_eq!(web.settings.headers.len(), 2);
        assert_eq!(web.settings.users["alice"].expose(), HASH);
        assert!(web.warnings.is_empty());
        assert!(parse("", Path::new("web.yml")).expect("valid").settings.tls.is_none());
    }

    #[test]
    fn mistakes_name_their_key_and_the_way_out() {
        for (text, expected) in [
            ("tls_server_config: {cert_file: a}", "key_file"),
            ("tls_server_config: {cert: A, cert_file: a, key: K}", "cannot stand beside `cert`"),
            ("tls_server_config: {cert: A, key: K, client_ca: C}", "client_auth_type"),
            ("tls_server_config: {cert: A, key: K, client_auth_type: VerifyClientCertIfGiven}", "client_ca_file"),
            ("tls_server_config: {cert: A, key: K, client_auth_type: Maybe}", "RequireAnyClientCert"),
            ("tls_server_config: {cert: A, key: K, client_allowed_sans: [a]}", "client_allowed_sans"),
            ("tls_server_config: {cert: A, key: K, min_version: SSL3}", "TLS12"),
            ("tls_server_config: {cert: A, key: K, max_version: TLS11}", "nothing older"),
            ("tls_server_config: {cert: A, key: K, min_version: TLS10}", "nothing older than TLS 1.2"),
            ("tls_server_config: {cert: A, key: K, certfile: x}", "cert_file"),
            ("basic_auth_users: {alice: password}", "bcrypt"),
            ("http_server_config: {headers: {Server: x}}", "X-Frame-Options"),
            ("http_server_config: {headers: {X-Frame-Options: maybe}}", "sameorigin"),
            ("http_server_config: {http2: true}", "HTTP/1.1"),
            ("tls_config: {}", "tls_server_config"),
        ] {
            let found = problems(text);
            assert!(found.contains(expected), "{text}: {found:?} should name {expected}");
            assert!(found.starts_with("web.yml:"), "{found}");
        }
    }

    #[test]
    fn hashes() {
        assert!(is_bcrypt(HASH));
        for wrong in ["", "secret", "$2y$10$short", "$1$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"] {
            assert!(!is_bcrypt(wrong), "{wrong}");
        }
        assert!(!is_bcrypt(&HASH.replace("$10$", "$31$")), "31 would take days");
    }
}
