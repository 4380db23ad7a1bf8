//! The series of a target in a block: their label sets, sorted, front-coded and compressed.
//!
//! One row per target and set of series. Consecutive blocks of a target that has not changed share it,
//! which makes labels nearly free; as plain text rows they would outweigh the samples.

use crate::codec::{CodecError, read_unsigned, write_unsigned};
use crate::model::Labels;

const FORMAT: u8 = 1;
const COMPRESS_LEVEL: i32 = 9;
const TEXT_BYTES_MAX: u64 = 1 << 28;
const CHECKSUM_LEN: usize = 4;

/// Packs sorted label sets.
pub(super) fn encode(series: &[Labels]) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut last: &[u8] = &[];
    for labels in series {
        let bytes = labels.as_bytes();
        let shared = bytes.iter().zip(last).take_while(|(a, b)| a == b).count();
        write_unsigned(&mut text, shared as u64);
        write_unsigned(&mut text, (bytes.len() - shared) as u64);
        text.extend_from_slice(&bytes[shared..]);
        last = bytes;
    }
    let mut packed = vec![FORMAT];
    write_unsigned(&mut packed, series.len() as u64);
    write_unsigned(&mut packed, text.len() as u64);
    packed.extend_from_slice(&zstd::bulk::compress(&text, COMPRESS_LEVEL)?);
    let checksum = crc32fast::hash(&packed);
    packed.extend_from_slice(&checksum.to_le_bytes());
    Ok(packed)
}

/// Unpacks label sets and gives each, with its position, to `visit`.
pub(super) fn decode(bytes: &[u8], mut visit: impl FnMut(u32, &[(&str, &str)])) -> Result<(), CodecError> {
    let (content, checksum) = bytes.split_last_chunk::<CHECKSUM_LEN>().ok_or(CodecError::Truncated)?;
    if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
        return Err(CodecError::Checksum);
    }
    let (&format, mut rest) = content.split_first().ok_or(CodecError::Truncated)?;
    if format != FORMAT {
        return Err(CodecError::UnknownFormat(format));
    }
    let (count, len) = (read_unsigned(&mut rest)?, read_unsigned(&mut rest)?);
    if len > TEXT_BYTES_MAX {
        return Err(CodecError::Malformed("too much label text"));
    }
    let text = zstd::bulk::decompress(rest, len as usize).map_err(|_| CodecError::Malformed("names do not unpack"))?;
    let mut rest = text.as_slice();
    let mut labels = Vec::new();
    for position in 0..count {
        let (shared, fresh) = (read_unsigned(&mut rest)?, read_unsigned(&mut rest)?);
        if shared > labels.len() as u64 || fresh > rest.len() as u64 {
            return Err(CodecError::Truncated);
        }
        labels.truncate(shared as usize);
        let (suffix, after) = rest.split_at(fresh as usize);
        labels.extend_from_slice(suffix);
        rest = after;
        visit(position as u32, &pairs_of(&labels)?);
    }
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

    #[test]
    fn label_sets_come_back_and_damage_is_noticed() {
        let mut series: Vec<Labels> = (0..100)
            .map(|index| {
                Labels::from_pairs([("__name__", "http_requests_total"), ("code", &format!("{index}")), ("é", "ü")])
            })
            .collect();
        series.sort();
        let bytes = encode(&series).expect("zstd does not fail in memory");
        let mut found = Vec::new();
        decode(&bytes, |position, pairs| {
            assert_eq!(position as usize, found.len());
            found.push(Labels::from_sorted(pairs.iter().copied()));
        })
        .expect("just encoded");
        assert_eq!(found, series);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(decode(&damaged, |_, _| {}).is_err());
        }
    }
}
