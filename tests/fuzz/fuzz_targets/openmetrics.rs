//! OpenMetrics: no page makes the parser or the label decoder panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outpost::exposition::{Entry, OpenMetricsParser};

fuzz_target!(|page: &[u8]| {
    let mut parser = OpenMetricsParser::new(page);
    while let Ok(Some(entry)) = parser.next_entry() {
        if let Entry::Series(series) = entry {
            assert!(std::str::from_utf8(series.raw).is_ok());
            assert!(series.labels().any(|(name, _)| name == "__name__"));
            series.exemplar.into_iter().flat_map(|exemplar| exemplar.labels()).for_each(drop);
        }
    }
});
