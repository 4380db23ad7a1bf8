//! A client of the system's D-Bus that calls methods and reads their answers: as much as asking systemd takes.
//!
//! Source: the D-Bus Specification 0.43, "Message Protocol" and "Authentication Protocol". Libraries for it bring an
//! event loop or code generation of their own. Blocking, with one time limit for a connection.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::model::hexadecimal;

/// What all questions of a connection together may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest body or header that is read.
const MESSAGE_BYTES_MAX: usize = 8 << 20;
/// Questions that are sent before their answers are read: together they fit into a socket's buffer.
const PIPELINE_LEN: usize = 64;

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
/// Codes of header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// A method of an object, with arguments that are texts.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    pub destination: &'a str,
    pub path: &'a str,
    pub interface: &'a str,
    pub member: &'a str,
    pub arguments: &'a [&'a str],
}

/// A connection to the bus.
pub struct Bus {
    stream: UnixStream,
    serial: u32,
    deadline: Instant,
}

/// The body of an answer, or the words of an error.
pub type Answer = Result<Vec<u8>, String>;

/// A value in an answer, of the kinds that are read here.
#[derive(Clone, Debug, PartialEq)]
pub enum Variant {
    Text(String),
    Number(u64),
}

impl Bus {
    /// Connects, says who asks, and takes part.
    pub fn connect(socket: &Path) -> Result<Self, String> {
        let told = |error: std::io::Error| error.to_string();
        let stream = UnixStream::connect(socket).map_err(told)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(told)?;
        let mut bus = Self { stream, serial: 0, deadline: Instant::now() + PATIENCE };
        let uid = rustix::process::getuid().as_raw().to_string();
        let uid = hexadecimal(uid.as_bytes());
        bus.stream.write_all(format!("\0AUTH EXTERNAL {uid}\r\n").as_bytes()).map_err(told)?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n") && answer.len() < 256 {
            let mut byte = [0];
            bus.fill(&mut byte)?;
            answer.push(byte[0]);
        }
        if !answer.starts_with(b"OK ") {
            return Err(format!("the bus refused: {}", String::from_utf8_lossy(&answer).trim()));
        }
        bus.stream.write_all(b"BEGIN\r\n").map_err(told)?;
        let of_bus = "org.freedesktop.DBus";
        let path = "/org/freedesktop/DBus";
        bus.call(&Call { destination: of_bus, path, interface: of_bus, member: "Hello", arguments: &[] })?;
        Ok(bus)
    }

    /// Calls a method and gives the body of its answer.
    pub fn call(&mut self, call: &Call<'_>) -> Result<Vec<u8>, String> {
        let serial = self.send(call)?;
        loop {
            let (replied, outcome) = self.receive()?;
            if replied == Some(serial) {
                return outcome;
            }
        }
    }

    /// Calls many methods, some at a time; the answers in the order of the calls.
    pub fn call_all(&mut self, calls: &[Call<'_>]) -> Result<Vec<Answer>, String> {
        let mut answers = Vec::with_capacity(calls.len());
        for calls in calls.chunks(PIPELINE_LEN) {
            let serials = calls.iter().map(|call| self.send(call)).collect::<Result<Vec<u32>, String>>()?;
            let mut received: Vec<Option<Answer>> = serials.iter().map(|_| None).collect();
            let mut missing = serials.len();
            while missing > 0 {
                let (replied, outcome) = self.receive()?;
                if let Some(at) = serials.iter().position(|serial| Some(*serial) == replied)
                    && received[at].is_none()
                {
                    received[at] = Some(outcome);
                    missing -= 1;
                }
            }
            answers.extend(received.into_iter().flatten());
        }
        Ok(answers)
    }

    fn send(&mut self, call: &Call<'_>) -> Result<u32, String> {
        self.serial += 1;
        let message = encode(call, self.serial);
        self.stream.write_all(&message).map_err(|error| format!("the bus does not take a call: {error}"))?;
        Ok(self.serial)
    }

    /// The next message: the serial of the call that it answers, if it answers one, and the body or the error's words.
    fn receive(&mut self) -> Result<(Option<u32>, Answer), String> {
        let mut fixed = [0; 16];
        self.fill(&mut fixed)?;
        if fixed[0] != b'l' {
            return Err("the bus speaks the other byte order".to_owned());
        }
        let number = |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]) as usize;
        let (body_len, fields_len) = (number(4), number(12));
        if body_len > MESSAGE_BYTES_MAX || fields_len > MESSAGE_BYTES_MAX {
            return Err(format!("a message of {} bytes", body_len.max(fields_len)));
        }
        let mut fields = vec![0; fields_len.next_multiple_of(8)];
        self.fill(&mut fields)?;
        let mut body = vec![0; body_len];
        self.fill(&mut body)?;
        fields.truncate(fields_len);
        let header = read_fields(&fields).ok_or("a message with a header that is not understood")?;
        let outcome = match fixed[1] {
            METHOD_RETURN => Ok(body),
            ERROR => Err(Reader::new(&body).text().unwrap_or_else(|| "an error without words".to_owned())),
            // A signal; the bus sends some to everybody.
            _ => return Ok((None, Ok(body))),
        };
        Ok((header, outcome))
    }

    fn fill(&mut self, mut bytes: &mut [u8]) -> Result<(), String> {
        let told = |error: std::io::Error| format!("the bus does not answer: {error}");
        while !bytes.is_empty() {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("the bus has not answered everything within {} s", PATIENCE.as_secs()));
            }
            self.stream.set_read_timeout(Some(left)).map_err(told)?;
            match self.stream.read(bytes) {
                Ok(0) => return Err("the bus has closed the connection".to_owned()),
                Ok(count) => bytes = &mut bytes[count..],
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(told(error)),
            }
        }
        Ok(())
    }
}

/// The serial of the call that a message answers. `None`: not understood.
fn read_fields(fields: &[u8]) -> Option<Option<u32>> {
    let mut reader = Reader::new(fields);
    let mut replied = None;
    while !reader.is_at_end() {
        reader.align(8)?;
        let code = reader.byte()?;
        if let (REPLY_SERIAL, Some(Variant::Number(serial))) = (code, reader.variant_or_skip()?) {
            replied = u32::try_from(serial).ok();
        }
    }
    Some(replied)
}

fn encode(call: &Call<'_>, serial: u32) -> Vec<u8> {
    let mut body = Vec::new();
    for argument in call.arguments {
        push_text(&mut body, argument);
    }
    let mut fields = Vec::new();
    for (code, kind, text) in [
        (PATH, b'o', call.path),
        (INTERFACE, b's', call.interface),
        (MEMBER, b's', call.member),
        (DESTINATION, b's', call.destination),
    ] {
        pad(&mut fields, 8);
        fields.extend_from_slice(&[code, 1, kind, 0]);
        push_text(&mut fields, text);
    }
    if !call.arguments.is_empty() {
        pad(&mut fields, 8);
        fields.extend_from_slice(&[SIGNATURE, 1, b'g', 0, call.arguments.len() as u8]);
        fields.extend(call.arguments.iter().map(|_| b's'));
        fields.push(0);
    }
    let mut message = vec![b'l', METHOD_CALL, 0, 1];
    for number in [body.len() as u32, serial, fields.len() as u32] {
        message.extend_from_slice(&number.to_le_bytes());
    }
    message.extend_from_slice(&fields);
    pad(&mut message, 8);
    message.extend_from_slice(&body);
    message
}

fn pad(bytes: &mut Vec<u8>, alignment: usize) {
    bytes.resize(bytes.len().next_multiple_of(alignment), 0);
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    pad(bytes, 4);
    bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
}

/// Reads values one after the other. `None` where the bytes are no such value.
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// From the beginning of a body.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Whether everything was read.
    pub fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Goes to the next multiple of `alignment`: structures begin at multiples of 8.
    pub fn align(&mut self, alignment: usize) -> Option<()> {
        self.at = self.at.next_multiple_of(alignment);
        (self.at <= self.bytes.len()).then_some(())
    }

    /// A text or an object's path.
    pub fn text(&mut self) -> Option<String> {
        let len = self.number_32()? as usize;
        let text = self.take(len.checked_add(1)?)?;
        String::from_utf8(text.get(..len)?.to_vec()).ok()
    }

    /// A 32-bit number.
    pub fn number_32(&mut self) -> Option<u32> {
        self.align(4)?;
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    /// A value that says its own kind, of the kinds that are read here.
    pub fn variant(&mut self) -> Option<Variant> {
        self.variant_or_skip()?
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    /// `Some(None)`: a signature, which only headers have.
    fn variant_or_skip(&mut self) -> Option<Option<Variant>> {
        let len = usize::from(self.byte()?);
        let signature = self.take(len + 1)?;
        Some(match signature.get(..len)? {
            b"s" | b"o" => Some(Variant::Text(self.text()?)),
            b"u" | b"b" => Some(Variant::Number(self.number_32()?.into())),
            b"t" => {
                self.align(8)?;
                Some(Variant::Number(u64::from_le_bytes(self.take(8)?.try_into().ok()?)))
            }
            b"g" => {
                let len = usize::from(self.byte()?);
                self.take(len + 1)?;
                None
            }
            _ => return None,
        })
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(taken)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Answers of a bus: by member and arguments, a body and what it holds.
    pub type Answers = BTreeMap<String, Result<Vec<u8>, &'static str>>;

    /// A body that is one variant.
    pub fn variant(value: &Variant) -> Vec<u8> {
        let mut body = Vec::new();
        match value {
            Variant::Text(text) => {
                body.extend_from_slice(&[1, b's', 0]);
                push_text(&mut body, text);
            }
            Variant::Number(number) => {
                body.extend_from_slice(&[1, b't', 0]);
                pad(&mut body, 8);
                body.extend_from_slice(&number.to_le_bytes());
            }
        }
        body
    }

    /// The body of `ListUnits`: name, load state, active state, path.
    pub fn units(units: &[[&str; 4]]) -> Vec<u8> {
        let mut body = vec![0; 4];
        pad(&mut body, 8);
        let start = body.len();
        for [name, load, active, path] in units {
            pad(&mut body, 8);
            for text in [name, "what it is", load, active, "sub", "", path] {
                push_text(&mut body, text);
            }
            pad(&mut body, 4);
            body.extend_from_slice(&0_u32.to_le_bytes());
            push_text(&mut body, "");
            push_text(&mut body, "/");
        }
        let len = (body.len() - start) as u32;
        body[..4].copy_from_slice(&len.to_le_bytes());
        body
    }

    /// Serves one connection: each call is answered by its member and arguments, after a signal that nobody asked for.
    pub fn serve(socket: &Path, answers: Answers) -> std::thread::JoinHandle<()> {
        let listener = UnixListener::bind(socket).expect("a free name");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a line");
                line.push(byte[0]);
            }
            assert!(line.starts_with(b"\0AUTH EXTERNAL "), "{line:?}");
            stream.write_all(b"OK 1234deadbeef\r\n").expect("the client reads");
            let mut begin = [0; 7];
            stream.read_exact(&mut begin).expect("BEGIN");
            let mut fixed = [0; 16];
            while stream.read_exact(&mut fixed).is_ok() {
                let number = |at: usize| u32::from_le_bytes(fixed[at..at + 4].try_into().expect("four"));
                let (body_len, serial, fields_len) = (number(4) as usize, number(8), number(12) as usize);
                let mut fields = vec![0; fields_len.next_multiple_of(8)];
                stream.read_exact(&mut fields).expect("fields");
                let mut body = vec![0; body_len];
                stream.read_exact(&mut body).expect("a body");
                let key = key(&fields[..fields_len], &body);
                let answer = answers.get(&key).unwrap_or(&Err("no such thing"));
                stream.write_all(&reply(4, 0, &[])).expect("the client reads");
                let message = match answer {
                    Ok(body) => reply(METHOD_RETURN, serial, body),
                    Err(words) => {
                        let mut body = Vec::new();
                        push_text(&mut body, words);
                        reply(ERROR, serial, &body)
                    }
                };
                stream.write_all(&message).expect("the client reads");
            }
        })
    }

    /// `PATH MEMBER ARGUMENT…`, the path without systemd's own part.
    fn key(fields: &[u8], body: &[u8]) -> String {
        let (mut path, mut member) = (String::new(), String::new());
        let mut reader = Reader::new(fields);
        while !reader.is_at_end() {
            reader.align(8).expect("fields");
            match (reader.byte().expect("a code"), reader.variant_or_skip().expect("a value")) {
                (PATH, Some(Variant::Text(text))) => path = text.rsplit('/').next().unwrap_or_default().to_owned(),
                (MEMBER, Some(Variant::Text(text))) => member = text,
                _ => {}
            }
        }
        let mut words = vec![path, member];
        let mut reader = Reader::new(body);
        while !reader.is_at_end() {
            words.push(reader.text().expect("texts"));
        }
        words.join(" ")
    }

    fn reply(kind: u8, serial: u32, body: &[u8]) -> Vec<u8> {
        let mut fields = vec![REPLY_SERIAL, 1, b'u', 0];
        fields.extend_from_slice(&serial.to_le_bytes());
        fields.extend_from_slice(&[SIGNATURE, 1, b'g', 0, 1, b'v', 0]);
        let mut message = vec![b'l', kind, 0, 1];
        for number in [body.len() as u32, 7, fields.len() as u32] {
            message.extend_from_slice(&number.to_le_bytes());
        }
        message.extend_from_slice(&fields);
        pad(&mut message, 8);
        message.extend_from_slice(body);
        message
    }

    #[test]
    fn bytes_that_are_no_values() {
        for bytes in [&b""[..], &[1, b's', 0], &[1, b's', 0, 0, 255, 255, 255, 255], &[1, b'x', 0, 0], &[255, b's']] {
            assert_eq!(Reader::new(bytes).variant(), None, "{bytes:?}");
        }
        assert_eq!(read_fields(&[5, 1, b'u', 0, 1]), None);
    }
}
