//! The API's answers, text for text. The error texts and the shapes are those that Prometheus 3.5.3
//! gave to the same requests.

use std::io::Read;

use super::site::Site;
use crate::http::{Readiness, ServerSettings};
use crate::model::AnchoredRegex;

/// Requests and what they are answered; the file explains itself.
const CASES: &str = include_str!("api_cases.tsv");

#[tokio::test]
async fn answers_are_those_of_prometheus() {
    let site = Site::start().await;
    let mut wrong = Vec::new();
    for line in CASES.lines().filter(|line| !line.starts_with('#')) {
        let (target, rest) = line.split_once('\t').expect("a target");
        let (status, body) = rest.split_once('\t').expect("a status and a body");
        let answer = site.get(&format!("/api/v1/{target}")).await;
        let expected = body.replace(r"\1", "127.0.0.1:19901");
        let found = answer.text();
        let found = found.trim_end_matches('\n');
        let is_body = expected.strip_suffix('…').map_or(found == expected, |start| found.starts_with(start));
        let is_json = answer.header("content-type") == Some("application/json");
        if !is_body || answer.status.to_string() != status || is_json != body.starts_with('{') {
            wrong.push(format!("{target}\n  is {} {found}\n  not {status} {expected}", answer.status));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn the_admin_api_needs_its_flag_and_a_post() {
    let site = Site::start().await;
    let off = Site::start_with(ServerSettings::default(), false).await;
    let path = "/api/v1/admin/tsdb/snapshot";
    let disabled = r#"{"status":"error","errorType":"unavailable","error":"admin APIs disabled"}"#;
    let cases = [
        (&site, "POST", path, 200, r#"{"status":"success","data":{"name":"20261122T205742Z-00"}}"#),
        (&site, "PUT", "/api/v1/admin/tsdb/snapshot?skip_head=true", 500, "create snapshot: the disk is full"),
        (&site, "POST", "/api/v1/admin/tsdb/snapshot?skip_head=x", 400, "skip_head"),
        (&site, "POST", "/api/v1/admin/tsdb/delete_series", 422, "metric_relabel_configs"),
        (&site, "POST", "/api/v1/admin/tsdb/clean_tombstones", 204, ""),
        (&site, "GET", path, 405, ""),
        (&off, "POST", path, 503, disabled),
        (&off, "POST", "/api/v1/admin/tsdb/clean_tombstones", 503, disabled),
    ];
    for (site, method, path, status, words) in cases {
        let answer = site.request(method, path, "", &[]).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        assert!(answer.text().contains(words), "{method} {path}: {}", answer.text());
    }
}

#[tokio::test]
async fn rules_come_in_pages() {
    let site = Site::start().await;
    let first = site.get("/api/v1/rules?group_limit=1").await.text();
    assert!(first.contains(r#""name":"g1""#) && !first.contains(r#""name":"g2""#));
    let token = first.split(r#""groupNextToken":""#).nth(1).and_then(|rest| rest.split('"').next()).expect("a token");
    let second = site.get(&format!("/api/v1/rules?group_limit=1&group_next_token={token}")).await.text();
    assert!(!second.contains(r#""name":"g1""#) && second.contains(r#""name":"g2""#));
    assert!(!second.contains("groupNextToken"));
}

#[tokio::test]
async fn forms_and_methods() {
    let site = Site::start().await;
    let allowed_form = Some("GET, OPTIONS, POST");
    let cases = [
        ("POST", "/api/v1/query?query=1&time=0", "query=2", 200, None),
        ("POST", "/api/v1/series", "match[]=up", 200, None),
        ("POST", "/api/v1/label/job/values", "limit=1", 405, Some("GET, OPTIONS")),
        ("PUT", "/api/v1/query", "query=up", 405, allowed_form),
        ("HEAD", "/api/v1/query?query=1", "", 405, allowed_form),
        ("DELETE", "/api/v1/series", "", 500, None),
        ("DELETE", "/api/v1/labels", "", 405, allowed_form),
        ("GET", "/api/v1/label/job%zz/values", "", 400, None),
        ("GET", "/-/ready/", "", 301, None),
        ("POST", "//api/v1/query", "query=1", 308, None),
        ("GET", "/api/v1/query?query=1&timeout=0s", "", 503, None),
        ("GET", "/api/v1/query?query=1&timeout=-1", "", 503, None),
        ("OPTIONS", "/api/v1/query", "", 204, None),
        ("POST", "/-/healthy", "", 405, Some("GET, HEAD, OPTIONS")),
        ("GET", "/-/reload", "", 405, None),
        ("HEAD", "/-/healthy", "", 200, None),
        ("HEAD", "/-/ready", "", 200, None),
        ("GET", "/-/ready", "", 200, None),
    ];
    for (method, target, body, status, allow) in cases {
        let answer = site.request(method, target, body, &[]).await;
        assert_eq!((answer.status, answer.header("allow")), (status, allow), "{method} {target}");
        if target.contains("time=0") {
            assert!(answer.text().ends_with(r#"[0,"2"]}}"#), "the form comes before the URL: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn stats_are_given_when_asked_for() {
    let site = Site::start().await;
    let text = site.get("/api/v1/query?query=up&stats=all").await.text();
    let stats = text.split(r#""stats":"#).nth(1).expect("stats");
    let mut keys: Vec<&str> = stats.split('"').skip(1).step_by(2).collect();
    keys.retain(|key| !key.is_empty());
    assert_eq!(
        keys,
        [
            "timings",
            "evalTotalTime",
            "resultSortTime",
            "queryPreparationTime",
            "innerEvalTime",
            "execQueueTime",
            "execTotalTime",
            "samples",
            "totalQueryableSamples",
            "peakSamples"
        ]
    );
}

#[tokio::test]
async fn replies_are_compressed_when_asked_for() {
    let site = Site::start().await;
    let plain = site.get("/api/v1/rules").await;
    for (encoding, decode) in [("gzip", gunzip as fn(&[u8]) -> Vec<u8>), ("zstd", unzstd)] {
        for target in ["/api/v1/rules", "/api/v1/query?query=%7Bjob=%22static%22%7D"] {
            let answer = site.request("GET", target, "", &[("accept-encoding", encoding)]).await;
            assert_eq!(answer.header("content-encoding"), Some(encoding), "{target}");
            let decoded = decode(&answer.body);
            assert!(decoded.starts_with(br#"{"status":"success""#) && decoded.ends_with(b"}}"), "{target}");
            assert!(target != "/api/v1/rules" || decoded == plain.body);
        }
    }
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).expect("gzip");
    plain
}

fn unzstd(bytes: &[u8]) -> Vec<u8> {
    zstd::decode_all(bytes).expect("zstd")
}

#[tokio::test]
async fn foreign_pages_and_names_stay_outside() {
    let allowed = AnchoredRegex::new("https://grafana\\.home").expect("a pattern");
    let settings = ServerSettings { cors_origin: Some(allowed), ..ServerSettings::default() };
    let site = Site::start_with(settings, true).await;
    let cors = "access-control-allow-origin";
    let of = async |origin: &str| {
        let answer = site.request("GET", "/api/v1/labels", "", &[("origin", origin)]).await;
        (answer.status, answer.header(cors).map(str::to_owned))
    };
    assert_eq!(of("https://grafana.home").await, (200, Some("https://grafana.home".to_owned())));
    assert_eq!(of("https://evil.example.com").await, (200, None));
    let rebound = site.request("GET", "/api/v1/labels", "", &[("host", "evil.example.com:9090")]).await;
    assert_eq!(rebound.status, 403);
    assert!(rebound.text().contains("--web.external-url"), "{}", rebound.text());
    let reload = site.request("POST", "/-/reload", "", &[("origin", "https://evil.example.com")]).await;
    assert_eq!(reload.status, 403);
    let nameless = site.raw(b"GET /-/healthy HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    assert_eq!(nameless.status, 400);
}

#[tokio::test]
async fn lifecycle_needs_its_flag_and_reports_the_outcome() {
    let closed = Site::start_with(ServerSettings::default(), false).await;
    for target in ["/-/reload", "/-/quit"] {
        let answer = closed.request("POST", target, "", &[]).await;
        assert_eq!((answer.status, answer.text().as_str()), (403, "Lifecycle API is not enabled."));
    }
    let mut site = Site::start().await;
    let mut reloads = std::mem::replace(&mut site.reloads, tokio::sync::mpsc::channel(1).1);
    let app = tokio::spawn(async move {
        for outcome in [Ok(()), Err("rules.yml:3: bad".to_owned())] {
            let answer = reloads.recv().await.expect("a request");
            answer.send(outcome).expect("somebody waits");
        }
    });
    assert_eq!(site.request("POST", "/-/reload", "", &[]).await.status, 200);
    let failed = site.request("PUT", "/-/reload", "", &[]).await;
    assert_eq!((failed.status, failed.text().as_str()), (500, "failed to reload config: rules.yml:3: bad\n"));
    app.await.expect("no panic");
    assert_eq!(site.request("POST", "/-/quit", "", &[]).await.status, 200);
    assert_eq!(site.quits.recv().await, Some(()));
}

#[tokio::test]
async fn nothing_is_answered_from_a_store_that_is_not_open() {
    let site = Site::start().await;
    for (readiness, stopping) in [(Readiness::Starting, "false"), (Readiness::Stopping, "true")] {
        site.readiness.send(readiness).expect("the server listens");
        for target in ["/api/v1/query?query=1", "/federate?match[]=up", "/-/ready"] {
            let answer = site.get(target).await;
            assert_eq!((answer.status, answer.header("x-prometheus-stopping")), (503, Some(stopping)), "{target}");
        }
        assert_eq!(site.get("/-/healthy").await.status, 200);
        assert_eq!(site.get("/metrics").await.status, 200);
    }
}

#[tokio::test]
async fn the_page_the_health_text_and_the_own_metrics() {
    let site = Site::start().await;
    let page = site.get("/").await;
    let html = page.text();
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    for expected in ["outpost on pi", "1 of 2 are up", "dial &lt;tcp&gt;", "the disk is &lt;full&gt;", "v=1 &lt;x&gt;"]
    {
        assert!(html.contains(expected), "{expected} in {html}");
    }
    assert!(!html.contains("<tcp>") && !html.contains("<script"));
    assert_eq!(site.get("/-/healthy").await.text(), "outpost is Healthy.\nBut: the disk is <full>\n");
    let metrics = site.get("/metrics").await.text();
    assert!(metrics.contains("outpost_http_requests_total{code=\"200\",handler=\"/\"} 1\n"), "{metrics}");
}

#[tokio::test]
async fn everything_moves_below_the_route_prefix() {
    let settings = ServerSettings { route_prefix: "/site/".to_owned(), ..ServerSettings::default() };
    let site = Site::start_with(settings, true).await;
    for (target, status) in [
        ("/site/api/v1/labels", 200),
        ("/site/", 200),
        ("/site", 200),
        ("/site/-/healthy", 200),
        ("/api/v1/labels", 404),
        ("/sitewide", 404),
        ("/-/healthy", 404),
    ] {
        assert_eq!(site.get(target).await.status, status, "{target}");
    }
    let root = site.get("/").await;
    assert_eq!((root.status, root.header("location")), (302, Some("/site/")));
}
