//! The store's log: no bytes make its reader panic, neither as a file nor as entries behind the checksums.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outpost::store::fuzz::{count_log_records, read_log_entries};

fuzz_target!(|bytes: &[u8]| {
    let _ = count_log_records(bytes);
    let _ = read_log_entries(bytes);
});
