//! `prober: dns`: one question to the target. Source of the rules: blackbox_exporter/prober/dns.go.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::address::choose;
use super::probe::{Asked, MATCHES, connect_tcp, local_address, on_thread};
use super::settings::{DnsProbe, RecordRules};
use super::sheet::{Gauge, Sheet};
use crate::client::dns_records::{Message, Question, Record, code_name, encode_question, parse_message};
use crate::client::url::split_host_port;
use crate::client::{ClientError, Stream, TlsDialer};
use crate::model::SearchRegex;

const DURATION: Gauge = ("probe_dns_duration_seconds", "Duration of DNS request by phase");
const ANSWERS: Gauge = ("probe_dns_answer_rrs", "Returns number of entries in the answer resource record list");
const AUTHORITY: Gauge = ("probe_dns_authority_rrs", "Returns number of entries in the authority resource record list");
const ADDITIONAL: Gauge =
    ("probe_dns_additional_rrs", "Returns number of entries in the additional resource record list");
const SUCCEEDED: Gauge = ("probe_dns_query_succeeded", "Displays whether or not the query was executed successfully");
const SERIAL: Gauge = ("probe_dns_serial", "Returns the serial number of the zone");
const WAITING: &str = "waiting for the answer";
/// The record type of a zone's head.
const SOA: u16 = 6;

/// Asks a name server as one module says.
#[derive(Debug)]
pub(super) struct DnsProber {
    settings: DnsProbe,
    tls: TlsDialer,
}

impl DnsProber {
    /// Checks the settings.
    pub(super) fn new(settings: &DnsProbe) -> Result<Self, ClientError> {
        Ok(Self { settings: settings.clone(), tls: TlsDialer::new(&settings.tls_config)? })
    }

    /// Probes a target.
    pub(super) async fn probe(&self, asked: &Asked<'_>, sheet: &mut Sheet) -> Result<(), String> {
        for phase in ["resolve", "connect", "request"] {
            sheet.set_of(DURATION, "phase", phase, 0.0);
        }
        for gauge in [ANSWERS, AUTHORITY, ADDITIONAL, SUCCEEDED] {
            sheet.set(gauge, 0.0);
        }
        let usual_port = if self.settings.over_tls { 853 } else { 53 };
        let (host, port) = match split_host_port(asked.target) {
            Some((host, port)) => (host, port.unwrap_or(usual_port)),
            // An IPv6 address without brackets.
            None => (asked.target.to_owned(), usual_port),
        };
        let (chosen, seconds) = choose(&host, self.settings.ip, asked.allowed, sheet, &asked.deadline).await;
        let mut address = chosen?;
        address.set_port(port);
        sheet.set_of(DURATION, "phase", "resolve", seconds);
        let id = RandomState::new().build_hasher().finish() as u16;
        let started = Instant::now();
        let mut sent = None;
        let reply = self.exchange(asked, address, &host, id, &mut sent).await;
        let request = sent.filter(|_| reply.is_ok()).map_or(0.0, |sent| sent.elapsed().as_secs_f64());
        sheet.set_of(DURATION, "phase", "connect", started.elapsed().as_secs_f64() - request);
        sheet.set_of(DURATION, "phase", "request", request);
        let reply = reply?;
        let message = parse_message(&reply, id).ok_or("the answer is malformed")?;
        self.judge(asked, &message, sheet).await
    }

    /// The bytes of the reply. `sent` is set once there is a connection.
    async fn exchange(
        &self,
        asked: &Asked<'_>,
        address: SocketAddr,
        host: &str,
        id: u16,
        sent: &mut Option<Instant>,
    ) -> Result<Vec<u8>, String> {
        let question = Question {
            name: &self.settings.query_name,
            record_type: self.settings.query_type.1,
            class: self.settings.query_class.1,
            recursion_desired: self.settings.recursion_desired,
        };
        let query = encode_question(id, &question).ok_or("query_name cannot be asked for")?;
        if !self.settings.over_tcp {
            let bound = async {
                let socket = UdpSocket::bind(local_address(address, self.settings.source)).await?;
                // Connected: datagrams of others do not arrive, and a closed port is told.
                socket.connect(address).await.map(|()| socket)
            };
            let socket = bound.await.map_err(|error| error.to_string())?;
            *sent = Some(Instant::now());
            return asked.within(WAITING, ask_udp(&socket, &query, id)).await;
        }
        let stream = connect_tcp(address, self.settings.source, &asked.deadline).await?;
        let mut stream: Box<dyn Stream> = Box::new(stream);
        if self.settings.over_tls {
            let secured = self.tls.secure(stream, host, &asked.deadline).await;
            stream = secured.map_err(|error| error.to_string())?.0;
        }
        *sent = Some(Instant::now());
        asked.within(WAITING, ask_stream(&mut stream, &query)).await
    }

    async fn judge(&self, asked: &Asked<'_>, message: &Message<'_>, sheet: &mut Sheet) -> Result<(), String> {
        let sections = [
            (ANSWERS, &message.answers, &self.settings.answer, "answer"),
            (AUTHORITY, &message.authority, &self.settings.authority, "authority"),
            (ADDITIONAL, &message.additional, &self.settings.additional, "additional"),
        ];
        for (gauge, records, ..) in sections {
            sheet.set(gauge, records.len() as f64);
        }
        sheet.set(SUCCEEDED, 1.0);
        if self.settings.query_type.1 == SOA {
            let serial = message.answers.iter().filter_map(Record::zone_serial).next_back();
            sheet.set(SERIAL, serial.map_or(0.0, f64::from));
        }
        let is_valid = match self.settings.valid_codes.as_slice() {
            [] => message.code == 0,
            valid => valid.iter().any(|(_, code)| *code == message.code),
        };
        if !is_valid {
            return Err(format!("the response code is {}", code_name(message.code)));
        }
        let checks: Vec<(Vec<String>, RecordRules, &str)> = sections
            .into_iter()
            .filter(|(_, _, rules, _)| **rules != RecordRules::default())
            .map(|(_, records, rules, section)| {
                (records.iter().filter_map(Record::text).collect(), rules.clone(), section)
            })
            .collect();
        if checks.is_empty() {
            return Ok(());
        }
        let check = |(texts, rules, section): (Vec<String>, RecordRules, &str)| {
            check_texts(&texts, &rules).map_err(|reason| format!("{section} records: {reason}"))
        };
        let matching = on_thread(&MATCHES, move || checks.into_iter().try_for_each(check));
        asked.within("matching the records", matching).await?
    }
}

/// Checks the records of a section.
fn check_texts(texts: &[String], rules: &RecordRules) -> Result<(), String> {
    for (patterns, key) in [
        (&rules.fail_if_not_matches, "fail_if_not_matches_regexp"),
        (&rules.fail_if_none_matches, "fail_if_none_matches_regexp"),
    ] {
        if texts.is_empty() && !patterns.is_empty() {
            return Err(format!("there are none for {key}"));
        }
    }
    for text in texts {
        if let Some(pattern) = rules.fail_if_matches.iter().find(|pattern| pattern.is_match(text)) {
            return Err(format!("{text:?} matches {pattern:?}"));
        }
        if let Some(pattern) = rules.fail_if_not_matches.iter().find(|pattern| !pattern.is_match(text)) {
            return Err(format!("{text:?} does not match {pattern:?}"));
        }
    }
    let all = |pattern: &SearchRegex| texts.iter().all(|text| pattern.is_match(text));
    if !rules.fail_if_all_match.is_empty() && !rules.fail_if_all_match.iter().all(all) {
        return Err("not all match fail_if_all_match_regexp".to_owned());
    }
    let any = |pattern: &SearchRegex| texts.iter().any(|text| pattern.is_match(text));
    if !rules.fail_if_none_matches.is_empty() && !rules.fail_if_none_matches.iter().any(any) {
        return Err("none matches fail_if_none_matches_regexp".to_owned());
    }
    Ok(())
}

async fn ask_udp(socket: &UdpSocket, query: &[u8], id: u16) -> std::io::Result<Vec<u8>> {
    socket.send(query).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let len = socket.recv(&mut buffer).await?;
        // What answers another question, of an earlier probe perhaps, is passed over.
        if buffer[..len].starts_with(&id.to_be_bytes()) {
            buffer.truncate(len);
            return Ok(buffer);
        }
    }
}

async fn ask_stream(stream: &mut Box<dyn Stream>, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let len = u16::try_from(query.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&len.to_be_bytes(), query].concat()).await?;
    stream.flush().await?;
    let len = stream.read_u16().await?;
    let mut message = vec![0; usize::from(len)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}
