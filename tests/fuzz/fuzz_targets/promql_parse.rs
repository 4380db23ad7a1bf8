//! Any text as a query: an error with a place in it, or a tree whose printed form is a fixed point.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../compliance/fuzzed.rs"]
mod fuzzed;

fuzz_target!(|bytes: &[u8]| fuzzed::check_text(bytes));
