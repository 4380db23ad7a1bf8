//! Samples of several series with one shared time column, as bytes. FORMAT.md draws the layout.
//!
//! [`encode_segment`] turns columns of equal length into one segment, [`Segment::open`] verifies and
//! decompresses it, and each column is then decoded on its own. Every value comes back with exactly
//! its bits: NaN payloads, the stale marker, `-0.0`, infinities. Bytes from outside never panic: they
//! give a [`CodecError`]. This module does no I/O and keeps no state between calls.

mod columns;
mod decimal;
mod format1;
mod numbers;
mod presence;
mod residual;
mod runs;
mod segment;
mod times;
mod varint;

pub use decimal::{from_decimal, to_decimal};
pub use presence::{Presences, PresencesWriter};
pub use segment::{Effort, Integers, Packer, Segment, SegmentReader, Unpacker, encode_segment};
pub use varint::{read_signed, read_unsigned, write_signed, write_unsigned};

/// The bits that stand for "no sample at this time" in a column. A signalling NaN next to the stale
/// marker; whoever appends turns a sample with exactly these bits into an ordinary NaN.
pub const ABSENT_BITS: u64 = 0x7ff0_0000_0000_0003;

/// The value that stands for "no sample at this time" in a column.
#[inline]
pub fn absent() -> f64 {
    f64::from_bits(ABSENT_BITS)
}

/// Whether `value` stands for "no sample at this time".
#[inline]
pub fn is_absent(value: f64) -> bool {
    value.to_bits() == ABSENT_BITS
}

/// Bytes that are not a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes end early, or a length inside points past their end.
    #[error("the segment is cut off")]
    Truncated,
    /// The checksum does not fit the bytes.
    #[error("the segment's checksum is wrong")]
    Checksum,
    /// A format byte that this version does not know.
    #[error("the segment's format {0} is not known to this version")]
    UnknownFormat(u8),
    /// A field that no encoder writes.
    #[error("the segment is malformed: {0}")]
    Malformed(&'static str),
    /// There is no such column.
    #[error("the segment has no column {0}")]
    NoSuchColumn(usize),
}
