//! Many GETs at a time to a server behind a Unix socket, on the caller's thread.
//!
//! All are sent before the first answer is read, and answers are read in the order of the requests, those that take long
//! last: what a server that takes its time says gathers in the sockets meanwhile and wakes nobody, as each answer to
//! [`super::Client`] would. That is HTTP/1.1 as an engine of containers speaks it.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use tokio::time::Instant;

use super::pool::IDLE_MAX;
use super::request::USER_AGENT;

/// How often one that waits looks whether it still should.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The head of an answer, its sizes of chunks and what follows the last one may have so many bytes each.
const LINES_BYTES_MAX: usize = 16 * 1024;
/// An answer with more of them is left out.
const HEADERS_MAX: usize = 64;
const BUFFER_BYTES: usize = 8 * 1024;

/// Sends GETs, and keeps their connections for the next ones.
#[derive(Debug)]
pub struct SocketGets {
    socket: PathBuf,
    at_once_max: usize,
    /// Each with the time of its last use.
    idle: Mutex<Vec<(Instant, UnixStream)>>,
}

/// Until when answers are waited for: the time, or that nobody holds what they are for any more.
#[derive(Clone, Debug)]
pub struct Patience {
    /// When it ends.
    pub at: Instant,
    /// Whose end ends it too.
    pub asker: Weak<()>,
}

impl Patience {
    fn check(&self) -> io::Result<()> {
        if Instant::now() >= self.at || self.asker.strong_count() == 0 {
            return Err(ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

/// A request whose answer is to be read.
struct Sent {
    index: usize,
    stream: UnixStream,
    /// The server may have closed it before the request came: that is no answer.
    is_used: bool,
}

impl SocketGets {
    /// Sends nothing yet. `at_once_max` bounds the connections, idle ones too.
    pub fn new(socket: PathBuf, at_once_max: usize) -> Self {
        Self { socket, at_once_max, idle: Mutex::default() }
    }

    /// Asks for paths as they go on the wire, and gives `take` the place of each in `paths` and its body, of at most `limit`
    /// bytes. What fails, or has another status than 200, is left out.
    pub fn get_all(&self, paths: &[String], limit: usize, patience: &Patience, take: &mut dyn FnMut(usize, &[u8])) {
        // One that takes long holds up no other: it is looked at again behind all that wait.
        let (mut waiting, mut late) = (VecDeque::new(), VecDeque::new());
        let mut body = Vec::new();
        let mut next = 0..paths.len();
        loop {
            while waiting.len() + late.len() < self.at_once_max
                && let Some(index) = next.next()
            {
                waiting.extend(self.send(index, &paths[index], patience));
            }
            let Some(sent) = waiting.pop_front().or_else(|| late.pop_front()) else { return };
            let index = sent.index;
            match read(&sent.stream, limit, patience, &mut body) {
                Ok((status, is_kept)) => {
                    if is_kept {
                        self.keep(sent.stream);
                    }
                    if status == 200 {
                        take(index, &body);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => late.push_back(sent),
                Err(error) if sent.is_used && is_closed(&error) && body.is_empty() => {
                    waiting.extend(self.send_anew(index, &paths[index], patience).ok());
                }
                Err(_) => {}
            }
        }
    }

    /// On an idle connection, if there is one that the server has not closed.
    fn send(&self, index: usize, path: &str, patience: &Patience) -> Option<Sent> {
        while let Some((since, mut stream)) = self.lock().pop() {
            if since.elapsed() < IDLE_MAX && write_request(&mut stream, path).is_ok() {
                return Some(Sent { index, stream, is_used: true });
            }
        }
        self.send_anew(index, path, patience).ok()
    }

    fn send_anew(&self, index: usize, path: &str, patience: &Patience) -> io::Result<Sent> {
        patience.check()?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // A server whose queue is full lets wait.
        set_socket_timeout(&socket, Timeout::Send, Some(LOOK_INTERVAL))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(LOOK_INTERVAL))?;
        connect(&socket, &SocketAddrUnix::new(&self.socket)?)?;
        let mut stream = UnixStream::from(socket);
        write_request(&mut stream, path)?;
        Ok(Sent { index, stream, is_used: false })
    }

    fn keep(&self, stream: UnixStream) {
        let mut idle = self.lock();
        if idle.len() < self.at_once_max {
            idle.push((Instant::now(), stream));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Instant, UnixStream)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

fn write_request(stream: &mut UnixStream, path: &str) -> io::Result<()> {
    if path.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err(ErrorKind::InvalidInput.into());
    }
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {USER_AGENT}\r\n\r\n").as_bytes())
}

/// The status, and whether the connection serves again. Fails with `WouldBlock` when nothing has come for a while.
fn read(stream: &UnixStream, limit: usize, patience: &Patience, body: &mut Vec<u8>) -> io::Result<(u16, bool)> {
    body.clear();
    let patient = Patient { stream, patience, has_begun: false };
    read_answer(&mut BufReader::with_capacity(BUFFER_BYTES, patient), limit, body)
}

/// Reads until patience ends.
struct Patient<'a> {
    stream: &'a UnixStream,
    patience: &'a Patience,
    has_begun: bool,
}

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.patience.check()?;
            match self.stream.read(buffer) {
                Err(error) if self.has_begun && error.kind() == ErrorKind::WouldBlock => {}
                read => {
                    self.has_begun = true;
                    return read;
                }
            }
        }
    }
}

fn read_answer(reader: &mut BufReader<impl Read>, limit: usize, body: &mut Vec<u8>) -> io::Result<(u16, bool)> {
    let Head { status, mut is_kept, extent } = read_head(reader)?;
    match extent {
        Extent::Chunks => {
            while let size @ 1.. = read_chunk_size(reader)? {
                read_exactly(reader, size, limit, body)?;
                if !read_line(&mut reader.by_ref().take(LINES_BYTES_MAX as u64))?.is_empty() {
                    return Err(malformed());
                }
            }
            let mut trailers = reader.by_ref().take(LINES_BYTES_MAX as u64);
            while !read_line(&mut trailers)?.is_empty() {}
        }
        Extent::Bytes(count) => read_exactly(reader, count, limit, body)?,
        Extent::ToTheEnd => {
            is_kept = false;
            reader.by_ref().take(limit as u64 + 1).read_to_end(body)?;
        }
    }
    if body.len() > limit {
        return Err(malformed());
    }
    Ok((status, is_kept && reader.buffer().is_empty()))
}

struct Head {
    status: u16,
    /// Unless the body ends with the connection.
    is_kept: bool,
    extent: Extent,
}

/// What ends a body.
enum Extent {
    Bytes(u64),
    Chunks,
    ToTheEnd,
}

fn read_head(reader: &mut BufReader<impl Read>) -> io::Result<Head> {
    let mut bytes = Vec::new();
    while bytes.len() < LINES_BYTES_MAX {
        let arrived = reader.fill_buf()?;
        let (before, count) = (bytes.len(), arrived.len());
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(arrived);
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(&bytes).map_err(|_| malformed())? {
            httparse::Status::Partial => reader.consume(count),
            httparse::Status::Complete(len) => {
                reader.consume(len - before);
                return head_of(&response);
            }
        }
    }
    Err(malformed())
}

fn head_of(response: &httparse::Response) -> io::Result<Head> {
    // A relay before the engine may speak the older version, whose connections end.
    let mut is_kept = response.version == Some(1);
    let mut extent = Extent::ToTheEnd;
    for httparse::Header { name, value } in &*response.headers {
        let value = str::from_utf8(value).unwrap_or_default().trim();
        match name.to_ascii_lowercase().as_str() {
            "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => extent = Extent::Chunks,
            "transfer-encoding" => return Err(malformed()),
            "content-length" if !matches!(extent, Extent::Chunks) => {
                extent = Extent::Bytes(value.parse().map_err(|_| malformed())?);
            }
            "connection" => is_kept &= !value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    Ok(Head { status: response.code.ok_or_else(malformed)?, is_kept, extent })
}

fn malformed() -> io::Error {
    ErrorKind::InvalidData.into()
}

fn read_chunk_size(reader: &mut BufReader<impl Read>) -> io::Result<u64> {
    let mut line = Vec::new();
    reader.by_ref().take(LINES_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
    match httparse::parse_chunk_size(&line) {
        Ok(httparse::Status::Complete((_, size))) => Ok(size),
        _ => Err(malformed()),
    }
}

fn read_exactly(reader: &mut BufReader<impl Read>, count: u64, limit: usize, body: &mut Vec<u8>) -> io::Result<()> {
    if count > limit.saturating_sub(body.len()) as u64 {
        return Err(malformed());
    }
    match reader.by_ref().take(count).read_to_end(body)? as u64 == count {
        true => Ok(()),
        false => Err(ErrorKind::UnexpectedEof.into()),
    }
}

/// A line without its end.
fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(text) => Ok(text.to_owned()),
        None if line.ends_with('\n') => Err(malformed()),
        None => Err(ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Shutdown;
    use std::os::unix::net::UnixListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const LIMIT: usize = 1000;
    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

    /// A server whose connections each serve so many requests, in a folder that lasts as long as it is held, and how many
    /// connections it had.
    fn server(
        requests_max: usize,
        answer: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> (tempfile::TempDir, PathBuf, Arc<AtomicUsize>) {
        let folder = tempfile::TempDir::new().expect("a folder");
        let socket = folder.path().join("s");
        let listener = UnixListener::bind(&socket).expect("free");
        let count = Arc::new(AtomicUsize::new(0));
        let (connections, answer) = (Arc::clone(&count), Arc::new(answer));
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                connections.fetch_add(1, Ordering::SeqCst);
                let answer = Arc::clone(&answer);
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().expect("a copy"));
                    for _ in 0..requests_max {
                        let mut head = String::new();
                        while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|len| len > 0) {}
                        let Some(path) = head.split(' ').nth(1) else { break };
                        let _ = stream.write_all(answer(path).as_bytes());
                    }
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        (folder, socket, count)
    }

    fn patience(asker: &Arc<()>, after: Duration) -> Patience {
        Patience { at: Instant::now() + after, asker: Arc::downgrade(asker) }
    }

    fn get_all(gets: &SocketGets, paths: &[String]) -> Vec<Option<String>> {
        let asker = Arc::new(());
        let mut answers = vec![None; paths.len()];
        gets.get_all(paths, LIMIT, &patience(&asker, Duration::from_secs(10)), &mut |index, body| {
            assert!(answers[index].replace(String::from_utf8_lossy(body).into_owned()).is_none(), "given twice");
        });
        answers
    }

    fn paths(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("/{number}")).collect()
    }

    /// Ten requests, four at a time, twice: the connections that this takes.
    #[test]
    fn connections_are_used_again_and_bounded() {
        // Of two requests each, those that are idle at the end may have served one.
        for (requests_max, expected) in [(100, 4..=4), (1, 20..=20), (2, 10..=12)] {
            let (_folder, socket, connections) =
                server(requests_max, |path| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len()));
            let gets = SocketGets::new(socket, 4);
            for _ in 0..2 {
                let answers: Vec<String> = get_all(&gets, &paths(10)).into_iter().flatten().collect();
                assert_eq!(answers, paths(10), "{requests_max} requests a connection");
            }
            let count = connections.load(Ordering::SeqCst);
            assert!(expected.contains(&count), "{requests_max} requests a connection: {count}");
            assert!(gets.lock().len() <= 4);
        }
    }

    /// What the server sends, what it means, and whether the connection serves again.
    #[test]
    fn answers() {
        let chunked = |chunks: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        let long = "x".repeat(LIMIT);
        for (answer, expected, is_kept) in [
            (OK.to_owned(), Some("ok"), true),
            ("HTTP/1.1 200 OK\r\nX: y\r\ncontent-length:0\r\n\r\n".to_owned(), Some(""), true),
            (format!("HTTP/1.1 200 OK\r\nContent-Length: {LIMIT}\r\n\r\n{long}"), Some(long.as_str()), true),
            (format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{long}x", LIMIT + 1), None, false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n".to_owned(), None, false),
            ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok".to_owned(), Some("ok"), false),
            // Nobody has asked for more.
            (format!("{OK}more"), Some("ok"), false),
            ("HTTP/1.1 200 OK\r\n\r\nto the end".to_owned(), Some("to the end"), false),
            (format!("HTTP/1.1 200 OK\r\n\r\n{long}x"), None, false),
            (chunked("2\r\nok\r\n0\r\n\r\n"), Some("ok"), true),
            (chunked("1;a=b\r\no\r\n1\r\nk\r\n0\r\nTrailer: x\r\n\r\n"), Some("ok"), true),
            (chunked(&format!("1\r\no\r\n3e8\r\n{long}\r\n0\r\n\r\n")), None, false),
            (chunked("ffffffffffffffff\r\nok\r\n0\r\n\r\n"), None, false),
            (chunked("3\r\nok\r\n0\r\n\r\n"), None, false),
            (chunked("two\r\nok\r\n0\r\n\r\n"), None, false),
            (chunked("2\r\nok\r\n"), None, false),
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno".to_owned(), None, true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok".to_owned(), None, false),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n".to_owned(), None, false),
            (format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(20_000)), None, false),
            ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n".to_owned(), None, false),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok".to_owned(), Some("ok"), false),
            ("HTTP/1.0 200 OK\r\n\r\nto the end".to_owned(), Some("to the end"), false),
            ("HTTP/2 200 OK\r\n\r\n".to_owned(), None, false),
            ("SSH-2.0-OpenSSH\r\n\r\n".to_owned(), None, false),
            (String::new(), None, false),
        ] {
            let sent = answer.clone();
            let (_folder, socket, _) = server(1, move |_| sent.clone());
            let gets = SocketGets::new(socket, 4);
            let shown: String = answer.chars().take(80).collect();
            assert_eq!(get_all(&gets, &paths(1)), [expected.map(str::to_owned)], "{shown:?}");
            assert_eq!(gets.lock().len(), usize::from(is_kept), "{shown:?}");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_left_out() {
        let (_folder, socket, connections) = server(100, |_| OK.to_owned());
        let gets = SocketGets::new(socket, 4);
        let paths = ["/a b", "/\r\nX: y", "/ü", "/fine"].map(str::to_owned);
        assert_eq!(get_all(&gets, &paths), [None, None, None, Some("ok".to_owned())]);
        assert_eq!(get_all(&SocketGets::new("/nonexistent/s".into(), 4), &paths), [const { None }; 4]);
        let long = format!("/{}", "long/".repeat(100));
        assert_eq!(get_all(&SocketGets::new(long.into(), 4), &paths), [const { None }; 4]);
        assert!(connections.load(Ordering::SeqCst) <= 4);
    }

    /// Two that are not answered cost themselves alone.
    #[test]
    fn the_others_do_not_wait_for_one() {
        let (_folder, socket, _) = server(100, |path| match path {
            "/1" | "/3" => {
                std::thread::sleep(Duration::from_secs(60));
                String::new()
            }
            _ => OK.to_owned(),
        });
        let gets = SocketGets::new(socket, 4);
        let asker = Arc::new(());
        let mut answered = Vec::new();
        gets.get_all(&paths(20), LIMIT, &patience(&asker, Duration::from_secs(5)), &mut |index, _| {
            answered.push(index)
        });
        answered.sort_unstable();
        assert_eq!(answered, (0..20).filter(|index| ![1, 3].contains(index)).collect::<Vec<_>>());
    }

    /// A server that answers nothing, to one whose time ends and to one who has gone.
    #[test]
    fn nobody_waits_for_ever() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let socket = folder.path().join("s");
        let _listener = UnixListener::bind(&socket).expect("free");
        let gets = SocketGets::new(socket, 4);
        let nothing = &mut |_: usize, _: &[u8]| panic!("no answer was sent");
        let asker = Arc::new(());
        gets.get_all(&paths(10), LIMIT, &patience(&asker, Duration::from_millis(100)), nothing);
        let gone = patience(&Arc::new(()), Duration::from_secs(3600));
        gets.get_all(&paths(10), LIMIT, &gone, nothing);
    }
}
