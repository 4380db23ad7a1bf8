//! Queries over samples that the input chooses: an answer or an error, within the bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../compliance/fuzzed.rs"]
mod fuzzed;

fuzz_target!(|bytes: &[u8]| fuzzed::check_evaluation(bytes));
