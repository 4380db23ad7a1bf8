//! Segments: no bytes make the reader panic, also behind a right checksum; what it takes, written anew, comes back.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use outpost::codec::{Effort, Presences, Segment, encode_segment};

fuzz_target!(|bytes: &[u8]| {
    // Unsealed bytes are refused by the checksum, so that hardly anything else would be tried.
    let mut sealed = bytes.to_vec();
    sealed.extend_from_slice(&crc32fast::hash(bytes).to_le_bytes());
    let presences = Presences::read(&mut &bytes[bytes.len() / 2..], 16).unwrap_or_default();
    let Ok(segment) = Segment::open_sharing(&sealed, &Arc::new(presences)) else { return };
    // A run of a billion equal values takes a few bytes: bounded here as a part's own bound does.
    if segment.row_count() * segment.column_count().max(1) > 1 << 18 {
        return;
    }
    let (mut times, mut columns) = (Vec::new(), Vec::new());
    if segment.timestamps(&mut times).is_err() {
        return;
    }
    for index in 0..segment.column_count() {
        let mut values = Vec::new();
        if segment.column(index, &mut values).is_err() {
            return;
        }
        assert_eq!(values.len(), times.len());
        columns.push(values);
    }
    let slices: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
    let mut written = Vec::new();
    encode_segment(&times, &slices, Effort::Quick, &mut written);
    let again = Segment::open(&written).expect("just written");
    for (index, expected) in columns.iter().enumerate() {
        let mut values = Vec::new();
        again.column(index, &mut values).expect("just written");
        assert!(values.iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
});
