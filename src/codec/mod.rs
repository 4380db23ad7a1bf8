//! Samples of several series with one shared time column, as bytes. FORMAT.md draws the layout.

/// The bits that stand for "no sample at this time" in a column. A signalling NaN next to the stale
/// marker; whoever appends turns a sample with exactly these bits into an ordinary NaN.
pub const ABSENT_BITS: u64 = 0x7ff0_0000_0000_0003;
