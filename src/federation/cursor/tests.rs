//! A simulated site, its puller, and the way between them.

use super::*;
use crate::store::MemoryStore;
use std::collections::BTreeMap;

const HOUR_MS: i64 = 3_600_000;
const STEP_MS: i64 = 15_000;
const SERIES: usize = 4;

/// A store that is scraped, a puller, and the way between them.
struct Scene {
    store: MemoryStore,
    cursor: Cursor,
    now: i64,
    connection: ConnectionId,
    requests: u64,
    order: ResyncOrder,
    receipt: Receipt,
    /// Whether replies leave whole, to the puller or to a proxy.
    leave_whole: bool,
    age_max: Duration,
    lateness: Duration,
    /// What the puller has read, per series.
    received: BTreeMap<(usize, i64), u32>,
    largest_reply: usize,
}

impl Scene {
    fn new(order: ResyncOrder, samples_ceiling: usize) -> Self {
        let now = 100 * HOUR_MS;
        Self {
            store: MemoryStore::new(),
            cursor: Cursor::new(Progress::at(Timestamp(now)), samples_ceiling),
            now,
            connection: ConnectionId::unused(),
            requests: 0,
            order,
            receipt: Receipt::Proved,
            leave_whole: true,
            age_max: Duration::from_secs(24 * 3600),
            lateness: LATENESS_MIN,
            received: BTreeMap::new(),
            largest_reply: 0,
        }
    }

    fn labels(series: usize) -> Labels {
        Labels::from_pairs([("__name__", "m"), ("series", &series.to_string())])
    }

    /// One scrape: each series gets a sample that is `late_ms` older than now.
    fn scrape(&mut self, late_ms: i64) {
        self.now += STEP_MS;
        for series in 0..SERIES {
            let at = Timestamp(self.now - if series == 0 { late_ms } else { 0 });
            self.store.append_float(&Self::labels(series), at, 1.0).expect("in order");
        }
    }

    /// One pull; `arrives` says whether the puller reads the reply.
    fn pull(&mut self, arrives: bool) {
        let sets = [vec![Matcher::equal("__name__", "m")]];
        let options = ReadOptions::over(TimeRange::ALL);
        let facts = ConnectionFacts {
            id: self.connection,
            earlier_requests: self.requests,
            follows_complete_reply: self.requests > 0,
            is_relayed: false,
        };
        let turn = Turn {
            store: &self.store,
            sets: &sets,
            options: &options,
            now: Timestamp(self.now),
            facts,
            order: self.order,
            age_max: self.age_max,
            receipt: self.receipt,
            lateness: self.lateness,
            extra_bytes: 0,
        };
        let Given { series: reply, taken_flag } = self.cursor.next(&turn).expect("memory does not fail");
        taken_flag.store(self.leave_whole, Ordering::Release);
        self.largest_reply = self.largest_reply.max(reply.iter().map(|(_, samples)| samples.len()).sum());
        if !arrives {
            (self.connection, self.requests) = (ConnectionId::unused(), 0);
            return;
        }
        self.requests += 1;
        for (labels, samples) in reply {
            let series = labels.get("series").and_then(|text| text.parse().ok()).expect("a series of ours");
            assert!(samples.is_sorted_by(|a, b| a.0 < b.0), "oldest first within a series");
            for (at, _) in samples {
                *self.received.entry((series, at.0)).or_default() += 1;
            }
        }
    }

    fn appended(&self) -> usize {
        let mut set = self.store.select(&[], &ReadOptions::over(TimeRange::ALL)).expect("memory does not fail");
        let (mut samples, mut count) = (Samples::default(), 0);
        while set.next(&mut samples).expect("memory does not fail").is_some() {
            count += samples.len();
        }
        count
    }

    #[track_caller]
    fn check_complete(&self) {
        assert_eq!(self.received.len(), self.appended(), "samples received and samples scraped");
    }
}

#[test]
fn everything_arrives_once_while_all_is_well() {
    for order in [ResyncOrder::Oldest, ResyncOrder::Newest] {
        let mut scene = Scene::new(order, 200_000);
        for round in 0..100 {
            // Series 0 comes late every other time, up to what is allowed for.
            scene.scrape(if round % 2 == 0 { 0 } else { STEP_MS - 1 });
            scene.pull(true);
        }
        scene.check_complete();
        assert!(scene.received.values().all(|times| *times == 1), "{order:?}");
        assert_eq!(scene.cursor.progress.resent_total, 0);
    }
}

#[test]
fn an_outage_is_filled_within_the_bound() {
    for order in [ResyncOrder::Oldest, ResyncOrder::Newest] {
        let bound = 500;
        let mut scene = Scene::new(order, bound);
        scene.scrape(0);
        scene.pull(true);
        for _ in 0..6 * HOUR_MS / STEP_MS {
            scene.scrape(0);
        }
        let backlog = scene.cursor.progress.backlog_ms(Timestamp(scene.now), scene.lateness);
        assert!(backlog > 5 * HOUR_MS, "{backlog}");
        for _ in 0..40 {
            scene.scrape(0);
            scene.pull(true);
            if order == ResyncOrder::Newest {
                assert!(scene.received.contains_key(&(1, scene.now)), "the present comes first");
            }
        }
        scene.check_complete();
        assert!(scene.largest_reply <= bound, "{}", scene.largest_reply);
        // Only the last reply awaits its confirmation.
        assert!(scene.cursor.progress.backlog_ms(Timestamp(scene.now), scene.lateness) <= STEP_MS, "{order:?}");
    }
}

#[test]
fn a_short_outage_is_filled_as_fast_as_the_bound_allows() {
    for order in [ResyncOrder::Oldest, ResyncOrder::Newest] {
        // Three scrapes' worth per reply, and an outage shorter than what may come late.
        let mut scene = Scene::new(order, 3 * SERIES);
        for _ in 0..20 {
            scene.scrape(0);
            scene.pull(true);
        }
        for _ in 0..7 {
            scene.scrape(0);
        }
        for _ in 0..6 {
            scene.scrape(0);
            scene.pull(true);
        }
        scene.check_complete();
    }
}

#[test]
fn a_lost_reply_is_given_again() {
    for order in [ResyncOrder::Oldest, ResyncOrder::Newest] {
        let mut scene = Scene::new(order, 300);
        // Two of three replies get lost, as on a bad line.
        for round in 0..3_000 {
            scene.scrape(0);
            scene.pull(round % 3 == 0);
        }
        for _ in 0..60 {
            scene.scrape(0);
            scene.pull(true);
        }
        scene.check_complete();
        assert!(scene.cursor.progress.resent_total > 0);
    }
}

#[test]
fn a_reply_that_never_left_is_given_again_and_asks_for_less() {
    for order in [ResyncOrder::Oldest, ResyncOrder::Newest] {
        let mut scene = Scene::new(order, 200_000);
        scene.scrape(0);
        scene.pull(true);
        scene.scrape(0);
        // Its puller gets an error instead, reads that, and asks again on the same connection.
        let (connection, requests) = (scene.connection, scene.requests);
        scene.leave_whole = false;
        scene.pull(false);
        scene.leave_whole = true;
        (scene.connection, scene.requests) = (connection, requests + 1);
        scene.scrape(0);
        scene.pull(true);
        scene.check_complete();
        assert_eq!(scene.cursor.samples_max, 100_000);
        assert_eq!(scene.cursor.progress.resent_total, SERIES as u64);
    }
}

#[test]
fn a_request_that_comes_late_on_an_old_connection_costs_nothing() {
    let mut scene = Scene::new(ResyncOrder::Oldest, 200_000);
    scene.scrape(0);
    scene.pull(true);
    let old = (scene.connection, scene.requests);
    (0..20).for_each(|_| scene.scrape(0));
    // The link is back, and a new connection brings the backlog.
    (scene.connection, scene.requests) = (ConnectionId::unused(), 0);
    scene.pull(true);
    let new = (scene.connection, scene.requests);
    // What had been sent before the link broke arrives now; nobody reads the reply.
    (scene.connection, scene.requests) = (ConnectionId::unused(), old.1);
    scene.pull(false);
    (scene.connection, scene.requests) = new;
    scene.scrape(0);
    scene.pull(true);
    scene.check_complete();
    // The first reply was read and not confirmed: those samples came twice, and no others.
    assert_eq!(scene.received.values().filter(|times| **times > 1).count(), SERIES);
}

#[test]
fn behind_a_proxy_receipt_goes_by_the_time_of_the_next_request() {
    let mut scene = Scene::new(ResyncOrder::Oldest, 200_000);
    scene.receipt = Receipt::Assumed;
    let repeated = |scene: &Scene| scene.received.values().filter(|times| **times > 1).count();
    for _ in 0..20 {
        // A proxy opens and reuses connections as it likes.
        (scene.connection, scene.requests) = (ConnectionId::unused(), 7);
        scene.scrape(0);
        scene.pull(true);
    }
    scene.check_complete();
    assert_eq!(repeated(&scene), SERIES, "the pace was not known yet at the second request");
    // The link fails while a reply is on its way behind the proxy: the next request comes late.
    scene.scrape(0);
    scene.pull(false);
    (0..10).for_each(|_| scene.scrape(0));
    scene.pull(true);
    scene.check_complete();
    // The proxy fails while it takes a reply, and the next request is on time.
    scene.scrape(0);
    scene.pull(true);
    scene.scrape(0);
    scene.leave_whole = false;
    scene.pull(false);
    scene.leave_whole = true;
    scene.scrape(0);
    scene.pull(true);
    scene.check_complete();
    assert_eq!(repeated(&scene), SERIES);
}

#[test]
fn a_cursor_goes_on_where_it_was_kept() {
    for (has_positions, twice) in [(true, 0), (false, 8 * SERIES)] {
        let mut scene = Scene::new(ResyncOrder::Oldest, 200_000);
        for round in 0..20 {
            scene.scrape(if round % 2 == 0 { 0 } else { STEP_MS - 1 });
            scene.pull(true);
        }
        // The last reply is confirmed, and nothing is pending.
        scene.pull(true);
        let (given_until, positions) = scene.cursor.given();
        let positions = positions.collect();
        let mut cursor = Cursor::new(scene.cursor.progress.clone(), 200_000);
        if has_positions {
            cursor.go_on_from(given_until, positions);
        }
        scene.cursor = cursor;
        scene.connection = ConnectionId::unused();
        scene.scrape(0);
        scene.pull(true);
        scene.check_complete();
        let repeated = scene.received.values().filter(|times| **times > 1).count();
        assert_eq!(repeated, twice, "with positions: {has_positions}");
    }
}

#[test]
fn a_request_on_another_connection_confirms_nothing() {
    let mut scene = Scene::new(ResyncOrder::Oldest, 200_000);
    scene.scrape(0);
    scene.pull(true);
    (scene.connection, scene.requests) = (ConnectionId::unused(), 5);
    scene.pull(true);
    assert!(scene.received.values().all(|times| *times == 2));
    // A pipelined request follows nothing that was complete.
    scene.requests = 0;
    scene.pull(true);
    assert!(scene.received.values().all(|times| *times == 3));
}

#[test]
fn what_is_too_old_is_given_up() {
    let mut scene = Scene::new(ResyncOrder::Oldest, 200_000);
    for _ in 0..30 * HOUR_MS / STEP_MS {
        scene.scrape(0);
    }
    scene.pull(true);
    let oldest = scene.received.keys().map(|(_, at)| *at).min().expect("samples");
    assert_eq!(oldest, scene.now - 24 * HOUR_MS + STEP_MS);
}

#[test]
fn a_request_with_a_short_age_costs_a_puller_nothing() {
    for order in [ResyncOrder::Oldest, ResyncOrder::Newest] {
        for receipt in [Receipt::Proved, Receipt::Assumed] {
            let mut scene = Scene::new(order, 200_000);
            scene.receipt = receipt;
            for _ in 0..10 {
                scene.scrape(0);
                scene.pull(true);
            }
            // The link is down, and someone asks in the puller's name.
            (0..2 * HOUR_MS / STEP_MS).for_each(|_| scene.scrape(0));
            let own = (scene.connection, scene.requests);
            scene.age_max = Duration::from_secs(60);
            scene.pull(false);
            scene.scrape(0);
            (scene.connection, scene.requests) = own;
            scene.age_max = Duration::from_secs(24 * 3600);
            for _ in 0..3 {
                scene.scrape(0);
                scene.pull(true);
            }
            scene.check_complete();
        }
    }
}

#[test]
fn a_clock_that_was_ahead_is_forgotten() {
    let years_ms = 5 * 365 * 24 * HOUR_MS;
    for order in [ResyncOrder::Oldest, ResyncOrder::Newest] {
        let mut scene = Scene::new(order, 200_000);
        for _ in 0..10 {
            scene.scrape(0);
            scene.pull(true);
        }
        scene.now += years_ms;
        scene.pull(true);
        scene.pull(true);
        assert!(scene.cursor.progress.settled > Timestamp(scene.now - HOUR_MS));
        scene.now -= years_ms;
        for _ in 0..10 {
            scene.scrape(0);
            scene.pull(true);
        }
        scene.check_complete();
        assert!(scene.cursor.progress.settled <= Timestamp(scene.now));
        assert!(scene.cursor.progress.backlog_ms(Timestamp(scene.now), scene.lateness) <= STEP_MS, "{order:?}");
    }
}

#[test]
fn what_comes_later_than_two_minutes_is_given_where_that_is_known() {
    for order in [ResyncOrder::Oldest, ResyncOrder::Newest] {
        let mut scene = Scene::new(order, 200_000);
        scene.lateness = Duration::from_secs(660);
        for round in 0..100 {
            scene.scrape(600_000);
            // It is stored ten minutes late, and settled only then.
            if round % 3 == 0 {
                scene.pull(true);
            }
        }
        (0..2).for_each(|_| scene.pull(true));
        // What series 0 had before the cursor began is not the puller's.
        let began = 100 * HOUR_MS;
        let late = |received: &BTreeMap<(usize, i64), u32>| received.keys().filter(|(series, _)| *series == 0).count();
        let stored = (1..=100).filter(|round| round * STEP_MS - 600_000 > 0).count();
        assert!(late(&scene.received) >= stored, "{} of {stored} since {began}", late(&scene.received));
    }
}

#[test]
fn behind_a_proxy_the_bound_leaves_room_for_the_pace() {
    for order in [ResyncOrder::Oldest, ResyncOrder::Newest] {
        let mut scene = Scene::new(order, 200_000);
        scene.receipt = Receipt::Assumed;
        // Far less than what comes in between two pulls.
        scene.cursor.assumed_samples_max = SERIES;
        (0..40).for_each(|_| scene.scrape(0));
        for _ in 0..60 {
            (0..4).for_each(|_| scene.scrape(0));
            scene.pull(true);
        }
        scene.pull(true);
        scene.check_complete();
        // Twice the five minutes that a new puller begins with.
        assert!(scene.largest_reply <= 41 * SERIES, "{order:?}: {}", scene.largest_reply);
    }
}

#[test]
fn a_puller_that_falls_behind_is_noticed() {
    let mut scene = Scene::new(ResyncOrder::Oldest, SERIES);
    scene.scrape(0);
    scene.pull(true);
    for _ in 0..20 {
        (0..4).for_each(|_| scene.scrape(0));
        scene.pull(true);
    }
    assert!(scene.cursor.growth.0 >= GROWTH_REPLIES, "{:?}", scene.cursor.growth);
    scene.cursor.samples_ceiling = 200_000;
    (0..20).for_each(|_| scene.pull(true));
    assert_eq!(scene.cursor.growth.0, 0);
    scene.check_complete();
}

#[test]
fn a_reply_is_bounded_in_bytes() {
    let mut scene = Scene::new(ResyncOrder::Oldest, 200_000);
    let long = "x".repeat(100_000);
    let labels = Labels::from_pairs([("__name__", "m"), ("long", &long), ("series", "9")]);
    for _ in 0..1000 {
        scene.scrape(0);
        scene.store.append_float(&labels, Timestamp(scene.now), 1.0).expect("in order");
    }
    for _ in 0..10 {
        scene.pull(true);
    }
    scene.check_complete();
    let of_a_scrape = text_bytes(&labels) as usize;
    let scrapes = scene.largest_reply / (SERIES + 1);
    assert!(scrapes * of_a_scrape <= RESYNC_BYTES_MAX as usize, "{scrapes} of {of_a_scrape} bytes");
}

#[test]
fn stale_markers_stay_here() {
    let mut scene = Scene::new(ResyncOrder::Oldest, 200_000);
    scene.scrape(0);
    let ended = Timestamp(scene.now + 1);
    scene.store.append_float(&Scene::labels(2), ended, crate::model::stale_marker()).expect("in order");
    scene.now += 2;
    scene.pull(true);
    assert_eq!(scene.received.len(), SERIES);
}
