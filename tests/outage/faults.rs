//! What else breaks: processes are killed, replies get lost or take too long, packets are dropped, the link flaps.
//!
//! Site and central are scraped every second; samples and outages are real.

use std::time::{Duration, Instant};

use super::link::Link;
use super::relay::{Harm, Relay};
use super::scene::{Central, FEDERATED, Found, REACH, Refused, Setting, Site, now_ms, wait_for_failed_pull};
use super::{parameter, together};

/// How long the link is cut.
pub fn outage() -> Duration {
    Duration::from_secs(parameter("OUTPOST_OUTAGE_SECONDS", 4))
}

/// VictoriaMetrics takes samples in any order, but keeps their times only if told so, and puts a stale marker in the place
/// of the newest sample after a failed scrape.
fn victoria_metrics_is_the_central() {
    let job = "honor_timestamps: true\n    no_stale_markers: true";
    let setting = Setting { program: "victoria-metrics", job, ..Setting::default() };
    with_central(&setting, |site, central| {
        let began = now_ms();
        std::thread::sleep(outage());
        central.cut();
        std::thread::sleep(outage());
        central.link.join();
        check_since(began, &site, &central, "VictoriaMetrics as the central");
    });
}

#[test]
fn nothing_is_missing_whatever_breaks() {
    together(&[
        ("outpost is killed during the outage", outpost_is_killed_during_the_outage),
        ("the central is restarted", the_central_is_restarted),
        ("replies are lost on the way", replies_are_lost_on_the_way),
        ("five percent of packets are lost at 600 ms", five_percent_of_packets_are_lost_at_600_ms),
        ("VictoriaMetrics is the central", victoria_metrics_is_the_central),
        ("the link flaps", the_link_flaps),
        ("two centrals have cursors of their own", two_centrals_have_cursors_of_their_own),
    ]);
}

/// The site, and one central that has pulled from it.
fn with_central(setting: &Setting<'_>, check: impl FnOnce(Site, Central<'_>)) {
    let Some(link) = Link::new() else { return };
    let site = Site::start(&[&link], 0);
    let central = Central::start(&link, setting);
    check(site, central);
}

/// The central has all; there are more than three samples a second since `began`, of all series together.
pub fn check_since(began: i64, site: &Site, central: &Central<'_>, what: &str) {
    let found: Found = central.check_complete(site, FEDERATED, REACH);
    let (number, seconds) = (found.since(began), (found.until - began) / 1000);
    let resent = site.own("outpost_resync_resent_samples_total");
    eprintln!("{what}: {number} samples in {seconds} s are all there, {resent} sent again; {:?}", central.refused());
    assert!(number as i64 > 3 * seconds, "{number} samples in {seconds} s");
}

fn outpost_is_killed_during_the_outage() {
    with_central(&Setting::default(), |mut site, central| {
        let began = now_ms();
        central.cut();
        std::thread::sleep(outage());
        site.outpost.process.signal("KILL");
        site.outpost.process.wait();
        site.outpost.restart();
        std::thread::sleep(outage());
        central.link.join();
        check_since(began, &site, &central, "outpost killed during the outage");
        // What was given is known after the kill, down to the last reply, whose receipt nobody can know: a sample or two
        // of each of the eleven series, the newest of which may silently come twice.
        let Refused { out_of_order, lines, .. } = central.refused();
        assert!(out_of_order <= 11.0 && lines <= 1, "{out_of_order} samples in {lines} lines were sent again");
    });
}

fn the_central_is_restarted() {
    with_central(&Setting::default(), |site, mut central| {
        let began = now_ms();
        central.restart("TERM");
        std::thread::sleep(outage());
        check_since(began, &site, &central, "central restarted");
        central.cut();
        std::thread::sleep(outage());
        central.restart("TERM");
        central.link.join();
        check_since(began, &site, &central, "central restarted during the outage");
    });
}

fn replies_are_lost_on_the_way() {
    let Some(link) = Link::new() else { return };
    let site = Site::start(&[&link], 0);
    let relay = Relay::start(&link.near(), &site.outpost.address);
    let central = Central::start(&link, &Setting { target: Some(relay.address.clone()), ..Setting::default() });
    for (harm, what) in [(Harm::LoseTheEnd, "the last bytes lost"), (Harm::StopHalfWay, "timed out half-way")] {
        let began = now_ms();
        relay.set(harm);
        // The link is good, but not one reply is whole.
        wait_for_failed_pull(&central.address);
        std::thread::sleep(outage());
        relay.set(Harm::None);
        check_since(began, &site, &central, what);
        assert!(relay.harmed() >= 2, "{what}: {} replies", relay.harmed());
    }
}

fn five_percent_of_packets_are_lost_at_600_ms() {
    // A reply takes several round trips where packets are lost.
    with_central(&Setting { interval: 3, ..Setting::default() }, |site, central| {
        let began = now_ms();
        central.link.shape(50, Duration::from_millis(300));
        std::thread::sleep(outage() * 2);
        central.cut();
        std::thread::sleep(outage());
        central.link.join();
        std::thread::sleep(outage());
        check_since(began, &site, &central, "5 % loss, 600 ms there and back");
        assert!(central.link.packets_lost() > 0);
    });
}

fn the_link_flaps() {
    let period = Duration::from_secs(parameter("OUTPOST_FLAP_SECONDS", 2));
    let lasts = Duration::from_secs(parameter("OUTPOST_FLAPPING_SECONDS", 12));
    with_central(&Setting::default(), |site, central| {
        let (began, started) = (now_ms(), Instant::now());
        while started.elapsed() < lasts {
            central.link.cut();
            std::thread::sleep(period);
            central.link.join();
            std::thread::sleep(period);
        }
        check_since(began, &site, &central, &format!("flapping every {period:?} for {lasts:?}"));
    });
}

fn two_centrals_have_cursors_of_their_own() {
    let (Some(first_link), Some(second_link)) = (Link::new(), Link::new()) else { return };
    let site = Site::start(&[&first_link, &second_link], 0);
    let began = now_ms();
    let first = Central::start(&first_link, &Setting { resync: "first", ..Setting::default() });
    let second = Central::start(&second_link, &Setting { resync: "second", ..Setting::default() });
    first.cut();
    std::thread::sleep(outage());
    first.link.join();
    check_since(began, &site, &second, "the central whose link is good");
    assert_eq!(second.refused(), Refused::NOTHING);
    check_since(began, &site, &first, "the central whose link was cut");
}
