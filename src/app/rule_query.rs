//! Rules' way to the engine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::Timestamp;
use crate::promql::ast::Expr;
use crate::promql::{Engine, QueryError, QueryOptions, QueryResult};
use crate::rules::Query;
use crate::store::Select;

/// Evaluates rules' expressions under the bounds of every query.
pub struct RuleQuery {
    /// Evaluates.
    pub engine: Arc<Engine>,
    /// Reads.
    pub store: Arc<dyn Select>,
    /// `--query.timeout`
    pub timeout: Duration,
}

impl Query for RuleQuery {
    fn query(&self, expr: &Expr, at: Timestamp) -> Result<QueryResult, QueryError> {
        let options = QueryOptions { deadline: Some(Instant::now() + self.timeout), ..QueryOptions::default() };
        self.engine.instant(self.store.as_ref(), expr, at, &options)
    }
}
