//! Bounds that hold without being configured: one hostile target must not take down a box with 512 MB.
//!
//! A target past one of them is down, with the bound as the reason. They are far above what real targets send; the
//! limits of the configuration may be stricter, never laxer.

/// A page in bytes, after decompression.
pub const BODY_BYTES_MAX: usize = 64 << 20;
/// A page that grows beyond this waits for its turn: one such page is in memory at a time.
pub const BODY_BYTES_ORDINARY: usize = 4 << 20;
/// All pages that are on their way at a time, in bytes after decompression. A page that finds no room is read like one
/// that has grown beyond [`BODY_BYTES_ORDINARY`].
pub const PAGES_BYTES_MAX: usize = 32 << 20;
/// Samples of one page.
pub const SAMPLES_PER_PAGE_MAX: usize = 500_000;
/// Labels of one series.
pub const LABELS_PER_SERIES_MAX: usize = 128;
/// Names and values of one series' labels together, in bytes.
pub const SERIES_BYTES_MAX: usize = 32 * 1024;
/// Targets of one job.
pub const TARGETS_PER_JOB_MAX: usize = 5_000;
/// Dropped targets that are shown, where `keep_dropped_targets` sets no limit.
pub const DROPPED_TARGETS_KEPT: usize = 1_000;
/// Metric families whose TYPE, HELP and UNIT are kept per target; the others are served as unknown.
pub const FAMILIES_PER_TARGET_MAX: usize = 10_000;
/// Bytes of a help text that are kept.
pub const HELP_BYTES_MAX: usize = 1_024;
