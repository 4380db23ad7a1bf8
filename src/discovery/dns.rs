//! `dns_sd_configs`: targets out of A, AAAA, SRV, MX and NS records.
//! Source of the rules: prometheus/discovery/dns/dns.go.
//!
//! The system's resolver gives addresses only, so the name servers of `/etc/resolv.conf` are asked directly: over
//! UDP, and over TCP where an answer does not fit.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::provider::Refresh;
use super::resolv_conf::ResolvConf;
use super::{DiscoveryError, DnsRecordType, DnsSettings, TargetGroup};
use crate::client::dns_message::{Record, RecordType, Reply, encode_query, parse_reply};
use crate::client::url::bracketed;
use crate::model::Labels;

/// How long one server may take, as in the system's resolver.
const SERVER_TIMEOUT: Duration = Duration::from_secs(5);
const NO_SUCH_NAME: u8 = 3;

/// Asks name servers.
pub(super) struct DnsProvider {
    settings: DnsSettings,
    resolv_conf: PathBuf,
    /// The last good answer for each name.
    known: BTreeMap<String, TargetGroup>,
}

impl DnsProvider {
    pub(super) fn new(settings: &DnsSettings) -> Self {
        Self { settings: settings.clone(), resolv_conf: PathBuf::from("/etc/resolv.conf"), known: BTreeMap::new() }
    }

    pub(super) fn interval(&self) -> Duration {
        self.settings.refresh_interval
    }

    /// Asks for each name; one that cannot be looked up keeps what it had.
    pub(super) async fn refresh(&mut self) -> Refresh {
        // Read each time: a DHCP client may have rewritten it.
        let text = tokio::fs::read_to_string(&self.resolv_conf).await.unwrap_or_default();
        let conf = ResolvConf::parse(&text);
        self.refresh_from(&conf).await
    }

    async fn refresh_from(&mut self, conf: &ResolvConf) -> Refresh {
        let mut failure = None;
        for name in self.settings.names.clone() {
            match look_up(conf, &name, record_type(self.settings.record_type)).await {
                Ok(records) => drop(self.known.insert(name.clone(), self.group(&name, &records))),
                Err(reason) => failure = Some(DiscoveryError::Dns { name, reason }),
            }
        }
        Refresh { groups: Some(self.known.values().cloned().collect()), failure }
    }

    fn group(&self, name: &str, records: &[Record]) -> TargetGroup {
        let port = self.settings.port.unwrap_or(0);
        let targets = records.iter().map(|record| {
            let mut pairs = vec![("__meta_dns_name", name.to_owned())];
            let address = match record {
                Record::Address(address) => address_text(&address.to_string(), port),
                Record::Service { target, port } => {
                    pairs.push(("__meta_dns_srv_record_target", format!("{target}.")));
                    pairs.push(("__meta_dns_srv_record_port", port.to_string()));
                    address_text(target, *port)
                }
                Record::MailExchange(host) => {
                    pairs.push(("__meta_dns_mx_record_target", format!("{host}.")));
                    address_text(host, port)
                }
                Record::NameServer(host) => {
                    pairs.push(("__meta_dns_ns_record_target", format!("{host}.")));
                    address_text(host, port)
                }
            };
            pairs.push(("__address__", address));
            Labels::from_pairs(pairs)
        });
        TargetGroup { source: name.to_owned(), targets: targets.collect(), labels: Labels::empty() }
    }
}

fn address_text(host: &str, port: u16) -> String {
    format!("{}:{port}", bracketed(host))
}

fn record_type(configured: DnsRecordType) -> RecordType {
    match configured {
        DnsRecordType::A => RecordType::A,
        DnsRecordType::Aaaa => RecordType::Aaaa,
        DnsRecordType::Srv => RecordType::Srv,
        DnsRecordType::Mx => RecordType::Mx,
        DnsRecordType::Ns => RecordType::Ns,
    }
}

/// The records of a name. No records if every server that answers says that there is none.
async fn look_up(conf: &ResolvConf, name: &str, record_type: RecordType) -> Result<Vec<Record>, String> {
    let mut failure = None;
    for candidate in conf.candidates(name) {
        match ask_servers(conf, &candidate, record_type).await {
            Ok(reply) if reply.code == 0 && !reply.records.is_empty() => return Ok(reply.records),
            // No such name, or nothing of this type: perhaps with another ending.
            Ok(_) => {}
            Err(reason) => failure = Some(reason),
        }
    }
    match failure {
        // One of the names could not be asked for: that it has no records is not known.
        Some(reason) => Err(reason),
        None => Ok(Vec::new()),
    }
}

/// The first answer that says whether there are records.
async fn ask_servers(conf: &ResolvConf, name: &str, record_type: RecordType) -> Result<Reply, String> {
    let mut failure = "there is no name server".to_owned();
    for server in &conf.servers {
        match ask(*server, name, record_type).await {
            Ok(reply) if matches!(reply.code, 0 | NO_SUCH_NAME) => return Ok(reply),
            Ok(reply) => failure = format!("the name server {server} failed with code {}", reply.code),
            Err(error) => failure = format!("the name server {server}: {error}"),
        }
    }
    Err(failure)
}

async fn ask(server: SocketAddr, name: &str, record_type: RecordType) -> io::Result<Reply> {
    let id = RandomState::new().build_hasher().finish() as u16;
    let query = encode_query(id, name, record_type)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the name cannot be asked for"))?;
    let over_udp = timeout(SERVER_TIMEOUT, ask_udp(server, &query, id, record_type));
    let reply = over_udp.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    if !reply.truncated {
        return Ok(reply);
    }
    let over_tcp = timeout(SERVER_TIMEOUT, ask_tcp(server, &query));
    let message = over_tcp.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    parse_reply(&message, id, record_type).ok_or_else(|| io::Error::other("its answer is malformed"))
}

async fn ask_udp(server: SocketAddr, query: &[u8], id: u16, record_type: RecordType) -> io::Result<Reply> {
    let local = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(local).await?;
    // Connected: datagrams of others do not arrive.
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let len = socket.recv(&mut buffer).await?;
        if let Some(reply) = parse_reply(&buffer[..len], id, record_type) {
            return Ok(reply);
        }
    }
}

async fn ask_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let len = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&len.to_be_bytes(), query].concat()).await?;
    let len = stream.read_u16().await?;
    let mut message = vec![0; usize::from(len)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name server on loopback: truncated over UDP for `big.`, no such name for `none.`, failure for `broken.`.
    async fn name_server() -> SocketAddr {
        let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = tcp.local_addr().expect("bound");
        let udp = UdpSocket::bind(address).await.expect("the same port");
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((len, from)) = udp.recv_from(&mut buffer).await {
                let _ = udp.send_to(&answer(&buffer[..len], true), from).await;
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let len = stream.read_u16().await.expect("a length");
                let mut query = vec![0; len.into()];
                stream.read_exact(&mut query).await.expect("a query");
                let reply = answer(&query, false);
                let _ = stream.write_all(&[&(reply.len() as u16).to_be_bytes(), &reply[..]].concat()).await;
            }
        });
        address
    }

    fn answer(query: &[u8], over_udp: bool) -> Vec<u8> {
        let asks_for = |name: &[u8]| query.windows(name.len()).any(|window| window == name);
        let mut reply = query.to_vec();
        reply[2] |= 0x80;
        if asks_for(b"none") {
            reply[3] |= 3;
        } else if asks_for(b"broken") {
            reply[3] |= 2;
        } else if asks_for(b"big") && over_udp {
            reply[2] |= 2;
        } else {
            reply[7] = 1;
            // A service at port 9100 of `pi` under the name that was asked for.
            reply.extend_from_slice(&[0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60, 0, 11]);
            reply.extend_from_slice(&[0, 0, 0, 0, 0x23, 0x8c, 2, b'p', b'i', 0xc0, 12]);
        }
        reply
    }

    fn provider(names: &[&str]) -> DnsProvider {
        DnsProvider::new(&DnsSettings {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            record_type: DnsRecordType::Srv,
            port: None,
            refresh_interval: Duration::from_secs(30),
        })
    }

    #[tokio::test]
    async fn records_become_targets() {
        let mut conf = ResolvConf::parse("search lan\n");
        conf.servers = vec![name_server().await];
        let mut provider = provider(&["small.lan", "big.lan", "none.lan"]);
        let Refresh { groups, failure } = provider.refresh_from(&conf).await;
        assert!(failure.is_none(), "{failure:?}");
        let found: Vec<(String, String)> = groups
            .expect("asked")
            .iter()
            .map(|group| (group.source.clone(), group.targets.iter().map(|target| target.to_string()).collect()))
            .collect();
        let target = |name: &str| {
            format!(
                r#"{{__address__="pi.{name}:9100", __meta_dns_name="{name}", __meta_dns_srv_record_port="9100", __meta_dns_srv_record_target="pi.{name}."}}"#
            )
        };
        assert_eq!(
            found,
            [
                ("big.lan".to_owned(), target("big.lan")),
                ("none.lan".to_owned(), String::new()),
                ("small.lan".to_owned(), target("small.lan"))
            ]
        );
    }

    #[tokio::test]
    async fn failures_keep_what_was_known() {
        let mut conf = ResolvConf::parse("");
        conf.servers = vec![name_server().await];
        let mut provider = provider(&["small.lan", "broken.lan"]);
        let Refresh { groups, failure } = provider.refresh_from(&conf).await;
        assert_eq!(groups.expect("one is known").len(), 1);
        let text = failure.expect("the other failed").to_string();
        assert!(text.starts_with("cannot look up broken.lan: the name server") && text.ends_with("code 2"), "{text}");
        // The server is gone.
        conf.servers = vec!["127.0.0.1:1".parse().expect("valid")];
        assert_eq!(provider.refresh_from(&conf).await.groups.expect("kept").len(), 1);
    }
}
