//! The client against servers that behave, and many that do not. All on loopback, in this process.

use std::future::Future;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::model::Secret;

const LIMIT: usize = 1 << 20;

/// Serves each connection with `serve` and gives the server's address.
async fn server<F, Fut>(serve: F) -> String
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    format!("http://{address}")
}

/// Reads a request's head; empty at the end of the connection.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// A server that answers each first request of a connection with fixed bytes and closes.
async fn fixed(answer: Vec<u8>) -> String {
    let answer = Arc::new(answer);
    server(move |mut stream| {
        let answer = Arc::clone(&answer);
        async move {
            head(&mut stream).await;
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
        }
    })
    .await
}

async fn fetch(client: &Client, url: &str) -> Result<(u16, Vec<u8>), ClientError> {
    let mut request = Request::get(Url::parse(url)?);
    request.timeout = Duration::from_secs(2);
    let mut response = client.send(request).await?;
    let body = response.read_body(LIMIT).await?;
    Ok((response.status.as_u16(), body))
}

fn plain() -> Client {
    Client::new(&ClientSettings::default()).expect("the defaults are valid")
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).expect("into memory");
    encoder.finish().expect("into memory")
}

fn response(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn good_answers() {
    let two_members = [gzip(b"a 1\n"), gzip(b"b 2\n")].concat();
    let cases = [
        (response("", b"a 1\n"), "a 1\n"),
        (response("Content-Encoding: gzip\r\n", &gzip(b"a 1\n")), "a 1\n"),
        (response("Content-Encoding: gzip\r\n", &two_members), "a 1\nb 2\n"),
        (response("Content-Encoding: gzip\r\n", b""), ""),
        (b"HTTP/1.0 200 OK\r\n\r\na 1\n".to_vec(), "a 1\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n0\r\n\r\n".to_vec(), "a 1\n"),
        (b"HTTP/1.1 200 OK\r\n\r\na 1\n".to_vec(), "a 1\n"),
    ];
    for (answer, expected) in cases {
        let url = fixed(answer).await;
        let (status, body) = fetch(&plain(), &url).await.expect(expected);
        assert_eq!((status, String::from_utf8_lossy(&body).as_ref()), (200, expected));
    }
}

#[tokio::test]
async fn hostile_answers() {
    let bomb = gzip(&vec![b'x'; 64 * LIMIT]);
    let mut corrupt = gzip(&[b'x'; 5000]);
    let middle = corrupt.len() / 2;
    corrupt[middle] ^= 0x55;
    let half = gzip(b"a 1\nb 2\n");
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (response("", &vec![b'x'; LIMIT + 1]), "body size limit exceeded: more than 1048576 bytes"),
        (response("Content-Encoding: gzip\r\n", &bomb), "body size limit exceeded: more than 1048576 bytes"),
        (response("Content-Encoding: gzip\r\n", &corrupt), "cannot decompress the body: "),
        (response("Content-Encoding: gzip\r\n", b"a 1\n"), "cannot decompress the body: it is not valid gzip"),
        (response("Content-Encoding: gzip\r\n", &half[..half.len() - 3]), "cannot decompress the body: it ends before"),
        (response("Content-Encoding: br\r\n", b"x"), "unsupported content encoding \"br\""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\na 1\n".to_vec(), "reading the body: "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\na 1\n".to_vec(), "reading the body: "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\na 1\n".to_vec(), "reading the body: "),
        (b"".to_vec(), "waiting for the response: the server closed the connection"),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "waiting for the response: "),
        (
            [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; 100_000]].concat(),
            "waiting for the response: the response's headers are too",
        ),
        ([b"HTTP/1.1 200 OK\r\n".to_vec(), b"X: x\r\n".repeat(50_000)].concat(), "waiting for the response: "),
    ];
    for (answer, expected) in cases {
        let url = fixed(answer).await;
        let error = fetch(&plain(), &url).await.expect_err(expected).to_string();
        assert!(error.starts_with(expected), "{error:?} should start with {expected:?}");
    }
}

#[tokio::test]
async fn endless_and_slow_answers() {
    async fn keep_writing(mut stream: TcpStream, first: &'static [u8], piece: &'static [u8], pause: Duration) {
        head(&mut stream).await;
        let _ = stream.write_all(first).await;
        while stream.write_all(piece).await.is_ok() {
            tokio::time::sleep(pause).await;
        }
    }
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
    let second = Duration::from_secs(1);
    let cases: [(&[u8], &[u8], Duration, &str); 4] = [
        (OK, &[b'x'; 4096], Duration::ZERO, "body size limit exceeded: more than 1048576 bytes"),
        (OK, b"x", second, "timed out after 2s while reading the body"),
        (b"HTTP/1.1 200 OK\r\n", b"X", second, "timed out after 2s while waiting for the response"),
        (b"", b"", second, "timed out after 2s while waiting for the response"),
    ];
    let checks = cases.map(|(first, piece, pause, expected)| async move {
        let url = server(move |stream| keep_writing(stream, first, piece, pause)).await;
        assert_eq!(fetch(&plain(), &url).await.expect_err(expected).to_string(), expected);
    });
    let mut running = tokio::task::JoinSet::new();
    checks.into_iter().for_each(|check| drop(running.spawn(check)));
    while let Some(result) = running.join_next().await {
        result.expect("each check holds");
    }
}

#[tokio::test]
async fn reset_in_the_middle() {
    let url = server(|mut stream| async move {
        head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\na 1\n").await;
        let _ = stream.set_zero_linger();
    })
    .await;
    let error = fetch(&plain(), &url).await.expect_err("the body is incomplete");
    assert_eq!(error.kind(), "http", "{error}");
    assert_eq!(
        fetch(&plain(), "http://127.0.0.1:1/").await.expect_err("nobody listens").to_string(),
        "cannot connect to 127.0.0.1:1: connection refused"
    );
}

/// Serves any number of requests per connection; counts connections.
async fn keep_alive(connections: Arc<AtomicUsize>, answer: &'static [u8], requests_max: usize) -> String {
    server(move |mut stream| {
        connections.fetch_add(1, Ordering::SeqCst);
        async move {
            for _ in 0..requests_max {
                if head(&mut stream).await.is_empty() || stream.write_all(answer).await.is_err() {
                    break;
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn connections_are_used_again() {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for (requests_max, expected) in [(100, 1), (1, 3)] {
        let connections = Arc::new(AtomicUsize::new(0));
        let url = keep_alive(Arc::clone(&connections), ANSWER, requests_max).await;
        let client = plain();
        for _ in 0..3 {
            assert_eq!(fetch(&client, &url).await.expect("ok").1, b"ok");
        }
        assert_eq!(connections.load(Ordering::SeqCst), expected, "{requests_max} requests per connection");
    }
}

/// Four requests at once, twice: how many connections that takes for so many idle ones.
#[tokio::test]
async fn as_many_idle_connections_are_kept_as_were_asked_for() {
    for (idle_max, expected) in [(0, 8), (2, 6), (4, 4), (64, 4)] {
        let connections = Arc::new(AtomicUsize::new(0));
        let (count, all) = (Arc::clone(&connections), Arc::new(tokio::sync::Barrier::new(4)));
        let url = server(move |mut stream| {
            count.fetch_add(1, Ordering::SeqCst);
            let all = Arc::clone(&all);
            async move {
                while !head(&mut stream).await.is_empty() {
                    all.wait().await;
                    let _ = stream.write_all(&response("", b"ok")).await;
                }
            }
        })
        .await;
        let client = Client::to_one_server(&ClientSettings::default(), None, idle_max).expect("valid");
        for _ in 0..2 {
            let fetches: tokio::task::JoinSet<_> = (0..4)
                .map(|_| {
                    let (client, url) = (client.clone(), url.clone());
                    async move { fetch(&client, &url).await.expect("ok").1 }
                })
                .collect();
            assert_eq!(fetches.join_all().await, [b"ok"; 4]);
        }
        assert_eq!(connections.load(Ordering::SeqCst), expected, "{idle_max} idle connections");
    }
}

/// Answers with the request's head as the body.
async fn echo() -> String {
    server(|mut stream| async move {
        loop {
            let head = head(&mut stream).await;
            if head.is_empty() || stream.write_all(&response("", head.as_bytes())).await.is_err() {
                break;
            }
        }
    })
    .await
}

#[tokio::test]
async fn redirects() {
    let looping = fixed(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n".to_vec()).await;
    let error = fetch(&plain(), &looping).await.expect_err("a loop");
    assert_eq!(error.to_string(), "stopped after 10 redirects");
    let settings = ClientSettings { follow_redirects: false, ..ClientSettings::default() };
    let client = Client::new(&settings).expect("valid");
    assert_eq!(fetch(&client, &looping).await.expect("the redirect itself").0, 302);

    let target = echo().await;
    let there = format!("HTTP/1.1 307 Moved\r\nLocation: {target}/there?x=1\r\nContent-Length: 0\r\n\r\n");
    let elsewhere = there.replace("127.0.0.1", "localhost");
    let settings = ClientSettings { basic_auth: Some(basic("user", "secret")), ..ClientSettings::default() };
    for (answer, with_credentials) in [(there, true), (elsewhere, false)] {
        let url = fixed(answer.into_bytes()).await;
        let body = fetch(&Client::new(&settings).expect("valid"), &url).await.expect("redirected").1;
        let seen = String::from_utf8_lossy(&body).to_ascii_lowercase();
        assert!(seen.starts_with("get /there?x=1 http/1.1\r\n"), "{seen}");
        assert_eq!(seen.contains("authorization: basic"), with_credentials, "{seen}");
    }
}

#[tokio::test]
async fn credentials_do_not_come_back_from_a_detour() {
    let target = echo().await;
    let moved = |to: &str| format!("HTTP/1.1 307 Moved\r\nLocation: {to}/\r\nContent-Length: 0\r\n\r\n").into_bytes();
    let detour = fixed(moved(&target)).await.replace("127.0.0.1", "localhost");
    let url = fixed(moved(&detour)).await;
    let settings = ClientSettings { basic_auth: Some(basic("user", "secret")), ..ClientSettings::default() };
    let body = fetch(&Client::new(&settings).expect("valid"), &url).await.expect("redirected").1;
    let seen = String::from_utf8_lossy(&body).to_ascii_lowercase();
    assert!(seen.starts_with("get / http/1.1\r\n") && !seen.contains("authorization"), "{seen}");
}

#[tokio::test]
async fn a_redirected_post_stays_one() {
    let target = echo().await;
    for (status, expected) in [(301, 200), (302, 200), (303, 303), (307, 200), (308, 200)] {
        let answer = format!("HTTP/1.1 {status} Moved\r\nLocation: {target}/there\r\nContent-Length: 0\r\n\r\n");
        let url = Url::parse(&fixed(answer.into_bytes()).await).expect("valid");
        let mut response = plain().send(Request::post(url, bytes::Bytes::new())).await.expect("an answer");
        assert_eq!(response.status, expected, "{status}");
        let body = response.read_body(1000).await.expect("a body");
        let seen = String::from_utf8_lossy(&body);
        assert!(expected == 303 || seen.starts_with("POST /there HTTP/1.1\r\n"), "{status}: {seen}");
    }
}

fn basic(user: &str, password: &str) -> BasicAuth {
    BasicAuth {
        username: SecretSource::Inline(Secret::new(user)),
        password: SecretSource::Inline(Secret::new(password)),
    }
}

#[tokio::test]
async fn credentials_and_headers() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "first\n").expect("written");
    let values = HeaderValues { values: vec!["a".to_owned(), "b".to_owned()], ..HeaderValues::default() };
    let settings = ClientSettings {
        authorization: Some(Authorization {
            scheme: "Bearer".to_owned(),
            credentials: Some(SecretSource::File(token.clone())),
        }),
        headers: [("X-Site".to_owned(), values)].into(),
        ..ClientSettings::default()
    };
    let client = Client::new(&settings).expect("valid");
    let url = echo().await;
    for text in ["first", "the second"] {
        std::fs::write(&token, text).expect("written");
        let seen = String::from_utf8(fetch(&client, &url).await.expect("ok").1).expect("text").to_ascii_lowercase();
        assert!(seen.contains(&format!("authorization: bearer {text}\r\n")), "{seen}");
        assert!(seen.contains("x-site: a\r\nx-site: b\r\n"), "{seen}");
        assert!(seen.contains("accept-encoding: gzip\r\n") && seen.contains("user-agent: outpost/"), "{seen}");
    }
    std::fs::remove_file(&token).expect("removed");
    let error = fetch(&client, &url).await.expect_err("no token").to_string();
    assert!(error.starts_with("cannot read credentials file") && error.ends_with("it does not exist"), "{error}");
}

#[tokio::test]
async fn oauth2_fetches_one_token() {
    let tokens = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tokens);
    let token_url = server(move |mut stream| {
        let counted = Arc::clone(&counted);
        async move {
            let head = head(&mut stream).await.to_ascii_lowercase();
            let len = head.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next()?.parse().ok());
            let mut form = vec![0; len.unwrap_or(0)];
            let _ = stream.read_exact(&mut form).await;
            counted.fetch_add(1, Ordering::SeqCst);
            let form = String::from_utf8_lossy(&form).into_owned();
            // Credentials are only taken in the form.
            let answer = if form.contains("client_id=me&client_secret=s%26t") {
                response("", br#"{"access_token":"abc","token_type":"bearer","expires_in":3600}"#)
            } else {
                b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_vec()
            };
            let _ = stream.write_all(&answer).await;
        }
    })
    .await;
    let settings = ClientSettings {
        oauth2: Some(Box::new(OAuth2 {
            client_id: "me".to_owned(),
            client_secret: Some(SecretSource::Inline(Secret::new("s&t"))),
            scopes: vec!["read".to_owned()],
            token_url,
            endpoint_params: Default::default(),
            tls: TlsSettings::default(),
            proxy: ProxySettings::default(),
        })),
        ..ClientSettings::default()
    };
    let client = Client::new(&settings).expect("valid");
    let url = echo().await;
    for _ in 0..3 {
        let seen = String::from_utf8(fetch(&client, &url).await.expect("ok").1).expect("text");
        assert!(seen.to_ascii_lowercase().contains("authorization: bearer abc\r\n"), "{seen}");
    }
    assert_eq!(tokens.load(Ordering::SeqCst), 2, "one refused, one granted, then kept");
}

#[tokio::test]
async fn proxies() {
    let proxy = echo().await;
    let with_user = proxy.replace("http://", "http://u:p@");
    let through = |url: String| ClientSettings {
        proxy: ProxySettings { url: Some(Secret::new(url)), ..ProxySettings::default() },
        ..ClientSettings::default()
    };
    let client = Client::new(&through(with_user)).expect("valid");
    let seen = String::from_utf8(fetch(&client, "http://target.invalid/x?y").await.expect("ok").1).expect("text");
    assert!(seen.starts_with("GET http://target.invalid/x?y HTTP/1.1\r\n"), "{seen}");
    assert!(seen.to_ascii_lowercase().contains("proxy-authorization: basic dtpw\r\n"), "{seen}");
    let refusing = fixed(b"HTTP/1.1 403 Forbidden\r\n\r\n".to_vec()).await;
    let client = Client::new(&through(refusing)).expect("valid");
    let error = fetch(&client, "https://target.invalid/").await.expect_err("refused").to_string();
    assert!(error.ends_with("refused: HTTP/1.1 403 Forbidden"), "{error}");
}

#[tokio::test]
async fn unix_sockets() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("engine.sock");
    let listener = tokio::net::UnixListener::bind(&path).expect("bound");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(&response("", b"ok")).await;
    });
    let client = Client::over_unix_socket(&ClientSettings::default(), path).expect("valid");
    assert_eq!(fetch(&client, "http://localhost/_ping").await.expect("ok").1, b"ok");
}

#[test]
fn settings_that_contradict_each_other() {
    let both = ClientSettings {
        basic_auth: Some(basic("u", "p")),
        authorization: Some(Authorization { scheme: "Bearer".to_owned(), credentials: None }),
        ..ClientSettings::default()
    };
    let no_key = TlsSettings { cert: Some(SecretSource::Inline(Secret::new("x"))), ..TlsSettings::default() };
    let cases = [
        (both, "at most one of"),
        (ClientSettings { tls: no_key, ..ClientSettings::default() }, "a client certificate needs both"),
        (
            ClientSettings { headers: [("a b".to_owned(), HeaderValues::default())].into(), ..Default::default() },
            "\"a b\" is not",
        ),
    ];
    for (settings, expected) in cases {
        let error = Client::new(&settings).expect_err(expected).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

/// What a proxy might take for a forbidden address is not handed to it.
#[tokio::test]
async fn steps_through_a_proxy_refuse_addresses_in_disguise() {
    let proxy = fixed(response("", b"proxied")).await;
    let proxy = ProxySettings { url: Some(Secret::new(proxy)), ..ProxySettings::default() };
    let dialer = Dialer::new(&ClientSettings { proxy, ..ClientSettings::default() }).expect("valid");
    let may_reach = |address: std::net::IpAddr| match address {
        std::net::IpAddr::V4(v4) => !v4.is_link_local(),
        std::net::IpAddr::V6(v6) => v6.segments()[0] != 0xfe80,
    };
    let (forbidden, spelling) = ("only if allowed_networks lists them", "is to be written in ASCII");
    let cases = [
        ("a.lan", ""),
        ("10.0.0.1", ""),
        ("167772161", ""),
        ("169.254.169.254", forbidden),
        ("2852039166", forbidden),
        ("0xa9fea9fe", forbidden),
        ("169.254.43518", forbidden),
        ("0251.0376.0251.0376", forbidden),
        ("0169.0254.0169.0254", forbidden),
        ("[fe80::1%25lo]", forbidden),
        ("[fd00::1%25lo]", "fd00::1%lo is behind an interface of this machine; list it in no_proxy"),
        ("\u{ff11}69.254.169.254", spelling),
    ];
    for (host, expected) in cases {
        let request = Request::get(Url::parse(&format!("http://{host}/")).expect(host));
        let exchange = Exchange {
            request: &request,
            authority: &request.url.authority(),
            server_name: &request.url.host,
            trusted: true,
            encoding: Encoding::Identity,
        };
        let deadline = Deadline::after(Duration::from_secs(10));
        let answer = dialer.exchange(&exchange, &may_reach, &deadline, &mut Times::default()).await;
        let found = answer.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(found.contains(expected) && found.is_empty() == expected.is_empty(), "{host}: {found:?}");
    }
}
