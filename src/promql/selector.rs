//! Selectors: names, matchers, and the modifiers behind them; also label lists and the label
//! notation of rule unit tests.

use crate::model::{Labels, LabelsBuilder, METRIC_NAME, MatchOp, Matcher, Timestamp};

use super::ast::{
    AtModifier, Expr, Extent, MatrixSelector, Node, RangeExtension, Span, Subquery, ValueType, VectorSelector,
};
use super::keyword;
use super::lexer::Kind;
use super::parser::{Parser, Tree};
use super::{Features, ParseError};

/// Reads a selector that names something: at least one of its matchers refuses the empty text.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    let (matchers, span) = plain_selector(text)?;
    require_non_empty(&matchers).map_err(|message| ParseError::at(text, span, message))?;
    Ok(matchers)
}

/// Reads a selector that may match everything, such as `{__name__=~".*"}`: what `/federate` takes.
pub fn parse_wide_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    match plain_selector(text)? {
        (matchers, span) if matchers.is_empty() => {
            let message = "a selector must name something, such as {job=\"node\"} or {__name__=~\".*\"}";
            Err(ParseError::at(text, span, message))
        }
        (matchers, _) => Ok(matchers),
    }
}

/// Reads any selector, `{}` too.
pub fn parse_any_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    plain_selector(text).map(|(matchers, _)| matchers)
}

fn plain_selector(text: &str) -> Result<(Vec<Matcher>, Span), ParseError> {
    let mut parser = Parser::new(text, Features::default())?;
    let (selector, span) = parser.plain_selector()?;
    parser.expect_end()?;
    Ok((selector.matchers, span))
}

/// Reads the labels of a series in the notation of rule unit tests:
/// `metric{a="b", "utf8.name"="x"}` or `{"utf8.metric", a="b"}`.
pub fn parse_series_description(text: &str) -> Result<Labels, ParseError> {
    let mut parser = Parser::new(text, Features::default())?;
    let (selector, span) = parser.plain_selector()?;
    parser.expect_end()?;
    let mut labels = LabelsBuilder::default();
    for matcher in &selector.matchers {
        if matcher.op() != MatchOp::Equal {
            let operator = matcher.op().as_str();
            return Err(parser.error_at(span, format!("unexpected {operator:?} in a label set; expected \"=\"")));
        }
        if labels.get(matcher.name()).is_some() {
            return Err(parser.error_at(span, format!("label {:?} is set twice", matcher.name())));
        }
        labels.set(matcher.name(), matcher.value());
    }
    Ok(labels.build())
}

impl Parser<'_> {
    /// A vector selector; it must not match everything.
    pub fn selector(&mut self) -> Result<Tree, ParseError> {
        let (selector, span) = self.plain_selector()?;
        let result = match &selector.name {
            Some(name) => require_one_name(name, &selector.matchers),
            None => require_non_empty(&selector.matchers),
        };
        result.map_err(|message| self.error_at(span, message))?;
        Ok(Tree::leaf(Node::VectorSelector(selector), span, ValueType::InstantVector))
    }

    /// `{…}` alone, with modifiers; it may match everything.
    pub fn label_selector(&mut self) -> Result<Tree, ParseError> {
        let (selector, span) = self.plain_selector()?;
        let mut tree = Tree::leaf(Node::VectorSelector(selector), span, ValueType::InstantVector);
        while self.starts_modifier() && !self.token.is("[") {
            tree = self.modified(tree)?;
        }
        Ok(tree)
    }

    fn plain_selector(&mut self) -> Result<(VectorSelector, Span), ParseError> {
        let start = self.token.span.start;
        let mut selector =
            VectorSelector { name: None, matchers: Vec::new(), offset: Extent::Millis(0), at: None, extension: None };
        if self.token.kind == Kind::Word && keyword::may_name_metric(self.token_text()) {
            let name = self.token_text();
            self.advance()?;
            selector.matchers.push(Matcher::equal(METRIC_NAME, name));
            selector.name = Some(name.to_owned());
        } else if !self.token.is("{") {
            return Err(self.unexpected("a metric name or \"{\""));
        }
        if self.skip("{")? {
            self.matchers(&mut selector.matchers)?;
        }
        Ok((selector, Span { start, end: self.last_end }))
    }

    fn matchers(&mut self, matchers: &mut Vec<Matcher>) -> Result<(), ParseError> {
        while !self.token.is("}") {
            matchers.push(self.matcher()?);
            if !self.skip(",")? && !self.token.is("}") {
                return Err(self.unexpected("\",\" or \"}\" in label matching"));
            }
        }
        self.advance()
    }

    fn matcher(&mut self) -> Result<Matcher, ParseError> {
        let start = self.token.span.start;
        let is_quoted = self.token.kind == Kind::Text;
        let name = match self.token.kind {
            Kind::Text => self.take_text()?,
            Kind::Word => {
                let name = self.token_text().to_owned();
                self.advance()?;
                name
            }
            _ => return Err(self.unexpected("a label name or \"}\" in label matching")),
        };
        let op = match self.token.kind {
            Kind::Sign("=") => MatchOp::Equal,
            Kind::Sign("!=") => MatchOp::NotEqual,
            Kind::Sign("=~") => MatchOp::Regex,
            Kind::Sign("!~") => MatchOp::NotRegex,
            // A quoted name alone is the metric's.
            _ if is_quoted => return Ok(Matcher::equal(METRIC_NAME, name)),
            _ => return Err(self.unexpected("a label matching operator: = != =~ !~")),
        };
        self.advance()?;
        if self.token.kind != Kind::Text {
            return Err(self.unexpected("a quoted string in label matching"));
        }
        let value = self.take_text()?;
        let span = Span { start, end: self.last_end };
        Matcher::new(op, name, value).map_err(|error| self.error_at(span, error.to_string()))
    }

    /// `(a, "b.c", …)`
    pub fn label_list(&mut self) -> Result<Vec<String>, ParseError> {
        self.expect("(", "\"(\" in grouping opts")?;
        let mut labels = Vec::new();
        while !self.token.is(")") {
            labels.push(self.label()?);
            if !self.skip(",")? && !self.token.is(")") {
                return Err(self.unexpected("\",\" or \")\" in grouping opts"));
            }
        }
        self.advance()?;
        Ok(labels)
    }

    fn label(&mut self) -> Result<String, ParseError> {
        let label = match self.token.kind {
            Kind::Word if keyword::may_name_label(self.token_text()) => {
                let label = self.token_text().to_owned();
                self.advance()?;
                label
            }
            Kind::Text if self.token_text().len() > 2 => self.take_text()?,
            _ => return Err(self.unexpected("a label name in grouping opts")),
        };
        Ok(label)
    }
}

/// Modifiers behind an operand.
impl Parser<'_> {
    /// Whether the current token starts a modifier: `[`, `@`, `offset`, `anchored`, `smoothed`.
    pub fn starts_modifier(&self) -> bool {
        match self.token.kind {
            Kind::Sign(sign) => sign == "[" || sign == "@",
            Kind::Word => keyword::is_one_of(self.token_text(), &["offset", "anchored", "smoothed"]),
            _ => false,
        }
    }

    /// Applies the modifier at the current token.
    pub fn modified(&mut self, tree: Tree) -> Result<Tree, ParseError> {
        match self.token.kind {
            Kind::Sign("[") => self.ranged(tree),
            Kind::Sign(_) => self.pinned(tree),
            _ if self.is_word("offset") => self.shifted(tree),
            _ => self.extended(tree),
        }
    }

    /// `[range]` or `[range:step]`
    fn ranged(&mut self, tree: Tree) -> Result<Tree, ParseError> {
        let bracket = self.token.span;
        self.advance()?;
        let range = self.positive_extent("a duration within brackets")?;
        if self.skip(":")? {
            let step =
                if self.token.is("]") { None } else { Some(self.positive_extent("a step or \"]\" within brackets")?) };
            self.expect("]", "\"]\" of the subquery")?;
            return self.subquery(tree, range, step);
        }
        self.expect("]", "\":\" or \"]\" behind the range")?;
        let brackets = Span { start: bracket.start, end: self.last_end };
        let Node::VectorSelector(selector) = tree.expr.node else {
            let message =
                "ranges only allowed for vector selectors; over an expression write a subquery such as [5m:1m]";
            return Err(self.error_at(brackets, message));
        };
        if selector.offset != Extent::Millis(0) {
            return Err(
                self.error_at(brackets, "no offset modifiers allowed before range; write it behind the brackets")
            );
        }
        if selector.at.is_some() {
            return Err(self.error_at(brackets, "no @ modifiers allowed before range; write it behind the brackets"));
        }
        let span = Span { start: tree.expr.span.start, end: self.last_end };
        let matrix = MatrixSelector { selector, selector_span: tree.expr.span, range };
        Ok(Tree::leaf(Node::MatrixSelector(Box::new(matrix)), span, ValueType::RangeVector))
    }

    fn subquery(&mut self, tree: Tree, range: Extent, step: Option<Extent>) -> Result<Tree, ParseError> {
        let span = Span { start: tree.expr.span.start, end: self.last_end };
        if tree.value_type != ValueType::InstantVector {
            let found = tree.value_type.as_str();
            return Err(self.error_at(span, format!("subquery is only allowed on instant vector, got {found} instead")));
        }
        let subquery = Subquery { expr: tree.expr, range, step, offset: Extent::Millis(0), at: None };
        let node = Node::Subquery(Box::new(subquery));
        self.bounded(Expr { node, span }, ValueType::RangeVector, tree.depth)
    }

    /// `offset 5m`
    fn shifted(&mut self, mut tree: Tree) -> Result<Tree, ParseError> {
        self.advance()?;
        let offset = self.offset_extent()?;
        let target = match &mut tree.expr.node {
            Node::VectorSelector(selector) => &mut selector.offset,
            Node::MatrixSelector(matrix) => &mut matrix.selector.offset,
            Node::Subquery(subquery) => &mut subquery.offset,
            _ => return Err(self.misplaced(tree.expr.span, "offset modifier")),
        };
        if *target != Extent::Millis(0) {
            return Err(self.error_at(tree.expr.span, "offset may not be set multiple times"));
        }
        *target = offset;
        tree.expr.span.end = self.last_end;
        Ok(tree)
    }

    /// `@ 1609746000`, `@ start()`, `@ end()`
    fn pinned(&mut self, mut tree: Tree) -> Result<Tree, ParseError> {
        self.advance()?;
        let at = self.at_modifier(tree.expr.span)?;
        let target = match &mut tree.expr.node {
            Node::VectorSelector(selector) => &mut selector.at,
            Node::MatrixSelector(matrix) => &mut matrix.selector.at,
            Node::Subquery(subquery) => &mut subquery.at,
            _ => return Err(self.misplaced(tree.expr.span, "@ modifier")),
        };
        if target.is_some() {
            return Err(self.error_at(tree.expr.span, "@ <timestamp> may not be set multiple times"));
        }
        *target = Some(at);
        tree.expr.span.end = self.last_end;
        Ok(tree)
    }

    fn at_modifier(&mut self, span: Span) -> Result<AtModifier, ParseError> {
        let edge = match self.token.kind {
            Kind::Word if self.is_word("start") => Some(AtModifier::Start),
            Kind::Word if self.is_word("end") => Some(AtModifier::End),
            _ => None,
        };
        if let Some(edge) = edge {
            self.advance()?;
            self.expect("(", "\"()\" behind start or end")?;
            self.expect(")", "\")\" behind start( or end(")?;
            return Ok(edge);
        }
        let seconds = self.signed_number("a timestamp in seconds, start() or end() behind @")?;
        // Beyond this the milliseconds would not fit.
        if !seconds.is_finite() || seconds.abs() >= i64::MAX as f64 {
            return Err(self.error_at(span, format!("timestamp out of bounds for @ modifier: {seconds}")));
        }
        Ok(AtModifier::At(Timestamp((seconds * 1000.0).round() as i64)))
    }

    /// `anchored`, `smoothed`
    fn extended(&mut self, mut tree: Tree) -> Result<Tree, ParseError> {
        let word = self.token_text();
        let flag = "promql-extended-range-selectors";
        self.require_feature(self.features.extended_range_selectors, "anchored and smoothed selectors", flag)?;
        let extension = if self.is_word("anchored") { RangeExtension::Anchored } else { RangeExtension::Smoothed };
        self.advance()?;
        let target = match &mut tree.expr.node {
            Node::VectorSelector(selector) => &mut selector.extension,
            Node::MatrixSelector(matrix) => &mut matrix.selector.extension,
            _ => return Err(self.error_at(tree.expr.span, format!("{word} must follow a vector or range selector"))),
        };
        if target.is_some_and(|present| present != extension) {
            return Err(self.error_at(tree.expr.span, "anchored and smoothed modifiers cannot be used together"));
        }
        *target = Some(extension);
        tree.expr.span.end = self.last_end;
        Ok(tree)
    }

    fn misplaced(&self, span: Span, what: &str) -> ParseError {
        let places = "an instant vector selector or range vector selector or a subquery";
        self.error_at(span, format!("{what} must be preceded by {places}"))
    }
}

fn require_one_name(name: &str, matchers: &[Matcher]) -> Result<(), String> {
    match matchers[1..].iter().find(|matcher| matcher.name() == METRIC_NAME) {
        Some(other) => Err(format!("metric name must not be set twice: {name:?} or {:?}", other.value())),
        None => Ok(()),
    }
}

fn require_non_empty(matchers: &[Matcher]) -> Result<(), String> {
    if matchers.iter().any(|matcher| !matcher.matches_empty()) {
        return Ok(());
    }
    Err("vector selector must contain at least one non-empty matcher, such as {job=\"node\"} or {job=~\".+\"}"
        .to_owned())
}
