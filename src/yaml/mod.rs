//! YAML documents as trees that know where each value stands.
//!
//! A tree instead of serde structs, for three reasons: every message, also one about a value's meaning, can
//! name line, column and path; all mistakes of a file are reported at once; and scalars keep their
//! spelling, so that `1.10`, `017` and `no` stay what was written wherever text is wanted, while booleans
//! and numbers are read as in YAML 1.1, which Prometheus's files are written for.
//!
//! The only place that names the parser crate. Fails with the position of the first syntax error.

mod compose;
mod emit;
mod section;

pub use compose::{parse, parse_first};
pub use emit::{Tree, write};
pub use section::{Field, Problem, Report, Section};

/// Where a value starts; both count from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: u32,
    /// Column, in characters.
    pub column: u32,
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it starts.
    pub at: Position,
    /// What it is.
    pub value: Value,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// Text, a number or a boolean: told apart by who reads it.
    Scalar {
        /// The text after quotes and escapes are resolved.
        text: String,
        /// Written without quotes: may be a number or a boolean.
        plain: bool,
    },
    /// `!!binary`: bytes that need not be text.
    Binary(Vec<u8>),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file, merge keys resolved.
    Map(Vec<Entry>),
}

/// One key of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where the key stands.
    pub at: Position,
    /// The key.
    pub key: String,
    /// Its value.
    pub node: Node,
}

/// A text that is no YAML document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{}: {message}", at.line, at.column)]
pub struct YamlError {
    /// Where.
    pub at: Position,
    /// What is wrong.
    pub message: String,
}
