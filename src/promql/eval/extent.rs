//! Lengths of time in an expression: constants, or expressions over durations that may refer to the
//! query's own step and range. Source: prometheus/promql/durations.go.

use super::{Query, Result};
use crate::promql::QueryError;
use crate::promql::ast::{BinaryOp, DurationExpr, Extent, UnaryOp};

impl Query<'_> {
    /// An offset in milliseconds, possibly negative.
    pub(super) fn offset_ms(&self, extent: &Extent) -> Result<i64> {
        match extent {
            Extent::Millis(millis) => Ok(*millis),
            Extent::Expr(expr) => self.duration_ms(expr),
        }
    }

    /// A range or step in milliseconds, positive.
    pub(super) fn length_ms(&self, extent: &Extent) -> Result<i64> {
        match self.offset_ms(extent)? {
            millis if millis > 0 => Ok(millis),
            _ => Err(QueryError::Duration("duration must be greater than 0")),
        }
    }

    fn duration_ms(&self, expr: &DurationExpr) -> Result<i64> {
        let millis = self.duration_seconds(expr)? * 1000.0;
        if millis.is_nan() || millis.abs() >= i64::MAX as f64 / 1e6 {
            return Err(QueryError::Duration("duration is out of range"));
        }
        Ok(millis as i64)
    }

    fn duration_seconds(&self, expr: &DurationExpr) -> Result<f64> {
        match expr {
            DurationExpr::Number(literal) => Ok(literal.value),
            DurationExpr::Paren(inner) | DurationExpr::Unary(UnaryOp::Plus, inner) => self.duration_seconds(inner),
            DurationExpr::Unary(UnaryOp::Minus, inner) => Ok(-self.duration_seconds(inner)?),
            DurationExpr::Binary(op, lhs, rhs) => {
                duration_arithmetic(*op, self.duration_seconds(lhs)?, self.duration_seconds(rhs)?)
            }
            DurationExpr::Step => Ok(self.step_ms as f64 / 1000.0),
            DurationExpr::Range => Ok((self.bounds.1 - self.bounds.0) as f64 / 1000.0),
            DurationExpr::Min(a, b) => Ok(self.duration_seconds(a)?.min(self.duration_seconds(b)?)),
            DurationExpr::Max(a, b) => Ok(self.duration_seconds(a)?.max(self.duration_seconds(b)?)),
        }
    }
}

fn duration_arithmetic(op: BinaryOp, lhs: f64, rhs: f64) -> Result<f64> {
    match op {
        BinaryOp::Add => Ok(lhs + rhs),
        BinaryOp::Sub => Ok(lhs - rhs),
        BinaryOp::Mul => Ok(lhs * rhs),
        BinaryOp::Pow => Ok(lhs.powf(rhs)),
        BinaryOp::Div if rhs == 0.0 => Err(QueryError::Duration("division by zero")),
        BinaryOp::Mod if rhs == 0.0 => Err(QueryError::Duration("modulo by zero")),
        BinaryOp::Div => Ok(lhs / rhs),
        BinaryOp::Mod => Ok(lhs % rhs),
        _ => Err(QueryError::Duration("unexpected operator in a duration expression")),
    }
}
