//! Where one request ends and the next begins, read so strictly that no proxy in front can see it differently.
//!
//! hyper is as lenient as RFC 9112 allows: it takes a bare line feed for a line's end, and of `Content-Length` and
//! `Transfer-Encoding` in one head the latter. A proxy that reads those differently could be made to pass on a request
//! that it never saw. The scanner looks at the bytes on their way to hyper and spoils what is ambiguous, so that hyper
//! answers 400 and closes.
//!
//! One thing hyper takes less of than Prometheus: `curl -g 'http://pi:9090/api/v1/query?query=up{job="a"}'` sends the quotes as
//! they are. Such bytes are found here, so that they can be percent-encoded in front of hyper.

/// As much of a line as matters: names and numbers are shorter.
const LINE_BYTES_MAX: usize = 64;

/// A byte that no line may hold, in a head or between chunks.
const SPOILED: u8 = 0;

/// What Go's servers, Prometheus among them, take in a request's target as it is, and hyper does not, or cuts it off there.
const UNENCODED: &[u8] = b"\"<>#";

/// Follows the bytes of a connection.
#[derive(Debug, Default)]
pub(super) struct Framing {
    state: State,
    line: Vec<u8>,
    last: u8,
    head: Head,
    is_spoiled: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// In a head, or before one.
    #[default]
    Head,
    /// So many bytes of a body are to come.
    Body(u64),
    /// A chunk's length comes.
    ChunkLength,
    /// So many bytes of a chunk are to come.
    Chunk(u64),
    /// The line's end after a chunk comes.
    ChunkEnd,
    /// What follows the last chunk, up to an empty line.
    Trailers,
}

/// What a head says about its body.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    has_request_line: bool,
    length: Option<u64>,
    is_chunked: bool,
}

/// A line that may be read in two ways.
struct Ambiguous;

impl Framing {
    /// Looks at bytes that have come in; spoils them from the first ambiguous line on. Gives where they are to be
    /// percent-encoded; mostly nowhere.
    pub(super) fn inspect(&mut self, bytes: &mut [u8]) -> Vec<usize> {
        let mut unencoded = Vec::new();
        let mut at = 0;
        while at < bytes.len() && !self.is_spoiled {
            at += match self.state {
                State::Body(rest) => self.skip(rest, bytes.len() - at, State::Body, State::Head),
                State::Chunk(rest) => self.skip(rest, bytes.len() - at, State::Chunk, State::ChunkEnd),
                _ => {
                    if UNENCODED.contains(&bytes[at]) && self.state == State::Head && !self.head.has_request_line {
                        unencoded.push(at);
                    }
                    self.take_byte(bytes[at]);
                    usize::from(!self.is_spoiled)
                }
            };
        }
        bytes[at..].fill(SPOILED);
        unencoded
    }

    fn skip(&mut self, rest: u64, available: usize, same: fn(u64) -> State, next: State) -> usize {
        let skipped = rest.min(available as u64);
        self.state = if skipped == rest { next } else { same(rest - skipped) };
        skipped as usize
    }

    fn take_byte(&mut self, byte: u8) {
        let last = std::mem::replace(&mut self.last, byte);
        if byte != b'\n' {
            if self.line.len() < LINE_BYTES_MAX {
                self.line.push(byte);
            }
            return;
        }
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        let outcome = if last == b'\r' { self.end_line(line) } else { Err(Ambiguous) };
        self.is_spoiled = outcome.is_err();
        self.last = 0;
    }

    fn end_line(&mut self, line: &[u8]) -> Result<(), Ambiguous> {
        self.state = match self.state {
            State::Head if line.is_empty() && self.head.has_request_line => self.end_head(),
            State::Head => {
                self.read_head_line(line)?;
                State::Head
            }
            State::ChunkLength => match chunk_length(line)? {
                0 => State::Trailers,
                length => State::Chunk(length),
            },
            State::ChunkEnd if line.is_empty() => State::ChunkLength,
            State::ChunkEnd => return Err(Ambiguous),
            State::Trailers if line.is_empty() => State::Head,
            other => other,
        };
        Ok(())
    }

    fn end_head(&mut self) -> State {
        match std::mem::take(&mut self.head) {
            Head { is_chunked: true, .. } => State::ChunkLength,
            Head { length: Some(length), .. } if length > 0 => State::Body(length),
            _ => State::Head,
        }
    }

    fn read_head_line(&mut self, line: &[u8]) -> Result<(), Ambiguous> {
        if !self.head.has_request_line {
            // An empty line in front of a request is allowed.
            self.head.has_request_line = !line.is_empty();
            return Ok(());
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = (&line[..colon], line.get(colon + 1..).unwrap_or_default().trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let length = digits.and_then(|digits| digits.parse().ok()).ok_or(Ambiguous)?;
            if self.head.length.replace(length).is_some() || self.head.is_chunked {
                return Err(Ambiguous);
            }
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let is_second = std::mem::replace(&mut self.head.is_chunked, true);
            if is_second || self.head.length.is_some() || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Ambiguous);
            }
        }
        Ok(())
    }
}

/// The hexadecimal number in front of a chunk; what follows a semicolon is an extension without meaning.
fn chunk_length(line: &[u8]) -> Result<u64, Ambiguous> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    text.and_then(|text| u64::from_str_radix(text, 16).ok()).ok_or(Ambiguous)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the bytes go through as they are, whole and byte by byte.
    fn passes(text: &str) -> bool {
        let mut whole = text.as_bytes().to_vec();
        Framing::default().inspect(&mut whole);
        let mut framing = Framing::default();
        let mut single = text.as_bytes().to_vec();
        single.chunks_mut(1).for_each(|byte| drop(framing.inspect(byte)));
        assert_eq!(whole, single, "{text:?}");
        whole == text.as_bytes()
    }

    #[test]
    fn ordinary_requests_pass() {
        let long = format!("GET / HTTP/1.1\r\nCookie: {}\r\n\r\n", "x".repeat(1000));
        for text in [
            "GET / HTTP/1.1\r\nHost: pi\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\na\nb\n\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n\n\n\n\r\nA;x=y\r\n0123456789\r\n0\r\nx: y\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            long.as_str(),
        ] {
            assert!(passes(text), "{text:?}");
        }
    }

    #[test]
    fn bytes_to_encode_are_those_of_targets() {
        let mut text = *b"GET /?a=\"<b>#\" HTTP/1.1\r\nA: \"\r\n\r\nPOST /\" HTTP/1.1\r\nContent-Length: 1\r\n\r\n\"GET /# HTTP/1.1";
        let found = Framing::default().inspect(&mut text);
        let shown: Vec<(usize, char)> = found.iter().map(|at| (*at, char::from(text[*at]))).collect();
        assert_eq!(shown, [(8, '"'), (9, '<'), (11, '>'), (12, '#'), (13, '"'), (39, '"'), (78, '#')]);
    }

    #[test]
    fn ambiguous_ones_are_spoiled() {
        for text in [
            "GET / HTTP/1.1\nHost: pi\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: pi\n\r\n",
            "GET / HTTP/1.1\r\nHost: pi\r\n\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\ncontent-length: 5\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\n",
        ] {
            assert!(!passes(text), "{text:?}");
        }
    }
}
