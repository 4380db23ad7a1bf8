//! The plain values of one column as integers: exact decimals, nearly decimals, or bits.

use super::CodecError;
use super::decimal::{self, EXACT_MAX, POWERS, from_ordinal, power, to_ordinal};

/// How the integers of a column become values again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// There are no plain values.
    None,
    /// One decimal throughout.
    Constant,
    /// One value throughout, as its ordinal.
    ConstantOrdinal,
    /// Integers divided by a power of ten.
    Decimal,
    /// The same, and for each value by how many representable floats it lies beside the quotient.
    NearDecimal,
    /// Ordinals: the values' bits as integers that rise with them.
    Ordinal,
}

impl Kind {
    /// The kind with this number on disk.
    pub fn from_number(number: u8) -> Option<Self> {
        let kinds =
            [Self::None, Self::Constant, Self::ConstantOrdinal, Self::Decimal, Self::NearDecimal, Self::Ordinal];
        kinds.get(usize::from(number)).copied()
    }

    /// Whether values differ from one another.
    pub fn is_varying(self) -> bool {
        matches!(self, Self::Decimal | Self::NearDecimal | Self::Ordinal)
    }
}

/// A column as integers.
#[derive(Debug)]
pub(super) struct Numbers {
    pub kind: Kind,
    pub exponent: u8,
    /// One per value; just the first one if the column does not vary.
    pub integers: Vec<i64>,
    /// Of a nearly decimal column: how far each value lies beside its quotient.
    pub ulps: Vec<i64>,
}

/// The exponents that are tried for nearly decimal columns: what programs add up has at most twelve digits.
const NEAR_EXPONENT_MAX: usize = 12;
/// Values on which exponents are tried.
const NEAR_SAMPLE: usize = 48;
/// A column is nearly decimal only as far as this: beyond, the ordinals themselves are smaller.
const ULPS_MAX: u64 = 1 << 32;

impl Numbers {
    /// Finds the form of plain values.
    pub fn of(values: &[f64]) -> Self {
        let Some(&first) = values.first() else { return Self::new(Kind::None, 0, Vec::new()) };
        let is_constant = values.iter().all(|value| value.to_bits() == first.to_bits());
        let values = if is_constant { &values[..1] } else { values };
        let mut integers = Vec::with_capacity(values.len());
        if let Some(exponent) = decimal::scale(values, &mut integers) {
            let kind = if is_constant { Kind::Constant } else { Kind::Decimal };
            return Self::new(kind, exponent, integers);
        }
        if is_constant {
            return Self::new(Kind::ConstantOrdinal, 0, vec![to_ordinal(first)]);
        }
        near_decimal(values)
            .unwrap_or_else(|| Self::new(Kind::Ordinal, 0, values.iter().copied().map(to_ordinal).collect()))
    }

    fn new(kind: Kind, exponent: u8, integers: Vec<i64>) -> Self {
        Self { kind, exponent, integers, ulps: Vec::new() }
    }
}

/// Sums of decimals carry the noise of their additions: the nearest decimal is right but for the last bits.
fn near_decimal(values: &[f64]) -> Option<Numbers> {
    let sample = &values[..values.len().min(NEAR_SAMPLE)];
    let ordinals: Vec<i64> = sample.iter().copied().map(to_ordinal).collect();
    let mut best = (cost_of_differences(&ordinals), None);
    for exponent in 0..=NEAR_EXPONENT_MAX {
        let Some((integers, ulps)) = split_near(sample, exponent) else { continue };
        let cost = cost_of_differences(&integers) + cost_of_differences(&ulps);
        // A longer exponent has to earn it.
        if cost < best.0 / 32 * 31 {
            best = (cost, Some(exponent));
        }
    }
    let exponent = best.1?;
    let (integers, ulps) = split_near(values, exponent)?;
    Some(Numbers { kind: Kind::NearDecimal, exponent: exponent as u8, integers, ulps })
}

fn split_near(values: &[f64], exponent: usize) -> Option<(Vec<i64>, Vec<i64>)> {
    let (mut integers, mut ulps) = (Vec::with_capacity(values.len()), Vec::with_capacity(values.len()));
    for &value in values {
        let scaled = (value * POWERS[exponent]).round();
        if scaled.abs() >= EXACT_MAX {
            return None;
        }
        let integer = scaled as i64;
        let beside = to_ordinal(value).wrapping_sub(to_ordinal(integer as f64 / POWERS[exponent]));
        if beside.unsigned_abs() > ULPS_MAX {
            return None;
        }
        integers.push(integer);
        ulps.push(beside);
    }
    Some((integers, ulps))
}

fn cost_of_differences(integers: &[i64]) -> u32 {
    integers.windows(2).map(|pair| cost(pair[1].wrapping_sub(pair[0]))).sum()
}

/// What one bit counts in costs.
pub(super) const BIT: u32 = 16;

/// About how many sixteenths of a bit a small integer takes when it is packed with others like it. A
/// million of them stay below 2^32.
#[inline]
pub(super) fn cost(integer: i64) -> u32 {
    u32::from(COSTS[64 - integer.unsigned_abs().leading_zeros() as usize])
}

/// By the number of binary digits: sign and digits, and about as much to say how many there are.
const COSTS: [u16; 65] = {
    let mut costs = [5; 65];
    let mut digits = 1;
    while digits <= 64 {
        let length = if digits < 4 {
            2
        } else if digits < 16 {
            4
        } else {
            5
        };
        costs[digits] = BIT as u16 * (1 + digits as u16 + length);
        digits += 1;
    }
    costs
};

/// Appends `count` equal values.
pub(super) fn repeat(
    kind: Kind,
    exponent: u8,
    integer: i64,
    count: usize,
    values: &mut Vec<f64>,
) -> Result<(), CodecError> {
    let value = match kind {
        Kind::Constant => integer as f64 / power(exponent)?,
        _ => from_ordinal(integer),
    };
    values.extend(std::iter::repeat_n(value, count));
    Ok(())
}

/// Appends the values of a varying column: `first`, then one more per difference.
pub(super) fn restore(
    kind: Kind,
    exponent: u8,
    first: i64,
    differences: &[i64],
    ulps: &[i64],
    values: &mut Vec<f64>,
) -> Result<(), CodecError> {
    let divisor = power(exponent)?;
    let mut integer = first;
    let mut next = |difference: &i64| {
        integer = integer.wrapping_add(*difference);
        integer
    };
    let differences = std::iter::once(&0).chain(differences);
    match kind {
        Kind::Ordinal => values.extend(differences.map(|difference| from_ordinal(next(difference)))),
        Kind::NearDecimal => values.extend(differences.zip(ulps).map(|(difference, beside)| {
            let nearest = to_ordinal(next(difference) as f64 / divisor);
            from_ordinal(nearest.wrapping_add(*beside))
        })),
        _ if exponent == 0 => values.extend(differences.map(|difference| next(difference) as f64)),
        _ => values.extend(differences.map(|difference| next(difference) as f64 / divisor)),
    }
    Ok(())
}

/// Replaces distances beside quotients by what is to be stored: where the integer stays the same, the
/// distance mostly does too.
pub(super) fn pack_ulps(differences: &[i64], ulps: &mut [i64]) {
    for index in (1..ulps.len()).rev() {
        if differences[index - 1] == 0 {
            ulps[index] = ulps[index].wrapping_sub(ulps[index - 1]);
        }
    }
}

/// Undoes [`pack_ulps`].
pub(super) fn unpack_ulps(differences: &[i64], ulps: &mut [i64]) {
    for index in 1..ulps.len() {
        if differences[index - 1] == 0 {
            ulps[index] = ulps[index].wrapping_add(ulps[index - 1]);
        }
    }
}
