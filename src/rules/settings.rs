//! What rules need to know: the `rule_files` of the configuration, and the flags that concern alerts.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::Labels;
use crate::promql::Features;

/// `--rules.alert.for-outage-tolerance`
pub const OUTAGE_TOLERANCE_DEFAULT: Duration = Duration::from_secs(3600);
/// `--rules.alert.for-grace-period`
pub const GRACE_PERIOD_DEFAULT: Duration = Duration::from_secs(600);
/// `--rules.alert.resend-delay`
pub const RESEND_DELAY_DEFAULT: Duration = Duration::from_secs(60);
/// `global.evaluation_interval`
pub const EVALUATION_INTERVAL_DEFAULT: Duration = Duration::from_secs(60);

/// Settings of all rule groups.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleSettings {
    /// `rule_files`: the files that its patterns name, each once.
    pub rule_files: Vec<PathBuf>,
    /// `global.evaluation_interval`, for groups that name none.
    pub evaluation_interval: Duration,
    /// `global.rule_query_offset`, for groups that name none.
    pub query_offset: Duration,
    /// `global.external_labels`, for templates.
    pub external_labels: Labels,
    /// `--web.external-url`, for templates and for alerts' links.
    pub external_url: String,
    /// How long to wait before an alert that goes on firing is sent again.
    pub resend_delay: Duration,
    /// How long outpost may have been down for the state of alerts to be taken over.
    pub outage_tolerance: Duration,
    /// How long after a start a restored alert at least waits, if its `for` is as long.
    pub grace_period: Duration,
    /// Which parts of PromQL rules may use.
    pub features: Features,
}

impl Default for RuleSettings {
    fn default() -> Self {
        Self {
            rule_files: Vec::new(),
            evaluation_interval: EVALUATION_INTERVAL_DEFAULT,
            query_offset: Duration::ZERO,
            external_labels: Labels::empty(),
            external_url: String::new(),
            resend_delay: RESEND_DELAY_DEFAULT,
            outage_tolerance: OUTAGE_TOLERANCE_DEFAULT,
            grace_period: GRACE_PERIOD_DEFAULT,
            features: Features::default(),
        }
    }
}
