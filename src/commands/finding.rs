//! What was found, and how it is told.

use std::path::Path;

use serde_json::{Value, json};

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Good,
    /// Works, and may cost something some day.
    Warning,
    /// Does not work, or loses something: the exit code says so.
    Problem,
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The subject, a word.
    pub subject: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What is so.
    pub what: String,
    /// Why it matters; empty where all is well.
    pub why: String,
    /// The command that mends it; empty where all is well.
    pub mend: String,
}

impl Finding {
    /// All is well.
    pub fn good(subject: &'static str, what: impl Into<String>) -> Self {
        Self { subject, severity: Severity::Good, what: what.into(), why: String::new(), mend: String::new() }
    }

    /// Works, and may cost something some day.
    pub fn warning(subject: &'static str, what: impl Into<String>, why: &str, mend: impl Into<String>) -> Self {
        let (what, mend) = (what.into(), mend.into());
        Self { subject, severity: Severity::Warning, what, why: why.to_owned(), mend }
    }

    /// Does not work, or loses something.
    pub fn problem(subject: &'static str, what: impl Into<String>, why: &str, mend: impl Into<String>) -> Self {
        Self { severity: Severity::Problem, ..Self::warning(subject, what, why, mend) }
    }
}

/// A line or three for each, in the order of the looking.
pub fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { subject, severity, what, why, mend } in findings {
        text.push_str(&format!("{:<8} {subject}: {what}\n", severity.name()));
        for (title, line) in [("why", why), ("mend", mend)].iter().filter(|(_, line)| !line.is_empty()) {
            text.push_str(&format!("{:<8}   {title:<5} {line}\n", ""));
        }
    }
    text
}

/// The same as a JSON array of objects with the keys subject, severity, what, why, mend.
pub fn json(findings: &[Finding]) -> String {
    let object = |finding: &Finding| {
        let Finding { subject, severity, what, why, mend } = finding;
        json!({"subject": subject, "severity": severity.name(), "what": what, "why": why, "mend": mend})
    };
    format!("{:#}\n", Value::Array(findings.iter().map(object).collect()))
}

/// A path as a word of a shell's command.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |char: char| char.is_alphanumeric() || "/._-+:@%,=".contains(char);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// How many are problems.
pub fn problems(findings: &[Finding]) -> usize {
    findings.iter().filter(|finding| finding.severity == Severity::Problem).count()
}

/// Says on stderr how many problems there are, if any.
pub fn tell_problems(findings: &[Finding]) {
    match problems(findings) {
        0 => {}
        count => super::print_error(&format!("{count} to mend\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_one_word_to_a_shell() {
        for (path, expected) in [
            ("/srv/a-b_1.yml", "/srv/a-b_1.yml"),
            ("/srv/my data", "'/srv/my data'"),
            ("it's", r"'it'\''s'"),
            ("$a", "'$a'"),
        ] {
            assert_eq!(quoted(Path::new(path)), expected);
        }
    }

    #[test]
    fn findings_are_told_in_words_and_as_json() {
        let findings = [Finding::good("port", "free"), Finding::problem("clock", "wrong", "times", "set it")];
        assert_eq!(
            text(&findings),
            "ok       port: free\nproblem  clock: wrong\n           why   times\n           mend  set it\n"
        );
        let parsed: Value = serde_json::from_str(&json(&findings)).unwrap();
        assert_eq!(parsed[1]["severity"], "problem");
        assert_eq!(parsed[0]["mend"], "");
    }
}
