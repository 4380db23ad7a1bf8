//! Tests only: bytes with something wrong in them, again and again, always the same.

/// Rounds of each test, unless `OUTPOST_MUTATION_ROUNDS` asks for more.
const ROUNDS: u64 = 3_000;

/// Calls `check` with altered copies of `bytes`: bits turned, bytes set, runs removed, repeated or made up.
pub(super) fn mutate(bytes: &[u8], mut check: impl FnMut(&[u8])) {
    let rounds = std::env::var("OUTPOST_MUTATION_ROUNDS").map_or(ROUNDS, |text| text.parse().expect("a number"));
    let mut random = 7u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below.max(1)
    };
    for _ in 0..rounds {
        let mut altered = bytes.to_vec();
        for _ in 0..=next(3) {
            let at = next(altered.len());
            let end = (at + 1 + next(8)).min(altered.len());
            match next(6) {
                0 if at < altered.len() => altered[at] ^= 1 << next(8),
                1 if at < altered.len() => altered[at] = [0, 0x7f, 0x80, 0xff][next(4)],
                2 if at < altered.len() => altered[at] = next(256) as u8,
                3 => drop(altered.drain(at.min(end)..end)),
                4 => {
                    let run = altered[at.min(end)..end].to_vec();
                    altered.splice(at..at, run);
                }
                _ => {
                    let run: Vec<u8> = (0..=next(9)).map(|_| next(256) as u8).collect();
                    altered.splice(at..at, run);
                }
            }
        }
        check(&altered);
    }
}

/// The same with the checksum that the reader asks for behind the altered bytes.
pub(super) fn mutate_sealed(sealed: &[u8], mut check: impl FnMut(&[u8])) {
    let content = &sealed[..sealed.len() - 4];
    mutate(content, |altered| {
        let mut altered = altered.to_vec();
        altered.extend_from_slice(&crc32fast::hash(&altered).to_le_bytes());
        check(&altered);
    });
}
