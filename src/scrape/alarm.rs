//! Waking scrapes on time.
//!
//! The runtime's own timers sort deadlines into wheels whose slots it has to visit on the way: a scrape every 15 s costs
//! two wakings of the process. A timer of the kernel costs one, and is not rounded up to the next millisecond.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use rustix::fs::Timespec;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};
use tokio::net::unix::pipe::Receiver;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Wakes tasks at their times. Cloning shares it.
#[derive(Clone)]
pub struct Alarm(Option<Arc<Kernel>>);

/// A timer of the kernel, set for the first of all who wait.
struct Kernel {
    inner: Arc<Inner>,
    ringing: AbortHandle,
}

struct Inner {
    /// Read like a pipe: eight bytes whenever it has run out.
    timer: Receiver,
    waiting: Mutex<Waiting>,
}

/// Who waits, by time and then in the order of coming.
#[derive(Default)]
struct Waiting {
    wakers: BTreeMap<(Instant, u64), Waker>,
    count: u64,
}

impl Alarm {
    /// An alarm by the runtime's timers, which tests can pause.
    pub fn of_runtime() -> Self {
        Self(None)
    }

    /// An alarm by a timer of the kernel; by the runtime's where the kernel has none to give.
    pub fn of_kernel() -> Self {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)
            // A filter of system calls may know how to make one only.
            .and_then(|timer| run_out_after(&timer, Duration::ZERO).map(|()| timer))
            .map_err(std::io::Error::from)
            .and_then(|timer| Receiver::from_file_unchecked(timer.into()));
        let timer = match timer {
            Ok(timer) => timer,
            Err(error) => {
                tracing::warn!(%error, "no timer of the kernel: scrapes are woken by the runtime's");
                return Self(None);
            }
        };
        let inner = Arc::new(Inner { timer, waiting: Mutex::default() });
        let ringing = tokio::spawn(Arc::clone(&inner).ring()).abort_handle();
        Self(Some(Arc::new(Kernel { inner, ringing })))
    }

    /// Waits until `at`.
    pub(super) async fn sleep_until(&self, at: Instant) {
        let Some(kernel) = &self.0 else { return tokio::time::sleep_until(at).await };
        let mut place = Place { inner: &kernel.inner, key: None };
        poll_fn(|context| {
            if at <= Instant::now() {
                return Poll::Ready(());
            }
            let mut waiting = place.inner.lock();
            let key = *place.key.get_or_insert_with(|| {
                waiting.count += 1;
                (at, waiting.count)
            });
            waiting.wakers.insert(key, context.waker().clone());
            if waiting.wakers.first_key_value().is_some_and(|(first, _)| *first == key) {
                place.inner.set(at);
            }
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.ringing.abort();
    }
}

/// One who waits; gone, nobody is woken.
struct Place<'a> {
    inner: &'a Inner,
    key: Option<(Instant, u64)>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.inner.lock().wakers.remove(&key);
        }
    }
}

impl Inner {
    /// Wakes whoever's time has come, whenever the timer has run out.
    async fn ring(self: Arc<Self>) {
        // A timer that cannot be waited for any more belongs to a runtime that ends.
        while let Ok(()) = self.timer.readable().await {
            if self.timer.try_read(&mut [0; 8]).is_err() {
                continue;
            }
            let mut waiting = self.lock();
            let now = Instant::now();
            while let Some(entry) = waiting.wakers.first_entry() {
                let at = entry.key().0;
                if at > now {
                    self.set(at);
                    break;
                }
                entry.remove().wake();
            }
        }
    }

    /// Sets the timer, with the lock held.
    fn set(&self, at: Instant) {
        // Zero would stop it.
        let left = at.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        // What has worked once is refused for wrong times only.
        let _ = run_out_after(&self.timer, left);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets a timer run out once, after `left`; no time stops it.
fn run_out_after(timer: impl AsFd, left: Duration) -> rustix::io::Result<()> {
    let it_value =
        Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
    let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
    timerfd_settime(timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value }).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everyone_is_woken_in_time_and_in_order() {
        let alarm = Alarm::of_kernel();
        assert!(alarm.0.is_some());
        let start = Instant::now();
        let order = Mutex::new(Vec::new());
        let wait = async |name: &'static str, millis: u64| {
            let at = start + Duration::from_millis(millis);
            alarm.sleep_until(at).await;
            assert!(Instant::now() >= at, "{name} is early");
            order.lock().expect("one thread").push(name);
        };
        tokio::select! {
            biased;
            () = wait("given up", 1_000_000) => {}
            ((), (), (), ()) = async { tokio::join!(wait("third", 60), wait("first", 20), wait("past", 0), wait("second", 40)) } => {}
        }
        let inner = &alarm.0.as_ref().expect("of the kernel").inner;
        assert!(inner.lock().wakers.is_empty(), "one who gave up is not remembered");
        wait("later", 80).await;
        assert_eq!(*order.lock().expect("one thread"), ["past", "first", "second", "third", "later"]);
    }
}
