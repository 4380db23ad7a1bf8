//! Kill -9 at random moments under load: nothing is lost but the scrape in flight.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::ledger::{self, Ledger};
use super::support::{Outpost, PATIENCE, eventually};
use super::{parameter, random};

/// Two hundred rounds at about 0.3 s.
const ROUNDS: u64 = 200;
const RESTART_MAX: Duration = Duration::from_secs(2);
/// A request that was given up is read so much later than its slot at most: the timeout, and what a busy machine adds.
const GIVEN_UP_SECONDS: f64 = 2.0;

#[test]
fn kill_9_costs_the_scrape_in_flight_at_most() {
    let rounds = parameter("OUTPOST_KILL_ROUNDS", ROUNDS);
    let target = Ledger::start();
    let mut outpost = Outpost::start(&format!(
        "outpost: {{store: {{flush_interval: 5s}}}}\nglobal: {{scrape_interval: 100ms, scrape_timeout: 100ms}}\n\
         scrape_configs: [{{job_name: ledger, static_configs: [{{targets: ['{}']}}]}}]\n",
        target.address
    ));
    // The newest scrape of each round may have been in flight.
    let (mut in_flight, mut restarts) = (BTreeSet::new(), Vec::new());
    let (mut acknowledged, mut timed_out) = (0, 0);
    for round in 0..rounds {
        std::thread::sleep(Duration::from_millis(random(250)));
        acknowledged = ledger::numbers(&outpost.address, 0).unwrap().last().copied().unwrap_or(acknowledged);
        outpost.process.signal("KILL");
        outpost.process.wait();
        // The target may still be about to answer a request of the one that was killed, long after on a busy machine.
        let before = target.settled();
        in_flight.insert(before);
        let killed = Instant::now();
        outpost.restart();
        eventually(PATIENCE, "it scrapes again", || {
            if target.served().newest > before { Ok(()) } else { Err(format!("still {before}")) }
        });
        restarts.push(target.served().at.unwrap().duration_since(killed).min(killed.elapsed()));
        if round % 10 == 9 || round + 1 == rounds {
            for series in [0, ledger::SERIES - 1] {
                timed_out = check(&outpost, &target, series, before, acknowledged, &in_flight);
            }
        }
    }
    restarts.sort_unstable();
    let lost = in_flight.len()
        - ledger::numbers(&outpost.address, 0).unwrap().iter().filter(|n| in_flight.contains(n)).count();
    let most = restarts[restarts.len() * 95 / 100];
    eprintln!(
        "kill -9: {rounds} rounds, {} scrapes, lost in flight {lost}, timed out {timed_out}; scraping again after {:?} (median), {most:?} (95 %), {:?} (most)",
        target.served().newest,
        restarts[restarts.len() / 2],
        restarts[restarts.len() - 1]
    );
    assert!(most <= RESTART_MAX, "scraping again takes {most:?}");
}

/// That a server has every scrape up to one, but for those in flight and those that it gave up waiting for; gives how many the
/// latter are. Each of those has a failed scrape of its own, in a slot shortly before it was asked for.
fn check(
    outpost: &Outpost,
    target: &Ledger,
    series: u64,
    until: u64,
    acknowledged: u64,
    in_flight: &BTreeSet<u64>,
) -> usize {
    let address = &outpost.address;
    let found: BTreeSet<u64> = ledger::numbers(address, series).unwrap().into_iter().collect();
    let missing = (1..=until).filter(|number| !found.contains(number) && !in_flight.contains(number));
    let (asked, mut failed) = (target.served().asked, ledger::failed_slots(address).unwrap());
    let mut given_up = 0;
    for number in missing {
        let at = asked[number as usize - 1];
        let slot = failed.iter().position(|slot| (-0.05..GIVEN_UP_SECONDS).contains(&(at - slot)));
        let slot = slot.unwrap_or_else(|| {
            panic!("series {series}: lost {number} of {until}, asked for at {at}; failed scrapes: {failed:?}")
        });
        failed.remove(slot);
        given_up += 1;
    }
    assert!(acknowledged == 0 || found.contains(&acknowledged), "lost {acknowledged}, which a query had shown");
    given_up
}
