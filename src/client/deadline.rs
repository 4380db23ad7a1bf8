//! The time that a request has, from its first look-up to its last byte.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::ClientError;

/// The end of a request's time.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// When.
    pub at: Instant,
    after: Duration,
}

impl Deadline {
    /// `after` from now.
    pub fn after(after: Duration) -> Self {
        Self { at: Instant::now() + after, after }
    }

    /// What is left of it.
    pub fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Runs `work`, or fails with the name of the step that took too long.
    pub async fn within<T>(
        &self,
        step: &'static str,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        match timeout_at(self.at, work).await {
            Ok(result) => result,
            Err(_) => Err(ClientError::Timeout { after: self.after, step }),
        }
    }
}
