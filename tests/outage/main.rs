//! A stock Prometheus as the central, in a network namespace of its own, behind a link that the tests cut, slow down and
//! join: afterwards every sample of every federated series is compared, count by count, time and value, with what the site's
//! own store gives.
//!
//! The central is never simulated. Long outages are: the site's clock stands in the past until the central has pulled, is
//! set while the link is cut, and a target brings the samples of the time between with timestamps of its own.
//!
//! What the contract promises: a central with an out-of-order window as long as the outage has everything; one
//! without has what was at most [`scene::REACH`] old when it was pulled. What such a central has of older samples must
//! still be right, but need not be there.
//!
//! Needs root, network namespaces and TUN devices: where they are missing it says so, and with `CI` set it fails. Lengths are
//! short by default; `OUTPOST_OUTAGE_SECONDS` (real outages), `OUTPOST_FLAP_SECONDS` and `OUTPOST_FLAPPING_SECONDS` (each half of
//! a flap, and all of them), `OUTPOST_STEADY_SECONDS` ask for more. `OUTPOST_OUTAGE_ONLY` names the one check to run.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
#![allow(clippy::print_stderr, reason = "a skipped test says so, and a long one tells what it measured")]
#![allow(clippy::disallowed_methods, reason = "outages are timed by the machine's clock")]

/// Starting programs, asking them over HTTP, waiting for conditions.
#[path = "../integration/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the integration tests, which use more of it")]
mod support;

/// Samples of both sides, and what differs.
mod compare;
/// What breaks while the link is bad: processes, replies, packets.
mod faults;
/// Outpost as the central.
mod hierarchy;
/// Outages of a minute to more than a day.
mod lengths;
/// Two network namespaces and the link between them.
mod link;
/// Reverse proxies before the site.
mod proxies;
/// A relay that harms replies.
mod relay;
/// A site and its centrals.
mod scene;
/// No trouble at all, for long.
mod steady;

/// A number from the environment.
fn parameter(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: not a number: {text}")))
}

/// Runs checks that mostly wait, all at once.
fn together(checks: &[(&str, fn())]) {
    let only = std::env::var("OUTPOST_OUTAGE_ONLY").unwrap_or_default();
    std::thread::scope(|scope| {
        for (name, check) in checks.iter().filter(|(name, _)| name.contains(&only)) {
            std::thread::Builder::new().name((*name).to_owned()).spawn_scoped(scope, check).unwrap();
        }
    });
}
