//! Values on their way through a read: decoded once, held for a moment at one or two bytes each.
//!
//! A read of many series unpacks each segment once and takes from it what every series needs; until
//! a series' turn comes its values wait here. Packing must cost less than unpacking a segment again,
//! so the form is the simplest that works: differences of decimal-scaled integers as varints, and
//! anything else (holes, markers, values without few decimals) whole behind a zero byte. It never
//! leaves the process.

use crate::codec::{Integers, is_absent};

/// Powers of ten that are tried, smallest first.
const SCALES: [f64; 4] = [1.0, 10.0, 100.0, 1000.0];
/// Values that the scale is chosen by.
const PROBE: usize = 8;

/// A column of values, packed. Every one comes back with its exact bits.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    scale: f64,
    /// Whether some values stand for "no sample".
    pub has_absent: bool,
    bytes: Box<[u8]>,
}

impl Packed {
    /// Packs values; `scratch` is only working memory.
    pub fn of(values: &[f64], scratch: &mut Vec<u8>) -> Self {
        scratch.clear();
        let scale = scale_of(values);
        let (mut last, mut has_absent) = (0i64, false);
        for value in values {
            let integer = nearest(value * scale);
            let code = zigzag(integer.wrapping_sub(last)).wrapping_add(1);
            if from_integer(integer, scale).to_bits() == value.to_bits() && code != 0 {
                push_varint(scratch, code);
                last = integer;
            } else {
                has_absent |= is_absent(*value);
                scratch.push(0);
                scratch.extend_from_slice(&value.to_le_bytes());
            }
        }
        Self { scale, has_absent, bytes: scratch.as_slice().into() }
    }

    /// Packs a column that is given as integers; `None` where they do not fit this form.
    pub fn of_integers(integers: &Integers<'_>, scratch: &mut Vec<u8>) -> Option<Self> {
        scratch.clear();
        for difference in std::iter::once(&integers.first).chain(integers.differences) {
            let code = zigzag(*difference).wrapping_add(1);
            if code == 0 {
                return None;
            }
            push_varint(scratch, code);
        }
        Some(Self { scale: integers.scale, has_absent: false, bytes: scratch.as_slice().into() })
    }

    /// Bytes of memory besides the value itself.
    pub fn memory(&self) -> usize {
        self.bytes.len()
    }

    /// Appends the values to `out`.
    pub fn unpack(&self, out: &mut Vec<f64>) {
        let mut rest = &self.bytes[..];
        let mut last = 0i64;
        while let Some((&first, behind)) = rest.split_first() {
            rest = behind;
            if first == 0 {
                let (value, behind) = rest.split_first_chunk::<8>().expect("written above");
                out.push(f64::from_le_bytes(*value));
                rest = behind;
                continue;
            }
            let code = if first < 0x80 { u64::from(first) } else { long_varint(first, &mut rest) };
            last = last.wrapping_add(unzigzag(code.wrapping_sub(1)));
            out.push(from_integer(last, self.scale));
        }
    }
}

fn scale_of(values: &[f64]) -> f64 {
    let fits = |scale: &&f64| {
        let probed = values.iter().filter(|value| value.is_finite()).take(PROBE);
        probed.into_iter().all(|value| from_integer(nearest(value * **scale), **scale) == *value)
    };
    SCALES.iter().find(fits).copied().unwrap_or(1.0)
}

/// Rounds without the library call that `round` is on older processors; exactness is checked after.
#[inline]
fn nearest(value: f64) -> i64 {
    (value + 0.5f64.copysign(value)) as i64
}

#[inline]
fn from_integer(integer: i64, scale: f64) -> f64 {
    if scale == 1.0 { integer as f64 } else { integer as f64 / scale }
}

#[inline]
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[inline]
fn unzigzag(code: u64) -> i64 {
    (code >> 1) as i64 ^ -((code & 1) as i64)
}

#[inline]
fn push_varint(out: &mut Vec<u8>, mut code: u64) {
    while code >= 0x80 {
        out.push(code as u8 | 0x80);
        code >>= 7;
    }
    out.push(code as u8);
}

fn long_varint(first: u8, rest: &mut &[u8]) -> u64 {
    let (mut code, mut shift) = (u64::from(first & 0x7f), 7);
    while let Some((&byte, behind)) = rest.split_first() {
        *rest = behind;
        code |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
        shift += 7;
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::absent;
    use crate::model::stale_marker;
    use proptest::prelude::*;

    fn check(values: &[f64]) -> usize {
        let packed = Packed::of(values, &mut Vec::new());
        let mut unpacked = Vec::new();
        packed.unpack(&mut unpacked);
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&unpacked), bits(values));
        assert_eq!(packed.has_absent, values.iter().any(|value| is_absent(*value)));
        packed.bytes.len()
    }

    #[test]
    fn usual_values_take_a_byte_or_two_and_odd_ones_come_back() {
        assert!(check(&[]) == 0);
        assert!(check(&(0..1000).map(|row| f64::from(row * 30)).collect::<Vec<_>>()) <= 1001);
        assert!(check(&(0..1000).map(|row| f64::from(450 + row % 7) / 10.0).collect::<Vec<_>>()) <= 1001);
        check(&[1.0, absent(), 2.0, stale_marker(), -0.0, f64::INFINITY, f64::NAN, 5e-324, f64::MAX, 0.1 + 0.2]);
        check(&[9.3e18, -9.3e18, 9.2e18, -9.2e18, i64::MIN as f64, i64::MAX as f64, 1e16, 0.001]);
    }

    proptest! {
        #[test]
        fn integers_come_back(first in any::<i64>(), differences in proptest::collection::vec(-300i64..300, 0..50)) {
            let packed = Packed::of_integers(&Integers { scale: 1e4, first, differences: &differences }, &mut Vec::new());
            let mut unpacked = Vec::new();
            packed.expect("small differences fit").unpack(&mut unpacked);
            let mut integer = first;
            for (index, value) in unpacked.iter().enumerate() {
                integer = if index == 0 { first } else { integer.wrapping_add(differences[index - 1]) };
                assert_eq!(*value, integer as f64 / 1e4);
            }
            assert_eq!(unpacked.len(), differences.len() + 1);
        }

        #[test]
        fn any_values_come_back(values in proptest::collection::vec(any::<u64>().prop_map(f64::from_bits), 0..50)) {
            check(&values);
        }

        #[test]
        fn decimals_come_back(values in proptest::collection::vec(any::<i32>(), 0..50), scale in 1u32..2000) {
            check(&values.iter().map(|value| f64::from(*value) / f64::from(scale)).collect::<Vec<_>>());
        }
    }
}
