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

/// Whether something can be asked over HTTP at `url`; else what is wrong.
pub fn check_http(url: &str) -> Result<(), String> {
    let example = "write for example http://host:8080/path";
    match split(url) {
        None => Err(format!("{url:?} is not a URL; {example}")),
        Some(parts) if !matches!(parts.scheme.to_ascii_lowercase().as_str(), "http" | "https") => {
            Err(format!("{url:?}: the scheme must be http or https; {example}"))
        }
        Some(parts) if parts.host.is_empty() => Err(format!("{url:?}: the host is missing; {example}")),
        Some(_) => Ok(()),
    }
}
