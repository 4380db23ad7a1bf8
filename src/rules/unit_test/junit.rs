//! The outcome as JUnit XML, for build servers.

use super::FileReport;
use crate::model::{Timestamp, format_rfc3339};

/// Writes one suite per file, one case per test.
pub fn junit_xml(files: &[FileReport], now: Timestamp) -> String {
    let whole_seconds = Timestamp(now.0.div_euclid(1000) * 1000);
    let time = format_rfc3339(whole_seconds);
    let mut xml = String::from("<testsuites>");
    for file in files {
        let failures: usize = file.cases.iter().map(|case| case.failures.len()).sum();
        let error_count = usize::from(!file.errors.is_empty());
        xml.push_str(&format!(
            r#"<testsuite name="{}" tests="{}" failures="{failures}" errors="{error_count}" skipped="0" timestamp="{}">"#,
            escape(&file.name),
            file.cases.len() + error_count,
            time.trim_end_matches('Z'),
        ));
        for case in &file.cases {
            let failures = case.failures.iter().map(|failure| format!("<failure>{}</failure>", escape(failure)));
            let failures: String = failures.collect();
            xml.push_str(&format!(r#"<testcase name="{}">{failures}</testcase>"#, escape(&case.name)));
        }
        if error_count > 0 {
            let errors = escape(&file.errors.join("\n"));
            xml.push_str(&format!(r#"<testcase name="unknown"><error>{errors}</error></testcase>"#));
        }
        xml.push_str("</testsuite>");
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\n' => escaped.push_str("&#xA;"),
            '\t' => escaped.push_str("&#x9;"),
            // XML cannot carry other control characters at all.
            control if control.is_control() => escaped.push('\u{fffd}'),
            plain => escaped.push(plain),
        }
    }
    escaped
}
