//! `outpost check metrics < page`: what the conventions advise against on a page of metrics.

use std::io::Read;

use super::{fail, print, print_error};
use crate::exposition::lint::{self, Report};

/// More than any exporter gives.
const PAGE_BYTES_MAX: u64 = 256 << 20;

/// Whether the page on standard input is good; `extended` also shows how many series each family has.
pub fn run(extended: bool) -> bool {
    let mut page = Vec::new();
    match std::io::stdin().lock().take(PAGE_BYTES_MAX + 1).read_to_end(&mut page) {
        Ok(count) if count as u64 > PAGE_BYTES_MAX => fail("the page is larger than 256 MiB"),
        Ok(_) => check(&page, extended),
        Err(error) => fail(&format!("the page cannot be read: {error}")),
    }
}

fn check(page: &[u8], extended: bool) -> bool {
    let report = match lint::check(page) {
        Ok(report) => report,
        Err(error) => return fail(&error.to_string()),
    };
    for problem in &report.problems {
        print_error(&format!("{} {}\n", problem.metric, problem.text));
    }
    if extended {
        print(&table(&report));
    }
    report.problems.is_empty()
}

fn table(report: &Report) -> String {
    let width = report.families.iter().map(|family| family.metric.len()).max().unwrap_or(0).max("Metric".len());
    let mut text = format!("{:width$}  Cardinality  Percentage\n", "Metric");
    for family in &report.families {
        let percentage = format!("{:.2}%", family.share * 100.0);
        text.push_str(&format!("{:width$}  {:<11}  {percentage}\n", family.metric, family.series));
    }
    text.push_str(&format!("{:width$}  {:<11}  100%\n", "Total", report.series()));
    text
}
