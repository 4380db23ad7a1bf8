//! SOCKS 5 as a client (RFC 1928, RFC 1929): one CONNECT, with or without user and password.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::ClientError;
use super::connect::Stream;
use super::error::io_reason;
use super::url::{Url, host_address};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const CONNECT: u8 = 1;

/// Makes the proxy at the other end of `stream` connect to the server of `url`.
pub(super) async fn ask(stream: &mut Box<dyn Stream>, proxy: &Url, url: &Url) -> Result<(), ClientError> {
    let talk = async {
        greet(stream, proxy).await?;
        stream.write_all(&connect_request(url)?).await.map_err(|error| io_reason(&error))?;
        read_reply(stream).await
    };
    let result: Result<(), String> = talk.await;
    result.map_err(|reason| ClientError::Proxy { proxy: proxy.host_and_port(), reason })
}

async fn greet(stream: &mut Box<dyn Stream>, proxy: &Url) -> Result<(), String> {
    let hello: &[u8] = match proxy.user {
        Some(_) => &[VERSION, 2, NO_AUTHENTICATION, USER_AND_PASSWORD],
        None => &[VERSION, 1, NO_AUTHENTICATION],
    };
    stream.write_all(hello).await.map_err(|error| io_reason(&error))?;
    match (read(stream).await?, &proxy.user) {
        ([VERSION, NO_AUTHENTICATION], _) => Ok(()),
        ([VERSION, USER_AND_PASSWORD], Some((user, password))) => {
            let message = [&[1], short(user)?.as_slice(), short(password.expose())?.as_slice()].concat();
            stream.write_all(&message).await.map_err(|error| io_reason(&error))?;
            match read(stream).await? {
                [_, 0] => Ok(()),
                [..] => Err("it does not accept the user and password".to_owned()),
            }
        }
        ([VERSION, _], None) => Err("it wants a user and a password".to_owned()),
        ([VERSION, _], Some(_)) => Err("it wants another way to authenticate".to_owned()),
        _ => Err("it does not speak SOCKS 5".to_owned()),
    }
}

/// The name goes as it is: the proxy may see another network.
fn connect_request(url: &Url) -> Result<Vec<u8>, String> {
    let mut request = vec![VERSION, CONNECT, 0];
    match host_address(&url.host) {
        Some(std::net::IpAddr::V4(address)) => {
            request.push(1);
            request.extend(address.octets());
        }
        Some(std::net::IpAddr::V6(address)) => {
            request.push(4);
            request.extend(address.octets());
        }
        None => {
            request.push(3);
            request.extend(short(&url.host)?);
        }
    }
    request.extend(url.port_or_default().to_be_bytes());
    Ok(request)
}

async fn read_reply(stream: &mut Box<dyn Stream>) -> Result<(), String> {
    let [_, code, _, kind] = read(stream).await?;
    if code != 0 {
        return Err(refusal(code).to_owned());
    }
    // The address that the proxy connects from is of no interest, but must be read.
    let len = match kind {
        1 => 4,
        4 => 16,
        3 => usize::from(read::<1>(stream).await?[0]),
        _ => return Err("its answer is malformed".to_owned()),
    };
    let mut rest = vec![0; len + 2];
    stream.read_exact(&mut rest).await.map_err(|error| io_reason(&error))?;
    Ok(())
}

fn refusal(code: u8) -> &'static str {
    match code {
        2 => "its rules do not allow the connection",
        3 => "the network is unreachable",
        4 => "the host is unreachable",
        5 => "connection refused",
        6 => "the connection took too long",
        7 => "it does not know the command",
        8 => "it does not know this kind of address",
        _ => "it failed",
    }
}

/// A text with its length in front.
fn short(text: &str) -> Result<Vec<u8>, String> {
    let len = u8::try_from(text.len()).map_err(|_| "a name or password is longer than 255 bytes".to_owned())?;
    Ok([&[len], text.as_bytes()].concat())
}

async fn read<const N: usize>(stream: &mut Box<dyn Stream>) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.map_err(|error| io_reason(&error))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::{TcpListener, TcpStream};

    use crate::client::{Client, ClientSettings, ProxySettings, Request, Url};
    use crate::model::Secret;

    use super::*;

    /// A proxy that plays one exchange, then answers HTTP itself as the server behind it would. `said` is what it
    /// must be told after the greeting and the password, `reply` its answer to that.
    async fn proxy(wants_password: bool, said: Vec<u8>, reply: Vec<u8>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let port = listener.local_addr().expect("bound").port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut greeting = [0; 2];
            stream.read_exact(&mut greeting).await.expect("a greeting");
            let mut methods = vec![0; greeting[1].into()];
            stream.read_exact(&mut methods).await.expect("methods");
            stream.write_all(&[5, if wants_password { 2 } else { 0 }]).await.expect("open");
            if wants_password && methods.contains(&2) {
                expect(&mut stream, b"\x01\x04user\x04pass").await;
                stream.write_all(&[1, 0]).await.expect("open");
            }
            expect(&mut stream, &said).await;
            let _ = stream.write_all(&reply).await;
            if reply.is_empty() {
                return;
            }
            let mut request = [0; 2048];
            let len = stream.read(&mut request).await.unwrap_or(0);
            let line = String::from_utf8_lossy(&request[..len]).lines().next().unwrap_or("").to_owned();
            let _ = stream.write_all(format!("HTTP/1.0 200 OK\r\n\r\n{line}").as_bytes()).await;
        });
        port
    }

    async fn expect(stream: &mut TcpStream, wanted: &[u8]) {
        let mut found = vec![0; wanted.len()];
        if stream.read_exact(&mut found).await.is_ok() {
            assert_eq!(found, wanted);
        }
    }

    async fn fetch(proxy_url: String, url: &str) -> String {
        let proxy = ProxySettings { url: Some(Secret::new(proxy_url)), ..ProxySettings::default() };
        let client = Client::new(&ClientSettings { proxy, ..ClientSettings::default() }).expect("valid");
        let mut request = Request::get(Url::parse(url).expect("valid"));
        request.timeout = Duration::from_secs(5);
        match client.send(request).await {
            Ok(mut response) => String::from_utf8(response.read_body(1000).await.expect("a body")).expect("text"),
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn servers_behind_a_proxy() {
        let named = b"\x05\x01\x00\x03\x06pi.lan\x23\x8c".to_vec();
        let numbered = b"\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50".to_vec();
        let sixth = [b"\x05\x01\x00\x04\xfd".as_slice(), &[0; 14], b"\x01\x00\x50"].concat();
        let good = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
        let good_name = b"\x05\x00\x00\x03\x02ab\x00\x00".to_vec();
        let asked = "GET /metrics HTTP/1.1";
        let cases = [
            ("socks5://", false, "http://pi.lan:9100/metrics", &named, &good, asked),
            ("socks5h://user:pass@", true, "http://pi.lan:9100/metrics", &named, &good_name, asked),
            ("SOCKS5://user:pass@", false, "http://10.0.0.1/metrics", &numbered, &good, asked),
            ("socks5://", false, "http://[fd00::1]/metrics", &sixth, &good, asked),
            ("socks5://", true, "http://10.0.0.1/", &numbered, &good, "refused: it wants a user and a password"),
            (
                "socks5://",
                false,
                "http://10.0.0.1/",
                &numbered,
                &b"\x05\x05\x00\x01".to_vec(),
                "refused: connection refused",
            ),
            ("socks5://", false, "http://10.0.0.1/", &numbered, &b"\x05\x00\x00\x09".to_vec(), "answer is malformed"),
            ("socks5://", false, "http://10.0.0.1/", &numbered, &b"".to_vec(), "refused: "),
        ];
        for (scheme, wants_password, url, said, reply, expected) in cases {
            let port = proxy(wants_password, said.clone(), reply.clone()).await;
            let found = fetch(format!("{scheme}127.0.0.1:{port}"), url).await;
            assert!(found.contains(expected), "{scheme} {url}: {found:?} should hold {expected:?}");
        }
    }
}
