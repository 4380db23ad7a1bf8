//! Writing YAML: block style, two spaces, quotes only where a reader would take a text for something else.

/// A value to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// A number or a boolean, written as it is.
    Plain(String),
    /// A text, quoted where needed.
    Text(String),
    /// A list.
    List(Vec<Tree>),
    /// A mapping in the order given.
    Map(Vec<(String, Tree)>),
}

impl From<&str> for Tree {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Tree {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Tree {
    fn from(value: bool) -> Self {
        Self::Plain(value.to_string())
    }
}

impl From<u64> for Tree {
    fn from(value: u64) -> Self {
        Self::Plain(value.to_string())
    }
}

/// The document, ending in a line feed.
pub fn write(tree: &Tree) -> String {
    let mut output = String::new();
    match tree {
        Tree::Map(pairs) if !pairs.is_empty() => write_map(&mut output, pairs, 0),
        Tree::List(items) if !items.is_empty() => write_list(&mut output, items, 0),
        _ => {
            write_inline(&mut output, tree);
            output.push('\n');
        }
    }
    output
}

fn write_map(output: &mut String, pairs: &[(String, Tree)], indent: usize) {
    for (index, (key, value)) in pairs.iter().enumerate() {
        // The first key of a mapping in a list stands behind the dash, which is already written.
        if index > 0 || output.is_empty() || output.ends_with('\n') {
            push_indent(output, indent);
        }
        output.push_str(&quoted(key));
        output.push(':');
        match value {
            Tree::Map(pairs) if !pairs.is_empty() => {
                output.push('\n');
                write_map(output, pairs, indent + 1);
            }
            Tree::List(items) if !items.is_empty() => {
                output.push('\n');
                write_list(output, items, indent);
            }
            _ => {
                output.push(' ');
                write_inline(output, value);
                output.push('\n');
            }
        }
    }
}

fn write_list(output: &mut String, items: &[Tree], indent: usize) {
    for item in items {
        push_indent(output, indent);
        output.push_str("- ");
        match item {
            Tree::Map(pairs) if !pairs.is_empty() => write_map(output, pairs, indent + 1),
            _ => {
                write_inline(output, item);
                output.push('\n');
            }
        }
    }
}

fn write_inline(output: &mut String, tree: &Tree) {
    match tree {
        Tree::Plain(text) => output.push_str(text),
        Tree::Text(text) => output.push_str(&quoted(text)),
        Tree::Map(_) => output.push_str("{}"),
        Tree::List(items) => {
            output.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    output.push_str(", ");
                }
                match item {
                    Tree::Text(text) if text.contains([',', '[', ']', '{', '}']) => {
                        output.push_str(&double_quoted(text));
                    }
                    _ => write_inline(output, item),
                }
            }
            output.push(']');
        }
    }
}

fn push_indent(output: &mut String, indent: usize) {
    for _ in 0..indent {
        output.push_str("  ");
    }
}

/// A text as a plain scalar where that reads back as the same text, else in double quotes.
fn quoted(text: &str) -> String {
    if is_plain_safe(text) { text.to_owned() } else { double_quoted(text) }
}

fn is_plain_safe(text: &str) -> bool {
    let Some(first) = text.chars().next() else { return false };
    let words = ["true", "false", "yes", "no", "on", "off", "y", "n", "null", "~"];
    let starts_plain = first.is_alphabetic() || matches!(first, '_' | '/' | '$' | '(' | '<' | '.' | '^' | ';' | '+');
    starts_plain
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.chars().any(|c| c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}'))
        && !words.contains(&text.to_ascii_lowercase().as_str())
        && !looks_like_a_number(text)
        && text != "<<"
}

fn looks_like_a_number(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    text.parse::<f64>().is_ok()
        || matches!(lower.as_str(), ".inf" | "-.inf" | "+.inf" | ".nan")
        || lower.starts_with('+')
}

fn double_quoted(text: &str) -> String {
    let mut output = String::with_capacity(text.len() + 2);
    output.push('"');
    for c in text.chars() {
        match c {
            '"' => output.push_str("\\\""),
            '\\' => output.push_str("\\\\"),
            '\n' => output.push_str("\\n"),
            '\t' => output.push_str("\\t"),
            '\r' => output.push_str("\\r"),
            '\u{2028}' | '\u{2029}' | '\u{feff}' => output.push_str(&format!("\\u{:04x}", u32::from(c))),
            c if c.is_control() => output.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => output.push(c),
        }
    }
    output.push('"');
    output
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{Node, Value, parse};

    #[test]
    fn writes_block_style() {
        let tree = Tree::Map(vec![
            ("a".to_owned(), Tree::from(true)),
            (
                "b".to_owned(),
                Tree::List(vec![Tree::Map(vec![
                    ("c".to_owned(), Tree::from("x")),
                    ("d".to_owned(), Tree::Map(vec![("e".to_owned(), Tree::from(5))])),
                ])]),
            ),
            ("f".to_owned(), Tree::List(vec![Tree::from("g"), Tree::List(vec![Tree::from("1"), Tree::from("x, y")])])),
            ("h".to_owned(), Tree::List(Vec::new())),
        ]);
        let expected = "a: true\nb:\n- c: x\n  d:\n    e: 5\nf:\n- g\n- [\"1\", \"x, y\"]\nh: []\n";
        assert_eq!(write(&tree), expected);
    }

    #[test]
    fn texts_read_back() {
        let texts = [
            "",
            " ",
            "a",
            "a b",
            "yes",
            "No",
            "null",
            "~",
            "1",
            "1.5",
            "0x10",
            "017",
            "1e3",
            "-",
            "- a",
            "a: b",
            "a:b",
            "a #b",
            "#a",
            "a:",
            "\"",
            "'",
            "\\",
            "a\nb",
            "\t",
            "{",
            "[",
            "*",
            "&a",
            "!a",
            "|",
            ">",
            "%",
            "@",
            "`",
            "?",
            "<secret>",
            "(.*)",
            "$1",
            "${1}:9100",
            "/metrics",
            "ä",
            "測試",
            ".5",
            ".inf",
            "+1",
            "\u{7f}",
            "\u{2028}",
            "\u{feff}x",
            "15s",
            "localhost:9090",
            "a, b",
            "]",
            "---",
            "...",
            "<<",
            "=",
            "2001-01-01",
            "\u{85}",
            ";",
        ];
        for text in texts {
            let written = write(&Tree::Map(vec![("k".to_owned(), Tree::from(text))]));
            let Node { value: Value::Map(entries), .. } = parse(&written).expect(&written) else {
                panic!("{written}");
            };
            let Value::Scalar { text: read, plain } = &entries[0].node.value else { panic!("{written}") };
            assert_eq!(read, text, "{written}");
            // What stays without quotes must not be taken for a number or a boolean.
            assert!(!plain || !matches!(text, "yes" | "No" | "1" | "1.5" | "0x10" | "017" | "1e3" | ".5"), "{written}");
        }
    }
}
