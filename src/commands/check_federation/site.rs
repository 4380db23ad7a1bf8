//! What a site's `/federate` gives for a set of selectors.

use std::time::Instant;

use super::{Finding, configuration, data};
use crate::client::ClientSettings;
use crate::commands::ask;
use crate::federation::RESYNC_SAMPLES_MAX;
use crate::yaml::{Report, parse_first};

/// More series than this are hardly aggregates.
const SERIES_MANY: usize = 10_000;

/// A puller that has not asked for this long is down, or the way to it: nobody scrapes more slowly.
const OVERDUE_SECONDS: f64 = 900.0;

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
pub fn of_pullers(base: &str, settings: &ClientSettings) -> Vec<Finding> {
    let Ok(data) = data(base, "/api/v1/status/resync", settings) else { return Vec::new() };
    data["pullers"].as_array().into_iter().flatten().map(of_puller).collect()
}

fn of_puller(puller: &serde_json::Value) -> Finding {
    const SUBJECT: &str = "puller";
    let text = |key: &str| puller[key].as_str().unwrap_or_default();
    let seconds = |key: &str| puller[key].as_f64().unwrap_or_default().round();
    let (lag, backlog, receipt) = (seconds("lagSeconds"), seconds("backlogSeconds"), text("receipt"));
    let what = format!("{}: asked {lag} s ago, {backlog} s behind, receipt {receipt}", text("name"));
    if lag > OVERDUE_SECONDS {
        Finding::warning(
            SUBJECT,
            what,
            "samples that wait for it for longer than its resync_max_age (24h by default) are passed over",
            "look at the central for up of the job that pulls this site, and at the way between them",
        )
    } else if receipt == "assumed" {
        Finding::warning(
            SUBJECT,
            what,
            "it comes through a proxy: a reply that is lost behind the proxy may be taken for received",
            "let the proxy pass TCP on as it is, or the central come through WireGuard or Tailscale",
        )
    } else {
        Finding::good(SUBJECT, what)
    }
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
    fn pullers() {
        let of = |lag: f64, receipt: &str| {
            let puller =
                serde_json::json!({"name": "home", "lagSeconds": lag, "backlogSeconds": 7.4, "receipt": receipt});
            let found = of_puller(&puller);
            (found.severity, found.what)
        };
        assert_eq!(of(20.0, "proved"), (Severity::Good, "home: asked 20 s ago, 7 s behind, receipt proved".to_owned()));
        assert_eq!(of(20.0, "assumed").0, Severity::Warning);
        assert_eq!(of(901.0, "proved").0, Severity::Warning);
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
