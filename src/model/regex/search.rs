//! Patterns that are looked for anywhere in a text, as Go's package regexp does by default.

use std::fmt;
use std::sync::Arc;

use regex_automata::meta;
use regex_automata::util::captures::Captures;

use super::{RegexError, check_size, parse, template};

/// A pattern in RE2's dialect that may match anywhere; a dot does not match a newline. Cloning shares the program.
#[derive(Clone)]
pub struct SearchRegex {
    pattern: Arc<str>,
    /// Shared, since a clone of its own would begin with empty caches.
    engine: Arc<meta::Regex>,
}

impl SearchRegex {
    /// Compiles a pattern.
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        let build = || {
            let hir = parse(pattern, false)?;
            check_size(&hir)?;
            let config = meta::Config::new().auto_prefilter(false);
            meta::Builder::new().configure(config).build_from_hir(&hir).map_err(|error| error.to_string())
        };
        let failed = |reason| RegexError { pattern: pattern.to_owned(), reason };
        build().map(|engine| Self { pattern: pattern.into(), engine: Arc::new(engine) }).map_err(failed)
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    /// Whether the pattern occurs in `text`.
    pub fn is_match(&self, text: &str) -> bool {
        self.engine.is_match(text)
    }

    /// Expands templates (`$1`, `${name}`, `$$`) with the groups of the first match; `None` where there is none.
    pub fn expand(&self, text: &str, templates: &[&str]) -> Option<Vec<String>> {
        let captures = self.engine.captures_iter(text).next()?;
        Some(templates.iter().map(|template| template::expand(template, |name| group(&captures, text, name))).collect())
    }

    /// Replaces every match by the template (`$1`, `${name}`, `$$`), as long as the result has no
    /// more than `bytes_max` bytes.
    pub fn replace_all(&self, text: &str, replacement: &str, bytes_max: usize) -> Option<String> {
        let mut output = String::new();
        let mut copied = 0;
        for captures in self.engine.captures_iter(text) {
            let whole = captures.get_match()?;
            output.push_str(&text[copied..whole.start()]);
            output.push_str(&template::expand(replacement, |name| group(&captures, text, name)));
            copied = whole.end();
            if output.len() > bytes_max {
                return None;
            }
        }
        output.push_str(&text[copied..]);
        (output.len() <= bytes_max).then_some(output)
    }
}

impl fmt::Debug for SearchRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.pattern)
    }
}

impl PartialEq for SearchRegex {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}

fn group<'t>(captures: &Captures, text: &'t str, name: &str) -> Option<&'t str> {
    let span = match name.bytes().all(|byte| byte.is_ascii_digit()) {
        true => captures.get_group(template::group_number(name)?),
        false => captures.get_group_by_name(name),
    };
    span.map(|span| &text[span.range()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_as_go_does() {
        let cases = [
            ("(a)(b)?", "<$1-$2>", "abac", "<a-b><a->c"),
            ("localhost:(.*)", "my.domain:$1", "localhost:9090", "my.domain:9090"),
            ("x*", "-", "abxc", "-a-b-c-"),
            ("a", "$1x", "bab", "bb"),
            ("é", "e", "éé", "ee"),
        ];
        for (pattern, replacement, text, expected) in cases {
            let regex = SearchRegex::new(pattern).expect(pattern);
            assert_eq!(regex.replace_all(text, replacement, 100).as_deref(), Some(expected), "{pattern}");
        }
        let regex = SearchRegex::new("a").expect("valid");
        assert_eq!(regex.replace_all("aaa", "bbbb", 11), None);
        assert!(!SearchRegex::new("a.b").expect("valid").is_match("a\nb"));
        let banner = SearchRegex::new("^SSH-([0-9.]+)-(?P<name>[^ ]+)(?: (.*))?$").expect("valid");
        let expanded = banner.expand("SSH-2.0-dropbear", &["${1}", "${name}!", "[$3]"]).expect("it matches");
        assert_eq!(expanded, ["2.0", "dropbear!", "[]"]);
        assert_eq!(banner.expand("220 smtp", &["$0"]), None);
        assert!(Arc::ptr_eq(&banner.engine, &banner.clone().engine));
    }
}
