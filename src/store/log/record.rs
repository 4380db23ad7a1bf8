//! One record: a header, a compressed payload, a checksum over both, padded to whole pages.

use crate::model::Timestamp;
use crate::store::squeeze::squeeze;

/// Records begin at multiples of this: the page and the flash block that a write costs anyway.
pub(super) const ALIGNMENT: usize = 4096;
/// `OPL1`: the log's first format.
const MAGIC: [u8; 4] = *b"OPL1";
pub(super) const HEADER_LEN: usize = 48;
/// Where the header says how long the packed payload is.
pub(super) const LEN_AT: usize = 36;
const FLAG_CHECKPOINT: u32 = 1;
/// Payloads are cut at about a megabyte; this is what a reader allocates at most.
const PAYLOAD_BYTES_MAX: u32 = 1 << 28;
/// zstd's level for all records but checkpoints, of which there are a few a day, and which [`squeeze`] makes a tenth
/// smaller. The others are mostly differences that no level makes smaller: level 9 takes two hundredths off them, in five
/// times the processor time.
const COMPRESS_LEVEL: i32 = 1;

/// What a record's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Rises by one from record to record.
    pub sequence: u64,
    /// The run of the program that wrote it.
    pub lineage: u64,
    /// Whether it defines all that it and its successors use.
    pub is_checkpoint: bool,
    /// Records since the checkpoint whose anchors it uses; 0 in a checkpoint.
    pub since_checkpoint: u32,
    /// The newest sample within.
    pub newest: Timestamp,
}

impl Header {
    /// The checkpoint whose anchors it uses.
    pub fn checkpoint(&self) -> u64 {
        self.sequence.saturating_sub(u64::from(self.since_checkpoint))
    }
}

/// Builds a whole record, padding included.
pub(super) fn encode(header: &Header, payload: &[u8]) -> std::io::Result<Vec<u8>> {
    let packed = if header.is_checkpoint { squeeze(payload)? } else { zstd::bulk::compress(payload, COMPRESS_LEVEL)? };
    let mut record = Vec::with_capacity((HEADER_LEN + packed.len()).next_multiple_of(ALIGNMENT));
    record.extend_from_slice(&MAGIC);
    record.extend_from_slice(&[0; 4]);
    record.extend_from_slice(&header.sequence.to_le_bytes());
    record.extend_from_slice(&header.lineage.to_le_bytes());
    record.extend_from_slice(&header.newest.0.to_le_bytes());
    record.extend_from_slice(&u32::from(header.is_checkpoint).to_le_bytes());
    record.extend_from_slice(&(packed.len() as u32).to_le_bytes());
    record.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    record.extend_from_slice(&header.since_checkpoint.to_le_bytes());
    record.extend_from_slice(&packed);
    let checksum = crc32fast::hash(&record[8..]);
    record[4..8].copy_from_slice(&checksum.to_le_bytes());
    record.resize(record.len().next_multiple_of(ALIGNMENT), 0);
    Ok(record)
}

/// A record found in a file.
pub(super) struct Found<'a> {
    pub header: Header,
    packed: &'a [u8],
    payload_len: usize,
}

impl Found<'_> {
    /// Unpacks the entries.
    pub fn payload(&self) -> std::io::Result<Vec<u8>> {
        zstd::bulk::decompress(self.packed, self.payload_len)
    }

    /// What the record takes in the file.
    pub fn len(&self) -> usize {
        (HEADER_LEN + self.packed.len()).next_multiple_of(ALIGNMENT)
    }
}

/// Whether a record begins here, sound or not: by its magic number, or by its sequence.
pub(super) fn begun(bytes: &[u8], sequence: u64) -> bool {
    let header = bytes.get(..HEADER_LEN);
    header.is_some_and(|header| header[..4] == MAGIC || header[8..16] == sequence.to_le_bytes())
}

/// The record at the start of `bytes`, if there is a whole and undamaged one.
pub(super) fn decode(bytes: &[u8]) -> Option<Found<'_>> {
    let header = bytes.get(..HEADER_LEN)?;
    let u32_at = |at: usize| Some(u32::from_le_bytes(header.get(at..at + 4)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_le_bytes(header.get(at..at + 8)?.try_into().ok()?));
    let (flags, packed_len, payload_len, since_checkpoint) = (u32_at(32)?, u32_at(36)?, u32_at(40)?, u32_at(44)?);
    if header[..4] != MAGIC || payload_len > PAYLOAD_BYTES_MAX {
        return None;
    }
    let end = HEADER_LEN.checked_add(packed_len as usize)?;
    let content = bytes.get(8..end)?;
    if crc32fast::hash(content) != u32_at(4)? {
        return None;
    }
    let header = Header {
        sequence: u64_at(8)?,
        lineage: u64_at(16)?,
        newest: Timestamp(u64_at(24)? as i64),
        is_checkpoint: flags & FLAG_CHECKPOINT != 0,
        since_checkpoint,
    };
    Some(Found { header, packed: &bytes[HEADER_LEN..end], payload_len: payload_len as usize })
}

/// The sequence that the start of a record claims which is not whole, if it looks like a record at all.
pub(super) fn claimed_sequence(bytes: &[u8]) -> Option<u64> {
    let header = bytes.get(..HEADER_LEN)?;
    (header[..4] == MAGIC).then(|| u64::from_le_bytes(header[8..16].try_into().expect("eight bytes")))
}

/// Where a record's payload ends by what its header says, sound or not; `None` where there is none.
pub(super) fn end_of(bytes: &[u8]) -> Option<usize> {
    let len = bytes.get(LEN_AT..LEN_AT + 4)?;
    let len = u32::from_le_bytes(len.try_into().expect("four bytes")) as usize;
    if len == 0 { None } else { HEADER_LEN.checked_add(len) }
}

/// The checksum that a header states.
pub(super) fn checksum_of(header: &[u8]) -> u32 {
    u32::from_le_bytes(header[4..8].try_into().expect("four bytes"))
}
