//! The series of a target in a block: their label sets, sorted and compressed.
//!
//! One row per target and set of series. Consecutive blocks of a target that has not changed share it,
//! which makes labels nearly free; as plain text rows they would outweigh the samples. A target's metrics
//! mostly come with the same sets of further labels, again and again: each such set is written once.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::codec::{CodecError, read_signed, read_unsigned, write_signed, write_unsigned};
use crate::model::Labels;
use crate::store::squeeze::squeeze;

/// Label sets one behind the other, front-coded.
const FORMAT_TEXT: u8 = 1;
/// First labels (metric names), further labels, and which go together.
const FORMAT_TABLES: u8 = 2;
const TEXT_BYTES_MAX: u64 = 1 << 28;
/// What front-coded entries may come to: a million series with 60 bytes each of their own.
const TABLE_BYTES_MAX: usize = 1 << 26;
const CHECKSUM_LEN: usize = 4;

/// Packs sorted label sets.
pub(super) fn encode(series: &[Labels]) -> std::io::Result<Vec<u8>> {
    let (mut firsts, mut rests, mut pairings) = (Table::default(), Table::default(), Vec::new());
    let mut last_number = 0i64;
    for labels in series {
        let (first, rest) = split_first_label(labels.as_bytes());
        write_unsigned(&mut pairings, u64::from(firsts.add_next(first)));
        let number = i64::from(rests.number_of(rest));
        // Metrics have the same further labels in the same order: mostly the next number follows.
        write_signed(&mut pairings, number - last_number - 1);
        last_number = number;
    }
    let mut text = Vec::with_capacity(firsts.text.len() + rests.text.len() + pairings.len() + 8);
    firsts.write(&mut text);
    rests.write(&mut text);
    text.extend_from_slice(&pairings);
    let mut packed = vec![FORMAT_TABLES];
    write_unsigned(&mut packed, series.len() as u64);
    write_unsigned(&mut packed, text.len() as u64);
    packed.extend_from_slice(&squeeze(&text)?);
    let checksum = crc32fast::hash(&packed);
    packed.extend_from_slice(&checksum.to_le_bytes());
    Ok(packed)
}

/// Cuts the encoded labels behind the first one.
fn split_first_label(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut rest = bytes;
    for _ in 0..2 {
        let len = read_unsigned(&mut rest).unwrap_or(0) as usize;
        rest = rest.get(len..).unwrap_or_default();
    }
    bytes.split_at(bytes.len() - rest.len())
}

/// Distinct entries, front-coded in the order of their appearance.
#[derive(Default)]
struct Table<'a> {
    numbers: HashMap<&'a [u8], u32, FixedState>,
    last: &'a [u8],
    text: Vec<u8>,
}

impl<'a> Table<'a> {
    /// Adds an entry if it is not the last one; says whether it is new. For sorted entries.
    fn add_next(&mut self, entry: &'a [u8]) -> bool {
        let known = self.numbers.len();
        self.number_of(entry);
        self.numbers.len() > known
    }

    fn number_of(&mut self, entry: &'a [u8]) -> u32 {
        let next = self.numbers.len() as u32;
        let number = *self.numbers.entry(entry).or_insert(next);
        if number == next {
            let shared = entry.iter().zip(self.last).take_while(|(a, b)| a == b).count();
            write_unsigned(&mut self.text, shared as u64);
            write_unsigned(&mut self.text, (entry.len() - shared) as u64);
            self.text.extend_from_slice(&entry[shared..]);
            self.last = entry;
        }
        number
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_unsigned(out, self.numbers.len() as u64);
        out.extend_from_slice(&self.text);
    }
}

/// Unpacks label sets and gives each, with its position, to `visit`.
pub(super) fn decode(bytes: &[u8], visit: impl FnMut(u32, &[(&str, &str)])) -> Result<(), CodecError> {
    let (content, checksum) = bytes.split_last_chunk::<CHECKSUM_LEN>().ok_or(CodecError::Truncated)?;
    if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
        return Err(CodecError::Checksum);
    }
    let (&format, mut rest) = content.split_first().ok_or(CodecError::Truncated)?;
    if !(FORMAT_TEXT..=FORMAT_TABLES).contains(&format) {
        return Err(CodecError::UnknownFormat(format));
    }
    let (count, len) = (read_unsigned(&mut rest)?, read_unsigned(&mut rest)?);
    if len > TEXT_BYTES_MAX {
        return Err(CodecError::Malformed("too much label text"));
    }
    let text = zstd::bulk::decompress(rest, len as usize).map_err(|_| CodecError::Malformed("names do not unpack"))?;
    match format {
        FORMAT_TEXT => decode_text(&text, count, visit),
        _ => decode_tables(&text, count, visit),
    }
}

fn decode_text(text: &[u8], count: u64, mut visit: impl FnMut(u32, &[(&str, &str)])) -> Result<(), CodecError> {
    let (mut rest, mut labels) = (text, Vec::new());
    for position in 0..count {
        read_front_coded(&mut rest, &mut labels)?;
        visit(position as u32, &pairs_of(&labels)?);
    }
    Ok(())
}

fn decode_tables(text: &[u8], count: u64, mut visit: impl FnMut(u32, &[(&str, &str)])) -> Result<(), CodecError> {
    let mut rest = text;
    let (firsts, rests) = (read_table(&mut rest)?, read_table(&mut rest)?);
    let (firsts, rests) = (entries_of(&firsts)?, entries_of(&rests)?);
    let out_of_range = CodecError::Malformed("a label set out of range");
    let (mut next_first, mut last_number, mut pairs) = (0usize, 0i64, Vec::new());
    for position in 0..count {
        next_first += usize::from(read_unsigned(&mut rest)? > 0);
        let first = next_first.checked_sub(1).and_then(|first| firsts.get(first)).ok_or(out_of_range)?;
        last_number = last_number.wrapping_add(read_signed(&mut rest)?).wrapping_add(1);
        let further = usize::try_from(last_number).ok().and_then(|number| rests.get(number)).ok_or(out_of_range)?;
        pairs.clear();
        pairs.extend(first.iter().chain(further));
        visit(position as u32, &pairs);
    }
    Ok(())
}

/// The entries of a table, one behind the other, and where each ends.
fn read_table(rest: &mut &[u8]) -> Result<(Vec<u8>, Vec<usize>), CodecError> {
    let count = read_unsigned(rest)?;
    let (mut bytes, mut ends, mut entry) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..count {
        read_front_coded(rest, &mut entry)?;
        bytes.extend_from_slice(&entry);
        ends.push(bytes.len());
        if bytes.len() > TABLE_BYTES_MAX {
            return Err(CodecError::Malformed("too much label text"));
        }
    }
    Ok((bytes, ends))
}

type Pairs<'a> = Vec<(&'a str, &'a str)>;

fn entries_of<'a>((bytes, ends): &'a (Vec<u8>, Vec<usize>)) -> Result<Vec<Pairs<'a>>, CodecError> {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(ends).map(|(start, end)| pairs_of(&bytes[start..*end])).collect()
}

/// Turns `entry` into the one that follows it.
fn read_front_coded(rest: &mut &[u8], entry: &mut Vec<u8>) -> Result<(), CodecError> {
    let (shared, fresh) = (read_unsigned(rest)?, read_unsigned(rest)?);
    if shared > entry.len() as u64 || fresh > rest.len() as u64 {
        return Err(CodecError::Truncated);
    }
    entry.truncate(shared as usize);
    let (suffix, after) = rest.split_at(fresh as usize);
    entry.extend_from_slice(suffix);
    *rest = after;
    Ok(())
}

fn pairs_of(mut bytes: &[u8]) -> Result<Vec<(&str, &str)>, CodecError> {
    let mut pairs = Vec::with_capacity(8);
    while !bytes.is_empty() {
        pairs.push((take_text(&mut bytes)?, take_text(&mut bytes)?));
    }
    Ok(pairs)
}

fn take_text<'a>(bytes: &mut &'a [u8]) -> Result<&'a str, CodecError> {
    let len = read_unsigned(bytes)?;
    if len > bytes.len() as u64 {
        return Err(CodecError::Truncated);
    }
    let (text, rest) = bytes.split_at(len as usize);
    *bytes = rest;
    std::str::from_utf8(text).map_err(|_| CodecError::Malformed("label text that is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::mutation::{mutate, mutate_sealed};

    fn some_series() -> Vec<Labels> {
        let mut series: Vec<Labels> = (0..100)
            .map(|index| {
                let name = if index % 2 == 0 { "http_requests_total" } else { "http_responses_total" };
                Labels::from_pairs([("__name__", name), ("code", &format!("{}", index / 2)), ("é", "ü")])
            })
            .collect();
        series.extend([Labels::empty(), Labels::from_pairs([("__name__", "up")]), Labels::from_pairs([("A", "b")])]);
        series.sort();
        series
    }

    /// What the first format's writer made.
    fn encode_text(series: &[Labels]) -> Vec<u8> {
        let (mut text, mut last): (Vec<u8>, &[u8]) = (Vec::new(), &[]);
        for labels in series {
            let bytes = labels.as_bytes();
            let shared = bytes.iter().zip(last).take_while(|(a, b)| a == b).count();
            write_unsigned(&mut text, shared as u64);
            write_unsigned(&mut text, (bytes.len() - shared) as u64);
            text.extend_from_slice(&bytes[shared..]);
            last = bytes;
        }
        let mut packed = vec![FORMAT_TEXT];
        write_unsigned(&mut packed, series.len() as u64);
        write_unsigned(&mut packed, text.len() as u64);
        packed.extend_from_slice(&zstd::bulk::compress(&text, 3).expect("zstd does not fail in memory"));
        packed.extend_from_slice(&crc32fast::hash(&packed).to_le_bytes());
        packed
    }

    #[test]
    fn label_sets_come_back_and_damage_is_noticed() {
        let series = some_series();
        check(&series, &encode(&series).expect("zstd does not fail in memory"));
        check(&series, &encode_text(&series));
    }

    #[test]
    fn damage_behind_the_checksum_never_panics() {
        let series = some_series();
        mutate_sealed(&encode(&series).expect("zstd does not fail in memory"), |bytes| {
            let _ = decode(bytes, |_, _| {});
        });
        // Behind zstd too.
        let bytes = encode(&series).expect("zstd does not fail in memory");
        let mut rest = &bytes[1..];
        let (count, len) =
            (read_unsigned(&mut rest).expect("just encoded"), read_unsigned(&mut rest).expect("just encoded"));
        let packed = &rest[..rest.len() - CHECKSUM_LEN];
        let text = zstd::bulk::decompress(packed, len as usize).expect("just encoded");
        mutate(&text, |text| {
            let _ = decode_tables(text, count, |_, _| {});
        });
    }

    fn check(series: &[Labels], bytes: &[u8]) {
        let mut found = Vec::new();
        decode(bytes, |position, pairs| {
            assert_eq!(position as usize, found.len());
            found.push(Labels::from_sorted(pairs.iter().copied()));
        })
        .expect("just encoded");
        assert_eq!(found, series);
        for at in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1;
            assert!(decode(&damaged, |_, _| {}).is_err());
        }
    }
}
