//! Which expressions give at each step what they would give at that step alone, so that results over
//! overlapping ranges can share points.
//!
//! Left out are those that look at the query's ends (`@`, `range()`), and those where series from
//! different steps may meet: names and labels that are taken away or made can give two series the same
//! labels, which is an error even if they are never there together.

use crate::model::{METRIC_NAME, MatchOp};
use crate::promql::ast::{AggregateOp, AtModifier, BinaryOp, Expr, Extent, Node, UnaryOp, VectorSelector};

/// Functions that make labels or order, or that read series of their own accord.
const EXCLUDED: [&str; 8] = [
    "label_replace",
    "label_join",
    "info",
    "sort",
    "sort_desc",
    "sort_by_label",
    "sort_by_label_desc",
    "absent_over_time",
];

/// How far behind its step, in milliseconds, the expression reads; `None` if its steps depend on more
/// than their own time.
pub(in crate::promql) fn reach_ahead(expr: &Expr) -> Option<i64> {
    ahead(expr, false)
}

/// `refuses`: whether what is made of the expression refuses two series with the same labels.
fn ahead(expr: &Expr, refuses: bool) -> Option<i64> {
    match &expr.node {
        Node::Number(_) | Node::String(_) => Some(0),
        Node::Paren(inner) | Node::Unary(UnaryOp::Plus, inner) => ahead(inner, refuses),
        Node::Unary(UnaryOp::Minus, inner) => ahead(inner, true),
        Node::Binary(binary) if binary.op == BinaryOp::Or && refuses => None,
        Node::Binary(binary) => Some(ahead(&binary.lhs, refuses)?.max(ahead(&binary.rhs, refuses)?)),
        Node::Aggregate(aggregate) => {
            let is_plain = aggregate.param.as_ref().is_none_or(|param| matches!(param.node, Node::Number(_)));
            let picks = matches!(aggregate.op, AggregateOp::Topk | AggregateOp::Bottomk);
            let is_excluded =
                matches!(aggregate.op, AggregateOp::CountValues | AggregateOp::Limitk | AggregateOp::LimitRatio);
            if is_excluded || !is_plain {
                return None;
            }
            ahead(&aggregate.expr, refuses && picks)
        }
        Node::Call(call) if EXCLUDED.contains(&call.function.name) => None,
        Node::Call(call) => call.args.iter().try_fold(0, |most, arg| Some(most.max(ahead(arg, refuses)?))),
        Node::VectorSelector(selector) => selector_ahead(selector),
        Node::MatrixSelector(matrix) => millis(&matrix.range).and_then(|_| selector_ahead(&matrix.selector)),
        Node::Subquery(subquery) => {
            millis(&subquery.range)?;
            subquery.step.as_ref().map_or(Some(0), millis)?;
            Some(ahead(&subquery.expr, true)?.saturating_add(offset_ahead(subquery.at, &subquery.offset)?))
        }
    }
}

fn selector_ahead(selector: &VectorSelector) -> Option<i64> {
    let has_one_name = selector
        .matchers
        .iter()
        .any(|matcher| matcher.name() == METRIC_NAME && matcher.op() == MatchOp::Equal && !matcher.value().is_empty());
    if !has_one_name || selector.extension.is_some() {
        return None;
    }
    offset_ahead(selector.at, &selector.offset)
}

fn offset_ahead(at: Option<AtModifier>, offset: &Extent) -> Option<i64> {
    if at.is_some() { None } else { millis(offset).map(|offset| offset.saturating_neg().max(0)) }
}

fn millis(extent: &Extent) -> Option<i64> {
    match extent {
        Extent::Millis(millis) => Some(*millis),
        Extent::Expr(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::{Features, parse};

    #[test]
    fn what_is_kept_and_what_is_not() {
        let features = Features { experimental_functions: true, duration_expressions: true, ..Features::default() };
        let cases = [
            ("sum by (job) (rate(a[5m]))", Some(0)),
            ("a offset 5m", Some(0)),
            ("a offset -5m", Some(300_000)),
            ("max_over_time(sum(a offset -1m)[1h:1m] offset -2m)", Some(180_000)),
            ("topk(5, a) / on (x) group_left b", Some(0)),
            ("sum(a) or vector(0)", Some(0)),
            ("-sum(a or b)", Some(0)),
            ("histogram_quantile(0.9, sum by (le) (rate(a_bucket[5m])))", Some(0)),
            ("time() - a", Some(0)),
            ("a @ 5", None),
            ("rate(a[5m] @ end())", None),
            ("rate({job=\"x\"}[5m])", None),
            ("{__name__=~\"a|b\"}", None),
            ("-(a or b)", None),
            ("max_over_time((a or b)[1h:1m])", None),
            ("label_replace(a, \"x\", \"$1\", \"y\", \"(.*)\")", None),
            ("topk(scalar(b), a)", None),
            ("count_values(\"v\", a)", None),
            ("rate(a[range()])", None),
            ("limitk(2, a)", None),
        ];
        for (query, expected) in cases {
            assert_eq!(reach_ahead(&parse(query, features).expect(query)), expected, "{query}");
        }
    }
}
