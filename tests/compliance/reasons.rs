//! Why an answer may differ from Prometheus's, each with the queries that it concerns.

use outpost::model::is_legacy_label_name;
use outpost::promql::ast::AggregateOp::{self, Bottomk, Limitk, Stddev, Stdvar, Topk};
use outpost::promql::ast::{BinaryOp, Expr, Extent, Node};
use outpost::promql::{Features, parse};

use super::pair::Closeness;

/// Functions that Go computes with code of its own, which rounds differently from the C library's in the last bit. What
/// is made of their results (differences of close numbers, angles, labels) differs by more.
const ROUNDED: [&str; 15] = [
    "exp", "ln", "log2", "log10", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh",
];
const ROUNDED_MORE: [&str; 4] = ["atanh", "histogram_quantile", "histogram_fraction", "histogram_stddev"];

/// A reason for a difference.
pub struct Reason {
    /// In words.
    pub text: &'static str,
    /// How close the answers must still be.
    pub closeness: Closeness,
}

/// The reason why this query, over a range or not, may have another answer; `None` if there is none.
pub fn reason(text: &str, is_range: bool) -> Option<Reason> {
    let tree = parse_all(text)?;
    if any(&tree, &has_fixed_parameter) {
        // The parameter is looked at again at each step, and what `@` says moves with the steps.
        let text = "Prometheus shifts @ in the parameter of an aggregation";
        return Some(Reason { text, closeness: Closeness::Any });
    }
    if any(&tree, &|expr| aggregates_computed(expr, &[Topk, Bottomk, Limitk])) {
        let text = "Prometheus picks of equal computed series over a range in no order";
        return Some(Reason { text, closeness: Closeness::Verdict });
    }
    let has_custom_buckets = text.contains("custom");
    if any(&tree, &|expr| summarizes_computed_histograms(expr, has_custom_buckets)) {
        let text = "Prometheus leaves the buckets out under histogram_count, _sum and _avg, and compares and adds what is left";
        return Some(Reason { text, closeness: Closeness::Any });
    }
    if any(&tree, &has_fixed_selector_in_shifted_subquery) {
        let text = "Prometheus shifts @ in a subquery that begins at the time of the query";
        return Some(Reason { text, closeness: Closeness::Verdict });
    }
    if any(&tree, &is_absent_of_repeated_label) {
        let text = "Prometheus sorts matchers while it reads, and the labels of what is absent depend on their order";
        return Some(Reason { text, closeness: Closeness::Verdict });
    }
    if is_range && any(&tree, &|expr| is_call(expr, "info")) {
        let text = "Prometheus 3.5 takes the info of another series at steps that some series lack";
        return Some(Reason { text, closeness: Closeness::Verdict });
    }
    if any(&tree, &sorts_counted_values) {
        let text = "Prometheus counts values in no order, and leaves equal counts as they are when it sorts";
        return Some(Reason { text, closeness: Closeness::Verdict });
    }
    if is_range && any(&tree, &|expr| aggregates_computed(expr, &[Stddev, Stdvar])) {
        let text = "Prometheus folds computed series over a range in no order, and of large numbers a variance is what rounding leaves";
        return Some(Reason { text, closeness: Closeness::Verdict });
    }
    let text = "Go rounds transcendental functions differently, and more is made of the difference";
    any(&tree, &is_rounded).then_some(Reason { text, closeness: Closeness::Verdict })
}

/// Whether a function whose last bit may differ is called.
pub fn has_rounded_function(text: &str) -> bool {
    parse_all(text).is_some_and(|tree| any(&tree, &is_rounded))
}

/// Whether computed series are aggregated.
pub fn has_unordered_aggregation(text: &str) -> bool {
    let is_computed = |expr: &Expr| match &expr.node {
        Node::Aggregate(aggregate) => !matches!(aggregate.expr.node, Node::VectorSelector(_)),
        _ => false,
    };
    parse_all(text).is_some_and(|tree| any(&tree, &is_computed))
}

/// Whether something is evaluated over a range, whatever the query is.
pub fn has_subquery(text: &str) -> bool {
    parse_all(text).is_some_and(|tree| any(&tree, &|expr| matches!(expr.node, Node::Subquery(_))))
}

/// Whether Prometheus prints something that means something else, or nothing: it leaves `ignoring ()` out together
/// with what follows it, and quotes off the labels of a matching.
pub fn prints_otherwise(text: &str) -> bool {
    let is_misprinted = |expr: &Expr| {
        let Node::Binary(binary) = &expr.node else { return false };
        binary.matching.as_ref().is_some_and(|matching| {
            let is_plain = |label: &String| is_legacy_label_name(label);
            let is_left_out = !matching.on && matching.labels.is_empty();
            is_left_out || !matching.labels.iter().chain(&matching.include).all(is_plain)
        })
    };
    parse_all(text).is_some_and(|tree| any(&tree, &is_misprinted))
}

fn parse_all(text: &str) -> Option<Expr> {
    parse(text, Features { experimental_functions: true, ..Features::default() }).ok()
}

fn is_rounded(expr: &Expr) -> bool {
    match &expr.node {
        Node::Call(call) => ROUNDED.contains(&call.function.name) || ROUNDED_MORE.contains(&call.function.name),
        Node::Binary(binary) => matches!(binary.op, BinaryOp::Pow | BinaryOp::Atan2),
        _ => false,
    }
}

/// Whether it is one of these aggregations, of something else than stored series.
fn aggregates_computed(expr: &Expr, ops: &[AggregateOp]) -> bool {
    let Node::Aggregate(aggregate) = &expr.node else { return false };
    ops.contains(&aggregate.op) && !matches!(unwrapped(&aggregate.expr).node, Node::VectorSelector(_))
}

fn unwrapped(expr: &Expr) -> &Expr {
    if let Node::Paren(inner) = &expr.node { unwrapped(inner) } else { expr }
}

fn is_absent_of_repeated_label(expr: &Expr) -> bool {
    let Node::Call(call) = &expr.node else { return false };
    let matchers = match call.args.first().map(|argument| &argument.node) {
        Some(Node::VectorSelector(selector)) => &selector.matchers,
        Some(Node::MatrixSelector(matrix)) => &matrix.selector.matchers,
        _ => return false,
    };
    let is_repeated = |name: &str| matchers.iter().filter(|matcher| matcher.name() == name).count() > 1;
    call.function.name.starts_with("absent") && matchers.iter().any(|matcher| is_repeated(matcher.name()))
}

/// Whether only sums and counts of computed histograms are wanted; where all have the same buckets, aggregations come out
/// the same without them.
fn summarizes_computed_histograms(expr: &Expr, has_custom_buckets: bool) -> bool {
    let is_computed = |expr: &Expr| match expr.node {
        Node::Binary(_) => true,
        Node::Aggregate(_) => has_custom_buckets,
        _ => false,
    };
    ["histogram_count", "histogram_sum", "histogram_avg"].iter().any(|name| is_call(expr, name))
        && any(expr, &is_computed)
}

fn is_call(expr: &Expr, name: &str) -> bool {
    matches!(&expr.node, Node::Call(call) if call.function.name == name)
}

fn sorts_counted_values(expr: &Expr) -> bool {
    let counts =
        |expr: &Expr| matches!(&expr.node, Node::Aggregate(aggregate) if aggregate.op == AggregateOp::CountValues);
    (is_call(expr, "sort") || is_call(expr, "sort_desc")) && any(expr, &counts)
}

fn is_fixed(expr: &Expr) -> bool {
    match &expr.node {
        Node::VectorSelector(selector) => selector.at.is_some(),
        Node::MatrixSelector(matrix) => matrix.selector.at.is_some(),
        Node::Subquery(subquery) => subquery.at.is_some(),
        _ => false,
    }
}

fn has_fixed_selector_in_shifted_subquery(expr: &Expr) -> bool {
    matches!(&expr.node, Node::Subquery(subquery) if subquery.offset != Extent::Millis(0) && any(&subquery.expr, &is_fixed))
}

fn has_fixed_parameter(expr: &Expr) -> bool {
    match &expr.node {
        Node::Aggregate(aggregate) => aggregate.param.as_ref().is_some_and(|param| any(param, &is_fixed)),
        _ => false,
    }
}

/// Whether the condition holds for the expression or one within it.
fn any(expr: &Expr, condition: &impl Fn(&Expr) -> bool) -> bool {
    condition(expr)
        || match &expr.node {
            Node::Number(_) | Node::String(_) | Node::VectorSelector(_) | Node::MatrixSelector(_) => false,
            Node::Paren(inner) | Node::Unary(_, inner) => any(inner, condition),
            Node::Binary(binary) => any(&binary.lhs, condition) || any(&binary.rhs, condition),
            Node::Aggregate(aggregate) => {
                any(&aggregate.expr, condition) || aggregate.param.as_ref().is_some_and(|param| any(param, condition))
            }
            Node::Call(call) => call.args.iter().any(|arg| any(arg, condition)),
            Node::Subquery(subquery) => any(&subquery.expr, condition),
        }
}
