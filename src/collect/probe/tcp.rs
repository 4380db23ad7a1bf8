//! `prober: tcp`: a connection, and a talk line by line.
//! Source of the rules: blackbox_exporter/prober/tcp.go and query_response.go.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::address::choose;
use super::chain;
use super::http::FAILED_DUE_TO_REGEX;
use super::probe::{Asked, MATCHES, connect_tcp, on_thread};
use super::settings::{QueryResponse, TcpProbe};
use super::sheet::{Gauge, Sheet};
use crate::client::url::split_host_port;
use crate::client::{ClientError, Session, Stream, TlsDialer};
use crate::model::SearchRegex;

/// The longest line that is looked at, as in Go's `bufio.Scanner`.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// What one `expect` reads at most in search of its line.
pub const EXPECT_BYTES_MAX: usize = 1 << 20;

/// What is read at a time, at least; longer lines are matched on a thread.
const PIECE_BYTES: usize = 4096;

const FAILED_DUE_TO_BYTES: Gauge = ("probe_failed_due_to_bytes", "Indicates if probe failed due to bytes");
const EXPECT_INFO: Gauge = ("probe_expect_info", "Explicit content matched");

/// Connects over TCP as one module says.
#[derive(Debug)]
pub(super) struct TcpProber {
    settings: TcpProbe,
    tls: TlsDialer,
}

impl TcpProber {
    /// Checks the settings.
    pub(super) fn new(settings: &TcpProbe) -> Result<Self, ClientError> {
        Ok(Self { settings: settings.clone(), tls: TlsDialer::new(&settings.tls_config)? })
    }

    /// Probes a target.
    pub(super) async fn probe(&self, asked: &Asked<'_>, sheet: &mut Sheet) -> Result<(), String> {
        let target = asked.target;
        let malformed = || format!("{target:?} is not a host and a port");
        let (host, port) = split_host_port(target).ok_or_else(malformed)?;
        let port = port.ok_or_else(malformed)?;
        let chosen = choose(&host, self.settings.ip, asked.allowed, sheet, &asked.deadline).await;
        let mut address = chosen.0?;
        address.set_port(port);
        let stream = connect_tcp(address, self.settings.source, &asked.deadline).await?;
        let mut talk = Talk { stream: Box::new(stream), buffer: Vec::new() };
        if self.settings.tls {
            let session = self.secure(&mut talk, &host, asked).await?;
            chain::show(sheet, &session);
        }
        sheet.set(FAILED_DUE_TO_REGEX, 0.0);
        sheet.set(FAILED_DUE_TO_BYTES, 0.0);
        for step in &self.settings.steps {
            self.take_step(step, &mut talk, &host, asked, sheet).await?;
        }
        Ok(())
    }

    async fn secure(&self, talk: &mut Talk, host: &str, asked: &Asked<'_>) -> Result<Session, String> {
        let plain = std::mem::replace(&mut talk.stream, Box::new(tokio::io::empty()));
        let name = asked.hostname.unwrap_or(host);
        let secured = self.tls.secure(plain, name, &asked.deadline).await;
        let (stream, session) = secured.map_err(|error| error.to_string())?;
        *talk = Talk { stream, buffer: Vec::new() };
        Ok(session)
    }

    async fn take_step(
        &self,
        step: &QueryResponse,
        talk: &mut Talk,
        host: &str,
        asked: &Asked<'_>,
        sheet: &mut Sheet,
    ) -> Result<(), String> {
        let send = match &step.expect {
            Some(_) => self.expect(step, talk, asked, sheet).await?,
            None => step.send.clone(),
        };
        if !step.expect_bytes.is_empty() {
            let found = asked.within("reading bytes", talk.read_bytes(step.expect_bytes.len())).await?;
            let is_equal = found == step.expect_bytes;
            sheet.set(FAILED_DUE_TO_BYTES, f64::from(u8::from(!is_equal)));
            if !is_equal {
                return Err("other bytes came than expect_bytes".to_owned());
            }
        }
        if !send.is_empty() {
            asked.within("sending", talk.send(&send)).await?;
        }
        if step.starttls {
            let session = self.secure(talk, host, asked).await?;
            chain::show(sheet, &session);
        }
        Ok(())
    }

    /// Reads lines until one matches; gives what is to be sent then.
    async fn expect(
        &self,
        step: &QueryResponse,
        talk: &mut Talk,
        asked: &Asked<'_>,
        sheet: &mut Sheet,
    ) -> Result<Vec<u8>, String> {
        let Some(pattern) = &step.expect else { return Ok(Vec::new()) };
        let send = String::from_utf8_lossy(&step.send);
        let mut templates = vec![send.clone().into_owned()];
        templates.extend(step.labels.iter().map(|(_, template)| template.clone()));
        let mut read = 0;
        while let Some(line) = asked.within("waiting for a line", talk.read_line()).await? {
            read += line.len() + 1;
            let Some(mut expanded) = expand(asked, pattern, line, &templates).await? else {
                if read > EXPECT_BYTES_MAX {
                    sheet.set(FAILED_DUE_TO_REGEX, 1.0);
                    return Err(format!("no line matches {pattern:?} within {EXPECT_BYTES_MAX} bytes"));
                }
                continue;
            };
            sheet.set(FAILED_DUE_TO_REGEX, 0.0);
            let values = expanded.split_off(1);
            if !step.labels.is_empty() {
                let names = step.labels.iter().map(|(name, _)| name.clone());
                sheet.set_with(EXPECT_INFO, names.zip(values).collect(), 1.0);
            }
            // Bytes that are no text go as they are: they hold nothing to be expanded.
            let is_text = matches!(send, std::borrow::Cow::Borrowed(_));
            return Ok(if is_text { expanded.remove(0).into_bytes() } else { step.send.clone() });
        }
        sheet.set(FAILED_DUE_TO_REGEX, 1.0);
        Err(format!("the connection ended, and no line matched {pattern:?}"))
    }
}

/// The templates with what `pattern` finds in a line; a long line on a thread.
async fn expand(
    asked: &Asked<'_>,
    pattern: &SearchRegex,
    line: Vec<u8>,
    templates: &[String],
) -> Result<Option<Vec<String>>, String> {
    let (pattern, templates) = (pattern.clone(), templates.to_vec());
    let is_short = line.len() <= PIECE_BYTES;
    let matched = move || {
        let templates: Vec<&str> = templates.iter().map(String::as_str).collect();
        pattern.expand(&String::from_utf8_lossy(&line), &templates)
    };
    match is_short {
        true => Ok(matched()),
        false => asked.within("matching a line", on_thread(&MATCHES, matched)).await,
    }
}

/// A connection that is read in lines.
struct Talk {
    stream: Box<dyn Stream>,
    /// What has come and was not asked for yet.
    buffer: Vec<u8>,
}

impl Talk {
    /// The next line without its end; the last one may have none. `None` when the connection is at its end.
    async fn read_line(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.buffer.drain(..=searched + end).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(Some(line));
            }
            searched = self.buffer.len();
            if searched >= LINE_BYTES_MAX {
                return Err(std::io::Error::other("a line is longer than 65536 bytes"));
            }
            if self.fill().await? == 0 {
                let rest = std::mem::take(&mut self.buffer);
                return Ok((!rest.is_empty()).then_some(rest));
            }
        }
    }

    async fn read_bytes(&mut self, count: usize) -> std::io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            if self.fill().await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.drain(..count).collect())
    }

    async fn fill(&mut self) -> std::io::Result<usize> {
        self.buffer.reserve(PIECE_BYTES);
        self.stream.read_buf(&mut self.buffer).await
    }

    async fn send(&mut self, text: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(&[text, b"\n"].concat()).await?;
        self.stream.flush().await
    }
}
