//! The distribution, `/etc/os-release`; see os-release(5).

use super::super::page::Page;
use super::host::{Host, NodeError, read_text};
use crate::model::MetricType;

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let text = ["etc/os-release", "usr/lib/os-release"]
        .iter()
        .find_map(|path| read_text(&host.root_path(path)).ok())
        .ok_or(NodeError::Nothing)?;
    let facts = parse(&text);
    let fact = |name: &str| value_of(&facts, name);
    let labels = [
        ("build_id", fact("BUILD_ID")),
        ("id", fact("ID")),
        ("id_like", fact("ID_LIKE")),
        ("image_id", fact("IMAGE_ID")),
        ("image_version", fact("IMAGE_VERSION")),
        ("name", fact("NAME")),
        ("pretty_name", fact("PRETTY_NAME")),
        ("variant", fact("VARIANT")),
        ("variant_id", fact("VARIANT_ID")),
        ("version", fact("VERSION")),
        ("version_codename", fact("VERSION_CODENAME")),
        ("version_id", fact("VERSION_ID")),
    ];
    page.family("node_os_info", MetricType::Gauge, "The distribution.").sample(&labels, 1.0);
    if let Some(version) = major_and_minor(fact("VERSION_ID")) {
        page.family("node_os_version", MetricType::Gauge, "Major and minor version of the distribution.")
            .sample(&[("id", fact("ID")), ("id_like", fact("ID_LIKE")), ("name", fact("NAME"))], version);
    }
    Ok(())
}

/// The last value counts, as in a shell.
fn value_of<'f>(facts: &'f [(&str, String)], name: &str) -> &'f str {
    facts.iter().rfind(|(known, _)| *known == name).map_or("", |(_, value)| value)
}

fn parse(text: &str) -> Vec<(&str, String)> {
    text.lines().filter_map(|line| line.trim().split_once('=')).map(|(name, value)| (name, unquote(value))).collect()
}

/// Shell quoting as far as the format allows it.
fn unquote(value: &str) -> String {
    let quoted = |mark: char| value.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark));
    match (quoted('"'), quoted('\'')) {
        (Some(inner), _) => inner.replace("\\\"", "\"").replace("\\$", "$").replace("\\`", "`").replace("\\\\", "\\"),
        (None, Some(inner)) => inner.to_owned(),
        (None, None) => value.to_owned(),
    }
}

/// `12.3.1` becomes 12.3.
fn major_and_minor(version: &str) -> Option<f64> {
    let digits = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = version.split('.').take_while(digits).take(2).collect();
    parts.join(".").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_and_versions() {
        let facts = parse("NAME=\"My \\\"OS\\\"\"\nID=my\nVERSION_ID='12.3.1'\n# comment\n");
        assert_eq!(value_of(&facts, "NAME"), "My \"OS\"");
        assert_eq!(value_of(&facts, "ID"), "my");
        assert_eq!(major_and_minor(value_of(&facts, "VERSION_ID")), Some(12.3));
        assert_eq!(major_and_minor("rolling"), None);
    }
}
