//! URLs in a configuration: only what can be told without asking the network.

/// The scheme and the host of a URL.
pub struct UrlParts<'u> {
    /// Before `://`.
    pub scheme: &'u str,
    /// Host and port, without user and password; may be empty.
    pub host: &'u str,
}

/// Splits a URL; `None` if it has no scheme or holds white space.
pub fn split(url: &str) -> Option<UrlParts<'_>> {
    let (scheme, rest) = url.split_once(':')?;
    let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
        && !url.contains(|c: char| c.is_whitespace() || c.is_control());
    let rest = rest.strip_prefix("//").unwrap_or("");
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    valid.then_some(UrlParts { scheme, host })
}

/// Why Go's `url.Parse` refuses `url`, if it does: it takes relative addresses and unknown schemes.
pub fn refusal(url: &str) -> Option<&'static str> {
    if url.chars().any(|c| c.is_ascii_control()) {
        return Some("a control character");
    }
    let (url, fragment) = url.split_once('#').unwrap_or((url, ""));
    let scheme_len = url.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)).count();
    let has_scheme = url.starts_with(|c: char| c.is_ascii_alphabetic()) && url[scheme_len..].starts_with(':');
    let rest = if has_scheme { &url[scheme_len + 1..] } else { url };
    let rest = rest.split_once('?').map_or(rest, |(before, _)| before);
    if has_scheme && !rest.starts_with('/') {
        // Opaque, like `localhost:9090/x`.
        return has_bad_escape(fragment).then_some("a bad escape in the fragment");
    }
    let authority_and_path = rest.strip_prefix("//").map(|rest| rest.split_at(rest.find('/').unwrap_or(rest.len())));
    let (authority, path) = authority_and_path.unwrap_or(("", rest));
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let is_user = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
    let port = if host.starts_with('[') {
        host.rsplit_once(']').map(|(_, port)| port)
    } else {
        host.find(':').map(|at| &host[at..])
    };
    if !has_scheme && url.starts_with(':') {
        Some("the scheme before the colon is missing")
    } else if !has_scheme && rest.split('/').next().unwrap_or("").contains(':') {
        Some("a colon in the first part of the path: write the scheme in front of the address")
    } else if !user.bytes().all(is_user) || has_bad_escape(user) {
        Some("a bad user or password")
    } else if host.starts_with('[') && !host.contains(']') {
        Some("the closing bracket of the address is missing")
    } else if !port.is_none_or(|port| port.is_empty() || port.strip_prefix(':').is_some_and(is_number)) {
        Some("a bad port")
    } else if host.bytes().any(|byte| byte.is_ascii() && !is_host(byte)) {
        Some("a character that no host name has")
    } else if has_bad_escape(path) || has_bad_escape(fragment) {
        Some("a bad escape: write %25 for a percent sign")
    } else {
        None
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]<>\"".contains(&byte)
}

/// Whether a percent sign is not followed by two hexadecimal digits.
fn has_bad_escape(text: &str) -> bool {
    text.split('%')
        .skip(1)
        .any(|rest| !rest.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)))
}

/// Whether something can be asked over HTTP at `url`; else what is wrong.
pub fn check_http(url: &str) -> Result<(), String> {
    let example = "write for example http://host:8080/path";
    match split(url) {
        None => Err(format!("{url:?} is not a URL; {example}")),
        Some(parts) if !matches!(parts.scheme.to_ascii_lowercase().as_str(), "http" | "https") => {
            Err(format!("{url:?}: the scheme must be http or https; {example}"))
        }
        Some(parts) if parts.host.is_empty() => Err(format!("{url:?}: the host is missing; {example}")),
        Some(_) => refusal(url).map_or(Ok(()), |reason| Err(format!("{url:?} is not a URL: {reason}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::refusal;

    /// The verdicts of promtool 3.5.3 on `remote_write: [{url: …}]`.
    #[test]
    fn what_go_takes_for_a_url() {
        let taken = [
            "",
            "localhost:9009/api",
            "host name/x",
            "http://a/x y",
            "a/b:c",
            "http://h:/x",
            "http://[::1]:9/x",
            "/x",
            "//host/x",
            "http://",
            "http:///x",
            "é/x",
            "http://ü/x",
            "?a%zz",
            "http://u:p@h/x",
            "*",
            "http://h:99999/",
            "http://h<x/",
            "http://h?a b",
            "ftp://x/y",
        ];
        let refused = [
            "1.2.3.4:9009/x",
            ":9009/x",
            "http://a b/x",
            "a%zz",
            "http://h:port/x",
            "http://[::1/x",
            "http://h%41/x",
            "http://h/%4",
            "http://h/a\tb",
            "a_b:x",
            "a b:x",
            "#%zz",
            "http://u p@h/x",
        ];
        for url in taken {
            assert_eq!(refusal(url), None, "{url:?}");
        }
        for url in refused {
            assert!(refusal(url).is_some(), "{url:?}");
        }
    }
}
