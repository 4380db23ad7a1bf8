//! Pullers by name: who is asking, how far each has been given samples, and which of them to forget.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use tracing::{info, warn};
use xxhash_rust::xxh3::xxh3_64;

use crate::clock::Clock;
use crate::model::{Matcher, MetricType, TimeRange, Timestamp, parse_duration};
use crate::store::{ReadOptions, Select, StoreError};
use crate::telemetry::{Emit, Registry};

use super::connection::ConnectionFacts;
use super::cursor::{Cursor, FIRST_SPAN, Given, LATENESS_MAX, LATENESS_MIN, Progress, Receipt, ResyncOrder, Turn};
use super::cursor_store::{CursorRecord, CursorStore};

/// Samples per reply, unless set otherwise. Must stay below the central's `sample_limit`: a reply that
/// it reads and then refuses counts as received.
pub const RESYNC_SAMPLES_MAX: usize = 200_000;

/// Pullers (names and sets of selectors) that are remembered. Those that never confirmed a reply go first, and the
/// least recently used of equals.
pub const RESYNC_PULLERS_MAX: usize = 32;

/// Characters in a puller's name.
pub const RESYNC_NAME_CHARS_MAX: usize = 64;

/// `resync_max_age`, unless set otherwise.
pub const RESYNC_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// The least `resync_max_age`: with less, a scrape that comes a little late would lose samples.
pub const RESYNC_AGE_MIN: Duration = Duration::from_secs(60);

/// A name that has not confirmed anything is shown so long after its last request: someone tried it.
const TRIED_SHOWN: Duration = Duration::from_secs(30 * 60);

/// Another is shown for so many times its `resync_max_age`, or 24 h if that is less: then its central is gone for good.
const AGES_SHOWN: u32 = 3;

/// How often a request that waits for its turn looks whether it is still wanted.
const WANTED_INTERVAL: Duration = Duration::from_millis(100);

/// Parameters that make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResyncError {
    /// Not a name.
    #[error("resync={0:?} is not a name: 1 to 64 of A-Z a-z 0-9 _ . -")]
    Name(String),
    /// Not an order.
    #[error("resync_order={0:?} is neither \"oldest\" nor \"newest\"")]
    Order(String),
    /// Not an age.
    #[error("resync_max_age={0:?} is not a duration such as 24h")]
    Age(String),
    /// An age that would lose samples.
    #[error("resync_max_age={0:?} is below 1m: what is older is lost for this puller")]
    AgeTooShort(String),
    /// Not a kind of receipt.
    #[error("resync_receipt={0:?} is neither \"proved\" nor \"assumed\"")]
    Receipt(String),
}

/// What a puller asks for beside its selectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResyncRequest {
    name: String,
    order: ResyncOrder,
    age_max: Duration,
    /// As the request itself shows, if nothing is said.
    receipt: Option<Receipt>,
}

impl ResyncRequest {
    /// Reads the parameters `resync`, `resync_order`, `resync_max_age` and `resync_receipt`; all but the first may be empty.
    pub fn parse(name: &str, order: &str, age_max: &str, receipt: &str) -> Result<Self, ResyncError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if name.is_empty() || name.len() > RESYNC_NAME_CHARS_MAX || !name.bytes().all(is_allowed) {
            return Err(ResyncError::Name(name.to_owned()));
        }
        let order = match order {
            "" | "oldest" => ResyncOrder::Oldest,
            "newest" => ResyncOrder::Newest,
            _ => return Err(ResyncError::Order(order.to_owned())),
        };
        let age_max = parse_age(age_max)?;
        let receipt = match receipt {
            "" => None,
            "proved" => Some(Receipt::Proved),
            "assumed" => Some(Receipt::Assumed),
            _ => return Err(ResyncError::Receipt(receipt.to_owned())),
        };
        Ok(Self { name: name.to_owned(), order, age_max, receipt })
    }
}

fn parse_age(text: &str) -> Result<Duration, ResyncError> {
    if text.is_empty() {
        return Ok(RESYNC_AGE_MAX);
    }
    let age = parse_duration(text).map_err(|_| ResyncError::Age(text.to_owned()))?;
    if age < RESYNC_AGE_MIN {
        return Err(ResyncError::AgeTooShort(text.to_owned()));
    }
    Ok(age)
}

/// A name and a hash of its selectors.
type Key = (String, u64);

/// A puller as it stood after its last request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullerStatus {
    /// Its name.
    pub name: String,
    /// A hash of its selectors: one name may pull several sets.
    pub selectors: String,
    /// How far it has been given samples.
    pub progress: Progress,
    lateness: Duration,
}

impl PullerStatus {
    /// Milliseconds of samples that it has not confirmed: at its end, and in holes.
    pub fn backlog_ms(&self, now: Timestamp) -> i64 {
        self.progress.backlog_ms(now, self.lateness)
    }
}

/// All pullers.
#[derive(Clone)]
pub(super) struct Pullers(Arc<Inner>);

/// One puller. What is shown of it stands apart from the cursor, which is away while it reads.
struct Puller {
    /// `None` while a request has its turn; the others wait until it ends, or until their own time does.
    cursor: Mutex<Option<Cursor>>,
    freed: Condvar,
    shown: Mutex<Progress>,
    record: Mutex<CursorRecord>,
}

impl Puller {
    fn new(key: &Key, cursor: Cursor) -> Arc<Self> {
        Arc::new(Self {
            freed: Condvar::new(),
            shown: Mutex::new(cursor.progress.clone()),
            record: Mutex::new(record(key, &cursor)),
            cursor: Mutex::new(Some(cursor)),
        })
    }

    /// Waits for a turn at the cursor while the read is wanted.
    fn take(&self, options: &ReadOptions) -> Result<Cursor, StoreError> {
        let mut cursor = lock(&self.cursor);
        loop {
            if let Some(cursor) = cursor.take() {
                return Ok(cursor);
            }
            options.check()?;
            cursor = self.freed.wait_timeout(cursor, WANTED_INTERVAL).expect("no holder of the lock panics").0;
        }
    }

    /// Ends the turn.
    fn give_back(&self, cursor: Cursor) {
        *lock(&self.cursor) = Some(cursor);
        self.freed.notify_one();
    }
}

struct Inner {
    pullers: Mutex<HashMap<Key, Arc<Puller>>>,
    kept: Box<dyn CursorStore>,
    /// Held while cursors are kept; whether that went wrong last time.
    has_failed: Mutex<bool>,
    samples_max: usize,
    lateness_ms: AtomicU64,
}

impl Pullers {
    /// Goes on where the kept cursors stand.
    pub fn load(kept: Box<dyn CursorStore>, samples_max: usize, now: Timestamp) -> Self {
        let pullers = kept.load().into_iter().map(|record| restored(record, samples_max, now)).collect();
        let lateness_ms = AtomicU64::new(LATENESS_MIN.as_millis() as u64);
        let (pullers, has_failed) = (Mutex::new(pullers), Mutex::new(false));
        Self(Arc::new(Inner { pullers, kept, has_failed, samples_max, lateness_ms }))
    }

    /// Samples may come into the store so late; within [`LATENESS_MIN`] and [`LATENESS_MAX`].
    pub fn allow_lateness(&self, lateness: Duration) {
        let lateness = lateness.clamp(LATENESS_MIN, LATENESS_MAX);
        self.0.lateness_ms.store(lateness.as_millis() as u64, Ordering::Relaxed);
    }

    /// What this puller is given now.
    pub fn next(
        &self,
        request: &ResyncRequest,
        store: &dyn Select,
        sets: &[Vec<Matcher>],
        now: Timestamp,
        facts: ConnectionFacts,
        (options, extra_bytes): (&ReadOptions, u64),
    ) -> Result<Given, StoreError> {
        let key = (request.name.clone(), selectors_hash(sets));
        let puller = self.puller(&key, now);
        let seen = if facts.is_relayed { Receipt::Assumed } else { Receipt::Proved };
        let receipt = request.receipt.unwrap_or(seen);
        let lateness = self.lateness();
        let ResyncRequest { order, age_max, .. } = *request;
        let turn = Turn { store, sets, options, now, facts, order, age_max, receipt, lateness, extra_bytes };
        let mut cursor = puller.take(options)?;
        let outcome = cursor.next(&turn);
        *lock(&puller.shown) = cursor.progress.clone();
        *lock(&puller.record) = record(&key, &cursor);
        puller.give_back(cursor);
        self.keep();
        outcome
    }

    /// Keeps all cursors as they stand after their last pull.
    fn keep(&self) {
        let mut has_failed = lock(&self.0.has_failed);
        let pullers: Vec<Arc<Puller>> = lock(&self.0.pullers).values().cloned().collect();
        let records: Vec<CursorRecord> = pullers.iter().map(|puller| lock(&puller.record).clone()).collect();
        let outcome = self.0.kept.keep(records);
        // Each pull tries again: one line is enough.
        if let Err(error) = &outcome
            && !*has_failed
        {
            let source = std::error::Error::source(error).map(ToString::to_string);
            warn!(%error, source, "resync cursors are not kept: after a restart some samples are given again");
        }
        *has_failed = outcome.is_err();
    }

    /// Adds the pullers' state to the own metrics.
    pub fn register(&self, registry: &Registry, clock: Clock) {
        let add = |name, help, metric_type, of: fn(&PullerStatus, Timestamp) -> f64| {
            let (pullers, clock) = (self.clone(), clock.clone());
            registry.family(name, help, metric_type, move |emit| pullers.emit(emit, clock.now(), of));
        };
        add("outpost_resync_lag_seconds", "Seconds since a puller last asked.", MetricType::Gauge, |puller, now| {
            now.since(puller.progress.last_used).max(0) as f64 / 1000.0
        });
        add(
            "outpost_resync_backlog_seconds",
            "Seconds of samples that a puller has not confirmed.",
            MetricType::Gauge,
            |puller, now| puller.backlog_ms(now) as f64 / 1000.0,
        );
        add(
            "outpost_resync_samples_total",
            "Samples given to a puller, repeats included.",
            MetricType::Counter,
            |puller, _| puller.progress.given_total as f64,
        );
        add(
            "outpost_resync_resent_samples_total",
            "Samples whose receipt a puller did not confirm, so that they were given again.",
            MetricType::Counter,
            |puller, _| puller.progress.resent_total as f64,
        );
    }

    fn emit(&self, emit: &mut Emit<'_>, now: Timestamp, of: fn(&PullerStatus, Timestamp) -> f64) {
        for puller in self.status().iter().filter(|puller| is_in_use(&puller.progress, now)) {
            emit(&[("name", &puller.name), ("selectors", &puller.selectors)], of(puller, now));
        }
    }

    /// All pullers as they stood after their last reply, sorted.
    pub fn status(&self) -> Vec<PullerStatus> {
        let lateness = self.lateness();
        let status = |((name, selectors), puller): (&Key, &Arc<Puller>)| PullerStatus {
            name: name.clone(),
            selectors: format!("{selectors:016x}"),
            progress: lock(&puller.shown).clone(),
            lateness,
        };
        let mut all: Vec<PullerStatus> = lock(&self.0.pullers).iter().map(status).collect();
        crate::model::sort_by(&mut all, |a, b| (&a.name, &a.selectors).cmp(&(&b.name, &b.selectors)));
        all
    }

    fn lateness(&self) -> Duration {
        Duration::from_millis(self.0.lateness_ms.load(Ordering::Relaxed))
    }

    fn puller(&self, key: &Key, now: Timestamp) -> Arc<Puller> {
        let mut pullers = lock(&self.0.pullers);
        if let Some(puller) = pullers.get(key) {
            return Arc::clone(puller);
        }
        while pullers.len() >= RESYNC_PULLERS_MAX {
            let shown = pullers.iter().map(|(key, puller)| (key, lock(&puller.shown).clone()));
            let least = shown.min_by_key(|(_, progress)| (progress.was_confirmed, progress.last_used));
            let Some((least, progress)) = least.map(|(key, progress)| (key.clone(), progress)) else { break };
            let backlog_seconds = progress.backlog_ms(now, self.lateness()) / 1000;
            if progress.was_confirmed && backlog_seconds > 0 {
                warn!(
                    name = least.0,
                    backlog_seconds, "there are too many resync names: a cursor with a backlog is forgotten"
                );
            } else {
                info!(name = least.0, "there are too many resync names: a cursor is forgotten");
            }
            pullers.remove(&least);
        }
        let puller = Puller::new(key, Cursor::new(Progress::at(now - FIRST_SPAN), self.0.samples_max));
        pullers.insert(key.clone(), Arc::clone(&puller));
        puller
    }
}

/// Whether a puller is likely to come again.
fn is_in_use(progress: &Progress, now: Timestamp) -> bool {
    let time_max = match progress.was_confirmed {
        true => progress.age_max.max(RESYNC_AGE_MAX).saturating_mul(AGES_SHOWN),
        false => TRIED_SHOWN,
    };
    progress.last_used >= now - time_max
}

/// A hash of the set of selectors, whatever their order and the order of their matchers.
fn selectors_hash(sets: &[Vec<Matcher>]) -> u64 {
    let mut texts: Vec<String> = sets
        .iter()
        .map(|set| {
            let mut matchers: Vec<String> = set.iter().map(ToString::to_string).collect();
            matchers.sort_unstable();
            matchers.join(",")
        })
        .collect();
    texts.sort_unstable();
    texts.dedup();
    xxh3_64(texts.join("\n").as_bytes())
}

fn record(key: &Key, cursor: &Cursor) -> CursorRecord {
    let progress = &cursor.progress;
    let (given_until, positions) = cursor.given();
    CursorRecord {
        name: key.0.clone(),
        selectors: key.1,
        settled_ms: progress.settled.0,
        holes_ms: progress.holes.iter().map(|hole| (hole.start.0, hole.end.0)).collect(),
        last_used_ms: progress.last_used.0,
        was_confirmed: progress.was_confirmed,
        age_max_ms: progress.age_max.as_millis() as u64,
        given: Some((given_until.0, positions.map(|(series, at)| (series, at.0)).collect())),
    }
}

fn restored(record: CursorRecord, samples_max: usize, now: Timestamp) -> (Key, Arc<Puller>) {
    let holes = record.holes_ms.iter().filter(|(start, end)| start < end);
    let progress = Progress {
        holes: holes.map(|(start, end)| TimeRange { start: Timestamp(*start), end: Timestamp(*end) }).collect(),
        last_used: Timestamp(record.last_used_ms),
        was_confirmed: record.was_confirmed,
        age_max: Duration::from_millis(record.age_max_ms),
        ..Progress::at(Timestamp(record.settled_ms))
    };
    let mut cursor = Cursor::new(progress, samples_max);
    if let Some((given_until, positions)) = record.given {
        let positions = positions.into_iter().map(|(series, at)| (series, Timestamp(at)));
        cursor.go_on_from(Timestamp(given_until), positions.collect());
    }
    let key = (record.name, record.selectors);
    if cursor.come_back_to(now, LATENESS_MIN) {
        warn!(name = key.0, "a kept resync cursor stands in the future: some samples may be given again");
    }
    let puller = Puller::new(&key, cursor);
    (key, puller)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of the lock panics")
}

#[cfg(test)]
mod tests {
    use super::super::ConnectionId;
    use super::*;

    #[test]
    fn parameters() {
        let good = ResyncRequest::parse("home-1.b_C", "newest", "6h", "assumed").expect("good parameters");
        assert_eq!((good.order, good.age_max), (ResyncOrder::Newest, Duration::from_secs(6 * 3600)));
        assert_eq!(good.receipt, Some(Receipt::Assumed));
        let plain = ResyncRequest::parse("home", "", "", "").expect("good parameters");
        assert_eq!((plain.order, plain.age_max), (ResyncOrder::Oldest, RESYNC_AGE_MAX));
        for name in ["", "a b", "é", &"x".repeat(65)] {
            assert_eq!(ResyncRequest::parse(name, "", "", ""), Err(ResyncError::Name(name.to_owned())));
        }
        assert!(ResyncRequest::parse("a", "latest", "", "").is_err());
        assert!(ResyncRequest::parse("a", "", "soon", "").is_err());
        for short in ["0", "59s"] {
            assert_eq!(ResyncRequest::parse("a", "", short, ""), Err(ResyncError::AgeTooShort(short.to_owned())));
        }
        assert!(ResyncRequest::parse("a", "", "1m", "").is_ok());
        assert!(ResyncRequest::parse("a", "", "", "hoped").is_err());
    }

    /// What was kept before, and nothing that comes.
    #[derive(Default)]
    struct Forgetful(Vec<CursorRecord>);

    impl CursorStore for Forgetful {
        fn load(&self) -> Vec<CursorRecord> {
            self.0.clone()
        }

        fn keep(&self, _: Vec<CursorRecord>) -> Result<(), super::super::CursorError> {
            Ok(())
        }
    }

    #[test]
    fn names_that_were_only_tried_displace_no_central() {
        let now = Timestamp(1_795_381_062_892);
        let pullers = Pullers::load(Box::<Forgetful>::default(), 1000, now);
        let store = crate::store::MemoryStore::new();
        let sets = [vec![Matcher::equal("__name__", "up")]];
        let options = ReadOptions::over(TimeRange::ALL);
        let pull = |name: &str, at: Timestamp, id: ConnectionId, earlier_requests: u64| {
            let request = ResyncRequest::parse(name, "", "", "").expect("a name");
            let follows_complete_reply = earlier_requests > 0;
            let facts = ConnectionFacts { id, earlier_requests, follows_complete_reply, is_relayed: false };
            let given = pullers.next(&request, &store, &sets, at, facts, (&options, 0));
            given.expect("memory does not fail").taken_flag.store(true, Ordering::Release);
        };
        let own = ConnectionId::unused();
        pull("home", now, own, 0);
        pull("home", now, own, 1);
        // Its link is down, and others try names.
        for number in 0..2 * RESYNC_PULLERS_MAX {
            let later = now + Duration::from_secs(60 * number as u64);
            pull(&format!("try-{number}"), later, ConnectionId::unused(), 0);
        }
        let names: Vec<String> = pullers.status().into_iter().map(|status| status.name).collect();
        assert_eq!(names.len(), RESYNC_PULLERS_MAX);
        assert!(names.contains(&"home".to_owned()), "{names:?}");
        assert!(!names.contains(&"try-1".to_owned()), "{names:?}");
    }

    #[test]
    fn a_second_request_of_a_name_waits_no_longer_than_it_may() {
        let now = Timestamp(1_795_381_062_892);
        let pullers = Pullers::load(Box::<Forgetful>::default(), 1000, now);
        let request = ResyncRequest::parse("home", "", "", "").expect("a name");
        let sets = [vec![Matcher::equal("__name__", "up")]];
        let puller = pullers.puller(&("home".to_owned(), selectors_hash(&sets)), now);
        let endless = ReadOptions::over(TimeRange::ALL);
        let late = ReadOptions { deadline: Some(std::time::Instant::now()), ..endless.clone() };
        let id = ConnectionId::unused();
        let facts = ConnectionFacts { id, earlier_requests: 0, follows_complete_reply: false, is_relayed: false };
        let store = crate::store::MemoryStore::new();
        let next = |options| pullers.next(&request, &store, &sets, now, facts, (options, 0)).map(|given| given.series);
        let first = puller.take(&late).expect("nobody else is there");
        assert!(matches!(next(&late), Err(StoreError::DeadlineExceeded)));
        std::thread::scope(|scope| {
            let second = scope.spawn(|| next(&endless));
            puller.give_back(first);
            assert_eq!(second.join().expect("no panic").expect("it got its turn"), []);
        });
    }

    #[test]
    fn after_a_restart_what_may_come_late_is_no_backlog() {
        let now = Timestamp(1_795_381_062_892);
        let settled = now - LATENESS_MAX - Duration::from_secs(10);
        let record = CursorRecord { name: "home".to_owned(), settled_ms: settled.0, ..CursorRecord::default() };
        let pullers = Pullers::load(Box::new(Forgetful(vec![record])), 1000, now);
        pullers.allow_lateness(LATENESS_MAX);
        assert_eq!(pullers.status()[0].backlog_ms(now), 10_000);
    }

    #[test]
    fn who_is_gone_for_good_is_not_shown_as_a_backlog() {
        let now = Timestamp(1_795_381_062_892);
        let hours = |hours: u64| Duration::from_secs(3600 * hours);
        for (was_confirmed, age_max, unused, is_shown) in [
            (false, hours(0), hours(0), true),
            (false, hours(0), hours(1), false),
            (true, hours(1), hours(71), true),
            (true, hours(1), hours(73), false),
            (true, hours(30), hours(89), true),
            (true, hours(30), hours(91), false),
        ] {
            let progress = Progress { was_confirmed, age_max, ..Progress::at(now - unused) };
            assert_eq!(is_in_use(&progress, now), is_shown, "{was_confirmed} {age_max:?} {unused:?}");
        }
    }

    #[test]
    fn selectors_are_a_set() {
        let matcher = |name: &str| Matcher::equal(name, "1");
        let hash = |sets: &[Vec<Matcher>]| selectors_hash(sets);
        let one = hash(&[vec![matcher("a"), matcher("b")], vec![matcher("c")]]);
        assert_eq!(one, hash(&[vec![matcher("c")], vec![matcher("b"), matcher("a")], vec![matcher("c")]]));
        assert_ne!(one, hash(&[vec![matcher("a")], vec![matcher("b")], vec![matcher("c")]]));
    }
}
