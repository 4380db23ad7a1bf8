//! `absent`: a series of ones where the argument has none.

use super::super::column::{ABSENT, Column, Series};
use super::super::{Evaluator, Result, Sink, unwrap_parens};
use crate::model::{Labels, LabelsBuilder, METRIC_NAME, MatchOp, Matcher};
use crate::promql::ast::{Call, Expr, Node};

pub(super) fn stream(evaluator: &Evaluator<'_>, call: &Call, sink: Sink<'_>) -> Result<()> {
    let mut column = Column { floats: vec![1.0; evaluator.steps.count], histograms: Vec::new() };
    evaluator.stream(&call.args[0], &mut |series| {
        for index in 0..series.column.len() {
            if series.column.has(index) {
                column.floats[index] = ABSENT;
            }
        }
        Ok(())
    })?;
    if column.has_any() {
        sink(Series { labels: labels_of_absent(&call.args[0]), drops_name: false, column })?;
    }
    Ok(())
}

/// The labels that a selector asks for by equality, as far as they are unambiguous: those of the
/// series that is absent.
pub(in crate::promql::eval) fn labels_of_absent(argument: &Expr) -> Labels {
    match &unwrap_parens(argument).node {
        Node::VectorSelector(selector) => labels_of(&selector.matchers),
        Node::MatrixSelector(matrix) => labels_of(&matrix.selector.matchers),
        _ => Labels::empty(),
    }
}

fn labels_of(matchers: &[Matcher]) -> Labels {
    let mut labels = LabelsBuilder::default();
    let mut seen = Vec::new();
    for matcher in matchers.iter().filter(|matcher| matcher.name() != METRIC_NAME) {
        if matcher.op() == MatchOp::Equal && !seen.contains(&matcher.name()) {
            labels.set(matcher.name(), matcher.value());
            seen.push(matcher.name());
        } else {
            labels.remove(matcher.name());
        }
    }
    labels.build()
}
