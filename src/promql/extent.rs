//! Lengths of time in brackets and behind `offset`: constants, or expressions over durations where
//! `promql-duration-expr` is enabled.
//!
//! Source: prometheus/promql/parser/generated_parser.y (3.5; `step`, `range`, `min_of` and `max_of`
//! from later releases, under the same feature).

use super::ParseError;
use super::ast::{BinaryOp, DurationExpr, Extent, NumberLiteral, Span, UnaryOp};
use super::keyword::{self, POWER, Precedence};
use super::lexer::{Kind, Token};
use super::parser::Parser;

/// Nanoseconds must fit 63 bits, as they do upstream: about 292 years.
const SECONDS_MAX: f64 = 9_223_372_036.854_775;
/// The loosest operator between durations is a sum.
const SUM: Precedence = 4;
/// The words that start a duration.
const FUNCTIONS: [&str; 6] = ["step", "range", "min_of", "max_of", "min", "max"];

impl Parser<'_> {
    /// What stands in brackets: more than nothing, as far as that can be told without a query.
    pub fn positive_extent(&mut self, expected: &str) -> Result<Extent, ParseError> {
        let start = self.token.span.start;
        if !self.starts_extent() {
            return Err(self.unexpected(expected));
        }
        let expr = self.duration_expr(SUM)?;
        let span = Span { start, end: self.last_end };
        match expr {
            DurationExpr::Number(literal) if literal.value <= 0.0 => {
                Err(self.error_at(span, "duration must be greater than 0"))
            }
            expr => self.extent(expr, span),
        }
    }

    /// What stands behind `offset`: a number or call, with a sign or without, so that operators behind it belong to the
    /// selector. What begins with a parenthesis, be there a sign before it, or with two signs takes them itself.
    pub fn offset_extent(&mut self) -> Result<Extent, ParseError> {
        let start = self.token.span.start;
        if !self.starts_extent() {
            return Err(self.unexpected("a duration such as 5m or -1h behind offset"));
        }
        let is_sign = |token: Token| ["+", "-"].iter().any(|sign| token.is(sign));
        let ahead = if is_sign(self.token) { self.peek()? } else { self.token };
        let expr = if ahead.is("(") || is_sign(ahead) {
            self.duration_expr(SUM)?
        } else {
            let sign = self.take_sign()?;
            let operand = self.duration_operand()?;
            match sign {
                Some((op, _)) => signed(op, operand),
                None => operand,
            }
        };
        self.extent(expr, Span { start, end: self.last_end })
    }

    fn starts_extent(&self) -> bool {
        let is_function = self.token.kind == Kind::Word && keyword::is_one_of(self.token_text(), &FUNCTIONS);
        is_function || self.is_number() || ["+", "-", "("].iter().any(|sign| self.token.is(sign))
    }

    fn extent(&self, expr: DurationExpr, span: Span) -> Result<Extent, ParseError> {
        let DurationExpr::Number(literal) = expr else {
            if !self.features.duration_expressions {
                let flag = "--enable-feature=promql-duration-expr";
                let message = format!("duration expressions are experimental and must be enabled with {flag}");
                return Err(self.error_at(span, message));
            }
            return Ok(Extent::Expr(Box::new(expr)));
        };
        if literal.value.is_nan() || literal.value.abs() >= SECONDS_MAX {
            return Err(self.error_at(span, "duration out of range"));
        }
        // Upstream keeps nanoseconds and evaluates milliseconds.
        Ok(Extent::Millis((literal.value * 1e9).round() as i64 / 1_000_000))
    }

    fn duration_expr(&mut self, least: Precedence) -> Result<DurationExpr, ParseError> {
        let nesting = self.nesting;
        self.enter()?;
        let mut left = self.signed_duration()?;
        while let Some(op) = self.duration_op().filter(|op| op.precedence() >= least) {
            let op_span = self.token.span;
            self.advance()?;
            let right = self.duration_expr(op.precedence_on_the_right())?;
            let is_division = matches!(op, BinaryOp::Div | BinaryOp::Mod);
            if is_division && matches!(&right, DurationExpr::Number(literal) if literal.value == 0.0) {
                let what = if op == BinaryOp::Div { "division by zero" } else { "modulo by zero" };
                return Err(self.error_at(op_span, what));
            }
            // Chains count as nesting here: they are short, and this bounds the tree as well.
            self.enter()?;
            left = DurationExpr::Binary(op, Box::new(left), Box::new(right));
        }
        self.nesting = nesting;
        Ok(left)
    }

    fn duration_op(&self) -> Option<BinaryOp> {
        match self.token.kind {
            Kind::Sign(sign) => BinaryOp::from_sign(sign).filter(|op| !op.is_comparison()),
            _ => None,
        }
    }

    fn signed_duration(&mut self) -> Result<DurationExpr, ParseError> {
        match self.take_sign()? {
            Some((op, _)) => Ok(signed(op, self.duration_expr(POWER)?)),
            None => self.duration_operand(),
        }
    }

    fn duration_operand(&mut self) -> Result<DurationExpr, ParseError> {
        if self.is_number() {
            return Ok(DurationExpr::Number(self.take_number()?));
        }
        if self.skip("(")? {
            let inner = self.duration_expr(SUM)?;
            self.expect_closing_parenthesis()?;
            return Ok(DurationExpr::Paren(Box::new(inner)));
        }
        if self.token.kind != Kind::Word {
            return Err(self.unexpected("a number, a duration, step() or range()"));
        }
        self.duration_call()
    }

    fn duration_call(&mut self) -> Result<DurationExpr, ParseError> {
        let name = self.token_text().to_ascii_lowercase();
        if !FUNCTIONS.contains(&name.as_str()) {
            return Err(self.unexpected("a number, a duration, step() or range()"));
        }
        self.advance()?;
        self.expect("(", "\"(\"")?;
        let expr = match name.as_str() {
            "step" => DurationExpr::Step,
            "range" => DurationExpr::Range,
            _ => self.duration_choice(&name)?,
        };
        self.expect_closing_parenthesis()?;
        Ok(expr)
    }

    fn duration_choice(&mut self, name: &str) -> Result<DurationExpr, ParseError> {
        let left = Box::new(self.duration_expr(SUM)?);
        self.expect(",", "\",\" and a second duration")?;
        let right = Box::new(self.duration_expr(SUM)?);
        Ok(if name.starts_with("min") { DurationExpr::Min(left, right) } else { DurationExpr::Max(left, right) })
    }
}

/// A sign in front of a number belongs to the number; a plus in front of anything else says nothing.
fn signed(op: UnaryOp, operand: DurationExpr) -> DurationExpr {
    match (op, operand) {
        (UnaryOp::Plus, operand) => operand,
        (UnaryOp::Minus, DurationExpr::Number(NumberLiteral { value, is_duration })) => {
            DurationExpr::Number(NumberLiteral { value: -value, is_duration })
        }
        (UnaryOp::Minus, operand) => DurationExpr::Unary(UnaryOp::Minus, Box::new(operand)),
    }
}
