//! What the store tells of itself, and the state of its disk.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use crate::clock::Clock;
use crate::model::{MetricType, Timestamp};
use crate::telemetry::{Counter, Gauge, Registry};

/// A flush that takes longer is shown as a failure while it lasts: slow cards sync within a second or two.
const STALL_MS: i64 = 3_000;
/// How long it is told that the store's files were removed.
const REPLACED_MS: i64 = 24 * 3_600_000;

/// Whether the disk takes what it is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreHealth {
    /// Why flushing to the log fails at present, if it does. Samples are then safe from nothing but
    /// the end of the process.
    pub log_error: Option<String>,
    /// Why writing or reading blocks fails at present, if it does.
    pub blocks_error: Option<String>,
    /// Why the tail cannot be written at present, if it cannot: kill -9 then costs a flush interval.
    pub tail_error: Option<String>,
    /// How the write budget changes what is done, if it does.
    pub budget: Option<String>,
    /// What happened to the store's files within the last day, if they were removed or replaced.
    pub replaced: Option<String>,
    /// Since when one of them fails.
    pub failing_since: Option<Timestamp>,
}

impl StoreHealth {
    /// Whether the disk works.
    pub fn is_good(&self) -> bool {
        self.log_error.is_none() && self.blocks_error.is_none() && self.tail_error.is_none()
    }
}

/// The store's own metrics.
pub(super) struct Metrics {
    pub samples_appended: Counter,
    pub samples_rejected: Counter,
    pub samples_dropped: Counter,
    pub flushes: Counter,
    pub flush_failures: Counter,
    pub flush_seconds: Gauge,
    pub log_bytes_written: Counter,
    pub block_bytes_written: Counter,
    pub device_bytes_written: Counter,
    pub block_failures: Counter,
    pub durable_until: Gauge,
    pub compactions: Counter,
    pub merges: Counter,
    pub blocks_expired: Counter,
    pub corruptions: Counter,
    pub read_failures: Counter,
    pub segments_read: Counter,
    /// The bound on size was found to be too small.
    pub is_bound_too_small: Flag,
    /// How often the store's files were found removed or replaced, and what was found last.
    replacements: Counter,
    replaced: Mutex<Option<(Timestamp, String)>>,
    /// Nothing is logged of a disk that fails: whoever uses the store says it.
    pub is_silent: bool,
    health: Arc<Mutex<StoreHealth>>,
    /// When the flush began that is under way, in milliseconds; 0 if none is.
    flush_began: Arc<AtomicI64>,
    clock: Clock,
}

impl Metrics {
    pub fn new(registry: &Registry, clock: &Clock) -> Self {
        let counter = |name, help| registry.counter(name, help);
        let health: Arc<Mutex<StoreHealth>> = Arc::default();
        let flush_began: Arc<AtomicI64> = Arc::default();
        let (shown, began, now) = (Arc::clone(&health), Arc::clone(&flush_began), clock.clone());
        registry.family(
            "outpost_store_disk_healthy",
            "Whether the last write to the log, the tail and the blocks succeeded.",
            MetricType::Gauge,
            move |emit| {
                let health = current(&shown, &began, &now);
                emit(&[("part", "blocks")], f64::from(u8::from(health.blocks_error.is_none())));
                emit(&[("part", "log")], f64::from(u8::from(health.log_error.is_none())));
                emit(&[("part", "tail")], f64::from(u8::from(health.tail_error.is_none())));
            },
        );
        Self {
            samples_appended: counter("outpost_store_samples_appended_total", "Samples taken."),
            samples_rejected: counter(
                "outpost_store_samples_rejected_total",
                "Samples refused: out of order, too old, too far ahead.",
            ),
            samples_dropped: counter(
                "outpost_store_samples_dropped_total",
                "Samples dropped from memory at its bound, because the disk took nothing for too long.",
            ),
            flushes: counter("outpost_store_flushes_total", "Log records made durable."),
            flush_failures: counter("outpost_store_flush_failures_total", "Flushes that failed; they are repeated."),
            flush_seconds: registry.gauge("outpost_store_last_flush_duration_seconds", "How long the last flush took."),
            log_bytes_written: counter("outpost_store_log_written_bytes_total", "Bytes written to the log."),
            block_bytes_written: counter(
                "outpost_store_block_written_bytes_total",
                "Bytes of samples written to blocks.",
            ),
            device_bytes_written: counter(
                "outpost_store_device_written_bytes_total",
                "Bytes that reached the device, estimated: what was written, and what the file system adds to it.",
            ),
            block_failures: counter(
                "outpost_store_block_failures_total",
                "Blocks that could not be written; they are repeated.",
            ),
            durable_until: registry.gauge(
                "outpost_store_last_durable_timestamp_seconds",
                "When the newest successful flush began: what came before survives a power cut.",
            ),
            compactions: counter("outpost_store_compactions_total", "Blocks made from memory."),
            merges: counter("outpost_store_merges_total", "Blocks made from shorter blocks."),
            blocks_expired: counter("outpost_store_blocks_expired_total", "Blocks dropped by the retention."),
            corruptions: counter(
                "outpost_store_corruptions_total",
                "Damaged records, segments and files met and set aside.",
            ),
            read_failures: counter(
                "outpost_store_block_read_failures_total",
                "Reads that were answered from memory alone because the blocks could not be read.",
            ),
            segments_read: counter("outpost_store_segments_read_total", "Segments that reads have unpacked."),
            is_bound_too_small: Flag::default(),
            replacements: counter(
                "outpost_store_files_replaced_total",
                "How often files of the store were found removed or replaced; what memory held was written anew.",
            ),
            replaced: Mutex::default(),
            is_silent: false,
            health,
            flush_began,
            clock: clock.clone(),
        }
    }

    /// The state of the disk.
    pub fn health(&self) -> StoreHealth {
        let replaced = self.replaced.lock().expect("no holder of the lock panics").clone();
        let is_recent = |at: Timestamp| self.clock.now().since(at) < REPLACED_MS;
        let replaced = replaced.and_then(|(at, text)| is_recent(at).then_some(text));
        StoreHealth { replaced, ..current(&self.health, &self.flush_began, &self.clock) }
    }

    /// Notes that the store's files were found removed or replaced.
    pub fn note_replaced(&self, text: String, now: Timestamp) {
        self.replacements.inc();
        *self.replaced.lock().expect("no holder of the lock panics") = Some((now, text));
    }

    /// Notes that writing the log has begun, or ended.
    pub fn note_flush(&self, began: Option<Timestamp>) {
        self.flush_began.store(began.map_or(0, |began| began.0), Ordering::Relaxed);
    }

    /// Notes how writing the log went. Changes are logged once.
    pub fn note_log(&self, outcome: Result<(), String>, now: Timestamp) {
        self.note(outcome, now, "log", |health| &mut health.log_error);
    }

    /// Notes how working with blocks went.
    pub fn note_blocks(&self, outcome: Result<(), String>, now: Timestamp) {
        self.note(outcome, now, "blocks", |health| &mut health.blocks_error);
    }

    /// Notes how writing the tail went.
    pub fn note_tail(&self, outcome: Result<(), String>, now: Timestamp) {
        self.note(outcome, now, "tail", |health| &mut health.tail_error);
    }

    fn note(
        &self,
        outcome: Result<(), String>,
        now: Timestamp,
        part: &str,
        field: impl Fn(&mut StoreHealth) -> &mut Option<String>,
    ) {
        let mut health = self.health.lock().expect("no holder of the lock panics");
        let error = outcome.err();
        match (field(&mut health).is_some(), &error) {
            _ if self.is_silent => {}
            (false, Some(error)) => {
                tracing::error!(part, %error, "the disk fails; memory goes on alone and it is tried again")
            }
            (true, None) => tracing::info!(part, "the disk is back; what memory holds is written"),
            _ => {}
        }
        *field(&mut health) = error;
        let since = health.failing_since.unwrap_or(now);
        health.failing_since = (!health.is_good()).then_some(since);
    }
}

/// A switch that remembers, so that a change can be told once.
#[derive(Default)]
pub(super) struct Flag(AtomicBool);

impl Flag {
    /// Sets it; gives what it was.
    pub fn replace(&self, value: bool) -> bool {
        self.0.swap(value, Ordering::Relaxed)
    }
}

/// What was noted last, and whether the disk has kept a flush waiting since.
fn current(health: &Mutex<StoreHealth>, flush_began: &AtomicI64, clock: &Clock) -> StoreHealth {
    let mut health = health.lock().expect("no holder of the lock panics").clone();
    let (began, now) = (Timestamp(flush_began.load(Ordering::Relaxed)), clock.now());
    if began.0 != 0 && now.since(began) >= STALL_MS && health.log_error.is_none() {
        health.log_error = Some(format!("the disk has not answered for {} s", now.since(began) / 1000));
        health.failing_since.get_or_insert(began);
    }
    health
}

/// An error and all that caused it, in one line.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
