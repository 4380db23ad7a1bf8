//! Which types and modifiers fit together, as nodes are built.
//!
//! Source of the rules: `checkAST` in prometheus/promql/parser/parse.go (3.5).

use super::Features;
use super::ast::{AggregateOp, BinaryExpr, Cardinality, Span, ValueType};
use super::functions::Signature;
use super::parser::Tree;
use ValueType::{InstantVector, Scalar};

/// What is wrong, and where if it is not the whole node.
type Fault = (Option<Span>, String);

/// A sign goes in front of numbers and instant vectors.
pub(super) fn unary(operand: ValueType) -> Result<(), String> {
    match operand {
        Scalar | InstantVector => Ok(()),
        other => Err(format!(
            "unary expression only allowed on expressions of type scalar or instant vector, got {:?}",
            other.as_str()
        )),
    }
}

/// Number and types of an aggregation's arguments.
pub(super) fn aggregate(op: AggregateOp, arguments: &[Tree], features: Features) -> Result<(), Fault> {
    let name = op.as_str();
    if arguments.is_empty() {
        return Err((None, "no arguments for aggregate expression provided".to_owned()));
    }
    if op.is_experimental() && !features.experimental_functions {
        let flag = "--enable-feature=promql-experimental-functions";
        return Err((None, format!("{name}() is experimental and must be enabled with {flag}")));
    }
    let expected = if op.param_type().is_some() { 2 } else { 1 };
    if arguments.len() != expected {
        let found = arguments.len();
        return Err((
            None,
            format!("wrong number of arguments for aggregate expression {name}, expected {expected}, got {found}"),
        ));
    }
    type_of(&arguments[expected - 1], InstantVector, "aggregation expression")?;
    match op.param_type() {
        Some(param) => type_of(&arguments[0], param, "aggregation parameter"),
        None => Ok(()),
    }
}

/// Number and types of a call's arguments.
pub(super) fn call(function: &Signature, arguments: &[Tree]) -> Result<(), Fault> {
    let (least, most) = function.arity();
    let (name, found) = (function.name, arguments.len());
    let expected = match most {
        Some(most) if most == least && found != least => format!("{least}"),
        _ if found < least => format!("at least {least}"),
        Some(most) if found > most => format!("at most {most}"),
        _ => return argument_types(function, arguments),
    };
    Err((None, format!("expected {expected} argument(s) in call to {name:?}, got {found}")))
}

fn argument_types(function: &Signature, arguments: &[Tree]) -> Result<(), Fault> {
    // A repeated argument has the type of the last one listed.
    let last = function.args.last();
    for (argument, expected) in arguments.iter().zip(function.args.iter().chain(last.into_iter().cycle())) {
        type_of(argument, *expected, &format!("call to function {:?}", function.name))?;
    }
    Ok(())
}

fn type_of(tree: &Tree, expected: ValueType, context: &str) -> Result<(), Fault> {
    if tree.value_type == expected {
        return Ok(());
    }
    let (expected, found) = (expected.as_str(), tree.value_type.as_str());
    Err((Some(tree.expr.span), format!("expected type {expected} in {context}, got {found}")))
}

/// Checks operands and modifiers, settles the cardinality, and gives the type of the result.
pub(super) fn binary(
    binary: &mut BinaryExpr,
    (left, right): (ValueType, ValueType),
    op_span: Span,
    span: Span,
) -> Result<ValueType, (Span, String)> {
    for (operand, place) in [(left, binary.lhs.span), (right, binary.rhs.span)] {
        if operand != Scalar && operand != InstantVector {
            let found = operand.as_str();
            let message = format!("binary expression must contain only scalar and instant vector types, got {found}");
            return Err((place, message));
        }
    }
    let both_vectors = (left, right) == (InstantVector, InstantVector);
    let both_scalars = (left, right) == (Scalar, Scalar);
    bool_modifier(binary, both_scalars).map_err(|message| (op_span, message))?;
    common_labels(binary).map_err(|message| (op_span, message))?;
    if both_vectors {
        set_operator(binary).map_err(|message| (span, message))?;
    } else {
        without_vectors(binary).map_err(|message| (span, message))?;
        binary.matching = None;
    }
    Ok(if both_scalars { Scalar } else { InstantVector })
}

fn bool_modifier(binary: &BinaryExpr, both_scalars: bool) -> Result<(), String> {
    if binary.returns_bool && !binary.op.is_comparison() {
        return Err("bool modifier can only be used on comparison operators".to_owned());
    }
    if binary.op.is_comparison() && !binary.returns_bool && both_scalars {
        return Err(format!(
            "comparisons between scalars must use BOOL modifier: write \"{} bool\"",
            binary.op.as_str()
        ));
    }
    Ok(())
}

fn common_labels(binary: &BinaryExpr) -> Result<(), String> {
    let Some(matching) = binary.matching.as_ref().filter(|matching| matching.on) else {
        return Ok(());
    };
    match matching.labels.iter().find(|label| matching.include.contains(label)) {
        Some(label) => Err(format!("label {label:?} must not occur in ON and GROUP clause at once")),
        None => Ok(()),
    }
}

fn set_operator(binary: &mut BinaryExpr) -> Result<(), String> {
    let op = binary.op;
    let Some(matching) = binary.matching.as_mut().filter(|_| op.is_set_operator()) else {
        return Ok(());
    };
    if matching.cardinality != Cardinality::OneToOne {
        return Err(format!("no grouping allowed for {:?} operation", op.as_str()));
    }
    if matching.fill.left.is_some() || matching.fill.right.is_some() {
        return Err("filling in missing series not allowed for set operators".to_owned());
    }
    matching.cardinality = Cardinality::ManyToMany;
    Ok(())
}

/// What two vectors may have and a vector and a scalar may not.
fn without_vectors(binary: &BinaryExpr) -> Result<(), String> {
    if binary.op.is_set_operator() {
        return Err(format!("set operator {:?} not allowed in binary scalar expression", binary.op.as_str()));
    }
    let Some(matching) = &binary.matching else {
        return Ok(());
    };
    if !matching.labels.is_empty() {
        return Err("vector matching only allowed between instant vectors".to_owned());
    }
    if matching.fill.left.is_some() || matching.fill.right.is_some() {
        return Err("filling in missing series only allowed between instant vectors".to_owned());
    }
    Ok(())
}
