//! A response's body: decompressed while it arrives, never longer than its reader allows, never later than the
//! request's deadline.

use bytes::{Buf, Bytes};
use flate2::{Decompress, FlushDecompress, Status};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};

use super::error::http_reason;
use super::pool::Lease;
use super::{ClientError, Deadline};

/// How much is decompressed before other tasks get their turn.
const TURN_BYTES: usize = 1 << 20;
/// The output buffer grows by at least and at most this much at a time.
const GROWTH_BYTES: std::ops::RangeInclusive<usize> = 32 * 1024..=1024 * 1024;
const GZIP_WINDOW_BITS: u8 = 15;
const TRUNCATED: ClientError = ClientError::Decompress("it ends before the end of its gzip stream");

/// The rest of a response.
pub struct Body {
    incoming: Incoming,
    /// What has arrived and is not in anybody's buffer yet.
    pending: Bytes,
    gzip: Option<Inflater>,
    deadline: Deadline,
    /// The connection; kept for the next request once the body has been read to its end.
    lease: Option<Lease>,
}

impl Body {
    pub(super) fn new(incoming: Incoming, gzip: Option<Inflater>, deadline: Deadline, lease: Lease) -> Self {
        Self { incoming, pending: Bytes::new(), gzip, deadline, lease: Some(lease) }
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

    async fn next_chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        const STEP: &str = "reading the body";
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
        self.deadline.within(STEP, next).await
    }
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
pub(super) struct Inflater {
    stream: Decompress,
    is_raw: bool,
    started: bool,
    ended: bool,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self { stream: Decompress::new_gzip(GZIP_WINDOW_BITS), is_raw: false, started: false, ended: false }
    }

    /// For deflate without a header (RFC 1951).
    pub(super) fn of_raw_deflate() -> Self {
        Self { stream: Decompress::new(false), is_raw: true, started: false, ended: false }
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
        const CORRUPT: ClientError = ClientError::Decompress("it is not valid gzip");
        let stream = &mut self.stream;
        while input.has_remaining() && output.len() <= end && output.len() < turn_end {
            if self.ended && self.is_raw {
                // Nothing may follow that would mean anything.
                input.clear();
                break;
            }
            if self.ended {
                // Another member follows, again with a header.
                stream.reset(true);
                self.ended = false;
            }
            self.started = true;
            make_room(output, *GROWTH_BYTES.start() / 2);
            let (in_before, out_before) = (stream.total_in(), output.len());
            let status = stream.decompress_vec(input, output, FlushDecompress::None).map_err(|_| CORRUPT)?;
            let used = usize::try_from(stream.total_in() - in_before).map_err(|_| CORRUPT)?;
            input.advance(used);
            match status {
                Status::StreamEnd => self.ended = true,
                _ if used == 0 && output.len() == out_before => return Err(CORRUPT),
                _ => {}
            }
        }
        Ok(())
    }
}
