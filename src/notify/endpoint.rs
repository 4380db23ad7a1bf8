//! One Alertmanager: its queue, and the task that empties it.
//!
//! A delivery that fails is tried again, later and later, as long as its alerts are due; what the
//! Alertmanager refuses for good (4xx) is dropped and counted, since it would be refused again.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::payload::encode_alerts;
use super::queue::{AlertQueue, TakenBatch};
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::model::Alert;
use crate::telemetry::{Counter, Gauge};

/// Alerts that wait for one Alertmanager at most.
pub const QUEUE_CAPACITY: usize = 10_000;
/// Alerts in one request at most, as in Prometheus 3.
pub const BATCH_ALERTS_MAX: usize = 256;
/// The first wait after a failure, and the longest one.
const RETRY_WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Taken.
    Done,
    /// Not taken, and worth another try.
    Failed(String),
    /// Refused for good.
    Refused(String),
}

/// Sends one request to an Alertmanager.
pub trait Post: Send + Sync {
    /// Posts a JSON body to `url`.
    fn post<'a>(&'a self, url: &'a str, body: Bytes) -> Pin<Box<dyn Future<Output = Delivery> + Send + 'a>>;
}

/// Figures of one Alertmanager.
#[derive(Clone, Debug, Default)]
pub struct EndpointMetrics {
    /// Alerts sent, successfully or not.
    pub sent: Counter,
    /// Alerts in requests that failed.
    pub errors: Counter,
    /// Alerts given up.
    pub dropped: Counter,
    /// How long the last request took, in seconds.
    pub last_duration: Gauge,
}

/// One Alertmanager. Cloning shares it.
#[derive(Clone)]
pub struct Endpoint(Arc<Inner>);

struct Inner {
    url: String,
    queue: Mutex<AlertQueue>,
    metrics: EndpointMetrics,
    /// Whether the last request was taken.
    works: AtomicBool,
    /// Counts what was put into the queue, to wake the task.
    pushed: watch::Sender<u64>,
}

/// When the tasks of endpoints end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stopping {
    /// Not yet.
    #[default]
    No,
    /// Once the queue is empty, or when something fails.
    Draining,
    /// At once.
    Now,
}

impl Endpoint {
    /// An Alertmanager whose alerts go to `url`.
    pub fn new(url: String) -> Self {
        let queue = Mutex::new(AlertQueue::new(QUEUE_CAPACITY));
        let (metrics, works, pushed) = (EndpointMetrics::default(), AtomicBool::new(false), watch::Sender::new(0));
        Self(Arc::new(Inner { url, queue, metrics, works, pushed }))
    }

    /// Where the alerts go.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// Its figures.
    pub fn metrics(&self) -> &EndpointMetrics {
        &self.0.metrics
    }

    /// How many alerts wait.
    pub fn queue_len(&self) -> usize {
        self.with_queue(|queue| queue.len())
    }

    /// Whether the last request was taken; not before the first one.
    pub fn works(&self) -> bool {
        self.0.works.load(Ordering::Relaxed)
    }

    /// What waits, in order.
    pub fn waiting(&self) -> Vec<Arc<Alert>> {
        self.with_queue(|queue| queue.iter().cloned().collect())
    }

    /// Puts alerts into the queue. Never waits.
    pub fn push(&self, alerts: impl IntoIterator<Item = Arc<Alert>>) {
        let dropped: u64 = self.with_queue(|queue| alerts.into_iter().map(|alert| queue.push(alert)).sum());
        if dropped > 0 {
            self.0.metrics.dropped.add(dropped);
            tracing::warn!(alertmanager = self.0.url, dropped, "the queue of alerts is full");
        }
        self.0.pushed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Delivers what is in the queue until told to stop. What waits then stays in the queue.
    pub async fn run(self, post: Arc<dyn Post>, clock: Clock, mut stopping: watch::Receiver<Stopping>) {
        let mut backoff = Backoff::new(RETRY_WAITS[0], RETRY_WAITS[1]);
        let mut is_failing = false;
        let mut hurry = stopping.clone();
        let stopped_now = hurry.wait_for(|stopping| *stopping == Stopping::Now);
        let deliver_all = async {
            while let Some(batch) = self.next_batch(&clock, &mut stopping).await {
                let delivery = self.deliver(&batch, &*post).await;
                self.tell(&delivery, batch.len(), &mut is_failing);
                if !matches!(delivery, Delivery::Failed(_)) {
                    backoff.reset();
                    continue;
                }
                let is_stopping = stopping.wait_for(|stopping| *stopping != Stopping::No);
                if timeout(backoff.next_wait(), is_stopping).await.is_ok() {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            _ = stopped_now => {}
            () = deliver_all => {}
        }
    }

    /// Waits for alerts; `None` where there are none and the end has come.
    async fn next_batch(&self, clock: &Clock, stopping: &mut watch::Receiver<Stopping>) -> Option<TakenBatch> {
        let mut pushed = self.0.pushed.subscribe();
        loop {
            let (batch, outdated) = self.with_queue(|queue| queue.take(BATCH_ALERTS_MAX, clock.now()));
            self.0.metrics.dropped.add(outdated);
            if batch.len() > 0 {
                return Some(batch);
            }
            if *stopping.borrow() != Stopping::No {
                return None;
            }
            tokio::select! {
                // An owner that is gone cannot say anything any more.
                changed = stopping.changed() => changed.ok()?,
                _ = pushed.changed() => {}
            }
        }
    }

    /// Logs what changes: a failure is told once per outage, the counters tell the rest.
    fn tell(&self, delivery: &Delivery, count: usize, is_failing: &mut bool) {
        let alertmanager = self.url();
        match delivery {
            Delivery::Done if std::mem::take(is_failing) => {
                tracing::info!(alertmanager, "alerts are delivered again");
            }
            Delivery::Done => {}
            Delivery::Failed(reason) => {
                if !std::mem::replace(is_failing, true) {
                    tracing::error!(alertmanager, count, reason, "sending alerts failed, it will be tried again");
                }
            }
            Delivery::Refused(reason) => {
                self.0.metrics.dropped.add(count as u64);
                tracing::error!(alertmanager, count, reason, "alerts were refused");
            }
        }
    }

    async fn deliver(&self, batch: &TakenBatch, post: &dyn Post) -> Delivery {
        let began = Instant::now();
        let delivery = post.post(&self.0.url, encode_alerts(batch.alerts()).into()).await;
        let count = batch.len() as u64;
        self.0.metrics.sent.add(count);
        self.0.metrics.last_duration.set(began.elapsed().as_secs_f64());
        if delivery != Delivery::Done {
            self.0.metrics.errors.add(count);
        }
        let is_taken = !matches!(delivery, Delivery::Failed(_));
        if is_taken {
            self.with_queue(|queue| queue.finish(batch));
        }
        self.0.works.store(is_taken, Ordering::Relaxed);
        delivery
    }

    fn with_queue<R>(&self, work: impl FnOnce(&mut AlertQueue) -> R) -> R {
        work(&mut self.0.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests;
