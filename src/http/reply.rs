//! A reply: status, headers, and a body. That is ready; or made piece by piece and compressed while the client takes it, so that
//! the text of a large result never stands in memory beside the result; or made before, compressed ([`Made`]).

use std::convert::Infallible;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::write::GzEncoder;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, Response, StatusCode};

use super::connection::Course;
use super::made::Made;

/// Roughly how much is made at a time.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;

/// Bodies below this are not worth compressing.
pub(super) const COMPRESS_FROM_BYTES: usize = 512;

/// On a page of `/federate` this level takes three quarters of the time of 6, the usual one, for 1 % fewer bytes; results of range
/// queries grow by less than 1 %.
const GZIP_LEVEL: u32 = 5;

/// A window of 128 KiB: with zstd's own choice every reply in work would hold megabytes.
const ZSTD_WINDOW_LOG: u32 = 17;
/// The fastest ordinary level.
const ZSTD_LEVEL: i32 = 1;

const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// Makes a body piece by piece.
pub(crate) trait Pieces: Send {
    /// Appends the next piece, of about [`PIECE_BYTES`], to `out`; `false` if it was the last.
    fn next(&mut self, out: &mut Vec<u8>) -> bool;
}

/// What a handler answers.
pub(super) struct Reply {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Content,
}

enum Content {
    Ready(Vec<u8>),
    Pieces(Box<dyn Pieces>),
    Made(Made),
}

impl Reply {
    /// A body of a given type.
    pub(super) fn new(status: StatusCode, content_type: &str, body: Vec<u8>) -> Self {
        Self { status, headers: Vec::new(), body: Content::Ready(body) }.with_content_type(content_type)
    }

    /// A body that is made while the client takes it.
    pub(super) fn streamed(content_type: &str, pieces: Box<dyn Pieces>) -> Self {
        Self { status: StatusCode::OK, headers: Vec::new(), body: Content::Pieces(pieces) }
            .with_content_type(content_type)
    }

    /// A body that was made before.
    pub(super) fn made(content_type: &str, body: Made) -> Self {
        Self { status: StatusCode::OK, headers: Vec::new(), body: Content::Made(body) }.with_content_type(content_type)
    }

    /// Plain text.
    pub(super) fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self::new(status, PLAIN_TEXT, text.into().into_bytes())
    }

    /// No body.
    pub(super) fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, headers: Vec::new(), body: Content::Ready(Vec::new()) }
    }

    /// Plain text that says what is wrong: no browser may take it for anything else.
    pub(super) fn problem(status: StatusCode, text: impl Into<String>) -> Self {
        Self::text(status, text).with_header(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
    }

    /// Nothing is there.
    pub(super) fn not_found() -> Self {
        Self::problem(StatusCode::NOT_FOUND, "404 page not found\n")
    }

    /// The path is right and the method is not.
    pub(super) fn method_not_allowed(allowed: &'static str) -> Self {
        Self::problem(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n")
            .with_header(ALLOW, HeaderValue::from_static(allowed))
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// The response for a client that accepts these encodings.
    pub(super) fn into_response(self, encoding: Encoding, course: Course) -> Response<ReplyBody> {
        let taken_flag = match &self.body {
            Content::Ready(_) | Content::Pieces(_) => None,
            Content::Made(body) => body.taken_flag(),
        };
        let (body, encoding) = match self.body {
            Content::Ready(bytes) if bytes.len() < COMPRESS_FROM_BYTES => (Source::Ready(bytes.into()), None),
            Content::Ready(bytes) => match compress_whole(&bytes, encoding) {
                Some(compressed) => (Source::Ready(compressed.into()), encoding.name()),
                None => (Source::Ready(bytes.into()), None),
            },
            Content::Pieces(pieces) => match Compressor::new(encoding) {
                Ok(compressor) => (Source::Pieces { pieces, compressor }, encoding.name()),
                Err(_) => (Source::Pieces { pieces, compressor: Compressor::identity() }, None),
            },
            // It was made for the same client.
            Content::Made(body) => {
                let encoding = body.encoding().name();
                (Source::Made(body), encoding)
            }
        };
        let mut response = Response::new(ReplyBody { source: body, taken_flag, course });
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
        if let Some(name) = encoding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
        }
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        response
    }

    fn with_content_type(self, content_type: &str) -> Self {
        let value = HeaderValue::from_str(content_type).expect("content types are ASCII text of our own");
        self.with_header(CONTENT_TYPE, value)
    }
}

/// The encodings that outpost speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As it is.
    Identity,
    /// gzip
    Gzip,
    /// zstd
    Zstd,
}

impl Encoding {
    /// What the client wants most of what it accepts; of equals, zstd.
    pub(super) fn negotiate(headers: &HeaderMap) -> Self {
        let mut best = (0.0, Self::Identity);
        for value in headers.get_all(ACCEPT_ENCODING) {
            for offer in value.to_str().unwrap_or("").split(',') {
                let (name, quality) = parse_offer(offer);
                let encoding = match name {
                    "zstd" => Self::Zstd,
                    "gzip" => Self::Gzip,
                    _ => continue,
                };
                if quality > best.0 || (quality == best.0 && quality > 0.0 && encoding == Self::Zstd) {
                    best = (quality, encoding);
                }
            }
        }
        best.1
    }

    fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }
}

/// Name and `q` of one element of `Accept-Encoding`.
fn parse_offer(offer: &str) -> (&str, f64) {
    let mut parts = offer.split(';').map(str::trim);
    let name = parts.next().unwrap_or("");
    let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |text| text.parse().ok());
    (name, quality.filter(|quality: &f64| (0.0..=1.0).contains(quality)).unwrap_or(0.0))
}

/// The body on its way to the client.
pub(super) struct ReplyBody {
    source: Source,
    taken_flag: Option<Arc<AtomicBool>>,
    course: Course,
}

enum Source {
    Ready(Bytes),
    Pieces { pieces: Box<dyn Pieces>, compressor: Compressor },
    Made(Made),
    Ended,
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match std::mem::replace(&mut self.source, Source::Ended) {
            Source::Ready(bytes) => bytes,
            Source::Pieces { pieces, compressor } => {
                let (bytes, rest) = next_frame(pieces, compressor);
                self.source = rest;
                bytes
            }
            Source::Made(mut body) => {
                let bytes = body.next();
                if !bytes.is_empty() && body.remaining() != Some(0) {
                    self.source = Source::Made(body);
                }
                bytes
            }
            Source::Ended => Bytes::new(),
        };
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Ready(bytes) => bytes.is_empty(),
            Source::Pieces { .. } => false,
            Source::Made(body) => body.remaining() == Some(0),
            Source::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Ready(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Pieces { .. } => SizeHint::default(),
            Source::Made(body) => {
                body.remaining().map_or_else(SizeHint::default, |bytes| SizeHint::with_exact(bytes as u64))
            }
            Source::Ended => SizeHint::with_exact(0),
        }
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        let is_whole = self.is_end_stream();
        self.course.end_reply(self.taken_flag.take().filter(|_| is_whole));
    }
}

/// The next frame with something in it, and what remains. A compressor may swallow several pieces.
fn next_frame(mut pieces: Box<dyn Pieces>, mut compressor: Compressor) -> (Bytes, Source) {
    let mut piece = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 8);
    loop {
        piece.clear();
        let more = pieces.next(&mut piece);
        let written = compressor.write(&piece);
        if !more || written.is_err() {
            return (compressor.finish().unwrap_or_default().into(), Source::Ended);
        }
        let bytes = compressor.take();
        if !bytes.is_empty() {
            return (bytes.into(), Source::Pieces { pieces, compressor });
        }
    }
}

/// Compresses into a buffer that is taken away piece by piece. Writing into memory cannot fail, but
/// the encoders' interfaces allow for it.
pub(super) enum Compressor {
    Identity(Vec<u8>),
    Gzip(Box<GzEncoder<Vec<u8>>>),
    Zstd(Box<zstd::Encoder<'static, Vec<u8>>>),
}

impl Compressor {
    pub(super) fn new(encoding: Encoding) -> io::Result<Self> {
        Ok(match encoding {
            Encoding::Identity => Self::identity(),
            Encoding::Gzip => Self::Gzip(Box::new(GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL)))),
            Encoding::Zstd => {
                let mut encoder = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.window_log(ZSTD_WINDOW_LOG)?;
                Self::Zstd(Box::new(encoder))
            }
        })
    }

    fn identity() -> Self {
        Self::Identity(Vec::new())
    }

    pub(super) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Self::Identity(out) => out.write_all(piece),
            Self::Gzip(encoder) => encoder.write_all(piece),
            Self::Zstd(encoder) => encoder.write_all(piece),
        }
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Self::Identity(out) => out,
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        })
    }

    /// How much there is to be taken.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Identity(out) => out.len(),
            Self::Gzip(encoder) => encoder.get_ref().len(),
            Self::Zstd(encoder) => encoder.get_ref().len(),
        }
    }

    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Identity(out) => Ok(out),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

/// `None` where nothing is to be compressed, or the encoder could not be made.
fn compress_whole(bytes: &[u8], encoding: Encoding) -> Option<Vec<u8>> {
    if encoding == Encoding::Identity {
        return None;
    }
    let mut compressor = Compressor::new(encoding).ok()?;
    compressor.write(bytes).ok()?;
    compressor.finish().ok()
}

#[cfg(test)]
mod tests {
    use super::super::connection::Guarded;
    use super::super::made::{Room, UNPACKER_BYTES, Unmade};
    use super::*;
    use http_body_util::BodyExt;
    use std::io::Read;
    use std::sync::atomic::Ordering;
    use tokio::io::AsyncWriteExt;

    struct Counting(u32);

    impl Pieces for Counting {
        fn next(&mut self, out: &mut Vec<u8>) -> bool {
            out.extend_from_slice(format!("piece {} {}\n", self.0, "x".repeat(1000)).as_bytes());
            self.0 -= 1;
            self.0 > 0
        }
    }

    fn decoded(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match encoding {
            Encoding::Identity => out.extend_from_slice(bytes),
            Encoding::Gzip => drop(flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).expect("gzip")),
            Encoding::Zstd => out = zstd::decode_all(bytes).expect("zstd"),
        }
        out
    }

    fn made(pieces: u32, encoding: Encoding, room: &Room) -> Made {
        Made::of(&mut Counting(pieces), encoding, room, || Ok::<_, ()>(())).expect("there is room")
    }

    #[tokio::test]
    async fn a_reply_is_taken_when_all_of_it_was_flushed() {
        // Nothing, a little as it is, two frames and more that are unpacked on the way.
        for (pieces, frames, is_whole) in
            [(1, 0, false), (1, 1, true), (100, 0, false), (100, 1, false), (100, 9, true)]
        {
            let (taken_flag, course) = (Arc::new(AtomicBool::new(false)), Course::new());
            course.begin_request();
            let body = made(pieces, Encoding::Identity, &Room::new()).telling(Arc::clone(&taken_flag));
            let reply = Reply::made(PLAIN_TEXT, body);
            let mut body = reply.into_response(Encoding::Identity, course.clone()).into_body();
            for _ in 0..frames {
                let Some(frame) = body.frame().await else { break };
                frame.expect("infallible");
            }
            drop(body);
            assert!(!taken_flag.load(Ordering::Acquire), "nothing has left");
            let (_client, server) = tokio::io::duplex(8);
            Guarded::new(server, course).flush().await.expect("nothing is in its way");
            assert_eq!(taken_flag.load(Ordering::Acquire), is_whole, "{frames} of {pieces}");
        }
    }

    #[tokio::test]
    async fn pieces_arrive_whole_in_every_encoding() {
        let mut expected = Vec::new();
        let mut pieces = Counting(300);
        while pieces.next(&mut expected) {}
        let streamed = |_| Reply::streamed(PLAIN_TEXT, Box::new(Counting(300)));
        let made = |encoding| Reply::made(PLAIN_TEXT, made(300, encoding, &Room::new()));
        for (encoding, is_made) in [Encoding::Identity, Encoding::Gzip, Encoding::Zstd]
            .into_iter()
            .flat_map(|encoding| [(encoding, false), (encoding, true)])
        {
            let reply = if is_made { made(encoding) } else { streamed(encoding) };
            let response = reply.into_response(encoding, Course::new());
            let name = response.headers().get(CONTENT_ENCODING).map(|value| value.to_str().expect("ASCII").to_owned());
            assert_eq!(name.as_deref(), encoding.name());
            let bytes = response.into_body().collect().await.expect("infallible").to_bytes();
            assert!(decoded(encoding, &bytes) == expected, "{encoding:?} {is_made}");
        }
    }

    #[tokio::test]
    async fn what_waits_for_readers_is_bounded_and_small() {
        let bytes = made(100, Encoding::Gzip, &Room::new()).remaining().expect("it is packed");
        assert!(bytes < 2_000, "{bytes}");
        let room = Room::of(3 * (bytes.next_multiple_of(1024) + UNPACKER_BYTES));
        // Each is a hundred times as long as what it holds.
        let mut held: Vec<Made> = (0..3).map(|_| made(100, Encoding::Identity, &room)).collect();
        let none = Made::of(&mut Counting(100), Encoding::Gzip, &room, || Ok::<_, ()>(()));
        assert!(matches!(none, Err(Unmade::NoRoom)));
        let left = Reply::made(PLAIN_TEXT, held.remove(0)).into_response(Encoding::Identity, Course::new());
        assert!(left.into_body().collect().await.expect("infallible").to_bytes().len() > 100_000);
        drop(made(100, Encoding::Gzip, &room));
        let given_up = Made::of(&mut Counting(100), Encoding::Gzip, &room, || Err("late"));
        assert!(matches!(given_up, Err(Unmade::GivenUp("late"))));
    }

    /// What no encoder makes smaller.
    struct Noise(u64);

    impl Pieces for Noise {
        fn next(&mut self, out: &mut Vec<u8>) -> bool {
            for _ in 0..PIECE_BYTES / 8 {
                self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                out.extend_from_slice(&(self.0 ^ (self.0 >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
            }
            true
        }
    }

    #[test]
    fn making_ends_where_the_room_ends() {
        let room = Room::of(1 << 20);
        for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Zstd] {
            // Else it would never end.
            let make = || Made::of(&mut Noise(1), encoding, &room, || Ok::<_, ()>(()));
            assert!(matches!(make(), Err(Unmade::TooLarge)), "{encoding:?}");
            let others = room.take(800 << 10).expect("all is given back");
            assert!(matches!(make(), Err(Unmade::NoRoom)), "{encoding:?}");
            drop(others);
        }
        drop(room.take(1 << 20).expect("all is given back"));
    }

    #[tokio::test]
    async fn small_bodies_stay_as_they_are() {
        let response = Reply::text(StatusCode::OK, "ok").into_response(Encoding::Gzip, Course::new());
        assert!(!response.headers().contains_key(CONTENT_ENCODING));
        assert_eq!(response.body().size_hint().exact(), Some(2));
        let big = Reply::text(StatusCode::OK, "ok".repeat(1000)).into_response(Encoding::Gzip, Course::new());
        let bytes = big.into_body().collect().await.expect("infallible").to_bytes();
        assert_eq!(decoded(Encoding::Gzip, &bytes), "ok".repeat(1000).as_bytes());
    }

    #[test]
    fn encodings_are_negotiated() {
        for (accept, expected) in [
            ("", Encoding::Identity),
            ("gzip", Encoding::Gzip),
            ("gzip, deflate, br", Encoding::Gzip),
            ("gzip, zstd", Encoding::Zstd),
            ("zstd;q=0.5, gzip;q=0.9", Encoding::Gzip),
            ("gzip;q=0", Encoding::Identity),
            ("gzip;q=nonsense", Encoding::Identity),
            ("br", Encoding::Identity),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accept));
            assert_eq!(Encoding::negotiate(&headers), expected, "{accept}");
        }
    }
}
