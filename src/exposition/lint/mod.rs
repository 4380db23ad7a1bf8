//! Checks a page for what the conventions advise against: `outpost check metrics`.
//!
//! Same findings as `promtool check metrics`: its reader is stricter than a scrape (every line ends in
//! a line feed, commas between labels, known escapes, TYPE before samples), and the rules are those of
//! client_golang's promlint. Names may be quoted, but those that need quotes (UTF-8), which a scrape takes, are refused, as
//! promtool 3.5.3 does. A finding that applies to many series of a family is given once.

mod page;
mod rules;

use page::Families;

use super::ParseError;

/// Something about a family that the conventions advise against.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The family.
    pub metric: String,
    /// What to change.
    pub text: String,
}

/// How many series a family has.
#[derive(Clone, Debug, PartialEq)]
pub struct FamilyCardinality {
    /// The family.
    pub metric: String,
    /// Its series; `_sum`, `_count` and every bucket or quantile count.
    pub series: usize,
    /// Its share of the page's series, 0 to 1.
    pub share: f64,
}

/// What a check finds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Sorted by family, then by text.
    pub problems: Vec<Problem>,
    /// Largest first; what `--extended` shows.
    pub families: Vec<FamilyCardinality>,
}

impl Report {
    /// All series of the page.
    pub fn series(&self) -> usize {
        self.families.iter().map(|family| family.series).sum()
    }
}

/// Checks a page in the Prometheus text format.
pub fn check(page: &[u8]) -> Result<Report, ParseError> {
    let families = Families::read(page)?;
    let mut problems: Vec<Problem> = Vec::new();
    for family in families.iter() {
        let texts = rules::problems(family);
        problems.extend(texts.into_iter().map(|text| Problem { metric: family.name.clone(), text }));
    }
    problems.sort_unstable();
    problems.dedup();
    Ok(Report { problems, families: cardinalities(&families) })
}

fn cardinalities(families: &Families) -> Vec<FamilyCardinality> {
    let total: usize = families.iter().map(page::Family::series).sum();
    let of = |family: &page::Family| FamilyCardinality {
        metric: family.name.clone(),
        series: family.series(),
        share: family.series() as f64 / total as f64,
    };
    let mut found: Vec<FamilyCardinality> = families.iter().map(of).collect();
    crate::model::sort_by(&mut found, |a, b| b.series.cmp(&a.series).then_with(|| a.metric.cmp(&b.metric)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The findings as `metric text`, without the one about a missing help text.
    #[track_caller]
    fn check_page(page: &str, expected: &[&str]) {
        let report = check(page.as_bytes()).expect(page);
        let found: Vec<String> = report
            .problems
            .iter()
            .filter(|problem| problem.text != "no help text")
            .map(|problem| format!("{} {}", problem.metric, problem.text))
            .collect();
        assert_eq!(found, expected, "{page}");
    }

    #[test]
    fn rules() {
        check_page("a 1\n", &[]);
        check_page("# TYPE a counter\na 1\n", &["a counter metrics should have \"_total\" suffix"]);
        check_page(
            "# TYPE a_total gauge\na_total 1\n",
            &["a_total non-counter metrics should not have \"_total\" suffix"],
        );
        check_page("a_total 1\n", &[]);
        check_page("a_milliseconds 1\n", &["a_milliseconds use base unit \"seconds\" instead of \"milliseconds\""]);
        check_page("a_days_total 1\n", &["a_days_total use base unit \"seconds\" instead of \"days\""]);
        check_page("a_bytes_bits 1\n", &[]);
        check_page("a_kelvins 1\n", &["a_kelvins use base unit \"kelvin\" instead of \"kelvins\""]);
        check_page("a_ms 1\n", &["a_ms metric names should not contain abbreviated units"]);
        check_page("a_S_b 1\n", &["a_S_b metric names should not contain abbreviated units"]);
        check_page("a:b 1\n", &["a:b metric names should not contain ':'"]);
        check_page("aB 1\n", &["aB metric names should be written in 'snake_case' not 'camelCase'"]);
        check_page(
            "a{bC=\"1\"} 1\na{bC=\"2\"} 1\n",
            &["a label names should be written in 'snake_case' not 'camelCase'"],
        );
        check_page("# TYPE a_gauge gauge\na_gauge 1\n", &["a_gauge metric name should not include type 'gauge'"]);
        check_page("# TYPE a_gauge_x gauge\na_gauge_x 1\n", &["a_gauge_x metric name should not include type 'gauge'"]);
        check_page("a{x=\"1\"} 1\na{x=\"1\"} 2\na{x=\"2\"} 2\n", &["a metric not unique"]);
        check_page(
            "# TYPE a_bucket gauge\na_bucket{le=\"1\",quantile=\"1\"} 1\n",
            &[
                "a_bucket non-histogram metrics should not have \"_bucket\" suffix",
                "a_bucket non-histogram metrics should not have \"le\" label",
                "a_bucket non-summary metrics should not have \"quantile\" label",
            ],
        );
        check_page(
            "# TYPE a_count gauge\na_count 1\n# TYPE b_sum gauge\nb_sum 1\n",
            &[
                "a_count non-histogram and non-summary metrics should not have \"_count\" suffix",
                "b_sum non-histogram and non-summary metrics should not have \"_sum\" suffix",
            ],
        );
        check_page("# TYPE a histogram\na_bucket{le=\"1\"} 1\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n", &[]);
        check_page("# TYPE a gaugehistogram\na_bucket{le=\"1\"} 1\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n", &[]);
        check_page("# TYPE a summary\na{quantile=\"0.5\"} 1\na_sum 1\na_count 1\n", &[]);
    }

    #[test]
    fn names_may_be_quoted() {
        check_page("# HELP \"a b\"\n# TYPE \"a\" gauge\n{\"a\",\"x\"=\"1\"} 1\n", &[]);
        check_page("{\"a:b\"} 1\n", &["a:b metric names should not contain ':'"]);
    }

    #[test]
    fn help_is_wanted() {
        let report = check(b"# HELP a x\na 1\nb 1\n# HELP c\nc 1\n# HELP d x\n").expect("well formed");
        let metrics: Vec<&str> = report.problems.iter().map(|problem| problem.metric.as_str()).collect();
        assert_eq!(metrics, ["b", "c"], "and a family without samples is none");
    }

    #[test]
    fn cardinality() {
        let page = b"# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\na{b=\"1\"} 1\na{b=\"2\"} 1\n";
        let report = check(page).expect("well formed");
        let shown: Vec<(&str, usize)> =
            report.families.iter().map(|family| (family.metric.as_str(), family.series)).collect();
        assert_eq!((shown, report.series()), (vec![("h", 4), ("a", 2)], 6));
    }

    #[test]
    fn errors_name_the_line() {
        let cases = [
            ("a", "line 1: unexpected end of the page: every line ends with a line feed"),
            ("a 1", "line 1: unexpected end of the page: every line ends with a line feed"),
            ("# x", "line 1: unexpected end of the page: every line ends with a line feed"),
            ("\n1 1\n", "line 2: expected a metric name, found \"1 1\""),
            ("a x\n", "line 1: expected a float as the value, found \"x\""),
            ("a 1 \n", "line 1: expected an integer as the timestamp, found \"\""),
            ("a 1 1.5\n", "line 1: expected an integer as the timestamp, found \"1.5\""),
            ("a 1 1 1\n", "line 1: spurious text after the timestamp: \" 1\""),
            (
                "a{b=\"c\"d=\"e\"} 1\n",
                "line 1: expected \",\" or \"}\" after the label value, found \"d=\\\"e\\\"} 1\"",
            ),
            ("a{b} 1\n", "line 1: expected \"=\" after the label name, found \"} 1\""),
            ("a{b=c} 1\n", "line 1: expected a quoted label value, found \"c} 1\""),
            ("a{b=\"\\t\"} 1\n", "line 1: invalid escape sequence \\t"),
            ("a{b=\"\n\"} 1\n", "line 1: expected a quoted label value, found \"\\\"\""),
            ("a{b=\"c\",b=\"d\"} 1\n", "line 1: duplicate label name \"b\" in metric \"a\""),
            ("a{__name__=\"b\"} 1\n", "line 1: label name \"__name__\" is reserved"),
            ("{b=\"c\"} 1\n", "line 1: the metric has no name"),
            ("{\"a\",\"b\"} 1\n", "line 1: the metric has two names"),
            (
                "# TYPE \"a.b\" gauge\n",
                "line 1: invalid metric name \"a.b\": this check takes only names that need no quotes",
            ),
            ("{\"a.b\"} 1\n", "line 1: invalid metric name \"a.b\": this check takes only names that need no quotes"),
            (
                "a{\"b:c\"=\"x\"} 1\n",
                "line 1: invalid label name \"b:c\": this check takes only names that need no quotes",
            ),
            ("# HELP a x\n# HELP a y\n", "line 2: second HELP line for metric \"a\""),
            ("# HELP a \\x\n", "line 1: invalid escape sequence \\x"),
            ("a 1\n# TYPE a gauge\n", "line 2: second TYPE line for metric \"a\", or TYPE after its samples"),
            ("# TYPE a x\n", "line 1: unknown metric type \"x\""),
            ("# TYPE a-b x\n", "line 1: invalid metric name in the comment"),
            (
                "# TYPE a histogram\na_bucket{le=\"x\"} 1\n",
                "line 2: expected a float as the value of label \"le\", found \"x\"",
            ),
            ("# TYPE a histogram\na_count -0.5\n", "line 2: negative count for histogram \"a\""),
            ("# TYPE a histogram\na{le=\"1\"} -1\n", "line 2: negative bucket population for histogram \"a\""),
        ];
        for (page, expected) in cases {
            assert_eq!(check(page.as_bytes()).map_err(|error| error.to_string()), Err(expected.to_owned()), "{page:?}");
        }
    }
}
