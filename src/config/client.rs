//! The keys of an HTTP client, which stand beside a job's, an Alertmanager's or a discovery's own keys.
//! Source of the rules: prometheus/common/config/http_config.go and headers.go.

use std::collections::BTreeMap;

use super::paths::Folder;
use super::url;
use crate::client::{
    Authorization, BasicAuth, ClientSettings, HeaderValues, OAuth2, ProxySettings, SecretSource, TlsSettings,
    TlsVersion,
};
use crate::model::Secret;
use crate::yaml::{Field, Section};

/// Headers that the client sets itself.
const RESERVED_HEADERS: [&str; 18] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "user-agent",
    "www-authenticate",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-security-token",
    "x-prometheus-remote-read-version",
    "x-prometheus-remote-write-version",
    "x-prometheus-scrape-timeout-seconds",
];

/// Reads the client's keys of a section.
pub fn read(section: &Section<'_>, folder: &Folder) -> ClientSettings {
    let usual = ClientSettings::default();
    let settings = ClientSettings {
        basic_auth: set(section, "basic_auth").map(|field| basic_auth(&field, folder)),
        authorization: authorization(section, folder),
        oauth2: set(section, "oauth2").map(|field| Box::new(oauth2(&field, folder))),
        tls: section.get("tls_config").map(|field| tls(&field, folder)).unwrap_or_default(),
        proxy: proxy(section),
        follow_redirects: section.boolean("follow_redirects").unwrap_or(usual.follow_redirects),
        enable_http2: section.boolean("enable_http2").unwrap_or(usual.enable_http2),
        headers: section.get("http_headers").map(|field| headers(&field, folder)).unwrap_or_default(),
    };
    check_one_way_in(section, &settings);
    settings
}

/// Reads `basic_auth` alone, for what is no HTTP but has users.
pub fn read_basic_auth(section: &Section<'_>, folder: &Folder) -> Option<BasicAuth> {
    set(section, "basic_auth").map(|field| basic_auth(&field, folder))
}

/// Whether a header may not be set by hand.
pub fn is_reserved_header(name: &str) -> bool {
    RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str())
}

/// A key that holds more than null.
fn set<'d>(section: &Section<'d>, key: &'static str) -> Option<Field<'d>> {
    section.get(key).filter(|field| !field.is_null())
}

fn check_one_way_in(section: &Section<'_>, settings: &ClientSettings) {
    let ways = [
        ("basic_auth", settings.basic_auth.is_some()),
        ("oauth2", settings.oauth2.is_some()),
        ("authorization", set(section, "authorization").is_some()),
        ("bearer_token", section.text("bearer_token").is_some()),
        ("bearer_token_file", section.text("bearer_token_file").is_some()),
    ];
    let used: Vec<&'static str> = ways.iter().filter(|(_, is_set)| *is_set).map(|(key, _)| *key).collect();
    if let [first, second, ..] = used[..] {
        section.problem(second, format!("cannot stand beside `{first}`: choose one way to authenticate"));
    }
}

/// A secret that is written in place (`key`), in a file (`key_file`) or named in a secrets manager (`key_ref`).
fn secret(section: &Section<'_>, keys: [&'static str; 3], folder: &Folder) -> Option<SecretSource> {
    let [inline_key, file_key, ref_key] = keys;
    let (inline, file) = (section.text(inline_key), section.text(file_key));
    let reference = section.text(ref_key);
    let count = [&inline, &file, &reference].iter().filter(|text| text.is_some()).count();
    if count > 1 {
        let second = if file.is_some() { file_key } else { ref_key };
        section.problem(second, format!("at most one of {inline_key}, {file_key} and {ref_key} may be set"));
    }
    if reference.is_some() {
        section.warning(ref_key, format!("there is no secrets manager to ask, so nothing is sent; use {file_key}"));
    }
    file.map(|path| SecretSource::File(folder.join(&path)))
        .or_else(|| inline.map(|text| SecretSource::Inline(Secret::new(text))))
}

fn basic_auth(field: &Field<'_>, folder: &Folder) -> BasicAuth {
    let section = field.section();
    let empty = || SecretSource::Inline(Secret::default());
    let settings = BasicAuth {
        username: secret(&section, ["username", "username_file", "username_ref"], folder).unwrap_or_else(empty),
        password: secret(&section, ["password", "password_file", "password_ref"], folder).unwrap_or_else(empty),
    };
    section.finish(|_| None);
    settings
}

fn authorization(section: &Section<'_>, folder: &Folder) -> Option<Authorization> {
    if let Some(field) = set(section, "authorization") {
        return Some(authorization_section(&field, folder));
    }
    let token = section.text("bearer_token").map(|token| SecretSource::Inline(Secret::new(token)));
    let file = section.text("bearer_token_file").map(|path| SecretSource::File(folder.join(&path)));
    let credentials = token.or(file)?;
    Some(Authorization { scheme: "Bearer".to_owned(), credentials: Some(credentials) })
}

fn authorization_section(field: &Field<'_>, folder: &Folder) -> Authorization {
    let section = field.section();
    let scheme = section.text("type").map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let settings = Authorization {
        scheme: scheme.unwrap_or_else(|| "Bearer".to_owned()),
        credentials: secret(&section, ["credentials", "credentials_file", "credentials_ref"], folder),
    };
    if settings.scheme.eq_ignore_ascii_case("basic") {
        section.problem("type", "for user and password use `basic_auth` instead");
    }
    section.finish(|_| None);
    settings
}

fn oauth2(field: &Field<'_>, folder: &Folder) -> OAuth2 {
    let section = field.section();
    let needed = |key| {
        section.text(key).unwrap_or_else(|| {
            section.problem(key, format!("oauth2 needs a `{key}`"));
            String::new()
        })
    };
    let settings = OAuth2 {
        client_id: needed("client_id"),
        client_secret: secret(&section, ["client_secret", "client_secret_file", "client_secret_ref"], folder),
        scopes: section.get("scopes").map(|field| field.texts()).unwrap_or_default(),
        token_url: needed("token_url"),
        endpoint_params: section.get("endpoint_params").map(|field| text_pairs(&field)).unwrap_or_default(),
        tls: section.get("tls_config").map(|field| tls(&field, folder)).unwrap_or_default(),
        proxy: proxy(&section),
    };
    if !settings.token_url.is_empty() && url::check_http(&settings.token_url).is_err() {
        section.warning("token_url", "is not an HTTP URL, so no token can be fetched");
    }
    section.finish(|_| None);
    settings
}

fn text_pairs(field: &Field<'_>) -> BTreeMap<String, String> {
    // Not collected: that would sort, in five kilobytes of code.
    let mut texts = BTreeMap::new();
    texts.extend(field.pairs().into_iter().filter_map(|(name, value)| Some((name, value.text()?))));
    texts
}

/// Reads a `tls_config`.
pub fn tls(field: &Field<'_>, folder: &Folder) -> TlsSettings {
    let section = field.section();
    let settings = TlsSettings {
        ca: secret(&section, ["ca", "ca_file", "ca_ref"], folder),
        cert: secret(&section, ["cert", "cert_file", "cert_ref"], folder),
        key: secret(&section, ["key", "key_file", "key_ref"], folder),
        server_name: section.text("server_name"),
        insecure_skip_verify: section.boolean("insecure_skip_verify").unwrap_or(false),
        min_version: tls_version(&section, "min_version"),
        max_version: tls_version(&section, "max_version"),
    };
    let has_cert = settings.cert.is_some() || section.text("cert_ref").is_some();
    let has_key = settings.key.is_some() || section.text("key_ref").is_some();
    if has_cert && !has_key {
        section.problem("cert_file", "a client certificate needs its key: set `key_file` or `key`");
    }
    if has_key && !has_cert {
        section.problem("key_file", "a client key needs its certificate: set `cert_file` or `cert`");
    }
    let (min, max) = (settings.min_version, settings.max_version);
    if min.is_some_and(|min| min < TlsVersion::Tls12) {
        section.warning("min_version", "nothing older than TLS 1.2 is spoken");
    }
    if max.is_some_and(|max| max < min.unwrap_or(TlsVersion::Tls12).max(TlsVersion::Tls12)) {
        // As with Prometheus, the handshakes fail, not the configuration.
        section.warning(
            "max_version",
            "leaves neither TLS 1.2 nor TLS 1.3, and nothing older is spoken: no server is reached",
        );
    }
    section.finish(|_| None);
    settings
}

fn tls_version(section: &Section<'_>, key: &'static str) -> Option<TlsVersion> {
    match section.written_text(key)?.as_str() {
        "TLS10" => Some(TlsVersion::Tls10),
        "TLS11" => Some(TlsVersion::Tls11),
        "TLS12" => Some(TlsVersion::Tls12),
        "TLS13" => Some(TlsVersion::Tls13),
        other => {
            section
                .problem(key, format!("unknown TLS version {other:?}; known are TLS12 and TLS13 (and TLS10, TLS11)"));
            None
        }
    }
}

fn proxy(section: &Section<'_>) -> ProxySettings {
    let url = section.text("proxy_url");
    let settings = ProxySettings {
        no_proxy: section.text("no_proxy").unwrap_or_default(),
        from_environment: section.boolean("proxy_from_environment").unwrap_or(false),
        connect_headers: section.get("proxy_connect_header").map(|field| secret_lists(&field)).unwrap_or_default(),
        url: url.clone().map(Secret::new),
    };
    if let Some(url) = url {
        check_proxy_url(section, &url);
    }
    check_proxy(section, &settings);
    settings
}

fn check_proxy(section: &Section<'_>, proxy: &ProxySettings) {
    let has_url = proxy.url.is_some();
    if proxy.from_environment && has_url {
        section.problem("proxy_url", "cannot stand beside proxy_from_environment: choose one");
    }
    if proxy.from_environment && !proxy.no_proxy.is_empty() {
        section.problem("no_proxy", "cannot stand beside proxy_from_environment, which takes NO_PROXY from there");
    }
    if !proxy.from_environment && !has_url {
        if !proxy.no_proxy.is_empty() {
            section.problem("no_proxy", "has no meaning without `proxy_url`");
        }
        if !proxy.connect_headers.is_empty() {
            section.problem("proxy_connect_header", "has no meaning without `proxy_url` or `proxy_from_environment`");
        }
    }
}

fn check_proxy_url(section: &Section<'_>, text: &str) {
    if let Some(reason) = url::refusal(text) {
        return section.problem("proxy_url", format!("is not a URL ({reason}); write for example http://proxy:3128"));
    }
    match url::split(text).map(|parts| parts.scheme.to_ascii_lowercase()).as_deref() {
        None => section.warning(
            "proxy_url",
            "is no address of a proxy: every request will fail; write for example http://proxy:3128",
        ),
        Some("http" | "https" | "socks5" | "socks5h") => {}
        Some(scheme) => section.warning(
            "proxy_url",
            format!("{scheme} proxies are not supported: every request will fail; use http://, https:// or socks5://"),
        ),
    }
}

fn secret_lists(field: &Field<'_>) -> BTreeMap<String, Vec<Secret>> {
    let secrets = |values: &Field<'_>| values.texts().into_iter().map(Secret::new).collect();
    let mut lists = BTreeMap::new();
    lists.extend(field.pairs().into_iter().map(|(name, values)| (name, secrets(&values))));
    lists
}

fn headers(field: &Field<'_>, folder: &Folder) -> BTreeMap<String, HeaderValues> {
    let mut headers = BTreeMap::new();
    for (name, value) in field.pairs() {
        if is_reserved_header(&name) {
            value.problem("this header is set by the client itself and cannot be changed here");
        }
        let section = value.section();
        let texts = |key| section.get(key).map(|field| field.texts()).unwrap_or_default();
        let values = HeaderValues {
            values: texts("values"),
            secrets: texts("secrets").into_iter().map(Secret::new).collect(),
            files: texts("files").iter().map(|path| folder.join(path)).collect(),
        };
        section.finish(|_| None);
        headers.insert(name, values);
    }
    headers
}
