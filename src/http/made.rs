//! A body that is made whole before its first byte leaves: what it is made from goes at once, however slowly it is read.
//!
//! It waits for its reader compressed, also for one that wants it plain: then it is unpacked while it leaves. So a reader
//! holds a tenth of the text, and a window of the unpacker. All of them together hold no more than a [`Room`].

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::{Buf, Bytes};
use flate2::bufread::GzDecoder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::reply::{COMPRESS_FROM_BYTES, Compressor, Encoding, PIECE_BYTES, Pieces};

/// Bytes that all made bodies hold until their readers have taken them; a body is refused that finds no room.
pub(crate) const MADE_BYTES_MAX: usize = 32 << 20;

/// What room is counted in.
const UNIT_BYTES: usize = 1024;

/// Where made bodies wait.
#[derive(Clone)]
pub(super) struct Room(Arc<Semaphore>);

impl Room {
    /// Room for [`MADE_BYTES_MAX`].
    pub(super) fn new() -> Self {
        Self::of(MADE_BYTES_MAX)
    }

    pub(super) fn of(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / UNIT_BYTES)))
    }

    pub(super) fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        // One that is larger than all of it must be alone.
        let units = bytes.div_ceil(UNIT_BYTES).min(MADE_BYTES_MAX / UNIT_BYTES);
        Arc::clone(&self.0).try_acquire_many_owned(units as u32).ok()
    }
}

/// A body that is whole.
pub(super) struct Made {
    body: Body,
    /// How it is encoded for its reader.
    encoding: Encoding,
    /// To be set once it has left to its end.
    taken_flag: Option<Arc<AtomicBool>>,
    _room: OwnedSemaphorePermit,
}

enum Body {
    AsItIs(Bytes),
    ToUnpack(Box<GzDecoder<bytes::buf::Reader<Bytes>>>),
}

/// Why there is no body.
#[derive(Debug)]
pub(super) enum Unmade<E> {
    /// Whoever was asked between two pieces gave up.
    GivenUp(E),
    /// Others have all the room.
    NoRoom,
}

impl Made {
    /// Makes all pieces. `check` is asked before each whether it is still wanted.
    pub(super) fn of<E>(
        pieces: &mut impl Pieces,
        encoding: Encoding,
        room: &Room,
        mut check: impl FnMut() -> Result<(), E>,
    ) -> Result<Self, Unmade<E>> {
        let mut piece = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 8);
        check().map_err(Unmade::GivenUp)?;
        let mut more = pieces.next(&mut piece);
        // One piece is not worth unpacking, and a few bytes are not worth packing.
        let is_small = !more && (encoding == Encoding::Identity || piece.len() < COMPRESS_FROM_BYTES);
        let (encoding, packing) = match encoding {
            _ if is_small => (Encoding::Identity, Encoding::Identity),
            Encoding::Identity => (Encoding::Identity, Encoding::Gzip),
            other => (other, other),
        };
        // Packing fails for want of memory alone.
        let mut compressor = Compressor::new(packing).map_err(|_| Unmade::NoRoom)?;
        compressor.write(&piece).map_err(|_| Unmade::NoRoom)?;
        while more {
            check().map_err(Unmade::GivenUp)?;
            piece.clear();
            more = pieces.next(&mut piece);
            compressor.write(&piece).map_err(|_| Unmade::NoRoom)?;
        }
        let mut bytes = compressor.finish().map_err(|_| Unmade::NoRoom)?;
        bytes.shrink_to_fit();
        let room = room.take(bytes.len()).ok_or(Unmade::NoRoom)?;
        let bytes = Bytes::from(bytes);
        let body = match packing == encoding {
            true => Body::AsItIs(bytes),
            false => Body::ToUnpack(Box::new(GzDecoder::new(bytes.reader()))),
        };
        Ok(Self { body, encoding, taken_flag: None, _room: room })
    }

    /// The same, with a flag to be set once it has left.
    pub(super) fn telling(self, taken_flag: Arc<AtomicBool>) -> Self {
        Self { taken_flag: Some(taken_flag), ..self }
    }

    pub(super) fn encoding(&self) -> Encoding {
        self.encoding
    }

    pub(super) fn taken_flag(&self) -> Option<Arc<AtomicBool>> {
        self.taken_flag.clone()
    }

    /// How much is still to come, where that is known.
    pub(super) fn remaining(&self) -> Option<usize> {
        match &self.body {
            Body::AsItIs(bytes) => Some(bytes.len()),
            Body::ToUnpack(_) => None,
        }
    }

    /// The next part of it; empty at the end.
    pub(super) fn next(&mut self) -> Bytes {
        match &mut self.body {
            Body::AsItIs(bytes) => bytes.split_to(bytes.len().min(PIECE_BYTES)),
            Body::ToUnpack(decoder) => {
                let mut piece = Vec::with_capacity(PIECE_BYTES);
                let read = decoder.take(PIECE_BYTES as u64).read_to_end(&mut piece);
                read.expect("it was packed here, and memory keeps it");
                piece.into()
            }
        }
    }
}
