//! Regular expressions in RE2's dialect, always fully anchored, as Prometheus matches labels.
//!
//! Most label matchers are literals, alternations or prefixes: those are recognised from the parsed
//! pattern and need no engine. The others get one when they are first asked; it keeps a few KiB.

mod re2;
mod search;
mod shape;
mod template;

use std::fmt;
use std::sync::{Arc, OnceLock};

use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::{Input, meta};
use regex_syntax::hir::{Hir, Look};

pub use search::SearchRegex;
use shape::Shape;

/// The longest pattern that is parsed, in bytes. Plain alternations of names may be longer.
const PATTERN_BYTES_MAX: usize = 32 * 1024;
/// How deep groups may nest.
const NESTING_MAX: u32 = 100;
/// How many states an engine may need, roughly; one takes about 32 bytes.
const STATES_MAX: usize = 50_000;

/// A pattern that is not a valid regular expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid regular expression {pattern:?}: {reason}")]
pub struct RegexError {
    /// The pattern as written.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A pattern matched as `^(?s:PATTERN)$`. Cloning shares the compiled program.
#[derive(Clone)]
pub struct AnchoredRegex(Arc<Program>);

struct Program {
    pattern: Box<str>,
    shape: Shape,
    matcher: OnceLock<Option<meta::Regex>>,
    capturer: OnceLock<Option<meta::Regex>>,
}

impl AnchoredRegex {
    /// Reads a pattern; every fault shows here, though an engine is built later if at all.
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        let shape = match Shape::of_plain_alternation(pattern) {
            Some(shape) => shape,
            None => shape_of(pattern).map_err(|reason| RegexError { pattern: pattern.to_owned(), reason })?,
        };
        let (matcher, capturer) = (OnceLock::new(), OnceLock::new());
        Ok(Self(Arc::new(Program { pattern: pattern.into(), shape, matcher, capturer })))
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0.pattern
    }

    /// Whether the whole of `text` matches.
    pub fn is_match(&self, text: &str) -> bool {
        match self.0.shape.is_match(text) {
            Some(answer) => answer,
            None => self.0.matcher().is_some_and(|engine| engine.is_match(text)),
        }
    }

    /// Every value that can match, sorted, if the pattern is a literal or stands for a small set of
    /// literals.
    pub fn literals(&self) -> Option<&[String]> {
        match &self.0.shape {
            Shape::Literals(literals) => Some(literals),
            _ => None,
        }
    }

    /// Expands Go's template (`$1`, `${1}`, `${name}`, `$$`) with the groups of a match, or gives
    /// `None` where `text` does not match. An unknown group expands to nothing.
    pub fn expand(&self, text: &str, template: &str) -> Option<String> {
        // The default of relabelling: one group that holds everything.
        if &*self.0.pattern == "(.*)" {
            return Some(template::expand(template, |name| matches!(name, "0" | "1").then_some(text)));
        }
        if self.0.shape.is_match(text) == Some(false) {
            return None;
        }
        let engine = self.0.capturer()?;
        let mut captures = engine.create_captures();
        engine.search_captures(&Input::new(text), &mut captures);
        if !captures.is_match() {
            return None;
        }
        let group = |name: &str| {
            let span = match name.bytes().all(|byte| byte.is_ascii_digit()) {
                true => captures.get_group(template::group_number(name)?),
                false => captures.get_group_by_name(name),
            };
            span.map(|span| &text[span.range()])
        };
        Some(template::expand(template, group))
    }
}

impl Program {
    fn matcher(&self) -> Option<&meta::Regex> {
        self.matcher.get_or_init(|| build(&self.pattern, WhichCaptures::None)).as_ref()
    }

    fn capturer(&self) -> Option<&meta::Regex> {
        self.capturer.get_or_init(|| build(&self.pattern, WhichCaptures::All)).as_ref()
    }
}

impl fmt::Debug for AnchoredRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.pattern)
    }
}

impl PartialEq for AnchoredRegex {
    fn eq(&self, other: &Self) -> bool {
        self.0.pattern == other.0.pattern
    }
}

fn shape_of(pattern: &str) -> Result<Shape, String> {
    let hir = parse(pattern, true)?;
    check_size(&hir)?;
    Ok(Shape::of(&hir))
}

fn check_size(hir: &Hir) -> Result<(), String> {
    let states = shape::states(hir);
    if states > STATES_MAX {
        return Err(format!("too large: it needs about {states} states, and {STATES_MAX} is the bound"));
    }
    Ok(())
}

fn parse(pattern: &str, dot_matches_newline: bool) -> Result<Hir, String> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(format!("longer than {PATTERN_BYTES_MAX} bytes"));
    }
    let translated = re2::translate(pattern)?;
    let mut builder = regex_syntax::ParserBuilder::new();
    let mut parser = builder.dot_matches_new_line(dot_matches_newline).nest_limit(NESTING_MAX).build();
    parser.parse(&translated).map_err(|error| match error {
        regex_syntax::Error::Parse(error) => error.kind().to_string(),
        regex_syntax::Error::Translate(error) => error.kind().to_string(),
        other => other.to_string(),
    })
}

/// The engine for a pattern that has been parsed and measured before: with the size unlimited and no
/// Unicode word boundary in the pattern, building it cannot fail; if it did, nothing would match.
fn build(pattern: &str, captures: WhichCaptures) -> Option<meta::Regex> {
    let hir = parse(pattern, true).ok()?;
    let anchored = Hir::concat(vec![Hir::look(Look::Start), hir, Hir::look(Look::End)]);
    let config = meta::Config::new().which_captures(captures).nfa_size_limit(None).auto_prefilter(false);
    meta::Builder::new().configure(config).build_from_hir(&anchored).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_re2_does() {
        // Pattern, values that match, values that do not.
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("", &[""], &["a"]),
            ("a", &["a"], &["", "aa", "b", "a\n"]),
            ("a|b|c", &["a", "c"], &["ab", ""]),
            ("(a|b)", &["a", "b"], &["c"]),
            ("a(b|c)?", &["a", "ab", "ac"], &["abc"]),
            ("[abc]x", &["ax", "cx"], &["x"]),
            (".*", &["", "a", "a\nb"], &[]),
            (".+", &["a", "\n"], &[""]),
            (".", &["a", "é", "\n"], &["", "ab"]),
            ("x.*", &["x", "xy\n"], &["y", ""]),
            ("x.+", &["xy"], &["x"]),
            (".*x", &["x", "ax"], &["xa"]),
            (".+x", &["ax"], &["x"]),
            (".*x.*", &["x", "axb"], &["ab"]),
            (".+x.+", &["axb", "xxx"], &["xa", "ax", "xx"]),
            ("(foo|bar).*", &["foo", "barx"], &["xfoo"]),
            ("foo.*|.*bar", &["foo1", "1bar"], &["1foo"]),
            ("(?i)ab", &["ab", "AB", "aB"], &["b"]),
            ("(?i:a)b", &["Ab"], &["AB"]),
            (r"\d+", &["0", "42"], &["٤", ""]),
            (r"\w\W", &["a ", "_é"], &["é ", "ab"]),
            (r"[\d]\D[^\d]", &["1ab"], &["1a2", "aab"]),
            (r"\s", &[" ", "\t", "\n", "\u{c}", "\r"], &["\u{b}", "\u{a0}"]),
            (r"[\w-]+", &["a-b"], &["a b"]),
            (r"a\b.*", &["a b", "aé", "a"], &["ab"]),
            (r"a\B.*", &["ab"], &["a b", "aé"]),
            (r"\Qa.b\E+", &["a.b", "a.bb"], &["axb"]),
            (r"\Qa.b", &["a.b"], &["axb"]),
            (r"\101\x42\x{43}", &["ABC"], &["abc"]),
            (r"\0", &["\0"], &["0"]),
            (r"\_\-\/\<", &["_-/<"], &["_-/"]),
            ("a{2}", &["aa"], &["a"]),
            ("a{2,}", &["aaa"], &["a"]),
            ("a{,2}", &["a{,2}"], &["aa"]),
            ("a{x}", &["a{x}"], &["a"]),
            ("{a}", &["{a}"], &["a"]),
            ("a}", &["a}"], &["a"]),
            ("[]a]+", &["]a"], &["b"]),
            ("[^]]", &["a"], &["]"]),
            ("[[a]+", &["[a"], &["b"]),
            ("[a&&b]+", &["a&b"], &["c"]),
            ("[a~~b]+", &["a~b"], &["c"]),
            ("[+--]+", &["+,-"], &["."]),
            ("[a-]+", &["a-"], &["b"]),
            ("[a-c-e]+", &["b-e"], &["d"]),
            ("[[:alpha:][:^space:]]", &["a", "1"], &[" "]),
            ("[[:digit:]x]+", &["1x"], &["a"]),
            (r"[\]\\]+", &["]\\"], &["a"]),
            (r"\pL+", &["aé"], &["1"]),
            (r"\p{Greek}\P{Greek}", &["αa"], &["αα"]),
            (r"\p{^Greek}", &["a"], &["α"]),
            (r"[\p{Lu}\d]", &["É", "1"], &["é"]),
            ("a # b", &["a # b"], &["a"]),
            ("(?P<n>a)(?:b)(?s-i:c)", &["abc"], &["ab"]),
            ("^a$", &["a"], &["ba"]),
            ("(?m)^a$", &["a"], &["a\n"]),
            ("(?-s)a.b", &["axb"], &["a\nb"]),
            ("(?U)a+", &["aa"], &[""]),
            ("a|", &["a", ""], &["b"]),
            ("(a*)+", &["", "aaa"], &["b"]),
            ("(a|b){2,3}", &["ab", "bab"], &["a", "abab"]),
            ("é", &["é"], &["e"]),
            (".*é.*", &["aéb"], &["aeb"]),
            ("[^/]+/[^/]+", &["a/b"], &["a/b/c", "/"]),
        ];
        for (pattern, accepted, refused) in cases {
            let regex = AnchoredRegex::new(pattern).expect(pattern);
            for text in *accepted {
                assert!(regex.is_match(text), "{pattern:?} must match {text:?}");
            }
            for text in *refused {
                assert!(!regex.is_match(text), "{pattern:?} must not match {text:?}");
            }
        }
    }

    #[test]
    fn refuses_what_re2_refuses() {
        let deep = "(".repeat(100_000);
        let long = format!("{}.", "a".repeat(PATTERN_BYTES_MAX));
        let cases = [
            "(",
            ")",
            "a)(b",
            "[",
            "[a",
            "a**",
            "a++",
            "a?+",
            "*",
            "+a",
            "a|*",
            "a{1001}",
            "a{2,1}",
            "(?x)a",
            "(?R)a",
            "(?=a)",
            "(?!a)",
            "(?<=a)b",
            r"\1",
            r"\8",
            r"\C",
            r"\Z",
            r"\u1234",
            r"\e",
            r"\x4",
            r"\x{110000}",
            r"\p{Nope}",
            r"[\b]",
            r"[b-a]",
            "[[:nope:]]",
            r"\",
            "(?P<n>a)(?P<n>b)",
            "(a{1000}){1000}",
            r"\pL{1000}",
            "[\\",
            "(?",
            &deep,
            &long,
        ];
        for pattern in cases {
            let short: String = pattern.chars().take(20).collect();
            assert!(AnchoredRegex::new(pattern).is_err(), "{short:?} must be refused");
        }
    }

    #[test]
    fn literals_are_known_where_the_pattern_is_a_set() {
        let cases: &[(&str, Option<&[&str]>)] = &[
            ("b|a", Some(&["a", "b"])),
            ("a(b|c)d", Some(&["abd", "acd"])),
            ("x[0-2]?", Some(&["x", "x0", "x1", "x2"])),
            (r"a\.b", Some(&["a.b"])),
            ("(?i)a", Some(&["A", "a"])),
            ("a.*", None),
            ("[^a]", None),
            ("a$", None),
            ("", Some(&[""])),
            ("a||b", Some(&["", "a", "b"])),
        ];
        for (pattern, expected) in cases {
            let regex = AnchoredRegex::new(pattern).expect(pattern);
            let found: Option<Vec<&str>> =
                regex.literals().map(|literals| literals.iter().map(String::as_str).collect());
            assert_eq!(found.as_deref(), *expected, "{pattern}");
        }
    }

    #[test]
    fn expands_as_go_does() {
        let cases = [
            ("(.*)", "abc", "$1", Some("abc")),
            ("(.*)", "abc", "${1}x", Some("abcx")),
            ("(.*)", "abc", "$1x", Some("")),
            ("(a)(?P<rest>.*)", "abc", "$rest-$1-$0-$2", Some("bc-a-abc-bc")),
            ("(a)(?P<rest>.*)", "abc", "$rest:$1:$9:${2}", Some("bc:a::bc")),
            ("(a)b?", "a", "$$1 $ ${ ${1 $-", Some("$1 $ ${ ${1 $-")),
            ("(a)", "a", "$01", Some("")),
            ("(a)|(b)", "b", "[$1][$2]", Some("[][b]")),
            ("(a)", "b", "$1", None),
            ("a|b", "b", "<$0>", Some("<b>")),
        ];
        for (pattern, text, template, expected) in cases {
            let regex = AnchoredRegex::new(pattern).expect(pattern);
            assert_eq!(regex.expand(text, template).as_deref(), expected, "{pattern} {text} {template}");
        }
    }
}
