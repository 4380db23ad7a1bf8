//! The value of a sample, and the marker that ends a series.

/// The exact bits of Prometheus's stale marker, a signalling NaN that no computation produces.
/// Source: prometheus/model/value/value.go.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The value that says "this series has ended here".
pub fn stale_marker() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// Whether `value` is the stale marker; an ordinary NaN is not.
#[inline]
pub fn is_stale_marker(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}
