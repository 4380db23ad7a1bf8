//! A response's body: decompressed while it arrives, never longer than its reader allows, never later than the
//! request's deadline.

use bytes::{Buf, Bytes};
use flate2::{Decompress, FlushDecompress, Status};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use libdeflater::Decompressor;

use super::error::http_reason;
use super::pool::Lease;
use super::{ClientError, Deadline};

/// How much is decompressed before other tasks get their turn.
const TURN_BYTES: usize = 1 << 20;
/// A compressed body up to this size is decompressed at once: by libdeflate, which takes half of zlib-rs's time for it.
const GATHERED_BYTES: usize = 64 << 10;
/// The output buffer grows by at least and at most this much at a time.
const GROWTH_BYTES: std::ops::RangeInclusive<usize> = 32 * 1024..=1024 * 1024;
const GZIP_WINDOW_BITS: u8 = 15;
/// A member of deflate without a name, a comment or the like; time and system follow.
const PLAIN_HEADER: [u8; 4] = [0x1f, 0x8b, 8, 0];
const HEADER_LEN: usize = 10;
/// Sum and length behind a member's content.
const TRAILER_LEN: usize = 8;
const CORRUPT: ClientError = ClientError::Decompress("it is not valid gzip");
const TRUNCATED: ClientError = ClientError::Decompress("it ends before the end of its gzip stream");

/// The rest of a response.
pub struct Body {
    incoming: Incoming,
    /// What has arrived and is not in anybody's buffer yet.
    pending: Bytes,
    is_over: bool,
    gzip: Option<Inflater>,
    deadline: Deadline,
    /// The connection; kept for the next request once the body has been read to its end.
    lease: Option<Lease>,
}

impl Body {
    pub(super) fn new(incoming: Incoming, gzip: Option<Inflater>, deadline: Deadline, lease: Lease) -> Self {
        Self { incoming, pending: Bytes::new(), is_over: false, gzip, deadline, lease: Some(lease) }
    }

    /// Appends the whole body to `output`, of which it may take `limit` bytes at most.
    pub(super) async fn read_into(&mut self, output: &mut Vec<u8>, limit: usize) -> Result<(), ClientError> {
        let exact = self.incoming.size_hint().exact().filter(|_| self.gzip.is_none());
        let announced = exact.map_or(0, |len| usize::try_from(len).unwrap_or(usize::MAX));
        if announced > limit || !self.read_until(output, limit).await? {
            return Err(ClientError::BodyTooLarge { limit });
        }
        Ok(())
    }

    /// Appends to `output` until the body ends (`true`) or more than `count` bytes were added (`false`).
    pub(super) async fn read_until(&mut self, output: &mut Vec<u8>, count: usize) -> Result<bool, ClientError> {
        let end = output.len() + count;
        if self.gzip.as_ref().is_some_and(|inflater| !inflater.started && !inflater.is_raw) {
            self.gather().await?;
            if self.is_over && inflate_whole(&self.pending, output, count.min(TURN_BYTES)) {
                (self.pending, self.gzip) = (Bytes::new(), None);
            }
        }
        loop {
            while self.pending.has_remaining() {
                let turn_end = output.len() + TURN_BYTES;
                match &mut self.gzip {
                    Some(inflater) => inflater.inflate(&mut self.pending, output, end, turn_end)?,
                    None => append_plain(&mut self.pending, output, end),
                }
                if output.len() > end {
                    return Ok(false);
                }
                if output.len() >= turn_end {
                    tokio::task::yield_now().await;
                }
            }
            match self.next_chunk().await? {
                Some(chunk) => self.pending = chunk,
                None => break,
            }
        }
        if self.gzip.as_ref().is_some_and(|inflater| !inflater.is_whole()) {
            return Err(TRUNCATED);
        }
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
        Ok(true)
    }

    /// Waits for the whole body, or as much of it as is decompressed at once.
    async fn gather(&mut self) -> Result<(), ClientError> {
        let mut gathered = Vec::new();
        while self.pending.len().max(gathered.len()) < GATHERED_BYTES
            && let Some(chunk) = self.next_chunk().await?
        {
            if self.pending.is_empty() {
                self.pending = chunk;
                continue;
            }
            if gathered.is_empty() {
                gathered.extend_from_slice(&self.pending);
            }
            gathered.extend_from_slice(&chunk);
        }
        if !gathered.is_empty() {
            self.pending = gathered.into();
        }
        Ok(())
    }

    async fn next_chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        const STEP: &str = "reading the body";
        if self.is_over {
            return Ok(None);
        }
        let incoming = &mut self.incoming;
        let next = async {
            loop {
                let Some(frame) = incoming.frame().await else { return Ok(None) };
                let frame = frame.map_err(|error| ClientError::Http { step: STEP, reason: http_reason(&error) })?;
                // Trailers say nothing that is needed here.
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        };
        let chunk = self.deadline.within(STEP, next).await?;
        self.is_over = chunk.is_none();
        Ok(chunk)
    }
}

/// Appends what a whole gzip stream of one member holds, if that is no more than `count` bytes and all is right with it.
/// What is not taken here is for [`Inflater`], which also says what is wrong.
fn inflate_whole(bytes: &[u8], output: &mut Vec<u8>, count: usize) -> bool {
    let Some((rest, trailer)) = bytes.split_last_chunk::<TRAILER_LEN>() else { return false };
    let [.., a, b, c, d] = *trailer;
    let len = u32::from_le_bytes([a, b, c, d]) as usize;
    let has_more_members = || memchr::memmem::find(&rest[HEADER_LEN..], &PLAIN_HEADER[..3]).is_some();
    if !rest.starts_with(&PLAIN_HEADER) || rest.len() <= HEADER_LEN || len > count || has_more_members() {
        return false;
    }
    let start = output.len();
    output.reserve_exact(len);
    output.resize(start + len, 0);
    let is_whole = Decompressor::new().gzip_decompress(bytes, &mut output[start..]) == Ok(len);
    if !is_whole {
        output.truncate(start);
    }
    is_whole
}

fn append_plain(pending: &mut Bytes, output: &mut Vec<u8>, end: usize) {
    // One byte over the end is enough to know.
    let room = (end + 1).saturating_sub(output.len()).min(pending.len());
    make_room(output, room);
    output.extend_from_slice(&pending[..room]);
    pending.advance(room);
}

/// Grows in steps: doubling would waste up to half of a large page.
fn make_room(output: &mut Vec<u8>, wanted: usize) {
    if output.capacity() - output.len() < wanted {
        let step = (output.len() / 4).clamp(*GROWTH_BYTES.start(), *GROWTH_BYTES.end());
        output.reserve_exact(step.max(wanted));
    }
}

/// Undoes gzip, member by member, or deflate.
///
/// A member with the plain header that servers write is summed here: the sum that zlib-rs makes as it goes is not
/// inlined into vector code, and took a quarter of the decompression.
pub(super) struct Inflater {
    /// Of the present member; made with its first byte.
    stream: Option<Decompress>,
    /// There are no members.
    is_raw: bool,
    /// The sum of the present member, unless the stream itself does that.
    sum: Option<crc32fast::Hasher>,
    len: u32,
    /// What has arrived of the member's last bytes, once its content has ended.
    trailer: Option<Vec<u8>>,
    started: bool,
    ended: bool,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self { stream: None, is_raw: false, sum: None, len: 0, trailer: None, started: false, ended: false }
    }

    /// For deflate without a header (RFC 1951).
    pub(super) fn of_raw_deflate() -> Self {
        Self { is_raw: true, ..Self::new() }
    }

    fn is_whole(&self) -> bool {
        self.ended || !self.started
    }

    /// Decompresses until the input is used up, the output has passed `end`, or this turn is over.
    fn inflate(
        &mut self,
        input: &mut Bytes,
        output: &mut Vec<u8>,
        end: usize,
        turn_end: usize,
    ) -> Result<(), ClientError> {
        while input.has_remaining() && output.len() <= end && output.len() < turn_end {
            if self.ended && self.is_raw {
                // Nothing may follow that would mean anything.
                input.clear();
                break;
            }
            if !self.is_raw && (self.ended || !self.started) {
                self.begin_member(input);
            }
            self.started = true;
            if self.trailer.is_some() {
                self.read_trailer(input)?;
            } else if input.has_remaining() {
                self.inflate_some(input, output)?;
            }
        }
        Ok(())
    }

    fn begin_member(&mut self, input: &mut Bytes) {
        let is_plain = input.starts_with(&PLAIN_HEADER) && input.len() >= HEADER_LEN;
        self.sum = is_plain.then(crc32fast::Hasher::new);
        self.len = 0;
        if is_plain {
            input.advance(HEADER_LEN);
        }
        self.stream = (!is_plain).then(|| Decompress::new_gzip(GZIP_WINDOW_BITS));
        (self.started, self.ended) = (true, false);
    }

    fn inflate_some(&mut self, input: &mut Bytes, output: &mut Vec<u8>) -> Result<(), ClientError> {
        let stream = self.stream.get_or_insert_with(|| Decompress::new(false));
        make_room(output, *GROWTH_BYTES.start() / 2);
        let (in_before, out_before) = (stream.total_in(), output.len());
        let status = stream.decompress_vec(input, output, FlushDecompress::None).map_err(|_| CORRUPT)?;
        let used = usize::try_from(stream.total_in() - in_before).map_err(|_| CORRUPT)?;
        input.advance(used);
        let written = &output[out_before..];
        if let Some(sum) = &mut self.sum {
            sum.update(written);
            self.len = self.len.wrapping_add(written.len() as u32);
        }
        match status {
            Status::StreamEnd if self.sum.is_some() => self.trailer = Some(Vec::with_capacity(TRAILER_LEN)),
            Status::StreamEnd => self.ended = true,
            _ if used == 0 && written.is_empty() => return Err(CORRUPT),
            _ => {}
        }
        Ok(())
    }

    /// Takes what has arrived of sum and length; compares them once they are whole.
    fn read_trailer(&mut self, input: &mut Bytes) -> Result<(), ClientError> {
        let Some(mut trailer) = self.trailer.take() else { return Ok(()) };
        let count = input.len().min(TRAILER_LEN - trailer.len());
        trailer.extend_from_slice(&input.split_to(count));
        if trailer.len() < TRAILER_LEN {
            self.trailer = Some(trailer);
            return Ok(());
        }
        let sum = self.sum.take().map_or(0, crc32fast::Hasher::finalize);
        if trailer != [sum.to_le_bytes(), self.len.to_le_bytes()].concat() {
            return Err(CORRUPT);
        }
        self.ended = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).expect("memory takes all");
        encoder.finish().expect("memory takes all")
    }

    fn named(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::GzBuilder::new().filename("page").write(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).expect("memory takes all");
        encoder.finish().expect("memory takes all")
    }

    /// The output, if it is whole, in pieces of so many bytes.
    fn inflated(bytes: &[u8], piece: usize) -> Option<Vec<u8>> {
        let (mut inflater, mut output) = (Inflater::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            let mut input = Bytes::copy_from_slice(piece);
            while input.has_remaining() {
                let turn_end = output.len() + 10_000;
                inflater.inflate(&mut input, &mut output, usize::MAX - 1, turn_end).ok()?;
            }
        }
        inflater.is_whole().then_some(output)
    }

    #[test]
    fn members_with_plain_and_other_headers() {
        let text: Vec<u8> = (0..100_000u32).flat_map(|number| number.wrapping_mul(number).to_le_bytes()).collect();
        let cases = [
            packed(&text),
            named(&text),
            [packed(&text[..1000]), named(&text[1000..2000]), packed(&text[2000..])].concat(),
            [named(&text[..1000]), packed(b""), packed(&text[1000..])].concat(),
        ];
        let twice = [packed(&text), packed(&text)].concat();
        assert!(
            !inflate_whole(&twice, &mut Vec::new(), text.len()),
            "a second member that looks like the first is seen"
        );
        for (number, bytes) in cases.iter().enumerate() {
            let mut output = b"before".to_vec();
            assert_eq!(inflate_whole(bytes, &mut output, text.len()), number == 0, "{number}");
            assert!(output == [&b"before"[..], if number == 0 { &text } else { b"" }].concat(), "{number}");
            assert!(!inflate_whole(bytes, &mut output, text.len() - 1), "{number}");
            for piece in [1, 7, 4096, bytes.len()] {
                assert!(inflated(bytes, piece).as_ref() == Some(&text), "{number} in pieces of {piece}");
            }
            for end in [1, 5, 12, bytes.len() / 2, bytes.len() - 8, bytes.len() - 1] {
                assert!(inflated(&bytes[..end], 4096).is_none(), "{number} cut off at {end}");
                assert!(!inflate_whole(&bytes[..end], &mut output, usize::MAX), "{number} cut off at {end}");
            }
            for at in [0, 2, bytes.len() - 8, bytes.len() - 1] {
                let mut damaged = bytes.clone();
                damaged[at] ^= 0x10;
                assert!(inflated(&damaged, 4096).is_none(), "{number} damaged at {at}");
                assert!(!inflate_whole(&damaged, &mut output, text.len() * 2), "{number} damaged at {at}");
            }
        }
    }
}
