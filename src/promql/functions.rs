//! The functions' names and signatures, as the parser checks them.

use super::ast::ValueType;

/// What a function takes and gives.
#[derive(Debug, PartialEq)]
pub struct Signature {
    /// Its name.
    pub name: &'static str,
    /// The types of its arguments.
    pub args: &'static [ValueType],
    /// How many of the last argument may be left out (positive: that many optional ones; -1: any
    /// number of repeats of the last one; 0: exactly as listed).
    pub variadic: i8,
    /// What it gives.
    pub returns: ValueType,
    /// Whether it needs `--enable-feature=promql-experimental-functions`.
    pub experimental: bool,
}
