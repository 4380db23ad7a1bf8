//! Numbers, durations and addresses in the form that people read.
//!
//! Source: prometheus/template/template.go and common/helpers/templates (3.5).

use super::printf::four_digits;
use super::time::Instant;

const LARGE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
const LARGE_BINARY: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

/// `1.235M`, `120u`
pub(super) fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return four_digits(value);
    }
    if value.abs() >= 1.0 { shrunk(value, 1000.0, LARGE) } else { grown(value) }
}

/// `1Mi`
pub(super) fn humanize_1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() { four_digits(value) } else { shrunk(value, 1024.0, LARGE_BINARY) }
}

/// `1d 1h 1m 1s`, `1.235s`, `1.2ms`
pub(super) fn humanize_duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return four_digits(seconds);
    }
    if seconds == 0.0 {
        return format!("{}s", four_digits(seconds));
    }
    if seconds.abs() < 1.0 {
        return format!("{}s", grown(seconds));
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    let seconds = seconds.abs();
    let whole = seconds as i64;
    let (days, hours, minutes, rest) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", four_digits(seconds)),
        (0, 0, _) => format!("{sign}{minutes}m {rest}s"),
        (0, ..) => format!("{sign}{hours}h {minutes}m {rest}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {rest}s"),
    }
}

/// `2015-06-23 13:19:44 +0000 UTC`
pub(super) fn humanize_timestamp(seconds: f64) -> Result<String, String> {
    if !seconds.is_finite() {
        return Ok(four_digits(seconds));
    }
    Instant::from_seconds(seconds).map(|instant| instant.to_string())
}

fn shrunk(mut value: f64, step: f64, prefixes: [&str; 8]) -> String {
    let mut prefix = "";
    for next in prefixes {
        if value.abs() < step {
            break;
        }
        prefix = next;
        value /= step;
    }
    four_digits(value) + prefix
}

fn grown(mut value: f64) -> String {
    let mut prefix = "";
    for next in SMALL {
        if value.abs() >= 1.0 {
            break;
        }
        prefix = next;
        value *= 1000.0;
    }
    four_digits(value) + prefix
}

/// Host and port of `host:port`; nothing where there is no port or the colons are ambiguous.
/// Source: the documentation of Go's `net.SplitHostPort`.
fn split_host_port(address: &str) -> Option<(&str, &str)> {
    let (host, port) = address.rsplit_once(':')?;
    if let Some(inner) = host.strip_prefix('[') {
        let host = inner.strip_suffix(']')?;
        let is_clean = !host.contains(['[', ']']) && !port.contains(['[', ']']);
        return is_clean.then_some((host, port));
    }
    let is_clean = !host.contains([':', '[', ']']) && !port.contains(['[', ']']);
    is_clean.then_some((host, port))
}

/// The host alone.
pub(super) fn strip_port(address: &str) -> &str {
    split_host_port(address).map_or(address, |(host, _)| host)
}

/// The first part of the host's name, with the port; addresses stay.
pub(super) fn strip_domain(address: &str) -> String {
    let (host, port) = split_host_port(address).unwrap_or((address, ""));
    if host.parse::<std::net::IpAddr>().is_ok() {
        return address.to_owned();
    }
    let name = host.split('.').next().unwrap_or(host);
    match (port.is_empty(), name.contains(':')) {
        (true, _) => name.to_owned(),
        (false, true) => format!("[{name}]:{port}"),
        (false, false) => format!("{name}:{port}"),
    }
}

/// Every word with a capital in front; the other letters stay. Apostrophes, dots, colons and
/// underscores within a word do not end it, and a digit in front does not count as its first letter.
pub(super) fn title(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    let mut within_word = false;
    let mut chars = text.chars().peekable();
    while let Some(character) = chars.next() {
        let next_is_letter = chars.peek().is_some_and(|next| next.is_alphabetic());
        if character.is_alphabetic() {
            match within_word {
                true => output.push(character),
                false => output.extend(character.to_uppercase()),
            }
            within_word = true;
            continue;
        }
        output.push(character);
        let joins = matches!(character, '\'' | '.' | ':' | '’' | '·') && next_is_letter;
        let continues = character == '_' || character.is_numeric() || joins;
        within_word = within_word && continues;
    }
    output
}
