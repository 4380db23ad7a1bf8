//! Functions of one number.

use super::super::extreme::{larger, smaller};
use super::super::logarithm::{log2, log10};
use super::super::{Evaluator, Result, Sink};
use super::stream_mapped;
use crate::promql::ast::Call;

/// The function of one number with that name.
pub(super) fn unary_function(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "exp" => f64::exp,
        "sqrt" => f64::sqrt,
        "ln" => f64::ln,
        "log2" => log2,
        "log10" => log10,
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tan" => f64::tan,
        "asin" => f64::asin,
        "acos" => f64::acos,
        "atan" => f64::atan,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "tanh" => f64::tanh,
        "asinh" => f64::asinh,
        "acosh" => f64::acosh,
        "atanh" => f64::atanh,
        // Not to_degrees and to_radians, which multiply by a rounded factor.
        "deg" => |value| value * 180.0 / std::f64::consts::PI,
        "rad" => |value| value * std::f64::consts::PI / 180.0,
        // Zero keeps its sign, and NaN stays.
        "sgn" => |value| {
            if value < 0.0 {
                -1.0
            } else if value > 0.0 {
                1.0
            } else {
                value
            }
        },
        _ => return None,
    })
}

/// `round` and the clamps, whose bounds may differ from step to step.
pub(super) fn stream_with_scalars(evaluator: &Evaluator<'_>, call: &Call, sink: Sink<'_>) -> Result<()> {
    let scalars = call.args[1..].iter().map(|arg| evaluator.scalar(arg)).collect::<Result<Vec<_>>>()?;
    let scalar = |position: usize, index: usize| scalars[position].at(index);
    let name = call.function.name;
    stream_mapped(evaluator, &call.args[0], sink, |column| {
        column.drop_histograms();
        column.map_floats(|index, value| match name {
            "round" => round(value, if scalars.is_empty() { 1.0 } else { scalar(0, index) }),
            "clamp_min" => clamp(value, scalar(0, index), f64::INFINITY),
            "clamp_max" => clamp(value, f64::NEG_INFINITY, scalar(0, index)),
            _ => clamp(value, scalar(0, index), scalar(1, index)),
        });
    })
}

/// To the nearest multiple; ties go up.
fn round(value: f64, nearest: f64) -> f64 {
    // Multiplying by the inverse loses less than dividing.
    let inverse = 1.0 / nearest;
    (value * inverse + 0.5).floor() / inverse
}

/// Crossed bounds give nothing.
fn clamp(value: f64, least: f64, most: f64) -> f64 {
    if most < least { super::super::column::ABSENT } else { larger(least, smaller(most, value)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clamping_zeros_and_specials() {
        const INF: f64 = f64::INFINITY;
        // Value, least, most, result.
        let cases = [
            (-0.0, -INF, 0.0, -0.0),
            (0.0, -INF, -0.0, -0.0),
            (-0.0, 0.0, INF, 0.0),
            (5.0, 1.0, 3.0, 3.0),
            (f64::NAN, 1.0, 3.0, f64::NAN),
            (f64::NAN, INF, INF, INF),
            (f64::NAN, -INF, -INF, -INF),
            (1.0, f64::NAN, 3.0, f64::NAN),
        ];
        for (value, least, most, expected) in cases {
            let found = clamp(value, least, most);
            assert_eq!(found.to_string(), expected.to_string(), "{value} within {least} and {most}");
        }
    }
}
