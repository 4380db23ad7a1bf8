//! What a pattern amounts to, where that is simpler than a regular expression.

use regex_syntax::hir::{Class, Hir, HirKind};

/// How many literals a set may have that is worked out from groups and classes.
const LITERALS_MAX: usize = 256;

/// A pattern that needs no engine, or the fact that it needs one.
pub(super) enum Shape {
    /// One of these, sorted.
    Literals(Vec<String>),
    /// One of these in front, then at least so many characters.
    Prefix(Vec<String>, usize),
    /// At least so many characters, then one of these.
    Suffix(usize, Vec<String>),
    /// One of these with at least so many characters on either side.
    Contains(usize, Vec<String>, usize),
    /// At least so many characters.
    Anything(usize),
    /// One of several shapes, none of which needs an engine.
    Either(Vec<Shape>),
    /// Everything else.
    Engine,
}

impl Shape {
    /// The set of names in `a|b|c`, if the pattern has no other sign in it. This is what dashboards
    /// send for a choice of many values, so it is not parsed at all.
    pub fn of_plain_alternation(pattern: &str) -> Option<Self> {
        let is_special = |byte: u8| {
            matches!(byte, b'\\' | b'.' | b'+' | b'*' | b'?' | b'^' | b'$' | b'(' | b')')
                || matches!(byte, b'[' | b']' | b'{' | b'}')
        };
        let is_plain = !pattern.bytes().any(is_special);
        is_plain.then(|| Self::Literals(sorted(pattern.split('|').map(str::to_owned).collect())))
    }

    /// What a parsed pattern amounts to.
    pub fn of(hir: &Hir) -> Self {
        if let Some(literals) = literals(hir) {
            return Self::Literals(sorted(literals));
        }
        match hir.kind() {
            HirKind::Capture(capture) => Self::of(&capture.sub),
            HirKind::Alternation(branches) => Self::of_branches(branches),
            HirKind::Concat(parts) => Self::of_parts(parts),
            _ => wildcard(hir).map_or(Self::Engine, Self::Anything),
        }
    }

    fn of_branches(branches: &[Hir]) -> Self {
        let shapes: Vec<Self> = branches.iter().map(Self::of).collect();
        match shapes.iter().any(|shape| matches!(shape, Self::Engine)) {
            true => Self::Engine,
            false => Self::Either(shapes),
        }
    }

    /// A set of literals with wildcards in front of it, behind it, or both.
    fn of_parts(parts: &[Hir]) -> Self {
        let (front, parts) = match parts.split_first() {
            Some((first, rest)) if wildcard(first).is_some() => (wildcard(first), rest),
            _ => (None, parts),
        };
        let (back, parts) = match parts.split_last() {
            Some((last, rest)) if wildcard(last).is_some() => (wildcard(last), rest),
            _ => (None, parts),
        };
        let set = product(parts).map(sorted);
        match (front, set, back) {
            (None, Some(set), Some(back)) => Self::Prefix(set, back),
            (Some(front), Some(set), None) => Self::Suffix(front, set),
            (Some(front), Some(set), Some(back)) => Self::Contains(front, set, back),
            _ => Self::Engine,
        }
    }

    /// Whether `text` fits; `None` where an engine must tell.
    pub fn is_match(&self, text: &str) -> Option<bool> {
        Some(match self {
            Self::Literals(set) => set.binary_search_by(|literal| literal.as_str().cmp(text)).is_ok(),
            Self::Anything(least) => has_chars(text, *least),
            Self::Prefix(set, back) => {
                set.iter().any(|literal| text.strip_prefix(literal.as_str()).is_some_and(|rest| has_chars(rest, *back)))
            }
            Self::Suffix(front, set) => set
                .iter()
                .any(|literal| text.strip_suffix(literal.as_str()).is_some_and(|rest| has_chars(rest, *front))),
            Self::Contains(front, set, back) => set.iter().any(|literal| contains(text, *front, literal, *back)),
            Self::Either(shapes) => shapes.iter().any(|shape| shape.is_match(text) == Some(true)),
            Self::Engine => return None,
        })
    }
}

/// How many states an engine needs at most, roughly: what bounds the memory of building it.
pub(super) fn states(hir: &Hir) -> usize {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len(),
        // A range of characters is up to four ranges of bytes, each of up to four bytes.
        HirKind::Class(Class::Unicode(class)) => class.ranges().len().saturating_mul(4),
        HirKind::Class(Class::Bytes(class)) => class.ranges().len(),
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min).max(1) as usize;
            states(&repetition.sub).saturating_add(1).saturating_mul(times)
        }
        HirKind::Capture(capture) => states(&capture.sub).saturating_add(2),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().map(states).fold(1, usize::saturating_add),
    }
}

/// All texts that the pattern stands for, if they are few.
fn literals(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Empty => Some(vec![String::new()]),
        HirKind::Literal(literal) => Some(vec![std::str::from_utf8(&literal.0).ok()?.to_owned()]),
        HirKind::Class(Class::Unicode(class)) => {
            let count: usize = class.iter().map(|range| range.end() as usize - range.start() as usize + 1).sum();
            let chars = || class.iter().flat_map(|range| range.start()..=range.end());
            (count <= LITERALS_MAX).then(|| chars().map(String::from).collect())
        }
        HirKind::Repetition(repetition) if (repetition.min, repetition.max) == (0, Some(1)) => {
            let mut found = literals(&repetition.sub)?;
            found.push(String::new());
            Some(found)
        }
        HirKind::Capture(capture) => literals(&capture.sub),
        HirKind::Concat(parts) => product(parts),
        HirKind::Alternation(branches) => {
            let mut found = Vec::new();
            for branch in branches {
                found.extend(literals(branch)?);
                if found.len() > LITERALS_MAX {
                    return None;
                }
            }
            Some(found)
        }
        HirKind::Class(Class::Bytes(_)) | HirKind::Look(_) | HirKind::Repetition(_) => None,
    }
}

/// Every text of the first part followed by every text of the second, and so on.
fn product(parts: &[Hir]) -> Option<Vec<String>> {
    let mut found = vec![String::new()];
    for part in parts {
        let endings = literals(part)?;
        if found.len() * endings.len() > LITERALS_MAX {
            return None;
        }
        found = found.iter().flat_map(|start| endings.iter().map(move |end| format!("{start}{end}"))).collect();
    }
    Some(found)
}

/// How many characters `.*`, `.+` or `.{n,}` demands, if the pattern is such a wildcard.
fn wildcard(hir: &Hir) -> Option<usize> {
    match hir.kind() {
        HirKind::Capture(capture) => wildcard(&capture.sub),
        HirKind::Repetition(repetition) if repetition.max.is_none() && is_any(&repetition.sub) => {
            Some(repetition.min as usize)
        }
        _ => None,
    }
}

/// Whether the pattern is a dot that matches newlines too.
fn is_any(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Capture(capture) => is_any(&capture.sub),
        HirKind::Class(Class::Unicode(class)) => {
            matches!(class.ranges(), [range] if range.start() == '\0' && range.end() == char::MAX)
        }
        _ => false,
    }
}

fn contains(text: &str, front: usize, literal: &str, back: usize) -> bool {
    // Where the literal stands too early or too late, a later place may still do.
    text.char_indices()
        .map(|(index, _)| index)
        .chain([text.len()])
        .skip(front)
        .find(|index| text[*index..].starts_with(literal) && has_chars(&text[index + literal.len()..], back))
        .is_some()
}

fn has_chars(text: &str, least: usize) -> bool {
    match least {
        0 => true,
        1 => !text.is_empty(),
        _ => text.chars().nth(least - 1).is_some(),
    }
}

fn sorted(mut literals: Vec<String>) -> Vec<String> {
    literals.sort_unstable();
    literals.dedup();
    literals.shrink_to_fit();
    literals
}
