//! Runs of small integers: varints one behind the other, or planes of bytes where they are wide.

use super::CodecError;
use super::varint::{read_signed, read_unsigned, write_signed, write_unsigned};

/// From this many bits an integer on average, planes of bytes pack better: the high ones repeat, the low
/// ones are noise, and zstd meets each for itself.
const PLANES_BITS_MIN: u64 = 10;

/// Appends how `integers` are written to `form`, and themselves to `out`.
pub(super) fn write(integers: &[i64], form: &mut Vec<u8>, out: &mut Vec<u8>) {
    let (mut all, mut bits) = (0u64, 0u64);
    for &integer in integers {
        let coded = zigzag(integer);
        all |= coded;
        bits += u64::from(64 - coded.leading_zeros());
    }
    let width = (64 - all.leading_zeros()).div_ceil(8);
    if all == 0 || bits >= PLANES_BITS_MIN * integers.len() as u64 {
        write_unsigned(form, u64::from(width) << 1 | 1);
        for plane in (0..width).rev() {
            out.extend(integers.iter().map(|integer| (zigzag(*integer) >> (8 * plane)) as u8));
        }
        return;
    }
    let start = out.len();
    integers.iter().for_each(|integer| write_signed(out, *integer));
    write_unsigned(form, ((out.len() - start - integers.len()) as u64) << 1);
}

#[inline]
fn zigzag(integer: i64) -> u64 {
    ((integer << 1) ^ (integer >> 63)) as u64
}

#[inline]
fn unzigzag(coded: u64) -> i64 {
    (coded >> 1) as i64 ^ -((coded & 1) as i64)
}

/// Where a run is and how it is written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Run {
    at: u32,
    len: u32,
    count: u32,
    /// Planes of bytes; `None` for varints.
    width: Option<u8>,
}

impl Run {
    /// Takes the form of a run of `count` integers off the front of `input`.
    pub fn read_form(input: &mut &[u8], count: usize) -> Result<Self, CodecError> {
        let form = read_unsigned(input)?;
        let (len, width) = match form & 1 {
            0 => ((count as u64).saturating_add(form >> 1), None),
            _ if form >> 1 <= 8 => ((form >> 1) * count as u64, Some((form >> 1) as u8)),
            _ => return Err(CodecError::Malformed("a run is too wide")),
        };
        let len = u32::try_from(len).map_err(|_| CodecError::Malformed("a run is too long"))?;
        Ok(Self { at: 0, len, count: count as u32, width })
    }

    /// Puts the run at `at`; gives where it ends.
    pub fn place(&mut self, at: u64) -> u64 {
        // An end beyond the body is refused by whoever places the runs.
        self.at = at as u32;
        at + u64::from(self.len)
    }

    /// Appends the integers to `out`.
    pub fn read(&self, body: &[u8], out: &mut Vec<i64>) -> Result<(), CodecError> {
        let bytes = body.get(self.at as usize..).and_then(|rest| rest.get(..self.len as usize));
        let mut bytes = bytes.ok_or(CodecError::Truncated)?;
        let count = self.count as usize;
        match self.width {
            Some(0) => out.extend(std::iter::repeat_n(0, count)),
            Some(width) => out.extend((0..count).map(|index| {
                let coded = (0..usize::from(width))
                    .fold(0u64, |coded, plane| coded << 8 | u64::from(bytes[plane * count + index]));
                unzigzag(coded)
            })),
            None if bytes.len() == count => out.extend(bytes.iter().map(|byte| unzigzag(u64::from(*byte)))),
            None => {
                for _ in 0..count {
                    out.push(read_signed(&mut bytes)?);
                }
                if !bytes.is_empty() {
                    return Err(CodecError::Malformed("bytes behind a run"));
                }
            }
        }
        Ok(())
    }
}
