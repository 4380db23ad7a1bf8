//! Certificates that a server presents: see `checks.rs` for what must hold.
#![no_main]

#[path = "../checks.rs"]
mod checks;
#[path = "../reference.rs"]
mod reference;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::certificate(data));
