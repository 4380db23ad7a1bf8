//! How a file ends: a record may begin behind the last sound one and be none.
//!
//! A power cut leaves such a record, whose samples nobody was told to be durable; so does a card that loses or changes
//! bytes of a record that was. Nothing is written over it, whichever it is: the log goes on in another file, and this one
//! stays until blocks hold what is sound in it.

use super::record::{self, ALIGNMENT, HEADER_LEN, LEN_AT};

/// What devices write whole or not at all.
const SECTOR: usize = 512;
/// No packed payload ends in so many zeros.
const ZEROS: usize = 8;

/// A record that begins and is not sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// Where in the file.
    pub at: usize,
    /// Which one it should be; 0 where nothing is known.
    pub sequence: u64,
    pub fault: Fault,
}

/// What has become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not all of it has reached the device.
    Torn,
    /// It was there, and is not as it was written.
    Damaged,
    /// One of both: where a file is used again, something of its earlier use may stand where nothing was written.
    Unclear,
}

impl Ending {
    /// Whether it counts as damage. At the end of a run the record may be the one in flight when the power went.
    pub fn is_damage(&self, is_end_of_run: bool) -> bool {
        self.fault == Fault::Damaged || !is_end_of_run
    }

    /// What there is to say.
    pub fn text(&self, is_end_of_run: bool) -> String {
        let what = match self.fault {
            _ if self.is_damage(is_end_of_run) => "is damaged",
            Fault::Torn => "is incomplete, as a power cut leaves it",
            _ => "is incomplete, as a power cut leaves it, or damaged",
        };
        format!("its last record, at byte {}, {what}; nothing is written over it", self.at)
    }
}

/// What has become of the record that begins with `bytes`, which are all up to the end of the file.
pub(super) fn fault_of(bytes: &[u8]) -> Fault {
    let Some(end) = record::end_of(bytes) else { return Fault::Torn };
    let ends_in_zeros = |part: &[u8]| part.iter().rev().take(ZEROS).all(|byte| *byte == 0);
    let Some(payload) = bytes.get(HEADER_LEN..end) else {
        // A file that was cut ends in the middle of a record; one that was not has zeros there.
        return if is_one_byte_off(bytes) || ends_in_zeros(bytes) { Fault::Damaged } else { Fault::Torn };
    };
    if is_one_byte_off(bytes) {
        return Fault::Damaged;
    }
    // The first sector has the header too.
    let sectors = bytes[..end].chunks(SECTOR).skip(1);
    if ends_in_zeros(payload) || sectors.into_iter().any(|sector| sector.iter().all(|byte| *byte == 0)) {
        return Fault::Torn;
    }
    let behind = bytes.get(end.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    if behind.iter().all(|byte| *byte == 0) { Fault::Damaged } else { Fault::Unclear }
}

/// Whether a single byte makes a sound record of it. What a power cut leaves does so once in ten thousand times.
fn is_one_byte_off(bytes: &[u8]) -> bool {
    let Some(header) = bytes.get(..HEADER_LEN) else { return false };
    if let Some(end) = record::end_of(bytes)
        && let Some(content) = bytes.get(8..end)
    {
        let difference = crc32fast::hash(content) ^ record::checksum_of(header);
        let is_in_checksum = difference.to_le_bytes().iter().filter(|byte| **byte != 0).count() <= 1;
        // With a right checksum it is the magic number.
        if is_in_checksum || is_of_one_byte(difference, content.len()) {
            return true;
        }
    }
    // The length says what the checksum covers.
    let lengths = (LEN_AT..LEN_AT + 4).flat_map(|at| (0..=u8::MAX).map(move |value| (at, value)));
    lengths.into_iter().any(|(at, value)| {
        let mut header = header.to_vec();
        header[at] = value;
        let content = record::end_of(&header).and_then(|end| bytes.get(HEADER_LEN..end));
        content.is_some_and(|content| {
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(&header[8..]);
            hasher.update(content);
            hasher.finalize() == record::checksum_of(&header)
        })
    })
}

/// CRC-32 of each single byte, as zlib has them.
const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut value, mut bit) = (byte as u32, 0);
        while bit < 8 {
            value = if value & 1 == 1 { 0xedb8_8320 ^ value >> 1 } else { value >> 1 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
};

/// Whether two checksums differ as they do when one byte of `len` differs: the register is run backwards, as if over
/// zeros, until nothing but that byte is in it.
fn is_of_one_byte(difference: u32, len: usize) -> bool {
    let mut by_top = [0u8; 256];
    (0..=u8::MAX).zip(CRC_TABLE).for_each(|(byte, entry)| by_top[(entry >> 24) as usize] = byte);
    let mut register = difference;
    (0..len).any(|_| {
        let byte = by_top[(register >> 24) as usize];
        register = (register ^ CRC_TABLE[byte as usize]) << 8 | u32::from(byte);
        register <= 0xff
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::store::log::record::Header;

    /// A record of some pages, and zeros or an earlier use of the file behind it.
    fn file(payload_len: u32, behind: u8) -> Vec<u8> {
        let header =
            Header { sequence: 7, lineage: 99, is_checkpoint: false, since_checkpoint: 3, newest: Timestamp(5) };
        let mut random = 1u32;
        let payload: Vec<u8> = (0..payload_len)
            .map(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (random >> 24) as u8
            })
            .collect();
        let mut bytes = record::encode(&header, &payload).expect("it packs");
        bytes.resize(bytes.len() + 4 * ALIGNMENT, behind);
        bytes
    }

    #[test]
    fn a_byte_that_has_changed_is_damage_wherever_it_is() {
        for (payload_len, behind) in [(60, 0), (60, 3), (10_000, 0), (10_000, 3)] {
            let sound = file(payload_len, behind);
            let end = record::end_of(&sound).expect("a header");
            for at in (0..HEADER_LEN).chain((HEADER_LEN..end).step_by(97)).chain(end - 9..end) {
                for change in [1, 0x80, 0xff] {
                    let mut bytes = sound.clone();
                    bytes[at] ^= change;
                    assert!(record::decode(&bytes).is_none());
                    assert_eq!(fault_of(&bytes), Fault::Damaged, "{payload_len} {behind}: byte {at} ^ {change}");
                }
            }
        }
    }

    #[test]
    fn what_has_not_reached_the_device_is_torn() {
        for payload_len in [3_000, 10_000] {
            let sound = file(payload_len, 0);
            let end = record::end_of(&sound).expect("a header");
            for from in (SECTOR..end).step_by(SECTOR) {
                let mut bytes = sound.clone();
                // Sectors arrive in any order: only this one is missing, then all from there on.
                bytes[from..(from + SECTOR).min(end)].fill(0);
                assert_eq!(fault_of(&bytes), Fault::Torn, "{from} of {end}");
                bytes[from..].fill(0);
                assert_eq!(fault_of(&bytes), Fault::Torn, "from {from} of {end}");
                // In a file of an earlier use what was there before stands there still.
                let mut used = file(payload_len, 3);
                used[from..end].fill(5);
                assert_eq!(fault_of(&used), Fault::Unclear, "{from} of {end}");
                assert_eq!(fault_of(&sound[..from]), Fault::Torn, "cut at {from} of {end}");
            }
        }
        // In one that was never used before, it is damage.
        let mut bytes = file(10_000, 0);
        bytes[600..700].fill(5);
        assert_eq!(fault_of(&bytes), Fault::Damaged);
    }
}
