//! `prober: tcp`: a connection, and a talk line by line.
//! Source of the rules: blackbox_exporter/prober/tcp.go and query_response.go.

use bytes::BytesMut;
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
/// What a line costs beside its bytes, in bytes. Other tasks have their turn after each piece's worth.
const LINE_COST_BYTES: usize = 64;

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
        let mut talk = Talk { stream: Box::new(stream), buffer: BytesMut::new() };
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
        *talk = Talk { stream, buffer: BytesMut::new() };
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
        let templates = step.labels.iter().map(|(_, template)| template.as_str());
        let templates: Vec<&str> = std::iter::once(&*send).chain(templates).collect();
        let (mut read, mut cost) = (0, 0);
        while let Some(line) = asked.within("waiting for a line", talk.read_line()).await? {
            read += line.len() + 1;
            cost += line.len() + LINE_COST_BYTES;
            if cost >= PIECE_BYTES {
                cost = 0;
                tokio::task::yield_now().await;
            }
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
    line: BytesMut,
    templates: &[&str],
) -> Result<Option<Vec<String>>, String> {
    if line.len() <= PIECE_BYTES {
        return Ok(pattern.expand(&String::from_utf8_lossy(&line), templates));
    }
    let pattern = pattern.clone();
    let templates: Vec<String> = templates.iter().map(|template| (*template).to_owned()).collect();
    let matched = move || {
        let templates: Vec<&str> = templates.iter().map(String::as_str).collect();
        pattern.expand(&String::from_utf8_lossy(&line), &templates)
    };
    asked.within("matching a line", on_thread(&MATCHES, matched)).await
}

/// A connection that is read in lines.
struct Talk {
    stream: Box<dyn Stream>,
    /// What has come and was not asked for yet.
    buffer: BytesMut,
}

impl Talk {
    /// The next line without its end; the last one may have none. `None` when the connection is at its end.
    async fn read_line(&mut self) -> std::io::Result<Option<BytesMut>> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let mut line = self.buffer.split_to(searched + end + 1);
                line.truncate(searched + end);
                if line.ends_with(b"\r") {
                    line.truncate(line.len() - 1);
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

    async fn read_bytes(&mut self, count: usize) -> std::io::Result<BytesMut> {
        while self.buffer.len() < count {
            if self.fill().await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.split_to(count))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::client::Deadline;

    #[tokio::test]
    async fn a_flood_of_lines_leaves_others_their_turn() {
        let flood = std::io::Cursor::new(vec![b'\n'; EXPECT_BYTES_MAX + 1]);
        let step = QueryResponse { expect: SearchRegex::new("^220 ").ok(), ..QueryResponse::default() };
        let prober = TcpProber::new(&TcpProbe::default()).expect("valid");
        let asked =
            Asked { target: "", hostname: None, deadline: Deadline::after(Duration::from_secs(60)), allowed: &[] };
        let mut talk = Talk { stream: Box::new(tokio::io::join(flood, tokio::io::sink())), buffer: BytesMut::new() };
        let mut sheet = Sheet::default();
        let mut ticks = 0;
        let expecting = prober.expect(&step, &mut talk, &asked, &mut sheet);
        tokio::pin!(expecting);
        let outcome = std::future::poll_fn(|context| {
            ticks += 1;
            expecting.as_mut().poll(context)
        });
        let reason = outcome.await.expect_err("nothing matches");
        assert_eq!(reason, format!("no line matches \"^220 \" within {EXPECT_BYTES_MAX} bytes"));
        assert!(ticks > EXPECT_BYTES_MAX / 128, "{ticks} turns");
    }
}
