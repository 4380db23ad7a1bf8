//! `format_query`, `parse_query` and `query_exemplars`: what needs the parser alone.

use crate::http::json::Json;
use crate::http::params::Params;
use crate::http::time::{TIME_MAX, TIME_MIN};
use crate::model::{Matcher, format_float};
use crate::promql::ast::{
    AggregateExpr, AtModifier, BinaryExpr, Call, Cardinality, Expr, Extent, Node, Offset, Subquery, UnaryOp, ValueType,
    VectorMatching, VectorSelector,
};
use crate::promql::{parse, prettify};

use super::answer::Answer;
use super::error::ApiError;
use super::handles::Api;
use super::query::query_expr;

/// `/api/v1/format_query`
pub(super) fn format_query(api: &Api, params: &Params) -> Result<Answer, ApiError> {
    let expr = query_expr(api, params)?;
    Ok(Answer::data(|json| {
        json.string(&prettify(&expr));
    }))
}

/// `/api/v1/parse_query`: the tree, keys in alphabetical order.
pub(super) fn parse_query(api: &Api, params: &Params) -> Result<Answer, ApiError> {
    let expr = query_expr(api, params)?;
    Ok(Answer::data(|json| push_expr(json, &expr)))
}

/// `/api/v1/query_exemplars`: outpost keeps none.
pub(super) fn exemplars(api: &Api, params: &Params) -> Result<Answer, ApiError> {
    let (start, end) = (params.time_or("start", TIME_MIN)?, params.time_or("end", TIME_MAX)?);
    if end < start {
        return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
    }
    let expr =
        parse(params.get("query"), api.queries.features).map_err(|error| ApiError::bad_data(error.to_string()))?;
    if !has_selector(&expr) {
        return Ok(Answer::nothing());
    }
    Ok(Answer::data(|json| {
        json.array(|_| {});
    }))
}

fn has_selector(expr: &Expr) -> bool {
    match &expr.node {
        Node::Number(_) | Node::String(_) => false,
        Node::VectorSelector(_) | Node::MatrixSelector(_) => true,
        Node::Paren(inner) | Node::Unary(_, inner) => has_selector(inner),
        Node::Binary(binary) => has_selector(&binary.lhs) || has_selector(&binary.rhs),
        Node::Aggregate(aggregate) => {
            has_selector(&aggregate.expr) || aggregate.param.as_ref().is_some_and(has_selector)
        }
        Node::Call(call) => call.args.iter().any(has_selector),
        Node::Subquery(subquery) => has_selector(&subquery.expr),
    }
}

fn push_expr(json: &mut Json, expr: &Expr) {
    json.object(|json| match &expr.node {
        Node::Number(number) => {
            json.key("type").string("numberLiteral");
            json.key("val").string(&format_float(number.value));
        }
        Node::String(text) => {
            json.key("type").string("stringLiteral");
            json.key("val").string(text);
        }
        Node::Paren(inner) => {
            push_expr(json.key("expr"), inner);
            json.key("type").string("parenExpr");
        }
        Node::Unary(op, inner) => {
            push_expr(json.key("expr"), inner);
            json.key("op").string(unary_op(*op));
            json.key("type").string("unaryExpr");
        }
        Node::Binary(binary) => push_binary(json, binary),
        Node::Aggregate(aggregate) => push_aggregate(json, aggregate),
        Node::Call(call) => push_call(json, call),
        Node::VectorSelector(selector) => push_selector(json, selector, None),
        Node::MatrixSelector(matrix) => push_selector(json, &matrix.selector, Some(&matrix.range)),
        Node::Subquery(subquery) => push_subquery(json, subquery),
    });
}

fn push_binary(json: &mut Json, binary: &BinaryExpr) {
    json.key("bool").bool(binary.returns_bool);
    push_expr(json.key("lhs"), &binary.lhs);
    json.key("matching");
    match &binary.matching {
        Some(matching) => push_matching(json, matching),
        None => {
            json.null();
        }
    }
    json.key("op").string(binary.op.as_str());
    push_expr(json.key("rhs"), &binary.rhs);
    json.key("type").string("binaryExpr");
}

fn push_matching(json: &mut Json, matching: &VectorMatching) {
    let cardinality = match matching.cardinality {
        Cardinality::OneToOne => "one-to-one",
        Cardinality::ManyToOne => "many-to-one",
        Cardinality::OneToMany => "one-to-many",
        Cardinality::ManyToMany => "many-to-many",
    };
    json.object(|json| {
        json.key("card").string(cardinality);
        json.key("include").strings(&matching.include);
        json.key("labels").strings(&matching.labels);
        json.key("on").bool(matching.on);
    });
}

fn push_aggregate(json: &mut Json, aggregate: &AggregateExpr) {
    push_expr(json.key("expr"), &aggregate.expr);
    json.key("grouping").strings(&aggregate.labels);
    json.key("op").string(aggregate.op.as_str());
    json.key("param");
    match &aggregate.param {
        Some(param) => push_expr(json, param),
        None => {
            json.null();
        }
    }
    json.key("type").string("aggregation");
    json.key("without").bool(aggregate.without);
}

fn push_call(json: &mut Json, call: &Call) {
    json.key("args").list(&call.args, push_expr);
    json.key("func").object(|json| {
        json.key("argTypes").strings(call.function.args.iter().map(|arg| type_name(*arg)));
        json.key("name").string(call.function.name);
        json.key("returnType").string(type_name(call.function.returns));
        json.key("variadic").integer(call.function.variadic);
    });
    json.key("type").string("call");
}

fn push_selector(json: &mut Json, selector: &VectorSelector, range: Option<&Extent>) {
    // The name's own matcher is the first here and the last in Prometheus.
    let (named, others) = selector.matchers.split_at(usize::from(selector.name.is_some()));
    json.key("matchers").list(others.iter().chain(named), push_matcher);
    json.key("name").string(selector.name.as_deref().unwrap_or(""));
    json.key("offset").integer(millis(&selector.offset));
    if let Some(range) = range {
        json.key("range").integer(millis(range));
    }
    push_start_or_end(json, selector.at);
    push_timestamp(json, selector.at);
    json.key("type").string(if range.is_some() { "matrixSelector" } else { "vectorSelector" });
}

fn push_subquery(json: &mut Json, subquery: &Subquery) {
    push_expr(json.key("expr"), &subquery.expr);
    json.key("offset").integer(millis(&subquery.offset));
    json.key("range").integer(millis(&subquery.range));
    push_start_or_end(json, subquery.at);
    json.key("step").integer(subquery.step.as_ref().map_or(0, millis));
    push_timestamp(json, subquery.at);
    json.key("type").string("subquery");
}

fn push_start_or_end(json: &mut Json, at: Option<AtModifier>) {
    json.key("startOrEnd");
    match at {
        Some(AtModifier::Start) => json.string("start"),
        Some(AtModifier::End) => json.string("end"),
        _ => json.null(),
    };
}

fn push_timestamp(json: &mut Json, at: Option<AtModifier>) {
    json.key("timestamp");
    match at {
        Some(AtModifier::At(at)) => json.integer(at.0),
        _ => json.null(),
    };
}

fn push_matcher(json: &mut Json, matcher: &Matcher) {
    json.object(|json| {
        json.key("name").string(matcher.name());
        json.key("type").string(matcher.op().as_str());
        json.key("value").string(matcher.value());
    });
}

/// A duration expression has no length before its query's step is known: 0, as in Prometheus.
fn millis(extent: &Offset) -> i64 {
    match extent {
        Extent::Millis(millis) => *millis,
        Extent::Expr(_) => 0,
    }
}

/// The type's name in the API, which differs from the one in error texts.
fn type_name(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Scalar => "scalar",
        ValueType::String => "string",
        ValueType::InstantVector => "vector",
        ValueType::RangeVector => "matrix",
    }
}

fn unary_op(op: UnaryOp) -> &'static str {
    match op {
        UnaryOp::Plus => "+",
        UnaryOp::Minus => "-",
    }
}
