//! Which expressions give the same result at every step, so that one evaluation is enough: those that
//! read at a fixed `@` time only, and constants.

use super::unwrap_parens;
use crate::promql::ast::{Call, Expr, Node, Span};

/// Functions that look at the time of evaluation, or at the time of their argument's samples.
/// Source: `AtModifierUnsafeFunctions` in prometheus/promql/functions.go.
const TIME_DEPENDENT: [&str; 11] = [
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "hour",
    "minute",
    "month",
    "predict_linear",
    "time",
    "timestamp",
    "year",
];

/// Whether the result is the same at every step.
pub(super) fn is_step_invariant(expr: &Expr) -> bool {
    match &expr.node {
        Node::Number(_) | Node::String(_) => true,
        Node::Paren(inner) | Node::Unary(_, inner) => is_step_invariant(inner),
        Node::VectorSelector(selector) => selector.at.is_some(),
        Node::MatrixSelector(matrix) => matrix.selector.at.is_some(),
        Node::Subquery(subquery) => subquery.at.is_some(),
        // The parameter does not count: upstream takes its value at the first step, too.
        Node::Aggregate(aggregate) => is_step_invariant(&aggregate.expr),
        Node::Binary(binary) => is_step_invariant(&binary.lhs) && is_step_invariant(&binary.rhs),
        Node::Call(call) => is_invariant_call(call),
    }
}

fn is_invariant_call(call: &Call) -> bool {
    !TIME_DEPENDENT.contains(&call.function.name) && call.args.iter().all(is_step_invariant)
}

/// Where annotations about an argument point to. Upstream takes parentheses off arguments, but for those that it has
/// wrapped before because they alone are the same at every step.
pub(super) fn argument_span(call: &Call, position: usize) -> Span {
    let argument = &call.args[position];
    let is_wrapped = is_step_invariant(argument) && !is_invariant_call(call);
    if is_wrapped { argument.span } else { unwrap_parens(argument).span }
}
