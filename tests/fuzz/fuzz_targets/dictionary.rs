//! A block's names and directory: no bytes make the readers panic, also behind a right checksum.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut sealed = bytes.to_vec();
    sealed.extend_from_slice(&crc32fast::hash(bytes).to_le_bytes());
    outpost::store::read_untrusted_names(&sealed);
    outpost::store::read_untrusted_directory(&sealed);
});
