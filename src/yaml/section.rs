//! Reading a tree: a [`Section`] is asked for its keys and says at the end which ones nobody knows.
//!
//! Mistakes do not stop the reading: they are put into a [`Report`], with place and path, and the value counts
//! as absent, so that one run names everything that is wrong with a file.

use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

use super::{Entry, Node, Position, Value};
use crate::model::parse_duration;

/// A file's mistakes are listed up to this many.
const PROBLEMS_MAX: usize = 50;

/// One mistake, or one thing to be warned of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// Where in it.
    pub at: Position,
    /// The key, with its way from the top: `scrape_configs[0].job_name`; empty for the whole file.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, at, path, message } = self;
        write!(f, "{file}:{}:{}: ", at.line, at.column)?;
        if !path.is_empty() {
            write!(f, "{path}: ")?;
        }
        f.write_str(message)
    }
}

/// What was found while a file was read.
#[derive(Debug, Default)]
pub struct Report {
    file: String,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
}

impl Report {
    /// Starts a report on a file.
    pub fn new(file: impl Into<String>) -> Self {
        Self { file: file.into(), ..Self::default() }
    }

    /// The document's top as a field.
    pub fn root<'d>(&'d self, node: &'d Node) -> Field<'d> {
        Field { report: self, node, at: node.at, path: String::new() }
    }

    /// Adds a mistake.
    pub fn problem(&self, at: Position, path: impl Into<String>, message: impl Into<String>) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() < PROBLEMS_MAX {
            problems.push(self.entry(at, path, message));
        }
    }

    /// Takes over what was found in another file.
    pub fn adopt(&self, other: Self) {
        self.problems.borrow_mut().extend(other.problems.into_inner());
        self.warnings.borrow_mut().extend(other.warnings.into_inner());
    }

    /// How many mistakes there are so far.
    pub fn problem_count(&self) -> usize {
        self.problems.borrow().len()
    }

    /// The mistakes and the warnings, in the order of the file.
    pub fn into_parts(self) -> (Vec<Problem>, Vec<Problem>) {
        let sorted = |list: RefCell<Vec<Problem>>| {
            let mut list = list.into_inner();
            crate::model::sort_by(&mut list, |a, b| (a.at.line, a.at.column).cmp(&(b.at.line, b.at.column)));
            list
        };
        (sorted(self.problems), sorted(self.warnings))
    }

    fn warning(&self, at: Position, path: impl Into<String>, message: impl Into<String>) {
        let mut warnings = self.warnings.borrow_mut();
        if warnings.len() < PROBLEMS_MAX {
            warnings.push(self.entry(at, path, message));
        }
    }

    fn entry(&self, at: Position, path: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { file: self.file.clone(), at, path: path.into(), message: message.into() }
    }
}

/// One value, its key's place and its path.
#[derive(Clone)]
pub struct Field<'d> {
    report: &'d Report,
    node: &'d Node,
    at: Position,
    path: String,
}

impl<'d> Field<'d> {
    /// Adds a mistake about this value.
    pub fn problem(&self, message: impl Into<String>) {
        self.report.problem(self.at, self.path.clone(), message);
    }

    /// Adds a warning about this value.
    pub fn warning(&self, message: impl Into<String>) {
        self.report.warning(self.at, self.path.clone(), message);
    }

    /// Whether nothing is written, or `null`.
    pub fn is_null(&self) -> bool {
        self.node.value == Value::Null
    }

    /// The value as text, whatever it looks like; null is the empty text.
    pub fn text(&self) -> Option<String> {
        match &self.node.value {
            Value::Null => Some(String::new()),
            Value::Scalar { text, .. } => Some(text.clone()),
            Value::Binary(bytes) => String::from_utf8(bytes.clone()).ok().or_else(|| self.expected("a text")),
            _ => self.expected("a text"),
        }
    }

    /// The value as bytes: those of a text, or of `!!binary`.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match &self.node.value {
            Value::Binary(bytes) => Some(bytes.clone()),
            _ => self.text().map(String::into_bytes),
        }
    }

    /// A boolean in YAML 1.1's spellings, without quotes; null is false.
    pub fn boolean(&self) -> Option<bool> {
        const TRUE: [&str; 11] = ["true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"];
        const FALSE: [&str; 11] = ["false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"];
        match &self.node.value {
            Value::Null => Some(false),
            Value::Scalar { text, plain: true } if TRUE.contains(&text.as_str()) => Some(true),
            Value::Scalar { text, plain: true } if FALSE.contains(&text.as_str()) => Some(false),
            _ => self.expected("true or false, without quotes"),
        }
    }

    /// A whole number from 0; null is 0.
    pub fn unsigned(&self) -> Option<u64> {
        match &self.node.value {
            Value::Null => Some(0),
            Value::Scalar { text, plain: true } => {
                parse_unsigned(text).or_else(|| self.cut_off(text)).or_else(|| self.expected("a whole number from 0"))
            }
            _ => self.expected("a whole number from 0, without quotes"),
        }
    }

    /// A whole number, which may be negative; null is 0.
    pub fn integer(&self) -> Option<i64> {
        const WANTED: &str = "a whole number, without quotes";
        let negative = match &self.node.value {
            Value::Scalar { text, plain: true } => text.strip_prefix('-'),
            _ => None,
        };
        match negative {
            Some(digits) => {
                let number = parse_unsigned(digits).and_then(|number| i64::try_from(number).ok());
                number.map(|number| -number).or_else(|| self.expected(WANTED))
            }
            None => i64::try_from(self.unsigned()?).ok().or_else(|| self.expected(WANTED)),
        }
    }

    /// What Prometheus makes of a number with a fraction, or of one that is too large.
    fn cut_off(&self, text: &str) -> Option<u64> {
        let number = parse_number(text).filter(|number| *number >= 0.0 && *number <= u64::MAX as f64)? as u64;
        self.warning(format!("{text} counts as {number}; write a whole number"));
        Some(number)
    }

    /// A number; null is 0.
    pub fn number(&self) -> Option<f64> {
        match &self.node.value {
            Value::Null => Some(0.0),
            Value::Scalar { text, plain: true } => {
                parse_number(text).or_else(|| self.expected("a number, without quotes"))
            }
            _ => self.expected("a number, without quotes"),
        }
    }

    /// A duration in Prometheus's notation; null is zero.
    pub fn duration(&self) -> Option<Duration> {
        if self.is_null() {
            return Some(Duration::ZERO);
        }
        let text = self.text()?;
        parse_duration(&text).map_err(|error| self.problem(error.to_string())).ok()
    }

    /// The items of a list; null is the empty list.
    pub fn items(&self) -> Vec<Field<'d>> {
        match &self.node.value {
            Value::Null => Vec::new(),
            Value::List(items) => items
                .iter()
                .enumerate()
                .map(|(index, node)| Field {
                    report: self.report,
                    node,
                    at: node.at,
                    path: format!("{}[{index}]", self.path),
                })
                .collect(),
            _ => {
                self.expected::<()>("a list");
                Vec::new()
            }
        }
    }

    /// The items of a list as texts.
    pub fn texts(&self) -> Vec<String> {
        self.items().iter().filter_map(Field::text).collect()
    }

    /// The keys and values of a mapping whose keys are the user's own; null is empty.
    pub fn pairs(&self) -> Vec<(String, Field<'d>)> {
        self.entries().iter().map(|entry| (entry.key.clone(), self.child(entry))).collect()
    }

    /// The value as a section; null is an empty one.
    pub fn section(&self) -> Section<'d> {
        Section { field: self.clone(), entries: self.entries(), known: RefCell::default() }
    }

    fn entries(&self) -> &'d [Entry] {
        match &self.node.value {
            Value::Null => &[],
            Value::Map(entries) => entries,
            _ => {
                self.expected::<()>("a mapping (`key: value` lines)");
                &[]
            }
        }
    }

    fn child(&self, entry: &'d Entry) -> Field<'d> {
        let path = if self.path.is_empty() { entry.key.clone() } else { format!("{}.{}", self.path, entry.key) };
        Field { report: self.report, node: &entry.node, at: entry.at, path }
    }

    fn expected<T>(&self, wanted: &str) -> Option<T> {
        let found = match &self.node.value {
            Value::Null => "nothing".to_owned(),
            Value::Scalar { text, plain } if text.chars().count() <= 20 => {
                if *plain {
                    format!("`{text}`")
                } else {
                    format!("{text:?}")
                }
            }
            Value::Scalar { .. } => "a text".to_owned(),
            Value::Binary(_) => "bytes that are no text".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        };
        self.problem(format!("{wanted} is needed here, found {found}"));
        None
    }
}

/// A mapping whose keys are known beforehand.
pub struct Section<'d> {
    field: Field<'d>,
    entries: &'d [Entry],
    known: RefCell<Vec<&'static str>>,
}

impl<'d> Section<'d> {
    /// The value of `key`, if it is written.
    pub fn get(&self, key: &'static str) -> Option<Field<'d>> {
        let mut known = self.known.borrow_mut();
        if !known.contains(&key) {
            known.push(key);
        }
        self.entries.iter().find(|entry| entry.key == key).map(|entry| self.field.child(entry))
    }

    /// Whether `key` is written.
    pub fn has(&self, key: &'static str) -> bool {
        self.get(key).is_some()
    }

    /// A text that is written and not empty.
    pub fn text(&self, key: &'static str) -> Option<String> {
        self.get(key)?.text().filter(|text| !text.is_empty())
    }

    /// A text that is written and may be empty.
    pub fn written_text(&self, key: &'static str) -> Option<String> {
        self.get(key).filter(|field| !field.is_null())?.text()
    }

    /// A boolean.
    pub fn boolean(&self, key: &'static str) -> Option<bool> {
        self.get(key)?.boolean()
    }

    /// A whole number.
    pub fn unsigned(&self, key: &'static str) -> Option<u64> {
        self.get(key)?.unsigned()
    }

    /// A duration that is written and not zero.
    pub fn duration(&self, key: &'static str) -> Option<Duration> {
        self.get(key)?.duration().filter(|duration| !duration.is_zero())
    }

    /// The items of a list, empty if it is absent.
    pub fn items(&self, key: &'static str) -> Vec<Field<'d>> {
        self.get(key).map(|field| field.items()).unwrap_or_default()
    }

    /// Adds a mistake about `key`, or about the section if it is absent.
    pub fn problem(&self, key: &'static str, message: impl Into<String>) {
        self.get(key).unwrap_or_else(|| self.field.clone()).problem(message);
    }

    /// Adds a warning about `key`.
    pub fn warning(&self, key: &'static str, message: impl Into<String>) {
        self.get(key).unwrap_or_else(|| self.field.clone()).warning(message);
    }

    /// The report that this section adds to.
    pub fn report(&self) -> &'d Report {
        self.field.report
    }

    /// Knows these keys where they hold nothing: null or an empty list.
    pub fn pass_empty(&self, keys: &[&'static str]) {
        let is_empty = |entry: &&Entry| match &entry.node.value {
            Value::Null => true,
            Value::List(items) => items.is_empty(),
            _ => false,
        };
        for entry in self.entries.iter().filter(is_empty) {
            self.known.borrow_mut().extend(keys.iter().filter(|key| **key == entry.key));
        }
    }

    /// Names every key that was never asked for. `foreign` gives, for keys that others know, what to say.
    pub fn finish(self, foreign: impl Fn(&str) -> Option<String>) {
        self.name_unknown(&foreign);
    }

    /// Not generic: there is a section for everything, and this is long.
    fn name_unknown(&self, foreign: &dyn Fn(&str) -> Option<String>) {
        let known = self.known.borrow();
        for entry in self.entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let message = foreign(&entry.key).unwrap_or_else(|| unknown_key(&entry.key, &known));
            self.field.child(entry).problem(message);
        }
    }
}

fn unknown_key(key: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|name| (edit_distance(key, name), *name)).min();
    match nearest {
        Some((distance, name)) if distance <= 1 + key.len() / 4 => {
            format!("unknown key; did you mean `{name}`?")
        }
        _ => {
            let mut names = known.to_vec();
            names.sort_unstable();
            format!("unknown key; known here: {}", names.join(", "))
        }
    }
}

/// Insertions, deletions and replacements from one name to the other.
fn edit_distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, wanted) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (index, found) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(*found != wanted);
            diagonal = row[index + 1];
            row[index + 1] = replaced.min(row[index] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

/// A float as YAML 1.1 writes it, or a whole number.
fn parse_number(text: &str) -> Option<f64> {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let number = match unsigned {
        ".inf" | ".Inf" | ".INF" => f64::INFINITY,
        ".nan" | ".NaN" | ".NAN" if unsigned == text => f64::NAN,
        _ if unsigned.starts_with(['+', '-', '_']) => return None,
        _ if unsigned.bytes().all(|byte| byte.is_ascii_digit() || b"._eE+-".contains(&byte)) => {
            unsigned.replace('_', "").parse().ok()?
        }
        _ => parse_unsigned(unsigned)? as f64,
    };
    Some(sign * number)
}

/// Decimal, `0x…`, `0o…`, `0b…` and octal with a leading zero, with `_` between digits, and whole floats (`1e3`).
fn parse_unsigned(text: &str) -> Option<u64> {
    let digits = text.strip_prefix('+').unwrap_or(text).replace('_', "");
    let radix =
        |prefix: &str, radix: u32| digits.strip_prefix(prefix).and_then(|rest| u64::from_str_radix(rest, radix).ok());
    if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| radix("0b", 2)) {
        return Some(number);
    }
    if digits.len() > 1
        && let Some(octal) = radix("0", 8)
    {
        return Some(octal);
    }
    digits.parse().ok().or_else(|| whole_float(&digits))
}

fn whole_float(text: &str) -> Option<u64> {
    /// Up to here every whole number has its own float.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let number: f64 = text.parse().ok()?;
    (number.fract() == 0.0 && (0.0..=EXACT_MAX).contains(&number)).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse;

    fn problems(text: &str, read: impl Fn(&Section<'_>)) -> Vec<String> {
        let node = parse(text).expect(text);
        let report = Report::new("f.yml");
        let section = report.root(&node).section();
        read(&section);
        section.finish(|key| (key == "foreign").then(|| "not supported".to_owned()));
        report.into_parts().0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn reads_yaml_1_1_scalars() {
        let node = parse("[yes, Off, y, 'yes', 0x10, 1_000, 017, '5', 1e3, -1, 1h30m, ~, 1.5, 18446744073709551616]")
            .expect("valid");
        let report = Report::new("f.yml");
        let items = report.root(&node).items();
        let booleans: Vec<Option<bool>> = items[..4].iter().map(Field::boolean).collect();
        assert_eq!(booleans, [Some(true), Some(false), Some(true), None]);
        let numbers: Vec<Option<u64>> = items[4..10].iter().map(Field::unsigned).collect();
        assert_eq!(numbers, [Some(16), Some(1000), Some(15), None, Some(1000), None]);
        assert_eq!(items[10].duration(), Some(Duration::from_secs(5400)));
        assert_eq!((items[11].text(), items[11].boolean()), (Some(String::new()), Some(false)));
        assert_eq!(report.problem_count(), 3);
        let wholes: Vec<Option<i64>> = items[4..10].iter().map(Field::integer).collect();
        assert_eq!(wholes, [Some(16), Some(1000), Some(15), None, Some(1000), Some(-1)]);
        assert_eq!((items[12].unsigned(), items[13].unsigned()), (Some(1), Some(u64::MAX)));
        assert_eq!(report.into_parts().1.len(), 2, "what is cut off is told");
    }

    #[test]
    fn numbers_are_those_of_yaml_1_1() {
        for (text, expected) in [
            ("1", Some(1.0)),
            ("-1.5e3", Some(-1500.0)),
            ("+.5", Some(0.5)),
            ("1_000.5", Some(1000.5)),
            ("0x10", Some(16.0)),
            (".inf", Some(f64::INFINITY)),
            ("-.INF", Some(f64::NEG_INFINITY)),
            ("inf", None),
            ("NaN", None),
            ("-.nan", None),
            ("infinity", None),
            ("1e", None),
            ("--1", None),
            (".", None),
        ] {
            assert_eq!(parse_number(text), expected, "{text}");
        }
        assert!(parse_number(".nan").is_some_and(f64::is_nan));
    }

    #[test]
    fn foreign_keys_may_hold_nothing() {
        let found = problems("foreign: []\nother:\nthird: {}\nfourth: [1]\n", |section| {
            section.pass_empty(&["foreign", "other", "third", "fourth"]);
        });
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("f.yml:3:1: third") && found[1].starts_with("f.yml:4:1: fourth"), "{found:?}");
    }

    #[test]
    fn names_every_mistake_with_its_place() {
        let found = problems("a:\n  - 1\nlimitt: 2\nforeign: 3\nzzzzzzzzzz: 4\n", |section| {
            assert_eq!(section.text("a"), None);
            assert_eq!(section.unsigned("limit"), None);
        });
        let expected = [
            "f.yml:1:1: a: a text is needed here, found a list",
            "f.yml:3:1: limitt: unknown key; did you mean `limit`?",
            "f.yml:4:1: foreign: not supported",
            "f.yml:5:1: zzzzzzzzzz: unknown key; known here: a, limit",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn paths_lead_through_lists() {
        let found = problems("jobs:\n- name: a\n- name: {}\n", |section| {
            for item in section.items("jobs") {
                item.section().text("name");
            }
        });
        assert_eq!(found, ["f.yml:3:3: jobs[1].name: a text is needed here, found a mapping"]);
    }
}
