//! Delimited protobuf: no page makes the parser or the histogram decoder panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outpost::exposition::{Entry, ProtobufParser};

fuzz_target!(|page: &[u8]| {
    let mut parser = ProtobufParser::new(page);
    while let Ok(Some(entry)) = parser.next_entry() {
        match entry {
            Entry::Series(series) => series.labels().for_each(drop),
            Entry::NativeHistogram(histogram) => drop(histogram.decode()),
            _ => {}
        }
    }
});
