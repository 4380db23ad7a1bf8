//! A body that is made whole before its first byte leaves: what it is made from goes at once, however slowly it is read.
//!
//! It waits for its reader compressed, also for one that wants it plain: then it is unpacked while it leaves. So a reader
//! holds a tenth of the text, and a window of the unpacker. All of them together hold no more than a [`Room`], which they take
//! as they grow; while one is made, the buffer that it grows in may be twice as large as what is in it.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::{Buf, Bytes};
use flate2::bufread::GzDecoder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::reply::{COMPRESS_FROM_BYTES, Compressor, Encoding, PIECE_BYTES, Pieces};

/// Bytes that all made bodies hold until their readers have taken them. Making one ends as soon as others leave it no room, or once
/// it is larger than this alone.
pub(crate) const MADE_BYTES_MAX: usize = 32 << 20;

/// What room is counted in.
const UNIT_BYTES: usize = 1024;

/// What unpacking takes: a window of 32 KiB, and tables.
pub(super) const UNPACKER_BYTES: usize = 48 * 1024;

/// Why packing succeeds.
const ENOUGH_MEMORY: &str = "packing into memory fails for want of it alone";

/// Where made bodies wait.
#[derive(Clone)]
pub(super) struct Room {
    free: Arc<Semaphore>,
    units: usize,
}

impl Room {
    /// Room for [`MADE_BYTES_MAX`].
    pub(super) fn new() -> Self {
        Self::of(MADE_BYTES_MAX)
    }

    pub(super) fn of(bytes: usize) -> Self {
        let units = bytes / UNIT_BYTES;
        Self { free: Arc::new(Semaphore::new(units)), units }
    }

    /// A place of that size, if others leave so much.
    pub(super) fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).ok()?;
        Arc::clone(&self.free).try_acquire_many_owned(units).ok()
    }

    /// Makes a place as large as `bytes` ask for.
    fn fit<E>(&self, place: &mut OwnedSemaphorePermit, bytes: usize) -> Result<(), Unmade<E>> {
        let (wanted, held) = (bytes.div_ceil(UNIT_BYTES), place.num_permits());
        if wanted > self.units {
            return Err(Unmade::TooLarge);
        }
        match wanted.checked_sub(held) {
            Some(lacking) => place.merge(self.take(lacking * UNIT_BYTES).ok_or(Unmade::NoRoom)?),
            None => drop(place.split(held - wanted)),
        }
        Ok(())
    }
}

/// A body that is whole.
pub(super) struct Made {
    body: Body,
    /// How it is encoded for its reader.
    encoding: Encoding,
    /// To be set once it has left to its end.
    taken_flag: Option<Arc<AtomicBool>>,
    _place: OwnedSemaphorePermit,
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
    /// Others leave too little room.
    NoRoom,
    /// It is larger than all the room there is.
    TooLarge,
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
        let mut place = room.take(0).ok_or(Unmade::NoRoom)?;
        let mut compressor = Compressor::new(packing).expect(ENOUGH_MEMORY);
        compressor.write(&piece).expect(ENOUGH_MEMORY);
        while more {
            room.fit(&mut place, compressor.bytes())?;
            check().map_err(Unmade::GivenUp)?;
            piece.clear();
            more = pieces.next(&mut piece);
            compressor.write(&piece).expect(ENOUGH_MEMORY);
        }
        let mut bytes = compressor.finish().expect(ENOUGH_MEMORY);
        bytes.shrink_to_fit();
        let unpacker_bytes = if packing == encoding { 0 } else { UNPACKER_BYTES };
        room.fit(&mut place, bytes.len() + unpacker_bytes)?;
        let bytes = Bytes::from(bytes);
        let body = match packing == encoding {
            true => Body::AsItIs(bytes),
            false => Body::ToUnpack(Box::new(GzDecoder::new(bytes.reader()))),
        };
        Ok(Self { body, encoding, taken_flag: None, _place: place })
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
