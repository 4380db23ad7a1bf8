//! The memory of pages that are on their way: buffers, and how much all of them may take together.
//!
//! A page takes its share step by step while it grows. One that finds nothing left, or is no ordinary page, waits for
//! the turn of large pages: one page at a time goes on without a share, so that pages never wait for each other
//! in a circle.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::bounds::{BODY_BYTES_ORDINARY, PAGES_BYTES_MAX};

/// By how much a page's share grows at a time. Most pages never need a second step.
pub(super) const STEP_BYTES: usize = 256 << 10;

/// The memory of pages. Cloning shares it.
#[derive(Clone, Debug)]
pub(super) struct Pages {
    idle: Arc<Mutex<Vec<Vec<u8>>>>,
    steps: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// What one page holds of the memory of all; given back when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Hold {
    steps: Option<OwnedSemaphorePermit>,
    turn: Option<OwnedSemaphorePermit>,
}

impl Pages {
    /// Buffers that are kept for the next pages: few pages are on their way at a time.
    const KEPT: usize = 2;

    pub(super) fn new() -> Self {
        Self::with_steps(PAGES_BYTES_MAX / STEP_BYTES)
    }

    fn with_steps(steps: usize) -> Self {
        Self { idle: Arc::default(), steps: Arc::new(Semaphore::new(steps)), large: Arc::new(Semaphore::new(1)) }
    }

    /// An empty buffer.
    pub(super) fn take(&self) -> Vec<u8> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// The page has been read.
    pub(super) fn put(&self, mut page: Vec<u8>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < Self::KEPT && page.capacity() <= BODY_BYTES_ORDINARY {
            page.clear();
            idle.push(page);
        }
    }

    /// Gives `hold` one more step, if there is one.
    pub(super) fn grow(&self, hold: &mut Hold) -> bool {
        let Ok(step) = Arc::clone(&self.steps).try_acquire_owned() else { return false };
        match &mut hold.steps {
            Some(steps) => steps.merge(step),
            none => *none = Some(step),
        }
        true
    }

    /// Waits until `hold` may grow freely.
    pub(super) async fn wait_for_turn(&self, hold: &mut Hold) -> Result<(), AcquireError> {
        hold.turn = Some(Arc::clone(&self.large).acquire_owned().await?);
        Ok(())
    }
}

impl Hold {
    /// Whether this page has the turn of large pages.
    pub(super) fn has_turn(&self) -> bool {
        self.turn.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pages_together_are_bounded() {
        let pages = Pages::with_steps(3);
        let (mut a, mut b, mut c) = (Hold::default(), Hold::default(), Hold::default());
        assert!(pages.grow(&mut a) && pages.grow(&mut a) && pages.grow(&mut b));
        assert!(!pages.grow(&mut b) && !pages.grow(&mut c), "nothing is left");
        pages.wait_for_turn(&mut b).await.expect("never closed");
        let waiting = tokio::time::timeout(std::time::Duration::from_secs(60), pages.wait_for_turn(&mut c));
        assert!(waiting.await.is_err(), "one page at a time");
        assert!(b.has_turn() && !c.has_turn());
        drop(b);
        pages.wait_for_turn(&mut c).await.expect("never closed");
        assert!(pages.grow(&mut c), "what b had is free again");
        assert!(!pages.grow(&mut c));
        drop(a);
        assert!(pages.grow(&mut c) && pages.grow(&mut c));
    }
}
