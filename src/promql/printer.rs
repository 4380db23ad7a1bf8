//! Tree to text: on one line as Prometheus prints expressions, or broken into indented lines.
//!
//! Source: prometheus/promql/parser/printer.go and prettier.go (3.5).

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use crate::model::{METRIC_NAME, MatchOp, format_duration, format_float, is_legacy_metric_name, quote};

use super::ast::{
    AggregateExpr, AtModifier, BinaryExpr, Cardinality, DurationExpr, Expr, Extent, MatrixSelector, Node,
    NumberLiteral, RangeExtension, Subquery, UnaryOp, VectorMatching, VectorSelector,
};

/// Expressions longer than this, in bytes, are broken into lines.
const LINE_BYTES_MAX: usize = 100;
const INDENT: &str = "  ";

/// The expression broken into indented lines, as `/api/v1/format_query` gives it.
pub fn prettify(expr: &Expr) -> String {
    let mut output = String::new();
    pretty(expr, 0, &mut output);
    output
}

fn pretty(expr: &Expr, level: usize, output: &mut String) {
    let line = expr.to_string();
    let is_breakable = matches!(
        expr.node,
        Node::Aggregate(_) | Node::Binary(_) | Node::Call(_) | Node::Paren(_) | Node::Subquery(_) | Node::Unary(..)
    );
    if !is_breakable || line.len() <= LINE_BYTES_MAX {
        // A subquery that fits goes without indent upstream; so it does here.
        if !matches!(expr.node, Node::Subquery(_)) {
            indent(level, output);
        }
        output.push_str(&line);
        return;
    }
    pretty_broken(expr, level, output);
}

fn pretty_broken(expr: &Expr, level: usize, output: &mut String) {
    match &expr.node {
        Node::Aggregate(aggregate) => {
            let head = format!("{}(", AggregateHead(aggregate));
            pretty_list(&head, aggregate.param.iter().chain([&aggregate.expr]), level, output);
        }
        Node::Call(call) => pretty_list(&format!("{}(", call.function.name), call.args.iter(), level, output),
        Node::Paren(inner) => pretty_list("(", [&**inner].into_iter(), level, output),
        Node::Binary(binary) => {
            pretty(&binary.lhs, level + 1, output);
            output.push('\n');
            indent(level, output);
            output.push_str(&format!("{}\n", Operator(binary)));
            pretty(&binary.rhs, level + 1, output);
        }
        Node::Unary(op, operand) => {
            indent(level, output);
            output.push_str(sign(*op));
            let mut inner = String::new();
            pretty(operand, level, &mut inner);
            output.push_str(inner.trim());
        }
        Node::Subquery(subquery) => {
            pretty(&subquery.expr, level, output);
            output.push_str(&SubqueryTail(subquery).to_string());
        }
        _ => output.push_str(&expr.to_string()),
    }
}

/// `head`, one item a line, and the closing parenthesis.
fn pretty_list<'a>(head: &str, items: impl Iterator<Item = &'a Expr>, level: usize, output: &mut String) {
    indent(level, output);
    output.push_str(head);
    for (index, item) in items.enumerate() {
        output.push_str(if index == 0 { "\n" } else { ",\n" });
        pretty(item, level + 1, output);
    }
    output.push('\n');
    indent(level, output);
    output.push(')');
}

fn indent(level: usize, output: &mut String) {
    output.extend(std::iter::repeat_n(INDENT, level));
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.node {
            Node::Number(literal) => literal.fmt(f),
            Node::String(text) => f.write_str(&quote(text)),
            Node::Paren(inner) => write!(f, "({inner})"),
            Node::Unary(op, operand) => write!(f, "{}{operand}", sign(*op)),
            Node::Binary(binary) => write!(f, "{} {} {}", binary.lhs, Operator(binary), binary.rhs),
            Node::Aggregate(aggregate) => {
                write!(f, "{}(", AggregateHead(aggregate))?;
                list(f, aggregate.param.iter().chain([&aggregate.expr]))?;
                f.write_str(")")
            }
            Node::Call(call) => {
                write!(f, "{}(", call.function.name)?;
                list(f, call.args.iter())?;
                f.write_str(")")
            }
            Node::VectorSelector(selector) => {
                write!(f, "{}{}", Series(selector), Tail::of_selector(selector))
            }
            Node::MatrixSelector(matrix) => matrix.fmt(f),
            Node::Subquery(subquery) => write!(f, "{}{}", subquery.expr, SubqueryTail(subquery)),
        }
    }
}

impl Display for MatrixSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // Behind brackets `anchored` comes before `@`, elsewhere after it.
        let extension = extension(self.selector.extension);
        let tail = Tail { extension: "", ..Tail::of_selector(&self.selector) };
        write!(f, "{}[{}]{extension}{tail}", Series(&self.selector), self.range)
    }
}

impl Display for NumberLiteral {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.is_duration {
            return f.write_str(&format_float(self.value));
        }
        millis(f, (self.value * 1e9).trunc() as i64 / 1_000_000)
    }
}

impl Display for Extent {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Millis(value) => millis(f, *value),
            Self::Expr(expr) => expr.fmt(f),
        }
    }
}

impl Display for DurationExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(literal) => literal.fmt(f),
            Self::Unary(op, operand) => write!(f, "{}{operand}", sign(*op)),
            Self::Binary(op, left, right) => write!(f, "{left} {} {right}", op.as_str()),
            Self::Paren(inner) => write!(f, "({inner})"),
            Self::Step => f.write_str("step()"),
            Self::Range => f.write_str("range()"),
            Self::Min(left, right) => write!(f, "min_of({left}, {right})"),
            Self::Max(left, right) => write!(f, "max_of({left}, {right})"),
        }
    }
}

/// The selector without modifiers.
struct Series<'a>(&'a VectorSelector);

impl Display for Series<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = self.0.name.as_deref().unwrap_or("");
        let is_name = |op: MatchOp, label: &str, value: &str| {
            op == MatchOp::Equal && label == METRIC_NAME && value == name && !value.is_empty()
        };
        let matchers = self.0.matchers.iter();
        let mut texts: Vec<String> =
            matchers.filter(|m| !is_name(m.op(), m.name(), m.value())).map(ToString::to_string).collect();
        texts.sort_unstable();
        match texts.is_empty() {
            true => f.write_str(name),
            false => write!(f, "{name}{{{}}}", texts.join(",")),
        }
    }
}

/// `@ … anchored offset …`
struct Tail<'a> {
    at: Option<AtModifier>,
    extension: &'static str,
    offset: &'a Extent,
}

impl<'a> Tail<'a> {
    fn of_selector(selector: &'a VectorSelector) -> Self {
        Self { at: selector.at, extension: extension(selector.extension), offset: &selector.offset }
    }
}

impl Display for Tail<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(AtModifier::At(timestamp)) => write!(f, " @ {:.3}", timestamp.seconds())?,
            Some(AtModifier::Start) => f.write_str(" @ start()")?,
            Some(AtModifier::End) => f.write_str(" @ end()")?,
            None => {}
        }
        f.write_str(self.extension)?;
        match self.offset {
            Extent::Millis(0) => Ok(()),
            offset => write!(f, " offset {offset}"),
        }
    }
}

/// `[range:step] @ … offset …`
struct SubqueryTail<'a>(&'a Subquery);

impl Display for SubqueryTail<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Subquery { range, step, offset, at, .. } = self.0;
        write!(f, "[{range}:")?;
        if let Some(step) = step {
            step.fmt(f)?;
        }
        write!(f, "]{}", Tail { at: *at, extension: "", offset })
    }
}

/// `sum by (a, b) `, with the blank that upstream puts behind a grouping.
struct AggregateHead<'a>(&'a AggregateExpr);

impl Display for AggregateHead<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let aggregate = self.0;
        f.write_str(aggregate.op.as_str())?;
        match (aggregate.without, aggregate.labels.is_empty()) {
            (true, _) => write!(f, " without ({}) ", LabelList(&aggregate.labels)),
            (false, false) => write!(f, " by ({}) ", LabelList(&aggregate.labels)),
            (false, true) => Ok(()),
        }
    }
}

/// `== bool on (a) group_left (b) fill (0)`
struct Operator<'a>(&'a BinaryExpr);

impl Display for Operator<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.op.as_str())?;
        if self.0.returns_bool {
            f.write_str(" bool")?;
        }
        match &self.0.matching {
            Some(matching) => matching.fmt(f),
            None => Ok(()),
        }
    }
}

impl Display for VectorMatching {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let grouping = match self.cardinality {
            Cardinality::ManyToOne => Some("group_left"),
            Cardinality::OneToMany => Some("group_right"),
            Cardinality::OneToOne | Cardinality::ManyToMany => None,
        };
        if self.on || !self.labels.is_empty() || grouping.is_some() {
            let word = if self.on { "on" } else { "ignoring" };
            write!(f, " {word} ({})", LabelList(&self.labels))?;
        }
        if let Some(word) = grouping {
            write!(f, " {word} ({})", LabelList(&self.include))?;
        }
        match (self.fill.left, self.fill.right) {
            (Some(left), Some(right)) if left == right => write!(f, " fill ({})", format_float(left)),
            (left, right) => {
                let sides = [("fill_left", left), ("fill_right", right)].into_iter();
                sides
                    .filter_map(|(word, value)| Some((word, value?)))
                    .try_for_each(|(word, value)| write!(f, " {word} ({})", format_float(value)))
            }
        }
    }
}

struct LabelList<'a>(&'a [String]);

impl Display for LabelList<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, label) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            match is_legacy_metric_name(label) {
                true => f.write_str(label)?,
                false => f.write_str(&quote(label))?,
            }
        }
        Ok(())
    }
}

fn list<'a>(f: &mut Formatter<'_>, exprs: impl Iterator<Item = &'a Expr>) -> fmt::Result {
    for (index, expr) in exprs.enumerate() {
        f.write_str(if index == 0 { "" } else { ", " })?;
        expr.fmt(f)?;
    }
    Ok(())
}

fn sign(op: UnaryOp) -> &'static str {
    match op {
        UnaryOp::Plus => "+",
        UnaryOp::Minus => "-",
    }
}

fn extension(extension: Option<RangeExtension>) -> &'static str {
    match extension {
        Some(RangeExtension::Anchored) => " anchored",
        Some(RangeExtension::Smoothed) => " smoothed",
        None => "",
    }
}

fn millis(f: &mut Formatter<'_>, value: i64) -> fmt::Result {
    let text = format_duration(Duration::from_millis(value.unsigned_abs()));
    if value < 0 { write!(f, "-{text}") } else { f.write_str(&text) }
}

#[cfg(test)]
mod tests {
    use crate::promql::{Features, parse};

    #[test]
    fn names_are_quoted_where_they_have_to_be() {
        let cases = [
            (r#"sum by ("a:b", c) (x)"#, "sum by (a:b, c) (x)"),
            (r#"sum by ("a.b", "ü") (x)"#, r#"sum by ("a.b", "ü") (x)"#),
            (r#"x * on ("a:b") group_left ("c d") y"#, r#"x * on (a:b) group_left ("c d") y"#),
        ];
        for (query, printed) in cases {
            assert_eq!(parse(query, Features::default()).expect(query).to_string(), printed);
        }
    }
}
