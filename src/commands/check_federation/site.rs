//! What a site's `/federate` gives for a set of selectors.

use std::time::Instant;

use super::{Finding, configuration, data};
use crate::client::ClientSettings;
use crate::commands::ask;
use crate::federation::RESYNC_SAMPLES_MAX;
use crate::yaml::{Report, parse_first};

/// More series than this are hardly aggregates.
const SERIES_MANY: usize = 10_000;

/// Address of the site and query, if the URL's path ends in `/federate`.
pub fn parts_of(url: &str) -> Option<(&str, &str)> {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    Some((path.strip_suffix("/federate")?, query))
}

/// Pulls once, without a cursor, and looks at the page.
pub fn look(base: &str, query: &str, settings: &ClientSettings) -> Result<Vec<Finding>, String> {
    // With its name a puller's cursor would move.
    let selectors: Vec<&str> = query.split('&').filter(|part| !part.starts_with("resync")).collect();
    let began = Instant::now();
    let reply = ask::get(base, &format!("/federate?{}", selectors.join("&")), settings)?;
    let took_ms = began.elapsed().as_millis();
    let page = String::from_utf8_lossy(&reply.body);
    if reply.status != 200 {
        return Err(format!("{base}/federate answers with status {}: {}", reply.status, page.trim_end()));
    }
    let mut findings = vec![of_page(&page, took_ms)];
    findings.extend(of_labels(base, settings));
    findings.extend(of_pullers(base, settings));
    Ok(findings)
}

fn of_page(page: &str, took_ms: u128) -> Finding {
    let series = page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
    let what = format!("{series} series, {} bytes before compression, after {took_ms} ms", page.len());
    if series == 0 {
        let why = "the central would get nothing";
        return Finding::problem("match[]", what, why, "match[]=SELECTOR, such as match[]={__name__=~\"job:.*\"}");
    }
    if series > SERIES_MANY {
        let replies = RESYNC_SAMPLES_MAX / series;
        let why =
            format!("a reply holds {RESYNC_SAMPLES_MAX} samples, {replies} of each: a backlog takes long to give");
        return Finding::warning("match[]", what, &why, "record aggregates at the site and pull those");
    }
    Finding::good("match[]", what)
}

/// Whether the site's series can be told from another one's. Nothing where the configuration cannot be read.
fn of_labels(base: &str, settings: &ClientSettings) -> Option<Finding> {
    let text = configuration(base, settings).ok()?;
    let node = parse_first(&text).ok()?;
    let report = Report::new("configuration");
    let global = report.root(&node).section().get("global");
    let labels = global.and_then(|global| global.section().get("external_labels")).map(|labels| labels.pairs());
    let named: Vec<String> = labels
        .unwrap_or_default()
        .iter()
        .map(|(name, value)| format!("{name}={:?}", value.text().unwrap_or_default()))
        .collect();
    Some(match named.is_empty() {
        false => Finding::good("labels", format!("external_labels {}", named.join(", "))),
        true => Finding::warning(
            "labels",
            "the site has no external_labels",
            "series of two sites with the same job and instance become one at the central",
            "global: {external_labels: {site: NAME}} at the site",
        ),
    })
}

/// How far pullers are. Nothing where the site is no outpost.
fn of_pullers(base: &str, settings: &ClientSettings) -> Vec<Finding> {
    let Ok(data) = data(base, "/api/v1/status/resync", settings) else { return Vec::new() };
    let pullers = data["pullers"].as_array().cloned().unwrap_or_default();
    let of = |puller: &serde_json::Value| {
        let text = |key: &str| puller[key].as_str().unwrap_or_default().to_owned();
        let seconds = |key: &str| puller[key].as_f64().unwrap_or_default().round();
        let (lag, backlog) = (seconds("lagSeconds"), seconds("backlogSeconds"));
        let receipt = text("receipt");
        let what = format!("{}: asked {lag} s ago, {backlog} s behind, receipt {receipt}", text("name"));
        match receipt.as_str() {
            "assumed" => Finding::warning(
                "puller",
                what,
                "it comes through a proxy: a reply that is lost behind the proxy may be taken for received",
                "let the proxy pass TCP on as it is, or the central come through WireGuard or Tailscale",
            ),
            _ => Finding::good("puller", what),
        }
    };
    pullers.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::finding::Severity;

    #[test]
    fn urls() {
        assert_eq!(parts_of("http://a:1/x/federate?match[]=up"), Some(("http://a:1/x", "match[]=up")));
        assert_eq!(parts_of("http://a/federate"), Some(("http://a", "")));
        assert_eq!(parts_of("http://a:9090"), None);
    }

    #[test]
    fn pages() {
        assert_eq!(of_page("", 1).severity, Severity::Problem);
        let found = of_page("# TYPE up untyped\nup 1 2\n\n", 3);
        assert_eq!(
            (found.severity, found.what.as_str()),
            (Severity::Good, "1 series, 26 bytes before compression, after 3 ms")
        );
        assert_eq!(of_page(&"a 1\n".repeat(10_001), 1).severity, Severity::Warning);
    }
}
