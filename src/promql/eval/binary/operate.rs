//! Operators on single values.

use std::sync::Arc;

use super::super::annotations::Annotation;
use crate::model::{FloatHistogram, HistogramError};
use crate::promql::Value;
use crate::promql::ast::BinaryOp;

/// The outcome of an operator.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome<V> {
    /// Of arithmetic.
    Computed(V),
    /// Of a comparison.
    Compared(bool),
}

/// An operator between floats.
#[inline]
pub(super) fn of_floats(op: BinaryOp, lhs: f64, rhs: f64) -> Outcome<f64> {
    use Outcome::{Compared, Computed};
    match op {
        BinaryOp::Add => Computed(lhs + rhs),
        BinaryOp::Sub => Computed(lhs - rhs),
        BinaryOp::Mul => Computed(lhs * rhs),
        BinaryOp::Div => Computed(lhs / rhs),
        BinaryOp::Mod => Computed(lhs % rhs),
        BinaryOp::Pow => Computed(lhs.powf(rhs)),
        BinaryOp::Atan2 => Computed(lhs.atan2(rhs)),
        BinaryOp::Equal => Compared(lhs == rhs),
        BinaryOp::NotEqual => Compared(lhs != rhs),
        BinaryOp::Less => Compared(lhs < rhs),
        BinaryOp::LessOrEqual => Compared(lhs <= rhs),
        BinaryOp::Greater => Compared(lhs > rhs),
        BinaryOp::GreaterOrEqual => Compared(lhs >= rhs),
        // Set operators look at presence, not at values.
        BinaryOp::And | BinaryOp::Or | BinaryOp::Unless => Compared(false),
    }
}

/// An operator between values of which at least one is a histogram; the annotation says why there is
/// no result.
pub(super) fn of_values(
    op: BinaryOp,
    lhs: &Value,
    rhs: &Value,
) -> Result<Outcome<Arc<FloatHistogram>>, Annotation<'static>> {
    let unsupported = |left, right| Err(Annotation::IncompatibleTypes { left, operator: op.as_str(), right });
    match (lhs, rhs) {
        (Value::Histogram(lhs), Value::Histogram(rhs)) => match op {
            BinaryOp::Add => combined(op, lhs, |sum| sum.add(rhs)),
            BinaryOp::Sub => combined(op, lhs, |difference| difference.subtract(rhs)),
            BinaryOp::Equal => Ok(Outcome::Compared(lhs.is_same_data(rhs))),
            BinaryOp::NotEqual => Ok(Outcome::Compared(!lhs.is_same_data(rhs))),
            _ => unsupported("histogram", "histogram"),
        },
        (Value::Histogram(lhs), Value::Float(rhs)) => match op {
            BinaryOp::Mul => combined(op, lhs, |product| {
                product.scale(*rhs);
                Ok(())
            }),
            BinaryOp::Div => combined(op, lhs, |quotient| {
                quotient.divide(*rhs);
                Ok(())
            }),
            _ => unsupported("histogram", "float"),
        },
        (Value::Float(lhs), Value::Histogram(rhs)) => match op {
            BinaryOp::Mul => combined(op, rhs, |product| {
                product.scale(*lhs);
                Ok(())
            }),
            _ => unsupported("float", "histogram"),
        },
        (Value::Float(_), Value::Float(_)) => unsupported("float", "float"),
    }
}

fn combined(
    op: BinaryOp,
    operand: &FloatHistogram,
    change: impl FnOnce(&mut FloatHistogram) -> Result<(), HistogramError>,
) -> Result<Outcome<Arc<FloatHistogram>>, Annotation<'static>> {
    let mut result = operand.clone();
    change(&mut result).map_err(|_| Annotation::IncompatibleBucketLayout { operator: op.as_str() })?;
    result.compact();
    Ok(Outcome::Computed(Arc::new(result)))
}
