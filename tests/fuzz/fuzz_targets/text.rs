//! The Prometheus text format: no page makes the parser, the label decoder or the lint panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outpost::exposition::{Entry, TextParser, lint};

fuzz_target!(|page: &[u8]| {
    let mut parser = TextParser::new(page);
    while let Ok(Some(entry)) = parser.next_entry() {
        if let Entry::Series(series) = entry {
            assert!(std::str::from_utf8(series.raw).is_ok());
            assert!(series.labels().any(|(name, _)| name == "__name__"));
        }
    }
    let _ = lint::check(page);
});
