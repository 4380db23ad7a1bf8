//! Crashes and failing disks, from outside: kill -9, power cuts on real file systems, disks that turn read-only, fill up,
//! stall or vanish. The ledger of what was served and acknowledged is kept in this process, not in the store.
//!
//! Rounds are few by default; `OUTPOST_KILL_ROUNDS`, `OUTPOST_CUT_ROUNDS` and `OUTPOST_DISK_SECONDS` ask for more. What needs
//! root and loop devices says so where it is skipped; with `CI` set it is a failure to skip.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
#![allow(clippy::print_stderr, reason = "a skipped test says so, and a long one tells what it measured")]
#![allow(clippy::disallowed_methods, reason = "restarts are timed by the machine's clock")]

/// Starting programs, asking them over HTTP, waiting for conditions.
#[path = "../integration/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the integration tests, which use more of it")]
mod support;

/// Disks that fail under a running server.
mod disk;
/// File systems in files, mounted for one test.
mod image;
/// Kill -9 under load.
mod kill;
/// A target that numbers its scrapes.
mod ledger;
/// Power cuts under load.
mod power;

/// A number from the environment.
fn parameter(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: not a number: {text}")))
}

/// A cheap random number below `below`.
fn random(below: u64) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::thread::current().id()) % below.max(1)
}
