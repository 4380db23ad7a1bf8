//! Packing what is written a few times a day: at a level of zstd's that takes its time, with bounds on what it takes of
//! memory.

use std::io;

use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

/// zstd's level.
const LEVEL: i32 = 9;
/// Bounds on what that takes of memory, half a megabyte for five. Checkpoints are a thousandth longer for it at 5,000 series
/// and three hundredths at 50,000. What glibc's malloc once had of the system it seldom gives back.
const TABLES: [CParameter; 3] = [CParameter::WindowLog(18), CParameter::HashLog(16), CParameter::ChainLog(16)];

/// Packs bytes for [`zstd::bulk::decompress`].
pub(super) fn squeeze(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut packer = Compressor::new(LEVEL)?;
    TABLES.iter().try_for_each(|parameter| packer.set_parameter(*parameter))?;
    packer.compress(bytes)
}
