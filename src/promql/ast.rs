//! The tree of a PromQL expression, with the place of every node in the text.
//! Source of the language: prometheus/promql/parser (3.5) and its documentation.

use crate::model::{Matcher, Timestamp};

/// Bytes `start..end` of the query text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// What an expression evaluates to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// One number.
    Scalar,
    /// One text.
    String,
    /// One sample per series.
    InstantVector,
    /// A range of samples per series.
    RangeVector,
}

/// An expression with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub node: Node,
    /// Where it stands.
    pub span: Span,
}

/// The kinds of expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// `1.5`, `0x1f`, `Inf`, `5m` (in seconds).
    Number(NumberLiteral),
    /// `"text"`
    String(String),
    /// `(e)`
    Paren(Box<Expr>),
    /// `-e` or `+e`
    Unary(UnaryOp, Box<Expr>),
    /// `a op b`
    Binary(Box<BinaryExpr>),
    /// `sum by (x) (e)`
    Aggregate(Box<AggregateExpr>),
    /// `rate(e)`
    Call(Call),
    /// `name{matchers} offset 5m @ 1`
    VectorSelector(VectorSelector),
    /// `selector[5m]`
    MatrixSelector(Box<MatrixSelector>),
    /// `e[5m:1m]`
    Subquery(Box<Subquery>),
}

/// A number as written and as read. A duration literal keeps being printed as a duration.
#[derive(Clone, Debug, PartialEq)]
pub struct NumberLiteral {
    /// The value; seconds for a duration literal.
    pub value: f64,
    /// Whether it was written as a duration.
    pub is_duration: bool,
}

/// A sign in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOp {
    /// `+`
    Plus,
    /// `-`
    Minus,
}

/// Binary operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the operators")]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
    Unless,
}

/// `lhs op bool on (…) group_left (…) rhs`
#[derive(Clone, Debug, PartialEq)]
pub struct BinaryExpr {
    /// The operator.
    pub op: BinaryOp,
    /// Left operand.
    pub lhs: Expr,
    /// Right operand.
    pub rhs: Expr,
    /// Whether a comparison gives 0 or 1 instead of filtering.
    pub returns_bool: bool,
    /// How series of two vectors find each other; present where both sides are vectors.
    pub matching: Option<VectorMatching>,
}

/// How series of two vectors find each other.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorMatching {
    /// Who may have several partners.
    pub cardinality: Cardinality,
    /// Whether `labels` are those compared (`on`) or those left out (`ignoring`).
    pub on: bool,
    /// Whether `on` or `ignoring` was written at all.
    pub is_explicit: bool,
    /// The labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// The labels of `group_left` or `group_right`, taken over from the "one" side.
    pub include: Vec<String>,
    /// The values of `fill`, `fill_left` and `fill_right` (`promql-binop-fill-modifiers`).
    pub fill: Fill,
}

/// What stands in for a series without a partner.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fill {
    /// For one that the left side lacks.
    pub left: Option<f64>,
    /// For one that the right side lacks.
    pub right: Option<f64>,
}

/// Who may have several partners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cardinality {
    /// Nobody.
    OneToOne,
    /// The left side (`group_left`).
    ManyToOne,
    /// The right side (`group_right`).
    OneToMany,
    /// Both: set operators.
    ManyToMany,
}

/// Aggregation operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the operators")]
pub enum AggregateOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    CountValues,
    Quantile,
    Limitk,
    LimitRatio,
}

/// `op by (labels) (param, expr)`
#[derive(Clone, Debug, PartialEq)]
pub struct AggregateExpr {
    /// The operator.
    pub op: AggregateOp,
    /// What is aggregated.
    pub expr: Expr,
    /// `k`, the quantile, the ratio or the label's name.
    pub param: Option<Expr>,
    /// The labels of `by` or `without`.
    pub labels: Vec<String>,
    /// Whether `labels` are those taken away.
    pub without: bool,
}

/// `function(args)`
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The function.
    pub function: &'static super::functions::Signature,
    /// Its arguments, checked against the signature.
    pub args: Vec<Expr>,
}

/// A selector of series at one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSelector {
    /// The metric's name where it was written in front of the braces; it is also the first of
    /// `matchers` (an equality on `__name__`). A name within the braces is a matcher only.
    pub name: Option<String>,
    /// All conditions.
    pub matchers: Vec<Matcher>,
    /// Milliseconds back in time, possibly negative.
    pub offset: Offset,
    /// A fixed instant.
    pub at: Option<AtModifier>,
    /// `anchored` or `smoothed` (`promql-extended-range-selectors`).
    pub extension: Option<RangeExtension>,
}

/// How samples around the ends of a range count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeExtension {
    /// The last sample before the range stands at its start.
    Anchored,
    /// Values at both ends are interpolated.
    Smoothed,
}

/// `@ …`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtModifier {
    /// `@ 1609746000`
    At(Timestamp),
    /// `@ start()`
    Start,
    /// `@ end()`
    End,
}

/// `selector[range]`
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSelector {
    /// Which series, with offset and `@`.
    pub selector: VectorSelector,
    /// Where the selector stands, without the brackets.
    pub selector_span: Span,
    /// How far back, exclusive at the far end.
    pub range: Extent,
}

/// `expr[range:step]`
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    /// What is evaluated at each step.
    pub expr: Expr,
    /// How far back.
    pub range: Extent,
    /// The distance of steps; the default evaluation interval if absent.
    pub step: Option<Extent>,
    /// Milliseconds back in time.
    pub offset: Offset,
    /// A fixed instant.
    pub at: Option<AtModifier>,
}

/// A length of time: a constant, or a duration expression (a feature of Prometheus 3.5 behind
/// `promql-duration-expr`).
#[derive(Clone, Debug, PartialEq)]
pub enum Extent {
    /// Milliseconds.
    Millis(i64),
    /// An expression over durations, evaluated when the query's step is known.
    Expr(Box<DurationExpr>),
}

/// An offset is an extent that may be negative.
pub type Offset = Extent;

/// A duration expression: numbers and durations joined by arithmetic.
#[derive(Clone, Debug, PartialEq)]
pub enum DurationExpr {
    /// Seconds, and whether written as a duration.
    Number(NumberLiteral),
    /// A sign.
    Unary(UnaryOp, Box<DurationExpr>),
    /// Arithmetic.
    Binary(BinaryOp, Box<DurationExpr>, Box<DurationExpr>),
    /// `(e)`
    Paren(Box<DurationExpr>),
    /// `step()`
    Step,
    /// `range()`
    Range,
    /// `min(a, b)` (`min_of` in later releases)
    Min(Box<DurationExpr>, Box<DurationExpr>),
    /// `max(a, b)`
    Max(Box<DurationExpr>, Box<DurationExpr>),
}
