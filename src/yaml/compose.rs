//! From the parser's events to a tree: aliases are copied in, merge keys resolved, repeated keys refused.
//!
//! A tree holds at most [`NODES_MAX`] nodes, so that nested aliases cannot grow it without bound.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, StructureStyle, Tag};

use super::{Entry, Node, Position, Value, YamlError};
use crate::model::decode_base64_digits;

/// More than any sane configuration, far less than what hurts: about 100 MiB at worst.
const NODES_MAX: usize = 500_000;

/// Collections within collections.
const DEPTH_MAX: usize = 100;

/// Reads the one document of `text`; an empty text is [`Value::Null`].
pub fn parse(text: &str) -> Result<Node, YamlError> {
    Composer::new(text).document()
}

/// Reads the first document of `text` and does not look at what follows it, as Prometheus reads rule files.
pub fn parse_first(text: &str) -> Result<Node, YamlError> {
    let mut composer = Composer::new(text);
    loop {
        let (event, _) = composer.next()?;
        match event {
            Event::DocumentStart(..) => {
                let (event, span) = composer.next()?;
                return composer.node(event, &span);
            }
            Event::StreamEnd => return Ok(empty()),
            _ => {}
        }
    }
}

fn empty() -> Node {
    Node { at: Position { line: 1, column: 1 }, value: Value::Null }
}

struct Composer<'t> {
    events: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, Node>,
    nodes_left: usize,
    /// Lines that begin with a tab among blanks and dashes, and how far these reach.
    tabbed: HashMap<usize, usize>,
    /// Collections in brackets and braces that are open, within which tabs may stand.
    flow_depth: usize,
}

impl<'t> Composer<'t> {
    fn new(text: &'t str) -> Self {
        let mut options = granit_parser::options! { flow_nesting_limit: DEPTH_MAX, block_nesting_limit: DEPTH_MAX };
        options.set_emit_comments(false);
        let events = Parser::new_from_str_with_options(text, options);
        Self { events, anchors: HashMap::new(), nodes_left: NODES_MAX, tabbed: tabbed_lines(text), flow_depth: 0 }
    }

    fn document(&mut self) -> Result<Node, YamlError> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_some() => {
                    return Err(error(&span, "a second document; a file holds only one, remove the `---`"));
                }
                Event::DocumentStart(..) => {
                    let (event, span) = self.next()?;
                    root = Some(self.node(event, &span)?);
                }
                Event::StreamEnd => break,
                _ => return Err(error(&span, "content outside of the document")),
            }
        }
        Ok(root.unwrap_or_else(empty))
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), YamlError> {
        match self.events.next_event() {
            Some(Ok((event, span))) => {
                self.look_for_tabs(&event, &span)?;
                Ok((event, span))
            }
            Some(Err(scan)) => {
                let marker = scan.marker();
                let at = position_of(marker.line(), marker.col());
                Err(YamlError { at, message: format!("not valid YAML: {}", scan.info()) })
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    /// The parser is lenient where Prometheus's is not: before a key or an item no tab may stand.
    fn look_for_tabs(&mut self, event: &Event<'t>, span: &Span) -> Result<(), YamlError> {
        let is_start =
            matches!(event, Event::Scalar(..) | Event::Alias(..) | Event::SequenceStart(..) | Event::MappingStart(..));
        // The place of a text behind `|` is its first line's, in which a tab is text.
        let is_block = matches!(event, Event::Scalar(_, ScalarStyle::Literal | ScalarStyle::Folded, ..));
        let reach = self.tabbed.get(&span.start.line()).filter(|reach| span.start.col() <= **reach);
        if is_start && !is_block && self.flow_depth == 0 && reach.is_some() {
            return Err(error(span, "not valid YAML: a tab stands before this; indent with spaces"));
        }
        match event {
            Event::SequenceStart(style, ..) | Event::MappingStart(style, ..)
                if self.flow_depth > 0 || *style == StructureStyle::Flow =>
            {
                self.flow_depth += 1;
            }
            Event::SequenceEnd | Event::MappingEnd => self.flow_depth = self.flow_depth.saturating_sub(1),
            _ => {}
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'t>, span: &Span) -> Result<Node, YamlError> {
        self.nodes_left = self.nodes_left.checked_sub(1).ok_or_else(|| error(span, "too many values in one file"))?;
        let at = position(span);
        let (anchor, value) = match event {
            Event::Alias(id) => return self.alias(id, span),
            Event::Scalar(text, style, anchor, tag) => {
                let value = match tag.as_deref() {
                    None => scalar(&text, style == ScalarStyle::Plain),
                    Some(tag) if is_binary(tag) => binary(&text, span)?,
                    Some(tag) if tag.core_suffix().is_some() => scalar(&text, false),
                    Some(_) => return Err(error(span, "this tag is not supported; write the text itself")),
                };
                (anchor, value)
            }
            Event::SequenceStart(_, anchor, _) => (anchor, self.list()?),
            Event::MappingStart(_, anchor, _) => (anchor, self.map()?),
            _ => return Err(error(span, "a value is missing here")),
        };
        let node = Node { at, value };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, span: &Span) -> Result<Node, YamlError> {
        let node = self.anchors.get(&id).ok_or_else(|| error(span, "this alias stands inside its own anchor"))?;
        let copied = count(node);
        self.nodes_left =
            self.nodes_left.checked_sub(copied).ok_or_else(|| error(span, "aliases repeat too many values"))?;
        Ok(node.clone())
    }

    fn list(&mut self) -> Result<Value, YamlError> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::List(items));
            }
            items.push(self.node(event, &span)?);
        }
    }

    fn map(&mut self) -> Result<Value, YamlError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut merged: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key_node = self.node(event, &span)?;
            let at = key_node.at;
            let (key, plain) = key_text(key_node)?;
            let (event, span) = self.next()?;
            let node = self.node(event, &span)?;
            if key == "<<" && plain {
                merge_into(&mut merged, node)?;
                continue;
            }
            if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                let message = format!("key `{key}` is already set in line {}", first.at.line);
                return Err(YamlError { at, message });
            }
            entries.push(Entry { at, key, node });
        }
        merged.retain(|entry| !entries.iter().any(|own| own.key == entry.key));
        entries.append(&mut merged);
        Ok(Value::Map(entries))
    }
}

fn tabbed_lines(text: &str) -> HashMap<usize, usize> {
    let reach = |line: &str| line.bytes().take_while(|byte| b" \t-?".contains(byte)).count();
    let lines = (1..).zip(text.lines()).map(|(number, line)| (number, line, reach(line)));
    lines.filter(|(_, line, reach)| line[..*reach].contains('\t')).map(|(number, _, reach)| (number, reach)).collect()
}

/// Adds what `<<` names; earlier maps win over later ones, and the map's own keys over all.
fn merge_into(merged: &mut Vec<Entry>, node: Node) -> Result<(), YamlError> {
    let maps = match node.value {
        Value::List(items) => items,
        _ => vec![node],
    };
    for map in maps {
        let Value::Map(entries) = map.value else {
            return Err(YamlError { at: map.at, message: "`<<` needs a mapping or a list of mappings".to_owned() });
        };
        for entry in entries {
            if !merged.iter().any(|known| known.key == entry.key) {
                merged.push(entry);
            }
        }
    }
    Ok(())
}

fn key_text(node: Node) -> Result<(String, bool), YamlError> {
    match node.value {
        Value::Scalar { text, plain } => Ok((text, plain)),
        Value::Null => Ok((String::new(), true)),
        _ => Err(YamlError { at: node.at, message: "a key must be a single value".to_owned() }),
    }
}

fn is_binary(tag: &Tag) -> bool {
    tag.handle() == "tag:yaml.org,2002:" && tag.suffix() == "binary"
}

/// Base64, between whose digits white space may stand.
fn binary(text: &str, span: &Span) -> Result<Value, YamlError> {
    let digits = text.trim_end_matches(|c: char| c == '=' || c.is_whitespace()).bytes();
    let bytes = decode_base64_digits(digits.filter(|byte| !byte.is_ascii_whitespace()));
    bytes.map(Value::Binary).ok_or_else(|| error(span, "`!!binary` needs base64"))
}

fn scalar(text: &str, plain: bool) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" if plain => Value::Null,
        _ => Value::Scalar { text: text.to_owned(), plain },
    }
}

fn count(node: &Node) -> usize {
    match &node.value {
        Value::Null | Value::Scalar { .. } | Value::Binary(_) => 1,
        Value::List(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|entry| count(&entry.node)).sum::<usize>(),
    }
}

fn error(span: &Span, message: &str) -> YamlError {
    YamlError { at: position(span), message: message.to_owned() }
}

fn position(span: &Span) -> Position {
    position_of(span.start.line(), span.start.col())
}

fn position_of(line: usize, column_from_0: usize) -> Position {
    let narrow = |number| u32::try_from(number).unwrap_or(u32::MAX);
    Position { line: narrow(line), column: narrow(column_from_0).saturating_add(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_document_may_be_all_that_counts() {
        assert!(parse("a: 1\n---\nb: 2\n").is_err());
        let first = parse_first("a: 1\n---\nb: 2\n").expect("valid");
        assert_eq!(first, parse("a: 1\n").expect("valid"));
        assert_eq!(parse_first("").expect("valid").value, Value::Null);
    }

    fn shown(node: &Node) -> String {
        match &node.value {
            Value::Null => "null".to_owned(),
            Value::Scalar { text, plain: true } => text.clone(),
            Value::Scalar { text, plain: false } => format!("{text:?}"),
            Value::Binary(bytes) => format!("{bytes:?}"),
            Value::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
            Value::Map(entries) => {
                let pairs: Vec<String> =
                    entries.iter().map(|entry| format!("{}: {}", entry.key, shown(&entry.node))).collect();
                format!("{{{}}}", pairs.join(", "))
            }
        }
    }

    #[test]
    fn tabs_do_not_indent() {
        for (text, line) in [
            ("\ta: 1\n", 1),
            ("a:\n \tb: 2\n", 2),
            ("-\ta: 1\n", 1),
            ("- a: 1\n- \tb: 1\n", 2),
            ("a:\n- {b: [1]}\n-\t2\n", 3),
        ] {
            let refused = parse(text).expect_err(text);
            assert!(refused.message.contains("tab") && refused.at.line == line, "{text:?}: {refused:?}");
        }
    }

    #[test]
    fn reads() {
        let cases = [
            ("", "null"),
            ("# nothing\n", "null"),
            ("---\na: 1\n...\n", "{a: 1}"),
            ("a: 1.10\nb: '2'\nc: no\nd: 017\ne:\nf: ~\n", r#"{a: 1.10, b: "2", c: no, d: 017, e: null, f: null}"#),
            ("a: !!str 5\n", r#"{a: "5"}"#),
            ("a: !!binary AAD/ EA==\n", "{a: [0, 0, 255, 16]}"),
            ("- [x, {y: z}]\n- |\n  two\n  lines\n", "[[x, {y: z}], \"two\\nlines\\n\"]"),
            ("a: &x {k: 1}\nb: *x\n", "{a: {k: 1}, b: {k: 1}}"),
            ("a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}\n", "{a: {k: 1, l: 2}, b: {k: 3, l: 2}}"),
            ("b: {<<: [{k: 1}, {k: 2, m: 3}]}\n", "{b: {k: 1, m: 3}}"),
            ("\"<<\": 1\n", "{<<: 1}"),
            ("a:\t1\nb: |\n \t2\nc: x\n \ty\nd:\t{e: 3}\n", "{a: 1, b: \"\\t2\\n\", c: x y, d: {e: 3}}"),
            ("{\n\t\"a\": [\n\t\t1\n\t]\n}\n", "{a: [1]}"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).map(|node| shown(&node)).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refuses_with_a_position() {
        let cases = [
            ("a: 1\nb: 2\na: 3\n", "3:1: key `a` is already set in line 1"),
            ("a: !!binary \"/w?==\"\n", "`!!binary` needs base64"),
            ("a: !other x\n", "this tag is not supported"),
            ("a: 1\n---\nb: 1\n", "a second document"),
            ("a: [1\n", "not valid YAML"),
            ("g:\n\ts: 1\n", "2:"),
            ("a: &x [*x]\n", "inside its own anchor"),
            ("a: {<<: 1}\n", "`<<` needs a mapping"),
            ("[a, b]: 1\n", "a key must be a single value"),
        ];
        for (text, expected) in cases {
            let message = parse(text).expect_err(text).to_string();
            assert!(message.contains(expected), "{text:?}: {message}");
        }
    }

    #[test]
    fn aliases_are_bounded() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let previous = format!("*a{}", level - 1);
            text.push_str(&format!("a{level}: &a{level} [{}]\n", [previous.as_str(); 10].join(", ")));
        }
        let message = parse(&text).expect_err("a billion values").to_string();
        assert!(message.contains("too many values"), "{message}");
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = format!("a: {}{}", "[".repeat(5000), "]".repeat(5000));
        assert!(parse(&deep).is_err());
    }
}
