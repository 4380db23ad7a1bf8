//! Recording and alerting rules: rule files, groups, kept alert state.

mod status;

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
