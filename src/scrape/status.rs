//! What scraping shows of itself: `/api/v1/targets`, `scrape_pools`, `metadata`.

use std::time::Duration;

use crate::model::{Labels, Metadata, Timestamp};

/// Gives the present state of all jobs.
pub trait TargetsView: Send + Sync {
    /// The jobs, sorted by name.
    fn pools(&self) -> Vec<PoolStatus>;

    /// What the targets said of their metrics: of all targets that satisfy `matchers`, of one
    /// metric or of all, at most `limit` entries.
    fn target_metadata(
        &self,
        matchers: &[crate::model::Matcher],
        metric: Option<&str>,
        limit: Option<usize>,
    ) -> Vec<TargetMetadata>;
}

/// One job.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolStatus {
    /// The job's name.
    pub job_name: String,
    /// Its targets, sorted by labels.
    pub active: Vec<TargetStatus>,
    /// Discovered labels of the targets that relabeling dropped, up to `keep_dropped_targets`.
    pub dropped: Vec<DroppedTarget>,
    /// How many targets were dropped.
    pub dropped_count: usize,
}

/// A target that relabeling dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct DroppedTarget {
    /// Labels before relabeling.
    pub discovered_labels: Labels,
    /// The job.
    pub job_name: String,
}

/// One target.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetStatus {
    /// Labels before relabeling.
    pub discovered_labels: Labels,
    /// Labels that its series get.
    pub labels: Labels,
    /// The job.
    pub job_name: String,
    /// What is scraped.
    pub scrape_url: String,
    /// The same, with a host name that others can reach.
    pub global_url: String,
    /// The reason of the last failure, or empty.
    pub last_error: String,
    /// When it was last scraped, if ever.
    pub last_scrape: Option<Timestamp>,
    /// How long that took.
    pub last_scrape_duration: Duration,
    /// Up, down or not yet known.
    pub health: TargetHealth,
    /// Its interval.
    pub scrape_interval: Duration,
    /// Its timeout.
    pub scrape_timeout: Duration,
}

/// Whether a target answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetHealth {
    /// Not scraped yet.
    #[default]
    Unknown,
    /// The last scrape was good.
    Up,
    /// The last scrape failed.
    Down,
}

impl TargetHealth {
    /// The word of the HTTP API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// What one target said of one metric family.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetMetadata {
    /// The target's labels.
    pub target: Labels,
    /// The family.
    pub metric: String,
    /// Type, help, unit.
    pub metadata: Metadata,
}
