//! Tokens to tree. What is wrong with a template whatever its data is found here: unknown functions
//! and variables, missing ends, values in the place of functions.

use super::ast::{
    Branch, BranchKind, Command, Invocation, Node, Number, NumberValue, Operand, OperandKind, Pipe, Tree,
};
use super::lexer::{self, Kind, Token};
use super::{NESTING_MAX, TEXT_BYTES_MAX, functions};
use crate::promql::unquote;

/// Reads a template; fails with the place and the reason.
pub(super) fn parse(text: &str) -> Result<Tree, (usize, String)> {
    if text.len() > TEXT_BYTES_MAX {
        return Err((0, format!("template of {} bytes is longer than the {TEXT_BYTES_MAX} that are read", text.len())));
    }
    let tokens = lexer::tokens(text)?;
    let variables = vec!["$".to_owned()];
    let mut parser = Parser { text, tokens, next: 0, variables, tree: Tree::default(), ranges: 0, nesting: 0 };
    let (main, end) = parser.list(true)?;
    match end {
        Ending::End(position) => Err((position, "unexpected {{end}}".to_owned())),
        Ending::Else(position) => Err((position, "unexpected {{else}}".to_owned())),
        Ending::Text => {
            parser.tree.main = main;
            Ok(parser.tree)
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    next: usize,
    /// The variables in scope.
    variables: Vec<String>,
    tree: Tree,
    /// How many `range` the current place is within.
    ranges: usize,
    nesting: usize,
}

type Parsed<T> = Result<T, (usize, String)>;

/// What ended a list of nodes.
#[derive(Clone, Copy)]
enum Ending {
    Text,
    End(usize),
    Else(usize),
}

impl Parser<'_> {
    /// Nodes up to an `end`, an `else` or the end of the text.
    fn list(&mut self, is_top: bool) -> Parsed<(Vec<Node>, Ending)> {
        self.enter()?;
        let mut nodes = Vec::new();
        let ending = loop {
            let token = self.take();
            match token.kind {
                Kind::Text => nodes.push(Node::Text(self.text[token.range].to_owned())),
                Kind::Open => {
                    let keyword = self.peek_after_space();
                    let position = keyword.range.start;
                    match self.keyword(&keyword) {
                        "end" => break self.ending(Ending::End(position))?,
                        "else" => break self.else_ending(position)?,
                        "define" if is_top => self.definition()?,
                        _ => nodes.push(self.action()?),
                    }
                }
                _ => break Ending::Text,
            }
        };
        self.nesting -= 1;
        Ok((nodes, ending))
    }

    fn ending(&mut self, ending: Ending) -> Parsed<Ending> {
        self.take_after_space();
        self.expect_close("end")?;
        Ok(ending)
    }

    /// `{{else}}`; of `{{else if …}}` the rest is left to the branch that it ends.
    fn else_ending(&mut self, position: usize) -> Parsed<Ending> {
        self.take_after_space();
        let next = self.peek_after_space();
        if !matches!(self.keyword(&next), "if" | "with") {
            self.expect_close("else")?;
        }
        Ok(Ending::Else(position))
    }

    /// `{{define "name"}}…{{end}}`
    fn definition(&mut self) -> Parsed<()> {
        self.take_after_space();
        let (_, name, _) = self.template_name("define clause")?;
        self.expect_close("define clause")?;
        self.body(name, "define clause")
    }

    /// The nodes of a defined template, in which no outer variable is known.
    fn body(&mut self, name: String, context: &str) -> Parsed<()> {
        let outer = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let ranges = std::mem::take(&mut self.ranges);
        let (nodes, ending) = self.list(false)?;
        self.expect_end(ending, context)?;
        (self.variables, self.ranges) = (outer, ranges);
        self.tree.defined.insert(name, nodes);
        Ok(())
    }

    fn expect_end(&self, ending: Ending, context: &str) -> Parsed<()> {
        match ending {
            Ending::End(_) => Ok(()),
            Ending::Else(position) => Err((position, format!("unexpected {{{{else}}}} in {context}"))),
            Ending::Text => Err((self.text.len(), "unexpected EOF".to_owned())),
        }
    }

    fn action(&mut self) -> Parsed<Node> {
        let first = self.peek_after_space();
        let keyword = self.keyword(&first);
        match keyword {
            "if" | "with" | "range" => {
                self.take_after_space();
                self.branch(match keyword {
                    "if" => BranchKind::If,
                    "with" => BranchKind::With,
                    _ => BranchKind::Range,
                })
            }
            "template" => {
                self.take_after_space();
                Ok(Node::Call(self.invocation("template clause")?))
            }
            "block" => self.block(),
            "break" | "continue" => {
                self.take_after_space();
                if self.ranges == 0 {
                    return Err((first.range.start, format!("{{{{{keyword}}}}} outside {{{{range}}}}")));
                }
                self.expect_close(keyword)?;
                Ok(if keyword == "break" { Node::Break } else { Node::Continue })
            }
            _ => Ok(Node::Action(self.pipe("command", Kind::Close)?)),
        }
    }

    /// `{{block "name" pipeline}}…{{end}}`: a definition and its use.
    fn block(&mut self) -> Parsed<Node> {
        self.take_after_space();
        let invocation = self.invocation("block clause")?;
        self.body(invocation.name.clone(), "block clause")?;
        Ok(Node::Call(invocation))
    }

    fn invocation(&mut self, context: &str) -> Parsed<Invocation> {
        let (position, name, quoted) = self.template_name(context)?;
        let next = self.peek_after_space();
        let pipe = if next.kind == Kind::Close {
            self.take_after_space();
            None
        } else {
            Some(self.pipe(context, Kind::Close)?)
        };
        Ok(Invocation { position, name, quoted, pipe })
    }

    fn template_name(&mut self, context: &str) -> Parsed<(usize, String, String)> {
        let token = self.take_after_space();
        if !matches!(token.kind, Kind::Text2 | Kind::RawText) {
            return Err(self.unexpected(&token, context));
        }
        let name = self.unquoted(&token)?;
        Ok((token.range.start, name, self.text[token.range].to_owned()))
    }

    fn branch(&mut self, kind: BranchKind) -> Parsed<Node> {
        self.enter()?;
        let scope = self.variables.len();
        let context = match kind {
            BranchKind::If => "if",
            BranchKind::With => "with",
            BranchKind::Range => "range",
        };
        let pipe = self.pipe(context, Kind::Close)?;
        self.ranges += usize::from(kind == BranchKind::Range);
        let (then, ending) = self.list(false)?;
        self.ranges -= usize::from(kind == BranchKind::Range);
        let otherwise = match ending {
            Ending::End(_) => Vec::new(),
            Ending::Else(_) => self.otherwise(kind)?,
            Ending::Text => return Err((self.text.len(), "unexpected EOF".to_owned())),
        };
        self.variables.truncate(scope);
        self.nesting -= 1;
        Ok(Node::Branch(Box::new(Branch { kind, pipe, then, otherwise })))
    }

    /// What follows `else`: nodes and an `end`, or another branch that the same `end` ends.
    fn otherwise(&mut self, kind: BranchKind) -> Parsed<Vec<Node>> {
        let next = self.peek_after_space();
        let chained = match (kind, self.keyword(&next)) {
            (BranchKind::If, "if") => Some(BranchKind::If),
            (BranchKind::With, "with") => Some(BranchKind::With),
            (_, "if" | "with") => return Err(self.unexpected(&next, "else")),
            _ => None,
        };
        if let Some(kind) = chained {
            self.take_after_space();
            return Ok(vec![self.branch(kind)?]);
        }
        let (nodes, ending) = self.list(false)?;
        match ending {
            Ending::Else(position) => Err((position, "expected end; found {{else}}".to_owned())),
            other => self.expect_end(other, "else").map(|()| nodes),
        }
    }

    /// A pipeline up to its end: the closing delimiter or a parenthesis.
    fn pipe(&mut self, context: &str, end: Kind) -> Parsed<Pipe> {
        self.enter()?;
        let position = self.peek_after_space().range.start;
        let (variables, is_assignment) = self.declarations(context)?;
        let mut pipe = Pipe { position, variables, is_assignment, commands: Vec::new() };
        loop {
            let token = self.peek_after_space();
            match token.kind {
                Kind::Close if end == Kind::Close => break,
                Kind::Sign if end == Kind::Sign && self.is_sign(&token, ")") => break,
                Kind::Sign if !self.is_sign(&token, "(") => return Err(self.unexpected(&token, context)),
                Kind::Close | Kind::Declare | Kind::Assign | Kind::End => return Err(self.unexpected(&token, context)),
                Kind::Keyword if self.keyword(&token) != "nil" => return Err(self.unexpected(&token, context)),
                _ => pipe.commands.push(self.command()?),
            }
        }
        self.take_after_space();
        check_pipe(&pipe, context)?;
        self.nesting -= 1;
        Ok(pipe)
    }

    /// `$x :=`, `$x =`, and for ranges `$i, $x :=`.
    fn declarations(&mut self, context: &str) -> Parsed<(Vec<String>, bool)> {
        let start = self.next;
        let mut names = Vec::new();
        while self.peek_after_space().kind == Kind::Variable {
            let token = self.take_after_space();
            names.push(self.text[token.range.clone()].to_owned());
            let next = self.peek_after_space();
            match next.kind {
                Kind::Declare | Kind::Assign => {
                    self.take_after_space();
                    let is_assignment = next.kind == Kind::Assign;
                    // Also what is only assigned is known from here on: whether there is such a variable is looked at
                    // when the template is used, as in Go.
                    self.variables.extend(names.iter().cloned());
                    return Ok((names, is_assignment));
                }
                Kind::Sign if self.is_sign(&next, ",") => {
                    if context != "range" || names.len() > 1 {
                        return Err((next.range.start, format!("too many declarations in {context}")));
                    }
                    self.take_after_space();
                }
                _ => break,
            }
        }
        // No declaration: the variable is the first operand.
        self.next = start;
        Ok((Vec::new(), false))
    }

    /// Operands separated by blanks, up to `|` or the end of the pipeline.
    fn command(&mut self) -> Parsed<Command> {
        let position = self.peek_after_space().range.start;
        let mut operands = Vec::new();
        loop {
            self.peek_after_space();
            operands.extend(self.operand()?);
            let next = self.take();
            match next.kind {
                Kind::Space => {}
                Kind::Close => {
                    self.next -= 1;
                    break;
                }
                Kind::Sign if self.is_sign(&next, "|") => break,
                Kind::Sign if self.is_sign(&next, ")") => {
                    self.next -= 1;
                    break;
                }
                _ => return Err(self.unexpected(&next, "operand")),
            }
        }
        if operands.is_empty() {
            return Err((position, "empty command".to_owned()));
        }
        Ok(Command { position, operands })
    }

    /// A term with the fields behind it.
    fn operand(&mut self) -> Parsed<Option<Operand>> {
        let Some(mut operand) = self.term()? else {
            return Ok(None);
        };
        let position = self.tokens[self.next].range.start;
        let mut names = Vec::new();
        while self.tokens[self.next].kind == Kind::Field {
            let token = self.take();
            names.push(self.text[token.range.start + 1..token.range.end].to_owned());
        }
        if names.is_empty() {
            return Ok(Some(operand));
        }
        match &mut operand.kind {
            OperandKind::Field(fields) | OperandKind::Variable(_, fields) => {
                fields.extend(names);
                operand.position = position;
            }
            OperandKind::Pipe(_) | OperandKind::Function(_) => {
                operand = Operand { position, kind: OperandKind::Chain(Box::new(operand), names) };
            }
            _ => {
                let term = operand.to_string();
                return Err((position, format!("unexpected . after term {term:?}")));
            }
        }
        Ok(Some(operand))
    }

    fn term(&mut self) -> Parsed<Option<Operand>> {
        let token = self.peek_after_space();
        let position = token.range.start;
        let text = self.text[token.range.clone()].to_owned();
        let kind = match token.kind {
            Kind::Identifier if functions::exists(&text) => OperandKind::Function(text),
            Kind::Identifier => return Err((position, format!("function {text:?} not defined"))),
            Kind::Bool => OperandKind::Bool(text == "true"),
            Kind::Keyword if text == "nil" => OperandKind::Nil,
            Kind::Dot => OperandKind::Dot,
            Kind::Field => OperandKind::Field(vec![text[1..].to_owned()]),
            Kind::Variable if self.variables.contains(&text) => OperandKind::Variable(text, Vec::new()),
            Kind::Variable => return Err((position, format!("undefined variable {text:?}"))),
            Kind::Number => OperandKind::Number(number(&text).map_err(|reason| (position, reason))?),
            Kind::Text2 | Kind::RawText => {
                let value = self.unquoted(&token)?;
                OperandKind::Text(text, value)
            }
            Kind::Sign if text == "(" => {
                self.take_after_space();
                let pipe = Box::new(self.pipe("parenthesized pipeline", Kind::Sign)?);
                return Ok(Some(Operand { position, kind: OperandKind::Pipe(pipe) }));
            }
            _ => return Ok(None),
        };
        self.take_after_space();
        Ok(Some(Operand { position, kind }))
    }

    fn unquoted(&self, token: &Token) -> Parsed<String> {
        unquote(&self.text[token.range.clone()]).map_err(|reason| (token.range.start, reason))
    }
}

/// Moving from token to token.
impl Parser<'_> {
    fn enter(&mut self) -> Parsed<()> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            let position = self.tokens[self.next].range.start;
            return Err((position, format!("template nests deeper than {NESTING_MAX} levels")));
        }
        Ok(())
    }

    /// The current token; moves on unless it is the last.
    fn take(&mut self) -> Token {
        let token = self.tokens[self.next].clone();
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }

    fn take_after_space(&mut self) -> Token {
        self.peek_after_space();
        self.take()
    }

    /// The token behind white space, which is skipped.
    fn peek_after_space(&mut self) -> Token {
        while self.tokens[self.next].kind == Kind::Space {
            self.next += 1;
        }
        self.tokens[self.next].clone()
    }

    /// The keyword that a token is, or nothing.
    fn keyword(&self, token: &Token) -> &'static str {
        let text = &self.text[token.range.clone()];
        let words = ["block", "break", "continue", "define", "else", "end", "if", "nil", "range", "template", "with"];
        match token.kind {
            Kind::Keyword => words.into_iter().find(|word| *word == text).unwrap_or(""),
            _ => "",
        }
    }

    fn is_sign(&self, token: &Token, sign: &str) -> bool {
        token.kind == Kind::Sign && &self.text[token.range.clone()] == sign
    }

    fn expect_close(&mut self, context: &str) -> Parsed<()> {
        let token = self.take_after_space();
        if token.kind == Kind::Close { Ok(()) } else { Err(self.unexpected(&token, context)) }
    }

    fn unexpected(&self, token: &Token, context: &str) -> (usize, String) {
        let text = &self.text[token.range.clone()];
        let what = match token.kind {
            Kind::End => "EOF".to_owned(),
            Kind::Keyword => format!("<{text}>"),
            _ if text.chars().count() > 10 => format!("{:?}...", text.chars().take(10).collect::<String>()),
            _ => format!("{text:?}"),
        };
        (token.range.start, format!("unexpected {what} in {context}"))
    }
}

/// A pipeline does something, and from its second stage on it calls functions.
fn check_pipe(pipe: &Pipe, context: &str) -> Parsed<()> {
    if pipe.commands.is_empty() {
        return Err((pipe.position, format!("missing value for {context}")));
    }
    let is_value = |operand: &Operand| {
        use OperandKind::{Bool, Dot, Nil, Number, Text};
        matches!(operand.kind, Bool(_) | Dot | Nil | Number(_) | Text(..))
    };
    let mut stages = pipe.commands.iter().enumerate().skip(1);
    match stages.find(|(_, command)| command.operands.first().is_some_and(is_value)) {
        Some((index, command)) => {
            Err((command.position, format!("non executable command in pipeline stage {}", index + 1)))
        }
        None => Ok(()),
    }
}

fn number(text: &str) -> Result<Number, String> {
    let illegal = || format!("illegal number syntax: {text:?}");
    let value = if text.starts_with('\'') {
        character(text).ok_or_else(|| format!("malformed character constant: {text}"))?
    } else if text.contains(|c: char| is_name_behind_number(text, c)) {
        return Err(format!("bad number syntax: {text:?}"));
    } else {
        numeric(text).ok_or_else(illegal)?
    };
    Ok(Number { text: text.to_owned(), value })
}

/// Whether `c` is a letter that no number contains.
fn is_name_behind_number(text: &str, c: char) -> bool {
    let is_hex = text.trim_start_matches(['+', '-']).to_ascii_lowercase().starts_with("0x");
    let allowed = if is_hex { "xXabcdefABCDEFpP_" } else { "eEbBoO_" };
    c.is_alphabetic() && !allowed.contains(c)
}

/// `'a'`, as its code.
fn character(text: &str) -> Option<NumberValue> {
    let inner = text.strip_prefix('\'')?.strip_suffix('\'')?;
    let quoted = format!("\"{}\"", inner.replace("\\'", "'").replace('"', "\\\""));
    let value = unquote(&quoted).ok()?;
    let mut chars = value.chars();
    let first = chars.next()?;
    chars.next().is_none().then_some(NumberValue::Int(i64::from(u32::from(first))))
}

fn numeric(text: &str) -> Option<NumberValue> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let is_hex = lower.starts_with("0x");
    let is_float = lower.contains('.') || (lower.contains('e') && !is_hex);
    let plain = lower.replace('_', "");
    if is_float {
        let value = crate::model::parse_float(&plain)?;
        return Some(NumberValue::Float(sign * value));
    }
    let (radix, whole) = match plain.get(..2) {
        Some("0x") => (16, &plain[2..]),
        Some("0b") => (2, &plain[2..]),
        Some("0o") => (8, &plain[2..]),
        _ if plain.len() > 1 && plain.starts_with('0') => (8, &plain[1..]),
        _ => (10, plain.as_str()),
    };
    let value = i128::from_str_radix(whole, radix).ok()? * sign as i128;
    Some(i64::try_from(value).map_or(NumberValue::TooLarge, NumberValue::Int))
}
