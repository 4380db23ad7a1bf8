//! Expected against got: equality, and how both are shown.
//! The texts are those of promtool, so that people and tools can read on.

use std::fmt;

use crate::model::{Labels, format_float};

/// One sample of an expression's result.
#[derive(Clone, Debug)]
pub struct ComparedSample {
    /// The series.
    pub labels: Labels,
    /// The number; means nothing for a histogram.
    pub value: f64,
    /// A histogram in the notation of unit tests.
    pub histogram: Option<String>,
}

/// One firing alert.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ComparedAlert {
    /// The alert's labels.
    pub labels: Labels,
    /// The alert's annotations.
    pub annotations: Labels,
}

impl ComparedSample {
    /// Whether both are the same; `is_fuzzy` takes neighbouring floats for equal.
    pub fn is_same(&self, other: &Self, is_fuzzy: bool) -> bool {
        self.labels == other.labels
            && match (&self.histogram, &other.histogram) {
                (Some(own), Some(others)) => own == others,
                (None, None) => is_same_float(self.value, other.value, is_fuzzy),
                _ => false,
            }
    }
}

impl fmt::Display for ComparedSample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.histogram {
            Some(histogram) => write!(f, "{} {histogram}", self.labels),
            None => write!(f, "{} {}", self.labels, format_scientific(self.value)),
        }
    }
}

/// All samples on one line.
pub fn show_samples(samples: &[ComparedSample]) -> String {
    let shown: Vec<String> = samples.iter().map(ToString::to_string).collect();
    if shown.is_empty() { "nil".to_owned() } else { shown.join(", ") }
}

/// All alerts, several lines each.
pub fn show_alerts(alerts: &[ComparedAlert]) -> String {
    const INDENT: &str = "            ";
    let show = |(index, ComparedAlert { labels, annotations }): (usize, &ComparedAlert)| {
        format!("{INDENT}{index}:\n{INDENT}  Labels:{labels}\n{INDENT}  Annotations:{annotations}")
    };
    let shown: Vec<String> = alerts.iter().enumerate().map(show).collect();
    if shown.is_empty() { "[]".to_owned() } else { format!("[\n{}\n{INDENT}]", shown.join(",\n")) }
}

/// What is expected and missing (`-`), and what is there and not expected (`+`).
pub fn show_difference(expected: &[ComparedAlert], got: &[ComparedAlert]) -> String {
    let lines = |sign: char, alerts: &[ComparedAlert], others: &[ComparedAlert]| {
        let only = alerts.iter().filter(|alert| !others.contains(alert));
        only.map(|ComparedAlert { labels, annotations }| {
            format!("\n            {sign} Labels:{labels}\n            {sign} Annotations:{annotations}")
        })
        .collect::<String>()
    };
    lines('-', expected, got) + &lines('+', got, expected)
}

fn is_same_float(a: f64, b: f64, is_fuzzy: bool) -> bool {
    a == b || (is_fuzzy && (a.next_up() == b || a.next_down() == b))
}

/// Go's `%E` with the shortest form that reads back: `1E+00`.
fn format_scientific(value: f64) -> String {
    if !value.is_finite() {
        return format_float(value);
    }
    let text = format!("{value:E}");
    let (mantissa, exponent) = text.split_once('E').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}E{sign}{digits:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_look_like_go() {
        let cases = [
            (1.0, "1E+00"),
            (-0.5, "-5E-01"),
            (9_218_880_000.0, "9.21888E+09"),
            (2.999_999_999_999_999_6, "2.9999999999999996E+00"),
            (1e300, "1E+300"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Inf"),
        ];
        for (value, expected) in cases {
            assert_eq!(format_scientific(value), expected);
        }
    }

    #[test]
    fn fuzzy_means_neighbours() {
        let third = 0.1 + 0.2;
        assert!(!is_same_float(third, 0.3, false));
        assert!(is_same_float(third, 0.3, true));
        assert!(!is_same_float(0.3, 0.3000001, true));
        assert!(!is_same_float(f64::NAN, f64::NAN, true));
        assert!(is_same_float(f64::INFINITY, f64::INFINITY, false));
    }
}
