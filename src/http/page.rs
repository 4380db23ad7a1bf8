//! `/`: one readable page that says how the site is doing. Plain HTML, no scripts; everything that
//! comes from outside is escaped.

use std::fmt::Write;

use hyper::StatusCode;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue};

use crate::model::{Labels, Timestamp, format_duration, format_float, format_rfc3339};
use crate::rules::{AlertState, AlertStatus, GroupStatus, RuleHealth};
use crate::scrape::{PoolStatus, TargetHealth, TargetStatus};
use crate::store::StoreStats;

use super::api::Api;
use super::reply::Reply;

/// Rows per table; a page for people need not show more, the API shows all.
const ROWS_MAX: usize = 500;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;margin:1.5rem auto;max-width:70rem;padding:0 1rem;color:#222;background:#fff}\
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #ddd;vertical-align:top;overflow-wrap:anywhere}\
.good{color:#176f2c}.bad{color:#b3261e;font-weight:600}.odd{color:#8a5a00}.note{color:#666}code{font-size:.92em}\
@media(prefers-color-scheme:dark){body{background:#181a1b;color:#ddd}th,td{border-color:#3a3d3f}.good{color:#7bd88f}.bad{color:#ff8a80}.odd{color:#f0c674}.note{color:#999}a{color:#8ab4f8}}";

/// The page allows itself its own style and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// `/`
pub(super) fn answer(api: &Api) -> Reply {
    let pools = api.targets.pools();
    let groups = api.rules.groups();
    let now = api.clock.now();
    let mut html = String::with_capacity(16 * 1024);
    push_head(&mut html, api);
    push_problems(&mut html, &(api.health)().problems);
    push_alerts(&mut html, &groups, now);
    push_targets(&mut html, &pools, now);
    push_rules(&mut html, &groups, now);
    push_store(&mut html, &api.store.stats());
    push_links(&mut html);
    html.push_str("</body></html>\n");
    Reply::new(StatusCode::OK, "text/html; charset=utf-8", html.into_bytes())
        .with_header(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))
}

fn push_head(html: &mut String, api: &Api) {
    let hostname = (api.runtime)().hostname;
    let title = if hostname.is_empty() { "outpost".to_owned() } else { format!("outpost on {hostname}") };
    push(
        html,
        format_args!(
            "<!DOCTYPE html><html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
             <title>{0}</title><style>{STYLE}</style></head><body><h1>{0} <span class=note>{1}</span></h1>",
            Escaped(&title),
            Escaped(&api.build.version),
        ),
    );
}

fn push_problems(html: &mut String, problems: &[String]) {
    for problem in problems {
        push(html, format_args!("<p class=bad>{}</p>", Escaped(problem)));
    }
}

fn push_alerts(html: &mut String, groups: &[GroupStatus], now: Timestamp) {
    let alerting = groups.iter().flat_map(|group| &group.rules).filter_map(|rule| rule.alerting.as_ref());
    let mut alerts: Vec<&AlertStatus> = alerting.flat_map(|rule| &rule.alerts).collect();
    crate::model::sort_by(&mut alerts, |a, b| b.state.cmp(&a.state).then(a.active_at.cmp(&b.active_at)));
    html.push_str("<h2>Alerts</h2>");
    if alerts.is_empty() {
        html.push_str("<p class=good>No alert is pending or firing.</p>");
        return;
    }
    push_table(html, &["State", "Alert", "Value", "Since", "Text"], &alerts, |html, alert| {
        let class = if alert.state == AlertState::Firing { "bad" } else { "odd" };
        push(
            html,
            format_args!(
                "<td class={class}>{}<td><code>{}</code><td>{}<td>{}<td>{}",
                alert.state.as_str(),
                Escaped(&alert.labels.to_string()),
                format_float(alert.value),
                Escaped(&ago(Some(alert.active_at), now)),
                Escaped(&annotation_text(&alert.annotations)),
            ),
        );
    });
}

fn push_targets(html: &mut String, pools: &[PoolStatus], now: Timestamp) {
    let targets: Vec<&TargetStatus> = pools.iter().flat_map(|pool| &pool.active).collect();
    let up = targets.iter().filter(|target| target.health == TargetHealth::Up).count();
    push(html, format_args!("<h2>Targets</h2><p>{up} of {} are up.</p>", targets.len()));
    push_table(html, &["Job", "Target", "Health", "Last scrape", "Took", "Error"], &targets, |html, target| {
        let class = match target.health {
            TargetHealth::Up => "good",
            TargetHealth::Down => "bad",
            TargetHealth::Unknown => "odd",
        };
        push(
            html,
            format_args!(
                "<td>{}<td><code>{}</code><td class={class}>{}<td>{}<td>{:.3} s<td>{}",
                Escaped(&target.job_name),
                Escaped(&target.scrape_url),
                target.health.as_str(),
                Escaped(&ago(target.last_scrape, now)),
                target.last_scrape_duration.as_secs_f64(),
                Escaped(&target.last_error),
            ),
        );
    });
}

fn push_rules(html: &mut String, groups: &[GroupStatus], now: Timestamp) {
    if groups.is_empty() {
        return;
    }
    html.push_str("<h2>Rules</h2>");
    let groups: Vec<&GroupStatus> = groups.iter().collect();
    push_table(html, &["Group", "File", "Rules", "Every", "Last evaluated", "Errors"], &groups, |html, group| {
        let failed: Vec<String> = group
            .rules
            .iter()
            .filter(|rule| rule.health == RuleHealth::Err)
            .map(|rule| format!("{}: {}", rule.name, rule.last_error))
            .collect();
        push(
            html,
            format_args!(
                "<td>{}<td>{}<td>{}<td>{}<td>{}<td class=bad>{}",
                Escaped(&group.name),
                Escaped(&group.file),
                group.rules.len(),
                format_duration(group.interval),
                Escaped(&ago(group.last_evaluation, now)),
                Escaped(&failed.join("; ")),
            ),
        );
    });
}

fn push_store(html: &mut String, stats: &StoreStats) {
    let date = |at: Option<Timestamp>| at.map_or_else(|| "none".to_owned(), format_rfc3339);
    push(
        html,
        format_args!(
            "<h2>Store</h2><p>{} series, {} samples in memory; oldest sample {}, newest {}.</p>",
            stats.series,
            stats.samples_in_memory,
            date(stats.oldest),
            date(stats.newest),
        ),
    );
}

fn push_links(html: &mut String) {
    html.push_str("<p class=note>");
    for path in ["metrics", "api/v1/targets", "api/v1/rules", "api/v1/alerts", "api/v1/status/config", "-/healthy"] {
        push(html, format_args!("<a href=\"{path}\">/{path}</a> "));
    }
    html.push_str("</p>");
}

fn push_table<T>(html: &mut String, columns: &[&str], rows: &[T], push_row: impl Fn(&mut String, &T)) {
    html.push_str("<table><tr>");
    for column in columns {
        push(html, format_args!("<th>{column}"));
    }
    for row in rows.iter().take(ROWS_MAX) {
        html.push_str("<tr>");
        push_row(html, row);
    }
    html.push_str("</table>");
    if rows.len() > ROWS_MAX {
        push(html, format_args!("<p class=note>{} more are not shown here.</p>", rows.len() - ROWS_MAX));
    }
}

/// `summary`, or else `description`.
fn annotation_text(annotations: &Labels) -> String {
    annotations.get("summary").or_else(|| annotations.get("description")).unwrap_or("").to_owned()
}

fn ago(at: Option<Timestamp>, now: Timestamp) -> String {
    match at {
        None => "never".to_owned(),
        Some(at) => format!("{} s ago", now.since(at).max(0) / 1000),
    }
}

fn push(html: &mut String, text: std::fmt::Arguments<'_>) {
    html.write_fmt(text).expect("writing to a string does not fail");
}

/// Text in HTML, in element content and in quoted attributes alike.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for symbol in self.0.chars() {
            match symbol {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                _ => f.write_char(symbol)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_text_stays_text() {
        assert_eq!(Escaped("<a href='x'>&\"").to_string(), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
    }

    #[test]
    fn tables_are_bounded() {
        let mut html = String::new();
        push_table(&mut html, &["N"], &vec![1; ROWS_MAX + 7], |html, row| push(html, format_args!("<td>{row}")));
        assert_eq!(html.matches("<td>").count(), ROWS_MAX);
        assert!(html.contains("7 more are not shown"));
    }
}
