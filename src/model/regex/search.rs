//! Patterns that are looked for anywhere in a text, as Go's package regexp does by default.

use regex_automata::meta;

use super::{RegexError, check_size, parse, template};

/// A pattern in RE2's dialect that may match anywhere; a dot does not match a newline.
pub struct SearchRegex(meta::Regex);

impl SearchRegex {
    /// Compiles a pattern.
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        let build = || {
            let hir = parse(pattern, false)?;
            check_size(&hir)?;
            let config = meta::Config::new().auto_prefilter(false);
            meta::Builder::new().configure(config).build_from_hir(&hir).map_err(|error| error.to_string())
        };
        build().map(Self).map_err(|reason| RegexError { pattern: pattern.to_owned(), reason })
    }

    /// Whether the pattern occurs in `text`.
    pub fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// Replaces every match by the template (`$1`, `${name}`, `$$`), as long as the result has no
    /// more than `bytes_max` bytes.
    pub fn replace_all(&self, text: &str, replacement: &str, bytes_max: usize) -> Option<String> {
        let mut output = String::new();
        let mut copied = 0;
        for captures in self.0.captures_iter(text) {
            let whole = captures.get_match()?;
            let group = |name: &str| {
                let span = match name.bytes().all(|byte| byte.is_ascii_digit()) {
                    true => captures.get_group(template::group_number(name)?),
                    false => captures.get_group_by_name(name),
                };
                span.map(|span| &text[span.range()])
            };
            output.push_str(&text[copied..whole.start()]);
            output.push_str(&template::expand(replacement, group));
            copied = whole.end();
            if output.len() > bytes_max {
                return None;
            }
        }
        output.push_str(&text[copied..]);
        (output.len() <= bytes_max).then_some(output)
    }
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
    }
}
