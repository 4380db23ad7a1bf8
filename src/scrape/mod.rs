//! Scraping: one task per target fetches, parses, relabels and appends.

mod settings;
mod status;

pub use settings::{JobLimits, JobSettings, JobSource, NameEscaping, ScrapeProtocol};
pub use status::{DroppedTarget, PoolStatus, TargetHealth, TargetMetadata, TargetStatus, TargetsView};
