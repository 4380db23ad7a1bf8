//! Tokens to tree: operators, calls and aggregations. Types are checked as nodes are built, so that
//! the tree is walked once.
//!
//! Nothing that the text asks for can exhaust the stack: recursion and the tree's depth are bounded.
//! Source of the grammar: prometheus/promql/parser/generated_parser.y (3.5).

use super::ast::{
    AggregateExpr, AggregateOp, BinaryExpr, BinaryOp, Call, Cardinality, Expr, Fill, Node, NumberLiteral, Span,
    UnaryOp, ValueType, VectorMatching,
};
use super::functions::{self, Signature};
use super::keyword::{self, LOOSEST, POWER, Precedence};
use super::lexer::{Kind, Lexer, Token};
use super::{Features, ParseError, check, literal};

/// The longest text that is read, in bytes.
pub const TEXT_BYTES_MAX: usize = 256 * 1024;
/// How deep parentheses, arguments, signs and powers may nest.
pub const NESTING_MAX: usize = 64;
/// How deep the tree may be; each operator of a chain such as `a + b + c` adds a level.
pub const NODE_DEPTH_MAX: usize = 256;

/// Reads an expression and checks its types.
pub fn parse(text: &str, features: Features) -> Result<Expr, ParseError> {
    let mut parser = Parser::new(text, features)?;
    if parser.token.kind == Kind::End {
        return Err(parser.error_at(Span::default(), "no expression found in input"));
    }
    let tree = parser.expression(LOOSEST)?;
    parser.expect_end()?;
    Ok(tree.expr)
}

/// An expression with what its parent must know.
pub(super) struct Tree {
    pub expr: Expr,
    pub value_type: ValueType,
    pub depth: usize,
}

impl Tree {
    /// A node without children.
    pub fn leaf(node: Node, span: Span, value_type: ValueType) -> Self {
        Self { expr: Expr { node, span }, value_type, depth: 1 }
    }
}

/// The parser's state: the current token and what lies behind it.
pub(super) struct Parser<'a> {
    pub lexer: Lexer<'a>,
    pub token: Token,
    /// Where the token before the current one ends.
    pub last_end: usize,
    pub features: Features,
    pub nesting: usize,
}

impl<'a> Parser<'a> {
    pub fn new(text: &'a str, features: Features) -> Result<Self, ParseError> {
        if text.len() > TEXT_BYTES_MAX {
            let message =
                format!("expression of {} bytes is longer than the {TEXT_BYTES_MAX} that are read", text.len());
            return Err(ParseError::at(text, Span { start: 0, end: text.len() }, message));
        }
        let mut lexer = Lexer::new(text);
        let token = lexer.next()?;
        Ok(Self { lexer, token, last_end: 0, features, nesting: 0 })
    }

    /// An expression of operators that bind at least as tightly as `least`.
    pub fn expression(&mut self, least: Precedence) -> Result<Tree, ParseError> {
        self.enter()?;
        let is_signed = self.token.is("+") || self.token.is("-");
        let mut left = if is_signed { self.signed()? } else { self.operand()? };
        while let Some(op) = self.binary_op().filter(|op| op.precedence() >= least) {
            left = self.binary(left, op)?;
        }
        self.nesting -= 1;
        Ok(left)
    }

    /// Counts one level of nesting; whoever calls it sets `nesting` back when done.
    pub fn enter(&mut self) -> Result<(), ParseError> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            return Err(self.error(format!("expression nests deeper than {NESTING_MAX} levels")));
        }
        Ok(())
    }

    /// An operand with the signs in front of it.
    fn signed(&mut self) -> Result<Tree, ParseError> {
        let mut signs = Vec::new();
        while let Some(op) = self.take_sign()? {
            signs.push(op);
        }
        let mut tree = self.expression(POWER)?;
        for (op, start) in signs.into_iter().rev() {
            tree = self.unary(op, start, tree)?;
        }
        Ok(tree)
    }

    /// A sign and where it starts.
    pub fn take_sign(&mut self) -> Result<Option<(UnaryOp, usize)>, ParseError> {
        let op = match self.token.kind {
            Kind::Sign("+") => UnaryOp::Plus,
            Kind::Sign("-") => UnaryOp::Minus,
            _ => return Ok(None),
        };
        let start = self.token.span.start;
        self.advance()?;
        Ok(Some((op, start)))
    }

    fn unary(&self, op: UnaryOp, start: usize, tree: Tree) -> Result<Tree, ParseError> {
        let Tree { expr, value_type, depth } = tree;
        let span = Span { start, end: expr.span.end };
        if let Node::Number(mut literal) = expr.node {
            if op == UnaryOp::Minus {
                literal.value = -literal.value;
            }
            return Ok(Tree::leaf(Node::Number(literal), span, ValueType::Scalar));
        }
        check::unary(value_type).map_err(|message| self.error_at(span, message))?;
        self.bounded(Expr { node: Node::Unary(op, Box::new(expr)), span }, value_type, depth)
    }

    fn operand(&mut self) -> Result<Tree, ParseError> {
        let mut tree = self.primary()?;
        while self.starts_modifier() {
            tree = self.modified(tree)?;
        }
        Ok(tree)
    }

    fn primary(&mut self) -> Result<Tree, ParseError> {
        match self.token.kind {
            Kind::Number | Kind::Duration => self.number_literal(),
            Kind::Text => self.text_literal(),
            Kind::Sign("(") => self.parenthesised(),
            Kind::Sign("{") => self.selector(),
            Kind::Word => self.word(),
            Kind::End | Kind::Sign(_) => Err(self.unexpected("an expression")),
        }
    }

    fn number_literal(&mut self) -> Result<Tree, ParseError> {
        let span = self.token.span;
        let literal = self.take_number()?;
        Ok(Tree::leaf(Node::Number(literal), span, ValueType::Scalar))
    }

    /// The number or duration that is the current token.
    pub fn take_number(&mut self) -> Result<NumberLiteral, ParseError> {
        let text = self.token_text();
        let is_duration = self.token.kind == Kind::Duration;
        let value = match self.token.kind {
            Kind::Word if keyword::is_one_of(text, &["nan"]) => Ok(f64::NAN),
            Kind::Word => Ok(f64::INFINITY),
            Kind::Duration => literal::duration(text),
            _ => literal::number(text),
        };
        let value = value.map_err(|message| self.error(message))?;
        self.advance()?;
        Ok(NumberLiteral { value, is_duration })
    }

    fn text_literal(&mut self) -> Result<Tree, ParseError> {
        let span = self.token.span;
        let value = self.take_text()?;
        Ok(Tree::leaf(Node::String(value), span, ValueType::String))
    }

    /// The value of the quoted text that is the current token.
    pub fn take_text(&mut self) -> Result<String, ParseError> {
        let value = literal::unquote(self.token_text()).map_err(|message| self.error(message))?;
        self.advance()?;
        Ok(value)
    }

    fn parenthesised(&mut self) -> Result<Tree, ParseError> {
        let start = self.token.span.start;
        self.advance()?;
        let Tree { expr, value_type, depth } = self.expression(LOOSEST)?;
        self.expect_closing_parenthesis()?;
        let span = Span { start, end: self.last_end };
        self.bounded(Expr { node: Node::Paren(Box::new(expr)), span }, value_type, depth)
    }

    fn word(&mut self) -> Result<Tree, ParseError> {
        let word = self.token_text();
        if keyword::is_number(word) {
            return self.number_literal();
        }
        let next = self.peek()?;
        if let Some(op) = AggregateOp::from_word(word)
            && (next.is("(") || self.is_grouping(next))
        {
            return self.aggregate(op);
        }
        if next.is("(") && self.names_function(word) {
            return self.call();
        }
        if !keyword::may_name_metric(word) {
            return Err(self.unexpected("an expression"));
        }
        self.selector()
    }

    /// Whether a word in front of a parenthesis is a function's name rather than a keyword.
    fn names_function(&self, word: &str) -> bool {
        !word.contains(':') && keyword::may_name_metric(word) && BinaryOp::from_word(word).is_none()
    }

    fn is_grouping(&self, token: Token) -> bool {
        token.kind == Kind::Word && keyword::is_one_of(self.text_of(token), &["by", "without"])
    }

    fn aggregate(&mut self, op: AggregateOp) -> Result<Tree, ParseError> {
        let start = self.token.span.start;
        self.advance()?;
        let mut grouping = None;
        if self.is_grouping(self.token) {
            grouping = Some(self.grouping()?);
        }
        let arguments = self.arguments()?;
        if grouping.is_none() && self.is_grouping(self.token) {
            grouping = Some(self.grouping()?);
        }
        let span = Span { start, end: self.last_end };
        self.build_aggregate(op, grouping.unwrap_or_default(), arguments, span)
    }

    // Nodes are built apart from the functions that recurse, which keeps the frames of those small.
    fn build_aggregate(
        &self,
        op: AggregateOp,
        (without, labels): (bool, Vec<String>),
        arguments: Vec<Tree>,
        span: Span,
    ) -> Result<Tree, ParseError> {
        check::aggregate(op, &arguments, self.features)
            .map_err(|(place, message)| self.error_at(place.unwrap_or(span), message))?;
        let depth = deepest(&arguments);
        let mut exprs = arguments.into_iter().map(|tree| tree.expr);
        let param = op.param_type().and_then(|_| exprs.next());
        let Some(expr) = exprs.next() else {
            return Err(self.error_at(span, "no arguments for aggregate expression provided"));
        };
        let node = Node::Aggregate(Box::new(AggregateExpr { op, expr, param, labels, without }));
        self.bounded(Expr { node, span }, ValueType::InstantVector, depth)
    }

    /// `by (…)` or `without (…)`: whether the latter, and the labels.
    fn grouping(&mut self) -> Result<(bool, Vec<String>), ParseError> {
        let without = self.is_word("without");
        self.advance()?;
        Ok((without, self.label_list()?))
    }

    fn call(&mut self) -> Result<Tree, ParseError> {
        let start = self.token.span.start;
        let function = self.function()?;
        self.advance()?;
        let arguments = if function.name == "info" { self.info_arguments()? } else { self.arguments()? };
        self.build_call(function, arguments, Span { start, end: self.last_end })
    }

    /// The function that the current token names.
    fn function(&self) -> Result<&'static Signature, ParseError> {
        let name = self.token_text();
        let Some(function) = functions::lookup(name) else {
            return Err(self.error(format!("unknown function with name {name:?}")));
        };
        if function.experimental && !self.features.experimental_functions {
            let flag = "--enable-feature=promql-experimental-functions";
            return Err(self.error(format!("function {name:?} is experimental and must be enabled with {flag}")));
        }
        Ok(function)
    }

    fn build_call(&self, function: &'static Signature, arguments: Vec<Tree>, span: Span) -> Result<Tree, ParseError> {
        check::call(function, &arguments).map_err(|(place, message)| self.error_at(place.unwrap_or(span), message))?;
        let depth = deepest(&arguments);
        let args = arguments.into_iter().map(|tree| tree.expr).collect();
        self.bounded(Expr { node: Node::Call(Call { function, args }), span }, function.returns, depth)
    }

    /// `(a, b, …)`
    fn arguments(&mut self) -> Result<Vec<Tree>, ParseError> {
        self.expect("(", "\"(\"")?;
        let mut arguments = Vec::new();
        while !(arguments.is_empty() && self.token.is(")")) {
            arguments.push(self.expression(LOOSEST)?);
            if !self.skip(",")? {
                break;
            }
            if self.token.is(")") {
                return Err(self.error("trailing commas not allowed in function call args"));
            }
        }
        self.expect_closing_parenthesis()?;
        Ok(arguments)
    }

    /// The arguments of `info`: the second one is a bare `{…}` that may match everything.
    fn info_arguments(&mut self) -> Result<Vec<Tree>, ParseError> {
        self.expect("(", "\"(\"")?;
        let mut arguments = vec![self.expression(LOOSEST)?];
        if self.skip(",")? {
            if !self.token.is("{") {
                return Err(self.error("expected label selectors only, such as {label=\"value\"}"));
            }
            arguments.push(self.label_selector()?);
        }
        self.expect_closing_parenthesis()?;
        Ok(arguments)
    }

    fn binary_op(&self) -> Option<BinaryOp> {
        match self.token.kind {
            Kind::Sign(sign) => BinaryOp::from_sign(sign),
            Kind::Word => BinaryOp::from_word(self.token_text()),
            _ => None,
        }
    }

    /// The operator at the current token, its modifiers and its right operand.
    fn binary(&mut self, left: Tree, op: BinaryOp) -> Result<Tree, ParseError> {
        let op_start = self.token.span.start;
        self.advance()?;
        let returns_bool = self.skip_word("bool")?;
        let matching = self.matching()?;
        let op_span = Span { start: op_start, end: self.last_end };
        let right = self.expression(op.precedence_on_the_right())?;
        self.build_binary(op, op_span, left, right, (returns_bool, matching))
    }

    fn build_binary(
        &self,
        op: BinaryOp,
        op_span: Span,
        left: Tree,
        right: Tree,
        (returns_bool, matching): (bool, VectorMatching),
    ) -> Result<Tree, ParseError> {
        let span = Span { start: left.expr.span.start, end: right.expr.span.end };
        let types = (left.value_type, right.value_type);
        let depth = left.depth.max(right.depth);
        let mut binary = BinaryExpr { op, lhs: left.expr, rhs: right.expr, returns_bool, matching: Some(matching) };
        let value_type = check::binary(&mut binary, types, op_span, span)
            .map_err(|(place, message)| self.error_at(place, message))?;
        self.bounded(Expr { node: Node::Binary(Box::new(binary)), span }, value_type, depth)
    }

    /// `on (…) group_left (…) fill (…)`, each of them optional.
    fn matching(&mut self) -> Result<VectorMatching, ParseError> {
        let mut matching = VectorMatching {
            cardinality: Cardinality::OneToOne,
            on: self.is_word("on"),
            is_explicit: false,
            labels: Vec::new(),
            include: Vec::new(),
            fill: Fill::default(),
        };
        if matching.on || self.is_word("ignoring") {
            self.advance()?;
            matching.is_explicit = true;
            matching.labels = self.label_list()?;
            matching.cardinality = self.grouping_side()?;
            if matching.cardinality != Cardinality::OneToOne && self.token.is("(") {
                matching.include = self.label_list()?;
            }
        }
        matching.fill = self.fill()?;
        Ok(matching)
    }

    fn grouping_side(&mut self) -> Result<Cardinality, ParseError> {
        Ok(if self.skip_word("group_left")? {
            Cardinality::ManyToOne
        } else if self.skip_word("group_right")? {
            Cardinality::OneToMany
        } else {
            Cardinality::OneToOne
        })
    }

    /// `fill (v)`, or `fill_left (v)` and `fill_right (v)` in any order. Without the parenthesis each
    /// of these words is a metric's name.
    fn fill(&mut self) -> Result<Fill, ParseError> {
        let mut fill = Fill::default();
        while fill.left.is_none() || fill.right.is_none() {
            let (to_left, to_right) = match self.token.kind {
                Kind::Word if self.is_word("fill") => (fill.right.is_none(), fill.left.is_none()),
                Kind::Word => (self.is_word("fill_left"), self.is_word("fill_right")),
                _ => (false, false),
            };
            let is_taken = (to_left && fill.left.is_some()) || (to_right && fill.right.is_some());
            if !(to_left || to_right) || is_taken || !self.peek()?.is("(") {
                break;
            }
            self.require_feature(self.features.fill_modifiers, "fill modifiers", "promql-binop-fill-modifiers")?;
            self.advance()?;
            let value = Some(self.fill_value()?);
            fill.left = if to_left { value } else { fill.left };
            fill.right = if to_right { value } else { fill.right };
        }
        Ok(fill)
    }

    fn fill_value(&mut self) -> Result<f64, ParseError> {
        self.expect("(", "\"(\"")?;
        let value = self.signed_number("a number")?;
        self.expect_closing_parenthesis()?;
        Ok(value)
    }

    /// A number or duration with at most one sign in front.
    pub fn signed_number(&mut self, expected: &str) -> Result<f64, ParseError> {
        let sign = self.take_sign()?;
        if !self.is_number() {
            return Err(self.unexpected(expected));
        }
        let value = self.take_number()?.value;
        Ok(if matches!(sign, Some((UnaryOp::Minus, _))) { -value } else { value })
    }

    /// Whether the current token is a number or a duration.
    pub fn is_number(&self) -> bool {
        match self.token.kind {
            Kind::Number | Kind::Duration => true,
            Kind::Word => keyword::is_number(self.token_text()),
            _ => false,
        }
    }

    /// A parent over children of the given depth, unless that makes the tree too deep.
    pub fn bounded(&self, expr: Expr, value_type: ValueType, depth: usize) -> Result<Tree, ParseError> {
        if depth >= NODE_DEPTH_MAX {
            let message = format!("expression has more than {NODE_DEPTH_MAX} levels of operators; split it");
            return Err(self.error_at(expr.span, message));
        }
        Ok(Tree { expr, value_type, depth: depth + 1 })
    }

    /// Fails where a part of the language is used that is not enabled.
    pub fn require_feature(&self, enabled: bool, what: &str, flag: &str) -> Result<(), ParseError> {
        if enabled {
            return Ok(());
        }
        Err(self.error(format!("{what} are experimental and must be enabled with --enable-feature={flag}")))
    }
}

/// Moving from token to token.
impl<'a> Parser<'a> {
    pub fn advance(&mut self) -> Result<(), ParseError> {
        self.last_end = self.token.span.end;
        self.token = self.lexer.next()?;
        Ok(())
    }

    /// The token behind the current one.
    pub fn peek(&self) -> Result<Token, ParseError> {
        let mut ahead = self.lexer;
        ahead.next()
    }

    pub fn text_of(&self, token: Token) -> &'a str {
        &self.lexer.text()[token.span.start..token.span.end]
    }

    pub fn token_text(&self) -> &'a str {
        self.text_of(self.token)
    }

    pub fn is_word(&self, word: &str) -> bool {
        self.token.kind == Kind::Word && self.token_text().eq_ignore_ascii_case(word)
    }

    pub fn skip_word(&mut self, word: &str) -> Result<bool, ParseError> {
        let is_there = self.is_word(word);
        if is_there {
            self.advance()?;
        }
        Ok(is_there)
    }

    pub fn skip(&mut self, sign: &str) -> Result<bool, ParseError> {
        let is_there = self.token.is(sign);
        if is_there {
            self.advance()?;
        }
        Ok(is_there)
    }

    pub fn expect(&mut self, sign: &str, expected: &str) -> Result<(), ParseError> {
        if self.skip(sign)? { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    pub fn expect_closing_parenthesis(&mut self) -> Result<(), ParseError> {
        match self.token.kind {
            Kind::End => Err(self.error("unclosed left parenthesis; expected \")\"")),
            _ => self.expect(")", "\",\" or an operator or \")\""),
        }
    }

    pub fn expect_end(&self) -> Result<(), ParseError> {
        match self.token.kind {
            Kind::End => Ok(()),
            _ => Err(self.unexpected("an operator or the end of the expression")),
        }
    }

    pub fn error(&self, message: impl Into<String>) -> ParseError {
        self.error_at(self.token.span, message)
    }

    pub fn error_at(&self, span: Span, message: impl Into<String>) -> ParseError {
        ParseError::at(self.lexer.text(), span, message)
    }

    /// The current token is none that may stand here.
    pub fn unexpected(&self, expected: &str) -> ParseError {
        let text = self.token_text();
        let found = match self.token.kind {
            Kind::End => "end of input".to_owned(),
            Kind::Word => format!("identifier {text:?}"),
            Kind::Number => format!("number {text:?}"),
            Kind::Duration => format!("duration {text:?}"),
            Kind::Text => format!("string {text}"),
            Kind::Sign(sign) => format!("{sign:?}"),
        };
        self.error(format!("unexpected {found}; expected {expected}"))
    }
}

fn deepest(trees: &[Tree]) -> usize {
    trees.iter().map(|tree| tree.depth).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs on a stack as small as a thread may have on a small board.
    fn on_small_stack(work: impl FnOnce() + Send + 'static) {
        let thread = std::thread::Builder::new().stack_size(512 * 1024).spawn(work).expect("a thread");
        thread.join().expect("no overflow and no panic");
    }

    #[test]
    fn deep_texts_are_errors_and_never_overflow() {
        on_small_stack(|| {
            let n = 100_000;
            let texts = [
                "(".repeat(n),
                format!("{}1{}", "(".repeat(n), ")".repeat(n)),
                format!("{}1", "abs(".repeat(n / 2)),
                format!("{}x", "-".repeat(n)),
                format!("{}1", "1^".repeat(n)),
                format!("{}x", "x+".repeat(n)),
                format!("x{}", "[1m:1m]".repeat(n / 4)),
                format!("x[{}1{}]", "(".repeat(n), ")".repeat(n)),
                format!("x[{}1]", "1+".repeat(n)),
                format!("x[{}1]", "-".repeat(n)),
                "sum(".repeat(n / 2),
                "{".repeat(n),
                "a".repeat(TEXT_BYTES_MAX + 1),
            ];
            for text in texts {
                let error = parse(&text, Features { duration_expressions: true, ..Features::default() });
                assert!(error.is_err(), "{} …", &text[..20]);
            }
        });
    }

    #[test]
    fn the_deepest_trees_are_parsed_printed_and_dropped_on_a_small_stack() {
        on_small_stack(|| {
            let nested = format!("{}x{}", "(".repeat(NESTING_MAX - 1), ")".repeat(NESTING_MAX - 1));
            let chain = format!("{}x", "x + ".repeat(NODE_DEPTH_MAX - 1));
            let powers = format!("{}1", "2 ^ ".repeat(NESTING_MAX - 1));
            for text in [nested, chain, powers] {
                let expr = parse(&text, Features::default()).expect("within the bounds");
                assert_eq!(expr.to_string(), text);
                assert_eq!(expr.clone(), expr);
                assert!(!super::super::prettify(&expr).is_empty());
            }
        });
    }

    #[test]
    fn operators_group_as_in_prometheus() {
        let cases = [
            ("1 + 2 * 3", "(1 + (2 * 3))"),
            ("1 - 2 - 3", "((1 - 2) - 3)"),
            ("2 ^ 3 ^ 4", "(2 ^ (3 ^ 4))"),
            ("-1 ^ 2", "-(1 ^ 2)"),
            ("-x ^ 2", "-(x ^ 2)"),
            ("-x * 2", "(-x * 2)"),
            ("2 ^ -x * 3", "((2 ^ -x) * 3)"),
            ("a or b and c unless d", "(a or ((b and c) unless d))"),
            ("a == b + c", "(a == (b + c))"),
            ("a atan2 b * c", "((a atan2 b) * c)"),
            ("a > bool b or c", "((a > b) or c)"),
            ("--1", "1"),
            ("a offset 5m - 8", "(a offset 5m - 8)"),
            ("a offset -1 ^ 2", "(a offset -1s ^ 2)"),
        ];
        for (text, expected) in cases {
            let expr = parse(text, Features::default()).expect(text);
            assert_eq!(grouped(&expr), expected, "{text}");
        }
    }

    /// The expression with every binary operation in parentheses.
    fn grouped(expr: &Expr) -> String {
        match &expr.node {
            Node::Binary(binary) => {
                format!("({} {} {})", grouped(&binary.lhs), binary.op.as_str(), grouped(&binary.rhs))
            }
            Node::Unary(UnaryOp::Minus, operand) => format!("-{}", grouped(operand)),
            _ => expr.to_string(),
        }
    }

    #[test]
    fn spans_cover_what_they_name() {
        let text = " sum by (a) (rate(x{b=\"c\"}[5m] offset 1m)) + ( y @ start() )";
        let expr = parse(text, Features::default()).expect(text);
        let of = |span: Span| &text[span.start..span.end];
        let Node::Binary(binary) = &expr.node else { panic!("{expr}") };
        let Node::Aggregate(sum) = &binary.lhs.node else { panic!("{expr}") };
        let Node::Call(rate) = &sum.expr.node else { panic!("{expr}") };
        let Node::MatrixSelector(matrix) = &rate.args[0].node else { panic!("{expr}") };
        let Node::Paren(paren) = &binary.rhs.node else { panic!("{expr}") };
        assert_eq!(of(expr.span), text.trim());
        assert_eq!(of(binary.lhs.span), "sum by (a) (rate(x{b=\"c\"}[5m] offset 1m))");
        assert_eq!(of(sum.expr.span), "rate(x{b=\"c\"}[5m] offset 1m)");
        assert_eq!(of(rate.args[0].span), "x{b=\"c\"}[5m] offset 1m");
        assert_eq!(of(matrix.selector_span), "x{b=\"c\"}");
        assert_eq!(of(binary.rhs.span), "( y @ start() )");
        assert_eq!(of(paren.span), "y @ start()");
    }

    #[test]
    fn errors_say_where_and_what() {
        let cases = [
            ("", "1:1: parse error: no expression found in input"),
            ("a\n + é", "2:4: parse error: unexpected character: 'é'"),
            ("a{b=\"x\u{fffd}\"}", "1:5: parse error: invalid UTF-8 rune; write \\ufffd for the character U+FFFD"),
            ("sum(x", "1:6: parse error: unclosed left parenthesis; expected \")\""),
            ("foo{a=b}", "1:7: parse error: unexpected identifier \"b\"; expected a quoted string in label matching"),
            (
                "rate(x)",
                "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
            ),
            ("nope(x)", "1:1: parse error: unknown function with name \"nope\""),
            (
                "mad_over_time(x[1m])",
                "1:1: parse error: function \"mad_over_time\" is experimental and must be enabled with --enable-feature=promql-experimental-functions",
            ),
            (
                "x[1m+1m]",
                "1:3: parse error: duration expressions are experimental and must be enabled with --enable-feature=promql-duration-expr",
            ),
        ];
        for (text, expected) in cases {
            let error = parse(text, Features::default()).expect_err(text);
            assert_eq!(error.to_string(), expected, "{text}");
        }
    }
}
