//! Columns that may refer to one another, as format 2 lays them out: sections of like fields, so that
//! what one column teaches zstd the next one uses.

use std::ops::Range;
use std::sync::Arc;

use super::CodecError;
use super::decimal;
use super::numbers::{self, Kind, Numbers};
use super::presence::{Presence, Presences, PresencesWriter};
use super::residual::{self, CHAIN_MAX, Candidate, Order, REFERENCES_MAX, Reference, Residual};
use super::runs::{self, Run};
use super::segment::Integers;
use super::varint::{read_signed, read_unsigned, write_signed, write_unsigned};

/// A column's first byte: kind, order, number of references, and whether there is a presence.
const KIND_MASK: u8 = 0b111;
const ORDER_SHIFT: u32 = 3;
const REFERENCES_SHIFT: u32 = 5;
const TWO_BITS: u8 = 0b11;
const HAS_PRESENCE: u8 = 0b1000_0000;
/// A column's second byte: the exponent, and whether the first integer is told from the column before.
const EXPONENT_MASK: u8 = 0b1111;
const IS_RELATIVE: u8 = 0b1_0000;

/// The sections of a body in the making.
#[derive(Default)]
struct Sections {
    kinds: Vec<u8>,
    last_presence: u32,
    presences: Vec<u8>,
    exponents: Vec<u8>,
    firsts: Vec<u8>,
    extras: Vec<u8>,
    runs: Vec<u8>,
}

/// Appends the columns to `out`, one value per row each. Their presences go into `shared` if there is
/// one, else into the segment itself.
pub(super) fn encode(
    columns: &[&[f64]],
    shared: Option<&mut PresencesWriter>,
    candidates_max: usize,
    out: &mut Vec<u8>,
) {
    let mut sections = Sections::default();
    let mut own = PresencesWriter::default();
    let is_own = shared.is_none();
    let presences = shared.unwrap_or(&mut own);
    let mut candidates: Vec<Candidate> = Vec::new();
    let (mut plain, mut last_first) = (Vec::new(), 0i64);
    for (index, values) in columns.iter().enumerate() {
        let presence = presences.number_of(values, &mut plain);
        sections.push_presence(presence);
        let mut numbers = Numbers::of(&plain);
        let mut head = numbers.kind as u8 | if presence > 0 { HAS_PRESENCE } else { 0 };
        if let Some(&first) = numbers.integers.first() {
            sections.push_first(&numbers, first, &mut last_first);
        }
        if numbers.kind.is_varying() {
            let differences: Vec<i64> = numbers.integers.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
            if numbers.kind == Kind::NearDecimal {
                numbers::pack_ulps(&differences, &mut numbers.ulps);
            }
            let residual = if candidates_max == 0 {
                residual::own_course(differences)
            } else {
                let mut candidate = Candidate::new(index, presence, differences);
                let residual = residual::take_apart(&mut candidate, &candidates, candidates_max);
                candidates.push(candidate);
                residual
            };
            head |= (residual.order as u8) << ORDER_SHIFT | (residual.references.len() as u8) << REFERENCES_SHIFT;
            sections.push_residual(&residual);
            if numbers.kind == Kind::NearDecimal {
                runs::write(&numbers.ulps, &mut sections.extras, &mut sections.runs);
            }
        }
        sections.kinds.push(head);
    }
    if is_own {
        own.write(out);
    }
    let Sections { kinds, presences, exponents, firsts, extras, runs, .. } = sections;
    [kinds, presences, exponents, firsts, extras, runs].iter().for_each(|section| out.extend_from_slice(section));
}

impl Sections {
    /// Numbers mostly rise by one from column to column, or stay: so does their difference.
    fn push_presence(&mut self, number: u32) {
        if number > 0 {
            write_signed(&mut self.presences, i64::from(number) - i64::from(self.last_presence) - 1);
            self.last_presence = number;
        }
    }

    fn push_first(&mut self, numbers: &Numbers, first: i64, last_first: &mut i64) {
        let relative = first.wrapping_sub(*last_first);
        let is_relative = relative.unsigned_abs() < first.unsigned_abs();
        self.exponents.push(numbers.exponent | if is_relative { IS_RELATIVE } else { 0 });
        write_signed(&mut self.firsts, if is_relative { relative } else { first });
        *last_first = first;
    }

    fn push_residual(&mut self, residual: &Residual) {
        for reference in &residual.references {
            write_unsigned(&mut self.extras, u64::from(reference.distance) << 1 | u64::from(reference.is_negative));
        }
        write_unsigned(&mut self.extras, residual.unit as u64);
        if residual.order != Order::First {
            write_signed(&mut self.extras, residual.lead);
        }
        runs::write(&residual.rest, &mut self.extras, &mut self.runs);
    }
}

/// Unpacked columns.
#[derive(Debug)]
pub(super) struct Columns {
    body: Vec<u8>,
    rows: usize,
    columns: Vec<Column>,
    presences: Arc<Presences>,
}

#[derive(Debug)]
struct Column {
    kind: Kind,
    order: Order,
    exponent: u8,
    reference_count: u8,
    /// Whether a later column refers to it.
    is_referenced: bool,
    /// Its number in `presences`; 0 for plain values throughout.
    presence: u32,
    references: [Reference; REFERENCES_MAX],
    first: i64,
    lead: i64,
    unit: i64,
    rest: Run,
    ulps: Run,
}

/// What reading one column of a segment has decoded and the next one may refer to.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    differences: Vec<Option<Vec<i64>>>,
    len: usize,
}

impl Decoded {
    /// Differences kept at most: all of a usual segment's, 64 columns of twelve hours at 15 s. Forgetting
    /// costs only time.
    const LEN_MAX: usize = 1 << 18;

    fn keep(&mut self, index: usize, differences: Vec<i64>) {
        if self.len + differences.len() > Self::LEN_MAX {
            *self = Self::default();
        }
        self.len += differences.len();
        self.differences.resize(self.differences.len().max(index + 1), None);
        self.differences[index] = Some(differences);
    }
}

impl Columns {
    /// Finds the columns in an unpacked body. The presences are in the body unless they are given.
    pub fn open(body: Vec<u8>, count: usize, rows: usize, shared: Option<&Arc<Presences>>) -> Result<Self, CodecError> {
        let mut input = body.as_slice();
        let presences = match shared {
            Some(shared) => Arc::clone(shared),
            None => Arc::new(Presences::read(&mut input, rows)?),
        };
        let mut opened = Self { body: Vec::new(), rows, columns: Vec::new(), presences };
        let heads = input.get(..count).ok_or(CodecError::Truncated)?;
        input = &input[count..];
        let mut last_presence = 0;
        for head in heads {
            let presence =
                if head & HAS_PRESENCE == 0 { 0 } else { opened.read_presence(&mut input, &mut last_presence)? };
            opened.columns.push(Column::new(*head, presence)?);
        }
        opened.read_firsts(&mut input)?;
        let mut chains = Vec::with_capacity(count);
        for index in 0..count {
            let plain = opened.plain_count(index);
            let (earlier, rest) = opened.columns.split_at_mut(index);
            let column = &mut rest[0];
            match (column.kind, plain) {
                (Kind::None, 0) => {}
                (Kind::None, _) => return Err(CodecError::Malformed("values are missing")),
                (_, 0) => return Err(CodecError::Malformed("values for no row")),
                _ => {}
            }
            chains.push(if column.kind.is_varying() {
                column.read_extras(&mut input, plain, earlier, &chains)?
            } else {
                1
            });
        }
        let mut at = (body.len() - input.len()) as u64;
        for column in &mut opened.columns {
            at = column.ulps.place(column.rest.place(at));
        }
        if at != body.len() as u64 {
            return Err(CodecError::Malformed("the columns do not fill the body"));
        }
        opened.body = body;
        Ok(opened)
    }

    /// How many columns there are.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Bytes of memory besides the value itself.
    pub fn memory(&self) -> usize {
        self.body.capacity() + self.columns.capacity() * size_of::<Column>()
    }

    /// Appends one column's values, one per row.
    pub fn decode(&self, index: usize, values: &mut Vec<f64>) -> Result<(), CodecError> {
        let start = values.len();
        if let Some(presence) = self.decode_plain(index, &mut Decoded::default(), values)? {
            presence.spread(start, values);
        }
        Ok(())
    }

    /// Appends the values from the first row that has one to the last; gives these rows. What other columns
    /// refer to is decoded once for all columns read with the same `decoded`.
    pub fn decode_span(
        &self,
        index: usize,
        decoded: &mut Decoded,
        values: &mut Vec<f64>,
    ) -> Result<Range<usize>, CodecError> {
        let start = values.len();
        let presence = self.decode_plain(index, decoded, values)?;
        Ok(presence.map_or(0..self.rows, |presence| presence.spread_span(start, values)))
    }

    /// The column as integers, if it is one of varying decimals without holes. `own` is working memory.
    pub fn integers<'d>(
        &self,
        index: usize,
        decoded: &'d mut Decoded,
        own: &'d mut Vec<i64>,
    ) -> Result<Option<Integers<'d>>, CodecError> {
        let column = self.columns.get(index).ok_or(CodecError::NoSuchColumn(index))?;
        if column.kind != Kind::Decimal || column.presence != 0 {
            return Ok(None);
        }
        let scale = decimal::power(column.exponent)?;
        let differences = if column.is_referenced {
            self.kept_differences(index, decoded)?
        } else {
            *own = self.differences(index, decoded)?;
            own
        };
        Ok(Some(Integers { scale, first: column.first, differences }))
    }

    /// The unpacked bytes, to be used again.
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// Appends the plain values of a column; gives what else it has.
    fn decode_plain(
        &self,
        index: usize,
        decoded: &mut Decoded,
        values: &mut Vec<f64>,
    ) -> Result<Option<&Presence>, CodecError> {
        let column = self.columns.get(index).ok_or(CodecError::NoSuchColumn(index))?;
        let plain = self.plain_count(index);
        values.reserve(plain);
        match column.kind {
            Kind::None => {}
            kind if kind.is_varying() => {
                let own;
                let differences = if column.is_referenced {
                    self.kept_differences(index, decoded)?
                } else {
                    own = self.differences(index, decoded)?;
                    &own
                };
                let mut ulps = Vec::new();
                if kind == Kind::NearDecimal {
                    ulps.reserve(plain);
                    column.ulps.read(&self.body, &mut ulps)?;
                    numbers::unpack_ulps(differences, &mut ulps);
                }
                numbers::restore(kind, column.exponent, column.first, differences, &ulps, values)?;
            }
            kind => numbers::repeat(kind, column.exponent, column.first, plain, values)?,
        }
        Ok(self.presences.get(column.presence, self.rows))
    }

    /// The differences of a varying column. References go at most [`CHAIN_MAX`] deep, as was checked when
    /// the segment was opened.
    fn differences(&self, index: usize, decoded: &mut Decoded) -> Result<Vec<i64>, CodecError> {
        let column = &self.columns[index];
        let mut differences = Vec::with_capacity(self.plain_count(index));
        if column.order != Order::First {
            differences.push(column.lead);
        }
        column.rest.read(&self.body, &mut differences)?;
        residual::undo_order(column.order, &mut differences);
        if column.unit != 1 {
            differences.iter_mut().for_each(|difference| *difference = difference.wrapping_mul(column.unit));
        }
        for reference in &column.references[..usize::from(column.reference_count)] {
            let earlier = self.kept_differences(index - reference.distance as usize, decoded)?;
            residual::add(&mut differences, earlier, reference.is_negative);
        }
        Ok(differences)
    }

    /// The same, kept for the next column that refers to them.
    fn kept_differences<'d>(&self, index: usize, decoded: &'d mut Decoded) -> Result<&'d [i64], CodecError> {
        if decoded.differences.get(index).is_none_or(|kept| kept.is_none()) {
            let differences = self.differences(index, decoded)?;
            decoded.keep(index, differences);
        }
        Ok(decoded.differences[index].as_deref().expect("kept above"))
    }

    fn plain_count(&self, index: usize) -> usize {
        self.presences.get(self.columns[index].presence, self.rows).map_or(self.rows, |presence| presence.plain)
    }

    fn read_presence(&self, input: &mut &[u8], last: &mut u32) -> Result<u32, CodecError> {
        let number = read_signed(input)?.checked_add(i64::from(*last) + 1);
        let number = number.and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0);
        let number = number.ok_or(CodecError::Malformed("an unknown presence"))?;
        self.presences.get(number, self.rows).ok_or(CodecError::Malformed("an unknown presence"))?;
        *last = number;
        Ok(number)
    }

    fn read_firsts(&mut self, input: &mut &[u8]) -> Result<(), CodecError> {
        let with_first = self.columns.iter().filter(|column| column.kind != Kind::None).count();
        let exponents = input.get(..with_first).ok_or(CodecError::Truncated)?;
        *input = &input[with_first..];
        let mut last_first = 0i64;
        let columns = self.columns.iter_mut().filter(|column| column.kind != Kind::None);
        for (column, exponent) in columns.zip(exponents) {
            column.exponent = exponent & EXPONENT_MASK;
            let integer = read_signed(input)?;
            column.first = if exponent & IS_RELATIVE == 0 { integer } else { last_first.wrapping_add(integer) };
            last_first = column.first;
        }
        Ok(())
    }
}

impl Column {
    fn new(head: u8, presence: u32) -> Result<Self, CodecError> {
        let kind = Kind::from_number(head & KIND_MASK).ok_or(CodecError::Malformed("unknown kind of column"))?;
        let order = match head >> ORDER_SHIFT & TWO_BITS {
            0 => Order::First,
            1 => Order::Second,
            2 => Order::Average,
            _ => return Err(CodecError::Malformed("unknown order of a column")),
        };
        Ok(Self {
            kind,
            order,
            exponent: 0,
            reference_count: head >> REFERENCES_SHIFT & TWO_BITS,
            is_referenced: false,
            presence,
            references: [Reference { distance: 0, is_negative: false }; REFERENCES_MAX],
            first: 0,
            lead: 0,
            unit: 1,
            rest: Run::default(),
            ulps: Run::default(),
        })
    }

    /// Reads what a varying column of `plain` values has besides; gives how many columns decoding it takes.
    fn read_extras(
        &mut self,
        input: &mut &[u8],
        plain: usize,
        earlier: &mut [Self],
        chains: &[u32],
    ) -> Result<u32, CodecError> {
        let mut chain = 1;
        for reference in &mut self.references[..usize::from(self.reference_count)] {
            let coded = read_unsigned(input)?;
            let index = (earlier.len() as u64).checked_sub(coded >> 1).filter(|_| coded >> 1 > 0);
            let index = index.ok_or(CodecError::Malformed("a reference out of range"))? as usize;
            // Equal presences mean equally many differences.
            if !earlier[index].kind.is_varying() || earlier[index].presence != self.presence {
                return Err(CodecError::Malformed("a reference to a column of another shape"));
            }
            chain += chains[index];
            earlier[index].is_referenced = true;
            *reference = Reference { distance: (coded >> 1) as u32, is_negative: coded & 1 != 0 };
        }
        if chain > CHAIN_MAX {
            return Err(CodecError::Malformed("too long a chain of references"));
        }
        self.unit = read_unsigned(input)? as i64;
        let mut rest_len = plain - 1;
        if self.order != Order::First {
            self.lead = read_signed(input)?;
            rest_len = rest_len.checked_sub(1).ok_or(CodecError::Malformed("an order without differences"))?;
        }
        self.rest = Run::read_form(input, rest_len)?;
        if self.kind == Kind::NearDecimal {
            self.ulps = Run::read_form(input, plain)?;
        }
        Ok(chain)
    }
}
