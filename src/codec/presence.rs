//! Where a column has samples, and which of them are not plain numbers.
//!
//! A *special* is a value that is not finite or is `-0.0`. Specials and holes are set apart, so that what
//! is left is plain numbers without gaps.

use std::collections::HashMap;
use std::ops::Range;

use foldhash::fast::FixedState;

use super::varint::{read_unsigned, write_unsigned};
use super::{CodecError, absent, is_absent};
use crate::model::STALE_NAN_BITS;

/// A special value's first byte: a frequent one by number, or its bits.
const SPECIAL_STALE: u8 = 0;
const SPECIAL_NAN: u8 = 1;
const SPECIAL_BITS: u8 = 2;
/// The NaN that Go and the text format give.
const NAN_BITS: u64 = 0x7ff8_0000_0000_0001;

/// A presence's first byte in a list of them.
const HAS_HOLES: u8 = 0b01;
const HAS_SPECIALS: u8 = 0b10;
/// A list is packed from here on.
const COMPRESS_BYTES_MIN: usize = 48;
const COMPRESS_LEVEL: i32 = 9;
/// Bounds on what a reader allocates for bytes it does not trust.
const LIST_BYTES_MAX: u64 = 1 << 26;

/// What a column has besides plain values, or in place of some.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Presence {
    rows: usize,
    /// Run lengths, present and absent in turn, beginning with present; empty if nothing is absent.
    runs: Vec<u32>,
    /// Position among the present values, and value.
    specials: Vec<(u32, f64)>,
    /// How many plain values are left.
    pub plain: usize,
}

/// The presences of many columns, each once: series of one process or container come and go together.
/// Numbers begin with 1; 0 stands for plain values throughout.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Presences(Vec<Presence>);

impl Presences {
    /// Reads what [`PresencesWriter::write`] wrote for columns of `rows` rows.
    pub fn read(input: &mut &[u8], rows: usize) -> Result<Self, CodecError> {
        let count = read_unsigned(input)?;
        if count == 0 {
            return Ok(Self::default());
        }
        let (len, packed_len) = (read_unsigned(input)?, read_unsigned(input)?);
        if len > LIST_BYTES_MAX || packed_len > input.len() as u64 {
            return Err(CodecError::Truncated);
        }
        let (packed, rest) = input.split_at(packed_len as usize);
        *input = rest;
        let unpacked;
        let mut list = if packed_len == len {
            packed
        } else {
            let outcome = zstd::bulk::decompress(packed, len as usize);
            unpacked = outcome.map_err(|_| CodecError::Malformed("presences do not unpack"))?;
            &unpacked
        };
        let mut presences = Vec::with_capacity(count.min(list.len() as u64) as usize);
        for _ in 0..count {
            let (&flags, rest) = list.split_first().ok_or(CodecError::Truncated)?;
            list = rest;
            presences.push(Presence::read(&mut list, rows, flags & HAS_HOLES != 0, flags & HAS_SPECIALS != 0)?);
        }
        Ok(Self(presences))
    }

    /// Bytes of memory.
    pub fn memory(&self) -> usize {
        self.0.iter().map(Presence::memory).sum::<usize>() + self.0.capacity() * size_of::<Presence>()
    }

    /// The presence with a number, if it is for columns of `rows` rows.
    pub(super) fn get(&self, number: u32, rows: usize) -> Option<&Presence> {
        let presence = self.0.get((number as usize).checked_sub(1)?);
        presence.filter(|presence| presence.rows == rows)
    }
}

/// The presences of columns that are being encoded.
#[derive(Debug, Default)]
pub struct PresencesWriter {
    numbers: HashMap<Vec<u8>, u32, FixedState>,
    list: Vec<u8>,
}

impl PresencesWriter {
    /// Puts the plain values of a column into `plain`, and gives the number of what else there is.
    pub(super) fn number_of(&mut self, values: &[f64], plain: &mut Vec<f64>) -> u32 {
        let parts = split(values, plain);
        if parts.holes.is_none() && parts.specials.is_none() {
            return 0;
        }
        let holes = if parts.holes.is_some() { HAS_HOLES } else { 0 };
        let specials = if parts.specials.is_some() { HAS_SPECIALS } else { 0 };
        let bytes =
            [vec![holes | specials], parts.holes.unwrap_or_default(), parts.specials.unwrap_or_default()].concat();
        let next = self.numbers.len() as u32 + 1;
        let Self { numbers, list } = self;
        *numbers.entry(bytes).or_insert_with_key(|bytes| {
            list.extend_from_slice(bytes);
            next
        })
    }

    /// Appends the list.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_unsigned(out, self.numbers.len() as u64);
        if self.numbers.is_empty() {
            return;
        }
        write_unsigned(out, self.list.len() as u64);
        let packed = match self.list.len() {
            COMPRESS_BYTES_MIN.. => zstd::bulk::compress(&self.list, COMPRESS_LEVEL).unwrap_or_default(),
            _ => Vec::new(),
        };
        // Equal lengths mean that nothing is packed.
        let is_shorter = !packed.is_empty() && packed.len() < self.list.len();
        let written = if is_shorter { &packed } else { &self.list };
        write_unsigned(out, written.len() as u64);
        out.extend_from_slice(written);
    }
}

/// The parts of a presence as bytes: each is there only where it is needed.
struct PresenceBytes {
    holes: Option<Vec<u8>>,
    specials: Option<Vec<u8>>,
}

/// Puts the plain values into `plain` and says what else there is.
fn split(values: &[f64], plain: &mut Vec<f64>) -> PresenceBytes {
    plain.clear();
    // Nearly all columns are plain throughout. The absent value is not finite.
    if !has_special(values) {
        plain.extend_from_slice(values);
        return PresenceBytes { holes: None, specials: None };
    }
    let (mut runs, mut specials) = (Vec::new(), Specials::default());
    let (mut rest, mut is_hole, mut has_holes) = (values, false, false);
    while !rest.is_empty() {
        let run = rest.iter().position(|value| is_absent(*value) != is_hole).unwrap_or(rest.len());
        write_unsigned(&mut runs, run as u64);
        if is_hole {
            has_holes = true;
        } else {
            specials.split(&rest[..run], plain);
        }
        rest = &rest[run..];
        is_hole = !is_hole;
    }
    PresenceBytes { holes: has_holes.then_some(runs), specials: specials.finish() }
}

#[inline]
fn has_special(values: &[f64]) -> bool {
    values.iter().fold(false, |has, value| has | is_special(*value))
}

/// The special values of a column in the making.
#[derive(Default)]
struct Specials {
    bytes: Vec<u8>,
    count: u64,
    /// Present values so far, and at the last special.
    present: u64,
    last: u64,
}

impl Specials {
    fn split(&mut self, values: &[f64], plain: &mut Vec<f64>) {
        for &value in values {
            if is_special(value) {
                write_unsigned(&mut self.bytes, self.present - self.last);
                write_special(&mut self.bytes, value);
                self.last = self.present;
                self.count += 1;
            } else {
                plain.push(value);
            }
            self.present += 1;
        }
    }

    fn finish(self) -> Option<Vec<u8>> {
        if self.count == 0 {
            return None;
        }
        let mut bytes = Vec::with_capacity(self.bytes.len() + 1);
        write_unsigned(&mut bytes, self.count);
        bytes.extend_from_slice(&self.bytes);
        Some(bytes)
    }
}

impl Presence {
    /// Takes a presence of `rows` rows off the front of `input`.
    pub fn read(input: &mut &[u8], rows: usize, has_holes: bool, has_specials: bool) -> Result<Self, CodecError> {
        let (runs, present) = if has_holes { read_holes(input, rows)? } else { (Vec::new(), rows) };
        let specials = if has_specials { read_specials(input, present)? } else { Vec::new() };
        Ok(Self { rows, runs, plain: present - specials.len(), specials })
    }

    /// Makes room for holes and specials among the plain values from `start` on.
    pub fn spread(&self, start: usize, values: &mut Vec<f64>) {
        self.insert_specials(start, values);
        self.insert_holes(start, &self.runs, values);
    }

    /// The same from the first row that has a value to the last one; gives these rows.
    pub fn spread_span(&self, start: usize, values: &mut Vec<f64>) -> Range<usize> {
        self.insert_specials(start, values);
        if values.len() == start {
            return 0..0;
        }
        let (mut runs, mut span) = (self.runs.as_slice(), 0..self.rows);
        if let [_, .., hole] = runs
            && runs.len().is_multiple_of(2)
        {
            span.end -= *hole as usize;
            runs = &runs[..runs.len() - 1];
        }
        if let [0, hole, rest @ ..] = runs {
            span.start = *hole as usize;
            runs = rest;
        }
        if runs.len() > 1 {
            self.insert_holes(start, runs, values);
        }
        span
    }

    /// Bytes of memory besides the value itself.
    fn memory(&self) -> usize {
        self.runs.capacity() * size_of::<u32>() + self.specials.capacity() * size_of::<(u32, f64)>()
    }

    /// Spreads the values from the back, so that each moves once.
    fn insert_specials(&self, start: usize, values: &mut Vec<f64>) {
        let mut source = values.len();
        values.resize(source + self.specials.len(), 0.0);
        let mut target = values.len();
        for &(position, special) in self.specials.iter().rev() {
            let run = target - (start + position as usize) - 1;
            values.copy_within(source - run..source, target - run);
            source -= run;
            target -= run + 1;
            values[target] = special;
        }
    }

    fn insert_holes(&self, start: usize, runs: &[u32], values: &mut Vec<f64>) {
        if runs.is_empty() {
            return;
        }
        let mut source = values.len();
        values.resize(start + runs.iter().map(|run| *run as usize).sum::<usize>(), 0.0);
        let mut target = values.len();
        for (index, &run) in runs.iter().enumerate().rev() {
            let run = run as usize;
            if index.is_multiple_of(2) {
                values.copy_within(source - run..source, target - run);
                source -= run;
            } else {
                values[target - run..target].fill(absent());
            }
            target -= run;
        }
    }
}

/// The runs and how many rows are present.
fn read_holes(input: &mut &[u8], rows: usize) -> Result<(Vec<u32>, usize), CodecError> {
    let (mut runs, mut total, mut present) = (Vec::new(), 0usize, 0usize);
    while total < rows {
        let run = read_unsigned(input)?;
        if run > (rows - total) as u64 || (run == 0 && !runs.is_empty()) {
            return Err(CodecError::Malformed("runs of holes do not add up"));
        }
        if runs.len().is_multiple_of(2) {
            present += run as usize;
        }
        total += run as usize;
        runs.push(run as u32);
    }
    Ok((runs, present))
}

#[inline]
fn is_special(value: f64) -> bool {
    const EXPONENT: u64 = f64::INFINITY.to_bits();
    let bits = value.to_bits();
    // Not finite, or -0.0; without a branch, so that a column is looked through quickly.
    (bits & EXPONENT == EXPONENT) | (bits == 1 << 63)
}

fn write_special(out: &mut Vec<u8>, value: f64) {
    match value.to_bits() {
        STALE_NAN_BITS => out.push(SPECIAL_STALE),
        NAN_BITS => out.push(SPECIAL_NAN),
        bits => {
            out.push(SPECIAL_BITS);
            out.extend_from_slice(&bits.to_le_bytes());
        }
    }
}

fn read_specials(input: &mut &[u8], present: usize) -> Result<Vec<(u32, f64)>, CodecError> {
    let count = read_unsigned(input)?;
    if count > present as u64 {
        return Err(CodecError::Malformed("more special values than values"));
    }
    // Each takes two bytes at least: a lying count allocates no more than the input is long.
    let mut specials = Vec::with_capacity(count.min(input.len() as u64) as usize);
    let mut position = 0u64;
    for index in 0..count {
        let gap = read_unsigned(input)?;
        position = position.saturating_add(gap);
        if position >= present as u64 || (index > 0 && gap == 0) {
            return Err(CodecError::Malformed("a special value is out of place"));
        }
        let (&tag, rest) = input.split_first().ok_or(CodecError::Truncated)?;
        *input = rest;
        let bits = match tag {
            SPECIAL_STALE => STALE_NAN_BITS,
            SPECIAL_NAN => NAN_BITS,
            SPECIAL_BITS => {
                let (bits, rest) = input.split_first_chunk::<8>().ok_or(CodecError::Truncated)?;
                *input = rest;
                u64::from_le_bytes(*bits)
            }
            _ => return Err(CodecError::Malformed("unknown special value")),
        };
        specials.push((position as u32, f64::from_bits(bits)));
    }
    Ok(specials)
}
