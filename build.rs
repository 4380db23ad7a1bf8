//! What the linker is told: the binary's pages are resident memory on a Pi.

use std::path::Path;
use std::process::Command;

/// Tables to unwind by, half a megabyte: a process that aborts on a panic needs them for a backtrace alone, whose addresses
/// a stripped binary cannot name. In the words of GNU ld and lld.
const UNWIND_TABLES: &str = "\
SECTIONS { /DISCARD/ : { *(.eh_frame) *(.eh_frame_hdr) *(.gcc_except_table .gcc_except_table.*) } } INSERT AFTER .text;
";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let is_native = variable("HOST") == variable("TARGET");
    if is_native && variable("CARGO_CFG_TARGET_ENV") == "gnu" && glibc_version() >= Some((2, 36)) {
        // Relocations of pointer tables as a bitmap instead of 24 bytes each. glibc before 2.36 does not load them;
        // a linker that cannot write them warns.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    // Only for profiles that abort: release, and what inherits from it. A C library to be linked statically registers the
    // tables by name.
    if variable("PROFILE") == "release" && variable("CARGO_CFG_TARGET_ENV") == "gnu" {
        let script = Path::new(&variable("OUT_DIR")).join("no_unwind_tables.ld");
        std::fs::write(&script, UNWIND_TABLES).expect("the build's folder can be written");
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", script.display());
    }
}

/// The version of this machine's C library, which is what a native build runs on.
fn glibc_version() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text.trim().strip_prefix("glibc ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
