//! The tree of a template, and how errors quote its parts.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

/// A parsed template with the templates defined in it.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// What is executed.
    pub main: Vec<Node>,
    /// `define` and `block`, by name.
    pub defined: BTreeMap<String, Vec<Node>>,
}

/// One step of a template.
#[derive(Debug)]
pub(super) enum Node {
    /// Literal text.
    Text(String),
    /// `{{pipeline}}`
    Action(Pipe),
    /// `{{if}}`, `{{with}}`, `{{range}}`
    Branch(Box<Branch>),
    /// `{{template "name" pipeline}}`
    Call(Invocation),
    /// `{{break}}`
    Break,
    /// `{{continue}}`
    Continue,
}

/// What decides over two lists of nodes.
#[derive(Debug)]
pub(super) struct Branch {
    pub kind: BranchKind,
    pub pipe: Pipe,
    pub then: Vec<Node>,
    pub otherwise: Vec<Node>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BranchKind {
    If,
    With,
    Range,
}

/// `{{template "name" pipeline}}`
#[derive(Debug)]
pub(super) struct Invocation {
    pub position: usize,
    pub name: String,
    pub quoted: String,
    pub pipe: Option<Pipe>,
}

/// Commands joined by `|`, with the variables that take the result.
#[derive(Debug)]
pub(super) struct Pipe {
    pub position: usize,
    /// Names with their dollar.
    pub variables: Vec<String>,
    /// `=` rather than `:=`.
    pub is_assignment: bool,
    pub commands: Vec<Command>,
}

/// A function or value with its arguments.
#[derive(Debug)]
pub(super) struct Command {
    pub position: usize,
    pub operands: Vec<Operand>,
}

/// One word of a command.
#[derive(Debug)]
pub(super) struct Operand {
    pub position: usize,
    pub kind: OperandKind,
}

#[derive(Debug)]
pub(super) enum OperandKind {
    Dot,
    Nil,
    Bool(bool),
    Number(Number),
    /// As written, and its value.
    Text(String, String),
    /// `.a.b`
    Field(Vec<String>),
    /// `$a.b.c`: the variable with its dollar, and fields.
    Variable(String, Vec<String>),
    /// A function.
    Function(String),
    /// `(pipeline)`
    Pipe(Box<Pipe>),
    /// `(pipeline).a.b`
    Chain(Box<Operand>, Vec<String>),
}

/// A number as written and as read; its form decides over its type, as in Go.
#[derive(Debug)]
pub(super) struct Number {
    pub text: String,
    pub value: NumberValue,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum NumberValue {
    Int(i64),
    Float(f64),
    /// A whole number beyond an int.
    TooLarge,
}

impl Display for Pipe {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            write!(f, "{} {} ", self.variables.join(", "), if self.is_assignment { "=" } else { ":=" })?;
        }
        join(f, &self.commands, " | ")
    }
}

impl Display for Command {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        join(f, &self.operands, " ")
    }
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            OperandKind::Dot => f.write_str("."),
            OperandKind::Nil => f.write_str("nil"),
            OperandKind::Bool(value) => write!(f, "{value}"),
            OperandKind::Number(number) => f.write_str(&number.text),
            OperandKind::Text(quoted, _) => f.write_str(quoted),
            OperandKind::Field(names) => fields(f, names),
            OperandKind::Variable(name, names) => {
                f.write_str(name)?;
                fields(f, names)
            }
            OperandKind::Function(name) => f.write_str(name),
            OperandKind::Pipe(pipe) => write!(f, "({pipe})"),
            OperandKind::Chain(inner, names) => {
                write!(f, "{inner}")?;
                fields(f, names)
            }
        }
    }
}

impl Display for Invocation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.pipe {
            Some(pipe) => write!(f, "{{{{template {} {pipe}}}}}", self.quoted),
            None => write!(f, "{{{{template {}}}}}", self.quoted),
        }
    }
}

fn fields(f: &mut Formatter<'_>, names: &[String]) -> fmt::Result {
    names.iter().try_for_each(|name| write!(f, ".{name}"))
}

fn join<T: Display>(f: &mut Formatter<'_>, items: &[T], separator: &str) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        f.write_str(if index == 0 { "" } else { separator })?;
        item.fmt(f)?;
    }
    Ok(())
}
