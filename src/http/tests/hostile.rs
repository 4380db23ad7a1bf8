//! Clients that do not behave.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::site::{Answer, Site, engine};
use crate::http::settings::{REPLY_TIME_MAX, SEND_BUFFER_BYTES, WRITE_STALL_MAX};
use crate::http::{BODY_BYTES_MAX, HEAD_BYTES_MAX, ServerSettings};

#[tokio::test]
async fn malformed_requests_are_refused() {
    let site = Site::start().await;
    let huge_header = format!("GET / HTTP/1.1\r\nhost: pi\r\nx: {}\r\n\r\n", "y".repeat(2 * HEAD_BYTES_MAX));
    let many_headers = format!("GET / HTTP/1.1\r\nhost: pi\r\n{}\r\n", "x: y\r\n".repeat(500));
    let huge_form = format!(
        "POST /api/v1/query HTTP/1.1\r\nhost: pi\r\nconnection: close\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n",
        BODY_BYTES_MAX + 1
    );
    let cases: [(&[u8], u16); 11] = [
        (b"GET /-/ready HTTP/1.1\nhost: pi\n\n", 400),
        (b"GET /-/ready HTTP/1.1\r\nhost: pi\r\n\n", 400),
        (b"POST /api/v1/labels HTTP/1.1\r\nhost: pi\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\na", 400),
        (b"POST /api/v1/labels HTTP/1.1\r\nhost: pi\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: pi\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: pi\r\ntransfer-encoding: nonsense\r\n\r\n", 400),
        (huge_header.as_bytes(), 431),
        (many_headers.as_bytes(), 431),
        (huge_form.as_bytes(), 413),
    ];
    for (bytes, status) in cases {
        let mut stream = site.connect().await;
        // The server may answer and close before everything is written.
        drop(stream.write_all(bytes).await);
        let mut received = Vec::new();
        drop(stream.read_to_end(&mut received).await);
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        assert_eq!(Answer::parse(&received).status, status, "{shown}");
    }
    assert_eq!(site.get("/-/healthy").await.status, 200);
}

#[tokio::test]
async fn a_chunked_form_is_bounded_too() {
    let site = Site::start().await;
    let mut stream = site.connect().await;
    let head = "POST /api/v1/labels HTTP/1.1\r\nhost: pi\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\
                content-type: application/x-www-form-urlencoded\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("open");
    let chunk = format!("10000\r\n{}\r\n", "a".repeat(0x10000));
    for _ in 0..=BODY_BYTES_MAX / 0x10000 {
        if stream.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    let mut received = Vec::new();
    drop(stream.read_to_end(&mut received).await);
    assert_eq!(Answer::parse(&received).status, 413);
}

#[tokio::test]
async fn a_full_server_makes_others_wait_until_a_place_is_free() {
    let site = Site::start_with(ServerSettings { connections_max: 1, ..ServerSettings::default() }, true).await;
    let mut first = site.connect().await;
    first.write_all(b"GET /-/healthy HTTP/1.1\r\nhost: pi\r\n\r\n").await.expect("open");
    let mut some = [0; 12];
    first.read_exact(&mut some).await.expect("an answer");
    let second = site.get("/-/healthy");
    tokio::pin!(second);
    let waiting = tokio::time::timeout(Duration::from_millis(100), &mut second).await;
    assert!(waiting.is_err(), "the only place is taken");
    drop(first);
    assert_eq!(second.await.status, 200);
}

#[tokio::test]
async fn a_client_that_shuts_its_side_is_left() {
    let site = Site::start().await;
    let mut stream = site.connect().await;
    stream.shutdown().await.expect("open");
    let mut received = Vec::new();
    stream.read_to_end(&mut received).await.expect("the server closes");
    assert!(received.is_empty());
}

#[tokio::test]
async fn stopping_ends_idle_connections_and_the_listener() {
    let mut site = Site::start().await;
    let mut idle = site.connect().await;
    idle.write_all(b"GET /-/ready HTTP/1.1\r\nhost: pi\r\n\r\n").await.expect("open");
    let mut some = [0; 12];
    idle.read_exact(&mut some).await.expect("an answer");
    site.stop();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.expect("the server closes in order");
    (&mut site.server).await.expect("the server ends");
    assert!(tokio::net::TcpStream::connect(site.address).await.is_err());
}

/// A form whose answer is many times what the kernel may keep for a socket.
fn large_answer() -> String {
    let (value, copies) = ("x".repeat(200_000), "$1".repeat(90));
    let query = format!("label_replace(label_replace(vector(1),'a','{value}','',''),'b','{copies}','a','(.*)')");
    let form = format!("query={}", query.replace('$', "%24"));
    format!(
        "POST /api/v1/query HTTP/1.1\r\nhost: pi\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         content-length: {}\r\n\r\n{form}",
        form.len()
    )
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut() {
    let site = Site::start_with(ServerSettings { connections_max: 1, ..ServerSettings::default() }, true).await;
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(16 * 1024).expect("not connected yet");
    let mut stream = socket.connect(site.address).await.expect("the server listens");
    stream.write_all(large_answer().as_bytes()).await.expect("open");
    let mut some = [0; 64];
    stream.read_exact(&mut some).await.expect("the answer begins");
    assert!(some.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&some));
    // From here on the clock jumps whenever nothing else is to be done: to the end of the server's patience.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    assert_eq!(site.get("/-/healthy").await.status, 200, "the only place becomes free");
    let waited = began.elapsed();
    assert!(waited > WRITE_STALL_MAX / 2 && waited < REPLY_TIME_MAX, "{waited:?}");
    tokio::time::resume();
    let mut received = Vec::new();
    // What both kernels have kept still comes, if the connection was not reset.
    drop(stream.read_to_end(&mut received).await);
    assert!(received.len() < 4 * SEND_BUFFER_BYTES, "{} bytes were kept for it", received.len());
}

/// Waits until a condition holds, as long as a busy machine may take.
async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..6_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within a minute: {what}");
}

#[tokio::test]
async fn a_query_ends_when_its_client_has_left() {
    let engine = Arc::new(engine(50_000_000));
    let site = Site::start_on(ServerSettings::default(), true, Arc::clone(&engine)).await;
    let mut stream = site.connect().await;
    // Half a million values in each of 11,000 windows: more work than the test waits for, and nothing is stored.
    let query = "quantile_over_time(0.5,vector(1)[500000s:1s])";
    let path = format!("/api/v1/query_range?query={query}&start=1700000000&end=1700010999&step=1&timeout=2m");
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: pi\r\n\r\n").as_bytes()).await.expect("open");
    until("the query runs", || engine.memory_held() > 1 << 20).await;
    drop(stream);
    until("the query has ended", || engine.memory_held() == 0).await;
}
