//! How far one puller has been given samples, and what it is given next.
//!
//! A [`Cursor`] is a small state machine without I/O of its own: it reads through
//! [`Select`](crate::store::Select) and moves only when the puller has certainly read what it was
//! sent. Until then the same span is sent again.
//!
//! Exactness rests on three facts. Per series the store takes newer samples only, so one position
//! per series says what was given. Samples come into the store at most a known lateness after the
//! time they bear, so positions older than that are replaced by one time for all series. What an
//! order or a bound passes over is written down as a hole.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::warn;

use crate::model::{Labels, Matcher, TimeRange, Timestamp, is_stale_marker};
use crate::store::{ReadOptions, Samples, Select, StoreError};

use super::connection::{ConnectionFacts, ConnectionId};

/// How late a sample may come into the store and still be given, at least. A scrape's samples bear the time
/// of its start and come at its end, which is at most its timeout later.
pub(super) const LATENESS_MIN: Duration = Duration::from_secs(120);

/// The most that is allowed for: so much is read at each pull, and given twice after a power cut.
pub(super) const LATENESS_MAX: Duration = Duration::from_secs(3600);

/// Bytes of a reply before it is compressed, unless the samples of a single second weigh more. A central's
/// `body_size_limit` must not be below: a reply that it reads and then refuses counts as received.
pub const RESYNC_BYTES_MAX: u64 = 32 << 20;

/// What a sample takes beside its labels: value, time, punctuation.
const SAMPLE_BYTES: u64 = 64;

/// Replies cut short by the bound, one after the other, while the backlog grows: then it is worth a warning.
const GROWTH_REPLIES: u32 = 5;

/// How far back a puller that was not known before is given samples.
pub(super) const FIRST_SPAN: Duration = Duration::from_secs(300);

/// Where the newest-first order starts to speak of a backlog.
const RECENT: Duration = Duration::from_secs(300);

/// A span is not cut below this: a second holds one or two samples per series.
const SPAN_MIN_MS: i64 = 1_000;

/// The reply's bound is halved down to this while replies are not confirmed.
pub(super) const SAMPLES_FLOOR: usize = 5_000;

/// A hole is read while the present leaves this part of a reply's bound to it.
const HOLE_SHARE: usize = 8;

/// The most holes a cursor remembers; the oldest ones are joined.
const HOLES_MAX: usize = 8;

/// The reply's bound where receipt is assumed: a reply that gets through fast is less likely to be lost unseen.
pub(super) const ASSUMED_SAMPLES_MAX: usize = 20_000;

/// Replies that may still turn out to have been read.
const PENDING_MAX: usize = 4;

/// How it is known that a puller has read a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Receipt {
    /// By its next request on the same connection.
    #[default]
    Proved,
    /// A proxy stands between: its connections say what it has read, and nothing of the puller. A reply that it took whole
    /// is held for read if the next request comes about as soon as the one before did: requests stop
    /// while a link is down.
    Assumed,
}

/// In which order a backlog is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResyncOrder {
    /// The oldest first: works with any Prometheus.
    #[default]
    Oldest,
    /// The present first: for a central with an out-of-order window.
    Newest,
}

/// One series and what is given of it.
pub(super) type GivenSeries = (Labels, Vec<(Timestamp, f64)>);

/// What holds for one request.
pub(super) struct Turn<'a> {
    pub store: &'a dyn Select,
    pub sets: &'a [Vec<Matcher>],
    pub options: &'a ReadOptions,
    pub now: Timestamp,
    pub facts: ConnectionFacts,
    pub order: ResyncOrder,
    pub age_max: Duration,
    pub receipt: Receipt,
    /// How late samples may come into the store.
    pub lateness: Duration,
    /// What external labels add to each sample, in bytes.
    pub extra_bytes: u64,
}

impl Turn<'_> {
    /// What is older is not given. The cursor itself moves with the confirmation only: a request alone proves nothing of
    /// what the puller wants to have lost.
    fn oldest(&self) -> Timestamp {
        self.now - self.age_max
    }
}

/// What a puller is given.
pub(super) struct Given {
    pub series: Vec<GivenSeries>,
    /// To be set once the whole reply was handed over.
    pub taken_flag: Arc<AtomicBool>,
}

/// How far one puller has been given samples: what is shown and kept of a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Everything up to this has been given, of all series, but for the holes.
    pub settled: Timestamp,
    /// Spans that were passed over, oldest first, without overlaps. The start is excluded, the end
    /// is included.
    pub holes: Vec<TimeRange>,
    /// When it was last asked for.
    pub last_used: Timestamp,
    /// Samples given, repeats included.
    pub given_total: u64,
    /// Samples given in vain: their receipt was not confirmed.
    pub resent_total: u64,
    /// How receipt is known.
    pub receipt: Receipt,
    /// Whether the last request confirmed the reply before it.
    pub is_confirmed: bool,
    /// Whether any request ever did.
    pub was_confirmed: bool,
    /// The age that was asked for with the reply that was confirmed last.
    pub age_max: Duration,
}

impl Progress {
    /// Everything up to `settled` has been given.
    pub(super) fn at(settled: Timestamp) -> Self {
        Self {
            settled,
            holes: Vec::new(),
            last_used: settled,
            given_total: 0,
            resent_total: 0,
            receipt: Receipt::Proved,
            is_confirmed: false,
            was_confirmed: false,
            age_max: Duration::ZERO,
        }
    }

    /// Milliseconds of samples that the puller has not confirmed: at its end, and in holes. Samples may come into the store so
    /// late: the newest of that length are no backlog.
    pub(super) fn backlog_ms(&self, now: Timestamp, lateness: Duration) -> i64 {
        let behind = now.since(self.settled + lateness).max(0);
        behind + self.holes.iter().map(|hole| hole.end.since(hole.start)).sum::<i64>()
    }
}

/// What one puller is given next.
#[derive(Debug)]
pub(super) struct Cursor {
    pub progress: Progress,
    /// The newest given sample of series that were given something later than `settled`.
    positions: HashMap<u64, Timestamp>,
    /// Up to here everything that had come in time was given; at or after `settled`.
    given_until: Timestamp,
    /// Replies given from where the cursor stands, the newest last: any of them may turn out to have been read. (What was
    /// sent on a connection before the link broke may arrive after what a new connection brought.)
    pending: Vec<Pending>,
    /// From the request before the last one to the last one.
    gap_ms: Option<i64>,
    samples_max: usize,
    samples_ceiling: usize,
    assumed_samples_max: usize,
    /// How long a span the bound allowed last.
    front_span_ms: i64,
    hole_span_ms: i64,
    /// A span that is not cut: behind a proxy the bound is for what goes beyond the pace of the pulls.
    span_floor_ms: i64,
    /// Replies that were cut short while the backlog grew, and the backlog then.
    growth: (u32, i64),
}

/// A reply that is not confirmed yet, and where the cursor stands once it is.
#[derive(Debug)]
struct Pending {
    connection: ConnectionId,
    request: u64,
    asked: Timestamp,
    /// Who asks for another age is someone else, or was set anew.
    age_max: Duration,
    taken_flag: Arc<AtomicBool>,
    settled: Timestamp,
    given_until: Timestamp,
    holes: Vec<TimeRange>,
    positions: Vec<(u64, Timestamp)>,
    samples: u64,
}

impl Pending {
    /// A later request on the same connection, begun after the reply had left, proves that the reply was read to its end.
    /// That this one left, and no error in its place, its flag tells: it is set before a next request can begin.
    fn is_followed_by(&self, facts: ConnectionFacts) -> bool {
        let is_later = self.connection == facts.id && facts.earlier_requests > self.request;
        is_later && facts.follows_complete_reply && self.taken_flag.load(Ordering::Acquire)
    }
}

/// What a span held.
struct Span {
    range: TimeRange,
    series: Vec<GivenSeries>,
    samples: usize,
    /// Its length, or without end if nothing had to be cut off.
    allowed_ms: i64,
}

/// What is to be read.
#[derive(Clone, Copy)]
struct Wanted {
    /// The start is excluded, the end is included.
    range: TimeRange,
    /// Where to read from if nothing is cut off at the start: what came late is found there.
    read_from: Timestamp,
    samples_max: usize,
    /// Whether samples up to a series' position are passed over.
    skips_given: bool,
    /// A span of this length is given whole, as far as the ceiling allows.
    floor_ms: i64,
}

impl Cursor {
    /// A cursor that stands at `progress`; `samples_ceiling` bounds a reply.
    pub fn new(progress: Progress, samples_ceiling: usize) -> Self {
        Self {
            given_until: progress.settled,
            progress,
            positions: HashMap::new(),
            pending: Vec::new(),
            gap_ms: None,
            samples_max: samples_ceiling,
            samples_ceiling,
            assumed_samples_max: ASSUMED_SAMPLES_MAX,
            front_span_ms: i64::MAX,
            hole_span_ms: i64::MAX,
            span_floor_ms: SPAN_MIN_MS,
            growth: (0, 0),
        }
    }

    /// Up to when everything that had come in time was given, and the newest given sample of series that were
    /// given something later than `progress.settled`, by their labels' hash.
    pub fn given(&self) -> (Timestamp, impl Iterator<Item = (u64, Timestamp)> + '_) {
        (self.given_until, self.positions.iter().map(|(series, at)| (*series, *at)))
    }

    /// Takes up what [`Self::given`] gave in an earlier run.
    pub fn go_on_from(&mut self, given_until: Timestamp, positions: HashMap<u64, Timestamp>) {
        self.given_until = given_until.max(self.progress.settled);
        self.positions = positions;
    }

    /// Goes back if the clock was once ahead: by the first span, as for a new puller. Whether it had to.
    pub fn come_back_to(&mut self, now: Timestamp, lateness: Duration) -> bool {
        if self.progress.settled <= now && self.given_until <= now + lateness {
            return false;
        }
        self.progress.settled = self.progress.settled.min(now - FIRST_SPAN);
        self.progress.last_used = self.progress.last_used.min(now);
        let settled = self.progress.settled;
        self.progress.holes.retain(|hole| hole.start < settled);
        for hole in &mut self.progress.holes {
            hole.end = hole.end.min(settled);
        }
        self.given_until = settled;
        self.positions.clear();
        self.pending.clear();
        self.gap_ms = None;
        true
    }

    /// What the puller is given now. Moves the cursor for the reply before if that was read.
    pub fn next(&mut self, turn: &Turn<'_>) -> Result<Given, StoreError> {
        if self.come_back_to(turn.now, turn.lateness) {
            warn!("a resync cursor stood in the future: the clock was set back, and some samples may be given again");
        }
        self.confirm(turn);
        self.progress.receipt = turn.receipt;
        self.span_floor_ms = SPAN_MIN_MS;
        if turn.receipt == Receipt::Assumed {
            self.samples_max = self.samples_max.min(self.assumed_samples_max);
            // Twice the time since the last pull: a backlog shrinks, whatever the site's pace.
            let since_ms = turn.now.since(self.progress.last_used).min(FIRST_SPAN.as_millis() as i64);
            self.span_floor_ms = (2 * since_ms).max(SPAN_MIN_MS);
        }
        self.progress.last_used = turn.now;
        let outcome = match turn.order {
            ResyncOrder::Oldest => self.oldest_first(turn),
            ResyncOrder::Newest => self.newest_first(turn),
        };
        if matches!(outcome, Err(StoreError::DeadlineExceeded)) {
            self.ask_for_less();
        }
        let series = outcome?;
        self.watch_growth(turn);
        let taken_flag = self.pending.last().map(|pending| Arc::clone(&pending.taken_flag)).unwrap_or_default();
        Ok(Given { series, taken_flag })
    }

    /// Moves for the reply before if that was read.
    fn confirm(&mut self, turn: &Turn<'_>) {
        let Some(newest) = self.pending.last() else { return };
        let gap_ms = turn.now.since(newest.asked);
        let gap_before = self.gap_ms.replace(gap_ms);
        let is_the_same = newest.age_max == turn.age_max;
        let is_on_time = is_the_same && gap_before.is_some_and(|before| gap_ms <= before.saturating_add(before / 2));
        let read = match turn.receipt {
            Receipt::Proved => self.pending.iter().rposition(|pending| pending.is_followed_by(turn.facts)),
            Receipt::Assumed if is_on_time && newest.taken_flag.load(Ordering::Acquire) => Some(self.pending.len() - 1),
            Receipt::Assumed => None,
        };
        self.progress.is_confirmed = read.is_some();
        let Some(read) = read else {
            self.progress.resent_total += newest.samples;
            self.ask_for_less();
            return;
        };
        let pending = self.pending.swap_remove(read);
        // The others were given from where the cursor stood until now.
        self.pending.clear();
        self.progress.was_confirmed = true;
        self.progress.age_max = pending.age_max;
        self.progress.settled = pending.settled;
        self.given_until = pending.given_until;
        self.progress.holes = pending.holes;
        self.positions.extend(pending.positions);
        let settled = self.progress.settled;
        self.positions.retain(|_, position| *position > settled);
        self.samples_max = self.samples_max.saturating_mul(2).min(self.samples_ceiling);
    }

    /// Warns once when the bound cuts off more than the pulls catch up with.
    fn watch_growth(&mut self, turn: &Turn<'_>) {
        let backlog_ms = self.progress.backlog_ms(turn.now, turn.lateness);
        let (replies, before_ms) = self.growth;
        let is_cut = self.front_span_ms != i64::MAX || self.hole_span_ms != i64::MAX;
        let replies = if is_cut && backlog_ms > before_ms { replies.saturating_add(1) } else { 0 };
        self.growth = (replies, backlog_ms);
        if replies == GROWTH_REPLIES {
            let (backlog_seconds, samples_max) = (backlog_ms / 1000, self.samples_max);
            warn!(
                backlog_seconds,
                samples_max, "a resync puller falls behind: its replies are cut short or not confirmed"
            );
        }
    }

    /// A reply that does not get through may be too much for the way there.
    fn ask_for_less(&mut self) {
        self.samples_max = (self.samples_max / 2).max(SAMPLES_FLOOR.min(self.samples_ceiling));
        self.front_span_ms = (self.front_span_ms / 2).max(SPAN_MIN_MS);
        self.hole_span_ms = (self.hole_span_ms / 2).max(SPAN_MIN_MS);
    }

    fn oldest_first(&mut self, turn: &Turn<'_>) -> Result<Vec<GivenSeries>, StoreError> {
        if let Some(first) = self.progress.holes.first() {
            // The order was another one before: go back to the first hole.
            self.progress.settled = self.progress.settled.min(first.start);
            self.given_until = self.progress.settled;
            self.progress.holes.clear();
            self.positions.clear();
            self.pending.clear();
        }
        let oldest = turn.oldest();
        let wanted = Wanted {
            range: TimeRange { start: self.given_until.max(oldest), end: turn.now },
            read_from: self.progress.settled.max(oldest),
            samples_max: self.samples_max,
            skips_given: true,
            floor_ms: self.span_floor_ms,
        };
        let span = self.read_bounded(turn, wanted, self.front_span_ms, oldest_part)?;
        self.front_span_ms = span.allowed_ms;
        self.await_confirmation(turn, span.range.end, Vec::new(), &[&span]);
        Ok(span.series)
    }

    fn newest_first(&mut self, turn: &Turn<'_>) -> Result<Vec<GivenSeries>, StoreError> {
        let recent = turn.now - RECENT;
        let oldest = turn.oldest();
        let (start, read_from) =
            if recent > self.given_until { (recent, recent) } else { (self.given_until, self.progress.settled) };
        let (start, read_from) = (start.max(oldest), read_from.max(oldest));
        let wanted = Wanted {
            range: TimeRange { start, end: turn.now },
            read_from,
            samples_max: self.samples_max,
            skips_given: true,
            floor_ms: self.span_floor_ms,
        };
        let front = self.read_bounded(turn, wanted, self.front_span_ms, newest_part)?;
        self.front_span_ms = front.allowed_ms;
        let mut holes = self.progress.holes.clone();
        if front.range.start > self.given_until {
            // From the settled time on, so that what came late before the outage is not lost.
            holes.push(TimeRange { start: self.progress.settled, end: front.range.start });
        }
        holes.retain(|hole| hole.end > oldest);
        for hole in &mut holes {
            hole.start = hole.start.max(oldest);
        }
        join_oldest(&mut holes);
        // What is not cut does not count.
        let is_floor = turn.now.since(front.range.start) <= self.span_floor_ms;
        let counted = if is_floor { 0 } else { front.samples };
        let behind = self.fill_hole(turn, &mut holes, self.samples_max.saturating_sub(counted))?;
        let spans: Vec<&Span> = std::iter::once(&front).chain(&behind).collect();
        self.await_confirmation(turn, turn.now, holes, &spans);
        Ok(merged(behind.map(|span| span.series).unwrap_or_default(), front.series))
    }

    /// The newest part of the newest hole, as far as `room` allows.
    fn fill_hole(
        &mut self,
        turn: &Turn<'_>,
        holes: &mut Vec<TimeRange>,
        room: usize,
    ) -> Result<Option<Span>, StoreError> {
        if room < self.samples_max / HOLE_SHARE {
            return Ok(None);
        }
        let Some(hole) = holes.pop() else { return Ok(None) };
        let wanted =
            Wanted { range: hole, read_from: hole.start, samples_max: room, skips_given: false, floor_ms: SPAN_MIN_MS };
        let span = self.read_bounded(turn, wanted, self.hole_span_ms, newest_part)?;
        self.hole_span_ms = span.allowed_ms;
        if span.range.start > hole.start {
            holes.push(TimeRange { start: hole.start, end: span.range.start });
        }
        Ok(Some(span))
    }

    fn await_confirmation(&mut self, turn: &Turn<'_>, given_until: Timestamp, holes: Vec<TimeRange>, spans: &[&Span]) {
        let settled = given_until.min(turn.now - turn.lateness).max(self.progress.settled);
        let mut positions = HashMap::new();
        for (labels, samples) in spans.iter().flat_map(|span| &span.series) {
            let Some((last, _)) = samples.last().filter(|(last, _)| *last > settled) else { continue };
            let position = positions.entry(labels.prometheus_hash()).or_insert(*last);
            *position = (*position).max(*last);
        }
        let samples = spans.iter().map(|span| span.samples as u64).sum();
        self.progress.given_total += samples;
        if self.pending.len() >= PENDING_MAX {
            self.pending.remove(0);
        }
        self.pending.push(Pending {
            connection: turn.facts.id,
            request: turn.facts.earlier_requests,
            asked: turn.now,
            age_max: turn.age_max,
            taken_flag: Arc::default(),
            settled,
            given_until,
            holes,
            positions: positions.into_iter().collect(),
            samples,
        });
    }

    /// Reads the part of what is wanted that the bound allows: `cut` gives the part of a given
    /// length, and `span_ms` is the length that the bound allowed last, which is a good guess.
    fn read_bounded(
        &self,
        turn: &Turn<'_>,
        wanted: Wanted,
        span_ms: i64,
        cut: impl Fn(TimeRange, i64) -> TimeRange,
    ) -> Result<Span, StoreError> {
        let length = wanted.range.end.since(wanted.range.start);
        let mut span_ms = length.min(span_ms.saturating_mul(2)).max(SPAN_MIN_MS);
        loop {
            let range = cut(wanted.range, span_ms);
            let start = if range.start == wanted.range.start { wanted.read_from } else { range.start };
            // The smallest span is given whatever it holds; else a puller would never get on.
            let bound = match span_ms {
                ..=SPAN_MIN_MS => (usize::MAX, u64::MAX),
                _ if span_ms <= wanted.floor_ms => (self.samples_ceiling, RESYNC_BYTES_MAX),
                _ => (wanted.samples_max, RESYNC_BYTES_MAX),
            };
            let read_range = TimeRange { start, end: range.end };
            if let Some((series, samples)) = self.read(turn, read_range, bound, wanted.skips_given)? {
                let allowed_ms = if span_ms >= length { i64::MAX } else { span_ms };
                return Ok(Span { range, series, samples, allowed_ms });
            }
            span_ms = (span_ms / 2).max(SPAN_MIN_MS);
        }
    }

    /// The samples after `range.start` up to its end, without stale markers (no format carries them) and
    /// without what was given already; `None` if there are more samples or bytes than the bound.
    fn read(
        &self,
        turn: &Turn<'_>,
        range: TimeRange,
        (samples_max, bytes_max): (usize, u64),
        skips_given: bool,
    ) -> Result<Option<(Vec<GivenSeries>, usize)>, StoreError> {
        let options = ReadOptions { range, ..turn.options.clone() };
        let mut found = HashMap::<Labels, Vec<(Timestamp, f64)>>::new();
        let (mut total, mut bytes) = (0, 0);
        let mut samples = Samples::default();
        for set in turn.sets {
            let mut series = turn.store.select(set, &options)?;
            while let Some(labels) = series.next(&mut samples)? {
                if found.contains_key(&labels) {
                    continue;
                }
                let position = self.positions.get(&labels.prometheus_hash()).filter(|_| skips_given);
                let new = new_floats(&samples, position.map_or(range.start, |position| (*position).max(range.start)));
                total += new.len();
                bytes += new.len() as u64 * (text_bytes(&labels) + turn.extra_bytes);
                if total > samples_max || bytes > bytes_max {
                    return Ok(None);
                }
                if !new.is_empty() {
                    found.insert(labels, new);
                }
            }
        }
        let mut found: Vec<GivenSeries> = found.into_iter().collect();
        crate::model::sort_by(&mut found, |a, b| a.0.cmp(&b.0));
        Ok(Some((found, total)))
    }
}

/// At most so many bytes does a sample of this series take in a page.
fn text_bytes(labels: &Labels) -> u64 {
    labels.iter().map(pair_bytes).sum::<u64>() + SAMPLE_BYTES
}

/// The same of one label.
pub(super) fn pair_bytes((name, value): (&str, &str)) -> u64 {
    let escaped = value.bytes().filter(|byte| b"\"\\\n".contains(byte)).count();
    // Quotes around both, an equals sign, a comma.
    (name.len() + value.len() + escaped + 6) as u64
}

fn oldest_part(range: TimeRange, span_ms: i64) -> TimeRange {
    TimeRange { end: Timestamp(range.start.0.saturating_add(span_ms)).min(range.end), ..range }
}

fn newest_part(range: TimeRange, span_ms: i64) -> TimeRange {
    TimeRange { start: Timestamp(range.end.0.saturating_sub(span_ms)).max(range.start), ..range }
}

fn new_floats(samples: &Samples, after: Timestamp) -> Vec<(Timestamp, f64)> {
    let mut histograms = samples.histograms.iter().map(|(at, _)| *at as usize).peekable();
    let mut floats = Vec::new();
    for (index, (at, value)) in samples.timestamps.iter().zip(&samples.values).enumerate() {
        if histograms.next_if_eq(&index).is_some() {
            // The text formats cannot carry native histograms.
            continue;
        }
        if *at > after && !is_stale_marker(*value) {
            floats.push((*at, *value));
        }
    }
    floats
}

/// Joins the oldest holes while there are too many; what lies between them is then given twice.
fn join_oldest(holes: &mut Vec<TimeRange>) {
    while holes.len() > HOLES_MAX {
        let first = holes.remove(0);
        holes[0].start = first.start;
    }
}

/// Series of an older span with those of a newer one, each series' samples oldest first.
fn merged(older: Vec<GivenSeries>, newer: Vec<GivenSeries>) -> Vec<GivenSeries> {
    let mut all: HashMap<Labels, Vec<(Timestamp, f64)>> = older.into_iter().collect();
    for (labels, samples) in newer {
        let known = all.entry(labels).or_default();
        let last = known.last().map(|(last, _)| *last);
        known.extend(samples.into_iter().filter(|(at, _)| last.is_none_or(|last| *at > last)));
    }
    let mut all: Vec<GivenSeries> = all.into_iter().collect();
    crate::model::sort_by(&mut all, |a, b| a.0.cmp(&b.0));
    all
}

#[cfg(test)]
mod tests;
