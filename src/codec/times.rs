//! The shared time column: differences of differences, which a steady interval makes zero.

use super::CodecError;
use super::varint::{read_signed, write_signed};
use crate::model::Timestamp;

/// Appends the times.
pub(super) fn encode(timestamps: &[Timestamp], out: &mut Vec<u8>) {
    let (mut last, mut step) = (0i64, 0i64);
    for (index, timestamp) in timestamps.iter().enumerate() {
        let delta = timestamp.0.wrapping_sub(last);
        write_signed(out, delta.wrapping_sub(step));
        // The first "difference" is the time itself and says nothing of the interval.
        step = if index == 0 { 0 } else { delta };
        last = timestamp.0;
    }
}

/// Appends `count` times to `timestamps`.
pub(super) fn decode(mut input: &[u8], count: usize, timestamps: &mut Vec<Timestamp>) -> Result<(), CodecError> {
    let (mut last, mut step) = (0i64, 0i64);
    timestamps.reserve(count);
    for index in 0..count {
        let delta = read_signed(&mut input)?.wrapping_add(step);
        last = last.wrapping_add(delta);
        step = if index == 0 { 0 } else { delta };
        timestamps.push(Timestamp(last));
    }
    Ok(())
}
