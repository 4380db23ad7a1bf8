//! Alerts as the Alertmanager API v2 takes them (`POST /api/v2/alerts`).
//! Source: prometheus/alertmanager/api/v2/openapi.yaml, `postableAlerts`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::{Alert, Labels, Timestamp, format_rfc3339};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PostableAlert<'a> {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'a str, &'a str>,
    ends_at: String,
    starts_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "str::is_empty")]
    generator_url: &'a str,
    labels: BTreeMap<&'a str, &'a str>,
}

/// The body of one request.
pub fn encode_alerts<'a>(alerts: impl Iterator<Item = &'a Alert>) -> Vec<u8> {
    let postable: Vec<PostableAlert<'_>> = alerts
        .map(|alert| PostableAlert {
            annotations: map(&alert.annotations),
            ends_at: millisecond_time(alert.ends_at),
            starts_at: millisecond_time(alert.starts_at),
            generator_url: &alert.generator_url,
            labels: map(&alert.labels),
        })
        .collect();
    serde_json::to_vec(&postable).expect("maps of texts have a JSON form")
}

fn map(labels: &Labels) -> BTreeMap<&str, &str> {
    labels.iter().collect()
}

/// Always with three digits of milliseconds, as Prometheus writes them.
fn millisecond_time(at: Timestamp) -> String {
    let millis = at.0.rem_euclid(1000);
    let whole = format_rfc3339(Timestamp(at.0 - millis));
    format!("{}.{millis:03}Z", whole.trim_end_matches('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_as_prometheus_sends_it() {
        let bare = Alert {
            labels: Labels::from_pairs([("alertname", "a")]),
            annotations: Labels::empty(),
            starts_at: Timestamp(0),
            ends_at: Timestamp(0),
            resolved: true,
            generator_url: String::new(),
        };
        let body = String::from_utf8(encode_alerts([&bare].into_iter())).expect("text");
        let times = r#""endsAt":"1970-01-01T00:00:00.000Z","startsAt":"1970-01-01T00:00:00.000Z""#;
        assert_eq!(body, format!(r#"[{{{times},"labels":{{"alertname":"a"}}}}]"#));

        let alert = Alert {
            labels: Labels::from_pairs([("job", "a\"b"), ("alertname", "Down")]),
            annotations: Labels::from_pairs([("summary", "é\n")]),
            starts_at: Timestamp(1_700_000_000_000),
            ends_at: Timestamp(1_700_000_240_050),
            resolved: false,
            generator_url: "http://pi/graph?g0.expr=up&g0.tab=1".to_owned(),
        };
        let body = String::from_utf8(encode_alerts([&alert].into_iter())).expect("text");
        let expected = concat!(
            r#"[{"annotations":{"summary":"é\n"},"endsAt":"2023-11-14T22:17:20.050Z","#,
            r#""startsAt":"2023-11-14T22:13:20.000Z","generatorURL":"http://pi/graph?g0.expr=up&g0.tab=1","#,
            r#""labels":{"alertname":"Down","job":"a\"b"}}]"#
        );
        assert_eq!(body, expected);
    }
}
