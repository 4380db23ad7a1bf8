//! Binary operators between scalars, between a vector and a scalar, and between two vectors.

mod matching;
mod operate;
mod set;

use super::column::{Column, Scalar};
use super::functions::stream_renamed;
use super::labels::has_one_name;
use super::{Annotation, Evaluator, Result, Sink, Span, value_type};
use crate::promql::Value;
use crate::promql::ast::{BinaryExpr, BinaryOp, Expr, ValueType};

use operate::Outcome;

/// Evaluates an operator between scalars.
pub(super) fn scalars(evaluator: &Evaluator<'_>, binary: &BinaryExpr) -> Result<Scalar> {
    let (lhs, rhs) = (evaluator.scalar(&binary.lhs)?, evaluator.scalar(&binary.rhs)?);
    let of = |lhs: f64, rhs: f64| match operate::of_floats(binary.op, lhs, rhs) {
        Outcome::Computed(value) => value,
        Outcome::Compared(holds) => f64::from(u8::from(holds)),
    };
    Ok(match (&lhs, &rhs) {
        (Scalar::Constant(lhs), Scalar::Constant(rhs)) => Scalar::Constant(of(*lhs, *rhs)),
        _ => Scalar::PerStep((0..evaluator.steps.count).map(|index| of(lhs.at(index), rhs.at(index))).collect()),
    })
}

/// Streams the result of an operator with a vector on at least one side.
pub(super) fn stream(evaluator: &Evaluator<'_>, expr: &Expr, binary: &BinaryExpr, sink: Sink<'_>) -> Result<()> {
    let operation = Operation { evaluator, op: binary.op, returns_bool: binary.returns_bool, span: expr.span };
    match (value_type(&binary.lhs), value_type(&binary.rhs)) {
        (_, ValueType::Scalar) => operation.stream_with_scalar(&binary.lhs, &binary.rhs, false, sink),
        (ValueType::Scalar, _) => operation.stream_with_scalar(&binary.rhs, &binary.lhs, true, sink),
        _ => {
            let together = &evaluator.query.together;
            let is_pair = together.begin(evaluator, binary)?;
            let outcome = match is_set_operator(binary.op) {
                true => set::stream(evaluator, binary, sink),
                false => matching::stream(&operation, binary, sink),
            };
            if is_pair {
                together.end(evaluator);
            }
            outcome
        }
    }
}

fn is_set_operator(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
}

fn is_comparison(op: BinaryOp) -> bool {
    use BinaryOp as B;
    matches!(op, B::Equal | B::NotEqual | B::Less | B::LessOrEqual | B::Greater | B::GreaterOrEqual)
}

/// An operator at work.
struct Operation<'a, 'q> {
    evaluator: &'a Evaluator<'q>,
    op: BinaryOp,
    returns_bool: bool,
    span: Span,
}

impl Operation<'_, '_> {
    /// Whether the result is another metric than the operand.
    fn makes_other_metric(&self) -> bool {
        !is_comparison(self.op) || self.returns_bool
    }

    fn stream_with_scalar(&self, vector: &Expr, scalar: &Expr, is_swapped: bool, sink: Sink<'_>) -> Result<()> {
        let scalar = self.evaluator.scalar(scalar)?;
        let produce = |sink: Sink<'_>| {
            self.evaluator.stream(vector, &mut |mut series| {
                self.apply_scalar(&mut series.column, &scalar, is_swapped);
                if series.column.has_any() { sink(series) } else { Ok(()) }
            })
        };
        if self.makes_other_metric() {
            stream_renamed(self.evaluator, has_one_name(vector), sink, produce)
        } else {
            produce(sink)
        }
    }

    fn apply_scalar(&self, column: &mut Column, scalar: &Scalar, is_swapped: bool) {
        column.map_floats(|index, value| {
            let scalar = scalar.at(index);
            let (lhs, rhs) = if is_swapped { (scalar, value) } else { (value, scalar) };
            // A comparison keeps the vector's value, on whichever side it is.
            self.result_of(operate::of_floats(self.op, lhs, rhs), value)
        });
        for index in 0..column.histograms.len() {
            let Some(histogram) = column.histogram(index).cloned() else { continue };
            let (scalar, histogram) = (Value::Float(scalar.at(index)), Value::Histogram(histogram));
            let value = match is_swapped {
                true => self.combine(scalar, histogram),
                false => self.combine(histogram, scalar),
            };
            let value = value.unwrap_or_else(|annotation| {
                self.annotate(annotation);
                None
            });
            column.set(index, value);
        }
    }

    /// The result at one step of operands that are both present, or why there is none.
    fn combine(&self, lhs: Value, rhs: Value) -> std::result::Result<Option<Value>, Annotation<'static>> {
        if let (Value::Float(left), Value::Float(right)) = (&lhs, &rhs) {
            return Ok(self.combine_floats(*left, *right).map(Value::Float));
        }
        Ok(match operate::of_values(self.op, &lhs, &rhs)? {
            Outcome::Compared(holds) if self.returns_bool => Some(Value::Float(f64::from(u8::from(holds)))),
            Outcome::Compared(holds) => holds.then_some(lhs),
            Outcome::Computed(histogram) => Some(Value::Histogram(histogram)),
        })
    }

    /// The same for two floats.
    #[inline]
    fn combine_floats(&self, lhs: f64, rhs: f64) -> Option<f64> {
        let value = self.result_of(operate::of_floats(self.op, lhs, rhs), lhs);
        super::column::is_present(value).then_some(value)
    }

    #[inline]
    fn result_of(&self, outcome: Outcome<f64>, kept: f64) -> f64 {
        match outcome {
            Outcome::Computed(value) => value,
            Outcome::Compared(holds) if self.returns_bool => f64::from(u8::from(holds)),
            Outcome::Compared(true) => kept,
            Outcome::Compared(false) => super::column::ABSENT,
        }
    }

    fn annotate(&self, annotation: Annotation<'_>) {
        self.evaluator.query.annotate(annotation, self.span);
    }
}
