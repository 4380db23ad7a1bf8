//! Words with a meaning: operators, aggregations, and which of them may also be names.
//!
//! Source: the lists `key`, `metric_identifier` and `maybe_label` of prometheus/promql/parser (3.5).

use super::ast::{AggregateOp, BinaryOp, ValueType};

/// How tightly a binary operator binds; larger is tighter.
pub(super) type Precedence = u8;

/// The loosest binding: a whole expression.
pub(super) const LOOSEST: Precedence = 1;
/// What a sign in front applies to: powers and whatever binds tighter.
pub(super) const POWER: Precedence = 6;

impl BinaryOp {
    /// The operator written as a sign.
    pub(super) fn from_sign(sign: &str) -> Option<Self> {
        Some(match sign {
            "+" => Self::Add,
            "-" => Self::Sub,
            "*" => Self::Mul,
            "/" => Self::Div,
            "%" => Self::Mod,
            "^" => Self::Pow,
            "==" => Self::Equal,
            "!=" => Self::NotEqual,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    /// The operator written as a word, in any case.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        [Self::And, Self::Or, Self::Unless, Self::Atan2].into_iter().find(|op| word.eq_ignore_ascii_case(op.as_str()))
    }

    /// How tightly it binds.
    pub(super) fn precedence(self) -> Precedence {
        match self {
            Self::Or => LOOSEST,
            Self::And | Self::Unless => 2,
            _ if self.is_comparison() => 3,
            Self::Add | Self::Sub => 4,
            Self::Pow => POWER,
            _ => 5,
        }
    }

    /// What the right operand of this operator is made of: only powers group from the right.
    pub(super) fn precedence_on_the_right(self) -> Precedence {
        if self == Self::Pow { POWER } else { self.precedence() + 1 }
    }

    /// PromQL's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }

    /// Whether it compares.
    pub fn is_comparison(self) -> bool {
        use BinaryOp::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        matches!(self, Equal | NotEqual | Less | LessOrEqual | Greater | GreaterOrEqual)
    }

    /// Whether it works on whole series: `and`, `or`, `unless`.
    pub fn is_set_operator(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}

impl AggregateOp {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Sum,
        Self::Avg,
        Self::Count,
        Self::Min,
        Self::Max,
        Self::Group,
        Self::Stddev,
        Self::Stdvar,
        Self::Topk,
        Self::Bottomk,
        Self::CountValues,
        Self::Quantile,
        Self::Limitk,
        Self::LimitRatio,
    ];

    /// The aggregation of this name, in any case.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|op| word.eq_ignore_ascii_case(op.as_str()))
    }

    /// PromQL's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Count => "count",
            Self::Min => "min",
            Self::Max => "max",
            Self::Group => "group",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Topk => "topk",
            Self::Bottomk => "bottomk",
            Self::CountValues => "count_values",
            Self::Quantile => "quantile",
            Self::Limitk => "limitk",
            Self::LimitRatio => "limit_ratio",
        }
    }

    /// The type of the parameter in front of what is aggregated, if there is one.
    pub fn param_type(self) -> Option<ValueType> {
        match self {
            Self::Topk | Self::Bottomk | Self::Quantile | Self::Limitk | Self::LimitRatio => Some(ValueType::Scalar),
            Self::CountValues => Some(ValueType::String),
            _ => None,
        }
    }

    /// Whether it needs `--enable-feature=promql-experimental-functions`.
    pub fn is_experimental(self) -> bool {
        matches!(self, Self::Limitk | Self::LimitRatio)
    }
}

impl ValueType {
    /// The name that the documentation uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::InstantVector => "instant vector",
            Self::RangeVector => "range vector",
        }
    }
}

/// Whether the word is one of `words`, in any case.
pub(super) fn is_one_of(word: &str, words: &[&str]) -> bool {
    words.iter().any(|candidate| word.eq_ignore_ascii_case(candidate))
}

/// Whether the word is a number by itself.
pub(super) fn is_number(word: &str) -> bool {
    is_one_of(word, &["inf", "nan"])
}

/// Whether the word may name a metric in front of braces.
pub(super) fn may_name_metric(word: &str) -> bool {
    !is_number(word) && !is_one_of(word, &["atan2", "bool", "on", "ignoring", "group_left", "group_right"])
}

/// Whether the word may name a label without quotes outside braces.
pub(super) fn may_name_label(word: &str) -> bool {
    !is_number(word) && !is_one_of(word, &["without"])
}
