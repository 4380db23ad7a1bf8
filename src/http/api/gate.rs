//! The gate before the store: reads run on blocking threads, a bounded number at a time, and a
//! bounded number may wait. A read whose client has left is told so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::error::{ApiError, ErrorKind};
use crate::http::settings::QUERIES_WAITING_MAX;
use crate::model::TimeRange;
use crate::store::ReadOptions;

/// How long after its deadline a read may take to notice it, before the client is answered anyway.
const OVERDUE_MAX: Duration = Duration::from_secs(1);

/// How errors speak of what passes a gate.
struct Words {
    many: &'static str,
    late_in_line: &'static str,
    late_in_work: &'static str,
}

const QUERIES: Words = Words {
    many: "queries",
    late_in_line: "query timed out in query queue",
    late_in_work: "query timed out in expression evaluation",
};

const PAGES: Words = Words {
    many: "pages",
    late_in_line: "other pages were made until the time for this one was over",
    late_in_work: "making the page took longer than allowed",
};

/// Lets a bounded number of reads through.
pub(crate) struct Gate {
    words: &'static Words,
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// What a read needs to know to give up in time.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) deadline: std::time::Instant,
    pub(crate) cancelled: Arc<AtomicBool>,
    /// How long the read waited for its turn.
    pub(crate) queued: Duration,
}

impl Ticket {
    /// Read options over a range under this ticket.
    pub(crate) fn read_options(&self, range: TimeRange) -> ReadOptions {
        let cancelled = Some(Arc::clone(&self.cancelled));
        ReadOptions { deadline: Some(self.deadline), cancelled, ..ReadOptions::over(range) }
    }
}

impl Gate {
    /// A gate for `concurrency` queries at a time.
    pub(crate) fn new(concurrency: usize) -> Self {
        Self::speaking(&QUERIES, concurrency)
    }

    /// A gate for so many pages of `/federate` at a time.
    pub(crate) fn for_pages(concurrency: usize) -> Self {
        Self::speaking(&PAGES, concurrency)
    }

    fn speaking(words: &'static Words, concurrency: usize) -> Self {
        Self { words, permits: Arc::new(Semaphore::new(concurrency.max(1))), waiting: AtomicUsize::new(0) }
    }

    /// Runs `work` on a blocking thread within `time_max`, waiting included.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        time_max: Duration,
        work: impl FnOnce(&Ticket) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let started = Instant::now();
        let deadline = started + time_max;
        let permit = self.enter(deadline).await?;
        let cancelled = Arc::new(AtomicBool::new(false));
        let ticket =
            Ticket { deadline: deadline.into_std(), cancelled: Arc::clone(&cancelled), queued: started.elapsed() };
        // Dropped with this future when the client leaves, and when the read is overdue.
        let _cancel = CancelOnDrop(cancelled);
        let task = tokio::task::spawn_blocking(move || {
            // The place is free when the read has ended, which may be later than its answer.
            let _permit = permit;
            work(&ticket)
        });
        match timeout_at(deadline + OVERDUE_MAX, task).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(ApiError::new(ErrorKind::Internal, "the read ended without an answer")),
            Err(_) => Err(ApiError::new(ErrorKind::Timeout, self.words.late_in_work)),
        }
    }

    async fn enter(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, ApiError> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        let _waiting = self.wait_in_line()?;
        let permit = timeout_at(deadline, Arc::clone(&self.permits).acquire_owned()).await;
        let late = |_| ApiError::new(ErrorKind::Timeout, self.words.late_in_line);
        Ok(permit.map_err(late)?.expect("the semaphore is never closed"))
    }

    fn wait_in_line(&self) -> Result<Waiting<'_>, ApiError> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= QUERIES_WAITING_MAX {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(ApiError::new(
                ErrorKind::Unavailable,
                format!("{QUERIES_WAITING_MAX} {} are waiting already; ask again later", self.words.many),
            ));
        }
        Ok(Waiting(&self.waiting))
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    const LONG: Duration = Duration::from_secs(3600);

    /// A read that holds its place until it is told to end.
    fn blocker() -> (SyncSender<()>, impl FnOnce(&Ticket) -> Result<(), ApiError> + Send) {
        let (end, ended): (_, Receiver<()>) = sync_channel(1);
        (end, move |_: &Ticket| {
            ended.recv().ok();
            Ok(())
        })
    }

    #[tokio::test]
    async fn reads_beyond_the_line_are_refused_and_the_others_get_their_turn() {
        let gate = Arc::new(Gate::new(1));
        let (end, work) = blocker();
        let first = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.run(LONG, work).await }
        });
        while gate.permits.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let mut line = Vec::new();
        for _ in 0..QUERIES_WAITING_MAX {
            let gate = Arc::clone(&gate);
            line.push(tokio::spawn(async move { gate.run(LONG, |_| Ok(())).await }));
        }
        while gate.waiting.load(Ordering::Relaxed) < QUERIES_WAITING_MAX {
            tokio::task::yield_now().await;
        }
        let refused = gate.run(LONG, |_| Ok(())).await.expect_err("the line is full");
        assert_eq!((refused.error_type(), refused.status().as_u16()), ("unavailable", 503));
        end.send(()).expect("the read waits for it");
        assert_eq!(first.await.expect("no panic"), Ok(()));
        for task in line {
            assert_eq!(task.await.expect("no panic"), Ok(()));
        }
    }

    #[tokio::test]
    async fn a_read_that_ignores_its_deadline_is_answered_for() {
        for (gate, words) in [(Gate::new(1), QUERIES), (Gate::for_pages(1), PAGES)] {
            let (end, work) = blocker();
            let error = gate.run(Duration::ZERO, work).await.expect_err("it never ends by itself");
            assert_eq!((error.error_type(), error.status().as_u16()), ("timeout", 503));
            assert_eq!(error.message(), words.late_in_work);
            assert_eq!(gate.permits.available_permits(), 0, "it still holds its place");
            let queued = gate.run(Duration::ZERO, |_| Ok(())).await.expect_err("no place in time");
            assert_eq!(queued.message(), words.late_in_line);
            end.send(()).expect("the read waits for it");
        }
    }

    #[tokio::test]
    async fn a_client_that_leaves_cancels_its_read() {
        let gate = Arc::new(Gate::new(1));
        let (seen, flag) = sync_channel(1);
        let task = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move {
                gate.run(LONG, move |ticket: &Ticket| {
                    seen.send(Arc::clone(&ticket.cancelled)).expect("the test listens");
                    while !ticket.cancelled.load(Ordering::Relaxed) {
                        std::thread::yield_now();
                    }
                    Ok(())
                })
                .await
            }
        });
        let flag = tokio::task::spawn_blocking(move || flag.recv()).await.expect("no panic").expect("the read began");
        assert!(!flag.load(Ordering::Relaxed));
        task.abort();
        drop(gate.run(LONG, |_| Ok(())).await);
        assert!(flag.load(Ordering::Relaxed));
    }
}
