//! Scraping: one task per target fetches, parses, relabels and appends.
//!
//! [`ScrapeManager`] owns a pool per job, a pool its targets' loops. A target that fails, in whatever way, is down
//! with a reason; it never disturbs another. What one target can cost is bounded, see [`bounds`].

mod alarm;
/// Bounds that hold without being configured.
pub mod bounds;
mod manager;
mod settings;
mod status;

pub use alarm::Alarm;
pub use manager::{CollectorFactory, JobError, PreparedJobs, ScrapeDeps, ScrapeManager};
pub use settings::{JobLimits, JobSettings, JobSource, NameEscaping, ScrapeProtocol};
pub use status::{DroppedTarget, PoolStatus, TargetHealth, TargetMetadata, TargetStatus, TargetsView};
pub use target::check_group;

// A job and its targets.
mod pool;
mod target;

// One target.
mod error;
mod fetch;
mod intake;
mod metrics;
mod pages;
mod report;
mod scrape_loop;

// One page.
mod cache;
mod metadata;
mod page;
mod sample_labels;

#[cfg(test)]
mod tests;
