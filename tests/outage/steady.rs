//! Nothing goes wrong: the central has every sample once, and nothing to warn of.

use std::time::Duration;

use super::link::Link;
use super::parameter;
use super::scene::{Central, REACH, Refused, Setting, Site, now_ms};

/// Beside the house, what every site has: this host and outpost itself.
const JOBS: &str = "  - {job_name: node, collector: node}\n  - {job_name: outpost, collector: outpost}\n";

#[test]
fn no_warning_in_steady_state() {
    let Some(links) = (0..3).map(|_| Link::new()).collect::<Option<Vec<Link>>>() else { return };
    let site = Site::start_with(&links.iter().collect::<Vec<_>>(), 0, JOBS);
    let everything = ["{__name__!=\"\"}"];
    let settings = [
        Setting { resync: "plain", selectors: &everything, ..Setting::default() },
        Setting { resync: "newest", params: "resync_order: [newest]", selectors: &everything, ..Setting::default() },
        Setting { resync: "older", program: "prometheus-packaged", selectors: &everything, ..Setting::default() },
    ];
    let began = now_ms();
    let centrals: Vec<Central<'_>> =
        links.iter().zip(&settings).map(|(link, setting)| Central::start_unpulled(link, setting)).collect();
    let seconds = parameter("OUTPOST_STEADY_SECONDS", 20);
    for central in &centrals {
        central.wait_for_pulls_of(seconds, Duration::from_secs(3 * seconds + 60));
    }
    for (central, setting) in centrals.iter().zip(&settings) {
        let found = central.check_complete(&site, "{job=~\".+\",job!=\"federate\"}", REACH);
        let number = found.since(began);
        // A busy machine leaves scrapes out; there are about a thousand series.
        assert!(number > 100 * seconds as usize, "{number} samples in {seconds} s");
        let resent = site.own("outpost_resync_resent_samples_total");
        eprintln!("{seconds} s, {} {}: {number} samples, {resent} sent again to all", setting.program, setting.resync);
        assert_eq!(central.refused(), Refused::NOTHING, "{}", setting.resync);
    }
}
