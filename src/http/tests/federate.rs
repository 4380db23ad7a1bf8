//! `/federate` as a puller sees it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::site::{Answer, Site};
use crate::http::made::MADE_BYTES_MAX;

/// Prometheus's own output for the same samples, but for the types: its `/federate` says `untyped`
/// throughout, and does not keep a histogram's series under one TYPE line.
const PAGE: &str = r##"# TYPE app_inf untyped
app_inf{instance="127.0.0.1:19901",job="static",site="garage",zz="q\"uote"} +Inf 1795381061892
# TYPE app_lat histogram
app_lat_bucket{instance="127.0.0.1:19901",job="static",le="+Inf",site="garage",zz="q\"uote"} 8 1795381061892
app_lat_bucket{instance="127.0.0.1:19901",job="static",le="0.1",site="garage",zz="q\"uote"} 5 1795381061892
app_lat_bucket{instance="127.0.0.1:19901",job="static",le="1",site="garage",zz="q\"uote"} 7 1795381061892
app_lat_count{instance="127.0.0.1:19901",job="static",site="garage",zz="q\"uote"} 8 1795381061892
app_lat_sum{instance="127.0.0.1:19901",job="static",site="garage",zz="q\"uote"} 3.25 1795381061892
# TYPE app_lat_bytes untyped
app_lat_bytes{instance="127.0.0.1:19901",job="static",site="garage",zz="q\"uote"} 1 1795381061892
# TYPE app_nan untyped
app_nan{instance="127.0.0.1:19901",job="static",site="garage",zz="q\"uote"} NaN 1795381061892
# TYPE app_requests_total counter
app_requests_total{code="200",instance="127.0.0.1:19901",job="static",path="/a\"b\\c",site="garage",zz="q\"uote"} 12345 1795381061892
app_requests_total{code="500",instance="127.0.0.1:19901",job="static",path="/x",site="garage",zz="q\"uote"} 1e+22 1795381061892
# TYPE app_temp gauge
app_temp{instance="127.0.0.1:19901",job="static",room="<b>&",site="garage",zz="q\"uote"} -1e-07 1795381061892
app_temp{instance="127.0.0.1:19901",job="static",room="küche",site="garage",zz="q\"uote"} 21.5 1795381061892
# TYPE job:up:sum untyped
job:up:sum{job="static",instance="",site="garage",zz="q\"uote"} 1 1795381061892
# TYPE own_site untyped
own_site{instance="127.0.0.1:19901",job="static",site="other",zz="q\"uote"} 3 1795381061892
# TYPE up untyped
up{instance="127.0.0.1:19901",job="static",site="garage",zz="q\"uote"} 1 1795381061892
up{instance="127.0.0.1:19999",job="down",site="garage",zz="q\"uote"} 0 1795381061892
# TYPE utf8_name untyped
utf8_name{instance="127.0.0.1:19901",job="static",my_label="x",site="garage",zz="q\"uote"} 7 1795381061892
"##;

#[tokio::test]
async fn the_newest_of_every_living_series_once() {
    let site = Site::start().await;
    let everything = "match[]=%7B__name__!=%22%22%7D&match[]=up&match[]=%7Bjob=%22static%22%7D";
    let page = site.get(&format!("/federate?{everything}")).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8; escaping=underscores"));
    assert_eq!(page.text(), PAGE);
    let posted = site.request("POST", "/federate", everything, &[]).await;
    assert_eq!(posted.text(), PAGE);
}

#[tokio::test]
async fn formats_and_errors() {
    let site = Site::start().await;
    let none = site.get("/federate").await;
    assert_eq!((none.status, none.text().as_str()), (200, ""));
    let prometheus35 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                        text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    let utf8 = site.request("GET", "/federate?match[]=%7B%22utf8.name%22%7D", "", &[("accept", prometheus35)]).await;
    assert_eq!(utf8.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8"));
    let expected = "# TYPE \"utf8.name\" untyped\n{\"utf8.name\",instance=\"127.0.0.1:19901\",job=\"static\",\
                    \"my.label\"=\"x\",site=\"garage\",zz=\"q\\\"uote\"} 7 1795381061892\n";
    assert_eq!(utf8.text(), expected);
    for (target, status, text) in [
        ("/federate?match[]=up%7B", 400, "1:4: parse error: unexpected end of input inside braces"),
        ("/federate?match[]=%zz", 400, "error parsing form values: invalid URL escape \"%zz\""),
    ] {
        let answer = site.get(target).await;
        assert_eq!(answer.status, status, "{target}");
        assert!(answer.text().starts_with(text), "{target}: {}", answer.text());
    }
}

/// One request on a connection that stays open; the reply's body.
async fn pull(stream: &mut TcpStream, target: &str) -> String {
    pull_with(stream, target, "").await
}

/// The same with more headers.
async fn pull_with(stream: &mut TcpStream, target: &str, headers: &str) -> String {
    let always = "host: pi\r\nx-prometheus-scrape-timeout-seconds: 10\r\n";
    let request = format!("GET {target} HTTP/1.1\r\n{always}{headers}\r\n");
    stream.write_all(request.as_bytes()).await.expect("open");
    let mut received = Vec::new();
    while !Answer::is_whole(&received) {
        assert_ne!(stream.read_buf(&mut received).await.expect("open"), 0, "the reply is whole");
    }
    Answer::parse(&received).text()
}

#[tokio::test]
async fn resync_gives_every_sample_until_it_was_read() {
    let site = Site::start().await;
    let target = "/federate?match[]=up%7Bjob=%22down%22%7D&match[]=ended&resync=home";
    let own = "instance=\"127.0.0.1:19999\",job=\"down\",site=\"garage\",zz=\"q\\\"uote\"";
    let all = format!(
        "# TYPE ended untyped\nended{{instance=\"\",site=\"garage\",zz=\"q\\\"uote\"}} 1 1795381060892\n\
         # TYPE up untyped\nup{{{own}}} 0 1795381057892\nup{{{own}}} 0 1795381059892\nup{{{own}}} 0 1795381061892\n"
    );
    let mut first = site.connect().await;
    assert_eq!(pull(&mut first, target).await, all);
    // Nothing proves yet that the first reply was read: another connection gets it again.
    let mut second = site.connect().await;
    assert_eq!(pull(&mut second, target).await, all);
    // The next request on the same connection proves it.
    assert_eq!(pull(&mut second, target).await, "");
    // Another name and other selectors have cursors of their own.
    assert_eq!(pull(&mut second, &target.replace("home", "other")).await, all);
    assert!(pull(&mut second, &target.replace("ended", "job:up:sum")).await.contains("job:up:sum"));
}

#[tokio::test]
async fn resync_gives_again_what_could_not_be_made() {
    let site = Site::start().await;
    let target = "/federate?match[]=up%7Bjob=%22down%22%7D&resync=home";
    let mut puller = site.connect().await;
    let taken = site.room.take(MADE_BYTES_MAX).expect("nothing waits yet");
    assert!(pull(&mut puller, target).await.contains("slow readers"));
    drop(taken);
    // The refusal was read to its end, and nothing of the samples.
    let all = pull(&mut puller, target).await;
    assert_eq!(all.lines().filter(|line| line.starts_with("up{")).count(), 3, "{all}");
    assert_eq!(pull(&mut puller, target).await, "");
}

#[tokio::test]
async fn a_proxys_connection_proves_nothing_of_its_client() {
    let site = Site::start().await;
    let target = "/federate?match[]=up%7Bjob=%22down%22%7D&resync=home";
    let mut proxy = site.connect().await;
    let all = pull_with(&mut proxy, target, "X-Forwarded-For: 192.0.2.7\r\n").await;
    assert!(all.contains("1795381057892"), "{all}");
    assert_eq!(
        pull_with(&mut proxy, target, "X-Forwarded-For: 192.0.2.7\r\n").await,
        all,
        "it may not have got through"
    );
    let status = site.get("/api/v1/status/resync").await.text();
    for shown in
        [r#""name":"home""#, r#""receipt":"assumed","lastReplyConfirmed":false,"samplesGiven":6,"samplesResent":3"#]
    {
        assert!(status.contains(shown), "{status}");
    }
    // Whoever knows better says so.
    assert_eq!(pull_with(&mut proxy, &format!("{target}&resync_receipt=proved"), "Via: 1.1 x\r\n").await, "");
    let status = site.get("/api/v1/status/resync").await.text();
    assert!(status.contains(r#""receipt":"proved","lastReplyConfirmed":true"#), "{status}");
}

#[tokio::test]
async fn resync_parameters_are_checked() {
    let site = Site::start().await;
    for wrong in [
        "resync=a%20b",
        "resync=a&resync_order=latest",
        "resync=a&resync_max_age=soon",
        "resync=a&resync_max_age=0",
        "resync=a&resync_receipt=no",
    ] {
        let answer = site.get(&format!("/federate?match[]=up&{wrong}")).await;
        assert_eq!(answer.status, 400, "{wrong}");
        assert!(answer.text().starts_with("resync"), "{}", answer.text());
    }
}

#[tokio::test]
async fn resync_waits_for_the_time_of_day() {
    let site = Site::start().await;
    let target = "/federate?match[]=up%7Bjob=%22down%22%7D&resync=home";
    site.is_waiting.store(true, std::sync::atomic::Ordering::Relaxed);
    let answer = site.get(target).await;
    assert_eq!(answer.status, 503);
    assert!(answer.head.to_lowercase().contains("retry-after: 5"), "{}", answer.head);
    assert!(answer.text().contains("the time of day is not known"), "{}", answer.text());
    assert_eq!(site.get("/federate?match[]=up%7Bjob=%22down%22%7D").await.status, 200, "a plain pull goes on");
    site.is_waiting.store(false, std::sync::atomic::Ordering::Relaxed);
    assert!(site.get(target).await.text().contains("1795381057892"), "nothing was passed over");
}
