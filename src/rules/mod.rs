//! Recording and alerting rules: rule files, groups, kept alert state.

mod alerting;
mod check;
mod expand;
mod file;
mod group;
mod link;
mod manager;
mod metrics;
mod recording;
mod restore;
mod settings;
mod slots;
mod spec;
mod status;
pub mod template;
pub mod unit_test;
mod writer;

pub use check::{CheckOptions, FileCheck, check_files};
pub use file::{parse_rule_file, read_rule_file};
pub use manager::{RuleDeps, RuleLoadError, RuleManager, load_groups};
pub use settings::{
    EVALUATION_INTERVAL_DEFAULT, GRACE_PERIOD_DEFAULT, OUTAGE_TOLERANCE_DEFAULT, RESEND_DELAY_DEFAULT, RuleSettings,
};
pub use spec::{AlertingSpec, GroupSpec, LabelTexts, RuleKind, RuleSpec};
pub use status::{AlertState, AlertStatus, AlertingStatus, GroupStatus, RuleHealth, RuleStatus, RulesView};

use crate::model::{Alert, Timestamp};
use crate::promql::ast::Expr;
use crate::promql::{QueryError, QueryResult};

/// Evaluates a rule's expression at an instant; app plugs in the engine and the store.
pub trait Query: Send + Sync {
    /// Runs on a blocking thread.
    fn query(&self, expr: &Expr, at: Timestamp) -> Result<QueryResult, QueryError>;
}

/// Takes alerts that are to be delivered; app plugs in the notifier.
pub trait AlertSink: Send + Sync {
    /// Never waits.
    fn send(&self, alerts: Vec<Alert>);
}
