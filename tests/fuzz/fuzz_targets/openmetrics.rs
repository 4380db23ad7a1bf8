//! OpenMetrics: see `checks.rs` for what must hold.
#![no_main]

#[path = "../checks.rs"]
mod checks;
#[path = "../reference.rs"]
mod reference;

libfuzzer_sys::fuzz_target!(|page: &[u8]| checks::openmetrics(page));
