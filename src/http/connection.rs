//! One client's connection: the times that it may take, and what its course proves.
//!
//! [`Guarded`] wraps the socket, refuses ambiguous framing, and fails reads and writes that take too long: a head that
//! trickles in, a reader that stalls, a connection that idles. [`Course`] is what the wrapper and
//! the request handler share about where the connection stands.
//!
//! It also carries the proof that resync rests on: when a request's first byte arrives after the
//! reply before has left completely, a client that does not pipeline has read that reply.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::federation::{ConnectionFacts, ConnectionId};

use super::framing::Framing;
use super::settings::{HEAD_TIME_MAX, IDLE_TIME_MAX, REPLY_TIME_MAX, WRITE_STALL_MAX};

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No byte of the next request has come.
    Idle,
    /// A head is coming in.
    Head,
    /// A request is in work; its reply may be on its way.
    Serving,
    /// The reply is made and leaves the last buffer.
    Flushing,
}

#[derive(Debug)]
struct Inner {
    phase: Phase,
    deadline: Instant,
    requests: u64,
    /// To be set once the reply in the last buffer has left.
    taken_flag: Option<Arc<AtomicBool>>,
}

/// The shared state of one connection. Cloning shares it.
#[derive(Clone, Debug)]
pub(super) struct Course {
    id: ConnectionId,
    inner: Arc<Mutex<Inner>>,
}

impl Course {
    pub(super) fn new() -> Self {
        // Until its first request a connection has shown nothing: it gets a head's time only.
        let inner =
            Inner { phase: Phase::Idle, deadline: Instant::now() + HEAD_TIME_MAX, requests: 0, taken_flag: None };
        Self { id: ConnectionId::unused(), inner: Arc::new(Mutex::new(inner)) }
    }

    /// A whole head has come in.
    pub(super) fn begin_request(&self) -> ConnectionFacts {
        let mut inner = self.lock();
        // Without a read since the reply before, this request was sent before that reply ended.
        let follows_complete_reply = inner.requests > 0 && inner.phase == Phase::Head;
        let facts = ConnectionFacts {
            id: self.id,
            earlier_requests: inner.requests,
            follows_complete_reply,
            is_relayed: false,
        };
        inner.requests += 1;
        inner.taken_flag = None;
        inner.enter(Phase::Serving, REPLY_TIME_MAX);
        facts
    }

    /// The reply's body is dropped. `taken_flag` is set once what was taken of it has left: nothing if that is not all.
    pub(super) fn end_reply(&self, taken_flag: Option<Arc<AtomicBool>>) {
        let mut inner = self.lock();
        if inner.phase == Phase::Serving {
            inner.phase = Phase::Flushing;
            inner.taken_flag = taken_flag;
        }
    }

    fn bytes_read(&self) {
        let mut inner = self.lock();
        if inner.phase == Phase::Idle {
            inner.enter(Phase::Head, HEAD_TIME_MAX);
        }
    }

    fn flushed(&self) {
        let mut inner = self.lock();
        if inner.phase == Phase::Flushing {
            inner.enter(Phase::Idle, IDLE_TIME_MAX);
            if let Some(taken_flag) = inner.taken_flag.take() {
                taken_flag.store(true, Ordering::Release);
            }
        }
    }

    fn deadline(&self) -> Instant {
        self.lock().deadline
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of the lock panics")
    }
}

impl Inner {
    fn enter(&mut self, phase: Phase, time_max: Duration) {
        self.phase = phase;
        self.deadline = Instant::now() + time_max;
    }
}

/// A stream that gives up on slow clients.
pub(super) struct Guarded<S> {
    stream: S,
    course: Course,
    timer: Pin<Box<Sleep>>,
    write_stalls_since: Option<Instant>,
    framing: Framing,
    /// Encoded bytes that had no room yet.
    pending: Vec<u8>,
}

impl<S> Guarded<S> {
    pub(super) fn new(stream: S, course: Course) -> Self {
        let timer = Box::pin(sleep_until(course.deadline()));
        Self { stream, course, timer, write_stalls_since: None, framing: Framing::default(), pending: Vec::new() }
    }

    /// Looks at what has been read behind `before`, and encodes what has to be.
    fn take_in(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let unencoded = self.framing.inspect(&mut buffer.filled_mut()[before..]);
        if !unencoded.is_empty() {
            self.pending = percent_encoded(&buffer.filled()[before..], &unencoded);
            buffer.set_filled(before);
            self.hand_on(buffer);
        }
        self.course.bytes_read();
    }

    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) {
        let fitting = self.pending.len().min(buffer.remaining());
        buffer.put_slice(&self.pending[..fitting]);
        self.pending.drain(..fitting);
    }

    /// Fails once `deadline` has passed; wakes the task when it does.
    fn poll_deadline(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.timer.deadline() != deadline {
            self.timer.as_mut().reset(deadline);
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the client took too long"))
    }

    /// Fails once the client has taken nothing for too long, or the reply took too long in all.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let since = *self.write_stalls_since.get_or_insert_with(Instant::now);
        let deadline = self.course.deadline().min(since + WRITE_STALL_MAX);
        self.poll_deadline(deadline, cx)
    }
}

fn percent_encoded(bytes: &[u8], positions: &[usize]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(bytes.len() + 2 * positions.len());
    let mut from = 0;
    for &at in positions {
        encoded.extend_from_slice(&bytes[from..at]);
        encoded.extend_from_slice(format!("%{:02X}", bytes[at]).as_bytes());
        from = at + 1;
    }
    encoded.extend_from_slice(&bytes[from..]);
    encoded
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.pending.is_empty() {
            self.hand_on(buffer);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Ready(outcome) => {
                if buffer.filled().len() > before {
                    self.take_in(buffer, before);
                }
                Poll::Ready(outcome)
            }
            Poll::Pending if self.write_stalls_since.is_some() => Poll::Pending,
            Poll::Pending => {
                let deadline = self.course.deadline();
                self.poll_deadline(deadline, cx).map(Err)
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Ready(outcome) => {
                self.write_stalls_since = None;
                Poll::Ready(outcome)
            }
            Poll::Pending => self.poll_stalled(cx).map(Err),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write_vectored(cx, slices) {
            Poll::Ready(outcome) => {
                self.write_stalls_since = None;
                Poll::Ready(outcome)
            }
            Poll::Pending => self.poll_stalled(cx).map(Err),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(outcome) => {
                if outcome.is_ok() {
                    self.course.flushed();
                }
                Poll::Ready(outcome)
            }
            Poll::Pending => self.poll_stalled(cx).map(Err),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_shutdown(cx) {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => self.poll_stalled(cx).map(Err),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_left_after_a_heads_time() {
        let (_client, server) = duplex(64);
        let started = Instant::now();
        let mut guarded = Guarded::new(server, Course::new());
        let error = guarded.read_u8().await.expect_err("nothing comes");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed().as_secs(), HEAD_TIME_MAX.as_secs());
    }

    #[tokio::test]
    async fn quotes_in_a_target_are_encoded_whatever_fits() {
        let sent = b"GET /?q=a{b=\"c\"} HTTP/1.1\r\nx: \"\r\n\r\n";
        for room in 1..=sent.len() + 4 {
            let (mut client, server) = duplex(256);
            client.write_all(sent).await.expect("room");
            drop(client);
            let mut guarded = Guarded::new(server, Course::new());
            let mut read = Vec::new();
            let mut part = vec![0; room];
            loop {
                match guarded.read(&mut part).await.expect("open") {
                    0 => break,
                    count => read.extend_from_slice(&part[..count]),
                }
            }
            assert_eq!(String::from_utf8_lossy(&read), "GET /?q=a{b=%22c%22} HTTP/1.1\r\nx: \"\r\n\r\n", "{room}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_reader_is_left_and_progress_resets_the_time() {
        let (mut client, server) = duplex(8);
        let course = Course::new();
        course.begin_request();
        let mut guarded = Guarded::new(server, course);
        let started = Instant::now();
        let reader = tokio::spawn(async move {
            tokio::time::sleep(WRITE_STALL_MAX - Duration::from_secs(1)).await;
            let mut some = [0; 8];
            client.read_exact(&mut some).await.expect("eight bytes are there");
            client
        });
        let error = guarded.write_all(&[0; 64]).await.expect_err("the client stops reading");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let expected = WRITE_STALL_MAX + WRITE_STALL_MAX - Duration::from_secs(1);
        assert_eq!(started.elapsed().as_secs(), expected.as_secs());
        drop(reader.await);
    }

    #[tokio::test]
    async fn a_reply_is_taken_once_its_last_byte_has_left() {
        for reads_all in [true, false] {
            let (mut client, server) = duplex(8);
            let (course, taken_flag) = (Course::new(), Arc::new(AtomicBool::new(false)));
            course.begin_request();
            let mut guarded = Guarded::new(server, course.clone());
            course.end_reply(Some(Arc::clone(&taken_flag)));
            let reader = tokio::spawn(async move {
                let mut read = vec![0; if reads_all { 64 } else { 32 }];
                client.read_exact(&mut read).await.expect("so much comes");
                // Half-way, the socket is closed here.
            });
            let mut written = guarded.write_all(&[0; 64]).await;
            if written.is_ok() {
                written = guarded.flush().await;
            }
            assert_eq!(written.is_ok(), reads_all);
            assert_eq!(taken_flag.load(Ordering::Acquire), reads_all);
            reader.await.expect("the client reads");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_after_a_flushed_reply_proves_that_it_was_read() {
        let (mut client, server) = duplex(64);
        let course = Course::new();
        let mut guarded = Guarded::new(server, course.clone());
        let mut head = [0; 4];

        client.write_all(b"head").await.expect("room");
        guarded.read_exact(&mut head).await.expect("a head");
        let first = course.begin_request();
        assert_eq!((first.earlier_requests, first.follows_complete_reply), (0, false));
        guarded.write_all(b"reply").await.expect("room");
        course.end_reply(None);
        guarded.flush().await.expect("open");

        client.write_all(b"headmore").await.expect("room");
        guarded.read_exact(&mut head).await.expect("a head");
        let second = course.begin_request();
        assert_eq!((second.earlier_requests, second.follows_complete_reply), (1, true));
        assert_eq!(second.id, first.id);

        // The third head is read while the second request is in work: pipelined, no proof.
        guarded.read_exact(&mut head).await.expect("a head");
        course.end_reply(None);
        guarded.flush().await.expect("open");
        assert!(!course.begin_request().follows_complete_reply);
    }
}
