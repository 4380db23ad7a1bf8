//! Cookies within one probe: what a server sets is sent along with the redirects that follow, as a browser would.
//! RFC 6265 without expiry times; a cookie goes to the host that set it, or to its domain.

use hyper::header::{self, HeaderMap};

use crate::client::{Scheme, Url};

/// Cookies kept, and the length of each: a server may set any number.
const COOKIES_MAX: usize = 50;
const COOKIE_BYTES_MAX: usize = 4096;

/// The cookies of one probe.
#[derive(Debug, Default)]
pub(super) struct Cookies(Vec<Cookie>);

#[derive(Debug)]
struct Cookie {
    name: String,
    value: String,
    host: String,
    /// Subdomains get it too.
    is_of_domain: bool,
    path: String,
    secure: bool,
}

impl Cookies {
    /// Takes what a response from `url` sets.
    pub(super) fn take(&mut self, url: &Url, headers: &HeaderMap) {
        for value in headers.get_all(header::SET_COOKIE) {
            let Some((cookie, is_over)) = value.to_str().ok().and_then(|text| parse(text, url)) else { continue };
            self.0.retain(|old| (&old.name, &old.host, &old.path) != (&cookie.name, &cookie.host, &cookie.path));
            if !is_over && self.0.len() < COOKIES_MAX {
                self.0.push(cookie);
            }
        }
    }

    /// The `Cookie` header for a request to `url`; `None` without cookies.
    pub(super) fn header(&self, url: &Url) -> Option<String> {
        let host = url.host.to_ascii_lowercase();
        let path = url.path_and_query.split('?').next().unwrap_or("/");
        let fits = |cookie: &&Cookie| {
            let below = host.strip_suffix(cookie.host.as_str()).is_some_and(|front| front.ends_with('.'));
            let is_host = host == cookie.host || (cookie.is_of_domain && below);
            let rest = path.strip_prefix(cookie.path.as_str());
            let is_path =
                rest.is_some_and(|rest| rest.is_empty() || cookie.path.ends_with('/') || rest.starts_with('/'));
            is_host && is_path && (!cookie.secure || url.scheme == Scheme::Https)
        };
        let pairs: Vec<String> =
            self.0.iter().filter(fits).map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

/// A cookie, and whether it is to be forgotten at once.
fn parse(text: &str, url: &Url) -> Option<(Cookie, bool)> {
    let mut parts = text.split(';').map(str::trim);
    let (name, value) = parts.next()?.split_once('=')?;
    if name.is_empty() || name.len() + value.len() > COOKIE_BYTES_MAX {
        return None;
    }
    let host = url.host.to_ascii_lowercase();
    let folder = url.path_and_query.split('?').next()?.rsplit_once('/').map_or("", |(folder, _)| folder);
    let path = if folder.is_empty() { "/" } else { folder }.to_owned();
    let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
    let mut cookie = Cookie { name, value, host, is_of_domain: false, path, secure: false };
    let mut is_over = false;
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        match key.to_ascii_lowercase().as_str() {
            "domain" => {
                let domain = value.trim_start_matches('.').to_ascii_lowercase();
                let is_above = cookie.host.strip_suffix(domain.as_str()).is_some_and(|front| front.ends_with('.'));
                // A whole top-level domain is nobody's own.
                if cookie.host != domain && !(is_above && domain.contains('.')) {
                    return None;
                }
                (cookie.host, cookie.is_of_domain) = (domain, true);
            }
            "path" if value.starts_with('/') => cookie.path = value.to_owned(),
            "secure" => cookie.secure = true,
            "max-age" => is_over = value.parse::<i64>().is_ok_and(|seconds| seconds <= 0),
            _ => {}
        }
    }
    Some((cookie, is_over))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_go_where_they_belong() {
        let cases: &[(&str, &[&str], &str, Option<&str>)] = &[
            ("http://a.lan/x", &["s=1"], "http://a.lan/y?z", Some("s=1")),
            ("http://a.lan/x/y", &["s=1"], "http://a.lan/", None),
            ("http://a.lan/x/y", &["s=1; Path=/", "t=2"], "http://a.lan/x", Some("s=1; t=2")),
            ("http://a.lan/x/y", &["s=1"], "http://a.lan/xy", None),
            ("http://a.lan/", &["s=1", "s=2"], "http://A.lan/", Some("s=2")),
            ("http://a.lan/", &["s=1", "s=; Max-Age=0"], "http://a.lan/", None),
            ("http://a.lan/", &["s=1"], "http://b.lan/", None),
            ("http://x.a.lan/", &["s=1"], "http://y.x.a.lan/", None),
            ("http://x.a.lan/", &["s=1; Domain=.a.lan"], "http://y.a.lan/", Some("s=1")),
            ("http://x.a.lan/", &["s=1; Domain=b.lan"], "http://x.a.lan/", None),
            ("http://a.lan/", &["s=1; Domain=lan"], "http://b.lan/", None),
            ("https://a.lan/", &["s=1; Secure"], "http://a.lan/", None),
            ("https://a.lan/", &["s=1; Secure"], "https://a.lan/", Some("s=1")),
            ("http://a.lan/", &["nothing", "=x"], "http://a.lan/", None),
        ];
        for (from, set, to, expected) in cases {
            let mut headers = HeaderMap::new();
            for text in *set {
                headers.append(header::SET_COOKIE, text.parse().expect("plain"));
            }
            let mut cookies = Cookies::default();
            cookies.take(&Url::parse(from).expect("valid"), &headers);
            assert_eq!(cookies.header(&Url::parse(to).expect("valid")).as_deref(), *expected, "{set:?} {to}");
        }
    }
}
