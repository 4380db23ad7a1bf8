//! The functions' names and signatures, as the parser checks them.
//!
//! Source: prometheus/promql/parser/functions.go (3.5) and the documentation of the functions.

use super::ast::ValueType;
use ValueType::{InstantVector, RangeVector, Scalar, String};

/// What a function takes and gives.
#[derive(Debug, PartialEq)]
pub struct Signature {
    /// Its name.
    pub name: &'static str,
    /// The types of its arguments.
    pub args: &'static [ValueType],
    /// How many of the last argument may be left out (positive: that many optional ones; -1: any
    /// number of repeats of the last one, none included; 0: exactly as listed).
    pub variadic: i8,
    /// What it gives.
    pub returns: ValueType,
    /// Whether it needs `--enable-feature=promql-experimental-functions`.
    pub experimental: bool,
}

impl Signature {
    /// The least and the largest number of arguments; `None` where there is no largest.
    pub fn arity(&self) -> (usize, Option<usize>) {
        let listed = self.args.len();
        match self.variadic {
            0 => (listed, Some(listed)),
            optional if optional > 0 => (listed - 1, Some(listed - 1 + usize::from(optional.unsigned_abs()))),
            _ => (listed - 1, None),
        }
    }
}

/// The function of this name; names are case-sensitive.
pub fn lookup(name: &str) -> Option<&'static Signature> {
    FUNCTIONS.binary_search_by(|function| function.name.cmp(name)).ok().map(|index| &FUNCTIONS[index])
}

/// Every function, sorted by name.
pub fn all() -> &'static [Signature] {
    FUNCTIONS
}

const fn plain(name: &'static str, args: &'static [ValueType]) -> Signature {
    Signature { name, args, variadic: 0, returns: InstantVector, experimental: false }
}

const fn optional(name: &'static str, args: &'static [ValueType]) -> Signature {
    Signature { variadic: 1, ..plain(name, args) }
}

const fn repeated(name: &'static str, args: &'static [ValueType]) -> Signature {
    Signature { variadic: -1, ..plain(name, args) }
}

const fn scalar(name: &'static str, args: &'static [ValueType]) -> Signature {
    Signature { returns: Scalar, ..plain(name, args) }
}

const fn experimental(function: Signature) -> Signature {
    Signature { experimental: true, ..function }
}

const FUNCTIONS: &[Signature] = &[
    plain("abs", &[InstantVector]),
    plain("absent", &[InstantVector]),
    plain("absent_over_time", &[RangeVector]),
    plain("acos", &[InstantVector]),
    plain("acosh", &[InstantVector]),
    plain("asin", &[InstantVector]),
    plain("asinh", &[InstantVector]),
    plain("atan", &[InstantVector]),
    plain("atanh", &[InstantVector]),
    plain("avg_over_time", &[RangeVector]),
    plain("ceil", &[InstantVector]),
    plain("changes", &[RangeVector]),
    plain("clamp", &[InstantVector, Scalar, Scalar]),
    plain("clamp_max", &[InstantVector, Scalar]),
    plain("clamp_min", &[InstantVector, Scalar]),
    plain("cos", &[InstantVector]),
    plain("cosh", &[InstantVector]),
    plain("count_over_time", &[RangeVector]),
    optional("day_of_month", &[InstantVector]),
    optional("day_of_week", &[InstantVector]),
    optional("day_of_year", &[InstantVector]),
    optional("days_in_month", &[InstantVector]),
    plain("deg", &[InstantVector]),
    plain("delta", &[RangeVector]),
    plain("deriv", &[RangeVector]),
    experimental(plain("double_exponential_smoothing", &[RangeVector, Scalar, Scalar])),
    plain("exp", &[InstantVector]),
    plain("floor", &[InstantVector]),
    plain("histogram_avg", &[InstantVector]),
    plain("histogram_count", &[InstantVector]),
    plain("histogram_fraction", &[Scalar, Scalar, InstantVector]),
    plain("histogram_quantile", &[Scalar, InstantVector]),
    plain("histogram_stddev", &[InstantVector]),
    plain("histogram_stdvar", &[InstantVector]),
    plain("histogram_sum", &[InstantVector]),
    optional("hour", &[InstantVector]),
    plain("idelta", &[RangeVector]),
    plain("increase", &[RangeVector]),
    experimental(optional("info", &[InstantVector, InstantVector])),
    plain("irate", &[RangeVector]),
    repeated("label_join", &[InstantVector, String, String, String]),
    plain("label_replace", &[InstantVector, String, String, String, String]),
    plain("last_over_time", &[RangeVector]),
    plain("ln", &[InstantVector]),
    plain("log10", &[InstantVector]),
    plain("log2", &[InstantVector]),
    experimental(plain("mad_over_time", &[RangeVector])),
    plain("max_over_time", &[RangeVector]),
    plain("min_over_time", &[RangeVector]),
    optional("minute", &[InstantVector]),
    optional("month", &[InstantVector]),
    scalar("pi", &[]),
    plain("predict_linear", &[RangeVector, Scalar]),
    plain("present_over_time", &[RangeVector]),
    plain("quantile_over_time", &[Scalar, RangeVector]),
    plain("rad", &[InstantVector]),
    plain("rate", &[RangeVector]),
    plain("resets", &[RangeVector]),
    optional("round", &[InstantVector, Scalar]),
    scalar("scalar", &[InstantVector]),
    plain("sgn", &[InstantVector]),
    plain("sin", &[InstantVector]),
    plain("sinh", &[InstantVector]),
    plain("sort", &[InstantVector]),
    experimental(repeated("sort_by_label", &[InstantVector, String])),
    experimental(repeated("sort_by_label_desc", &[InstantVector, String])),
    plain("sort_desc", &[InstantVector]),
    plain("sqrt", &[InstantVector]),
    plain("stddev_over_time", &[RangeVector]),
    plain("stdvar_over_time", &[RangeVector]),
    plain("sum_over_time", &[RangeVector]),
    plain("tan", &[InstantVector]),
    plain("tanh", &[InstantVector]),
    scalar("time", &[]),
    plain("timestamp", &[InstantVector]),
    experimental(plain("ts_of_last_over_time", &[RangeVector])),
    experimental(plain("ts_of_max_over_time", &[RangeVector])),
    experimental(plain("ts_of_min_over_time", &[RangeVector])),
    plain("vector", &[Scalar]),
    optional("year", &[InstantVector]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_name_found() {
        assert!(FUNCTIONS.is_sorted_by(|a, b| a.name < b.name));
        for function in FUNCTIONS {
            assert_eq!(lookup(function.name), Some(function));
        }
        assert_eq!(lookup("Rate"), None);
    }

    #[test]
    fn arities() {
        let cases = [
            ("time", (0, Some(0))),
            ("rate", (1, Some(1))),
            ("hour", (0, Some(1))),
            ("round", (1, Some(2))),
            ("label_join", (3, None)),
            ("info", (1, Some(2))),
        ];
        for (name, expected) in cases {
            assert_eq!(lookup(name).map(Signature::arity), Some(expected), "{name}");
        }
    }
}
